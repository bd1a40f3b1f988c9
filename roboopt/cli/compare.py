"""`roboopt compare`: runs side by side."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from roboopt._errors import RobooptError, argument_called
from roboopt.cli._flags import flag
from roboopt.cli._run_folder import require_finished


@dataclass(frozen=True)
class Compare:
    """Compare runs: metrics, settings that differ, and learning curves.

    The tables are printed, and the page has the curves too. Every run also lists itself
    in index.html in the parent folder of the runs.
    """

    runs: tuple[Path, ...] = flag(
        dataclasses.MISSING,
        "Folders of runs, or folders that hold such.",
        shown="RUN...",
        positional=True,
    )
    out: Path = flag(Path("compare.html"), "File of the page.")

    def run(self) -> int:
        """Print the tables and write the page; return the exit code."""
        if self.out.is_dir() or not self.out.absolute().parent.is_dir():
            raise RobooptError(f"--out must be a file in a folder, got {self.out}")
        for run in self.runs:
            require_finished(run, "runs")
        from roboopt.report import compare

        found = compare(self.runs)
        print(found)
        with argument_called("path", "out"):
            found.report(self.out)
        print(self.out)
        return 0
