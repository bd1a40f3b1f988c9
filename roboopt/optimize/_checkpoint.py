"""Checkpoints: the whole state of a run in a file, to continue from to the bit.

The state holds the optimizer, the order of the samples, the random key and the best
model, so that a run that was killed takes the same steps as one that was not.
"""

from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write, read_archive
from roboopt.optimize._identity import check_identity

HISTORY, LEAF, IDENTITY = "history/", "leaf/", "identity/"


def write(
    path: str | PathLike,
    state: Any,
    history: dict[str, np.ndarray],
    identity: dict[str, str],
) -> None:
    """Write the state and the history so far, replacing the file as a whole."""
    arrays = {LEAF + name: value for name, value in _leaves(state).items()}
    arrays |= {HISTORY + name: values for name, values in history.items()}
    arrays |= {IDENTITY + name: np.array(text) for name, text in identity.items()}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore


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
    found = read_archive(path, "checkpoint")
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
