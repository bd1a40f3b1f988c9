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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._core import MIN_SCALE, groups_at_once
from roboopt._errors import RobooptError, require
from roboopt._programs import filter_jit
from roboopt.diagnose._derivatives import (
    decay_time,
    differenced,
    differentiated,
    splits_by_time,
    time_split,
)
from roboopt.diagnose._descent_gradients import LEARNING_RATES
from roboopt.diagnose._explanation import Explanation, TermShare, TimeSplit
from roboopt.diagnose._parameters import (
    Joined,
    Row,
    constant_names,
    leaf_names,
    parameters_of,
    require_scalar,
    rows_of,
)
from roboopt.gradients import LossFn, differentiable, differentiating, require_objective
from roboopt.objectives import Objective, total

PERCENT = 0.01
PROBE = 1e-4  # of the parameters' scale, for the curvature along the gradient
MAX_CURVATURE_SPREAD = 0.1  # between two probes
LINE_END, LINE_POINTS = 2.4, 17  # in learning rates, of 1 / curvature
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
    require_objective(objective)
    params, fixed, static = parameters_of(model, trainable)
    # One type, as of those nearby: a `jnp.asarray(1.0)` would compile all of it twice.
    params = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), params)
    loss_fn = LossFn(objective, Joined(fixed, static))
    rows = rows_of(leaf_names(params, objective), jax.tree.leaves(params))
    known = _known_units(units, rows)
    term_units = _term_units(loss_fn, params, batch)
    found = None
    if by_time := differentiable(objective) and splits_by_time(objective, batch):
        found = _measured(loss_fn, params, batch, rows, term_units, by_time=by_time)
    # An objective with `terms` of its own need not count its rollouts alone.
    if found is None or not found.agrees:
        found = _measured(loss_fn, params, batch, rows, term_units)
    values, slopes, gradient = found.values, found.slopes, found.gradient
    # Terms without weight, as diagnostics are, pull nowhere.
    pulls = [np.any(s.reshape(len(s), -1) != 0, 1) for s in jax.tree.leaves(slopes)]
    kept = np.flatnonzero((values != 0) | np.any(pulls, 0))
    kept = kept if kept.size else np.arange(1)
    slopes = jax.tree.map(lambda s: s[kept], slopes)
    terms = list(zip(term_units.items(), values, strict=True))
    square, rates = _square(gradient), np.array(LEARNING_RATES)
    with np.errstate(over="ignore"):
        predicted = -square * rates
    bends, tried = found.curvature > 0, len(LEARNING_RATES)
    return Explanation(
        loss=found.loss,
        names=tuple(row.name for row in rows),
        sizes=tuple(row.size for row in rows),
        values=tuple(row.value(params) for row in rows),
        units=tuple(known.get(r.name) or known.get(r.leaf_name, "") for r in rows),
        derivatives=np.array([row.slopes(slopes, params) for row in rows]),
        changes=found.changes.by_row,
        terms=tuple(
            TermShare(n, float(v), u) for (n, u), v in (terms[k] for k in kept)
        ),
        cosines=_cosines(slopes, params, rows),
        plain_cosines=_cosines(slopes, params, rows, relative=False),
        decay_time=decay_time(objective),
        constants=constant_names(model),
        gradient_norm=math.sqrt(square),
        learning_rates=rates,
        predicted=predicted,
        actual=found.changes.by_step[:tried],
        curvature=found.curvature,
        time=found.time,
        scales=tuple(row.scale(params) for row in rows),
        line_rates=found.line[: LINE_POINTS * bends],
        line=found.changes.by_step[tried:][: LINE_POINTS * bends],
        rounding=found.rounding,
        differences=found.changes.differences,
        logarithms=tuple(row.name for row in rows if row.log),
    )


def _known_units(units: Mapping[str, str] | None, rows: list[Row]) -> dict[str, str]:
    """Return the units, refused where they name no parameter."""
    leaves = dict.fromkeys(row.leaf_name for row in rows)
    for name, unit in (units or {}).items():
        require(isinstance(unit, str), "units", "be text", f"{unit!r} for {name!r}")
        known = any(name == leaf or name.startswith(f"{leaf}[") for leaf in leaves)
        require(known, "units", f"name parameters, such as {', '.join(leaves)}", name)
    return dict(units or {})


