"""Arrays by name, of `.npz`, `.mat` and HDF5: episodes, or the motion of joints."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._boundaries import INDICES
from roboopt.data.io._columns import ALIASES, holds_motion, is_time, role_of
from roboopt.data.io._customary_names import NEXT, OTHER_NAMES, meaning, told_step
from roboopt.data.io._join_observations import join_observations
from roboopt.data.io._joint_names import other_names, recorded_names
from roboopt.data.io._read_table import read_table
from roboopt.data.io._table import Table

EPISODES = ("observations", "actions")
AS_NUMBERS = (
    "Write arrays of numbers by their names, those of several episodes end to end: "
    "`np.savez('x.npz', observations=np.concatenate(observations), "
    "actions=np.concatenate(actions), lengths=[len(a) for a in actions])`."
)
"""What to do with objects."""
MAX_LACKING_SHARE = 0.05  # of the samples: an array with fewer belongs to others
MAX_DEVIATION = 0.2  # of velocities from the rates of positions
REPLAY_GROUPS = {"data", "meta"}  # of a replay buffer of diffusion policy
JOINT_NAMES = {"jointnames", "jointname", "joints", "names", "name"}


def read_arrays(
    arrays: Mapping[str, Any],
    where: str,
    options: ReadOptions,
    left_out: Sequence[str] = (),
    shared: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of episodes, or of the recordings of joints.

    Joints have arrays such as `t`, `q`, `dq` and `tau`, of one row or one column a
    sample, or one array each, such as `q1`: they are read as the columns of a table.
    Texts such as `joint_names` name the joints of rows or columns, in their order.
    Groups of the same arrays are a recording each.

    Args:
        arrays: numbers, or names of joints, by name; `group.name` in a group.
        where: the file, and the place in it.
        options: the arguments of the reading.
        left_out: the names of arrays that are no numbers.
        shared: time steps, by name, of recordings that tell none.
    """
    episodes = are_episodes(arrays)
    needed = [name for name in left_out if OTHER_NAMES.get(name, name) in EPISODES]
    if needed:
        raise RobooptError(
            f"`path` must hold numbers, but {', '.join(needed)} of {where} holds "
            f"objects. {AS_NUMBERS}"
        )
    arrays = {
        name: array
        for whole, value in arrays.items()
        for name, array in _fields(whole, np.asarray(value))
    }
    if {name.partition(".")[0] for name in arrays} == REPLAY_GROUPS:
        arrays = {name.partition(".")[2]: value for name, value in arrays.items()}
    if numbered := _numbered(arrays):
        ends = tuple(f"_{place}" for place in {n.partition(".")[0] for n in numbered})
        left_out = [*left_out, *(n for n in arrays if not n.endswith(ends))]
        arrays = numbered
    arrays = _with_observations(arrays, where, options)
    episodes = are_episodes(arrays)
    texts = {n: v for n, v in arrays.items() if v.dtype.kind in "SUO"}
    unread = [name for name in left_out if options.joints and _names_joints(name)]
    if unread and not episodes and options.columns is None:
        raise RobooptError(
            f"`path` must hold the names of joints as text, but {unread[0]} of {where} "
            "holds objects: leave it out, or save it with `dtype=str`."
        )
    used = [n for n in texts if OTHER_NAMES.get(n, n) in INDICES or _names_joints(n)]
    unused = [*left_out, *(n for n in texts if n not in used)]
    if unused:
        options.note(f"{where}: {', '.join(unused)} left out: no arrays of numbers.")
    if not episodes and options.columns is None:
        _require_numbers([*unused], {*arrays} - {*texts}, where, options)
    if not episodes and (parts := _episode_groups(arrays, where, options)):
        yield from parts
        return
    tables: dict[str, Table | None] = {}
    steps: dict[str, float | None] = {}
    if not episodes:
        for place, group in _groups(arrays).items():
            inside = f"{place} of {where}" if place else where
            told = (told_step(x) for x in (group, arrays, shared or {}))
            steps[inside] = next(filter(None, told), None)
            tables[inside] = _table(group, inside, options, steps[inside])
    if None in tables.values() or not tables:
        if unused and not arrays:
            raise RobooptError(
                f"`path` must hold arrays of numbers, but {where} holds only objects: "
                f"{', '.join(unused)}. Save each array by its name."
            )
        yield where, arrays
        return
    for inside, table in tables.items():
        assert table is not None
        yield from read_table(table, options, steps[inside])


def _require_numbers(
    unread: Sequence[str], read: set[str], where: str, options: ReadOptions
) -> None:
    """Raise a `RobooptError` for objects or texts in place of positions or efforts."""
    robot = options.joints or ()

    def quantity(name: str) -> str:
        return (role_of(name.split(".")[-1], robot) or ("",))[0]

    held = {*map(quantity, read), "", "velocities"}
    held |= set() if options.driven is None or options.driven else {"efforts"}
    lost = [name for name in unread if quantity(name) not in held]
    if lost:
        raise RobooptError(
            f"`path` must hold numbers, but `{lost[0]}` of {where}, the "
            f"{quantity(lost[0])} by its name, holds objects or texts: save it with "
            "`dtype=float`, with NaN where a number is missing."
        )


