"""Data logs of WinCC: a row for each number, beside its name and its time.

`Time_ms` counts days since the end of 1899, times a million, as the manuals of WinCC
show: 35886460322.81 is April 1, 1998, 11:02:52. Rows whose names begin with $RT_ tell
when the log was switched on and off.
"""

import dataclasses
from pathlib import Path

import numpy as np

from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._table import Table

HEADER = ("varname", "timestring", "varvalue", "validity", "time_ms")
READ = ("variable", "value", "time [s]")
SECONDS = 86400 / 1e6
EVENTS = "$RT_"


def of_wincc(table: Table, options: ReadOptions) -> Table:
    """Return a log of WinCC as a table of variables and values, or another table."""
    if tuple(name.lower() for name in table.header) != HEADER:
        return table
    names = np.array([str(cell).strip() for cell in table.columns[0]], object)
    events = np.array([name.startswith(EVENTS) for name in names])
    table = table.rows(~events)
    invalid = table.numbers(table.header[3]) == 0
    if invalid.any():
        options.note(
            f"{Path(table.path).name}: {invalid.sum()} rows are not valid: left out."
        )
    table = table.rows(~invalid)
    days = table.numbers(table.header[4])
    seconds = (days - days.min(initial=np.inf)) * SECONDS if len(days) else days
    columns = [table.columns[0], table.columns[2], seconds]
    return dataclasses.replace(table, header=READ, columns=dict(enumerate(columns)))
