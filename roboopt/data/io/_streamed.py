"""Demonstrations larger than memory, read from disk block by block.

An epoch is cut into short pieces of neighboring samples, and the pieces are shuffled:
disks read pieces fast, a block holds samples of many episodes, and each sample comes
once an epoch. All blocks have one size; where an epoch ends within a block, the next
epoch begins there, in another order and cut at other places. While a descent uses a
block, a thread reads the next.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np

from roboopt._errors import RobooptError, require_at_least
from roboopt.data._demonstrations import Demonstrations, cut_samples, limits
from roboopt.data._split import split_indices
from roboopt.data.io._finite import is_finite
from roboopt.data.io._rows import open_rows

PIECE_SIZE = 256  # samples: tens of kilobytes, which a disk reads at full speed
MIN_PIECES = 64  # in a block, so that its samples come from many episodes
FINGERPRINT_ROWS = 64
SEEN = "observations"


class StreamedDemonstrations:
    """A data source for `minimize`: samples on disk, read ahead in shuffled blocks.

    No more than three blocks are in memory: the one in use, as NumPy and JAX have it,
    and the next.
    """

    steps: int
    """Steps of the descent on one block."""
    episodes: np.ndarray
    """The numbers of the episodes that are read."""
    drifts: bool = False
    """Losses on different blocks can be compared, since the data stay the same."""

    def __init__(
        self,
        path: str | PathLike,
        *,
        block: int = 65536,
        steps: int = 256,
        history: int = 1,
        chunk: int | None = None,
        low: Any = None,
        high: Any = None,
        observation_keys: Sequence[str] | None = None,
        seed: int = 0,
    ):
        """Open the files without reading their samples.

        Args:
            path: what `save_episodes` wrote: a folder, a file .npz, or a file .hdf5;
                or a file of robomimic.
            block: samples a block, at most as many as there are.
            steps: of the descent on one block. With `block / steps` samples a step,
                each sample is seen once an epoch.
            history: as in `Demonstrations.from_trajectories`, like the next three.
            chunk: actions a sample.
            low: the lower limits of the demonstrator's actuators; the limits of steps,
                `Trajectory.low` and `high`, count besides, where all have them.
            high: the upper limits.
            observation_keys: which observations of HDF5 to join to one vector, in that
                order; all of them, sorted by name, where None.
            seed: of the order of the samples.

        Raises:
            RobooptError: if `path` holds no samples, is compressed as a whole, as an
                .npz file may be, or another argument breaks its rule.
        """
        self.path = Path(path)
        require_at_least(1, block=block, steps=steps, history=history, chunk=chunk)
        self._rows = open_rows(self.path, observation_keys)
        self.steps, self.seed, self.block_size, self._number = steps, seed, block, 0
        self._cut = {"history": history, "chunk": chunk, "low": low, "high": high}
        self._cut["limited"] = self._rows.limited
        self._lengths = self._rows.lengths
        self.episodes = np.arange(len(self._lengths))
        self._ahead: tuple[int, Future] | None = None
        self._reader: ThreadPoolExecutor | None = None
        if not len(self):
            raise RobooptError(f"`path` must hold samples, but {path} holds none.")
        limits(low, high, self._rows.read("actions", np.zeros(1, int)))

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._lengths[self.episodes].sum())

    @property
    def size(self) -> int:
        """Return the number of samples in a block."""
        return min(self.block_size, len(self))

    def next(self, model: Any, key: Any) -> Demonstrations:
        """Return the next block, which depends on neither `model` nor `key`.

        The block after it is then read while this one is used.
        """
        number, ahead = self._number, self._ahead
        self._number, self._ahead = number + 1, None
        known = ahead is not None and ahead[0] == number
        found = ahead[1].result() if ahead and known else self._ready(number)
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "roboopt reads ahead")
        self._ahead = number + 1, self._reader.submit(self._ready, number + 1)
        return found

    def repeat(self) -> Demonstrations:
        """Return the last block once more."""
        return self._ready(self._number - 1)

    def _ready(self, number: int) -> Demonstrations:
        """Return a block as arrays of JAX, so that the descent need not copy them."""
        return jax.block_until_ready(jax.device_put(self.block(number)))

    def state(self) -> Any:
        """Return the state of the reading, for checkpoints."""
        return {"number": np.asarray(self._number)}

    def restore(self, state: Any) -> None:
        """Continue from a `state`."""
        self._number = int(state["number"])

    def fingerprint(self) -> Any:
        """Return what tells the samples from others: settings, lengths, a few rows."""
        few = self.sample(FINGERPRINT_ROWS, self.seed)
        return self.seed, self.block_size, self._cut, self._lengths, self.episodes, few

    def block(self, number: int) -> Demonstrations:
        """Return block `number`, counted from 0."""
        epoch, begin = divmod(number * self.size, len(self))
        rows = self._epoch(epoch, begin, begin + self.size)
        if left := self.size - len(rows):
            rows = np.concatenate([rows, self._epoch(epoch + 1, 0, left)])
        order = np.random.default_rng([self.seed, 1, number]).permutation(len(rows))
        return jax.tree.map(lambda x: x[order], self._samples(np.sort(rows)))

    def sample(self, count: int, seed: int = 0) -> Demonstrations:
        """Return `count` samples drawn at random, or all where there are fewer."""
        require_at_least(1, count=count)
        generator = np.random.default_rng([seed, 2])
        count = min(count, len(self))
        rows = generator.choice(len(self), count, replace=False, shuffle=False)
        return self._samples(np.sort(rows))

    def split(
        self, fraction: float, seed: int = 0
    ) -> tuple["StreamedDemonstrations", "StreamedDemonstrations"]:
        """Return a source of training episodes, and one of the `fraction` held out.

        `split_episodes` holds out the same episodes.
        """
        parts = copy.copy(self), copy.copy(self)
        indices = split_indices(len(self.episodes), fraction, seed)
        for part, chosen in zip(parts, indices, strict=True):
            part._number, part._ahead, part._reader = 0, None, None
            part.episodes = self.episodes[chosen]
        return parts

    def _epoch(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """Return samples `begin` to `end` of an epoch, or to its end."""
        generator = np.random.default_rng([self.seed, 0, epoch])
        piece = max(1, min(PIECE_SIZE, self.size // MIN_PIECES))
        firsts = np.arange(generator.integers(piece) - piece, len(self), piece)
        firsts = generator.permutation(firsts)
        lasts = np.clip(firsts + piece, 0, len(self))
        ends = np.cumsum(lasts - np.maximum(firsts, 0))
        # Only pieces are ordered: an order of all samples may not fit in memory.
        k = int(np.searchsorted(ends, begin, side="right"))
        skipped = begin - (int(ends[k - 1]) if k else 0)
        used = slice(k, int(np.searchsorted(ends, end)) + 1)
        rows = (firsts[used, None] + np.arange(piece)).ravel()
        rows = rows[(rows >= 0) & (rows < len(self))]
        return rows[skipped : skipped + end - begin]

    def _samples(self, rows: np.ndarray) -> Demonstrations:
        """Return the samples of sorted `rows`: a disk reads neighbors fast."""
        lengths = self._lengths
        first = (np.cumsum(lengths) - lengths)[self.episodes]
        extra = self._rows.extra * self.episodes
        chosen = lengths[self.episodes], first, first + extra
        return cut_samples(self._read_finite, rows, chosen, **self._cut)

    def _read_finite(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return rows of an array, refused if one is not finite."""
        found = self._rows.read(name, rows)
        valid = is_finite(name, found).reshape(*rows.shape, -1).all(-1)
        if not valid.all():
            counts = self._lengths + (self._rows.extra if name == SEEN else 0)
            row, ends = int(rows[~valid].min()), np.cumsum(counts)
            k = int(np.searchsorted(ends, row, side="right"))
            raise RobooptError(
                f"`path` must hold finite numbers, but `{name}` of episode {k} of "
                f"{self.path} is not finite at step {row - ends[k] + counts[k]}: leave "
                "the episode out, or cut it there."
            )
        return found
