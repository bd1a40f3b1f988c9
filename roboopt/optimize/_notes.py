"""Notes of every step: how long its gradient and its move were, and what it promised.

    predicted decrease = −g · Δx,   actual decrease = L(x) − L(x + Δx)

The prediction is first order: it holds for short steps, and a step that is too long
falls short of it or raises the loss. All notes are in the coordinates that the
optimizer moves, which for parameters with bounds are those without.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from roboopt.gradients import inner, norm

NOTES = (
    "gradient_norm",
    "step_norm",
    "predicted_decrease",
    "actual_decrease",
    "learning_rate",
)
"""Names in the history of a `Result`."""
PATH = ("parameters", "derivatives")
"""Of a model of few numbers: all of them and their derivatives, before each step."""
MAX_PATH_NUMBERS = 50
NOTE_PERIOD = 8  # steps on changing batches, of which one has its move noted


def step_notes(
    before: Any,
    after: Any,
    gradient: Any,
    optimizer: Any,
    now: bool | Bool[Array, ""] = True,
) -> dict[str, Float[Array, ""]]:
    """Return the notes of one step, but for the actual decrease.

    The `optimizer` is its state after the step. Where not `now`, the move is NaN.
    """

    def of_step() -> tuple[Array, Array]:
        step = jax.tree.map(jnp.subtract, after, before)
        return norm(step), -inner(gradient, step)

    kinds = eqx.filter_eval_shape(of_step)
    unknown = lambda: tuple(jnp.full((), jnp.nan, k.dtype) for k in kinds)  # noqa: E731
    found = of_step() if now is True else jax.lax.cond(now, of_step, unknown)
    notes = {
        "gradient_norm": norm(gradient),
        "step_norm": found[0],
        "predicted_decrease": found[1],
    }
    rate = learning_rate(optimizer)
    return notes if rate is None else {**notes, "learning_rate": rate}


def path_notes(params: Any, gradient: Any) -> dict[str, Float[Array, " number"]]:
    """Return the numbers and derivatives of a small model, nothing of a large one."""
    leaves, slopes = jax.tree.leaves(params), jax.tree.leaves(gradient)
    if sum(leaf.size for leaf in leaves) > MAX_PATH_NUMBERS:
        return {}
    parts = (jnp.concatenate([x.ravel() for x in part]) for part in (leaves, slopes))
    return dict(zip(PATH, parts, strict=True))


def learning_rate(optimizer: Any) -> Float[Array, ""] | None:
    """Return the learning rate in the state of an optimizer, None if it keeps none.

    `optax.inject_hyperparams` keeps the rate, `scale_by_schedule` of this package does,
    and a line search keeps the length of its last step.
    """
    import optax

    found = optax.tree.get_all_with_path(optimizer, "learning_rate")
    rates = [rate for _, rate in found if isinstance(rate, Array)]
    return rates[0].astype(float) if len(rates) == 1 else None
