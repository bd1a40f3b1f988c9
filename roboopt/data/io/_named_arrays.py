"""Arrays by name, of `.npz`, `.mat` and HDF5: episodes, or the motion of joints."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import OTHER_NAMES, Arrays, ReadOptions
from roboopt.data.io._table import Table, read_table

EPISODES = ("observations", "actions")


def read_arrays(
    arrays: Mapping[str, Any],
    where: str,
    options: ReadOptions,
    left_out: Sequence[str] = (),
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of episodes, or of the recordings of joints.

    Joints have arrays such as `t`, `q`, `dq` and `tau`, of one row or one column a
    sample, or one array each, such as `q1`: they are read as the columns of a table.

    Args:
        arrays: numbers by name.
        where: the file, and the place in it.
        options: the arguments of the reading.
        left_out: the names of arrays that are no numbers.
    """
    names = {OTHER_NAMES.get(name, name) for name in arrays}
    needed = [name for name in left_out if OTHER_NAMES.get(name, name) in EPISODES]
    if needed:
        raise RobooptError(
            f"`path` must hold numbers, but {', '.join(needed)} of {where} holds "
            "objects."
        )
    if left_out:
        options.note(f"{where}: {', '.join(left_out)} left out: no arrays of numbers.")
    table = None
    if not names.issuperset(EPISODES):
        table = _table(arrays, where)
    if table is None:
        yield where, arrays
    else:
        yield from read_table(table, options)


def _table(arrays: Mapping[str, Any], where: str) -> Table | None:
    """Return arrays of one sample count as a table; None where there are none."""
    found = {name: np.asarray(value) for name, value in arrays.items()}
    found = {
        n: v for n, v in found.items() if v.ndim in (1, 2) and v.dtype.kind in "fiubM"
    }
    found = {n: v.reshape(-1) if 1 in v.shape else v for n, v in found.items()}
    lengths = Counter(len(v) for v in found.values() if v.ndim == 1)
    sides = Counter(side for v in found.values() for side in v.shape)
    if not sides:
        return None
    samples = max(sides, key=lambda side: (sides[side], lengths[side], side))
    columns: dict[str, np.ndarray] = {}
    for name, value in found.items():
        if value.ndim == 1 and len(value) == samples:
            columns[name] = value
        elif value.ndim == 2 and samples in value.shape:
            rows = value if len(value) == samples else value.T
            columns |= {f"{name}[{k}]": row for k, row in enumerate(rows.T)}
    return Table(where, tuple(columns), dict(enumerate(columns.values())))
