"""Tables of any source, one row a sample: recordings of joints, or demonstrations."""

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
from roboopt.data.io._boundaries import BOUNDARIES
from roboopt.data.io._columns import (
    Columns,
    find_columns,
    find_time,
    is_current,
    unit_scale,
)
from roboopt.data.io._times import even_step, read_stamps, strictly_later

OBSERVED = ("observation", "observations", "obs", "state", "states")
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
        """Return a column as numbers; an empty cell is NaN."""
        column = self.named(name)
        if column.dtype.kind in "fiub":
            return column.astype(float)
        try:
            return np.array([_number(cell) for cell in column])
        except (TypeError, ValueError) as error:
            text = f"`path` must hold numbers, but {self.path}: {error}"
            raise RobooptError(text) from error

    def rows(self, keep: np.ndarray) -> "Table":
        """Return the table with some of its rows."""
        columns = {place: column[keep] for place, column in self.columns.items()}
        return Table(self.path, self.header, columns)


def _number(cell: Any) -> float:
    text = str(cell).strip()
    flags = {"": "nan", "none": "nan", "true": "1", "false": "0"}
    return float(flags.get(text.lower(), text))


def read_table(table: Table, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table."""
    demonstrated = [_columns_of(table.header, words) for words in (OBSERVED, ACTED)]
    if options.joints is None and options.columns is None and all(demonstrated):
        yield table.path, _demonstrations(table, *demonstrated)
        return
    table = _with_joint_names(table, options)
    path = Path(table.path)
    time = None
    if options.time_step is None:
        given = options.columns and options.columns.time
        moving = [name for name in table.header if not _constant(table, name)]
        time = given or find_time(table.header, moving, path)
    columns, run_column = find_columns(
        table.header,
        options.columns,
        options.joints,
        time=time,
        driven=options.driven,
        path=path,
    )
    if columns.velocities is None:
        options.estimated.append(path.name)
    if any(name and is_current(name) for name in columns.efforts or ()):
        options.note(
            f"{path.name} holds currents as efforts: what is identified from them is "
            "in units of the motors' torque constants."
        )
    names = [name for name in columns.names if name != columns.time]
    values = {name: table.numbers(name) * (unit_scale(name) or 1.0) for name in names}
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
    runs = [""] * int((~empty).sum())
    if run_column:
        runs = [str(cell).strip() for cell in table.named(run_column)]
    for k, run in enumerate(dict.fromkeys(runs)):
        rows = np.array([other == run for other in runs])
        where = f"recording {k} of {path}"
        one = {name: value[rows] for name, value in values.items()}
        with located(where):
            timed: dict[str, Any] = {"time_step": options.time_step}
            if columns.time is not None and options.time_step is None:
                cells = table.named(columns.time)[rows]
                timed, one = _timed(cells, columns.time, one, where, options)
            arrays = _arrays(one, columns, timed)
        yield where, arrays


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
    """Return the columns whose names begin with one of some words, in their order."""
    found = []
    for name in header:
        first = re.match(r"[^\W\d_]+", name.lower())
        if first and first[0] in words and name.lower() not in ("state", "states"):
            found.append(name)
    return found


def _demonstrations(
    table: Table, observed: Sequence[str], acted: Sequence[str]
) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        name: np.stack([table.numbers(column) for column in columns], axis=1)
        for name, columns in (("observations", observed), ("actions", acted))
    }
    if not np.mod(arrays["actions"], 1).any() and arrays["actions"].shape[1] == 1:
        arrays["actions"] = arrays["actions"].astype(int)
    for name in table.header:
        if name.lower() in (*BOUNDARIES, "reward", "rewards"):
            arrays[name.lower()] = table.numbers(name)
        elif name.lower() in ("episode", "run", "trial"):
            labels = [str(cell).strip() for cell in table.named(name)]
            arrays["episode_index"] = np.unique(labels, return_inverse=True)[1]
    return arrays


def _constant(table: Table, name: str) -> bool:
    column = table.named(name)
    return len(column) > 1 and bool((column == column[0]).all())


def _with_joint_names(table: Table, options: ReadOptions) -> Table:
    """Return a table of joint states with the joints' names in its header.

    `field.name0` holds the name of the joint of `field.position0`, as `rostopic echo
    -p` writes it. Rows with other names, of another publisher, are left out.
    """
    places: dict[tuple[str, str], int] = {}
    for place, name in enumerate(table.header):
        found = re.fullmatch(r"(.*?)name[\[_.]?(\d+)\]?", name.lower())
        column = table.columns[place]
        if found and column.dtype.kind == "O" and len(column):
            places[found[1], found[2]] = place
    if not places:
        return table
    names = list(zip(*(table.columns[place] for place in places.values()), strict=True))
    fits = Counter(
        row for row in names if not options.joints or set(options.joints) <= set(row)
    )
    (common, _), *others = fits.most_common() or Counter(names).most_common(1)
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
            r"(.*?)(position|velocity|effort)[\[_.]?(\d+)\]?", name.lower()
        )
        joint = found and joints.get((found[1], found[3]))
        header.append(f"{found[2]} {str(joint).strip()}" if found and joint else name)
    return Table(table.path, tuple(header), table.columns).rows(keep)
