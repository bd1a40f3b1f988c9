"""The task of following a reference trajectory.

Between its samples the reference is the cubic spline whose velocity is zero at both
ends: positions and velocities are continuous, and so is the acceleration but for the
ends. Before the first sample and after the last one the reference stands still.
"""

from dataclasses import dataclass

import numpy as np

from roboopt._errors import RobooptError

from ._task import Array, ToolTask, scales_said
from ._tool_chain import ToolChain


@dataclass(frozen=True)
class TrackTrajectory(ToolTask):
    """Follow a trajectory of the joints, and with them of the tool.

        c = Σ_j ((q_j − r_j)/s_j)² + Σ_j ((q̇_j − ṙ_j)/v_j)² + |p(q) − p(r)|²/s_p²

    with the tool at p. Observations are (q, q̇, r, ṙ, r̈) with the reference r now; the
    action costs nothing here. An episode succeeds if throughout the last `window` [s]
    the tool is within `tool_tolerance` [m] of the reference's.

    Raises:
        RobooptError: if a scale is not positive and finite, the times do not increase,
            or lengths disagree.
    """

    chain: ToolChain
    """Forward kinematics of the tool."""
    times: tuple[float, ...]
    """Of the samples [s]."""
    positions: tuple[tuple[float, ...], ...]
    """r of all joints at each time [rad or m]."""
    position_scale: tuple[float, ...]
    """s_j of each joint [rad or m]."""
    speed_scale: tuple[float, ...]
    """v_j of each joint [rad/s or m/s]."""
    tool_scale: float = 0.02
    """s_p [m], about the required precision."""
    tool_tolerance: float = 0.01
    window: float = 1.0

    _observed = "q, q̇ and a reference's position, velocity and acceleration", 5

    def __post_init__(self):
        """Check scales and samples."""
        super().__post_init__()
        joints = len(self.position_scale)
        times, rows = np.array(self.times, float), set(map(len, self.positions))
        if (
            len(times) < 2
            or not np.isfinite(times).all()
            or (np.diff(times) <= 0).any()
        ):
            raise RobooptError(
                "`times` must be at least two increasing numbers, got "
                f"{np.array2string(times, threshold=8)}."
            )
        if len(self.positions) != len(times) or rows != {joints}:
            raise RobooptError(
                f"`positions` must hold {joints} numbers for each of {len(times)} "
                f"times, got {len(self.positions)} rows of {sorted(rows)}."
            )
        if not np.isfinite(np.array(self.positions, float)).all():
            raise RobooptError("`positions` must be finite, got a number that is not.")

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        return (
            "Σ ((q − r) / s)² + Σ ((q̇ − ṙ) / v)² + (tool distance / "
            f"{self.tool_scale:g} m)², with the reference r, and "
            f"{scales_said(s=self.position_scale, v=self.speed_scale)}"
        )

    @property
    def success_rule(self) -> str:
        """Return when a motion succeeds, as the end of a sentence."""
        return (
            f"throughout the last {self.window:g} s the tool is within "
            f"{self.tool_tolerance:g} m of the reference's"
        )

    def reference(self, times: np.ndarray) -> np.ndarray:
        """Return (r, ṙ, r̈) at `times` (T,) [s], (T, 3n) [SI units]."""
        from scipy.interpolate import CubicSpline  # Slow to import.

        spline = CubicSpline(self.times, self.positions, bc_type="clamped")
        begin, end = self.times[0], self.times[-1]
        now = np.clip(times, begin, end)
        moving = ((begin <= times) & (times <= end))[:, None]
        return np.concatenate(
            [spline(now), *(moving * spline(now, order) for order in (1, 2))], axis=-1
        )

    def cost_rate(self, observation: Array, action: Array) -> Array:
        """Return c (...) [1] of observations (..., 5n); `action` does not enter.

        Raises:
            RobooptError: if the last axis of `observation` does not hold 5n entries.
        """
        q, velocity, desired, speed, _ = self._split(observation)
        away = self._square_distance(q, desired) / self.tool_scale**2
        return self._joint_cost(q - desired, velocity - speed) + away

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 5n) succeeded, (...) bool.

        Args:
            observations: (q, q̇, r, ṙ, r̈) over the whole episode [SI units].
            time_step: time between observations [s].
        """
        q, _, desired, *_ = self._split(self._end(observations, time_step))
        near = self._square_distance(q, desired) <= self.tool_tolerance**2
        return observations.__array_namespace__().all(near, axis=-1)

    def tool_error(self, observations: Array) -> Array:
        """Return the root mean square distance of the tool over time, (...) [m].

        Args:
            observations: (..., T+1, 5n), over the whole episode.
        """
        q, _, desired, *_ = self._split(observations)
        xp = observations.__array_namespace__()
        return xp.sqrt(xp.mean(self._square_distance(q, desired), axis=-1))