def _fields(name: str, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield an array, or those of a table of named columns in one array."""
    if value.dtype.names is None:
        yield name, value
        return
    for field in value.dtype.names:
        yield from _fields(f"{name}.{field}", value[field])


def _with_observations(
    arrays: dict[str, np.ndarray], where: str, options: ReadOptions
) -> dict[str, np.ndarray]:
    """Return the arrays of an episode, those of a group of observations as one."""
    nested: dict[str, dict[str, np.ndarray]] = {}
    rest = {}
    for name, value in arrays.items():
        group, _, inner = name.partition(".")
        if inner and (own := meaning(group)) in (EPISODES[0], NEXT):
            nested.setdefault(own, {})[inner] = value
        else:
            rest[name] = value
    if not nested or not are_episodes({*rest, *nested}):
        return arrays
    keys = options.observation_keys and [
        key.replace("/", ".") for key in options.observation_keys
    ]
    joined = {n: join_observations(x, keys, where, options) for n, x in nested.items()}
    return {**rest, **joined}


def are_episodes(names: Iterable[str]) -> bool:
    """Return whether names are of observations and actions."""
    return {OTHER_NAMES.get(name, name) for name in names} >= {*EPISODES}


def are_named(names: Iterable[str], joints: Sequence[str] | None) -> bool:
    """Return whether names are of episodes, or some of them of the motion of joints."""
    ends = [name.split(".")[-1] for name in names]
    return are_episodes(ends) or any(holds_motion(end, joints or ()) for end in ends)


def _names_joints(name: str) -> bool:
    return name.split(".")[-1].lower().replace("_", "") in JOINT_NAMES


def _numbered(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays such as `observations_3` as `3.observations`, if there are such.

    Each number must have vectors of observations and actions: else they count axes.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for whole, value in arrays.items():
        name, _, number = whole.rpartition("_")
        if number.isdigit():
            found.setdefault(number, {})[OTHER_NAMES.get(name, name)] = value
    for part in found.values():
        if not {*EPISODES} <= part.keys() or np.shape(part[EPISODES[0]])[1:] in (
            (),
            (1,),
        ):
            return {}
    return {f"{place}.{n}": x for place, part in found.items() for n, x in part.items()}


def _episode_groups(
    arrays: Mapping[str, np.ndarray], where: str, options: ReadOptions
) -> list[tuple[str, Arrays]]:
    """Return the arrays of each group that holds an episode, by its place."""
    groups = _by_place(arrays)
    if len(groups) == 1 and "" not in groups:
        ((place, group),) = groups.items()
        if not are_episodes(name.partition(".")[0] for name in group):
            return _episode_groups(group, f"{place} of {where}", options)
    held = {
        place: group
        for place, group in groups.items()
        if place and are_episodes(name.partition(".")[0] for name in group)
    }
    if held and (beside := sorted({*groups} - {*held} - {""})):
        options.note(f"{where}: {', '.join(beside)} left out: no episodes.")
    named = {place: f"{place} of {where}" for place in sorted(held, key=_number)}
    return [(n, _with_observations(held[p], n, options)) for p, n in named.items()]


def _by_place(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of each group by its name, those in none by ""."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        place, dot, rest = name.partition(".")
        groups.setdefault(place if dot else "", {})[rest if dot else name] = value
    return groups


def _number(place: str) -> tuple[int, str]:
    return int((re.findall(r"\d+", place) or [0])[-1]), place


def _groups(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of each recording, without the group that holds all of them.

    Several groups are recordings if they hold arrays of the same names.
    """
    groups = _by_place(arrays)
    if "" in groups or not groups:
        return {"": dict(arrays)}
    if len(groups) == 1:
        return _groups(*groups.values())
    alike = len({frozenset(group) for group in groups.values()}) == 1
    if not alike or any(len(group) < 2 for group in groups.values()):
        return {"": dict(arrays)}
    return {place: groups[place] for place in sorted(groups, key=_number)}


def _table(
    arrays: Mapping[str, np.ndarray],
    where: str,
    options: ReadOptions,
    step: float | None,
) -> Table | None:
    """Return arrays of one sample count as a table; None where there are none."""
    joints: list[str] = []
    arrays = _in_one_order(arrays, where)
    for name, value in arrays.items():
        if value.dtype.kind in "SUO" and _names_joints(name):
            alike = value.ndim == 2 and (value == value[:1]).all()  # in each message
            joints = [_text(one) for one in (value[0] if alike else value.reshape(-1))]
    if twice := [joint for joint, count in Counter(joints).items() if count > 1]:
        raise RobooptError(
            f"`path` must name every joint once, but {where} names {', '.join(twice)} "
            "more than once."
        )
    # Simulators of many robots have an axis for each, such as (sample, 1, joint).
    alone = {n: v[:, 0] for n, v in arrays.items() if v.ndim == 3 and v.shape[1] == 1}
    found = {
        n: v
        for n, v in {**arrays, **alone}.items()
        if v.ndim in (1, 2) and v.dtype.kind in "fiubMm" and v.size
    }
    if _holds_velocities(found, step):
        found["qd"] = found.pop("v")
    found = {n: v.reshape(-1) if 1 in v.shape else v for n, v in found.items()}
    lengths = Counter(len(v) for v in found.values() if v.ndim == 1)
    # The longer side has the samples.
    sides = Counter(max(v.shape) for v in found.values())
    if not sides:
        return None
    samples = max(sides, key=lambda side: (sides[side], lengths[side], side))
    robot = options.joints or ()
    roles = {name: (role_of(name, robot) or ("",))[0] for name in found}
    whole = {"", *(roles[n] for n, v in found.items() if samples in v.shape)}
    driven = options.driven is None or len(options.driven) > 0
    needed = {"positions", *(["efforts"] if driven else [])}
    needed = needed if options.columns is None else set()
    for name, value in found.items():
        near = abs(max(value.shape) - samples) <= MAX_LACKING_SHARE * samples
        if not (near or roles[name] in needed) or roles[name] in whole:
            continue
        if roles[name] != "efforts" or samples - 1 not in value.shape:
            raise RobooptError(
                f"`path` must hold arrays of as many samples, but in {where} "
                f"{name} has shape {value.shape}, and others {samples} samples."
            )
        # As many efforts as steps: none follows the last sample.
        axis = value.shape.index(samples - 1)
        found[name] = np.append(value, np.take(value, [-1], axis), axis)
    if options.recorded_joints is not None:
        pass  # The columns are called as the joints in the file.
    elif joints and (one := recorded_names(joints, robot, None, where)):
        if set(one) != set(one.values()):
            options.note(other_names(where, [*one.values()], robot))
        names = {name: joint for joint, name in one.items()}
        joints = [names.get(name, name) for name in joints]
    elif joints and options.joints and not set(joints) & set(options.joints):
        options.note(
            f"{where} names the joints {', '.join(joints)}, none of which the robot "
            "has: they are read in their order."
        )
        joints = []
    columns: dict[str, np.ndarray] = {}
    for name, value in found.items():
        if value.ndim == 1 and len(value) == samples:
            columns[name] = value
        elif value.ndim == 2 and samples in value.shape:
            rows = value if len(value) == samples else value.T
            names = [f"{name}[{k}]" for k in range(len(rows.T))]
            named = options.joints and options.columns is None
            if named and len(joints) == len(names):
                # Before: a unit stands at the end.
                names = [f"{joint} {name}" for joint in joints]
            columns |= dict(zip(names, rows.T, strict=True))
    images = [n for n, v in arrays.items() if v.ndim > 2 and n not in found]
    if images:
        options.note(
            f"{where}: {', '.join(images)} left out: images or groups, no vectors."
        )
    return Table(where, tuple(columns), dict(enumerate(columns.values())))


def _in_one_order(
    arrays: Mapping[str, np.ndarray], where: str
) -> dict[str, np.ndarray]:
    """Return arrays of messages with joints in the order of the first message."""
    made = dict(arrays)
    for name, value in arrays.items():
        lists = {n for n, v in arrays.items() if v.shape == value.shape} - {name}
        if value.dtype.kind not in "SU" or value.ndim != 2 or not _names_joints(name):
            continue
        if len(value) < 2 or not lists or (value == value[:1]).all():
            continue
        order = np.argsort(value, axis=1)
        known = np.take_along_axis(value, order, 1)
        if (other := (known != known[:1]).any(1)).any():
            raise RobooptError(
                f"`path` must name the same joints in each message, but {where} names "
                f"{', '.join(map(_text, value[0]))} in message 0 and "
                f"{', '.join(map(_text, value[other.argmax()]))} in message "
                f"{other.argmax()}: write one file for each."
            )
        places = order[:, np.argsort(order[0])]
        for one in (name, *lists):
            made[one] = np.take_along_axis(arrays[one], places, 1)
    return made


def _holds_velocities(found: Mapping[str, np.ndarray], step: float | None) -> bool:
    """Return whether `v` holds velocities, as in Pinocchio, and not voltages.

    They are the rates of the positions, within `MAX_DEVIATION`.
    """
    q, v = (np.asarray(found.get(name, 0.0), float) for name in "qv")
    if ALIASES["velocities"] & {*found} or q.ndim != 2 or v.shape != q.shape:
        return False
    times = [value for name, value in found.items() if is_time(name)]
    if len(times) == 1 and len(times[0]) == max(q.shape):
        step = float(np.median(np.diff(times[0].reshape(-1).astype(float))))
    if not step:
        return False
    rates = np.gradient(q, axis=int(np.argmax(q.shape))) / step
    return bool(np.abs(v - rates).mean() <= MAX_DEVIATION * np.abs(rates).mean() > 0)


def _text(cell: object) -> str:
    return (cell.decode() if isinstance(cell, bytes) else str(cell)).strip()
