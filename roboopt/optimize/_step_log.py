"""What a user's `log` is told of a descent: the numbers of every step, by name."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from roboopt._errors import require
from roboopt._interrupt import check
from roboopt.optimize._notes import PATH

Log = Callable[[int, dict[str, float]], Any]


class StepLog:
    """Tells a function of the steps of a descent, as they are taken.

    A function that raises at the first step ends the descent; one that does so later is
    no longer called, with a warning. In several processes the first tells.
    """

    def __init__(self, log: Log | None):
        """Keep the function, None for none."""
        known = log is None or (callable(log) and not isinstance(log, type))
        require(known, "log", "be a function `(step, metrics)` or None", log)
        self._log = log if jax.process_index() == 0 else None
        self._told, self._waiting = 0, list[tuple[int, Mapping[str, np.ndarray]]]()

    def resume(self, taken: int) -> None:
        """Go on after so many steps, which were told before the interruption."""
        self._told = taken
        if isinstance(self._log, OneLog):
            self._log.resume(taken)

    def tell(
        self, first: int, rows: Mapping[str, np.ndarray], *, hold: bool = False
    ) -> None:
        """Tell of the steps of `rows`, which begin at step `first`.

        With `hold`, the last one is told with the next ones, which note in `rows` how
        much it has lowered the loss.

        Raises:
            KeyboardInterrupt: between steps, in a descent that is `shielded`; those
                left are told by `tell_rest`.
        """
        self._waiting.append((first, rows))
        self._tell(hold, check)

    def tell_rest(self) -> None:
        """Tell of the steps that are left; an interruption then leaves them untold."""
        with contextlib.suppress(KeyboardInterrupt):
            self._tell(False, lambda: None)

    def _tell(self, hold: bool, ask: Callable[[], None]) -> None:
        """Tell of the waiting steps, if need be but the last, and ask before each."""
        while self._log is not None and self._waiting:
            first, rows = self._waiting[0]
            held = int(hold and len(self._waiting) == 1)
            own = slice(self._told - first, len(rows["loss"]) - held)
            steps = _metrics({name: x[own] for name, x in rows.items()})
            for step, metrics in enumerate(steps, self._told):
                ask()
                self._told = step + 1
                self._call(step, metrics)
            if held:
                return
            del self._waiting[0]

    def _call(self, step: int, metrics: dict[str, float]) -> None:
        if self._log is None:  # It failed at a step before.
            return
        try:
            self._log(step, metrics)
        except Exception as error:
            if step == 0:
                raise
            said = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"`log` failed at step {step} and is no longer called ({said}).",
                stacklevel=2,
            )
            self._log = None


class OneLog:
    """Tells one function of several descents, their steps counted on."""

    def __init__(self, log: Log | None):
        """Keep the function, None for none."""
        StepLog(log)
        self._log, self._before, self._last = log, 0, -1

    @property
    def of_next(self) -> Log | None:
        """Return the function to give to the next descent."""
        self._before = self._last + 1
        return None if self._log is None else self

    def resume(self, taken: int) -> None:
        """Count steps that the descent took before an interruption."""
        self._last = self._before + taken - 1

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Tell of a step of the descent that goes on."""
        self._last = self._before + step
        assert self._log is not None
        self._log(self._last, metrics)


def _metrics(rows: Mapping[str, np.ndarray]) -> Iterator[dict[str, float]]:
    """Yield the numbers of each step; of many starts those of the least loss."""
    columns = {name: np.asarray(rows[name]) for name in rows if name not in PATH}
    losses = columns["loss"]
    if losses.ndim > 1:
        known = np.where(np.isnan(losses), np.inf, losses)
        best = np.arange(len(losses)), known.argmin(axis=1)
        columns = {name: values[best] for name, values in columns.items()}
    lists = [values.tolist() for values in columns.values()]
    for numbers in zip(*lists, strict=True):
        named = zip(columns, numbers, strict=True)
        # What is not known of a step is NaN.
        yield {n: x for n, x in named if n == "loss" or not math.isnan(x)}
