"""Columns called as the properties of an ODrive, which counts in turns.

`axis0.encoder.pos_estimate` and `axis0.pos_estimate` are in turns, the velocities in
turns/s, since firmware 0.5.1; the counts of older firmware are whole numbers.
"""

import dataclasses
import re

from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._table import Table

PROPERTIES = {
    "pos_estimate": "pos [rev]",
    "vel_estimate": "vel [rev/s]",
    "torque_estimate": "torque [Nm]",
    "iq_measured": "current [A]",
}
PROPERTY = re.compile(rf".*axis\W?(\d+)\b.*\b({'|'.join(PROPERTIES)})", re.IGNORECASE)


def of_odrive(table: Table, options: ReadOptions) -> Table:
    """Return a table with the quantities of ODrives, unless the user names columns."""
    named = options.columns and dataclasses.replace(options.columns, time=None).names
    found = {n: m for n in table.header if (m := PROPERTY.fullmatch(n)) and not named}
    called = {n: f"axis{m[1]} {PROPERTIES[m[2].lower()]}" for n, m in found.items()}
    header = tuple(called.get(name, name) for name in table.header)
    return dataclasses.replace(table, header=header)
