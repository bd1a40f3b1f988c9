"""Tables of any source, one row a sample: recordings of joints, or demonstrations."""

import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._smoothing import differentiate
from roboopt.data.io._arrays import Arrays, ReadOptions, located
from roboopt.data.io._boundaries import BOUNDARIES, INDICES
from roboopt.data.io._columns import (
    ColumnError,
    Columns,
    find_columns,
    find_time,
    is_current,
    unit_scale,
)
from roboopt.data.io._joint_names import (
    other_names,
    recorded_names,
    with_robot_names,
)
from roboopt.data.io._split_times import join_times
from roboopt.data.io._text_columns import TextColumns
from roboopt.data.io._times import even_step, read_stamps, strictly_later

OBSERVED = ("observation", "observations", "obs", "state", "states")
MAX_SHOWN = 40  # characters of a cell, or columns, in an error
LIBFRANKA = ("success rate", "success_rate")
"""The second column of its logs; their first holds milliseconds."""
IN_MILLISECONDS = "time [ms]"
ACTED = ("action", "actions", "act", "acts")


@dataclass(frozen=True)
class Table:
    """The columns of a table by their places, and their names."""

    path: str
    header: tuple[str, ...]
    columns: Mapping[int, np.ndarray]

    def named(self, name: str) -> np.ndarray:
        """Return the first column of a name."""
        return self.columns[self.header.index(name)]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as finite numbers; an empty cell is NaN."""
        column = self.named(name)
        try:
            if column.dtype.kind not in "fiubOU":
                raise TypeError
            found = column.astype(float)
        except (TypeError, ValueError):
            found = np.empty(len(column))
            for row, cell in enumerate(column):
                try:
                    found[row] = _number(cell)
                except (TypeError, ValueError) as error:
                    raise self._not_a_number(name, row) from error
        if (infinite := np.isinf(found)).any():
            raise self._not_a_number(name, int(infinite.argmax()))
        return found

    def _not_a_number(self, name: str, row: int) -> RobooptError:
        cell = str(self.named(name)[row])[:MAX_SHOWN]
        return RobooptError(
            f"`path` must hold finite numbers, but {self.path} holds {cell!r} in "
            f"column {name}, sample {row}."
        )

    def arrays(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return columns as finite numbers, by name; an empty cell is NaN."""
        found = None
        if isinstance(self.columns, TextColumns) and names:
            found = self.columns.floats([self.header.index(name) for name in names])
        if found is None:
            return {name: self.numbers(name) for name in names}
        if (infinite := np.isinf(found)).any():
            row, place = (int(k) for k in np.argwhere(infinite)[0])
            raise self._not_a_number(names[place], row)
        return dict(zip(names, np.ascontiguousarray(found.T), strict=True))

    def replaced(self, name: str, new: str, column: np.ndarray) -> "Table":
        """Return the table with another column, and its name, in place of one."""
        place = self.header.index(name)
        header = (*self.header[:place], new, *self.header[place + 1 :])
        if isinstance(self.columns, TextColumns):
            return Table(self.path, header, self.columns.replaced(place, column))
        return Table(self.path, header, {**self.columns, place: column})

    def rows(self, keep: np.ndarray) -> "Table":
        """Return the table with some of its rows."""
        if isinstance(self.columns, TextColumns):
            return Table(self.path, self.header, self.columns.rows(keep))
        columns = {place: column[keep] for place, column in self.columns.items()}
        return Table(self.path, self.header, columns)


def _number(cell: Any) -> float:
    text = str(cell).strip()
    flags = {"": "nan", "none": "nan", "true": "1", "false": "0"}
    return float(flags.get(text.lower(), text))


