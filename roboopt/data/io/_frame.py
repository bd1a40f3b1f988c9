"""Data in memory: frames of pandas or polars, and the arrays of an episode by name."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._columns import is_time
from roboopt.data.io._named_arrays import read_arrays
from roboopt.data.io._read_table import read_table
from roboopt.data.io._steps import by_name
from roboopt.data.io._table import Table
from roboopt.data.io._units import KNOWN, canonical


def is_frame(source: Any) -> bool:
    """Return whether an object is a table with named columns, or holds arrays by name.

    These are a dict, or attributes as of the trajectories of imitation and Minari.
    """
    framed = hasattr(source, "columns") and hasattr(source, "__getitem__")
    return framed or by_name(source) is not None


def _numeric(
    arrays: Mapping[str, Any], place: str = ""
) -> Iterator[tuple[str, np.ndarray | None]]:
    """Yield the arrays by name, those inside others behind a dot, None of objects."""
    for name, value in arrays.items():
        if isinstance(value, Mapping):
            yield from _numeric(value, f"{place}{name}.")
        elif value is not None:
            try:
                array = np.asarray(value)
            except ValueError:  # lists of different lengths
                array = None
            objects = array is None or array.dtype.kind not in "fiubSU"
            yield f"{place}{name}", None if objects else array


def read_frame(source: Any, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a data frame.

    An index with a name, of dates or spans, or of numbers where no column holds times,
    is a column too, and cells that hold vectors of one length are a column for each
    number. The names of a column of several levels are joined; the last may be a unit.
    """
    if (held := by_name(source)) is not None:
        numeric = dict(_numeric(held))
        left_out = [name for name, array in numeric.items() if array is None]
        arrays = {name: array for name, array in numeric.items() if array is not None}
        return read_arrays(arrays, "the dictionary", options, left_out)
    columns = {_name(name): np.asarray(source[name]) for name in source.columns}
    index = getattr(source, "index", None)
    if index is not None:
        kind = np.asarray(index).dtype.kind
        dated = kind in "Mm" or (kind == "f" and not any(map(is_time, columns)))
        if (name := index.name or ("time" if dated else None)) is not None:
            columns = {str(name): np.asarray(index), **columns}
    return read_table(table_of_vectors("the table", columns), options)


def _name(label: Any) -> str:
    """Return the name of a column, whose label may have several levels."""
    if not isinstance(label, tuple):
        return str(label)
    *levels, last = [str(level) for level in label if str(level).strip()] or [""]
    if levels and canonical(last) in KNOWN:
        last = f"[{last}]"
    return " ".join([*levels, last])


def table_of_vectors(path: str, columns: Mapping[str, np.ndarray]) -> Table:
    """Return a table with a column for each number in cells that hold vectors."""
    scalars = dict(one for name in columns for one in _scalars(name, columns[name]))
    return Table(path, tuple(scalars), dict(enumerate(scalars.values())))


def _scalars(name: str, column: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a column, or those of the numbers in its cells."""
    if column.dtype.kind == "O" and {np.ndim(cell) for cell in column} == {1}:
        if len({len(cell) for cell in column}) == 1:
            stacked = np.stack([np.asarray(cell) for cell in column], 1)
            yield from ((f"{name}_{k}", one) for k, one in enumerate(stacked))
            return
    if column.ndim == 2:
        yield from ((f"{name}_{k}", one) for k, one in enumerate(column.T))
        return
    yield name, column
