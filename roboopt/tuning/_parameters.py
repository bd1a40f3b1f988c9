"""The parameters of a controller, by name, before and after."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from roboopt._core import LOGARITHM, Frozen
from roboopt.optimize import leaf_names
from roboopt.policies import Clipped
from roboopt.report import Table, change, number
from roboopt.tuning._joints import Joints

if TYPE_CHECKING:
    from roboopt.diagnose import Explanation  # Slow to import.

HEADER = ("parameter", "before", "after", "change")
MAX_ROWS = 60  # Each array of a larger controller is one row.


def parameter_table(before: Any, after: Any, joints: Joints) -> Table:
    """Return a row a parameter, or a row an array where there are very many."""
    first, last = named_arrays(before), named_arrays(after)
    by_array = sum(array.size for array in first.values()) > MAX_ROWS
    units = gain_units(before, joints)
    pairs = {}
    for name, array in first.items():
        if by_array:
            title = f"{name}, {'×'.join(map(str, array.shape))}: root mean square"
            pairs[title] = [np.sqrt(np.mean(a**2)) for a in (array, last[name])]
            continue
        for index in np.ndindex(array.shape):
            title = f"{name}{_index_name(index, array.shape, joints)}"
            if unit := units.get(_plain_name(name, index)):
                title += f" [{unit}]"
            pairs[title] = array[index], last[name][index]
    rows = []
    for name, pair in pairs.items():
        one, two = map(float, pair)
        rows.append([name, number(one), number(two), change(one, two)])
    return Table(HEADER, rows)


def named_arrays(model: Any) -> dict[str, np.ndarray]:
    """Return the trainable arrays by name; logarithms as what they stand for."""
    model = model.policy if isinstance(model, Clipped) else model
    trainable = jax.tree.map(
        lambda leaf: None if isinstance(leaf, Frozen) else leaf,
        model,
        is_leaf=lambda leaf: isinstance(leaf, Frozen),
    )
    params = eqx.filter(trainable, eqx.is_inexact_array)
    arrays = {}
    for name, leaf in zip(leaf_names(params), jax.tree.leaves(params), strict=True):
        array = np.asarray(leaf)
        log = LOGARITHM.search(name)
        arrays[LOGARITHM.sub("", name)] = np.asarray(np.exp(array)) if log else array
    return arrays


def gain_units(model: Any, joints: Joints) -> dict[str, str]:
    """Return the units of single gains, by their names by index.

    They are those of the policy's `gain_units`, and those of matrices of efforts by
    states.
    """
    policy = model.policy if isinstance(model, Clipped) else model
    known = {**getattr(policy, "gain_units", {}), **getattr(policy, "tool_units", {})}
    found = {}
    for name, array in named_arrays(model).items():
        own = known.get(name)
        if array.shape == np.shape(joints.gain_units):
            own = joints.gain_units
        if own is None or np.size(own) != array.size:
            continue
        for index, unit in zip(np.ndindex(array.shape), np.ravel(own), strict=True):
            found[_plain_name(name, index)] = str(unit)
    return found


def gain_names(model: Any, joints: Joints) -> dict[str, str]:
    """Return the names of single parameters by joint, by their names by index."""
    found = {}
    for name, array in named_arrays(model).items():
        for index in np.ndindex(array.shape):
            plain = _plain_name(name, index)
            found[plain] = f"{name}{_index_name(index, array.shape, joints)}"
    return found


def named_by_joint(found: "Explanation", model: Any, joints: Joints) -> "Explanation":
    """Return the explanation of a controller with its parameters named by joint."""
    by_joint = gain_names(model, joints)
    names, logarithms = (
        tuple(by_joint.get(name, name) for name in given)
        for given in (found.names, found.logarithms)
    )
    return replace(found, names=names, logarithms=logarithms)


def _plain_name(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _index_name(index: tuple[int, ...], shape: tuple[int, ...], joints: Joints) -> str:
    """Return an index into an array, in joints where its axes are theirs."""
    names, driven = joints.names, joints.driven_names
    state = [*names, *(f"{name} velocity" for name in names)]
    known = {
        (len(driven),): [driven],
        (len(names),): [names],
        (len(state),): [state],
        (len(driven), len(state)): [driven, state],
    }
    if not index:
        return ""
    places = map(str, index)
    if shape in known:
        places = (axis[i] for axis, i in zip(known[shape], index, strict=True))
    return f"[{', '.join(places)}]"
