"""Tables of demonstrations: columns of observations and of actions by their names.

The names are those of arrays (`_customary_names`), each with a number or a name of the
axis, as in `obs_0` or `action_gripper`; of columns with numbers, a letter is enough.
`next_obs_0` is the observation after the action.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._boundaries import BOUNDARIES, COUNTERS, INDICES
from roboopt.data.io._columns import (
    ColumnError,
    find_time,
    is_run,
    name_parts,
    run_columns,
)
from roboopt.data.io._customary_names import NEXT, OTHER_NAMES, RATES, meaning
from roboopt.data.io._table import MAX_SHOWN, Table
from roboopt.data.io._times import read_stamps
from roboopt.data.io._units import unit_scale

LETTERS = {"observations": ("o", "s"), "actions": ("a", "u")}
"""Of columns with a number, as `s0` and `a0`."""
BESIDE = {*BOUNDARIES, "rewards", "success"} - {*INDICES, *COUNTERS}
TASK = "task_index"
"""The column that numbers tasks, of which nothing is to be said."""
AFTER = "next"
WHOLE = "state", "states"
"""Columns that are no axis of a state, but say in which one a program is."""
NO_AXES = {"time", "timestamp", "stamp", "id", "index", "idx", "seq"}
"""Last words of columns that number or date observations and actions."""


def read_demonstrations(table: Table, options: ReadOptions) -> dict[str, Any] | None:
    """Return the arrays of a table of observations and actions, None of another one."""
    letters = options.untold is not None  # Demonstrations were asked for.
    found = {name: _columns_of(table.header, name, letters) for name in LETTERS}
    if not all(found.values()):
        return None
    arrays: dict[str, Any] = {}
    read: set[str] = set()
    for name, columns in found.items():
        columns = options.ordered(name, columns, table.path)
        arrays[name] = np.stack([*table.arrays(columns).values()], axis=1)
        options.names.setdefault(name, [*columns])
        read |= {*columns}
        if name == "observations" and (after := _following(table.header, columns)):
            arrays[NEXT] = np.stack([*table.arrays(after).values()], axis=1)
            read |= {*after}
    if not np.mod(arrays["actions"], 1).any() and arrays["actions"].shape[1] == 1:
        arrays["actions"] = arrays["actions"].astype(int)
    told = {name: meaning(name.lower()) for name in table.header if name not in read}
    arrays |= {n: table.numbers(k) for k, n in told.items() if n in BESIDE}
    ids = [name for name in told if told[name] in INDICES or is_run(name)]
    if ids := ids or run_columns(told):
        numbers: dict[tuple[str, ...], int] = {}
        labels = zip(
            *(map(str.strip, map(str, table.named(x))) for x in ids), strict=True
        )
        index = [numbers.setdefault(label, len(numbers)) for label in labels]
        arrays["episode_index"] = np.array(index)
    read |= {*ids, *(name for name, own in told.items() if own in BESIDE)}
    with contextlib.suppress(ColumnError):
        time = find_time(table.header, lambda _: True, Path(table.path))
        stamps = read_stamps(table.named(time), unit_scale(time, "times"), time)
        arrays["times"] = stamps.seconds
        read.add(time)
        if stamps.note:
            options.note(f"{Path(table.path).name}: {stamps.note}")
    for name in (n for n, own in told.items() if own in ("time_step", *RATES)):
        if len(values := np.unique(table.numbers(name))) == 1:
            arrays[told[name]] = values[0]
            read.add(name)
    for name in (name for name in told if name.lower() in COUNTERS):
        with contextlib.suppress(RobooptError):
            arrays[name.lower()] = table.numbers(name)
            read.add(name)
    if unread := [n for n in told if n not in read and n.lower() != TASK]:
        more = f" and {len(unread) - MAX_SHOWN} more" * (len(unread) > MAX_SHOWN)
        options.note(
            f"{Path(table.path).name}: {', '.join(unread[:MAX_SHOWN])}{more} left out: "
            "no observations or actions by their names."
        )
    return arrays


def _following(header: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the columns of the next observations, as `next_obs_0`; none but all."""
    nexts = {}
    for name in header:
        if AFTER in (words := name_parts(name)):
            nexts[tuple(word for word in words if word != AFTER)] = name
    found = [nexts.get(tuple(name_parts(name))) for name in columns]
    return [name for name in found if name] if all(found) else []


def how_to_name(header: Sequence[str]) -> str:
    """Return which columns a table of demonstrations lacks, and what to call them."""
    lacking = [name for name in LETTERS if not _columns_of(header, name, True)]
    words = {name: _words(name) for name in lacking}
    begin = [
        f"those of {name} with {', '.join(w for w in own if w[:-1] not in own)}"
        for name, own in words.items()
    ]
    such = " and ".join(f"`{own[0]}_0`" for own in words.values())
    return (
        f"Begin the names of columns, one a number, {'; '.join(begin)}, such as "
        f"{such}; beside them may be `time`, `episode`, `reward` and `done`."
    )


def _words(name: str) -> list[str]:
    """Return what the columns of observations or actions may begin with."""
    words = {name, *(other for other, own in OTHER_NAMES.items() if own == name)}
    return sorted((word for word in words if word.isalpha()), key=len)


def _columns_of(header: Sequence[str], name: str, letters: bool) -> list[str]:
    """Return the columns of observations or actions, in their order.

    Columns of one name and a number each, as `obs_10`, come by their numbers.
    """
    words, found = _words(name), []
    for column in header:
        first = re.match(r"[^\W\d_]+", column.lower())
        if AFTER in name_parts(column):
            continue
        if first and first[0] in words and column.lower() not in WHOLE:
            found.append(column)
    # One that is alone may be a choice, as `action_id`.
    found = [x for x in found if name_parts(x)[-1] not in NO_AXES] or found
    if not found and letters:
        ones = "".join(LETTERS[name])
        found = [x for x in header if re.fullmatch(rf"[{ones}]_?\[?\d+\]?", x.lower())]
        if not found and name == "actions":  # a single one
            found = [x for x in header if x.lower() in LETTERS[name]][:1]
    numbered = [re.fullmatch(r"(.*?)(\d+)\]?", name) for name in found]
    if all(numbered) and len({match[1] for match in numbered if match}) == 1:
        numbers = [int(match[2]) for match in numbered if match]
        found = [found[k] for k in np.argsort(numbers, kind="stable")]
    return found
