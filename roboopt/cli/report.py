"""`roboopt report`: write the report of a run that is over."""

import contextlib
import dataclasses
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path

from roboopt._errors import RobooptError, require
from roboopt.cli._config import needed
from roboopt.cli._flags import allow_flag, figures_flag, flag
from roboopt.cli._results import command_of, lack, load_shown, write_report
from roboopt.cli._run_folder import FIGURES, REPORT, add_file


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
            try:
                command = command_of(self.folder)
                write_report(result, self.folder / REPORT, command, video=video)
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
