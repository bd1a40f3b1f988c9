"""The parameters of a controller, by name, before and after."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from roboopt._core import Frozen
from roboopt.cli._comparison import change, number

HEADER = ("parameter", "before", "after", "change")
MOST = 60  # rows; of larger controllers each array is one row


def table(before: Any, after: Any, env: Any) -> list[list[str]]:
    """Return a row a parameter, or a row an array where there are very many."""
    first, last = named_arrays(before), named_arrays(after)
    if sum(array.size for array in first.values()) > MOST:
        return [
            [
                f"{name}, {'×'.join(map(str, array.shape))}: root mean square",
                *_compared(_size(array), _size(last[name])),
            ]
            for name, array in first.items()
        ]
    return [
        [
            f"{name}{_where(index, array.shape, env)}",
            *_compared(array[index], last[name][index]),
        ]
        for name, array in first.items()
        for index in np.ndindex(array.shape)
    ]


def named_arrays(model: Any) -> dict[str, np.ndarray]:
    """Return what is tuned in `model`, by name; logarithms as what they stand for."""
    tuned = jax.tree.map(
        lambda leaf: None if isinstance(leaf, Frozen) else leaf,
        model,
        is_leaf=lambda leaf: isinstance(leaf, Frozen),
    )
    leaves = jax.tree_util.tree_leaves_with_path(
        eqx.filter(tuned, eqx.is_inexact_array)
    )
    arrays = {}
    for path, leaf in leaves:
        name, array = jax.tree_util.keystr(path).lstrip("."), np.asarray(leaf)
        if name.startswith("log_"):
            name, array = name.removeprefix("log_"), np.exp(array)
        arrays[name] = array
    return arrays


def _size(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(array**2)))


def _compared(before: Any, after: Any) -> list[str]:
    before, after = float(before), float(after)
    return [number(before), number(after), change(before, after)]


def _where(index: tuple[int, ...], shape: tuple[int, ...], env: Any) -> str:
    """Return an index into an array, in joints where its axes are theirs."""
    joints = list(env.joint_names)
    driven = [joints[i] for i in env.actuated]
    state = [*joints, *(f"{name} velocity" for name in joints)]
    known = {
        (len(driven),): [driven],
        (len(joints),): [joints],
        (len(state),): [state],
        (len(driven), len(state)): [driven, state],
    }
    if not index:
        return ""
    places = map(str, index)
    if shape in known:
        places = (axis[i] for axis, i in zip(known[shape], index, strict=True))
    return f"[{', '.join(places)}]"
