"""`least_squares`: the method of Levenberg and Marquardt, with bounds.

    min_x ½ mean r(x)²,   l ≤ x ≤ u:   (JᵀJ + λ D²) s = −Jᵀ r,   x⁺ = clip(x + s)

D holds the largest norms so far of the columns of J (Moré, 1978), so that neither units
nor scales matter, and λ follows from the ratio of the actual reduction to the predicted
one (Nielsen, 1999). Steps are projected on the bounds, and coordinates at a bound whose
gradient points outside do not move (Kanzow, Yamashita and Fukushima, 2004). So a
coordinate may start on its bound, and ends exactly on it where the data push it there:
a friction of 0 is 0, for which a bijection has no coordinate.

Where a model leaves more than noise, JᵀJ lacks the part Σ rᵢ ∂²rᵢ of the Hessian, steps
overshoot, and λ stays large. A secant estimate S of that part (Dennis, Gay and Welsch,
1981) is then added, without its negative eigenvalues, while it predicts better.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._errors import RobooptError
from roboopt._interrupt import check, exposed, interruptible, keep, shielded
from roboopt._programs import filter_jit
from roboopt._progress import progress_line
from roboopt.optimize._bounds import Bound
from roboopt.optimize._checkpoint import Part, Records, as_part
from roboopt.optimize._fit import Fit
from roboopt.optimize._identity import fit_identity
from roboopt.optimize._result import Result, Status, check_budget, stop_message
from roboopt.optimize._step_log import Log, StepLog

INITIAL_DAMPING = 1e-4
MIN_DAMPING, MAX_DAMPING = 1e-16, 1e16
MIN_RATIO = 1e-4  # of the actual reduction to the predicted one
ROUNDING = 10.0  # times the precision: reductions of ‖r‖² below are rounding
MIN_SENSITIVITY = 1e-12  # relative to the most sensitive parameter
MIN_STEP = 1e-15  # relative to x
STATE = (
    *("x", "scale", "square", "damping", "growth", "converged"),
    *("curvature", "bend", "augmented", "gradient", "move", "crossed"),
)


@interruptible
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
    log: Log | None = None,
    progress: bool = False,
    checkpoint: str | PathLike | Part | None = None,
) -> Result:
    """Minimize half the mean square of `objective.residuals(model, data)`.

    Second order: ten steps do what takes `minimize` a thousand, at the cost of one
    forward derivative of the residuals per parameter. Suited to some hundred parameters
    at most.

    Args:
        objective: an objective with `residuals(model, data)`, such as a
            `PredictionError`, or a sum of such objectives.
        model: any pytree; its floating-point arrays are trained, except in `Frozen`.
        data: arrays, all of which are used in each step.
        steps: the largest number of steps.
        trainable: selects the parts to train, as in `minimize`.
        bounds: bounds that are kept; the start may lie on them.
        tolerance: stop once a step changes the parameters, or the loss, by no more than
            this fraction.
        seconds: stop after this time [s], compilation included.
        callback: called with a `Status` after each step; stops if it returns True.
        log: `log(step, metrics)`, told of every step the "loss", half the mean square
            of each part by its class, as "prediction_error", and the "damping" λ.
        progress: whether to show a progress bar.
        checkpoint: file for the state of the fit, as in `minimize`.

    Returns:
        The best model found, also after Ctrl-C. The history holds the loss.

    Raises:
        RobooptError: if an argument breaks its rule, the objective has no residuals,
            the start is outside its bounds, residuals or derivatives are not finite, or
            `checkpoint` is a file of another run.

    Warns:
        UserWarning: if the residuals do not depend on a parameter, which then stays.
    """
    began = time.perf_counter()
    check_budget(steps, tolerance, seconds)
    told = StepLog(log)
    fit, part = Fit.of(objective, model, data, trainable=trainable), as_part(checkpoint)
    limits = fit.limits(bounds, model)
    search = _Search(fit, *limits, tolerance)
    compiled = time.perf_counter() - began
    losses, reason, earlier = [search.loss], "steps", 0.0
    if part is not None:
        found = part.read(search.state(), (), fit_identity(fit, *limits))
        if found is not None:
            keep()
            search.restore(found.state)
            losses = found.records["history"]["loss"].tolist()
            earlier = float(found.records["time"].get("seconds", 0.0))
            told.resume(len(losses))
            reason = "tolerance" if search.converged else "steps"
    resumed = len(losses)
    if resumed == 1:
        told.tell(0, search.metrics())
    with progress_line(steps, progress) as show, shielded():
        try:
            while reason == "steps" and len(losses) <= steps:
                check()
                if not search.step():
                    reason = "tolerance"
                    break
                step, loss = len(losses), search.loss
                losses.append(loss)
                keep()
                spent = time.perf_counter() - began
                status = Status(step, loss, loss, search.model, spent)
                show(step, f"step {step} of {steps}: loss {loss:.6g}")
                told.tell(step, search.metrics())
                with exposed():
                    stopped = callback is not None and callback(status) is True
                if part is not None and part.is_due():
                    part.write(*search.checkpoint(losses, earlier + spent))
                if stopped:
                    reason = "callback"
                elif search.converged:
                    reason = "tolerance"
                elif time.perf_counter() - began >= seconds:
                    reason = "seconds"
        except KeyboardInterrupt:
            reason = "interrupted"
        told.tell_rest()
        taken, spent = len(losses) - 1, earlier
        if not 1 < resumed == len(losses):
            spent += time.perf_counter() - began
        if part is not None and (taken or reason != "interrupted"):
            part.write(*search.checkpoint(losses, spent))
    message = stop_message(reason, taken)
    if part is not None and part.unwritten:
        message += f"; {part.unwritten}"
    return Result(
        model=search.model,
        loss=search.loss,
        history={"loss": np.array(losses)},
        reason=reason,
        message=message,
        steps=taken,
        seconds=spent,
        compile_seconds=compiled,
    )


@filter_jit
def _reduce(
    weights: Sequence[Array], parts: Sequence[tuple[Array, Array]]
) -> tuple[Array, Array, Array]:
    """Return R, Qᵀ r and ‖r‖² with J = QR, of the weighted parts of r and J."""
    pairs = list(zip(weights, parts, strict=True))
    residuals = jnp.concatenate(
        [jnp.sqrt(w).astype(r.dtype) * r for w, (r, _) in pairs]
    )
    slopes = jnp.concatenate([jnp.sqrt(w).astype(j.dtype) * j for w, (_, j) in pairs])
    # R of the matrix [J r] contains Qᵀ r, so that Q is never formed.
    triangle = jnp.linalg.qr(jnp.column_stack([slopes, residuals]), mode="r")
    rank = min(slopes.shape)
    return triangle[:rank, :-1], triangle[:rank, -1], residuals @ residuals


@filter_jit
def _residuals(fit: Fit, x: Array, slopes: Array) -> tuple[Array, Array]:
    """Return ‖r‖² and Jᵀr with the residuals at x and the derivatives elsewhere."""
    residuals = fit.residuals(x)
    return residuals @ residuals, residuals @ slopes


class _Search:
    """The point x, the linearized residuals there, and the damping."""

    def __init__(
        self, fit: Fit, lower: np.ndarray, upper: np.ndarray, tolerance: float
    ):
        self.fit, self.lower, self.upper = fit, lower, upper
        self.tolerance, self.x = tolerance, fit.start()
        self.weights, self.parts = zip(*fit.parts(), strict=True)
        # S, and its root B without negative eigenvalues: BᵀB.
        self.curvature = self.bend = np.zeros((self.x.size, self.x.size))
        # The last step, Jᵀr before it, and with J before it but r after it.
        self.move = self.gradient = self.crossed = np.zeros_like(self.x)
        self.augmented = False
        self._linearize()
        self.scale = np.linalg.norm(self.triangle, axis=0)
        if not np.isfinite(self.square) or not np.all(np.isfinite(self.scale)):
            names = ", ".join(self._not_finite()) or "the residuals"
            raise RobooptError(
                "`objective` must have finite residuals and derivatives at the start; "
                f"not finite: {names}."
            )
        self.damping, self.growth, self.converged = INITIAL_DAMPING, 2.0, False
        insensitive = _insensitive(self.scale, self.x)
        if insensitive.any():
            names = ", ".join(np.array(fit.names())[insensitive])
            warnings.warn(
                "the residuals do not depend on these parameters, which keep their "
                f"values: {names}.",
                UserWarning,
                stacklevel=4,
            )

    def _linearize(self) -> None:
        found = [part.jacobian(jnp.asarray(self.x)) for part in self.parts]
        sizes = [residuals.size for residuals, _ in found]
        self.sizes, self.count = sizes, sum(sizes)
        self.squares = [float(np.sum(np.square(r))) for r, _ in found]
        # Half the mean square of the whole is then the sum of the parts' own.
        self.shares = [
            jnp.asarray(float(weight) * self.count / size)
            for weight, size in zip(self.weights, sizes, strict=True)
        ]
        triangle, rotated, square = _reduce(self.shares, found)
        self.triangle = np.asarray(triangle, float)
        self.rotated = np.asarray(rotated, float)
        self.square = float(square)
        self.slopes, self.linearized = [slopes for _, slopes in found], True
        self.rounding = ROUNDING * float(jnp.finfo(triangle.dtype).eps)

    def state(self) -> dict[str, np.ndarray]:
        """Return what decides the next steps, as a checkpoint holds it."""
        return {name: np.asarray(getattr(self, name)) for name in STATE}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `state`; the residuals there are linearized anew."""
        for name in STATE:
            value = state[name]
            setattr(self, name, value if value.ndim else value.item())
        self.linearized = False

    def checkpoint(
        self, losses: list[float], seconds: float
    ) -> tuple[Any, tuple, Records]:
        """Return what a checkpoint holds after steps with these losses."""
        time = {"seconds": np.array(seconds)}
        return self.state(), (), {"history": {"loss": np.array(losses)}, "time": time}

    @property
    def loss(self) -> float:
        return 0.5 * self.square / self.count

    def metrics(self) -> dict[str, np.ndarray]:
        """Return what a log is told of a step: the loss, its terms and the damping."""
        names, shown = [part.name for part in self.parts], {"loss": self.loss}
        for k, name in enumerate(names):
            label = name if names.count(name) == 1 else f"{k + 1}.{name}"
            shown[label] = 0.5 * self.squares[k] / self.sizes[k]
        shown["damping"] = self.damping
        return {name: np.array([value]) for name, value in shown.items()}

    @property
    def model(self) -> Any:
        return self.fit.model(jnp.asarray(self.x))

    def _not_finite(self) -> list[str]:
        """Return the names of the parameters whose derivatives are not finite."""
        found = [part.jacobian(jnp.asarray(self.x))[1] for part in self.parts]
        slopes = np.concatenate([np.asarray(part) for part in found])
        # One infinite derivative makes those of other parameters 0 · ∞ = NaN.
        infinite = np.isinf(slopes)
        bad = infinite if infinite.any() else np.isnan(slopes)
        names = self.fit.names()
        return [names[i] for i in np.flatnonzero(bad.any(0))]

    def step(self) -> bool:
        """Move to a lower loss; return whether one was found."""
        if not self.linearized:
            self._linearize()
            if not np.all(np.isfinite(self.triangle)):
                warnings.warn(
                    "the derivatives by these parameters are not finite where the fit "
                    f"has come to, and stops: {', '.join(self._not_finite())}.",
                    UserWarning,
                    stacklevel=3,
                )
                return False
        self.scale = np.maximum(self.scale, np.linalg.norm(self.triangle, axis=0))
        gradient = self.triangle.T @ self.rotated
        self._update_curvature(gradient)
        self.gradient = gradient
        at_bound = ((self.x <= self.lower) & (gradient > 0)) | (
            (self.x >= self.upper) & (gradient < 0)
        )
        moving = ~at_bound & ~_insensitive(self.scale, self.x)
        while moving.any() and self.damping < MAX_DAMPING:
            x = self._trial(moving)
            move = x - self.x
            # The part of ‖r‖² that no parameter changes is in neither term.
            after = self.rotated + self.triangle @ move
            linear = np.sum(self.rotated**2) - np.sum(after**2)
            both = linear, linear - np.sum((self.bend @ move) ** 2)
            predicted = both[int(self.augmented)]
            size = float(np.linalg.norm(self.scale * move))
            if size <= MIN_STEP * np.linalg.norm(self.scale * self.x):
                return False
            check()
            # A step cut short by bounds may lead uphill; a shorter one does not.
            if predicted > 0:
                squares, crossed = self._at(x)
                square = float(np.dot(np.array(self.shares, float), squares))
                actual = self.square - square
                # A reduction within rounding is the last, and still a good one.
                last = max(predicted, abs(actual)) <= self.rounding * self.square
                if np.isfinite(square) and (actual / predicted > MIN_RATIO or last):
                    self.move, self.crossed, self.squares = move, crossed, squares
                    self._accept(x, square, size, predicted)
                    self.augmented = bool(abs(actual - both[1]) < abs(actual - both[0]))
                    self.converged |= last
                    return True
            self.damping *= self.growth
            self.growth *= 2.0
        return False

    def _at(self, x: np.ndarray) -> tuple[list[float], np.ndarray]:
        """Return ‖r‖² of each part at x, and Jᵀr with r at x and the last J."""
        squares, crossed = [], np.zeros_like(self.x)
        for part, share, slopes in zip(
            self.parts, self.shares, self.slopes, strict=True
        ):
            found, product = _residuals(part, jnp.asarray(x), slopes)
            squares.append(float(found))
            crossed = crossed + float(share) * np.asarray(product)
        return squares, crossed

    def _trial(self, moving: np.ndarray) -> np.ndarray:
        """Return x after a damped step of the coordinates that move."""
        triangle, scale = self.triangle[:, moving], self.scale[moving]
        rows = [triangle / scale, np.diag(np.full(scale.size, np.sqrt(self.damping)))]
        if self.augmented:
            rows.append(self.bend[:, moving] / scale)
        matrix = np.vstack(rows)
        right = np.zeros(len(matrix))
        right[: self.rotated.size] = -self.rotated
        step = np.zeros_like(self.x)
        step[moving] = np.linalg.lstsq(matrix, right, rcond=None)[0] / scale
        return np.clip(self.x + step, self.lower, self.upper)

    def _update_curvature(self, gradient: np.ndarray) -> None:
        """Add to Σ r ∂²r what the last step tells of it: a sized secant update.

        Args:
            gradient: Jᵀr where the step has ended.
        """
        move, bent = self.move, gradient - self.crossed
        change = gradient - self.gradient
        if not (along := change @ move) > 0:
            return
        curvature = self.curvature
        if before := move @ curvature @ move:
            curvature = curvature * min(1.0, abs(move @ bent) / abs(before))
        missing, seen = bent - curvature @ move, change / along
        both = np.outer(missing, seen)
        curvature = curvature + both + both.T - move @ missing * np.outer(seen, seen)
        if not np.isfinite(curvature).all():
            return
        self.curvature = curvature
        scale = np.where(self.scale > 0, self.scale, 1.0)
        values, axes = np.linalg.eigh(self.curvature / np.outer(scale, scale))
        self.bend = (np.sqrt(np.maximum(values, 0)) * axes).T * scale

    def _accept(
        self, x: np.ndarray, square: float, size: float, predicted: float
    ) -> None:
        actual = self.square - square
        small_step = size <= self.tolerance * np.linalg.norm(self.scale * x)
        small_gain = max(actual, predicted) <= self.tolerance * self.square
        # The next step linearizes, if there is one.
        self.x, self.square, self.linearized = x, square, False
        self.damping *= max(1e-2, 1 - (2 * actual / predicted - 1) ** 3)
        self.damping = max(self.damping, MIN_DAMPING)
        self.growth = 2.0
        self.converged = small_step or small_gain or self.square == 0


def _insensitive(norms: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return which parameters no residual depends on, up to rounding."""
    sensitivity = norms * np.maximum(np.abs(x), 1e-3)
    threshold = MIN_SENSITIVITY * max(sensitivity.max(), 1e-300)
    return (norms == 0) | (sensitivity <= threshold)
