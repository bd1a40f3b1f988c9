"""Data frames of pandas or polars, recognized by their columns."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._read_table import read_table
from roboopt.data.io._table import Table


def is_frame(source: Any) -> bool:
    """Return whether an object is a table with named columns."""
    return hasattr(source, "columns") and hasattr(source, "__getitem__")


def read_frame(source: Any, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a data frame.

    An index with a name or of dates is a column too, and cells that hold vectors of one
    length are a column for each number.
    """
    columns = {str(name): np.asarray(source[name]) for name in source.columns}
    index = getattr(source, "index", None)
    if index is not None:
        dated = np.asarray(index).dtype.kind == "M"
        if (name := index.name or ("time" if dated else None)) is not None:
            columns = {str(name): np.asarray(index), **columns}
    return read_table(table_of_vectors("the table", columns), options)


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
    yield name, column
