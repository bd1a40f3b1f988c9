"""The gradients of a descent, from what `minimize` has noted: no loss is evaluated.

A parameter moved because its derivative at the start had a sign, and it stays where the
derivative is zero. Here the effect of one percent is of first order, derivative · 1 %;
`explain` evaluates it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from roboopt import optimize
from roboopt._programs import filter_jit
from roboopt.diagnose._descent_path import DescentPath
from roboopt.diagnose._explanation import Explanation, TermShare
from roboopt.diagnose._parameters import Row, rows_of
from roboopt.report import (
    BEFORE_AFTER,
    GRAY,
    Drawing,
    Figure,
    Notes,
    Section,
    broken,
    number,
    panel,
)

PERCENT = 0.01
LEARNING_RATES = tuple(10.0**k for k in range(-3, 3))
WORDS = (
    "The derivative dL/dp of the objective L with respect to a parameter p says two "
    "things. Its sign is the direction: where it is negative, L falls as p is raised, "
    "and the descent raises p. Its size is how much p matters: a small change Δp "
    "changes L by about dL/dp · Δp. Where it is zero, the objective is flat."
)
BY_LAYER = (
    "A table layer by layer shows the norm of a layer's derivatives, which has no "
    "sign: the columns × 0.99 and × 1.01 say what L does if all its numbers become 1 % "
    "smaller or larger."
)
MARK_SIZE = 4
LEGEND = {"predicted": f"{GRAY} dashed", "actual": BEFORE_AFTER["after"]}
"""Of the decrease of the loss by a step."""
ENDS = {
    "start": "At the start of the descent",
    "end": "At the model that the descent kept",
}
"""Where a gradient was taken, by the names of `gradients()`."""
KEPT_START = "That is the start: no later model was better."


def explain_descent(
    start: Any, result: optimize.Result, *, units: Mapping[str, str] | None = None
) -> dict[str, Explanation]:
    """Explain the gradients at both ends of a descent by `minimize`.

    Args:
        start: the model at the start.
        result: what `minimize` returned.
        units: of the parameters, as in `explain`.

    Returns:
        The explanations at the "start" and the "end", as far as they were noted.
    """
    losses = np.asarray(result.history["loss"], float).reshape(-1)
    ends = {
        "start": (start, result.first_gradient, losses[0] if len(losses) else math.nan),
        "end": (result.model, result.gradient, float(result.loss)),
    }
    return {
        when: _first_order(model, gradient, float(loss), units)
        for when, (model, gradient, loss) in ends.items()
        if gradient
    }


def _first_order(
    model: Any,
    gradient: Mapping[str, Any],
    loss: float,
    units: Mapping[str, str] | None = None,
) -> Explanation:
    """Explain a gradient that is known by the names of arrays; no loss is evaluated."""
    params = optimize.partition(model)[0]
    named = zip(optimize.leaf_names(params), jax.tree.leaves(params), strict=True)
    leaves = {name: leaf for name, leaf in named if name in gradient}
    values = list(leaves.values())
    slopes = [np.asarray(gradient[name], float) for name in leaves]
    rows = rows_of(list(leaves), values)
    each = [slope[None] for slope in slopes]
    derivatives = np.array([row.slopes(each, values) for row in rows])
    effects = np.array([_effect(row, values, slopes) for row in rows])
    known = dict(units or {})
    scales = tuple(row.scale(values) for row in rows)
    return Explanation(
        loss=loss,
        names=tuple(row.name for row in rows),
        sizes=tuple(row.size for row in rows),
        values=tuple(row.value(values) for row in rows),
        units=tuple(known.get(r.name) or known.get(r.leaf_name, "") for r in rows),
        derivatives=derivatives,
        changes=np.stack([-effects, effects], 1),
        terms=(TermShare("loss", loss, "1"),),
        gradient_norm=math.sqrt(sum(float(np.sum(s**2)) for s in slopes)),
        scales=scales,
        logarithms=tuple(row.name for row in rows if row.log),
        evaluated=False,
    )


def explain_residuals(fit: optimize.Fit) -> Explanation:
    """Explain the gradient of a least-squares loss at the start of a fit.

    With the residuals r and their Jacobian J the gradient of ½ mean r² is Jᵀr/n, one
    percent of a parameter changes the loss to second order (Gauss-Newton), and the
    curvature along the gradient g is |Jg|²/(n |g|²). The losses after steps −η g are
    evaluated. Each part of a sum, such as a prior, is a term.
    """
    model, x = fit.model(jnp.asarray(fit.start())), fit.start()
    names, parts = tuple(fit.names()), fit.parts()
    described = getattr(model, "names", None) == names
    lower = model.lower() if described else -np.inf
    positive = np.array(model.positive if described else (False,) * len(x))
    values = np.where(positive, np.exp(np.where(positive, x, 0.0)), x)
    found = [_linearized(weight, part, x) for weight, part in parts]
    losses, by_term, bends = map(np.array, zip(*found, strict=True))
    loss, gradient = float(losses.sum()), by_term.sum(0)
    square, bend = float(gradient @ gradient), bends.sum(0)
    sizes = np.where(positive, 1.0, np.where(x == 0, 1.0, np.abs(x)))
    steps = np.stack(
        [np.where(positive, np.log1p(s), s * sizes) for s in (-PERCENT, PERCENT)], 1
    )
    changes = gradient[:, None] * steps + 0.5 * np.diag(bend)[:, None] * steps**2
    by_value = by_term / np.where(positive, values, 1.0)
    rates = np.array(LEARNING_RATES)
    with np.errstate(all="ignore"):
        ahead = [jnp.asarray(x - r * gradient) for r in rates]
        after = [sum(w * float(_half(p, at)) for w, p in parts) for at in ahead]
        curvature = float(gradient @ bend @ gradient / square)
        norms = np.linalg.norm(by_term * sizes, axis=1)
        cosines = (by_term * sizes) @ (by_term * sizes).T / np.outer(norms, norms)
    return Explanation(
        loss=loss,
        names=names,
        sizes=(1,) * len(names),
        values=tuple(values.tolist()),
        units=tuple(model.units) if described else ("",) * len(names),
        derivatives=np.stack([*by_value, by_value.sum(0)], 1),
        changes=changes,
        terms=tuple(
            TermShare(part.name, float(share), "1")
            for (_, part), share in zip(parts, losses, strict=True)
        ),
        cosines=cosines,
        gradient_norm=math.sqrt(square),
        learning_rates=rates,
        predicted=-square * rates,
        actual=np.array(after) - loss,
        curvature=curvature,
        at_bound=tuple(((x <= lower) & (gradient > 0)).tolist()) if described else (),
        logarithms=tuple(n for n, p in zip(names, positive, strict=True) if p),
        second_order=True,
    )


def _linearized(
    weight: Any, part: optimize.Fit, x: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return value, gradient and curvature JᵀJ/n of a part of a least-squares loss."""
    residuals, slopes = map(np.asarray, part.jacobian(jnp.asarray(x)))
    share = float(weight) / residuals.size
    return (
        0.5 * share * float(residuals @ residuals),
        share * (slopes.T @ residuals),
        share * (slopes.T @ slopes),
    )


