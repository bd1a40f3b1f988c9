"""The result of an optimization, and its status on the way."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from roboopt._display import display_width, left
from roboopt._errors import is_number, require, require_at_least
from roboopt._notebook import values_html
from roboopt._progress import counted
from roboopt._readable import readable
from roboopt.optimize._ending import FAILURES
from roboopt.optimize._notes import NOTES
from roboopt.optimize._validation import NAME

SHOWN_TERMS = 6


class Status(NamedTuple):
    """What a callback is given."""

    step: int
    loss: float
    best_loss: float
    model: Any
    """The best model so far."""
    seconds: float

    def described(self, steps: int, *, validated: bool = False) -> str:
        """Return the progress in words; `validated` if held-out data rank models."""
        best = "best in validation" if validated else "best"
        losses = f"loss {self.loss:.6g}, {best} {self.best_loss:.6g}"
        return f"step {self.step} of {steps}: {losses}"


class Result(eqx.Module):
    """The best model found, the history of the run, and why it stopped.

    The history holds "loss" and every term in its own unit: one value before each step
    and one after the last, of shape (steps + 1,), or (steps + 1, starts) with
    `batched=True`. `minimize` notes of each step besides, in the coordinates that the
    optimizer moves:

    - "gradient_norm" and "step_norm", Euclidean, as optax clips them;
    - "predicted_decrease" of the loss, −g · Δx to first order;
    - "actual_decrease", the loss before less the loss after the step, where both are on
      the same batch: NaN where the batch changes, and left out where each step has
      another;
    - "learning_rate", where the optimizer keeps it: the default Adam, those of
      `reinforce`, `optax.inject_hyperparams`; of a line search, the length of the step
      along the direction.

    Where each step has another batch, every eighth step has a "step_norm" and a
    "predicted_decrease", the others NaN. The last row is that of the step that would
    have come next.
    """

    model: Any
    loss: float
    """The loss of `model`. Where each step has another batch, it is the mean of the
    losses of the last steps up to `model`, weighted by 0.98 to the power of their age:
    one batch says little. With `validation` it is the loss on these data. For the loss
    on data of your choice call `objective(result.model, data)`."""
    history: dict[str, np.ndarray]
    reason: str = eqx.field(static=True)
    """One of

    - "steps": all were taken;
    - "tolerance": the loss is on a plateau, where the gradient is small too;
    - "validation": the loss on held-out data has not improved within `patience` steps;
    - "stuck": no step finds a lower loss, though the gradient is not small, as where
      the objective is not smooth or badly scaled;
    - "diverged": the loss has risen more than a thousandfold, as where the learning
      rate is too high;
    - "unbounded": the loss falls without end, and has no minimum;
    - "non-finite": the loss or its gradient is not finite;
    - "seconds", "callback", "interrupted";
    - "source": data or a simulator failed; "exhausted": an iterable of batches ended.
    """
    message: str = eqx.field(static=True)
    """The reason as a sentence, with the terms and leaves that are not finite."""
    steps: int = eqx.field(static=True)
    seconds: float = eqx.field(static=True)
    """Wall time, compilation included."""
    compile_seconds: float = eqx.field(static=True)
    first_gradient: dict[str, np.ndarray] = eqx.field(default_factory=dict)
    """The gradient of the loss at the start by the name of each trained array; empty
    where each step has another batch."""
    gradient: dict[str, np.ndarray] = eqx.field(default_factory=dict)
    """The gradient at `model`; empty where each step has another batch."""
    smoothed: bool = eqx.field(static=True, default=False)
    """Whether `loss` is a mean over the last steps."""
    parameters: dict[str, np.ndarray] = eqx.field(default_factory=dict)
    """Of a model of at most 50 numbers, each by its name, as in the history one value
    before each step and one after the last; empty for others and with `batched=True`.
    """
    derivatives: dict[str, np.ndarray] = eqx.field(default_factory=dict)
    """The derivatives of the loss with respect to the `parameters`, on the batch of the
    step."""

    @property
    def best_step(self) -> int | None:
        """Return the step before which `model` was the best on `validation`.

        None without `validation`, and with many starts.
        """
        losses = np.asarray(self.history.get(NAME, []), float)
        if losses.ndim != 1 or not np.isfinite(losses).any():
            return None
        return int(np.nanargmin(losses))

    def columns(self) -> dict[str, np.ndarray]:
        """Return the history, with each of the `parameters` and its derivative."""
        slopes = {f"dL/d {name}": v for name, v in self.derivatives.items()}
        return {**self.history, **self.parameters, **slopes}

    def _rows(self) -> dict[str, str]:
        names = [n for n in self.history if n not in ("loss", NAME, *NOTES)]
        loss = f"{self.loss:.6g}"
        rows = {"loss": f"{loss} (mean of recent batches)" if self.smoothed else loss}
        if len(names) > 1 and len(self.history["loss"]):  # One term is the loss.
            where, row = self._term_row()
            for name in names[:SHOWN_TERMS]:
                value = np.asarray(self.history[name])[row]
                rows[f"{name}{where}"] = f"{float(value):.6g}"
        return rows | {
            "reason": self.message if self.reason in FAILURES else self.reason,
            "steps": str(self.steps),
            "seconds": f"{self.seconds:.3g}",
            "model": readable(self.model),
        }

    def _term_row(self) -> tuple[str, tuple[int, ...]]:
        """Return the place in the history whose terms are shown, in words and index."""
        losses = np.asarray(self.history["loss"], float)
        if self.best_step is not None:
            return "", (self.best_step,)
        if self.smoothed:
            return " (last batch)", (-1, *(0 for _ in losses.shape[1:]))
        gaps = np.abs(losses - self.loss)
        best = np.argmin(np.where(np.isnan(gaps), np.inf, gaps))
        return "", tuple(map(int, np.unravel_index(best, losses.shape)))

    def summary(self) -> str:
        """Return the loss, the terms, the reason and the model, one a line."""
        rows = self._rows()
        width = max(map(display_width, rows))
        lines = [f"{left(name, width)}  {value}" for name, value in rows.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Return the loss, the values of the first terms, the reason, the model."""
        rows = ", ".join(f"{name}={value}" for name, value in self._rows().items())
        return f"Result({rows})"

    def _repr_html_(self) -> str:
        """Return the loss, the terms and the reason as a table for notebooks."""
        return values_html("Result", self._rows())


