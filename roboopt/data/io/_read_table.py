"""Reading tables of any source: recordings of joints."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require_positive
from roboopt.data._smoothing import differentiate, whole_turns
from roboopt.data.io._arrays import Arrays, ReadOptions, located
from roboopt.data.io._columns import (
    ALIASES,
    ColumnError,
    Columns,
    find_time,
    holds_motion,
    is_commanded,
    is_current,
    is_time,
)
from roboopt.data.io._demonstration_table import how_to_name, read_demonstrations
from roboopt.data.io._find_columns import find_columns, joints_beside
from roboopt.data.io._gaps import MAX_LEFT_OUT_SHARE, lacking_samples, whole_samples
from roboopt.data.io._labels import require_one_robot, unread_texts
from roboopt.data.io._sparse import apart, common_time, on_one_clock
from roboopt.data.io._table import MAX_SHOWN, Table, is_blank
from roboopt.data.io._table_header import with_names
from roboopt.data.io._ticks import require_no_ticks
from roboopt.data.io._times import (
    Stamps,
    begun_anew,
    even_step,
    read_stamps,
    strictly_later,
)
from roboopt.data.io._units import (
    in_other_units,
    unit_scale,
    unknown_unit,
    without_unit,
)


def read_table(
    table: Table, options: ReadOptions, step: float | None = None
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table.

    Args:
        table: of joints, or of observations and actions.
        options: the arguments of the reading.
        step: the time step [s] where the table has no times.
    """
    if options.joints is None and options.columns is None:
        if arrays := read_demonstrations(table, options):
            yield table.path, arrays
            return
    asked, own = options.columns, table.header
    table, options = with_names(table, options)
    try:
        options, columns, run_columns = _found(table, options, step)
    except ColumnError as error:
        told = own if {*own} & {*table.header} else table.header
        raise ColumnError(error.rule, error.path, told) from error
    _note_units(table, columns, options, asked)
    _note_other_joints(table, options)
    samples = _samples(table, columns, options)
    own = samples.table.rows(samples.own)
    require_one_robot(own, columns)
    read = [*columns.names, *run_columns]
    if texts := unread_texts(own, int(samples.own.sum()), read):
        options.note(f"{Path(table.path).name}: {texts}")
    if samples.columns.velocities is None:
        options.estimated.append(Path(table.path).name)
    for k, rows in enumerate(_runs(samples, run_columns)):
        where = f"recording {k} of {table.path}"
        with located(where):
            parts = [*_recordings(samples, rows, where, options)]
        for arrays in parts:
            yield where, arrays


@dataclasses.dataclass(frozen=True)
class _Samples:
    """The rows of a table that hold something of the joints, in SI units."""

    table: Table
    columns: Columns
    values: dict[str, np.ndarray]
    others: Sequence[str]
    """Columns with rows of their own."""
    own: np.ndarray
    """Which rows hold positions."""
    numbers: np.ndarray
    """Of the rows in the file, where rows that were left out are missing samples."""


def _found(
    table: Table, options: ReadOptions, step: float | None
) -> tuple[ReadOptions, Columns, list[str]]:
    """Return the options with a time step, the columns, and those of runs."""
    path, time = Path(table.path), None
    if (told := _as_step(table, options)) is not None:
        columns = dataclasses.replace(options.columns or Columns(), time=None)
        options = dataclasses.replace(options, columns=columns, time_step=told)
    try:
        if options.time_step is None:
            time = options.columns and options.columns.time
            try:
                moves = lambda name: not _constant(table, name)  # noqa: E731
                time = time or find_time(table.header, moves, path)
            except ColumnError:
                if step is None:
                    raise
                options = dataclasses.replace(options, time_step=step)
        columns, run_columns = find_columns(
            table.header,
            options.columns,
            options.joints,
            time=time,
            driven=options.driven,
            path=path,
            note=lambda text: options.note(f"{path.name}: {text}"),
        )
    except ColumnError as error:
        if options.untold is None:
            raise
        shown = ", ".join(table.header[:MAX_SHOWN])
        raise RobooptError(
            "`path` must hold demonstrations, as columns or arrays of observations "
            f"(`obs…`) and actions (`action…`), but {path} holds {shown}"
            f"{', …' if len(table.header) > MAX_SHOWN else ''}. "
            f"{how_to_name(table.header)}"
        ) from error
    return options, columns, run_columns


def _note_units(
    table: Table, columns: Columns, options: ReadOptions, asked: Columns | None
) -> None:
    """Note efforts that are none in N·m or N, and units that are not known."""
    name, efforts = Path(table.path).name, [n for n in columns.efforts or () if n]
    if any(map(is_current, efforts)):
        options.note(
            f"{name} holds currents as efforts: multiply each column by its motor's "
            "torque constant and gear ratio. Else what is printed in N·m, N or kg is "
            "in units of that product, which must be alike for all joints."
        )
    sent = [effort for effort in efforts if is_commanded(effort)]
    if sent and (asked is None or asked.efforts is None):
        options.note(
            f"{name}: the efforts are commanded ones, such as {sent[0]}, since no "
            "measured ones in N·m or N are there."
        )
    for column in options.columns.names if options.columns else ():
        known = holds_motion(column, options.joints or ()) or is_time(column)
        if not known and column in table.header and (unit := unknown_unit(column)):
            options.note(
                f"{name}: {unit[1]!r} of the column {column!r} is no unit that "
                "is known: its numbers are read in SI units."
            )


