"""What the derivative of an objective says about each parameter of a model.

The derivative has a sign, which says in which direction a parameter lowers the loss,
and a size, which says how much the parameter matters. To first order a step Δx changes
the loss by f'(x)·Δx. The gradient is split by term, f = Σ w_i t_i, where terms may pull
against each other, and for a policy in a rollout by time,

    dL/dp = Σ_t ∂a_t/∂p · dL/da_t,

over the actions a_t = π_p(o_t), where dL/da_t includes all that the action changes
later.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import sizes
from roboopt._errors import RobooptError, require
from roboopt._programs import filter_jit
from roboopt.diagnose._descent_gradients import LEARNING_RATES
from roboopt.diagnose._explanation import Explanation, TermShare
from roboopt.diagnose._parameters import (
    Joined,
    Row,
    leaf_names,
    parameters_of,
    require_scalar,
    rows_of,
)
from roboopt.diagnose._time_split import time_split
from roboopt.gradients import LossFn, differentiable, differentiating, inner
from roboopt.objectives import Objective

MAX_DIFFERENCED = 64  # parameters of an objective that JAX cannot differentiate
PERCENT = 0.01
PROBE = 1e-4  # of the parameters' scale, for the curvature along the gradient
MAX_CURVATURE_SPREAD = 0.1  # between two probes
LINE_END, LINE_POINTS = 2.4, 17  # in learning rates, of 1 / curvature
DIFFERENCE_STEP = 1e-3  # of a parameter's scale
ROUNDINGS = 8.0  # last digits of the loss that a difference may be off


def explain(
    objective: Callable[[Any, Any], Any],
    model: Any,
    batch: Any,
    *,
    trainable: Callable[[Any], Any] | None = None,
    units: Mapping[str, str] | None = None,
) -> Explanation:
    """Explain the gradient of an objective at a model.

    Args:
        objective: an `Objective`, or any function of model and batch that returns a
            scalar.
        model: any pytree; its floating-point arrays are the parameters, except in
            `Frozen`; an array `log_gain` stands for the gain. Up to 24 numbers get a
            row each; of more, each array gets one.
        batch: the data, as one step of `minimize` sees them.
        trainable: selects the parameters, as in `minimize`.
        units: of the parameters, by the name of a number ("gains[0, 1]") or an array
            ("gains").

    Raises:
        RobooptError: if no array is trainable, the loss is not a finite real number,
            `objective` cannot be traced, `units` names no parameter, or `objective`
            runs a simulator outside JAX and has more than 64 parameters.
    """
    params, fixed, static = parameters_of(model, trainable)
    loss_fn = LossFn(objective, Joined(fixed, static))
    if traced := differentiable(objective):
        require_scalar("objective", loss_fn, params, batch)
    differentiate = _differentiated if traced else _differenced
    with differentiating("objective"):
        values, slopes = differentiate(loss_fn, params, batch)
    loss = float(jnp.sum(values))
    if not math.isfinite(loss):
        raise RobooptError(f"`objective` must be finite at `model`, got {loss}.")
    shares = _shares(objective, model, batch, np.asarray(values, float))
    # Terms without weight, as diagnostics are, pull nowhere.
    pulls = [np.any(s.reshape(len(s), -1) != 0, 1) for s in _leaves(slopes)]
    kept = np.flatnonzero((np.asarray(values) != 0) | np.any(pulls, 0))
    kept = kept if kept.size else np.arange(1)
    slopes = jax.tree.map(lambda s: s[kept], slopes)
    rows = rows_of(leaf_names(params, objective), jax.tree.leaves(params))
    gradient = jax.tree.map(lambda s: s.sum(0), slopes)
    square = float(inner(gradient, gradient))
    curvature = _curvature(loss_fn, params, batch, gradient, square)
    bends = curvature > 0
    line = np.linspace(0.0, LINE_END / curvature if bends else 0.0, LINE_POINTS)
    steps = [*LEARNING_RATES, *line]  # Of one shape: one compiled program for all.
    found = _changes(loss_fn, params, batch, rows, gradient, loss, steps)
    known = _known_units(units, rows)
    tried = len(LEARNING_RATES)
    return Explanation(
        loss=loss,
        names=tuple(row.name for row in rows),
        sizes=tuple(row.size for row in rows),
        values=tuple(row.value(params) for row in rows),
        units=tuple(known.get(r.name) or known.get(r.leaf_name, "") for r in rows),
        derivatives=np.array([row.slopes(slopes, params) for row in rows]),
        changes=found.by_row,
        terms=tuple(shares[k] for k in kept),
        cosines=_cosines(slopes, params, rows),
        gradient_norm=math.sqrt(square),
        learning_rates=np.array(LEARNING_RATES),
        predicted=_scaled(-square, np.array(LEARNING_RATES)),
        actual=found.by_step[:tried],
        curvature=curvature,
        time=time_split(loss_fn, params, batch, _places(rows, params)),
        scales=tuple(row.scale(params) for row in rows),
        line_rates=line[: LINE_POINTS * bends],
        line=found.by_step[tried:][: LINE_POINTS * bends],
        rounding=float(jnp.finfo(values.dtype).eps),
        differences=found.differences,
        logarithms=tuple(row.name for row in rows if row.log),
    )


def _known_units(units: Mapping[str, str] | None, rows: list[Row]) -> dict[str, str]:
    """Return the units, refused where they name no parameter."""
    leaves = dict.fromkeys(row.leaf_name for row in rows)
    for name in units or {}:
        known = any(name == leaf or name.startswith(f"{leaf}[") for leaf in leaves)
        require(known, "units", f"name parameters, such as {', '.join(leaves)}", name)
    return dict(units or {})


def _places(rows: list["Row"], params: Any) -> list[tuple[int, int | None, float]]:
    """Return leaf and element of each row, and the factor of its derivative."""
    return [(r.leaf, r.index, 1 / r.value(params) if r.log else 1.0) for r in rows]


def _weighted(objective: Any, model: Any, batch: Any) -> Float[Array, " term"]:
    """Return weight · value of each term; the loss where there are no terms."""
    if not isinstance(objective, Objective):
        return jnp.asarray(objective(model, batch)).reshape(1)
    terms = objective.terms(model, batch).values()
    return jnp.stack([jnp.asarray(term.weight * term.value) for term in terms])


@filter_jit
def _differentiated(loss_fn: LossFn, params: Any, batch: Any) -> tuple[Array, Any]:
    """Return the weighted terms, and their derivatives in each leaf (term, ...)."""

    def terms(params):
        return _weighted(loss_fn.objective, loss_fn.build(params), batch)

    values, back = jax.vjp(terms, params)
    (slopes,) = jax.vmap(back)(jnp.eye(len(values), dtype=values.dtype))
    return values, slopes


def _differenced(loss_fn: LossFn, params: Any, batch: Any) -> tuple[Array, Any]:
    """Return the weighted terms and their derivatives by central differences.

    Raises:
        RobooptError: if there are too many parameters.
    """
    leaves, structure = jax.tree.flatten(params)
    count = sum(leaf.size for leaf in leaves)
    if count > MAX_DIFFERENCED:
        raise RobooptError(
            "`objective` must be differentiable by JAX for more than "
            f"{MAX_DIFFERENCED} parameters, got {count} parameters and a simulator "
            "outside JAX."
        )
    moved, steps = [params], []
    for k, (leaf, scale) in enumerate(
        zip(leaves, jax.tree.leaves(sizes(params)), strict=True)
    ):
        for index in range(leaf.size):
            for step in (DIFFERENCE_STEP * scale, -DIFFERENCE_STEP * scale):
                own = leaf.ravel().at[index].add(step).reshape(leaf.shape)
                changed = [*leaves[:k], own, *leaves[k + 1 :]]
                moved.append(jax.tree.unflatten(structure, changed))
            steps.append(DIFFERENCE_STEP * scale)
    stacked = jax.tree.map(lambda *own: jnp.stack(own), *moved)
    models = eqx.filter_vmap(loss_fn.build)(stacked)
    terms = loss_fn.objective.evaluate_many(models, batch)  # pyright: ignore
    values = jnp.stack([term.weight * term.value for term in terms.values()])
    slopes = (values[:, 1::2] - values[:, 2::2]) / (2 * jnp.stack(steps)[None])
    parts = jnp.split(slopes, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    parts = [
        part.reshape(len(values), *leaf.shape)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return values[:, 0], jax.tree.unflatten(structure, parts)


def _shares(
    objective: Any, model: Any, batch: Any, values: np.ndarray
) -> tuple[TermShare, ...]:
    """Return the terms with their names and units."""
    if not isinstance(objective, Objective):
        return (TermShare("loss", float(values[0]), "1"),)
    units: dict[str, str] = {}

    def note(model: Any, batch: Any) -> None:
        # A dictionary that JAX returns is sorted; here the terms keep their order.
        units.update((n, t.unit) for n, t in objective.terms(model, batch).items())

    if objective.differentiable:
        eqx.filter_eval_shape(note, model, batch)
    else:
        note(model, batch)
    return tuple(
        TermShare(name, float(value), unit)
        for (name, unit), value in zip(units.items(), values, strict=True)
    )


@filter_jit
def _losses(loss_fn: LossFn, many: Any, batch: Any) -> Array:
    """Return the losses at many parameters."""
    return loss_fn.evaluate_many(many, batch)[0]


def _leaves(slopes: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, float) for leaf in jax.tree.leaves(slopes)]


def _cosines(slopes: Any, params: Any, rows: list[Row]) -> np.ndarray:
    """Return the cosines between the terms' gradients, NaN for a gradient of zero.

    The derivatives are those per percent of each row, so that no unit matters.
    """
    leaves, relative = [x.reshape(len(x), -1) for x in _leaves(slopes)], []
    for row in rows:
        own = leaves[row.leaf]
        own = own if row.index is None else own[:, [row.index]]
        relative.append(own if row.log else own * (row.scale(params) or 1.0))
    flat = np.concatenate(relative, 1)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(flat, axis=1)
        return (flat @ flat.T) / np.outer(norms, norms)


def _scaled(square: float, rates: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return square * rates


class Changes(NamedTuple):
    """Changes of the loss that were evaluated."""

    by_row: np.ndarray
    """(row, 2): by 1 % less and more."""
    by_step: np.ndarray
    differences: np.ndarray
    """See `Explanation`."""


def _changes(
    loss_fn: LossFn,
    params: Any,
    batch: Any,
    rows: list[Row],
    gradient: Any,
    loss: float,
    rates: Sequence[float],
) -> Changes:
    """Evaluate the changes by −1 % and +1 % of each row, by each step, and nearby.

    Small steps of each number or array, and of a large model along the gradient, tell
    whether the derivative is that of the loss.
    """
    traced = differentiable(loss_fn.objective)
    moved = [row.moved(params, s * PERCENT) for row in rows for s in (-1, 1)]
    along = lambda s: jax.tree.map(lambda x, g: x + s * g, params, gradient)  # noqa: E731
    moved += [along(-rate) for rate in rates]
    precision = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(params))).eps)
    small = precision ** (1 / 3)
    square = float(inner(gradient, gradient))
    steps, slopes = [], []  # the lengths of small steps, and JAX's derivatives
    alone = jax.tree.map(lambda g: g[None], gradient)
    for row in rows if traced else ():
        shares = (-small, small, -small / 2, small / 2)
        moved += [row.moved(params, share) for share in shares]
        if row.index is None:
            steps.append(small)
            slopes.append(row.slope_of_share(params, gradient))
        else:
            steps.append(small * row.scale(params))
            slopes.append(float(row.slopes(alone, params)[-1]))
    large = any(row.size > 1 for row in rows)
    if traced and large and math.isfinite(square) and square > 0:
        size = math.sqrt(sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(params)))
        steps.append(small * (size or 1.0) / math.sqrt(square))
        slopes.append(square)
        moved += [along(s * steps[-1]) for s in (-1, 1, -0.5, 0.5)]
    stacked = jax.tree.map(lambda *own: jnp.stack(own), *moved)
    if traced:
        losses = _losses(loss_fn, stacked, batch)
    else:
        losses, _ = loss_fn.evaluate_many(stacked, batch)
    with np.errstate(all="ignore"):
        losses = np.asarray(losses, float) - loss
        ends = np.cumsum([2 * len(rows), len(rates)])
        by_row, by_step, near = np.split(losses, ends)
        low, high, lower, higher = near.reshape(-1, 4).T
        length = np.array(steps)
        wide, narrow = (high - low) / (2 * length), (higher - lower) / length
        error = np.abs(wide - narrow) + 2 * ROUNDINGS * precision * abs(loss) / length
    differences = np.stack([narrow, error, np.array(slopes)], 1)
    return Changes(by_row.reshape(-1, 2), by_step, differences)


def _curvature(
    loss_fn: LossFn, params: Any, batch: Any, gradient: Any, square: float
) -> float:
    """Return gᵀHg / gᵀg, from the gradient a little further along −g.

    It is NaN where the gradient is not finite or zero, or the loss has a kink.
    """
    usable = square > 0 and math.isfinite(square)
    if not differentiable(loss_fn.objective) or not usable:
        return math.nan
    scale = math.sqrt(float(sum(jnp.sum(x**2) for x in jax.tree.leaves(sizes(params)))))
    found = []
    for probe in (PROBE, PROBE / 4):
        step = probe * scale / math.sqrt(square)
        ahead = jax.tree.map(lambda x, g: x - step * g, params, gradient)  # noqa: B023
        _, slopes = _differentiated(loss_fn, ahead, batch)
        change = jax.tree.map(lambda g, s: g - s.sum(0), gradient, slopes)
        found.append(float(inner(gradient, change)) / (step * square))
    steady = abs(found[1] - found[0]) <= MAX_CURVATURE_SPREAD * abs(found[0])
    return found[0] if steady else math.nan
