"""Tasks of robots, written once for environments (NumPy) and objectives (JAX).

A task defines a dimensionless cost rate c of observation and action: every error is
divided by a scale in its own unit before anything is added. Over a trajectory of
observations o_0 … o_T and actions a_0 … a_{T-1} the task cost, in [s], is

    J = Σ_k c(o_{k+1}, a_k, t_{k+1})·Δt

and an environment's reward is −c·Δt. A `cost_rate` of three parameters gets the time
t [s] of the observation, too. If a task has a `reference(times)`, an array (T, m) of
NumPy, an observation holds the reference of its time after [q, q̇]. Tasks use the array
API, elementwise over leading axes, so that the same code runs in NumPy and in JAX.
Tasks are hashable: they can be static arguments of `jax.jit`.

Reports draw what a task says of success in these attributes, if it has them: its
`target`, a position of each joint; its `tolerances`, intervals (low, high) by index of
the observation, and its `window` [s], the end of an episode throughout which an
observation must be in one of its intervals.
"""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

from roboopt._errors import RobooptError, require

from ._actuators import Actuators
from ._hold import Hold
from ._named_task import module_from_file, named_task
from ._task import Array, PositiveTask, ToolTask, scales_said, square
from ._tool_chain import ToolChain
from ._track import TrackTrajectory

__all__ = [
    "Actuators",
    "Balance",
    "Hold",
    "Reach",
    "SwingUp",
    "ToolChain",
    "TrackTrajectory",
    "module_from_file",
    "named_task",
]


MAX_TURNS = 4  # of a pole, in which its tolerances are named