def stop_message(reason: str, steps: int) -> str:
    """Return a reason to stop as a sentence, or its beginning where details follow."""
    taken = counted(steps, "step")
    return {
        "steps": f"{taken} taken" if steps == 1 else f"all {taken} taken",
        "tolerance": f"no further improvement after {taken}",
        "validation": f"no further improvement on validation data after {taken}",
        "seconds": f"time was up after {taken}",
        "callback": f"the callback stopped it after {taken}",
        "interrupted": f"interrupted after {taken}",
        "exhausted": f"the batches of `data` ended after {taken}",
        "source": f"failed after {taken} in",
        "non-finite": f"not finite after {taken}",
        "stuck": f"stuck after {taken}, though the gradient is not small",
        "diverged": f"the loss diverged after {taken}",
        "unbounded": f"the loss has no minimum: it fell without end in {taken}",
    }[reason]


def check_budget(
    steps: int, tolerance: float | None, seconds: float, patience: int = 1
) -> None:
    """Raise a RobooptError unless the limits of a run are in their ranges."""
    require_at_least(1, steps=steps, patience=patience)
    if tolerance is not None:
        valid = is_number(tolerance) and 0 <= tolerance < math.inf
        require(valid, "tolerance", "be finite and not negative", tolerance)
    require(is_number(seconds) and seconds > 0, "seconds", "be positive", seconds)
