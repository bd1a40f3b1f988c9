"""`roboopt compare`: runs side by side."""

import dataclasses
import warnings
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
        finished, faults = [], []
        for run in self.runs:
            try:
                require_finished(run, "runs")
                finished.append(run)
            except RobooptError as error:
                faults.append(error)
        from roboopt.report import compare

        found = compare(finished) if finished else None
        if faults and (found is None or len(found.runs) < 2):
            raise faults[0]
        assert found is not None  # `runs` holds at least one.
        for fault in faults:
            warnings.warn(f"a run is left out: {fault}", stacklevel=2)
        print(found)
        with argument_called("path", "out"):
            found.report(self.out)
        print(self.out)
        return 0
