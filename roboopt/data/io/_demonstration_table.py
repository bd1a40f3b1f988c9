"""Tables of demonstrations: columns of observations and of actions by their names."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._boundaries import BOUNDARIES, INDICES
from roboopt.data.io._columns import ColumnError, find_time
from roboopt.data.io._table import Table
from roboopt.data.io._times import read_stamps
from roboopt.data.io._units import unit_scale

OBSERVED = ("observation", "observations", "obs", "state", "states")
ACTED = ("action", "actions", "act", "acts")


def read_demonstrations(table: Table, options: ReadOptions) -> dict[str, Any] | None:
    """Return the arrays of a table of observations and actions, None of another one."""
    observed, acted = (_columns_of(table.header, words) for words in (OBSERVED, ACTED))
    if not observed or not acted:
        return None
    arrays: dict[str, Any] = {}
    for name, columns in (("observations", observed), ("actions", acted)):
        columns = options.ordered(name, columns, table.path)
        arrays[name] = np.stack([*table.arrays(columns).values()], axis=1)
        options.names.setdefault(name, [*columns])
    if not np.mod(arrays["actions"], 1).any() and arrays["actions"].shape[1] == 1:
        arrays["actions"] = arrays["actions"].astype(int)
    for name in table.header:
        if name.lower() in (*INDICES, "episode", "run", "trial"):
            numbers: dict[str, int] = {}
            labels = (str(cell).strip() for cell in table.named(name))
            index = [numbers.setdefault(label, len(numbers)) for label in labels]
            arrays["episode_index"] = np.array(index)
        elif name.lower() in (*BOUNDARIES, "reward", "rewards"):
            arrays[name.lower()] = table.numbers(name)
    with contextlib.suppress(ColumnError):
        time = find_time(table.header, lambda _: True, Path(table.path))
        stamps = read_stamps(table.named(time), unit_scale(time, "times"), time)
        arrays["times"] = stamps.seconds
        if stamps.note:
            options.note(f"{Path(table.path).name}: {stamps.note}")
    return arrays


def _columns_of(header: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the columns whose names begin with one of some words, in their order.

    Columns of one name and a number each, as `obs_10`, come by their numbers.
    """
    found = []
    for name in header:
        first = re.match(r"[^\W\d_]+", name.lower())
        if first and first[0] in words and name.lower() not in ("state", "states"):
            found.append(name)
    numbered = [re.fullmatch(r"(.*?)(\d+)\]?", name) for name in found]
    if all(numbered) and len({match[1] for match in numbered if match}) == 1:
        numbers = [int(match[2]) for match in numbered if match]
        found = [found[k] for k in np.argsort(numbers, kind="stable")]
    return found