class _Measured(NamedTuple):
    """The derivatives of a loss at a model, and the loss nearby."""

    loss: float
    values: np.ndarray
    """Of the weighted terms."""
    slopes: Any
    gradient: Any
    curvature: float
    line: np.ndarray
    changes: "Changes"
    time: TimeSplit | None
    rounding: float
    agrees: bool
    """Whether the loss on the whole batch is that which was differentiated."""


def _measured(
    loss_fn: LossFn,
    params: Any,
    batch: Any,
    rows: list[Row],
    terms: Iterable[str],
    *,
    by_time: bool = False,
) -> _Measured:
    """Differentiate the loss, by time where it is one of rollouts, and evaluate it."""
    factors = [1 / row.value(params) if row.log else 1.0 for row in rows]
    places = tuple((row.leaf, row.index) for row in rows) if by_time else None

    def differentiate(params: Any) -> Any:
        if not differentiable(loss_fn.objective):
            return differenced(loss_fn, params, batch)
        return differentiated(loss_fn, params, batch, places)

    with differentiating("objective"):
        found = differentiate(params)
    values = np.asarray(found.values)
    loss = float(np.sum(values))
    if not math.isfinite(loss):
        bad = [
            f"{value} in its term {name!r}"
            for name, value in zip(terms, values, strict=True)
            if len(values) > 1 and not np.isfinite(value)
        ]
        got = " and ".join(bad) or loss
        raise RobooptError(f"`objective` must be finite at `model`, got {got}.")
    slopes = jax.tree.map(np.asarray, found.slopes)
    gradient = jax.tree.map(lambda s: s.sum(0), slopes)
    curvature = math.nan
    if differentiable(loss_fn.objective):
        curvature = _curvature(lambda p: differentiate(p).slopes, params, gradient)
    bends = curvature > 0
    line = np.linspace(0.0, LINE_END / curvature if bends else 0.0, LINE_POINTS)
    steps = [*LEARNING_RATES, *line]  # Of one shape: one compiled program for all.
    changes, here = _changes(loss_fn, params, batch, rows, gradient, steps)
    rounding = float(jnp.finfo(values.dtype).eps)
    return _Measured(
        loss=loss,
        values=values,
        slopes=slopes,
        gradient=gradient,
        curvature=curvature,
        line=line,
        changes=changes,
        time=time_split(loss_fn.objective, found, factors),
        rounding=rounding,
        agrees=abs(here - loss) <= math.sqrt(rounding) * max(abs(here), abs(loss)),
    )


def _term_units(loss_fn: LossFn, params: Any, batch: Any) -> dict[str, str]:
    """Return the units of the terms by name, in their order."""
    objective = loss_fn.objective
    units: dict[str, str] = {}

    def loss(params: Any, batch: Any) -> Any:
        if not isinstance(objective, Objective):
            return loss_fn(params, batch)
        terms = objective.terms(loss_fn.build(params), batch)
        # A dictionary that JAX returns is sorted; here the terms keep their order.
        loss = total(terms)
        units.update((name, term.unit) for name, term in terms.items())
        return loss

    if differentiable(objective):
        require_scalar("objective", loss, params, batch)
    elif isinstance(objective, Objective):
        loss(params, batch)
    return units or {"loss": "1"}


@filter_jit
def _losses(loss_fn: LossFn, many: Any, batch: Any) -> Array:
    """Return the losses at many parameters, one after the other on a CPU."""
    count = len(jax.tree.leaves(many)[0])
    at_once = groups_at_once(count)
    return jax.lax.map(lambda own: loss_fn(own, batch), many, batch_size=at_once)


def _cosines(
    slopes: Any, params: Any, rows: list[Row], relative: bool = True
) -> np.ndarray:
    """Return the cosines between the terms' gradients, NaN for a gradient of zero.

    With `relative` the derivatives are those per percent of each row, so that no unit
    matters.
    """
    every = (np.asarray(leaf, float) for leaf in jax.tree.leaves(slopes))
    leaves, parts = [leaf.reshape(len(leaf), -1) for leaf in every], []
    for row in rows:
        own = leaves[row.leaf]
        own = own if row.index is None else own[:, [row.index]]
        scaled = relative and not row.log
        parts.append(own * (row.scale(params) or 1.0) if scaled else own)
    flat = np.concatenate(parts, 1)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(flat, axis=1)
        return (flat @ flat.T) / np.outer(norms, norms)


