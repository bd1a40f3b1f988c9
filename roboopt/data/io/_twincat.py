"""Recordings that TwinCAT Scope exports as text.

A file begins with the name, the file and the times of the export. A block of rows
follows that begin with `Name`, `SymbolName`, `SampleTime[ms]`, `Unit` and others, then
the samples. Channels of one sample time share a column of times [ms]; the key of each
row stands again above the next column of times:

    Name            q1     q2     Name            torque1
    SampleTime[ms]  1      1      SampleTime[ms]  2
    0               0,1    0,2    0               1,5
    1               0,1    0,2    2               1,5

https://infosys.beckhoff.com, TE13xx TC3 Scope View, Export to CSV.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._columns import holds_motion
from roboopt.data.io._table import Table
from roboopt.data.io._units import unit_of

NAME = "Name"
EXPORT = ("Starttime of export", "StartRecord", "StartTime")
END = "EOF"
MAX_HEADER = 200  # lines; a comment of a symbol may take many
MIN_FILETIME = 1e17  # of 100 ns since 1601: after the year 1917
TICKS_PER_MS = 1e4
DIGITS = 6  # of times in ms that are told apart


def read_scope(lines: Sequence[str], path: Path, options: ReadOptions) -> Table | None:
    """Return the table of an export of TwinCAT Scope, None of another text.

    Raises:
        RobooptError: if the columns are not those that the names tell.
    """
    head = [line.rstrip("\r\n") for line in lines[:MAX_HEADER]]
    delimiter = head[0][len(NAME) : len(NAME) + 1] if head else ""
    told = any(line.lstrip('"').startswith(EXPORT) for line in head[1:6])
    if not told or not head[0].startswith(NAME) or not delimiter:
        return None
    if delimiter not in {*"\t;,"}:
        raise _error(path, f"tabs or semicolons between cells, not {delimiter!r}")
    cells = [[cell.strip() for cell in line.split(delimiter)] for line in head]
    names = [k for k, row in enumerate(cells) if row[0] == NAME][1:]
    if not names:
        raise _error(path, f"{NAME} of the channels in its first {MAX_HEADER} lines")
    header = {row[0]: row for row in cells[names[0] :] if len(row) > 1 and row[0]}
    channels = cells[names[0]]
    begin = names[0] + 1
    while begin < len(lines) and not _is_data(lines[begin], delimiter):
        begin += 1
    comma = delimiter != ","
    rows = [
        (line.replace(",", ".") if comma else line).rstrip("\r\n").split(delimiter)
        for line in lines[begin:]
        if line.strip() and line.strip(f" {delimiter}\r\n") != END
    ]
    while channels and not channels[-1]:
        channels = channels[:-1]
    width = len(channels)
    if (count := max(map(len, rows), default=0)) < width:
        raise _error(
            path,
            f"a column of times for the channels of each sample time: it names {width} "
            f"columns, and a row of samples has {count} cells. Export with Timelines "
            "set to All or For each sampletime",
        )
    _note_scaling(header, channels, path, options)
    called = _names(header, channels, options)
    _note_torques([*called.values()], path, options)
    # Rows are shorter where channels have fewer samples.
    rows = [row + [""] * (width - len(row)) for row in rows]
    groups: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    for place, name in enumerate(channels):
        column = np.array([row[place].strip() for row in rows], object)
        if name == NAME:
            groups.append((_milliseconds(column, path), {}))
        else:
            groups[-1][1][called[place]] = column
    return _on_all_times(groups, path)


def _is_data(line: str, delimiter: str) -> bool:
    """Return whether a line is of samples: numbers, each of which may be empty."""
    cells = [cell.strip().replace(",", ".") for cell in line.split(delimiter)]
    number = re.compile(r"[-+]?\d+\.?\d*([eE][-+]?\d+)?")
    return bool(number.fullmatch(cells[0])) and len(cells) > 1


def _error(path: Path, what: str) -> RobooptError:
    return RobooptError(
        f"`path` must hold an export of TwinCAT Scope as text with {what}, got {path}."
    )


def _note_scaling(
    header: dict[str, list[str]],
    channels: Sequence[str],
    path: Path,
    options: ReadOptions,
) -> None:
    """Note the channels with a scale that may be in their numbers, or not."""
    neutral = {"Offset": 0.0, "ScaleFactor": 1.0}
    scaled = [
        name
        for place, name in enumerate(channels)
        for key, value in neutral.items()
        if name != NAME and _told(header, key, place, value) != value
    ]
    if scaled:
        options.note(
            f"{path.name}: the channels {', '.join(dict.fromkeys(scaled))} have an "
            "Offset or a ScaleFactor, and the file does not tell whether these are in "
            "the numbers, which are read as they are: export with `Scale values before "
            "export`."
        )


def _note_torques(names: Sequence[str], path: Path, options: ReadOptions) -> None:
    """Note torques without a unit, of which drives have a share of a rated torque."""
    plain = [name for name in names if "torque" in name.lower() and not unit_of(name)]
    if plain:
        options.note(
            f"{path.name}: the channels {', '.join(plain)} have no unit and are read "
            "as N·m: if they are those of NC axes or of drives, in percents or "
            "thousandths of a rated torque, convert them first."
        )


def _told(header: dict[str, list[str]], key: str, place: int, default: float) -> float:
    row = header.get(key, [])
    try:
        return float(row[place].replace(",", ".")) if place < len(row) else default
    except ValueError:
        return default


def _names(
    header: dict[str, list[str]], channels: Sequence[str], options: ReadOptions
) -> dict[int, str]:
    """Return the names of the columns, with their units.

    The symbol of a channel stands for its name where that alone tells a quantity, or
    where several channels have one name.
    """
    counts, joints = Counter(channels), options.joints or ()
    called = {}
    for place, name in enumerate(channels):
        symbols, units = header.get("SymbolName", []), header.get("Unit", [])
        symbol = symbols[place] if place < len(symbols) else ""
        told = holds_motion(name, joints) or not holds_motion(symbol, joints)
        own = name if (told and counts[name] == 1) or not symbol else symbol
        unit = units[place].partition(" (")[0] if place < len(units) else ""
        known = unit and not unit.startswith("(") and unit_of(own) is None
        called[place] = f"{own} [{unit}]" if known else own
    return called


def _milliseconds(column: np.ndarray, path: Path) -> np.ndarray:
    """Return the times of a column in ms, NaN where a cell is empty."""
    try:
        times = np.array([float(cell) if cell else np.nan for cell in column])
    except ValueError as error:
        raise _error(path, f"numbers in its columns of times ({error})") from error
    if np.nanmin(times, initial=np.inf) > MIN_FILETIME:
        ticks = [int(cell) if cell.isdigit() else None for cell in column]
        first = min(tick for tick in ticks if tick is not None)
        shifted = [np.nan if tick is None else tick - first for tick in ticks]
        return np.array(shifted) / TICKS_PER_MS
    return times


def _on_all_times(
    groups: Sequence[tuple[np.ndarray, dict[str, np.ndarray]]], path: Path
) -> Table:
    """Return one table of all groups, whose cells are empty where one has no sample."""
    first = groups[0][0]
    if all(np.array_equal(times, first) for times, _ in groups):
        columns = {n: column for _, group in groups for n, column in group.items()}
        return Table(
            str(path),
            ("time [ms]", *columns),
            dict(enumerate([first, *columns.values()])),
        )
    rounded = [np.round(times, DIGITS) for times, _ in groups]
    every = np.concatenate(rounded)
    times = np.unique(every[~np.isnan(every)])
    header, values = ["time [ms]"], [times]
    for own, (_, group) in zip(rounded, groups, strict=True):
        # A group that is slower, or ends earlier, may repeat its last sample.
        known, rows = np.unique(own, return_index=True)
        rows = rows[~np.isnan(known)]
        places = np.searchsorted(times, own[rows])
        for name, column in group.items():
            cells = np.full(len(times), "", object)
            cells[places] = column[rows]
            header.append(name)
            values.append(cells)
    return Table(str(path), tuple(header), dict(enumerate(values)))
