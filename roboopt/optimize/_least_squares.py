"""`least_squares`: Levenberg and Marquardt's descent for objectives with residuals.

    min_x ½ mean r(x)²,   l ≤ x ≤ u:   (JᵀJ + λ D²) s = −Jᵀ r,   x⁺ = clip(x + s)

with D the largest norms so far of J's columns (Moré, 1978), so that neither units nor
scales matter, λ by the ratio of the reduction to the one that was predicted (Nielsen,
1999), and steps projected on the bounds, those coordinates left out that would only
press against theirs (Kanzow, Yamashita and Fukushima, 2004). A coordinate may begin on
its bound and ends exactly on it where the data push it there: a friction of 0 is 0, for
which a bijection has no coordinate.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import RobooptError
from roboopt.optimize._bounds import Bound, bounded_leaves
from roboopt.optimize._partition import partition
from roboopt.optimize._progress import show
from roboopt.optimize._result import Result, Status, check_budget
from roboopt.optimize._sources import arrays

FIRST_DAMPING = 1e-4
MOST_DAMPING = 1e16
ROUNDING = 10.0  # times the precision of ‖r‖²: what no sum of squares tells apart
DEAD = 1e-12  # of the largest column, scaled: below, rounding


class Linearized(eqx.Module):
    """Residuals and their Jacobian at x, reduced to a triangle: J = QR."""

    triangle: Float[Array, "rank parameter"]
    rotated: Float[Array, " rank"]
    """Qᵀ r."""
    square: Float[Array, ""]
    """‖r‖²."""
    count: int = eqx.field(static=True)


class Fit(eqx.Module):
    """Residuals of an objective as a function of the trained leaves in one vector."""

    objective: Any
    trained: Any
    rest: Any
    static: Any
    data: Any

    @classmethod
    def of(
        cls,
        objective: Any,
        model: Any,
        data: Any,
        *,
        trainable: Callable[[Any], Any] | None = None,
    ) -> "Fit":
        """Return the residuals of `objective` as a function of the trained leaves.

        Args:
            objective: an objective with `residuals(model, data)`.
            model: the start.
            data: arrays, all of which every residual is computed from.
            trainable: selects the parts to train, as in `minimize`.

        Raises:
            RobooptError: if the objective has no residuals, `data` are not finite
                arrays, or no leaf is trained.
        """
        _check_objective(objective)
        return fitting(objective, model, data, trainable)

    def jacobian(
        self, x: Float[Array, " parameter"]
    ) -> tuple[Float[Array, " residual"], Float[Array, "residual parameter"]]:
        """Return r(x) and ∂r/∂x."""
        return jacobian(self, x)

    def limits(
        self, bounds: Sequence[Bound], model: Any
    ) -> tuple[Float[np.ndarray, " parameter"], Float[np.ndarray, " parameter"]]:
        """Return the lowest and the highest value of each entry of x.

        Raises:
            RobooptError: if `model` is not within `bounds`, or they name leaves that
                are not trained.
        """
        return limits(self, bounds, model)

    def model(self, x: Float[Array, " parameter"]) -> Any:
        """Return the model at x."""
        leaves, structure = jax.tree.flatten(self.trained)
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = [
            jnp.reshape(part, leaf.shape).astype(leaf.dtype)
            for part, leaf in zip(jnp.split(x, ends), leaves, strict=True)
        ]
        trained = jax.tree.unflatten(structure, parts)
        return eqx.combine(trained, self.rest, self.static)

    def start(self) -> np.ndarray:
        """Return x of the model as it is given."""
        leaves = jax.tree.leaves(self.trained)
        return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])

    def residuals(self, x: Float[Array, " parameter"]) -> Float[Array, " residual"]:
        """Return r(x)."""
        return jnp.ravel(self.objective.residuals(self.model(x), self.data))

    def names(self) -> list[str]:
        """Return a name for each of x: the one that the model gives it, if it does."""
        found = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.trained):
            owner = self.static
            for key in path[:-1]:
                owner = _entry(owner, key)
            given = getattr(owner, "names", None)
            if given is not None and len(given) == leaf.size:
                found += given
            else:
                found += [
                    jax.tree_util.keystr(path) + (str(list(index)) if index else "")
                    for index in np.ndindex(leaf.shape)
                ]
        return found


def _entry(node: Any, key: Any) -> Any:
    """Return the part of `node` that a step of a path leads to."""
    if hasattr(key, "name"):
        return getattr(node, key.name, None)
    try:
        return node[key.key if hasattr(key, "key") else key.idx]
    except (AttributeError, KeyError, IndexError, TypeError):
        return None


@eqx.filter_jit
def jacobian(fit: Fit, x: Array) -> tuple[Array, Array]:
    """Return r(x) and ∂r/∂x."""

    def twice(x: Array) -> tuple[Array, Array]:
        residuals = fit.residuals(x)
        return residuals, residuals

    slopes, residuals = jax.jacfwd(twice, has_aux=True)(x)
    return residuals, slopes


@eqx.filter_jit
def _reduced(residuals: Array, slopes: Array) -> Linearized:
    """Return the residuals and their Jacobian as a triangle."""
    # The triangle of [J r] holds Qᵀ r too, and Q itself is never formed.
    triangle = jnp.linalg.qr(jnp.column_stack([slopes, residuals]), mode="r")
    rank = min(slopes.shape)
    return Linearized(
        triangle[:rank, :-1],
        triangle[:rank, -1],
        residuals @ residuals,
        residuals.size,
    )


@eqx.filter_jit
def _square(fit: Fit, x: Array) -> Array:
    residuals = fit.residuals(x)
    return residuals @ residuals


def least_squares(
    objective: Any,
    model: Any,
    data: Any,
    *,
    steps: int = 100,
    trainable: Callable[[Any], Any] | None = None,
    bounds: Sequence[Bound] = (),
    tolerance: float = 1e-10,
    seconds: float = math.inf,
    callback: Callable[[Status], Any] | None = None,
    progress: bool = False,
) -> Result:
    """Minimize an objective with `residuals` from `model`, all of the data each step.

    Second order: where `minimize` takes a thousand steps this takes ten, at the cost of
    a derivative of the residuals along each of the parameters. It is for up to some
    hundred of these.

    Args:
        objective: with `residuals(model, data)`, such as a `PredictionError` or a sum
            of ones.
        model: any pytree; its floating-point arrays are tuned, except within `Frozen`.
        data: what the residuals are of.
        steps: the most to take.
        trainable: names the parts to tune, as in `minimize`.
        bounds: kept to; the start may lie on them.
        tolerance: stop once a step moves the parameters, or lowers the loss, by no more
            than this fraction.
        seconds: stop after that long, compilation included.
        callback: called with a `Status` after each step; stops if it returns True.
        progress: whether to show a progress bar.

    Returns:
        The best model found, also after Ctrl-C. Its history holds the loss.

    Raises:
        RobooptError: if an argument breaks its rule, the objective has no residuals,
        the
            start is out of its bounds, or residuals or derivatives are not finite.

    Warns:
        UserWarning: if the residuals do not depend on a parameter, which then stays.
    """
    began = time.perf_counter()
    _check_objective(objective)
    check_budget(steps, tolerance, seconds)
    fit = fitting(objective, model, data, trainable)
    lower, upper = limits(fit, bounds, model)
    search = _Search(fit, lower, upper, tolerance)
    compiled = time.perf_counter() - began
    losses, reason = [search.loss], "steps"

    def status() -> Status:
        taken, spent = len(losses) - 1, time.perf_counter() - began
        return Status(taken, losses[-1], search.loss, search.model, spent)

    with show(steps, progress) as report:
        try:
            for _ in range(steps):
                if not search.step():
                    reason = "tolerance"
                    break
                losses.append(search.loss)
                report(status())
                if callback is not None and callback(status()) is True:
                    reason = "callback"
                    break
                if search.converged:
                    reason = "tolerance"
                    break
                if time.perf_counter() - began >= seconds:
                    reason = "seconds"
                    break
        except KeyboardInterrupt:
            reason = "interrupted"
    taken = len(losses) - 1
    sentences = {
        "steps": f"all {taken} steps taken",
        "tolerance": f"no further improvement after {taken} steps",
        "seconds": f"time was up after {taken} steps",
        "callback": f"the callback stopped it after {taken} steps",
        "interrupted": f"interrupted after {taken} steps",
    }
    return Result(
        model=search.model,
        loss=search.loss,
        history={"loss": np.array(losses)},
        reason=reason,
        message=sentences[reason],
        steps=taken,
        seconds=time.perf_counter() - began,
        compile_seconds=compiled,
    )


class _Search:
    """Where the descent is, and how it takes a step from there."""

    def __init__(
        self, fit: Fit, lower: np.ndarray, upper: np.ndarray, tolerance: float
    ):
        self.fit, self.lower, self.upper = fit, lower, upper
        self.tolerance = tolerance
        self.x = fit.start()
        self._at(self.x)
        norms = np.linalg.norm(self.triangle, axis=0)
        if not np.isfinite(self.square) or not np.all(np.isfinite(norms)):
            names = _not_finite(fit, self.x)
            raise RobooptError(
                "`objective` must have finite residuals and derivatives at the start; "
                f"not finite: {', '.join(names) or 'the residuals'}."
            )
        self.scale = norms
        self.damping, self.growth = FIRST_DAMPING, 2.0
        self.converged = False
        dead = dead_parameters(norms, self.x)
        if dead.any():
            names = [n for n, d in zip(fit.names(), dead, strict=True) if d]
            warnings.warn(
                "the data say nothing of these parameters, which stay as they are: "
                f"{', '.join(names)}.",
                UserWarning,
                stacklevel=3,
            )

    def _at(self, x: np.ndarray) -> None:
        here = _reduced(*jacobian(self.fit, jnp.asarray(x)))
        self.triangle = np.asarray(here.triangle, float)
        self.rotated = np.asarray(here.rotated, float)
        self.square, self.count = float(here.square), here.count
        self.stale = False
        self.rounding = ROUNDING * float(jnp.finfo(here.triangle.dtype).eps)

    @property
    def loss(self) -> float:
        return 0.5 * self.square / self.count

    @property
    def model(self) -> Any:
        return self.fit.model(jnp.asarray(self.x))

    def step(self) -> bool:
        """Move to a lower loss; return whether there was one."""
        if self.stale:
            self._at(self.x)
        norms = np.linalg.norm(self.triangle, axis=0)
        self.scale = np.maximum(self.scale, norms)
        gradient = self.triangle.T @ self.rotated
        pressed = ((self.x <= self.lower) & (gradient > 0)) | (
            (self.x >= self.upper) & (gradient < 0)
        )
        moving = ~pressed & ~dead_parameters(self.scale, self.x)
        while moving.any() and self.damping < MOST_DAMPING:
            x, move = self._trial(moving)
            # What of ‖r‖² no parameter can change stands in neither.
            after = self.rotated + self.triangle @ move
            predicted = np.sum(self.rotated**2) - np.sum(after**2)
            size = float(np.linalg.norm(self.scale * move))
            if size <= 1e-15 * np.linalg.norm(self.scale * self.x):
                return False
            # A step that bounds cut short may lead uphill; a shorter one does not.
            if predicted > 0:
                square = float(_square(self.fit, jnp.asarray(x)))
                actual = self.square - square
                ratio = actual / predicted
                # Too small to be seen in ‖r‖², the last step is still a good one.
                last = max(predicted, abs(actual)) <= self.rounding * self.square
                if np.isfinite(square) and (ratio > 1e-4 or last):
                    self._accept(x, square, size, predicted, ratio)
                    self.converged |= last
                    return True
            self.damping *= self.growth
            self.growth *= 2.0
        return False

    def _trial(self, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        triangle, scale = self.triangle[:, moving], self.scale[moving]
        ridge = np.diag(np.sqrt(self.damping) * np.ones(scale.size))
        matrix = np.vstack([triangle / scale, ridge])
        known = np.concatenate([-self.rotated, np.zeros(scale.size)])
        step = np.zeros_like(self.x)
        step[moving] = np.linalg.lstsq(matrix, known, rcond=None)[0] / scale
        x = np.clip(self.x + step, self.lower, self.upper)
        return x, x - self.x

    def _accept(
        self,
        x: np.ndarray,
        square: float,
        size: float,
        predicted: float,
        ratio: float,
    ) -> None:
        small = size <= self.tolerance * np.linalg.norm(self.scale * x)
        actual = self.square - square
        still = max(actual, predicted) <= self.tolerance * self.square
        # Derivatives are taken where the next step begins, if there is one.
        self.x, self.square, self.stale = x, square, True
        self.damping *= max(1e-2, 1 - (2 * ratio - 1) ** 3)
        self.damping = max(self.damping, 1e-16)
        self.growth = 2.0
        self.converged = small or still or self.square == 0


def fitting(objective: Any, model: Any, data: Any, trainable: Any) -> Fit:
    """Return the residuals of `objective` as a function of what is trained.

    Raises:
        RobooptError: if `data` are not finite arrays, or nothing is to be trained.
    """
    if callable(data):
        raise RobooptError(
            "`data` must hold arrays, all of them taken each step, got a function."
        )
    trained, rest, static = partition(model, trainable)
    return Fit(objective, trained, rest, static, arrays(data))


def dead_parameters(norms: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return which are those on which no residual depends."""
    felt = norms * np.maximum(np.abs(x), 1e-3)
    return (norms == 0) | (felt <= DEAD * max(felt.max(), 1e-300))