def _note_other_joints(table: Table, options: ReadOptions) -> None:
    """Note joints that move and that the robot does not have."""
    beside = joints_beside(table.header, options.joints) if options.joints else {}
    moved = [joint for joint, name in beside.items() if not _constant(table, name)]
    if moved:
        options.note(
            f"{Path(table.path).name} holds the motion of {', '.join(moved)}, which "
            "the robot does not have, or has locked: it is missing from the model."
        )


def _values(
    table: Table, columns: Columns, options: ReadOptions
) -> dict[str, np.ndarray]:
    """Return all columns but that of times, in SI units."""
    values = table.arrays([name for name in columns.names if name != columns.time])
    converted = [in_other_units([columns.time], "times")]
    for quantity in ALIASES:
        used = [name for name in getattr(columns, quantity) or () if name]
        converted.append(in_other_units(used, quantity))
        values |= {n: values[n] * (unit_scale(n, quantity) or 1.0) for n in used}
    if said := ", ".join(filter(None, converted)):
        options.note(f"{Path(table.path).name}: {said} are converted to SI units.")
    return values


def _samples(table: Table, columns: Columns, options: ReadOptions) -> _Samples:
    """Return the rows that hold something of the joints, without empty columns."""
    path, values = Path(table.path), _values(table, columns, options)
    assert columns.positions is not None
    require_no_ticks(values, columns.positions, path)
    others, own = apart(values, columns.positions)
    seen = [*columns.positions, *others]
    keep = np.any([~np.isnan(values[name]) for name in seen], axis=0)
    if not keep.any():
        raise RobooptError(f"`path` must hold samples, but {path} holds none.")
    if others:
        columns = _on_common_times(table, keep, columns, others)
    lost = not others and (~keep).mean() <= MAX_LEFT_OUT_SHARE
    told = columns.time is not None and options.time_step is None
    numbers = np.flatnonzero(keep) if lost or told else np.arange(keep.sum())
    if not keep.all():
        # Tables of several sensors have rows of each.
        what = "nothing of the joints" if others else "no positions"
        options.note(
            f"{(~keep).sum()} rows of {path.name} hold {what}: left out"
            f"{'.' if lost else ', as rows of other sensors.'}"
        )
        table, own = table.rows(keep), own[keep]
        values = {name: value[keep] for name, value in values.items()}
    unrecorded = {name for name in values if np.isnan(values[name]).all()}
    if blank := unrecorded & {*(columns.efforts or ())}:
        raise ColumnError(f"holds no efforts in {min(blank)}", path, table.header)
    if unrecorded & {*(columns.velocities or ())}:
        columns = dataclasses.replace(columns, velocities=None)
        values = {name: v for name, v in values.items() if name in columns.names}
    return _Samples(table, columns, values, others, own, numbers)


def _runs(samples: _Samples, columns: Sequence[str]) -> list[list[int]]:
    """Return the rows of each recording, which columns tell apart."""
    if not columns:
        return [[*range(len(samples.numbers))]]
    cells = (map(str.strip, map(str, samples.table.named(n))) for n in columns)
    runs: dict[tuple[str, ...], list[int]] = {}
    for row, cell in enumerate(zip(*cells, strict=True)):
        runs.setdefault(cell, []).append(row)
    return [*runs.values()]


def _recordings(
    samples: _Samples, rows: list[int], where: str, options: ReadOptions
) -> Iterator[dict[str, Any]]:
    """Yield the arrays of the parts of a recording that lack no number."""
    columns, numbers = samples.columns, samples.numbers[rows]
    values = {name: value[rows] for name, value in samples.values.items()}
    stamps, untimed = _stamps(samples.table, columns.time, rows, numbers, options)
    if len(first := begun_anew(stamps.seconds)):
        options.note(
            f"{where}: the times begin anew at sample "
            f"{', '.join(map(str, first[:5]))}{', ...' if len(first) > 5 else ''}: "
            f"read as {len(first) + 1} recordings."
        )
        for part in np.split(rows, first):
            yield from _recordings(samples, part.tolist(), where, options)
        return
    if samples.others:
        own = samples.own[rows]
        stamps, values = on_one_clock(
            stamps, values, columns, samples.others, own, options
        )
        numbers, untimed = np.arange(len(stamps.seconds)), {}
    lacking = lacking_samples(values, columns.positions or (), columns.efforts or ())
    parts, note = whole_samples(lacking | untimed, stamps.seconds, numbers)
    if note:
        options.note(f"{where}: {note}")
    for keep in parts:
        part = {name: value[keep] for name, value in values.items()}
        timed: dict[str, Any] = {"time_step": options.time_step}
        if options.time_step is None or (np.diff(numbers[keep]) > 1).any():
            kept = dataclasses.replace(stamps, seconds=stamps.seconds[keep])
            timed, part = _timed(kept, part, where, options)
        yield _arrays(part, columns, timed, where, options)