@filter_jit
def _half(part: optimize.Fit, x: Any) -> Any:
    """Return half the mean square of the residuals."""
    return 0.5 * jnp.mean(part.residuals(x) ** 2)


def _effect(row: Row, values: Sequence[Any], slopes: Sequence[np.ndarray]) -> float:
    """Return the first-order change of the loss as a row grows by 1 % of its size."""
    value, slope = np.asarray(values[row.leaf], float), slopes[row.leaf]
    if row.index is None:
        return PERCENT * float(np.sum(value * slope))
    size = 1.0 if row.log else row.scale(values)
    return PERCENT * float(size * slope.ravel()[row.index])


def gradient_section(
    explained: Mapping[str, Explanation],
    history: Mapping[str, Float[np.ndarray, "..."]],
    *,
    notes: Sequence[str] = (),
    path: DescentPath | None = None,
) -> Section | None:
    """Return the section "Gradient" of a report, None where nothing is known.

    Args:
        explained: the gradient at the "start" and the "end", either may be missing.
        history: the history of the descent, with the notes of `minimize`.
        notes: sentences on what was differentiated.
        path: how each parameter moved.
    """
    layered = any(size > 1 for found in explained.values() for size in found.sizes)
    blocks: list[Any] = [Notes([WORDS, *([BY_LAYER] if layered else []), *notes])]
    first = next(iter(explained.values()), None)
    for when, found in explained.items():
        said = [f"{ENDS[when]}, where L is {number(found.loss)}:"]
        if first is None or found is first:
            pass
        elif found.same_point(first):
            said.append(KEPT_START)
        elif first.gradient_norm > 0:
            share = found.gradient_norm / first.gradient_norm
            said.append(f"The gradient is {share:.2g} times as long as at the start.")
        if not found.evaluated:
            said.append(
                "The changes for 1 % are what the slope promises; they were not tried."
            )
        blocks.append(Notes(said))
        for block in found.blocks():
            own = isinstance(block, Figure)
            blocks.append(replace(block, name=f"at the {when}") if own else block)
    if path is not None and len(path.values) > 1:
        said = "Over the descent, the parameters moved as follows:"
        blocks += [Notes([said]), *path.blocks()]
    logs = any(found.logarithms for found in explained.values())
    if panels := _panels(history, logs):
        steps = [name.partition("_")[0] for name in history]  # "actual_decrease"
        legend = {key: line for key, line in LEGEND.items() if key in steps}
        blocks.append(Figure(panels, _caption(history, logs), legend, columns=2))
    return Section("Gradient", blocks) if len(blocks) > 1 else None


