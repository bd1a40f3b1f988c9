"""`roboopt export`: write a controller as files that run without JAX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from roboopt.cli._flags import shown_as
from roboopt.cli._run_folder import ACTORS, actor_file
from roboopt.cli._usage import UsageError, require_choice, require_count

FORMATS = ("numpy", "onnx")


@dataclass(frozen=True)
class Export:
    """Write a policy as files that need neither JAX nor roboopt.

    As numpy these are policy.npz and policy.py, which needs NumPy alone; as onnx,
    policy.onnx. Before they are announced, they run on random observations in a process
    of their own, and their actions are compared with those of the controller.
    """

    controller: Annotated[Path, tyro.conf.Positional, shown_as("RUN")]
    """A run's folder, of `tune` or `clone`, or a file of `roboopt.save`."""
    format: Annotated[str, shown_as("{numpy,onnx}")] = "numpy"
    """What is written."""
    out: Annotated[Path | None, shown_as("DIR", "export, in the run's folder")] = None
    """The folder that the files go into."""
    observation_size: Annotated[
        int | None, shown_as("INT", "as the run or the controller tells")
    ] = None
    """How many numbers an observation has."""

    def check(self) -> None:
        """Raise a UsageError if an argument cannot be worked with."""
        require_choice("--format", self.format, FORMATS)
        require_count("--observation-size", self.observation_size)
        if not self.controller.exists():
            raise UsageError(
                f"name a run's folder or its {ACTORS[0]}, got {self.controller}, "
                "which is not there"
            )
        if not self.file.is_file():
            raise UsageError(f"{self.controller} holds no {' or '.join(ACTORS)}")
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--out must be a folder, got {self.folder}")

    @property
    def file(self) -> Path:
        """Return the controller's file."""
        found = actor_file(self.controller) if self.in_run else None
        return found or self.controller

    @property
    def in_run(self) -> bool:
        """Return whether a folder is named."""
        return self.controller.is_dir()

    @property
    def folder(self) -> Path:
        """Return where the files go."""
        within = self.controller if self.in_run else self.controller.parent
        return within / "export" if self.out is None else self.out

    def run(self) -> int:
        """Check, export, compare; return the exit code."""
        self.check()
        from roboopt.cli._exporting import export

        return export(self)
