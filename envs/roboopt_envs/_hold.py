"""The task of holding a configuration, such as a pendulum upright on its cart."""

import math
from dataclasses import dataclass

from roboopt._errors import RobooptError, require

from ._task import Array, PositiveTask, scales_said, square


@dataclass(frozen=True)
class Hold(PositiveTask):
    """Bring every joint to its target, and stay there.

        c = Σ_j ((q_j − t_j)/s_j)² + Σ_j (q̇_j/v_j)² + Σ_i (τ_i/e_i)²

    is quadratic in the observation (q, q̇) and the efforts τ of the driven joints, so
    that LQR theory applies. Angles are not wrapped. An episode succeeds if throughout
    the last `window` [s] every |q_j − t_j| is at most `tolerance` · s_j.

    Raises:
        RobooptError: if a scale, the tolerance or the window is not positive and
            finite, a target is not finite, or the lengths differ.
    """

    target: tuple[float, ...]
    """t_j of each joint [rad or m]."""
    position_scale: tuple[float, ...]
    """s_j of each joint [rad or m]."""
    speed_scale: tuple[float, ...]
    """v_j of each joint [rad/s or m/s]."""
    effort_scale: tuple[float, ...]
    """e_i of each driven joint [N·m or N]."""
    tolerance: float = 0.25
    """Share of s_j."""
    window: float = 1.0

    def __post_init__(self):
        """Check target, scales and lengths."""
        super().__post_init__()
        sizes = {len(self.target), len(self.position_scale), len(self.speed_scale)}
        valid = len(sizes) == 1 and all(map(math.isfinite, self.target))
        rule = "be finite and have the length of `position_scale` and `speed_scale`"
        require(valid, "target", rule, self.target)

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        scales = self.position_scale, self.speed_scale, self.effort_scale
        said = scales_said(**dict(zip("sve", scales, strict=True)))
        return f"Σ ((q − target) / s)² + Σ (q̇ / v)² + Σ (effort / e)², {said}"

    @property
    def success_rule(self) -> str:
        """Return when a motion succeeds, as the end of a sentence."""
        bounds = ", ".join(f"{self.tolerance * s:.3g}" for s in self.position_scale)
        return (
            f"throughout the last {self.window:g} s every joint is within {bounds} of "
            "its target, in rad, or in m where it slides"
        )

    @property
    def tolerances(self) -> dict[int, list[tuple[float, float]]]:
        """Return where the joints must be throughout the window [rad or m]."""
        sides = [self.tolerance * scale for scale in self.position_scale]
        pairs = enumerate(zip(self.target, sides, strict=True))
        return {j: [(target - s, target + s)] for j, (target, s) in pairs}

    def cost_rate(self, observation: Array, action: Array) -> Array:
        """Return c (...) [1] of observations (..., 2n) reached by actions (..., m).

        Raises:
            RobooptError: if the last axes do not hold 2n and m entries.
        """
        n, m = len(self.target), len(self.effort_scale)
        if observation.shape[-1] != 2 * n or action.shape[-1] != m:
            raise RobooptError(
                f"`observation` and `action` must hold q, q̇ of {n} joints and {m} "
                f"efforts on their last axis, got shapes {observation.shape} and "
                f"{action.shape}."
            )
        cost = 0.0
        for j in range(n):
            error = (observation[..., j] - self.target[j]) / self.position_scale[j]
            speed = observation[..., n + j] / self.speed_scale[j]
            cost = cost + square(error) + square(speed)
        for i, scale in enumerate(self.effort_scale):
            cost = cost + square(action[..., i] / scale)
        return cost

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 2n) succeeded, (...) bool.

        Args:
            observations: q [rad or m], q̇ [rad/s or m/s] over the whole episode.
            time_step: time between observations [s].
        """
        xp, end = observations.__array_namespace__(), self._end(observations, time_step)
        there = True
        for j, (target, scale) in enumerate(
            zip(self.target, self.position_scale, strict=True)
        ):
            off = xp.abs(end[..., j] - target)
            there = there & xp.all(off <= self.tolerance * scale, axis=-1)
        return there