def _not_finite(fit: Fit, x: np.ndarray) -> list[str]:
    """Return the names of those along which derivatives are not finite."""
    slopes = np.asarray(jacobian(fit, jnp.asarray(x))[1])
    # Where one derivative is infinite those of others are 0 · ∞, which is their nature
    # no more than the triangle's, where it spreads over all columns.
    infinite = np.isinf(slopes)
    bad = infinite if infinite.any() else np.isnan(slopes)
    names = fit.names()
    return [names[i] for i in np.flatnonzero(bad.any(0))]


def limits(
    fit: Fit, bounds: Sequence[Bound], model: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the most that each of x may be.

    Raises:
        RobooptError: if the model is not within them, or they bound what is not
        trained.
    """
    leaves = jax.tree.leaves(fit.trained)
    lower = [np.full(np.shape(leaf), -np.inf) for leaf in leaves]
    upper = [np.full(np.shape(leaf), np.inf) for leaf in leaves]
    for number, bound in bounded_leaves(bounds, model, fit.trained):
        lower[number] = np.maximum(lower[number], np.asarray(bound.lower, float))
        upper[number] = np.minimum(upper[number], np.asarray(bound.upper, float))
    low, high = (np.concatenate([np.ravel(b) for b in side]) for side in (lower, upper))
    start = fit.start()
    outside = (start < low) | (start > high)
    if outside.any():
        i = int(np.argmax(outside))
        raise RobooptError(
            f"`model` must start within its `bounds`: {fit.names()[i]} is {start[i]}, "
            f"not within {low[i]} to {high[i]}."
        )
    return low, high


def _check_objective(objective: Any) -> None:
    if not hasattr(objective, "residuals"):
        raise RobooptError(
            "`objective` must have `residuals(model, data)`, as `PredictionError` has; "
            f"{type(objective).__name__} has none: use `minimize`."
        )
