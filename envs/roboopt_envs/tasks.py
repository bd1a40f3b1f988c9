"""Tasks of robots, written once for environments (NumPy) and objectives (JAX).

A task defines a dimensionless cost rate c of observation and action: every error is
divided by a scale in its own unit before anything is added. Over a trajectory of
observations o_0 … o_T and actions a_0 … a_{T-1} the task cost, in [s], is

    J = Σ_k c(o_{k+1}, a_k)·Δt

and an environment's reward is −c·Δt. Tasks use the array API, elementwise over leading
axes, so that the same code runs in NumPy and in JAX. Tasks are hashable: they can be
static arguments of `jax.jit`.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

from roboopt._errors import RobooptError

from ._actuators import Actuators
from ._tool_chain import ToolChain

__all__ = ["Actuators", "Balance", "Reach", "SwingUp", "ToolChain"]

Array = Any  # an array of NumPy, JAX or any library with `__array_namespace__`


@dataclass(frozen=True)
class Balance:
    """Keep a cart-pole's pole upright, and the cart in the middle of its rail.

        c = (x/s_x)² + (θ/s_θ)² + (ẋ/s_ẋ)² + (θ̇/s_θ̇)² + (F/s_F)²

    is quadratic in observation (x, θ, ẋ, θ̇) and force F, so that LQR theory applies.
    An episode succeeds if throughout the last `window` the pole is within
    `angle_tolerance` of upright and the cart within `position_tolerance` of the middle,
    and if the cart never left the rail.

    Args:
        position_scale: s_x [m].
        angle_scale: s_θ [rad].
        speed_scale: s_ẋ [m/s].
        angular_speed_scale: s_θ̇ [rad/s].
        force_scale: s_F [N].
        position_tolerance: largest |x| at the end [m].
        angle_tolerance: largest |θ| at the end [rad].
        rail: largest |x| at any time [m].
        window: length of the final part of the episode [s].

    Raises:
        RobooptError: if a field is not positive and finite.
    """

    position_scale: float = 0.5
    angle_scale: float = 0.2
    speed_scale: float = 2.0
    angular_speed_scale: float = 2.0
    force_scale: float = 10.0
    position_tolerance: float = 0.1
    angle_tolerance: float = 0.05
    rail: float = 2.4
    window: float = 1.0

    def __post_init__(self):
        """Check scales and tolerances."""
        _require_positive(self)

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        return (
            f"(x / {self.position_scale:g} m)² + (θ / {self.angle_scale:g} rad)² + "
            f"(ẋ / {self.speed_scale:g} m/s)² + "
            f"(θ̇ / {self.angular_speed_scale:g} rad/s)² + "
            f"(F / {self.force_scale:g} N)²"
        )

    @property
    def success_rule(self) -> str:
        """Return when a motion succeeds, as the end of a sentence."""
        return (
            f"throughout the last {self.window:g} s |θ| ≤ {self.angle_tolerance:g} rad "
            f"and |x| ≤ {self.position_tolerance:g} m, and |x| ≤ {self.rail:g} m always"
        )

    def cost_rate(self, observation: Array, action: Array) -> Array:
        """Return c (...) [1] of observations (..., 4) reached by actions (..., 1).

        Raises:
            RobooptError: if the last axes do not hold 4 and 1 entries.
        """
        x, angle, speed, angular_speed, force = _cart_pole(observation, action)
        return (
            _square(x / self.position_scale)
            + _square(angle / self.angle_scale)
            + _square(speed / self.speed_scale)
            + _square(angular_speed / self.angular_speed_scale)
            + _square(force / self.force_scale)
        )

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 4) succeeded, (...) bool.

        Args:
            observations: x [m], θ [rad], ẋ [m/s], θ̇ [rad/s] over the whole episode.
            time_step: time between observations [s].
        """
        xp = observations.__array_namespace__()
        x, angle = xp.abs(observations[..., 0]), xp.abs(observations[..., 1])
        end = _window(self.window, time_step)
        return (
            xp.all(x <= self.rail, axis=-1)
            & xp.all(x[..., end:] <= self.position_tolerance, axis=-1)
            & xp.all(angle[..., end:] <= self.angle_tolerance, axis=-1)
        )