def read_table(
    table: Table, options: ReadOptions, step: float | None = None
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table.

    Args:
        table: of joints, or of observations and actions.
        options: the arguments of the reading.
        step: the time step [s] where the table has no times.
    """
    demonstrated = [_columns_of(table.header, words) for words in (OBSERVED, ACTED)]
    if options.joints is None and options.columns is None and all(demonstrated):
        yield table.path, _demonstrations(table, *demonstrated)
        return
    table, options = _with_whole_times(_with_joint_names(table, options), options)
    table, options = _of_libfranka(table, options)
    table = _with_robot_names(table, options)
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
    if columns.velocities is None:
        options.estimated.append(path.name)
    if any(name and is_current(name) for name in columns.efforts or ()):
        options.note(
            f"{path.name} holds currents as efforts: what is identified from them is "
            "in units of the motors' torque constants."
        )
    names = [name for name in columns.names if name != columns.time]
    values = {
        name: column * (unit_scale(name) or 1.0)
        for name, column in table.arrays(names).items()
    }
    assert columns.positions is not None
    empty = np.all([np.isnan(values[name]) for name in columns.positions], axis=0)
    if empty.all():
        raise RobooptError(f"`path` must hold samples, but {path} holds none.")
    if empty.any():
        # Tables of several sensors have rows of each.
        options.note(
            f"{empty.sum()} rows of {path.name} hold no positions: left out, as rows "
            "of other sensors."
        )
        table = table.rows(~empty)
        values = {name: value[~empty] for name, value in values.items()}
    runs: dict[str, list[int]] = {"": [*range(int((~empty).sum()))]}
    if run_column:
        runs = {}
        for row, cell in enumerate(table.named(run_column)):
            runs.setdefault(str(cell).strip(), []).append(row)
    for k, rows in enumerate(runs.values()):
        where = f"recording {k} of {path}"
        one = {name: value[rows] for name, value in values.items()}
        with located(where):
            timed: dict[str, Any] = {"time_step": options.time_step}
            if columns.time is not None and options.time_step is None:
                cells = table.named(columns.time)[rows]
                timed, one = _timed(cells, columns.time, one, where, options)
            arrays = _arrays(one, columns, timed)
        yield where, arrays


def _found(
    table: Table, options: ReadOptions, step: float | None
) -> tuple[ReadOptions, Columns, str | None]:
    """Return the options with a time step, the columns, and that of runs if any."""
    path, time = Path(table.path), None
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
    )
    return options, columns, run_column


def _timed(
    cells: np.ndarray,
    name: str,
    values: dict[str, np.ndarray],
    where: str,
    options: ReadOptions,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the time step and the times, and the samples that have their own time."""
    if len(cells) < 2:
        raise RobooptError(
            f"a recording must hold at least 2 samples, got {len(cells)}."
        )
    stamps = read_stamps(cells, unit_scale(name), name)
    if (back := np.diff(stamps.seconds) < 0).any():
        row = int(back.argmax())
        raise RobooptError(
            f"`times` must increase, but sample {row + 1} is "
            f"{stamps.seconds[row] - stamps.seconds[row + 1]:.4g} s before sample "
            f"{row}: sort the samples by time, or cut the recording there."
        )
    keep, note = strictly_later(stamps, np.stack([*values.values()], axis=1))
    for text in (stamps.note, note):
        if text:
            options.note(f"{where}: {text}")
    if keep.sum() < 2:
        raise RobooptError("`times` must increase, but all samples have one stamp.")
    timed = even_step(stamps.seconds[keep], stamps.resolution)
    return timed, {name: value[keep] for name, value in values.items()}


def _arrays(
    values: Mapping[str, np.ndarray], columns: Columns, timed: dict[str, Any]
) -> dict[str, Any]:
    assert columns.positions and columns.efforts
    count = len(values[columns.positions[0]])
    if count < 2:
        raise RobooptError(f"a recording must hold at least 2 samples, got {count}.")
    positions = np.stack([values[name] for name in columns.positions], axis=1)
    if columns.velocities is None:
        stamps = timed.get("times", timed["time_step"] * np.arange(count))
        velocities = differentiate(positions, stamps)
    else:
        velocities = np.stack([values[name] for name in columns.velocities], axis=1)
    idle = np.zeros(count)
    efforts = [idle if name is None else values[name] for name in columns.efforts]
    observations = np.hstack([positions, velocities])
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
    table: Table, observed: Sequence[str], acted: Sequence[str]
) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        name: np.stack([*table.arrays(columns).values()], axis=1)
        for name, columns in (("observations", observed), ("actions", acted))
    }
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
        arrays["times"] = read_stamps(table.named(time), unit_scale(time), time).seconds
    return arrays


def _constant(table: Table, name: str) -> bool:
    column = table.named(name)
    return len(column) > 1 and bool((column == column[0]).all())


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


def _with_joint_names(table: Table, options: ReadOptions) -> Table:
    """Return a table of joint states with the joints' names in its header.

    `field.name0` holds the name of the joint of `field.position0`, as `rostopic echo
    -p` writes it. Rows with other names, of another publisher, are left out.
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
    keep = np.array([row == common for row in names])
    if not keep.all():
        options.note(
            f"{(~keep).sum()} rows of {Path(table.path).name} name other joints: left "
            "out."
        )
    joints = dict(zip(places, common, strict=True))
    header = []
    for name in table.header:
        found = re.fullmatch(
            r"(.*?)(position|velocity or effort|velocity|effort)[\[_.]?(\d+)\]?",
            name.lower(),
        )
        joint = found and joints.get((found[1], found[3]))
        header.append(f"{found[2]} {joint}" if found and joint else name)
    return Table(table.path, tuple(header), table.columns).rows(keep)
