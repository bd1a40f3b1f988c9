"""Which of a model's arrays are tuned, and which stay as they are."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax

from roboopt._core import trainable
from roboopt._errors import RobooptError
from roboopt.optimize._bounds import Bound


def partition(model: Any, where: Any) -> tuple[Any, Any, Any]:
    """Split into the leaves to train, the other arrays, and the rest."""
    wanted = trainable(model)
    if where is not None:
        chosen = jax.tree.map(lambda _: False, model)
        chosen = eqx.tree_at(
            where, chosen, replace_fn=lambda node: jax.tree.map(lambda _: True, node)
        )
        wanted = jax.tree.map(lambda a, b: a and b, wanted, chosen)
    trained, other = eqx.partition(model, wanted)
    rest, static = eqx.partition(other, eqx.is_array)
    if not jax.tree.leaves(trained):
        raise RobooptError(
            "`model` must have a floating-point array to tune (numbers of Python are "
            f"constants; `trainable` may leave none), got {jax.tree.structure(model)}."
        )
    return trained, rest, static


def inside(bounds: Sequence[Bound], model: Any, trained: Any) -> list[Bound]:
    """Return the bounds, each checked to name leaves that are trained."""
    for bound in bounds:
        if not jax.tree.leaves(bound.where(trained)):
            raise RobooptError(
                "`bounds` must name arrays that are tuned, got one that names "
                f"{bound.where(model)}."
            )
    return list(bounds)
