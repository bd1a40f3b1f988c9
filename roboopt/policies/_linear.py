"""Linear state feedback, τ = −K (s − s*)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, check_shape
from roboopt._errors import RobooptError, floats, require


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
        if gains.ndim != 2:
            raise RobooptError(
                f"`gains` must have shape (actions, state), got {gains.shape}."
            )
        target = jnp.zeros(gains.shape[1]) if target is None else target
        target = checked_finite("target", target)
        check_shape("target", target.shape, gains.shape[1:])
        self.gains, self.target = gains, Frozen(target)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N]."""
        state = leading(observation, self.gains.shape[1])
        return -self.gains @ (state - self.target())


def leading(observation: Float[AnyArray, " obs"], size: int) -> Float[Array, " size"]:
    """Return the first `size` numbers of an observation, refused if it has fewer."""
    observation = jnp.asarray(observation)
    if observation.shape[0] < size:
        raise RobooptError(
            f"`observation` must hold at least {size} numbers, got "
            f"{observation.shape[0]}."
        )
    return observation[:size]


def checked_finite(name: str, values: Any) -> Array:
    """Return the argument `name` as an array, refused unless finite, if not traced."""
    if isinstance(values, jax.core.Tracer):  # pyright: ignore
        return jnp.asarray(values, float)
    numbers = floats(name, values)
    require(np.all(np.isfinite(numbers)), name, "be finite", values)
    return jnp.asarray(numbers)