class Changes(NamedTuple):
    """Changes of the loss that were evaluated."""

    by_row: np.ndarray
    """(row, 2): by 1 % less and more."""
    by_step: np.ndarray
    differences: np.ndarray
    """See `Explanation`."""


@np.errstate(all="ignore")
def _square(gradient: Any) -> float:
    return sum(
        float(np.sum(np.asarray(g, float) ** 2)) for g in jax.tree.leaves(gradient)
    )


@np.errstate(all="ignore")
def _ahead(params: Any, gradient: Any, step: float) -> Any:
    """Return the parameters after a step along the gradient."""
    return jax.tree.map(
        lambda x, g: (x + float(step) * g).astype(x.dtype), params, gradient
    )


def _changes(
    loss_fn: LossFn,
    params: Any,
    batch: Any,
    rows: list[Row],
    gradient: Any,
    rates: Sequence[float],
) -> tuple[Changes, float]:
    """Evaluate the changes by −1 % and +1 % of each row, by each step, and nearby.

    Small steps of each number or array, and of a large model along the gradient, tell
    whether the derivative is that of the loss.

    Returns:
        The changes, and the loss where nothing is changed.
    """
    traced = differentiable(loss_fn.objective)
    params = jax.tree.map(np.asarray, params)
    moved = [params]
    moved += [row.moved(params, s * PERCENT) for row in rows for s in (-1, 1)]
    moved += [_ahead(params, gradient, -rate) for rate in rates]
    precision = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(params))).eps)
    small = precision ** (1 / 3)
    square = _square(gradient)
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
        size = math.sqrt(_square(params))
        steps.append(small * (size or 1.0) / math.sqrt(square))
        slopes.append(square)
        moved += [_ahead(params, gradient, s * steps[-1]) for s in (-1, 1, -0.5, 0.5)]
    stacked = jax.tree.map(lambda *own: jnp.asarray(np.stack(own)), *moved)
    if traced:
        losses = _losses(loss_fn, stacked, batch)
    else:
        losses, _ = loss_fn.evaluate_many(stacked, batch)
    with np.errstate(all="ignore"):
        here, *others = np.asarray(losses, float)
        ends = np.cumsum([2 * len(rows), len(rates)])
        by_row, by_step, near = np.split(np.array(others) - here, ends)
        low, high, lower, higher = near.reshape(-1, 4).T
        length = np.array(steps)
        wide, narrow = (high - low) / (2 * length), (higher - lower) / length
        error = np.abs(wide - narrow) + 2 * ROUNDINGS * precision * abs(here) / length
    differences = np.stack([narrow, error, np.array(slopes)], 1)
    return Changes(by_row.reshape(-1, 2), by_step, differences), float(here)


@np.errstate(all="ignore")
def _curvature(slopes: Callable[[Any], Any], params: Any, gradient: Any) -> float:
    """Return gᵀHg / gᵀg, from the `slopes` of the terms a little further along −g.

    It is NaN where the gradient is not finite or zero, or the loss has a kink.
    """
    square = _square(gradient)
    if not (square > 0 and math.isfinite(square)):
        return math.nan
    params = jax.tree.map(np.asarray, params)
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(params)]
    scale = math.sqrt(sum(max(np.mean(leaf**2), MIN_SCALE**2) for leaf in leaves))
    found = []
    for probe in (PROBE, PROBE / 4):
        step = probe * scale / math.sqrt(square)
        ahead = jax.tree.map(jnp.asarray, _ahead(params, gradient, -step))
        pairs = zip(
            jax.tree.leaves(gradient), jax.tree.leaves(slopes(ahead)), strict=True
        )
        change = sum(
            float(np.sum(np.asarray(g, float) * (g - np.asarray(s).sum(0))))
            for g, s in pairs
        )
        found.append(change / (step * square))
    steady = abs(found[1] - found[0]) <= MAX_CURVATURE_SPREAD * abs(found[0])
    return found[0] if steady else math.nan
