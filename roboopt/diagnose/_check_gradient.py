"""A derivative by JAX against finite differences.

Along a direction v the central difference

    D(h) = (f(x + h v) − f(x − h v)) / (2h) = f'(x)·v + O(h²)

has a truncation error that falls with h² and a rounding error that grows with 1/h. The
differences at steps h, h/2, h/4, … down to the last digits of x are extrapolated
(Ridders, 1982, Accurate computation of F'(x) and F'(x)F''(x)). A long step may leave
the range in which f looks like its slope and give a difference that is exact and wrong.
So the step is chosen as Lepski (1991) does: the one with the least error among those
with which all shorter steps agree. The differences to either side alone tell a kink, as
of |x| at 0, from a derivative that is wrong.

A derivative is judged where the error is small beside the slopes along v, at x or at
the steps: at a minimum, where the slope at x is zero, those are what tells a zero from
a number that is not known.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._core import sizes
from roboopt._errors import require, require_at_least
from roboopt._programs import filter_jit
from roboopt.diagnose._derivatives import decay_time
from roboopt.diagnose._finding import Finding, error, warning
from roboopt.diagnose._parameters import (
    Joined,
    constant_names,
    constants_said,
    element_name,
    leaf_names,
    parameters_of,
    require_scalar,
)
from roboopt.diagnose._slope_check import (
    AGREES,
    KINK,
    NOT_FINITE,
    WRONG,
    SlopeCheck,
    judge,
)
from roboopt.gradients import LossFn, differentiable, differentiating, require_objective
from roboopt.report import Summary, Table

MAX_ELEMENTS_PER_LEAF = 12  # of which every one is checked
LARGEST, RANDOM_ELEMENTS, RANDOM_DIRECTIONS = 6, 4, 2  # in a larger leaf
FIRST_STEP = 1.0  # of a leaf's scale: only short steps are rough in float32
MAX_STEPS = 128
LAST_STEP = 16.0  # last digits of the number
PERTURBATIONS, PERTURBED_DIGITS = 3, 8.0  # to find the changes by rounding
MAX_LISTED = 6  # parameters named in one sentence


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """Derivatives by JAX beside finite differences."""

    slopes: tuple[SlopeCheck, ...]
    decay_time: float = math.inf
    """`gradient_decay_time` [s] of the rollout, with which the derivative is not that
    of the loss."""
    constants: tuple[str, ...] = ()
    """Python numbers in the containers of the model, which are no parameters."""

    @property
    def ok(self) -> bool:
        """Whether every derivative agrees."""
        return all(slope.verdict == AGREES for slope in self.slopes)

    def findings(self) -> list[Finding]:
        """Return an error for each wrong derivative, and warnings for the others."""
        return [
            _finding(s, self.decay_time) for s in self.slopes if s.verdict != AGREES
        ]

    def summary(self) -> Summary:
        """Return the derivatives side by side, and what disagrees."""
        rows = [
            [
                s.name,
                f"{s.derivative:.8g}",
                f"{s.difference:.8g}",
                f"{s.uncertainty:.0e}",
                s.verdict,
            ]
            for s in self.slopes
        ]
        header = ["parameter", "by JAX", "by differences", "±", "verdict"]
        said = [*_sentences(self.findings())] or [
            "The derivative agrees with finite differences."
            if len(rows) == 1
            else f"All {len(rows)} derivatives agree with finite differences."
        ]
        said += constants_said(self.constants)
        table = Table(header, rows, text=(0, 4), optional=(3,))
        return Summary("Gradient check", [table], said)

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.summary().html()


def _sentences(findings: list[Finding]) -> Iterator[str]:
    """Yield a sentence for each finding, one for all that are undecided alike."""
    alike: dict[str, list[str]] = {}
    for finding in findings:
        if finding.code == "undecided":
            alike.setdefault(finding.message.partition(": ")[2], []).append(
                finding.where
            )
        else:
            yield f"{finding}."
    for reason, names in alike.items():
        shown = ", ".join(names[:MAX_LISTED])
        more = f" and {n} more" if (n := len(names) - MAX_LISTED) > 0 else ""
        yield f"{shown}{more}: finite differences do not settle: {reason}."


def _finding(s: SlopeCheck, decay_time: float) -> Finding:
    if s.verdict == WRONG:
        reason = "see whether a custom_jvp, custom_vjp or stop_gradient is right"
        if math.isfinite(decay_time):
            reason = (
                f"the rollout's `gradient_decay_time` of {decay_time:g} s lets it fade "
                "on its way back, on purpose; check the gradient without"
            )
        said = (
            f"JAX's derivative is {s.derivative:.6g} and finite differences give "
            f"{s.difference:.6g} ± {s.uncertainty:.1g}: {reason}"
        )
        return error("wrong_derivative", said, s.name)
    if s.verdict == NOT_FINITE:
        said = f"the derivative or the loss is not finite ({s.derivative})"
        return error("not_finite", said, s.name)
    if s.verdict == KINK:
        said = (
            f"the loss has a kink at this value, or near it: its slope is "
            f"{s.below:.6g} below and {s.above:.6g} above (JAX says {s.derivative:.6g})"
        )
        return warning("kink", said, s.name)
    said = (
        f"finite differences do not settle ({s.difference:.3g} ± {s.uncertainty:.1g}): "
        "the loss is noisy, jumps, has kinks nearby, or loses too many digits to "
        "rounding, beside larger terms or over the steps of a loop (`roboopt.chain` "
        "shows where)"
    )
    said += "; try float64" if s.precision > np.finfo(float).eps else ""
    return warning("undecided", said, s.name)


def check_gradient(
    objective: Callable[[Any, Any], Any],
    model: Any,
    batch: Any,
    *,
    trainable: Callable[[Any], Any] | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient of an objective with finite differences.

    The differences are taken in the model's own precision, with steps chosen by their
    estimated error. Of a leaf with more than 12 elements, the 6 largest derivatives, 4
    random ones and 2 random directions are checked.

    Args:
        objective: an `Objective`, or any function of model and batch that returns a
            scalar.
        model: any pytree, at the values where the gradient is checked.
        batch: the data.
        trainable: selects the parts to check, as in `minimize`.
        seed: of the random directions.

    Raises:
        RobooptError: if `objective` cannot be differentiated by JAX, does not return
            one real number, or no array is trainable.
    """
    require_objective(objective)
    require_at_least(0, seed=seed)
    params, fixed, static = parameters_of(model, trainable)
    names = leaf_names(params, objective)
    for name, leaf in zip(names, jax.tree.leaves(params), strict=True):
        finite = bool(np.all(np.isfinite(leaf)))
        require(finite, "model", "be finite", f"a number of {name} that is not")
    loss_fn = LossFn(objective, Joined(fixed, static))
    rule = "be differentiable by JAX to check its gradient"
    require(differentiable(objective), "objective", rule, objective)
    require_scalar("objective", loss_fn, params, batch)
    differentiate = filter_jit(jax.grad(loss_fn))
    with differentiating("objective"):
        gradient = differentiate(params, batch)
    slopes = [np.asarray(slope, float) for slope in jax.tree.leaves(gradient)]
    finite = [np.abs(slope[np.isfinite(slope)]) for slope in slopes]
    largest = max(float(np.max(slope, initial=0.0)) for slope in finite)
    leaves, structure = jax.tree.flatten(params)
    scales = jax.tree.leaves(sizes(params))
    rng = np.random.default_rng(seed)
    noise = _noise(lambda own: differentiate(own, batch), params, slopes)

    @functools.partial(jax.jit, static_argnums=0)
    def values(k: int, points: Any) -> Any:
        def value(point):
            moved = [*leaves[:k], point, *leaves[k + 1 :]]
            return loss_fn(jax.tree.unflatten(structure, moved), batch)

        return jax.vmap(value)(points)

    found = []
    for k, (leaf, slope, scale) in enumerate(zip(leaves, slopes, scales, strict=True)):
        precision = float(jnp.finfo(leaf.dtype).eps)
        directions = _directions(names[k], slope, rng)
        here = np.asarray(leaf)
        # Of each direction, the step that the last digits of its numbers still hold.
        least = [
            LAST_STEP * precision * float(np.max(np.abs(here[d != 0])) or scale)
            for _, d in directions
        ]
        longest = FIRST_STEP * max(float(scale), float(np.max(np.abs(here))))
        count = math.ceil(math.log2(longest) - math.log2(min(least)))
        steps = longest * 0.5 ** np.arange(min(max(8, count), MAX_STEPS))
        for name, direction in directions:
            along = direction / np.sum(direction**2)
            wanted = np.multiply.outer(
                np.concatenate([[0.0], steps, -steps]), direction
            )
            points = (here + wanted).astype(leaf.dtype)
            # The steps that the rounded points really are.
            taken = np.sum(
                (points.astype(float) - here) * along, tuple(range(1, points.ndim))
            )
            losses = np.asarray(values(k, points), float)
            part = direction != 0  # One element that is NaN is not all of them.
            derivative = float(np.sum(slope[part] * direction[part]))
            own = (losses, taken, precision, largest)
            with np.errstate(over="ignore"):
                error = float(np.linalg.norm(noise[k] * np.where(part, direction, 0)))
            found.append(judge(name, derivative, *own, least=least.pop(0), noise=error))
    return GradientCheck(tuple(found), decay_time(objective), constant_names(model))


