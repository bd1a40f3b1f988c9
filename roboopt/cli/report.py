"""`roboopt report`: write the report of a run that is over."""

import contextlib
import dataclasses
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError, require
from roboopt._reading import read_json
from roboopt.cli._config import defaults_from, needed
from roboopt.cli._flags import allow_flag, figures_flag, flag
from roboopt.cli._results import command_of, lack, load_shown, write_report
from roboopt.cli._resume import how_to_evaluate
from roboopt.cli._run_folder import (
    CHECKPOINT,
    FIGURES,
    PICTURES,
    REPORT,
    SETTINGS,
    add_file,
)


@dataclass(frozen=True)
class Report:
    """Write the report of a run again.

    The command reads the result of a run, and writes report.html into its folder: where
    the report was interrupted, or for figures in files. Nothing is learned or simulated
    again but for a video.
    """

    folder: Path = flag(
        dataclasses.MISSING, "Folder of a run.", shown="RUN", positional=True
    )
    no_video: bool = flag(False, "Write the report without a video.")
    figures: str | None = figures_flag()
    allow: tuple[str, ...] = allow_flag()

    def run(self) -> int:
        """Write the report, and print its path; return the exit code."""
        from roboopt._progress import say
        from roboopt.cli._process import jax_settings
        from roboopt.report import check_formats, write_index

        formats = self.figures.split(",") if self.figures else []
        check_formats(formats, "figures")
        with jax_settings():
            result, missing = load_shown(self.folder, "folder", self.allow)
            of_run = self.folder.is_dir() and hasattr(result, "sections")
            require(of_run, "folder", "be the folder of a run", self.folder)
            if missing:
                said = "the report lacks what only code says, such as a video"
                warnings.warn(f"{said}: {lack(self.folder, missing)}.", stacklevel=2)
            say("writing the report")
            video = not self.no_video
            if video and not _makes_pictures(self.folder):
                say("there is no video: the environment makes no pictures")
                video = False
            try:
                command = command_of(self.folder)
                advice = _advice(self.folder, command, result)
                own = self.folder / REPORT
                write_report(result, own, command, video=video, advice=advice)
                if formats:
                    result.save_figures(self.folder / FIGURES, *formats)
            except OSError as error:
                raise RobooptError(
                    f"the report could not be written: {error}"
                ) from error
        for name in [REPORT, FIGURES] if formats else [REPORT]:
            add_file(self.folder, name)
        with contextlib.suppress(OSError, RobooptError):
            write_index(self.folder.resolve().parent)
        print(self.folder / REPORT)
        allowed = [*dict.fromkeys([*self.allow, *needed(result, missing)])]
        if video and len(allowed) > len(self.allow):
            words = ["roboopt", "report", str(self.folder), "--allow", *allowed]
            print(f"For its video: {shlex.join(words)}")
        return 0


def _advice(folder: Path, command: Any, result: Any) -> str:
    """Return how to evaluate what an interrupted run has learned; empty otherwise."""
    if command is None or not (folder / CHECKPOINT).exists():
        return ""
    with contextlib.suppress(OSError, RobooptError):
        return how_to_evaluate(defaults_from(folder, command), str(folder), result)
    return ""


def _makes_pictures(folder: Path) -> bool:
    """Return whether the environment of a run may make a video."""
    with contextlib.suppress(OSError, RobooptError, AttributeError):
        return read_json(folder / SETTINGS).get(PICTURES, True) is not False
    return True
