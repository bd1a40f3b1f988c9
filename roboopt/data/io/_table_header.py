"""The headers of tables: names for what programs call in ways of their own."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._joint_names import (
    other_names,
    recorded_names,
    with_robot_names,
)
from roboopt.data.io._long_table import wide
from roboopt.data.io._odrive import of_odrive
from roboopt.data.io._split_times import join_times
from roboopt.data.io._table import Table
from roboopt.data.io._units import without_unit
from roboopt.data.io._wincc import of_wincc

LIBFRANKA = ("success rate", "success_rate")
"""The second column of its logs; their first holds milliseconds."""
IN_MILLISECONDS = "time [ms]"
OF_JOINT = re.compile(
    r"(.*?)(position|velocity or effort|velocity|effort)[\[_.]?(\d+)\]?"
)


def with_names(table: Table, options: ReadOptions) -> tuple[Table, ReadOptions]:
    """Return a table that names the robot's joints, and times in one column.

    The options name the column of times as the table does.
    """
    table = _with_joint_names(_with_told_units(table, options), options)
    table, options = _with_whole_times(table, options)
    table = wide(of_wincc(of_odrive(table, options), options), options)
    table, options = _of_libfranka(table, options)
    return _with_robot_names(table, options), options


def _with_told_units(table: Table, options: ReadOptions) -> Table:
    """Return a table whose columns have the units with which the user names them.

    `q1 [deg]` and `q1_deg` are the column q1 of a table that has no column of the whole
    name.
    """
    header = list(table.header)
    for name in options.columns.names if options.columns else ():
        bare = without_unit(name)
        if name not in header and bare in header:
            header[header.index(bare)] = name
    return Table(table.path, tuple(header), table.columns)


def _with_joint_names(table: Table, options: ReadOptions) -> Table:
    """Return a table of joint states with the joints' names in its header.

    `field.name0` holds the name of the joint of `field.position0`, as `rostopic echo
    -p` writes it, in any order. Rows with other names, of another publisher, are left
    out.
    """
    places: dict[tuple[str, str], int] = {}
    for place, name in enumerate(table.header):
        found = re.fullmatch(r"(.*?)name[\[_.]?(\d+)\]?", name.lower())
        if found and len(column := table.columns[place]) and column.dtype.kind in "OU":
            places[found[1], found[2]] = place
    if not places:
        return table
    names = list(zip(*(table.columns[place] for place in places.values()), strict=True))
    names = [tuple(str(cell).strip() for cell in row) for row in names]
    every, given = Counter(names), options.recorded_joints
    fits = {
        row
        for row in every
        if recorded_names(row, options.joints or (), given, table.path) is not None
    }
    common = max(fits or every, key=every.__getitem__)
    if len({prefix for prefix, _ in places}) == 1:
        table, names = _in_one_order(table, names, common, places)
    keep = np.array([row == common for row in names])
    if not keep.all():
        options.note(
            f"{(~keep).sum()} rows of {Path(table.path).name} name other joints: left "
            "out."
        )
    joints = dict(zip(places, common, strict=True))
    header = []
    for name in table.header:
        found = OF_JOINT.fullmatch(name.lower())
        joint = found and joints.get((found[1], found[3]))
        header.append(f"{found[2]} {joint}" if found and joint else name)
    return Table(table.path, tuple(header), table.columns).rows(keep)


def _in_one_order(
    table: Table,
    names: list[tuple[str, ...]],
    common: tuple[str, ...],
    named: dict[tuple[str, str], int],
) -> tuple[Table, list[tuple[str, ...]]]:
    """Return a table with the joints of each row, where known, in one order."""
    numbers, places = [number for _, number in named], [*named.values()]
    known = [sorted(row) == sorted(common) for row in names]
    if all(row == common for row, fits in zip(names, known, strict=True) if fits):
        return table, names
    order = np.tile(np.arange(len(common)), (len(names), 1))
    for k in np.flatnonzero(known):
        order[k] = [names[k].index(joint) for joint in common]
    lists: dict[str, dict[str, str]] = {}
    for name in table.header:
        if found := OF_JOINT.fullmatch(name.lower()):
            lists.setdefault(found[2], {})[found[3]] = name
    for columns in lists.values():
        if not {*numbers} <= {*columns}:
            continue
        cells = np.stack([table.named(columns[k]) for k in numbers], axis=1)
        cells = np.take_along_axis(cells, order, 1)
        for k, column in zip(numbers, cells.T, strict=True):
            table = table.replaced(columns[k], columns[k], column)
    pairs = zip(names, known, strict=True)
    names = [common if fits else row for row, fits in pairs]
    for place, cells in zip(places, zip(*names, strict=True), strict=True):
        name = table.header[place]
        table = table.replaced(name, name, np.array(cells, object))
    return table, names


def _with_whole_times(table: Table, options: ReadOptions) -> tuple[Table, ReadOptions]:
    """Return a table in which one column holds the seconds and fractions of stamps."""
    for seconds, fraction, name, stamps in join_times(table.header, table.numbers):
        table = table.replaced(seconds, name, stamps)
        options = _with_time(options, (seconds, fraction), name)
    return table, options


def _of_libfranka(table: Table, options: ReadOptions) -> tuple[Table, ReadOptions]:
    """Return a log of libfranka with the unit of its times, milliseconds."""
    time, *rest = table.header
    if rest and rest[0] in LIBFRANKA and time in ("time", "duration"):
        table = Table(table.path, (IN_MILLISECONDS, *rest), table.columns)
        options = _with_time(options, (time,), IN_MILLISECONDS)
    return table, options


def _with_robot_names(table: Table, options: ReadOptions) -> Table:
    """Return a table that names the robot's joints, unless the user names columns."""
    named = options.columns and dataclasses.replace(options.columns, time=None).names
    if not options.joints or named:
        return table
    given = options.recorded_joints
    header, named = with_robot_names(table.header, options.joints, given, table.path)
    if named and given is None:
        options.note(other_names(table.path, named, options.joints))
    return dataclasses.replace(table, header=header)


def _with_time(options: ReadOptions, former: Sequence[str], name: str) -> ReadOptions:
    """Return the options with another name of the column of times, if it was named."""
    if not options.columns or options.columns.time not in former:
        return options
    columns = dataclasses.replace(options.columns, time=name)
    return dataclasses.replace(options, columns=columns)
