"""Flow matching: the flow from noise to the demonstrated action, trained as a velocity.

    L(v) = 1/(2B) · Σ_b ‖v(x_b, t_b, o_b) − (a_b − ε_b)‖²,    x = (1 − t) ε + t a

with noise ε ~ N(0, 1) and the level t ~ U(0, 1), on straight paths (Lipman et al.,
2023, Flow matching for generative modeling). The policy defines v and the units of a:
`flow_error(observation, action, noise, level)` is the vector in the bars. The noise is
part of the batch, so that the objective stays a function.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt._readable import Readable
from roboopt.data import Demonstrations


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
        """Return `model.flow_error` of each sample, in the shape of the actions.

        Raises:
            RobooptError: if `batch` is no `FlowBatch`, `model` has no `flow_error`, or
                it returns another shape than an action's.
        """
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

        def error(
            observation: AnyArray, action: AnyArray, noise: AnyArray, level: AnyArray
        ) -> Array:
            found = model.flow_error(observation, action, noise, level)
            if found.shape != action.shape:
                raise RobooptError(
                    "`model.flow_error` must return the shape of an action, "
                    f"{action.shape}, got {found.shape}."
                )
            return found

        known = batch.demonstrations
        return jax.vmap(error)(
            known.observations, known.actions, batch.noise, batch.level
        )


class FlowBatches(Jittable):
    """The data source that `flow_batches` makes."""

    demonstrations: Demonstrations
    batch_size: int = eqx.field(static=True)

    def __call__(self, model: Any, key: PRNGKeyArray) -> FlowBatch:
        """Draw samples with replacement, noise and levels."""
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


def flow_batches(demonstrations: Any, batch_size: int) -> FlowBatches:
    """Return a data source `(model, key) -> FlowBatch` for `minimize`.

    Args:
        demonstrations: in any form that `Demonstrations.of` reads.
        batch_size: samples a batch.

    Raises:
        RobooptError: if there are no demonstrations, their actions are integers, or
            `batch_size` is less than 1.
    """
    known = jax.tree.map(jnp.asarray, Demonstrations.of(demonstrations))
    if not jnp.issubdtype(known.actions.dtype, jnp.floating):
        raise RobooptError(
            "`demonstrations` must have real-valued actions, to which noise can be "
            f"added, got {known.actions.dtype}."
        )
    if batch_size < 1:
        raise RobooptError(f"`batch_size` must be at least 1, got {batch_size}.")
    return FlowBatches(known, batch_size)
