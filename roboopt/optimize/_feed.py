"""The batches of a `Source`, one after the other, and how many steps each serves."""

from typing import Any

import jax
import numpy as np

from roboopt._errors import RobooptError
from roboopt.optimize._sources import (
    Batches,
    Block,
    FullBatch,
    Minibatches,
    SourceExhausted,
    SourceFailed,
    array_source,
)


class Feed:
    """Asks a source for its batches, and checks that they are alike.

    Attributes:
        model: the initial model, with fixed arrays as the first batch updated them.
        source: the batches within the latest batch of the source.
        steps: gradient steps on each.
        drifts: whether losses on different batches cannot be compared.
        iterable: whether the batches come from an iterable.
    """

    def __init__(
        self, given: Any, model: Any, steps: int, batch_size: int | None, seed: int
    ):
        """Ask for the first batch.

        Args:
            given: the source.
            model: the initial model.
            steps: gradient steps of the whole run.
            batch_size: samples of a minibatch; None for all of a batch in each step.
            seed: of the keys for the source.

        Raises:
            RobooptError: if `steps` of the source is less than 1, or the first batch
                does not hold arrays.
        """
        self.steps = getattr(given, "steps", 1)
        if not isinstance(self.steps, int | np.integer) or self.steps < 1:
            raise RobooptError(
                f"`data.steps` must be a whole number of at least 1, got {self.steps}."
            )
        self.drifts = bool(getattr(given, "drifts", False))
        self.iterable = isinstance(given, Batches)
        self._given, self._batch_size = given, batch_size
        self._key = jax.random.fold_in(jax.random.key(seed), 1)
        self._number, self._last = 0, max(0, steps // self.steps - 1)
        try:
            data, self.model = self._next(model)
        except SourceExhausted:
            raise RobooptError("`data` must hold a batch, got none.") from None
        self.source = self._batches(data)
        self._forms = self._shapes(data)

    def left(self, taken: int, total: int) -> int:
        """Return how many of `total` steps are left on this batch after `taken`."""
        last = self._number == self._last
        return (total if last else (self._number + 1) * self.steps) - taken

    @property
    def state(self) -> Any:
        """Return the state of the source for a checkpoint; None if it has none."""
        return self._given.state() if hasattr(self._given, "state") else None

    def resume(self, state: Any, taken: int) -> None:
        """Restore the source after `taken` steps; the next `advance` asks anew."""
        if hasattr(self._given, "restore"):
            self._given.restore(state)
        self._number = min(taken // self.steps, self._last) - 1

    def advance(self, model: Any) -> Any:
        """Ask for the next batch, and return the model to continue with.

        Raises:
            SourceExhausted: if an iterable has ended.
            SourceFailed: if the source raises an error, or its arrays are not finite
                or of other shapes than the first.
        """
        number = self._number + 1
        try:
            self._number = number
            data, model = self._next(model)
            self._check(data)
            self.source = self._batches(data)
        except SourceExhausted:
            raise
        except Exception as error:
            self._number = number - 1
            text = f"`data`, block {number}: {type(error).__name__}: {error}"
            raise SourceFailed(text) from error
        return model

    def _next(self, model: Any) -> tuple[Any, Any]:
        if self.iterable:
            return self._given.next(None, None), model
        key = jax.random.fold_in(self._key, self._number)
        block = self._given.next(model, key)
        return block if isinstance(block, Block) else (block, model)

    def _check(self, data: Any) -> None:
        shapes = self._shapes(data)
        for name in self._forms | shapes:
            here, first = shapes.get(name), self._forms.get(name)
            if here != first:
                raise RobooptError(
                    "`data` must return arrays of the same shapes each time; "
                    f"`data`{name} is {here or 'missing'}, of block 0 "
                    f"{first or 'missing'}."
                )

    def _shapes(self, data: Any) -> dict[str, str]:
        # The last batch of an epoch may be smaller.
        first = 1 if self.iterable else 0
        return {
            jax.tree_util.keystr(path): f"{getattr(leaf, 'dtype', type(leaf).__name__)}"
            f"{list(np.shape(leaf)[first:])}"
            for path, leaf in jax.tree_util.tree_leaves_with_path(data)
        }

    def _batches(self, data: Any) -> FullBatch | Minibatches:
        if callable(data):
            raise RobooptError(
                f"`data.next` must return arrays, got {type(data).__name__}."
            )
        return array_source(data, self._batch_size)
