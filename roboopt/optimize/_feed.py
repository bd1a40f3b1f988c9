"""The batches of a run, one after the other, and how many steps each serves."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.optimize._sources import (
    Batches,
    Block,
    FullBatch,
    Source,
    SourceExhausted,
    SourceFailed,
    array_source,
)


class Feed:
    """Asks a `Source` for its batches, and checks that they are alike.

    Arrays and functions are a single batch, which serves all steps.

    Attributes:
        batches: what steps draw from: the latest batch, or minibatches of it.
        model: the initial model, with fixed arrays as the first batch updated them.
        steps: gradient steps on each batch.
        drifts: whether losses on different batches cannot be compared.
        iterable: whether the batches come from an iterable.
        changes: whether the batches come from a `Source`.
        noisy: whether another batch serves each step.
        comparable: the steps whose losses can be compared.
    """

    def __init__(
        self, given: Any, model: Any, steps: int, batch_size: int | None, seed: int
    ):
        """Ask for the first batch of what `as_source` returned, in a run of `steps`."""
        self._given, self._batch_size = given, batch_size
        self.changes = isinstance(given, Source)
        self.iterable = isinstance(given, Batches)
        self.drifts = bool(getattr(given, "drifts", False))
        self.steps = getattr(given, "steps", 1 if self.changes else steps)
        if not isinstance(self.steps, int | np.integer) or self.steps < 1:
            raise RobooptError(
                f"`data.steps` must be a whole number of at least 1, got {self.steps}."
            )
        self._key = jax.random.fold_in(jax.random.key(seed), 1)
        self._number, self._last = 0, max(0, steps // self.steps - 1)
        self.batches, self.model = given, model
        if self.changes:
            try:
                data, self.model = self._next(model)
            except SourceExhausted:
                raise RobooptError("`data` must hold a batch, got none.") from None
            self.batches = array_source(data, batch_size)
            self._forms = self._shapes(data)
        full = isinstance(self.batches, FullBatch)
        self.noisy = not full or (self.changes and self.steps == 1)
        self.comparable = self.steps if self.drifts else steps

    def left(self, taken: int, total: int) -> int:
        """Return how many of `total` steps are left on this batch after `taken`."""
        last = self._number == self._last
        return (total if last else (self._number + 1) * self.steps) - taken

    @property
    def state(self) -> Any:
        """Return the state of the source for a checkpoint; None if it has none."""
        return self._given.state() if hasattr(self._given, "state") else None

    @property
    def fingerprint(self) -> tuple:
        """Return what tells the source from others."""
        given = self._given
        own = given.fingerprint() if hasattr(given, "fingerprint") else ""
        return type(given).__qualname__, self.steps, self.drifts, own

    def resume(self, state: Any, taken: int) -> bool:
        """Restore the source after `taken` steps; return whether a batch serves on."""
        if hasattr(self._given, "restore"):
            self._given.restore(state)
        if not hasattr(self._given, "repeat"):
            self._number = min(taken // self.steps, self._last) - 1
            return False
        self._number = min((taken - 1) // self.steps, self._last)
        self._take(lambda: (self._given.repeat(), None))
        return True

    def advance(self, model: Any) -> Any:
        """Ask for the next batch, and return the model to continue with.

        An iterable that has ended raises `SourceExhausted`, and its last batch serves
        once more. A source that fails, or whose arrays are not like the first, raises
        `SourceFailed`.
        """
        self._number += 1
        try:
            return self._take(lambda: self._next(model))
        except (SourceExhausted, SourceFailed):
            self._number -= 1
            raise

    def _take(self, ask: Callable[[], tuple[Any, Any]]) -> Any:
        """Take the batch that is asked for as the latest; return the model with it."""
        try:
            data, model = ask()
            for name in self._forms | (shapes := self._shapes(data)):
                here, first = (x.get(name, "missing") for x in (shapes, self._forms))
                if here != first:
                    raise RobooptError(
                        "`data` must return arrays of the same shapes each time; "
                        f"`data`{name} is {here}, of block 0 {first}."
                    )
            self.batches = array_source(data, self._batch_size)
        except SourceExhausted:
            self._last = self._number - 1
            raise
        except Exception as error:
            text = f"`data`, block {self._number}: {type(error).__name__}: {error}"
            raise SourceFailed(text) from error
        return model

    def _next(self, model: Any) -> tuple[Any, Any]:
        key = jax.random.fold_in(self._key, self._number)
        found = self._given.next(model, key)
        data, model = found if isinstance(found, Block) else (found, model)
        require(not callable(data), "data.next", "return arrays", type(data))
        return data, model

    def _shapes(self, data: Any) -> dict[str, str]:
        # The last batch of an epoch may be smaller.
        first = 1 if self.iterable else 0
        return {
            jax.tree_util.keystr(path): f"{getattr(leaf, 'dtype', type(leaf).__name__)}"
            f"{list(np.shape(leaf)[first:])}"
            for path, leaf in jax.tree_util.tree_leaves_with_path(data)
        }
