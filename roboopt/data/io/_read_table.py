"""Reading tables of any source: recordings of joints, or demonstrations."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require_positive
from roboopt.data._smoothing import differentiate, whole_turns
from roboopt.data.io._arrays import Arrays, ReadOptions, located
from roboopt.data.io._boundaries import BOUNDARIES, INDICES
from roboopt.data.io._columns import (
    ALIASES,
    ColumnError,
    Columns,
    find_columns,
    find_time,
    holds_motion,
    is_commanded,
    is_current,
    is_time,
)
from roboopt.data.io._gaps import MAX_LEFT_OUT_SHARE, whole_samples
from roboopt.data.io._sparse import apart, common_time, on_one_clock
from roboopt.data.io._table import MAX_SHOWN, Table
from roboopt.data.io._table_header import with_names
from roboopt.data.io._times import Stamps, even_step, read_stamps, strictly_later
from roboopt.data.io._units import (
    in_other_units,
    unit_scale,
    unknown_unit,
    without_unit,
)

OBSERVED = ("observation", "observations", "obs", "state", "states")
BLANK = ("", "nan", "none", "nat", "<na>")
ACTED = ("action", "actions", "act", "acts")


def read_table(
    table: Table, options: ReadOptions, step: float | None = None
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table.

    Args:
        table: of joints, or of observations and actions.
        options: the arguments of the reading.
        step: the time step [s] where the table has no times.
    """
    seen, acted = (_columns_of(table.header, words) for words in (OBSERVED, ACTED))
    if options.joints is None and options.columns is None and seen and acted:
        yield table.path, _demonstrations(table, seen, acted, options)
        return
    named = options.columns is not None and options.columns.efforts is not None
    table, options = with_names(table, options)
    path = Path(table.path)
    try:
        options, columns, run_column = _found(table, options, step)
    except ColumnError as error:
        if options.untold is None:
            raise
        shown = ", ".join(table.header[:MAX_SHOWN])
        raise RobooptError(
            "`path` must hold demonstrations, as columns or arrays of observations "
            f"(`obs…`) and actions (`action…`), but {path} holds {shown}"
            f"{', …' if len(table.header) > MAX_SHOWN else ''}."
        ) from error
    if any(name and is_current(name) for name in columns.efforts or ()):
        options.note(
            f"{path.name} holds currents as efforts: what is identified from them is "
            "in units of the motors' torque constants."
        )
    sent = [name for name in columns.efforts or () if name and is_commanded(name)]
    if sent and not named:
        options.note(
            f"{path.name}: the efforts are commanded ones, such as {sent[0]}, since no "
            "measured ones in N·m or N are there."
        )
    for name in options.columns.names if options.columns else ():
        known = holds_motion(name, options.joints or ()) or is_time(name)
        if not known and name in table.header and (unknown := unknown_unit(name)):
            options.note(
                f"{path.name}: {unknown[1]!r} of the column {name!r} is no unit that "
                "is known: its numbers are read in SI units."
            )
    names = [name for name in columns.names if name != columns.time]
    values = dict(table.arrays(names))
    converted = [in_other_units([columns.time], "times")]
    for quantity in ALIASES:
        used = [name for name in getattr(columns, quantity) or () if name]
        converted.append(in_other_units(used, quantity))
        values |= {n: values[n] * (unit_scale(n, quantity) or 1.0) for n in used}
    if said := ", ".join(filter(None, converted)):
        options.note(f"{path.name}: {said} are converted to SI units.")
    assert columns.positions is not None
    held = {name: ~np.isnan(values[name]) for name in values}
    others, own = apart(values, columns.positions)
    keep = np.any([held[n] for n in (*columns.positions, *others)], axis=0)
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
    if columns.velocities is None:
        options.estimated.append(path.name)
    runs: dict[str, list[int]] = {"": [*range(int(keep.sum()))]}
    if run_column:
        runs = {}
        for row, cell in enumerate(table.named(run_column)):
            runs.setdefault(str(cell).strip(), []).append(row)
    for k, rows in enumerate(runs.values()):
        where = f"recording {k} of {path}"
        one = {name: value[rows] for name, value in values.items()}
        with located(where):
            mine = numbers[rows]
            stamps, untimed = _stamps(table, columns.time, rows, mine, options)
            if others:
                stamps, one = on_one_clock(
                    stamps, one, columns, others, own[rows], options
                )
                mine, untimed = np.arange(len(stamps.seconds)), {}
            lacking = {name: np.isnan(value) for name, value in one.items()}
            for name in columns.efforts or ():
                if name:
                    lacking[name][-1] = False  # It acts after the last observation.
            keep, note = whole_samples(lacking | untimed, stamps.seconds, mine)
            if note:
                options.note(f"{where}: {note}")
            one = {name: value[keep] for name, value in one.items()}
            timed: dict[str, Any] = {"time_step": options.time_step}
            if options.time_step is None or (np.diff(mine[keep]) > 1).any():
                seconds = stamps.seconds[keep]
                stamps = dataclasses.replace(stamps, seconds=seconds)
                timed, one = _timed(stamps, one, where, options)
            arrays = _arrays(one, columns, timed, where, options)
        yield where, arrays


def _found(
    table: Table, options: ReadOptions, step: float | None
) -> tuple[ReadOptions, Columns, str | None]:
    """Return the options with a time step, the columns, and that of runs if any."""
    path, time = Path(table.path), None
    if (told := _as_step(table, options)) is not None:
        columns = dataclasses.replace(options.columns or Columns(), time=None)
        options = dataclasses.replace(options, columns=columns, time_step=told)
    if options.time_step is None:
        time = options.columns and options.columns.time
        try:
            time = time or find_time(
                table.header, lambda name: not _constant(table, name), path
            )
        except ColumnError:
            if step is None:
                raise
            options = dataclasses.replace(options, time_step=step)
    columns, run_column = find_columns(
        table.header,
        options.columns,
        options.joints,
        time=time,
        driven=options.driven,
        path=path,
        note=lambda text: options.note(f"{path.name}: {text}"),
    )
    return options, columns, run_column


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
    blank = _is_blank(cells)
    known = np.flatnonzero(~blank)
    if len(known) < 2:
        raise RobooptError(f"`{name}` must hold times, but holds {len(known)}.")
    stamps = read_stamps(cells[known], unit_scale(name, "times"), name)
    if (back := np.diff(stamps.seconds) < 0).any():
        row = int(back.argmax())
        raise RobooptError(
            f"`times` must increase, but sample {row + 1} is "
            f"{stamps.seconds[row] - stamps.seconds[row + 1]:.4g} s before sample "
            f"{row}: sort the samples by time, or cut the recording there."
        )
    if not blank.any():
        return stamps, {}
    seconds = np.interp(np.arange(len(cells)), known, stamps.seconds)
    return dataclasses.replace(stamps, seconds=seconds), {name: blank}


def _is_blank(cells: np.ndarray) -> np.ndarray:
    """Return which cells hold no number, no text and no date."""
    if cells.dtype.kind == "f":
        return np.isnan(cells)
    if cells.dtype.kind in "Mm":
        return np.isnat(cells)
    if cells.dtype.kind not in "OU":
        return np.zeros(len(cells), bool)
    texts = (str(cell).strip().lower() for cell in cells)
    return np.array([text in BLANK for text in texts], bool)


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


def _demonstrations(
    table: Table, observed: Sequence[str], acted: Sequence[str], options: ReadOptions
) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name, columns in (("observations", observed), ("actions", acted)):
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


def _constant(table: Table, name: str) -> bool:
    column = table.named(name)
    return len(column) > 1 and bool((column == column[0]).all())
