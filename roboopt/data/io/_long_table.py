"""Long tables: a row for each joint, or for each number, beside the time and a name.

`time, joint, position, velocity, effort` has a row a joint, and `time, variable,
value`, as `melt` of pandas makes it, a row a number. The rows of one time become one
row, with a column for each name. Where joints have times of their own, cells stay
empty.
"""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._cell_lists import LIST_SIGN
from roboopt.data.io._columns import (
    ColumnError,
    find_time,
    holds_motion,
    names_robot,
    run_columns,
    split_name,
)
from roboopt.data.io._joint_names import recorded_names
from roboopt.data.io._table import Table
from roboopt.data.io._times import read_stamps
from roboopt.data.io._units import unit_scale

JOINTS = {"name", "id"} | {
    f"{one}{end}"
    for one in ("joint", "axis", "motor", "actuator")
    for end in ("", "s", "name", "id", "index", "idx", "number", "no")
}
VARIABLES = {
    *("variable", "quantity", "field", "series", "signal", "channel", "metric", "key"),
    *("measurement", "parameter", "topic", "label"),
}
VALUES = {"value", "values", "reading"}
MAX_NAMES = 1000


def wide(table: Table, options: ReadOptions) -> Table:
    """Return a table with one row for each time: the same one unless it is long.

    Raises:
        ColumnError: if a column names joints that are not the robot's.
        RobooptError: if the times of a joint go back.
    """
    words = {name: "".join(split_name(name)) for name in table.header}
    labels = [n for n in table.header if words[n] in JOINTS][:1]
    variables = [n for n in table.header if words[n] in VARIABLES]
    values = [n for n in table.header if words[n] in VALUES]
    if len(variables) == len(values) == 1:
        labels += variables
    else:
        values = [n for n in table.header if holds_motion(n, ())]
        variables = []
    numbered = any(part.isdigit() for n in values for part in split_name(n))
    asked = options.columns and dataclasses.replace(options.columns, time=None).names
    if not labels or not values or numbered or {*(asked or ())} & {*table.header}:
        return table
    cells = [[str(cell).strip() for cell in table.named(name)] for name in labels]
    names = [*map(" ".join, zip(*cells, strict=True))]
    told = dict.fromkeys(names)
    lists = any(LIST_SIGN.match(name) for name in told)
    if lists or not 1 < len(told) <= min(len(names) // 2, MAX_NAMES):
        return table  # It counts, or says the same in each row.
    if not variables and not _fit([*told], labels[0], table, options):
        return table
    fields = {name: "" if variables else f" {name}" for name in values}
    return _put_together(table, names, fields, options)


def _fit(told: list[str], label: str, table: Table, options: ReadOptions) -> bool:
    """Return whether a column holds the joints; refuse one of the names of others."""
    joints = options.joints
    if all(name.isdigit() for name in told):
        return joints is None or len(told) == len(joints)
    given = options.recorded_joints
    if recorded_names(told, joints or (), given, table.path) is None:
        shown = ", ".join(told)
        rule = f"must name the joints {', '.join(joints or ())} in its column {label}"
        raise ColumnError(f"{rule}, got {shown}", Path(table.path), table.header)
    return True


def _put_together(
    table: Table, names: list[str], fields: dict[str, str], options: ReadOptions
) -> Table:
    """Return a row for each time, with a column for each name and field.

    Args:
        table: of rows with one name each.
        names: that of each row.
        fields: the columns of numbers, and what follows a name in that of each.
        options: the arguments of the reading.
    """
    time = _time(table, options)
    seconds = np.zeros(len(names))
    if time is not None:
        cells = table.named(time)
        seconds = read_stamps(cells, unit_scale(time, "times"), time).seconds
    kept = run_columns(table.header)
    for name in filter(names_robot, table.header):  # unless each joint has its own
        of_joint = {*zip(names, map(str, table.named(name)), strict=True)}
        kept += [name] if len(of_joint) > len({*names}) else []
    runs = [*zip(*(map(str, table.named(n)) for n in kept), strict=True)]
    runs = runs or [()] * len(names)
    order: dict[tuple[str, ...], int] = {}
    latest: dict[tuple[int, str], float] = {}
    seen: Counter[tuple[int, float, str]] = Counter()
    rows: dict[tuple[int, float, int], int] = {}
    keys = []
    for row, (run, at, name) in enumerate(zip(runs, seconds, names, strict=True)):
        number = order.setdefault(run, len(order))
        if at < latest.setdefault((number, name), at):
            raise RobooptError(
                f"`times` must increase, but those of {name} in {table.path} go back "
                f"by {latest[number, name] - at:.4g} s in sample {row}: sort the "
                "samples by time, or cut the recording there."
            )
        latest[number, name] = at
        key = number, at, seen[number, at, name]
        seen[number, at, name] += 1
        rows.setdefault(key, row)
        keys.append(key)
    places = {key: k for k, key in enumerate(sorted(rows))}
    place = np.array([places[key] for key in keys])
    first = [rows[key] for key in places]
    header = [*([] if time is None else [time]), *kept]
    columns = [table.named(name)[first] for name in header]
    rest = np.array(names)
    for name in dict.fromkeys(names):
        own = np.flatnonzero(rest == name)
        for field, end in fields.items():
            column = np.full(len(places), np.nan)
            column[place[own]] = table.numbers(field)[own]
            header.append(f"{name}{end}")
            columns.append(column)
    return Table(table.path, tuple(header), dict(enumerate(columns)))


def _time(table: Table, options: ReadOptions) -> str | None:
    """Return the column of times, None where there is none."""
    named = options.columns and options.columns.time
    if named in table.header:
        return named
    try:
        return find_time(table.header, lambda _: True, Path(table.path))
    except ColumnError:
        return None
