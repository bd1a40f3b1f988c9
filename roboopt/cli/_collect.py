"""`roboopt collect`: record demonstrations of a controller in an environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from roboopt.cli._flags import shown_as
from roboopt.cli._usage import UsageError, require_count, require_positive

SUFFIXES = ("", ".npz", ".hdf5", ".h5")


@dataclass(frozen=True)
class Collect:
    """Record demonstrations in any Gymnasium environment.

    The demonstrator is one of the library's controllers for its environments, a saved
    controller, or a function of your own. A controller is also saved, in a file of its
    own that `roboopt clone --demonstrator` takes.
    """

    environment: Annotated[str, tyro.conf.Positional, shown_as("ENV")]
    """A Gymnasium id, such as CartPole-v1, roboopt/ArmReach-v0, my_package:Mine-v0."""
    demonstrator: Annotated[
        str | None, shown_as("PATH|MODULE:NAME", "the library's own")
    ] = None
    """A file of roboopt.save, the folder of a run, or a function observation -> action.
    """
    option: Annotated[tuple[str, ...], shown_as("KEY=VALUE", "none")] = ()
    """Of the environment's constructor, such as robot=panda."""
    episodes: int = 50
    """How many to record."""
    seed: int = 0
    """Of the starts, and of the noise."""
    noise: float = 0.0
    """Standard deviation of noise on what is done, as a share of half the range of the
    actions; what is recorded stays what the demonstrator wanted."""
    max_steps: Annotated[int | None, shown_as("INT", "the environment's")] = None
    """Of an episode."""
    only_successes: bool = False
    """Leave out the episodes that fail."""
    out: Annotated[Path | None, shown_as("PATH", "after the environment")] = None
    """A file .npz or .hdf5, or without suffix a folder of .npy files, which are read
    without being held in memory."""
    overwrite: bool = False
    """Replace what is there."""

    def check(self) -> None:
        """Raise a UsageError if an argument cannot be worked with."""
        for name in ("episodes", "max_steps"):
            require_count(f"--{name.replace('_', '-')}", getattr(self, name))
        require_positive("--noise", self.noise, zero=True)
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")
        if self.out is not None and self.out.suffix not in SUFFIXES:
            raise UsageError(
                f"--out must end in .npz or .hdf5, or have no suffix, got {self.out}"
            )

    def run(self) -> int:
        """Check, record, save; return the exit code."""
        self.check()
        from roboopt.cli._collecting import collect

        return collect(self)
