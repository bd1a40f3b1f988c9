"""Losses that a policy itself computes: a likelihood, and the error of a flow.

The negative log-likelihood of demonstrated actions,

    L(π) = −Σ_b w_b log π(a_b | o_b) / Σ_b w_b   [nat],

has densities over actions in their units, so that it may be negative and changes by a
constant with the unit. For integer actions this is the cross-entropy. Flow matching

    L(v) = 1/(2B) · Σ_b ‖v(x_b, t_b, o_b) − (a_b − ε_b)‖²,    x = (1 − t) ε + t a

trains the velocity of a flow from noise ε ~ N(0, 1) to the action a, at a level
t ~ U(0, 1) of straight paths (Lipman et al., 2023, Flow matching for generative
modeling). The policy defines v and the units of a. The noise is part of the batch, so
that the objective stays a function.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError, require, require_at_least
from roboopt._readable import Readable
from roboopt.data import Demonstrations


class NegativeLogLikelihood(Readable, eqx.Module):
    """A loss for `ActionMismatch`: −`policy.log_prob(observation, action)`.

    Weights of a chunk's steps need a `log_prob` that returns one number a step. If it
    returns one number for the chunk, a chunk has the least weight of its steps.
    """

    def costs(self, model: Any, batch: Demonstrations) -> Float[Array, "..."]:
        """Return −log π [nat], of shape (sample,), or (sample, chunk) for each step."""
        if not hasattr(model, "log_prob"):
            raise RobooptError(
                "`model` must have `log_prob(observation, action)` for a "
                f"`NegativeLogLikelihood`, got {type(model).__name__}: use a policy "
                "that has, or a loss of errors such as `L2`."
            )

        def cost(observation: AnyArray, action: AnyArray) -> Array:
            found = model.log_prob(observation, action)
            # Unchecked, one number an axis would be averaged instead of added.
            if found.shape not in ((), action.shape[:-1]):
                raise RobooptError(
                    "`model.log_prob` must return a number, or one for each step of a "
                    f"chunk, got shape {found.shape} for actions {action.shape}."
                )
            return -found

        return jax.vmap(cost)(batch.observations, batch.actions)


class FlowBatch(eqx.Module):
    """Demonstrations, with the noise and the level for each of them."""

    demonstrations: Demonstrations
    noise: Float[AnyArray, "..."]
    """Standard normal, in the shape of the actions."""
    level: Float[AnyArray, " sample"]
    """Between 0, all noise, and 1, all action."""

    def __check_init__(self):
        size = self.demonstrations.actions.shape
        if self.noise.shape != size or self.level.shape != size[:1]:
            raise RobooptError(
                f"`noise` and `level` must have shapes {size} and {size[:1]}, as the "
                f"actions, got {self.noise.shape} and {self.level.shape}."
            )


class FlowMatching(Readable, eqx.Module):
    """A loss for `ActionMismatch`, on batches that are `FlowBatch`."""

    def errors(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return `model.flow_error` of each sample, in the shape of the actions."""
        if not isinstance(batch, FlowBatch):
            raise RobooptError(
                "`batch` must be a `FlowBatch` for `FlowMatching`, as drawn by "
                "`flow_batches(demonstrations, batch_size)`, got "
                f"{type(batch).__name__}."
            )
        if not hasattr(model, "flow_error"):
            raise RobooptError(
                "`model` must have `flow_error(observation, action, noise, level)` for "
                f"`FlowMatching`, got {type(model).__name__}."
            )

        def error(observation: Any, action: Any, noise: Any, level: Any) -> Array:
            found = model.flow_error(observation, action, noise, level)
            rule = f"return the shape of an action, {action.shape}"
            require(found.shape == action.shape, "model.flow_error", rule, found.shape)
            return found

        known = batch.demonstrations
        arrays = known.observations, known.actions, batch.noise, batch.level
        return jax.vmap(error)(*arrays)


class _FlowBatches(Jittable):
    demonstrations: Demonstrations
    batch_size: int = eqx.field(static=True)

    def __call__(self, model: Any, key: PRNGKeyArray) -> FlowBatch:
        known = self.demonstrations
        for_rows, for_noise, for_level = jax.random.split(key, 3)
        rows = jax.random.randint(for_rows, (self.batch_size,), 0, len(known))
        drawn = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), known)
        size, dtype = drawn.actions.shape, drawn.actions.dtype
        return FlowBatch(
            drawn,
            jax.random.normal(for_noise, size, dtype),
            jax.random.uniform(for_level, size[:1], dtype),
        )


def flow_batches(demonstrations: Any, batch_size: int) -> _FlowBatches:
    """Return a data source `(model, key) -> FlowBatch` for `minimize`.

    The source draws samples with replacement, noise and levels.

    Args:
        demonstrations: with real-valued actions, in any form that `Demonstrations.of`
            reads.
        batch_size: samples a batch.
    """
    known = jax.tree.map(jnp.asarray, Demonstrations.of(demonstrations))
    if not jnp.issubdtype(known.actions.dtype, jnp.floating):
        raise RobooptError(
            "`demonstrations` must have real-valued actions, to which noise can be "
            f"added, got {known.actions.dtype}."
        )
    require_at_least(1, batch_size=batch_size)
    return _FlowBatches(known, batch_size)