def _panels(history: Mapping[str, np.ndarray], logs: bool) -> list[Drawing]:
    """Return the norm of the gradient, and what steps promised and kept, over steps.

    With `logs` the descent steps in logarithms of some parameters.
    """
    made = []
    if (norms := _positive(history, "gradient_norm")) is not None:
        title = "Norm of the gradient"
        with panel(
            title, "gradient step", "|dL/dx|" if logs else "|dL/dp|", label=title
        ) as one:
            own = {"color": BEFORE_AFTER["after"], "lw": 1, "label": "norm"}
            one.axes.plot(*norms, **own)
            one.axes.set_yscale("log")
        made.append(one)
    taken = {
        name: np.asarray(history[name])[:-1]
        for name in ("predicted_decrease", "actual_decrease", "round")
        if name in history
    }  # At the last model the slopes promise a step that is not taken.
    predicted = _positive(taken, "predicted_decrease")
    if predicted is not None:
        title = "Decrease of the loss by a step"
        with panel(title, "gradient step", "ΔL", label=title) as one:
            one.axes.plot(*predicted, "--", color=GRAY, label="predicted")
            actual = _positive(taken, "actual_decrease")
            if actual is not None:
                own = {"color": BEFORE_AFTER["after"], "markersize": MARK_SIZE}
                one.axes.plot(*actual, "o", label="actual", **own)
            one.axes.set_yscale("log")
        made.append(one)
    return made


def _positive(
    history: Mapping[str, np.ndarray], name: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the steps and the values that are positive, None without any.

    Between the rounds of a descent, which have batches of their own, is NaN.
    """
    values = np.asarray(history.get(name, ()), float)
    if values.ndim != 1 or not (values > 0).any():
        return None
    steps = np.flatnonzero(values > 0)
    rounds = history.get("round")
    return broken(steps, values[steps], None if rounds is None else rounds[steps])


def _caption(history: Mapping[str, np.ndarray], logs: bool) -> str:
    by = " by x, which is ln p of a positive parameter p, and p of others" * logs
    said = (
        f"The norm is the length of the gradient{by}: how steep the objective is where "
        "the descent stands. The decrease predicted by the slope is −gradient · step; "
    )
    if "actual_decrease" not in history:
        return said + (
            "the one reached is not known, since each step sees other samples."
        )
    falls = np.asarray(history["actual_decrease"], float)
    rises = int(np.sum(falls < 0))
    said += "a step that is too long keeps less of it, or raises the loss"
    many = "step" if rises == 1 else "steps"
    return said + (f", as {rises} {many} did." if rises else ", which no step did.")
