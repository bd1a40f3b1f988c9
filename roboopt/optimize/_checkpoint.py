"""Checkpoints: the whole state of a run in a file, to continue from to the bit.

The state holds the optimizer, the order of the samples, the random key and the best
model, so that a run that was killed takes the same steps as one that was not.
"""

import contextlib
import os
import time
import warnings
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write, read_archive, require_writing
from roboopt.optimize._identity import check_identity

PERIOD_S = 10.0
KEPT = 3  # the latest checkpoint and those before it
PART, LEAF, IDENTITY = "part/", "leaf/", "identity/"
RECORDS: tuple[str, ...] = ("history", "first_gradient", "time")
TIMES: tuple[str, ...] = "seconds", "compile_seconds"  # that the descent took before
Records = dict[str, dict[str, np.ndarray]]


class Checkpoint:
    """A file for the state of several descents, one after the other.

    A program with two descents keeps both in one file, and continues after an
    interruption where it was: finished descents return their results again.

        checkpoint = Checkpoint("run.npz")
        first = minimize(coarse, model, data, checkpoint=checkpoint.part("coarse"))
        last = minimize(fine, first.model, data, checkpoint=checkpoint.part("fine"))
    """

    def __init__(self, path: str | PathLike):
        """Try the path, and read the file if there is one.

        The latest of three files is read that is not damaged.

        Raises:
            RobooptError: if the file cannot be written, or is no archive.
        """
        self.path = require_writing(path, "checkpoint")
        self.unwritten = ""
        """Why the last state could not be written; empty if it was."""
        self._source, self._arrays, self._begun = self.path, {}, False
        if self.path.exists():
            self._source, self._arrays = _latest(self.path)

    def part(self, name: str, **settings: Any) -> "Part":
        """Return the place of one descent in the file.

        Args:
            name: of the descent, another one for each.
            settings: what else must be the same where the descent is continued.
        """
        return Part(self, name, {key: str(value) for key, value in settings.items()})

    def found(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of a part.

        Raises:
            RobooptError: if the file has other parts and lacks the first one.
        """
        found = _with_prefix(self._arrays, _prefix(name))
        if self._arrays and not self._begun and not _with_prefix(found, IDENTITY):
            check_identity({"model": ""}, {}, self._source)
        self._begun = True
        return found

    def where(self, name: str) -> str:
        """Return the file that was read, and the part."""
        return f"{name!r} in {self._source}" if name else str(self._source)

    def write(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Write the arrays of a part beside the others, replacing the file as a whole.

        The two files before it are kept, as `name.1.npz` and `name.2.npz`. A failure is
        a warning: what was learned is not lost by the disk or the folder.
        """
        prefix = _prefix(name)
        own = _with_prefix(self._arrays, prefix)
        others = {k: v for k, v in self._arrays.items() if k not in _named(prefix, own)}
        self._arrays = others | _named(prefix, arrays)
        try:
            with atomic_write(self.path) as file:
                np.savez(file, **self._arrays)  # type: ignore
                _rotate(self.path)
            self.unwritten = ""
        except (OSError, RobooptError) as error:
            text = f"`checkpoint` could not be written: {error}"
            if not self.unwritten:
                warnings.warn(text, stacklevel=2)
            self.unwritten = text


class Saved(NamedTuple):
    """What a checkpoint holds of a descent."""

    state: Any
    outside: Any
    """The states of what runs beside the descent, such as its callback."""
    records: Records


class Part:
    """The place of one descent in a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, name: str, settings: dict[str, str]):
        self._checkpoint, self._name, self._identity = checkpoint, name, settings
        self._written = time.perf_counter()

    def read(self, state: Any, outside: Any, identity: dict[str, str]) -> Saved | None:
        """Return what the file holds of the descent; None before it has begun.

        Args:
            state: a pytree of arrays with the shapes and dtypes that the file must
                have.
            outside: pytrees of arrays of any shapes.
            identity: what makes the descent this one and no other, by name.

        Raises:
            RobooptError: if the file belongs to another run.
        """
        self._identity = identity | self._identity
        found = self._checkpoint.found(self._name)
        if not found:
            return None
        where = self._checkpoint.where(self._name)
        there = _with_prefix(found, IDENTITY)
        there = {name: str(there[name]) for name in there}
        check_identity(self._identity, there, where)
        expected, values = _leaves((state, outside)), _with_prefix(found, LEAF)
        for name in expected | values:
            here, saved = _form(expected.get(name)), _form(values.get(name))
            any_shape = name.startswith("[1]") and "missing" not in (here, saved)
            if here != saved and not any_shape:
                raise RobooptError(
                    f"`checkpoint` must be of the same model and optimizer; in {where} "
                    f"{name} is {saved}, here {here}."
                )

        def restored(path: Any, leaf: Any) -> Any:
            value = values[jax.tree_util.keystr(path)]
            if isinstance(leaf, np.ndarray | np.generic):
                return value
            is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            value = jnp.asarray(value)
            return jax.random.wrap_key_data(value) if is_key else value

        trees = state, outside
        state, outside = jax.tree_util.tree_map_with_path(restored, trees)
        records = {kind: _with_prefix(found, f"{kind}/") for kind in RECORDS}
        return Saved(state, outside, records)

    def is_due(self) -> bool:
        """Return whether the last write is `PERIOD_S` ago."""
        return time.perf_counter() - self._written > PERIOD_S

    def write(self, state: Any, outside: Any, records: Records) -> None:
        """Write the state of the descent; a failure is a warning."""
        arrays = _named(LEAF, _leaves((state, outside)))
        for kind, values in records.items():
            arrays |= _named(f"{kind}/", values)
        told = {name: np.array(text) for name, text in self._identity.items()}
        self._checkpoint.write(self._name, arrays | _named(IDENTITY, told))
        self._written = time.perf_counter()

    @property
    def unwritten(self) -> str:
        """Return why the last state could not be written; empty if it was."""
        return self._checkpoint.unwritten


def as_part(checkpoint: "str | PathLike | Part | None") -> Part | None:
    """Return the place of a descent that may have a file of its own."""
    if checkpoint is None or isinstance(checkpoint, Part):
        return checkpoint
    return Checkpoint(checkpoint).part("")


def names_kept(path: Path) -> list[Path]:
    """Return the files of a checkpoint, the latest first."""
    numbered = (path.with_suffix(f".{k}{path.suffix}") for k in range(1, KEPT))
    return [path, *numbered]


def _rotate(path: Path) -> None:
    """Keep the file as the one before it, without taking it away."""
    names = names_kept(path)
    for older, newer in zip(names[:1:-1], names[-2:0:-1], strict=True):
        with contextlib.suppress(FileNotFoundError):
            os.replace(newer, older)
    # Where there are no hard links, as on FAT, no file is kept.
    with contextlib.suppress(OSError):
        os.link(path, names[1])


def _latest(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the latest of the files that can be read, and what it holds."""
    failure: RobooptError | None = None
    for name in names_kept(path):
        try:
            found = read_archive(name, "checkpoint")
        except RobooptError as error:
            failure = failure or error
            continue
        if failure is not None:
            text = f"{failure} The descent continues from {name}, the one before."
            warnings.warn(text, stacklevel=2)
        return name, found
    assert failure is not None
    raise failure


def _prefix(part: str) -> str:
    return f"{PART}{part}/" if part else ""


def _named(prefix: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + name: value for name, value in values.items()}


def _with_prefix(found: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    own = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
    return own if prefix else {k: v for k, v in own.items() if not k.startswith(PART)}


def _leaves(state: Any) -> dict[str, np.ndarray]:
    """Return the arrays by their paths, keys as their data."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        found[jax.tree_util.keystr(path)] = np.asarray(leaf)
    return found


def _form(value: np.ndarray | None) -> str:
    return "missing" if value is None else f"{value.dtype}{list(value.shape)}"
