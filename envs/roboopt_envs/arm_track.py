"""Arms that follow a trajectory, from a table or a loop of their own.

Observations are (q, q̇, r, ṙ, r̈) with the reference r of the joints now: a controller
needs the velocity for its damping, and the acceleration for the efforts that it takes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from roboopt.urdf import UrdfModel

from ._reference import joint_positions, read_table
from .arm import Arm
from .tasks import ToolChain, TrackTrajectory

LOOP_S, LOOP_SHARE = 3.0, 0.3  # without a reference: time, amplitude over the scale
LOOP_SAMPLES = 61
START_SHARE = 0.01  # of the position scales, to either side
ATTEMPTS = 64  # to find the beginning of a path
FRAMED = 64  # configurations


class ArmTrack(Arm):
    """Follow a reference trajectory with an arm's joints, and so with its tool.

    An episode starts at rest, each joint within 0.01 rad, or 1 % of half its range [m],
    of r(0).

    Args:
        robot: as of `Arm`.
        reference: a table, as a mapping of columns or a CSV file with their names in
            the first row: `time` [s], which counts from the first sample, and either
            every joint by its name [rad or m], or `x`, `y` and `z` of the tool in the
            world [m], or some of them, which the joints follow by damped least squares.
            A unit in brackets, [deg], [mm] or [ms], is converted. Between samples the
            reference is a cubic spline, at rest at both ends. By default each joint
            goes once around a loop of its own.
        duration: length of an episode [s]; by default to the last sample.
        **options: the other arguments of `Arm`.

    Raises:
        RobooptError: as `Arm` does; or if the reference is no such table, has a unit
            that is none of its column's, or leaves the joints' limits.
    """

    has_twin = True  # It replaces what a picture shows, and nothing that moves.

    def __init__(
        self,
        robot: str | Path = "two-link",
        reference: Any = None,
        *,
        duration: float | None = None,
        **options: Any,
    ):
        """Load the robot and its reference."""
        self._table, self._units = None, {}
        if reference is not None:
            self._table, self._units = read_table(reference)
        if duration is None:
            duration = LOOP_S if self._table is None else float(self._table["time"][-1])
        super().__init__(robot, duration=duration, **options)

    def _make_task(
        self, urdf: UrdfModel, chain: ToolChain, *scales: Any, **tool: float
    ) -> TrackTrajectory:
        table = self._table or self._loop(urdf.joint_names, np.array(scales[0]))
        first = np.random.default_rng(0).uniform(
            *self._range, (ATTEMPTS, len(scales[0]))
        )
        units = np.where(urdf.revolute, "rad", "m").tolist()
        joints = dict(zip(urdf.joint_names, units, strict=True))
        limits = urdf.position_limits
        q = joint_positions(table, self._units, joints, chain, limits, first)
        self._spread = START_SHARE * np.array(scales[0])
        return TrackTrajectory(
            chain,
            tuple(table["time"].tolist()),
            tuple(map(tuple, q.tolist())),
            *scales,
            window=float(table["time"][-1]) / 2,
            **tool,
        )

    def _loop(self, names: tuple[str, ...], scale: np.ndarray) -> dict[str, np.ndarray]:
        """Return a smooth loop within the central range, by minimum jerk in phase."""
        times = np.linspace(0.0, LOOP_S, LOOP_SAMPLES)
        s = times / LOOP_S
        phase = 2 * np.pi * s**3 * (10 - 15 * s + 6 * s**2)
        shift = np.pi / 2 * np.arange(len(names))
        q = LOOP_SHARE * scale * np.sin(phase[:, None] + shift)
        q += (self._range[0] + self._range[1]) / 2
        return {"time": times, **dict(zip(names, q.T, strict=True))}

    def _framed(self, start: np.ndarray) -> np.ndarray:
        assert self.reference is not None
        rows = np.linspace(0, self.horizon, FRAMED).astype(int)
        return self.reference[rows, : len(self.joint_names)]

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        assert self.reference is not None
        n, first = len(self.joint_names), self.reference[0]
        q = first[:n] + random.uniform(-self._spread, self._spread)
        return np.concatenate([q, np.zeros(n), first])
