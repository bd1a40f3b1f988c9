"""Demonstrations larger than memory, read from disk block by block.

An epoch is cut into short pieces of neighboring samples, and the pieces are shuffled:
so disks read them fast, a block holds samples of many episodes, and each sample comes
once an epoch. Blocks all have one size; where an epoch's end falls within a block, the
next epoch begins there, in another order and cut elsewhere.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._demonstrations import Demonstrations, broadcast_limit
from roboopt.data._split import split_indices
from roboopt.data.io._episodes import is_episode_folder, map_arrays

PIECE = 256  # Samples: tens of kilobytes, which a disk reads as fast as it can.
PIECES = 64  # A block, at least: fewer would be too much alike.
AT_ONCE = 1024  # Rows looked up in one mapping: what it holds in memory is let go.


class MemmapDemonstrations:
    """A source of batches for `minimize`: samples of a folder of `save_episodes`.

    Reading never holds more than one block in memory.
    """

    steps: int
    """Steps of the descent on one block."""
    drifts: bool = False
    """Losses on different blocks can be compared: the data are the same throughout."""

    def __init__(
        self,
        folder: str | PathLike,
        *,
        block: int = 65536,
        steps: int = 256,
        history: int = 1,
        chunk: int | None = None,
        low: Any = None,
        high: Any = None,
        seed: int = 0,
        episodes: Sequence[int] | None = None,
    ):
        """Open `folder`; of its samples nothing is read yet.

        Args:
            folder: what `save_episodes` wrote to a path without suffix.
            block: samples a block; all of them where there are fewer.
            steps: of the descent on one block. With `block / steps` samples a step,
                each sample is seen once an epoch.
            history: as in `Demonstrations.from_trajectories`.
            chunk: likewise.
            low: likewise.
            high: likewise.
            seed: of the order of the samples.
            episodes: which to read, by number; all of them where None.

        Raises:
            RobooptError: if `folder` holds no episodes or the chosen ones no samples,
                `episodes` are not there, or another argument breaks its rule.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir() or not is_episode_folder(self.folder):
            raise RobooptError(
                "`folder` must be one that `save_episodes` wrote to a path without "
                f"suffix, got {folder}."
            )
        for name, value in (
            ("block", block),
            ("steps", steps),
            ("history", history),
            ("chunk", 1 if chunk is None else chunk),
        ):
            if value < 1:
                raise RobooptError(f"`{name}` must be at least 1, got {value}.")
        arrays = map_arrays(self.folder)
        lengths = arrays["lengths"]
        chosen = np.arange(len(lengths)) if episodes is None else np.array(episodes)
        if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
            raise RobooptError(
                f"`episodes` must be numbers of episodes, got {episodes}."
            )
        if chosen.min() < 0 or chosen.max() >= len(lengths):
            raise RobooptError(
                f"`episodes` must be among 0 to {len(lengths) - 1}, got "
                f"{chosen.min()} to {chosen.max()}."
            )
        self.episodes = chosen
        self.steps = steps
        self._settings: dict[str, Any] = {
            "steps": steps,
            "history": history,
            "chunk": chunk,
            "low": low,
            "high": high,
            "seed": seed,
        }
        self._block = block
        first = np.cumsum(lengths) - lengths
        self._lengths = lengths[chosen]
        # Where each chosen episode begins: among actions, and among observations, of
        # which every episode before has one more.
        self._acted = first[chosen]
        self._seen = self._acted + chosen
        # Where the samples of each begin, among those of all chosen ones.
        self._begin = np.cumsum(self._lengths) - self._lengths
        if not len(self):
            raise RobooptError(f"`folder` must hold samples, but {folder} holds none.")
        for name in ("low", "high"):
            broadcast_limit(name, self._settings[name], arrays["actions"][:1])

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._lengths.sum())

    @property
    def size(self) -> int:
        """Return the number of samples in a block."""
        return min(self._block, len(self))

    def block(self, model: Any, number: int) -> Demonstrations:
        """Return block `number`, from 0 on, which does not depend on `model`."""
        order = np.random.default_rng([self._settings["seed"], 1, number])
        epoch, begin = divmod(number * self.size, len(self))
        rows = self._epoch(epoch, begin, begin + self.size)
        if left := self.size - len(rows):
            rows = np.concatenate([rows, self._epoch(epoch + 1, 0, left)])
        return self._samples(np.sort(rows), order.permutation(len(rows)))

    def sample(self, count: int, seed: int = 0) -> Demonstrations:
        """Return `count` samples drawn at random, or all where there are fewer.

        They are what normalizers are fitted to, and policies made for.

        Raises:
            RobooptError: if `count` is less than 1.
        """
        if count < 1:
            raise RobooptError(f"`count` must be at least 1, got {count}.")
        generator = np.random.default_rng([seed, 2])
        count = min(count, len(self))
        rows = generator.choice(len(self), count, replace=False, shuffle=False)
        return self._samples(np.sort(rows))

    def split(
        self, fraction: float, seed: int = 0
    ) -> tuple["MemmapDemonstrations", "MemmapDemonstrations"]:
        """Return one source to learn from and one of the `fraction` held out.

        Whole episodes are held out, the same as by `split_episodes`.

        Raises:
            RobooptError: as `split_episodes`.
        """
        train, held_out = (
            MemmapDemonstrations(
                self.folder,
                block=self._block,
                **self._settings,
                episodes=self.episodes[part].tolist(),
            )
            for part in split_indices(len(self.episodes), fraction, seed)
        )
        return train, held_out

    def _epoch(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """Return samples `begin` to `end` of an epoch, or to where it ends."""
        generator = np.random.default_rng([self._settings["seed"], 0, epoch])
        piece = max(1, min(PIECE, self.size // PIECES))
        firsts = np.arange(generator.integers(piece) - piece, len(self), piece)
        firsts = generator.permutation(firsts)
        lasts = np.clip(firsts + piece, 0, len(self))
        ends = np.cumsum(lasts - np.maximum(firsts, 0))
        # Of the pieces only, since an order of all samples may not fit in memory.
        k = int(np.searchsorted(ends, begin, side="right"))
        skipped = begin - (int(ends[k - 1]) if k else 0)
        used = slice(k, int(np.searchsorted(ends, end)) + 1)
        rows = (firsts[used, None] + np.arange(piece)).ravel()
        rows = rows[(rows >= 0) & (rows < len(self))]
        return rows[skipped : skipped + end - begin]

    def _samples(
        self, rows: np.ndarray, order: np.ndarray | slice = slice(None)
    ) -> Demonstrations:
        """Read `rows`, sorted since neighbors are read fast, and put them in order."""
        history, chunk = self._settings["history"], self._settings["chunk"]
        ahead = 1 if chunk is None else chunk
        episode = np.searchsorted(self._begin, rows, side="right") - 1
        step = rows - self._begin[episode]
        length = self._lengths[episode][:, None]
        past = np.maximum(step[:, None] + np.arange(1 - history, 1), 0)
        future = step[:, None] + np.arange(ahead)
        seen = self._read("observations", self._seen[episode][:, None] + past)
        within = np.minimum(future, length - 1)
        actions = self._read("actions", self._acted[episode][:, None] + within)
        actions = actions[order]
        chosen = actions[:, 0] if chunk is None else actions
        weights = (future < length).astype(float)[order] if ahead > 1 else None
        return Demonstrations(
            observations=seen.reshape(len(rows), -1)[order],
            actions=chosen,
            weights=weights,
            low=broadcast_limit("low", self._settings["low"], chosen),
            high=broadcast_limit("high", self._settings["high"], chosen),
        )

    def _read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return the rows of an array, mapping it anew for every few of them.

        A mapping counts as memory all that was ever read through it, until it is gone.
        """
        parts = [
            np.load(self.folder / f"{name}.npy", mmap_mode="r")[rows[k : k + AT_ONCE]]
            for k in range(0, len(rows), AT_ONCE)
        ]
        return np.concatenate(parts)