class _CartPoleTask(PositiveTask):
    """A task of a cart-pole, with scales of x, θ, ẋ, θ̇ and the force."""

    position_scale: float
    angle_scale: float
    speed_scale: float
    angular_speed_scale: float
    force_scale: float
    rail: float
    _angle_formula: ClassVar[str]

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        return (
            f"(x / {self.position_scale:g} m)² + "
            f"{self._angle_formula.format(f'{self.angle_scale:g} rad')} + "
            f"(ẋ / {self.speed_scale:g} m/s)² + "
            f"(θ̇ / {self.angular_speed_scale:g} rad/s)² + "
            f"(F / {self.force_scale:g} N)²"
        )

    @abc.abstractmethod
    def _angle_error(self, angle: Array) -> Array:
        """Return the angle's part in the cost rate, before it is squared and scaled."""

    def cost_rate(self, observation: Array, action: Array) -> Array:
        """Return c (...) [1] of observations (..., 4) reached by actions (..., 1).

        Raises:
            RobooptError: if the last axes do not hold 4 and 1 entries.
        """
        if observation.shape[-1] != 4 or action.shape[-1] != 1:
            raise RobooptError(
                "`observation` and `action` must hold (x, θ, ẋ, θ̇) and (force,) on "
                f"their last axis, got shapes {observation.shape} and {action.shape}."
            )
        x, angle, speed, angular_speed = (observation[..., i] for i in range(4))
        return (
            square(x / self.position_scale)
            + square(self._angle_error(angle) / self.angle_scale)
            + square(speed / self.speed_scale)
            + square(angular_speed / self.angular_speed_scale)
            + square(action[..., 0] / self.force_scale)
        )

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 4) succeeded, (...) bool.

        Args:
            observations: x [m], θ [rad], ẋ [m/s], θ̇ [rad/s] over the whole episode.
            time_step: time between observations [s].
        """
        xp = observations.__array_namespace__()
        on_rail = xp.abs(observations[..., 0]) <= self.rail
        there = self._arrived(self._end(observations, time_step))
        return xp.all(there, axis=-1) & xp.all(on_rail, axis=-1)

    @abc.abstractmethod
    def _arrived(self, observations: Array) -> Array:
        """Return whether observations (..., 4) are within all tolerances, (...)."""


@dataclass(frozen=True)
class Balance(_CartPoleTask):
    """Keep a cart-pole's pole upright, and the cart in the middle of its rail.

        c = (x/s_x)² + (θ/s_θ)² + (ẋ/s_ẋ)² + (θ̇/s_θ̇)² + (F/s_F)²

    is quadratic in observation (x, θ, ẋ, θ̇) and force F, so that LQR theory applies.
    An episode succeeds if throughout the last `window` [s] |θ| is at most
    `angle_tolerance` [rad] and |x| at most `position_tolerance` [m], and if |x| was
    never above `rail` [m].

    Raises:
        RobooptError: if a field is not positive and finite.
    """

    position_scale: float = 0.5
    """s_x [m]"""
    angle_scale: float = 0.2
    """s_θ [rad]"""
    speed_scale: float = 2.0
    """s_ẋ [m/s]"""
    angular_speed_scale: float = 2.0
    """s_θ̇ [rad/s]"""
    force_scale: float = 10.0
    """s_F [N]"""
    position_tolerance: float = 0.1
    angle_tolerance: float = 0.05
    rail: float = 2.4
    window: float = 1.0

    _angle_formula = "(θ / {})²"

    @property
    def success_rule(self) -> str:
        """Return when a motion succeeds, as the end of a sentence."""
        return (
            f"throughout the last {self.window:g} s |θ| ≤ {self.angle_tolerance:g} rad "
            f"and |x| ≤ {self.position_tolerance:g} m, and |x| ≤ {self.rail:g} m always"
        )

    @property
    def tolerances(self) -> dict[int, list[tuple[float, float]]]:
        """Return where x [m] and θ [rad] must be throughout the window."""
        x, angle = self.position_tolerance, self.angle_tolerance
        return {0: [(-x, x)], 1: [(-angle, angle)]}

    def _angle_error(self, angle: Array) -> Array:
        return angle

    def _arrived(self, observations: Array) -> Array:
        xp = observations.__array_namespace__()
        x, angle = xp.abs(observations[..., 0]), xp.abs(observations[..., 1])
        return (x <= self.position_tolerance) & (angle <= self.angle_tolerance)


@dataclass(frozen=True)
class SwingUp(_CartPoleTask):
    """Swing a cart-pole's pole up from hanging, and stay there.

        c = (x/s_x)² + 2·(1 − cos θ)/s_θ² + (ẋ/s_ẋ)² + (θ̇/s_θ̇)² + (F/s_F)²

    is smooth and bounded in the angle, periodic in full turns, and quadratic near
    upright, where the angle's term is (θ/s_θ)². An episode succeeds if throughout the
    last `window` [s] the pole is within `angle_tolerance` [rad] of upright and |x|, |ẋ|
    and |θ̇| are at most `position_tolerance` [m], `speed_tolerance` [m/s] and
    `angular_speed_tolerance` [rad/s], and if |x| was never above `rail` [m].

    Raises:
        RobooptError: if a field is not positive and finite, or `angle_tolerance` is
            above π.
    """

    position_scale: float = 1.0
    """s_x [m]"""
    angle_scale: float = 1.0
    """s_θ [rad]"""
    speed_scale: float = 5.0
    """s_ẋ [m/s]"""
    angular_speed_scale: float = 10.0
    """s_θ̇ [rad/s]"""
    force_scale: float = 20.0
    """s_F [N]"""
    position_tolerance: float = 0.5
    angle_tolerance: float = 0.2
    speed_tolerance: float = 0.5
    angular_speed_tolerance: float = 1.0
    rail: float = 2.4
    window: float = 1.0

    _angle_formula = "2 (1 − cos θ) / ({})²"

    def __post_init__(self):
        """Check scales and tolerances."""
        super().__post_init__()
        tolerance = self.angle_tolerance
        require(tolerance <= math.pi, "angle_tolerance", "be at most π rad", tolerance)

    @property
    def success_rule(self) -> str:
        """Return when a motion succeeds, as the end of a sentence."""
        return (
            f"throughout the last {self.window:g} s the pole is within "
            f"{self.angle_tolerance:g} rad of upright, |x| ≤ "
            f"{self.position_tolerance:g} m, |ẋ| ≤ {self.speed_tolerance:g} m/s and "
            f"|θ̇| ≤ {self.angular_speed_tolerance:g} rad/s, and |x| ≤ {self.rail:g} m "
            "always"
        )

    @property
    def tolerances(self) -> dict[int, list[tuple[float, float]]]:
        """Return where (x, θ, ẋ, θ̇) must be, θ up to `MAX_TURNS` full turns away."""
        angle = self.angle_tolerance
        turns = [2 * math.pi * k for k in range(-MAX_TURNS, MAX_TURNS + 1)]
        sides = self.position_tolerance, self.speed_tolerance
        x, speed, angular_speed = (
            [(-side, side)] for side in (*sides, self.angular_speed_tolerance)
        )
        upright = [(turn - angle, turn + angle) for turn in turns]
        return {0: x, 1: upright, 2: speed, 3: angular_speed}

    def _angle_error(self, angle: Array) -> Array:
        # 2·(1 − cos θ) = 4·sin²(θ/2), which does not cancel near upright.
        return 2.0 * angle.__array_namespace__().sin(0.5 * angle)

    def _arrived(self, observations: Array) -> Array:
        xp = observations.__array_namespace__()
        x, angle, speed, angular_speed = (observations[..., i] for i in range(4))
        return (
            (xp.cos(angle) >= math.cos(self.angle_tolerance))
            & (xp.abs(x) <= self.position_tolerance)
            & (xp.abs(speed) <= self.speed_tolerance)
            & (xp.abs(angular_speed) <= self.angular_speed_tolerance)
        )


@dataclass(frozen=True)
class Reach(ToolTask):
    """Bring an arm to a goal configuration, its tool with it, and stop.

        c = Σ_j ((q_j − g_j)/s_j)² + Σ_j (q̇_j/v_j)² + log(1 + |p(q) − p(g)|²/s_p²)

    with the tool at p. The squares bring the joints near, and the logarithm, steep
    close to the goal and flat far from it, makes the tool arrive early and precisely
    (after Levine et al., 2016, End-to-end training of deep visuomotor policies).
    Observations are (q, q̇, g); the action costs nothing here: what motors draw is
    counted in energy. An episode succeeds if throughout the last `window` [s] the tool
    is within `tool_tolerance` [m] of the goal's and every joint speed is at most
    `speed_tolerance` [rad/s or m/s].

    Raises:
        RobooptError: if a number is not positive and finite, or the scales differ in
            length or do not reach the chain's last joint.
    """

    chain: ToolChain
    """Forward kinematics of the tool."""
    position_scale: tuple[float, ...]
    """s_j of each joint [rad or m]."""
    speed_scale: tuple[float, ...]
    """v_j of each joint [rad/s or m/s]."""
    tool_scale: float = 0.02
    """s_p [m], about the required precision."""
    tool_tolerance: float = 0.01
    speed_tolerance: float = 0.1
    window: float = 0.1

    _observed = "q, q̇ and goal", 3

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        return (
            "Σ ((q − goal) / s)² + Σ (q̇ / v)² + log(1 + (tool distance / "
            f"{self.tool_scale:g} m)²), "
            f"{scales_said(s=self.position_scale, v=self.speed_scale)}"
        )

    @property
    def success_rule(self) -> str:
        """Return when a motion succeeds, as the end of a sentence."""
        return (
            f"throughout the last {self.window:g} s the tool is within "
            f"{self.tool_tolerance:g} m of the goal's and every joint speed is at most "
            f"{self.speed_tolerance:g} rad/s or m/s"
        )

    def cost_rate(self, observation: Array, action: Array) -> Array:
        """Return c (...) [1] of observations (..., 3n); `action` does not enter.

        Raises:
            RobooptError: if the last axis of `observation` does not hold 3n entries.
        """
        q, velocity, goal = self._split(observation)
        away = self._square_distance(q, goal) / self.tool_scale**2
        xp = observation.__array_namespace__()
        return self._joint_cost(q - goal, velocity) + xp.log1p(away)

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 3n) succeeded, (...) bool.

        Args:
            observations: q [rad or m], q̇ [rad/s or m/s] and goal [rad or m] over the
                whole episode.
            time_step: time between observations [s].
        """
        xp = observations.__array_namespace__()
        q, velocity, goal = self._split(self._end(observations, time_step))
        there = self._square_distance(q, goal) <= self.tool_tolerance**2
        slow = xp.all(xp.abs(velocity) <= self.speed_tolerance, axis=-1)
        return xp.all(there & slow, axis=-1)

    @property
    def tolerances(self) -> dict[int, list[tuple[float, float]]]:
        """Return where the joint speeds must be throughout the window."""
        n, speed = len(self.position_scale), self.speed_tolerance
        return {n + j: [(-speed, speed)] for j in range(n)}