@np.errstate(all="ignore")
def _noise(
    differentiate: Callable[[Any], Any], params: Any, slopes: list[np.ndarray]
) -> list[np.ndarray]:
    """Return how far derivatives change as the last digits of all parameters do."""
    rng = np.random.default_rng(0)
    found = [np.zeros_like(slope) for slope in slopes]

    def perturbed(leaf: Any) -> Any:
        digits = PERTURBED_DIGITS * float(jnp.finfo(leaf.dtype).eps)
        return leaf * jnp.asarray(
            1 + digits * rng.uniform(-1, 1, leaf.shape), leaf.dtype
        )

    for _ in range(PERTURBATIONS):
        others = jax.tree.leaves(differentiate(jax.tree.map(perturbed, params)))
        for most, slope, other in zip(found, slopes, others, strict=True):
            np.fmax(most, np.abs(np.asarray(other, float) - slope), out=most)
    return found


def _directions(
    name: str, slope: np.ndarray, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    """Return the directions in a leaf, with names: single elements and random ones."""
    size, chosen = slope.size, np.arange(slope.size)
    if size > MAX_ELEMENTS_PER_LEAF:
        large = np.argsort(-np.abs(slope.ravel()))[:LARGEST]
        chosen = np.unique([*large, *rng.choice(size, RANDOM_ELEMENTS, replace=False)])
    found = []
    for index in chosen:
        direction = np.zeros(size)
        direction[index] = 1.0
        where = np.unravel_index(int(index), slope.shape)
        found.append((element_name(name, where), direction.reshape(slope.shape)))
    if size > MAX_ELEMENTS_PER_LEAF:
        for number_ in range(1, RANDOM_DIRECTIONS + 1):
            direction = rng.standard_normal(slope.shape)
            direction /= np.sqrt(np.mean(direction**2)) * np.sqrt(size)
            found.append((f"{name}, random direction {number_}", direction))
    return found
