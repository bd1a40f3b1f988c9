"""Linear state feedback, τ = −K (s − s*)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, check_shape
from roboopt._errors import RobooptError, floats, require
from roboopt._readable import readable
from roboopt.dynamics import Held, Twin, linearize, path

MIN_COST_OF_FULL_EFFORT = 0.01


class LinearFeedback(Jittable):
    """τ = −K (s − s*) on the state s = [q, q̇], the beginning of an observation."""

    gains: Float[Array, "act state"]
    """K: [N/m], [N·m/rad] for positions, [N·s/m], [N·m·s/rad] for velocities."""
    target: Frozen[Float[Array, " state"]]

    def __init__(
        self,
        gains: Float[AnyArray, "..."],
        target: Float[AnyArray, "..."] | None = None,
    ):
        """Hold `target`, by default the origin, with `gains` of (actions, state)."""
        gains = checked_finite("gains", gains)
        require(gains.ndim == 2, "gains", "have shape (actions, state)", gains.shape)
        target = jnp.zeros(gains.shape[1]) if target is None else target
        target = checked_finite("target", target)
        check_shape("target", target.shape, gains.shape[1:])
        self.gains, self.target = gains, Frozen(target)

    @classmethod
    def regulator(
        cls,
        dynamics: Any,
        cost_rate: Callable[[Any, Any], Any],
        target: Float[AnyArray, "..."],
    ) -> "LinearFeedback":
        """Return the linear-quadratic regulator about an equilibrium.

        K minimizes the infinite sum of δsᵀQδs + δaᵀRδa + 2δsᵀNδa, half the second
        derivative of the cost, under the dynamics linearized where the efforts hold
        the equilibrium. Coulomb friction, which only slow motion feels as damping, is
        left out. Full effort counts as at least a cost of 0.01. Under a `Held` dynamics
        the cost of a control period is the mean over its time steps.

        Args:
            dynamics: `dynamics(state, action) -> next_state`, such as a `Twin`.
            cost_rate: `cost_rate(state, action)`, twice differentiable.
            target: the state of equilibrium, [q, 0].

        Raises:
            RobooptError: if no feedback stabilizes the equilibrium.
        """
        from scipy.linalg import LinAlgError, solve_discrete_are  # Slow to import.

        twin = dynamics.origin if isinstance(dynamics, Held) else dynamics
        if isinstance(twin, Twin):
            free = jnp.zeros_like(twin.robot.friction), None
            smooth = eqx.tree_at(
                lambda twin: (twin.robot.friction, twin.robot.friction_law),
                twin,
                free,
                is_leaf=lambda x: x is None,
            )
            if dynamics is not twin:
                smooth = Held(smooth, dynamics.time_step)
            dynamics = smooth
        state, action = jnp.asarray(target, float), jnp.zeros(dynamics.action_size)
        _, b = linearize(dynamics, state, action)
        fall = np.asarray(state - dynamics(state, action))
        holding = np.linalg.lstsq(np.asarray(b), fall, rcond=None)[0]
        action = jnp.asarray(holding)
        a, b = map(np.asarray, linearize(dynamics, state, action))
        n, at = len(state), jnp.concatenate([state, action])

        def states(both: Array) -> Array:
            if not isinstance(dynamics, Held):
                return both[None, :n]
            return path(dynamics, both[:n], both[n:]).states

        first, slope = jax.jit(lambda x: (states(x), jax.jacfwd(states)(x)))(at)

        def cost(both: Array) -> Array:
            reached = first + slope @ (both - at)
            return jax.vmap(lambda s: cost_rate(s, both[n:]))(reached).mean()

        half = 0.5 * np.asarray(jax.jit(jax.hessian(cost))(at))
        limits = np.asarray(getattr(dynamics, "effort_limits", np.inf), float)
        floor = np.broadcast_to(MIN_COST_OF_FULL_EFFORT / limits**2, holding.shape)
        values, axes = np.linalg.eigh(half)
        half = (axes * np.maximum(values, 0.0)) @ axes.T
        q, cross, r = half[:n, :n], half[:n, n:], half[n:, n:]
        r = r + np.diag(np.maximum(floor - np.diag(r), 0.0))
        try:
            p = solve_discrete_are(a, b, q, r, s=cross)
        except (LinAlgError, ValueError) as error:
            raise RobooptError(
                "`target` must be an equilibrium that the actions can stabilize, got "
                f"{np.round(target, 4).tolist()}: {error}"
            ) from error
        gains = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a + cross.T)
        # −K (s − s*) is the holding effort at the target.
        return cls(gains, state + np.linalg.pinv(gains) @ holding)

    def _shown(self) -> dict[str, Any]:
        of_state = "m or rad, m/s or rad/s"
        return {
            "gains": f"{readable(self.gains)} N/m or N·m/rad, N·s/m or N·m·s/rad",
            "target": f"{readable(self.target)} {of_state}",
        }

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N]."""
        state = leading(observation, self.gains.shape[1])
        return -self.gains @ (state - self.target())


def leading(observation: Float[AnyArray, " obs"], size: int) -> Float[Array, " size"]:
    """Return the first `size` numbers of an observation, refused if it has fewer."""
    observation = jnp.asarray(observation)
    held, rule = observation.shape[0], f"hold at least {size} numbers"
    require(held >= size, "observation", rule, held)
    return observation[:size]


def checked_finite(name: str, values: Any) -> Array:
    """Return the argument `name` as an array, refused unless finite, if not traced."""
    if isinstance(values, jax.core.Tracer):  # pyright: ignore
        return jnp.asarray(values, float)
    numbers = floats(name, values)
    require(np.all(np.isfinite(numbers)), name, "be finite", values)
    return jnp.asarray(numbers)