def _as_step(table: Table, options: ReadOptions) -> float | None:
    """Return the time step [s] that is given in place of a column's name, if it is."""
    time = options.columns and options.columns.time
    if time is None or time in table.header:
        return None
    with contextlib.suppress(ValueError):
        require_positive(time_step=(step := float(time)))
        return step
    return None


def _on_common_times(
    table: Table, keep: np.ndarray, columns: Columns, others: Sequence[str]
) -> Columns:
    """Return the columns with times of all rows, for those that have rows apart."""
    if columns.time is None:
        raise RobooptError(
            "`path` must hold times where columns have rows of their own, as "
            f"{others[0]} of {table.path} has, but a time step is given in their place."
        )
    return dataclasses.replace(columns, time=common_time(table, keep, columns.time))


def _stamps(
    table: Table,
    name: str | None,
    rows: Sequence[int],
    numbers: np.ndarray,
    options: ReadOptions,
) -> tuple[Stamps, dict[str, np.ndarray]]:
    """Return the times of a recording, and which of them are guessed, by their column.

    Args:
        table: of all rows.
        name: the column of times.
        rows: of the recording.
        numbers: of the rows in the file, some of which may have been left out.
        options: the arguments of the reading, whose time step stands for times.
    """
    if len(rows) < 2:
        raise RobooptError(
            f"a recording must hold at least 2 samples, got {len(rows)}."
        )
    if name is None or options.time_step is not None:
        assert options.time_step is not None
        return Stamps(options.time_step * (numbers - numbers[0]), 0.0), {}
    cells = table.named(name)[rows]
    blank = is_blank(cells)
    known = np.flatnonzero(~blank)
    if len(known) < 2:
        raise RobooptError(f"`{name}` must hold times, but holds {len(known)}.")
    stamps = read_stamps(cells[known], unit_scale(name, "times"), name)
    back = np.diff(stamps.seconds) < 0
    if back.any() and (blank.any() or not len(begun_anew(stamps.seconds))):
        row = int(back.argmax())
        cure = "cut it there, or number the recordings in a column `run`"
        if (stamps.seconds[1:][back] > stamps.seconds[0]).all():
            cure = "sort its rows by their times or numbers"
        raise RobooptError(
            f"`times` must increase, but sample {row + 1} is "
            f"{stamps.seconds[row] - stamps.seconds[row + 1]:.4g} s before sample "
            f"{row}, and so it is at {back.sum()} of {len(known)} samples: {cure}."
        )
    if not blank.any():
        return stamps, {}
    seconds = np.interp(np.arange(len(cells)), known, stamps.seconds)
    return dataclasses.replace(stamps, seconds=seconds), {name: blank}


def _timed(
    stamps: Stamps, values: dict[str, np.ndarray], where: str, options: ReadOptions
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the time step and the times, and the samples that have their own time."""
    keep, note = strictly_later(stamps, np.stack([*values.values()], axis=1))
    for text in (stamps.note, note):
        if text:
            options.note(f"{where}: {text}")
    if keep.sum() < 2:
        raise RobooptError("`times` must increase, but all samples have one stamp.")
    timed = even_step(stamps.seconds[keep], stamps.resolution)
    return timed, {name: value[keep] for name, value in values.items()}


def _arrays(
    values: Mapping[str, np.ndarray],
    columns: Columns,
    timed: dict[str, Any],
    where: str,
    options: ReadOptions,
) -> dict[str, Any]:
    assert columns.positions and columns.efforts
    count = len(values[columns.positions[0]])
    if count < 2:
        raise RobooptError(f"a recording must hold at least 2 samples, got {count}.")
    positions = np.stack([values[name] for name in columns.positions], axis=1)
    positions, turned = whole_turns(positions)
    if turned.any():
        names = np.array(columns.positions)[turned]
        options.note(
            f"{where}: {', '.join(names)} jump by a turn, as angles within one do: "
            "read as angles that go on."
        )
    if columns.velocities is None:
        stamps = timed.get("times", timed["time_step"] * np.arange(count))
        velocities = differentiate(positions, stamps)
    else:
        velocities = np.stack([values[name] for name in columns.velocities], axis=1)
    idle = np.zeros(count)
    efforts = [idle if name is None else values[name] for name in columns.efforts]
    observations = np.hstack([positions, velocities])
    rates = [f"rate of {name}" for name in columns.positions]
    seen = [*columns.positions, *(columns.velocities or rates)]
    for name, used in (("observations", seen), ("actions", columns.efforts)):
        names = [without_unit(column or "no effort") for column in used]
        options.names.setdefault(name, names)
    # The last effort acts after the last observation.
    actions = np.stack(efforts, axis=1)[:-1]
    return {**timed, "observations": observations, "actions": actions}


def _constant(table: Table, name: str) -> bool:
    column = table.named(name)
    return len(column) > 1 and bool((column == column[0]).all())
