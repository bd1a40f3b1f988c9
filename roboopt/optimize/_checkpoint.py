"""Checkpoints: the whole state of a descent in a file, to go on from to the bit.

A descent that was killed and one that was not take the same steps: the state holds the
optimizer, the order of the samples, the random key and the best model as well.
"""

from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write

HISTORY, LEAF, SEED = "history/", "leaf/", "seed"


def write(
    path: str | PathLike, state: Any, history: dict[str, np.ndarray], seed: int
) -> None:
    """Write the state and the history so far; the file is whole or what it was."""
    leaves = {f"{LEAF}{name}": value for name, value in _leaves(state).items()}
    past = {f"{HISTORY}{name}": values for name, values in history.items()}
    with atomic_write(path) as file:
        np.savez(file, **{SEED: np.array(seed)}, **leaves, **past)  # type: ignore


def read(
    path: str | PathLike, state: Any, seed: int
) -> tuple[Any, dict[str, np.ndarray]] | None:
    """Return the state and the history in `path`; None if there is no file.

    Args:
        path: of the file.
        state: a state of the same descent, whose form the file must have; any pytree
            of arrays.
        seed: of the descent.

    Raises:
        RobooptError: if the file is of another descent, or of none.
    """
    if not Path(path).exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    if SEED not in found or int(found[SEED]) != seed:
        raise RobooptError(
            f"`checkpoint` must be of the same descent, with seed {seed}; {path} has "
            f"{found.get(SEED, 'none')}."
        )
    expected = _leaves(state)
    values = {k.removeprefix(LEAF): v for k, v in found.items() if k.startswith(LEAF)}
    for name in expected | values:
        pair = [_form(leaves.get(name)) for leaves in (expected, values)]
        if pair[0] != pair[1]:
            raise RobooptError(
                f"`checkpoint` must be of the same model and optimizer; in {path} "
                f"{name} is {pair[1]}, here {pair[0]}."
            )
    paths, structure = jax.tree_util.tree_flatten_with_path(state)
    restored = [
        _typed(leaf, values[jax.tree_util.keystr(where)]) for where, leaf in paths
    ]
    history = {
        k.removeprefix(HISTORY): v for k, v in found.items() if k.startswith(HISTORY)
    }
    return jax.tree.unflatten(structure, restored), history


def _leaves(state: Any) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path): np.asarray(
            jax.random.key_data(leaf) if _is_key(leaf) else leaf
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _typed(leaf: Any, value: np.ndarray) -> Any:
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(value))
    return value if isinstance(leaf, np.ndarray) else jnp.asarray(value)


def _form(value: np.ndarray | None) -> str:
    return "missing" if value is None else f"{value.dtype}{list(value.shape)}"
