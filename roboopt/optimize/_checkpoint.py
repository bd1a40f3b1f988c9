"""Checkpoints: the whole state of a run in a file, to continue from to the bit.

The state holds the optimizer, the order of the samples, the random key and the best
model, so that a run that was killed takes the same steps as one that was not.
"""

import contextlib
import os
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write, read_archive
from roboopt.optimize._identity import check_identity

KEPT = 3  # the latest checkpoint and those before it
HISTORY, LEAF, IDENTITY = "history/", "leaf/", "identity/"


def write(
    path: str | PathLike,
    state: Any,
    history: dict[str, np.ndarray],
    identity: dict[str, str],
) -> None:
    """Write the state and the history so far, replacing the file as a whole.

    The two files before it are kept, as `name.1.npz` and `name.2.npz`.
    """
    path = Path(path)
    arrays = {LEAF + name: value for name, value in _leaves(state).items()}
    arrays |= {HISTORY + name: values for name, values in history.items()}
    arrays |= {IDENTITY + name: np.array(text) for name, text in identity.items()}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore
        _rotate(path)


def read(
    path: str | PathLike, state: Any, identity: dict[str, str]
) -> tuple[Any, dict[str, np.ndarray]] | None:
    """Return the state and the history in `path`; None if there is no file.

    Args:
        path: the file.
        state: a pytree of arrays with the shapes and dtypes that the file must have.
        identity: what makes the descent this one and no other, by name.

    Raises:
        RobooptError: if the file belongs to another run, or to none.
    """
    if not Path(path).exists():
        return None
    path, found = _latest(Path(path))
    there = _with_prefix(found, IDENTITY)
    check_identity(identity, {name: str(there[name]) for name in there}, path)
    expected, values = _leaves(state), _with_prefix(found, LEAF)
    for name in expected | values:
        here, there = _form(expected.get(name)), _form(values.get(name))
        if here != there:
            raise RobooptError(
                f"`checkpoint` must be of the same model and optimizer; in {path} "
                f"{name} is {there}, here {here}."
            )

    def restored(where: Any, leaf: Any) -> Any:
        value = values[jax.tree_util.keystr(where)]
        if isinstance(leaf, np.ndarray):
            return value
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        value = jnp.asarray(value)
        return jax.random.wrap_key_data(value) if is_key else value

    state = jax.tree_util.tree_map_with_path(restored, state)
    return state, _with_prefix(found, HISTORY)


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


def _with_prefix(found: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}


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
