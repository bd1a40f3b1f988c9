"""The motions of a robot that are shown beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from roboopt.view._scene import Scene


@dataclass(frozen=True)
class RobotMotions:
    """Motions of a robot from the same starts, the last in full, others as ghosts."""

    scene: Scene
    runs: Mapping[str, Sequence[Float[np.ndarray, "_ joint"]]]
    """By label, such as "before" and "after", positions of the joints over time from
    each start [rad or m]."""
    time_step: float
    """[s]"""
    goals: Sequence[Float[np.ndarray, "_ 3"]] = ()
    """By start, one point or those of a path [m]; none where it is empty."""
    names: Sequence[str] = ()
    """Of the starts; by default "start 1" and so on."""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Of labels that reports do not know, such as {"fitted": "#2f80c9"}."""

    @property
    def starts(self) -> int:
        """Return how many starts all labels have."""
        return min(map(len, self.runs.values()))

    @property
    def duration(self) -> float:
        """Return the length of the longest motion [s]."""
        lengths = [len(q) for runs in self.runs.values() for q in runs]
        return (max(lengths) - 1) * self.time_step

    def name(self, start: int) -> str:
        """Return the name of a start."""
        return self.names[start] if start < len(self.names) else f"start {start + 1}"

    @property
    def has_goals(self) -> bool:
        """Return whether there is a goal from any start."""
        return any(len(points) for points in self.goals)

    def goal(self, start: int) -> Float[np.ndarray, "point 3"]:
        """Return the goal of a start, without points where there is none [m]."""
        return self.goals[start] if start < len(self.goals) else np.zeros((0, 3))

    def sampled(
        self, max_rate: float, max_frames: int
    ) -> tuple[Float[np.ndarray, " frame"], dict[str, Float[np.ndarray, "start _ _"]]]:
        """Return the times of pictures [s], and the positions at these times.

        A motion that is shorter than others stands still at its end.

        Args:
            max_rate: pictures a second, at most.
            max_frames: pictures of a motion, at most.
        """
        length = max(self.duration, self.time_step)
        rate = min(max_rate, 1 / self.time_step, (max_frames - 1) / length)
        times = np.arange(round(length * rate) + 1) / rate
        rows = (times / self.time_step).round().astype(int)
        return times, {
            label: np.array([q[np.minimum(rows, len(q) - 1)] for q in runs])
            for label, runs in self.runs.items()
        }
