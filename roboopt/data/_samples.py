"""What is averaged over demonstrations: the samples, and the share of each."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._errors import RobooptError
from roboopt.data._demonstrations import Demonstrations
from roboopt.data._trajectory import Trajectory


def samples(batch: Any) -> Demonstrations:
    """Return the samples of `batch`; of trajectories all but the last observations.

    Raises:
        RobooptError: if `batch` is neither, or empty.
    """
    if isinstance(batch, Trajectory):
        observations = jnp.asarray(batch.observations)[..., :-1, :]
        actions = jnp.asarray(batch.actions)
        batch = Demonstrations(
            observations.reshape(-1, observations.shape[-1]),
            actions.reshape(-1, actions.shape[-1]),
        )
    if not isinstance(batch, Demonstrations):
        raise RobooptError(
            "`batch` must be a `Demonstrations` or a `Trajectory`, got "
            f"{type(batch).__name__}."
        )
    if len(batch) == 0:
        raise RobooptError("`batch` must hold at least one demonstration, got 0.")
    return batch


def shares(batch: Demonstrations, steps: tuple[int, ...]) -> Float[Array, "..."]:
    """Return what part of the whole each sample is; they sum to 1.

    Where nothing weighs anything, as in a minibatch of padding, all are 0.

    Args:
        batch: with weights, or without, when all count the same.
        steps: (sample,), or (sample, chunk) where every step has a share of its own.
            A chunk that is judged as a whole counts by the least of its steps.
    """
    if batch.weights is None:
        weights = jnp.ones(steps)
    else:
        weights = jnp.asarray(batch.weights)
        if weights.ndim > len(steps):
            weights = jnp.min(weights, -1)
        missing = tuple(range(weights.ndim, len(steps)))
        weights = jnp.broadcast_to(jnp.expand_dims(weights, missing), steps)
    whole = jnp.sum(weights)
    return weights / jnp.where(whole > 0, whole, 1.0)
