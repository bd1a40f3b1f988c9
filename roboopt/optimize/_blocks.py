"""The blocks of a `BlockSource`, each at its time, as data that steps are taken on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.optimize._source import (
    Block,
    BlockSource,
    Everything,
    Minibatches,
    Resumable,
    source,
)


class SourceFailed(Exception):
    """Data after the first could not be had; the message says why."""


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
            RobooptError: if the source's `steps` is less than 1, or block 0 is not what
                `minimize` takes.
        """
        if not isinstance(given.steps, int | np.integer) or given.steps < 1:
            raise RobooptError(
                f"`data.steps` must be a whole number of at least 1, got {given.steps}."
            )
        self.drifts = bool(given.drifts)
        self._given, self._batch_size = given, batch_size
        self.steps, self._number = int(given.steps), 0
        self._last = max(0, steps // self.steps - 1)
        data, self.model = _unpacked(given.block(model, 0), model)
        self.source = self._batches(data)
        self._forms = _forms(data)

    def left(self, taken: int, total: int) -> int:
        """Return how many of `total` steps are left on this block after `taken`."""
        last = self._number == self._last
        return (total if last else (self._number + 1) * self.steps) - taken

    @property
    def state(self) -> Any:
        """Return what a checkpoint holds of the source."""
        return self._given.state() if isinstance(self._given, Resumable) else None

    def resume(self, state: Any, taken: int) -> None:
        """Go on from a checkpoint's `state`, after `taken` steps.

        The next `advance` asks for the block that the descent was stopped on, anew.
        """
        if isinstance(self._given, Resumable):
            self._given.restore(state)
        self._number = min(taken // self.steps, self._last) - 1

    def advance(self, model: Any) -> Any:
        """Ask for the next block, and return the model to go on with.

        Raises:
            SourceFailed: if there is an error on the way, data are not finite, or of
                other shapes than block 0's.
        """
        number = self._number + 1
        try:
            data, model = _unpacked(self._given.block(model, number), model)
            self._check(data)
            self.source = self._batches(data)
        except Exception as error:
            said = f"`data`, block {number}: {type(error).__name__}: {error}"
            raise SourceFailed(said) from error
        self._number = number
        return model

    def _check(self, data: Any) -> None:
        forms = _forms(data)
        for name in self._forms | forms:
            here, before = forms.get(name), self._forms.get(name)
            if here != before:
                raise RobooptError(
                    "`data.block` must return arrays of the same shapes each time; "
                    f"`data`{name} is {here or 'missing'}, of block 0 "
                    f"{before or 'missing'}."
                )

    def _batches(self, data: Any) -> Everything | Minibatches:
        if callable(data):
            raise RobooptError(
                f"`data.block` must return arrays, got {type(data).__name__}."
            )
        batches = source(data, self._batch_size)
        assert isinstance(batches, Everything | Minibatches)
        return batches


def _unpacked(block: Any, model: Any) -> tuple[Any, Any]:
    """Return the data of a block, and the model to go on with."""
    return block if isinstance(block, Block) else (block, model)


def _forms(block: Any) -> dict[str, str]:
    return {
        jax.tree_util.keystr(path): f"{jnp.result_type(leaf)}{list(np.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(block)
    }
