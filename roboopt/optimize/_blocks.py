"""The blocks of a `BlockSource`, each at its time, as data that steps are taken on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt.optimize._source import BlockSource, Everything, Minibatches, source


class SourceFailed(Exception):
    """A block after the first could not be had; the message says why."""


class Blocks:
    """Asks for blocks, one after the other, and checks that they are alike."""

    def __init__(
        self, given: BlockSource, model: Any, steps: int, batch_size: int | None
    ):
        """Ask for block 0, with the `model` to begin with.

        Args:
            given: the source.
            model: of the descent's beginning.
            steps: of the whole descent.
            batch_size: of the minibatches; None for all of a block each step.

        Raises:
            ValueError: if the source's `steps` is less than 1, or block 0 is not what
                `minimize` takes.
        """
        if not isinstance(given.steps, int | np.integer) or given.steps < 1:
            raise ValueError(
                f"`data.steps` must be a whole number of at least 1, got {given.steps}."
            )
        self.drifts = bool(given.drifts)
        self._given, self._batch_size = given, batch_size
        self.steps, self._number = int(given.steps), 0
        self._last = max(0, steps // self.steps - 1)
        block = given.block(model, 0)
        self.source = self._batches(block)
        self._forms = _forms(block)

    def left(self, taken: int, total: int) -> int:
        """Return how many of `total` steps are left on this block after `taken`."""
        last = self._number == self._last
        return (total if last else (self._number + 1) * self.steps) - taken

    def advance(self, model: Any) -> None:
        """Ask for the next block.

        Raises:
            SourceFailed: if there is an error on the way, or data are not finite.
            ValueError: if its shapes are others than block 0's.
        """
        number = self._number + 1
        try:
            block = self._given.block(model, number)
        except Exception as error:
            raise _failed(number, error) from error
        forms = _forms(block)
        for name in self._forms | forms:
            here, before = forms.get(name), self._forms.get(name)
            if here != before:
                raise ValueError(
                    "`data.block` must return arrays of the same shapes each time; of "
                    f"block {number} `data`{name} is {here or 'missing'}, of block 0 "
                    f"{before or 'missing'}."
                )
        try:
            self.source = self._batches(block)
        except ValueError as error:
            raise _failed(number, error) from error
        self._number = number

    def _batches(self, block: Any) -> Everything | Minibatches:
        if callable(block):
            raise ValueError(
                f"`data.block` must return arrays, got {type(block).__name__}."
            )
        batches = source(block, self._batch_size)
        assert isinstance(batches, Everything | Minibatches)
        return batches


def _failed(number: int, error: Exception) -> SourceFailed:
    return SourceFailed(f"block {number}: {type(error).__name__}: {error}")


def _forms(block: Any) -> dict[str, str]:
    return {
        jax.tree_util.keystr(path): f"{jnp.result_type(leaf)}{list(np.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(block)
    }
