"""The demonstrations of `roboopt clone`: read, checked, split by episode."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import roboopt as ro
from roboopt.cli._usage import UsageError
from roboopt.data import Demonstrations, Trajectory
from roboopt.diagnose import Finding

IN_MEMORY = 2**30  # bytes; larger folders are read block by block
CHECKED = 20  # episodes, of those that are not held in memory
SAMPLES = 50_000  # that a policy is made for, of such
WARNINGS = 10


@dataclass(frozen=True)
class Data:
    """Episodes to learn from, and episodes held out."""

    train: Sequence[Trajectory]
    held_out: Sequence[Trajectory]
    folder: Path | None
    """Where the episodes are that do not fit in memory; those above are some of them.
    """
    findings: list[Finding]
    fraction: float
    seed: int

    def samples(
        self, **cut: Any
    ) -> tuple[Demonstrations, Demonstrations, "ro.data.MemmapDemonstrations | None"]:
        """Return samples to learn from, samples held out, and the source of all.

        Args:
            **cut: `history`, `chunk`, `low` and `high` of `demonstrations`.
        """
        if self.folder is None:
            train, test = (
                ro.data.Demonstrations.from_trajectories(runs, **cut)
                for runs in (self.train, self.held_out)
            )
            return train, test, None
        whole = ro.data.MemmapDemonstrations(self.folder, **cut)
        train, test = whole.split(self.fraction, self.seed)
        return train.sample(SAMPLES), test.sample(SAMPLES), train


def read(arguments: Any, env: Any) -> Data:
    """Return the demonstrations, checked against the environment's spaces.

    Raises:
        UsageError: if they cannot be read, or nothing can be learned from them.
    """
    source = arguments.demonstrations
    folder = Path(source)
    try:
        if _too_large(folder):
            runs = _some(folder, arguments.seed)
        else:
            folder = None
            runs = ro.data.load_recordings(source, time_step=arguments.time_step)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    findings = [
        finding
        for finding in ro.diagnose.check_demonstrations(
            runs, observation_space=env.observation_space, action_space=env.action_space
        )
        if finding.code != "saturation"  # which is cloned through the clip
    ]
    errors = [str(f) for f in findings if f.severity == "error"]
    if errors:
        raise UsageError(f"{source}: " + "; ".join(errors[:3]))
    for finding in findings[:WARNINGS]:
        print(f"roboopt: warning: {finding}", file=sys.stderr)
    if len(runs) < 2:
        warnings.warn(
            "there is one episode only: its own samples judge what was learned",
            stacklevel=2,
        )
        train = held_out = runs
    else:
        train, held_out = ro.data.split_episodes(
            runs, arguments.held_out, seed=arguments.seed
        )
    return Data(train, held_out, folder, findings, arguments.held_out, arguments.seed)


def _too_large(folder: Path) -> bool:
    if not folder.is_dir() or not ro.data.is_episode_folder(folder):
        return False
    return sum(file.stat().st_size for file in folder.iterdir()) > IN_MEMORY


def _some(folder: Path, seed: int) -> list[Trajectory]:
    """Return a few of the episodes, which are read only where they are used."""
    runs = ro.data.load_recordings(folder)
    count = min(CHECKED, len(runs))
    chosen = np.random.default_rng(seed).choice(len(runs), count, replace=False)
    return [runs[k] for k in sorted(chosen)]