@dataclass(frozen=True)
class SwingUp:
    """Swing a cart-pole's pole up from hanging, and stay there.

        c = 2·(1 − cos θ)/s_θ² + (x/s_x)² + (ẋ/s_ẋ)² + (θ̇/s_θ̇)² + (F/s_F)²

    is smooth and bounded in the angle, periodic in full turns, and quadratic near
    upright, where the angle's term is (θ/s_θ)². An episode succeeds if throughout the
    last `window` the pole is within `angle_tolerance` of upright, the cart within
    `position_tolerance` of the middle, both slow, and if the cart never
    left the rail.

    Args:
        position_scale: s_x [m].
        angle_scale: s_θ [rad].
        speed_scale: s_ẋ [m/s].
        angular_speed_scale: s_θ̇ [rad/s].
        force_scale: s_F [N].
        position_tolerance: largest |x| at the end [m].
        angle_tolerance: largest angle from upright at the end [rad], at most π.
        speed_tolerance: largest |ẋ| at the end [m/s].
        angular_speed_tolerance: largest |θ̇| at the end [rad/s].
        rail: largest |x| at any time [m].
        window: length of the final part of the episode [s].

    Raises:
        RobooptError: if a field is not positive and finite, or `angle_tolerance` is
            above π.
    """

    position_scale: float = 1.0
    angle_scale: float = 1.0
    speed_scale: float = 5.0
    angular_speed_scale: float = 10.0
    force_scale: float = 20.0
    position_tolerance: float = 0.5
    angle_tolerance: float = 0.2
    speed_tolerance: float = 0.5
    angular_speed_tolerance: float = 1.0
    rail: float = 2.4
    window: float = 1.0

    def __post_init__(self):
        """Check scales and tolerances."""
        _require_positive(self)
        if self.angle_tolerance > math.pi:
            raise RobooptError(
                f"`angle_tolerance` must be at most π rad, got {self.angle_tolerance}."
            )

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        return (
            f"(x / {self.position_scale:g} m)² + "
            f"2 (1 − cos θ) / ({self.angle_scale:g} rad)² + "
            f"(ẋ / {self.speed_scale:g} m/s)² + "
            f"(θ̇ / {self.angular_speed_scale:g} rad/s)² + "
            f"(F / {self.force_scale:g} N)²"
        )

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

    def cost_rate(self, observation: Array, action: Array) -> Array:
        """Return c (...) [1] of observations (..., 4) reached by actions (..., 1).

        Raises:
            RobooptError: if the last axes do not hold 4 and 1 entries.
        """
        x, angle, speed, angular_speed, force = _cart_pole(observation, action)
        xp = observation.__array_namespace__()
        # 2·(1 − cos θ) = 4·sin²(θ/2), which does not cancel near upright.
        return (
            _square(2.0 * xp.sin(0.5 * angle) / self.angle_scale)
            + _square(x / self.position_scale)
            + _square(speed / self.speed_scale)
            + _square(angular_speed / self.angular_speed_scale)
            + _square(force / self.force_scale)
        )

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 4) succeeded, (...) bool.

        Args:
            observations: x [m], θ [rad], ẋ [m/s], θ̇ [rad/s] over the whole episode.
            time_step: time between observations [s].
        """
        xp = observations.__array_namespace__()
        end = observations[..., _window(self.window, time_step) :, :]
        upright = xp.cos(end[..., 1]) >= math.cos(self.angle_tolerance)
        still = (
            (xp.abs(end[..., 0]) <= self.position_tolerance)
            & (xp.abs(end[..., 2]) <= self.speed_tolerance)
            & (xp.abs(end[..., 3]) <= self.angular_speed_tolerance)
        )
        on_rail = xp.abs(observations[..., 0]) <= self.rail
        return xp.all(upright & still, axis=-1) & xp.all(on_rail, axis=-1)


@dataclass(frozen=True)
class Reach:
    """Bring an arm to a goal configuration, its tool with it, and stop.

        c = Σ_j ((q_j − g_j)/s_j)² + Σ_j (q̇_j/v_j)² + log(1 + |p(q) − p(g)|²/s_p²)

    with the tool at p. The squares bring the joints near, and the logarithm, steep
    close to the goal and flat far from it, makes the tool arrive early and precisely
    (after Levine et al., 2016, End-to-end training of deep visuomotor policies).
    Observations are (q, q̇, g); the action costs nothing here: what motors draw is
    counted in energy. An episode succeeds if throughout the last `window` the tool is
    within `tool_tolerance` of the goal's and every joint speed is at most
    `speed_tolerance`.

    Args:
        chain: forward kinematics of the tool.
        position_scale: s_j of each joint [rad or m].
        speed_scale: v_j of each joint [rad/s or m/s].
        tool_scale: s_p [m], about the required precision.
        tool_tolerance: largest distance of the tool at the end [m].
        speed_tolerance: largest |q̇_j| at the end [rad/s or m/s].
        window: length of the final part of the episode [s].

    Raises:
        RobooptError: if a number is not positive and finite, or the scales differ in
            length or do not reach the chain's last joint.
    """

    chain: ToolChain
    position_scale: tuple[float, ...]
    speed_scale: tuple[float, ...]
    tool_scale: float = 0.02
    tool_tolerance: float = 0.01
    speed_tolerance: float = 0.1
    window: float = 0.1

    def __post_init__(self):
        """Check scales and tolerances."""
        _require_positive(self)
        joints = len(self.position_scale)
        if joints != len(self.speed_scale) or joints <= max(self.chain.joints):
            raise RobooptError(
                "`position_scale` and `speed_scale` must hold one value for each "
                f"joint, more than {max(self.chain.joints)}, got {joints} and "
                f"{len(self.speed_scale)}."
            )

    @property
    def formula(self) -> str:
        """Return the cost rate c [1] as a formula, with its scales."""
        return (
            "Σ ((q − goal) / s)² + Σ (q̇ / v)² + log(1 + (tool distance / "
            f"{self.tool_scale:g} m)²), with the scales s and v of each joint"
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
        xp = observation.__array_namespace__()
        errors = xp.concat([q - goal, velocity], axis=-1)
        scale = xp.asarray(
            self.position_scale + self.speed_scale, dtype=observation.dtype
        )
        scale = xp.reshape(scale, (1,) * (observation.ndim - 1) + scale.shape)
        return xp.sum(_square(errors / scale), axis=-1) + xp.log1p(
            self._square_distance(q, goal) / self.tool_scale**2
        )

    def success(self, observations: Array, time_step: float) -> Array:
        """Return whether episodes of observations (..., T+1, 3n) succeeded, (...) bool.

        Args:
            observations: q [rad or m], q̇ [rad/s or m/s] and goal [rad or m] over the
                whole episode.
            time_step: time between observations [s].
        """
        xp = observations.__array_namespace__()
        end = observations[..., _window(self.window, time_step) :, :]
        q, velocity, goal = self._split(end)
        there = self._square_distance(q, goal) <= self.tool_tolerance**2
        slow = xp.all(xp.abs(velocity) <= self.speed_tolerance, axis=-1)
        return xp.all(there & slow, axis=-1)

    def _split(self, observation: Array) -> tuple[Array, Array, Array]:
        n = len(self.position_scale)
        if observation.shape[-1] != 3 * n:
            raise RobooptError(
                f"`observation` must hold q, q̇ and goal of {n} joints on its last "
                f"axis, got shape {observation.shape}."
            )
        return (
            observation[..., :n],
            observation[..., n : 2 * n],
            observation[..., 2 * n :],
        )

    def _square_distance(self, q: Array, goal: Array) -> Array:
        here, there = self.chain.coordinates(q), self.chain.coordinates(goal)
        return sum(_square(a - b) for a, b in zip(here, there, strict=True))


def _square(x: Array) -> Array:
    return x * x


def _cart_pole(observation: Array, action: Array) -> tuple[Array, ...]:
    """Return x, θ, ẋ, θ̇ and the force."""
    if observation.shape[-1] != 4 or action.shape[-1] != 1:
        raise RobooptError(
            "`observation` and `action` must hold (x, θ, ẋ, θ̇) and (force,) on their "
            f"last axis, got shapes {observation.shape} and {action.shape}."
        )
    return (*(observation[..., i] for i in range(4)), action[..., 0])


def _window(duration: float, time_step: float) -> int:
    """Return the (negative) index where the last `duration` [s] begin."""
    return -(round(duration / time_step) + 1)


def _require_positive(task):
    for field in fields(task):
        value = getattr(task, field.name)
        if isinstance(value, ToolChain):
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(0 < number < math.inf for number in numbers):
            raise RobooptError(
                f"`{field.name}` must be positive and finite, got {value}."
            )
