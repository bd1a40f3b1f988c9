"""Recordings in tables: one row a sample, one column a quantity."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._smoothing import differentiate
from roboopt.data._trajectory import Trajectory
from roboopt.data.io._columns import Columns, Layout, find_columns, unit_scale

EVEN_STEP_TOLERANCE = 1e-6  # relative deviation from the mean step


def load_csv(
    path: Path,
    columns: Columns | None,
    joints: Sequence[str] | None,
    time_step: float | None,
) -> tuple[list[Trajectory], bool]:
    """Return the recordings in `path`, and whether their velocities are estimates.

    Raises:
        RobooptError: if `path` is not a table of numbers under names, lacks a column or
            has an ambiguous one, or holds a recording of fewer than 2 samples or of
            decreasing times.
    """
    with _open(path) as file:
        line = file.readline()
    delimiter = max(",;\t", key=line.count)
    (header,) = csv.reader([line.lstrip("# ").rstrip("\r\n")], delimiter=delimiter)
    header = [name.strip() for name in header]
    layout = find_columns(header, columns, joints, timed=time_step is None, path=path)
    values = _numbers(path, header, layout, delimiter)
    runs = []
    for rows in _runs(path, header, layout, delimiter, len(values)):
        one = {name: values[rows, k] for k, name in enumerate(layout.names)}
        try:
            runs.append(_trajectory(one, layout, time_step, int(rows.sum())))
        except RobooptError as error:
            raise RobooptError(
                f"`path` must hold valid recordings; recording {len(runs)} of {path}: "
                f"{error}"
            ) from error
    return runs, layout.velocities is None


def _open(path: Path) -> TextIOWrapper:
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _numbers(
    path: Path, header: list[str], layout: Layout, delimiter: str
) -> np.ndarray:
    places = [header.index(name) for name in layout.names]

    def read(converters: object) -> np.ndarray:
        with _open(path) as file:
            return np.loadtxt(
                file,
                delimiter=delimiter,
                skiprows=1,
                usecols=places,
                ndmin=2,
                quotechar='"',
                converters=converters,  # type: ignore
            )

    try:
        try:
            values = read(None)
        except ValueError:
            # The slow way accepts empty cells, such as the effort of the last sample.
            values = read(lambda text: float(text) if text.strip() else np.nan)
    except (ValueError, IndexError) as error:
        raise RobooptError(f"`path` must hold numbers, but {path}: {error}") from error
    return values * [unit_scale(name) for name in layout.names]


def _runs(
    path: Path, header: list[str], layout: Layout, delimiter: str, rows: int
) -> Iterator[np.ndarray]:
    """Yield which rows belong to each recording, in the order of their first rows."""
    if layout.run is None:
        yield np.ones(rows, bool)
        return
    place = header.index(layout.run)
    with _open(path) as file:
        table = csv.reader(file, delimiter=delimiter)
        labels = np.array([row[place].strip() for row in table if row][1:])
    for label in dict.fromkeys(labels.tolist()):
        yield labels == label


def _trajectory(
    values: dict[str, np.ndarray], layout: Layout, time_step: float | None, rows: int
) -> Trajectory:
    if rows < 2:
        raise RobooptError(f"a recording must hold at least 2 samples, got {rows}.")
    times = None
    if time_step is None:
        assert layout.time is not None
        time_step, times = _even_step(values[layout.time])
    positions = np.stack([values[name] for name in layout.positions], axis=1)
    if layout.velocities is None:
        stamps = time_step * np.arange(rows) if times is None else times
        velocities = differentiate(positions, stamps)
    else:
        velocities = np.stack([values[name] for name in layout.velocities], axis=1)
    idle = np.zeros(rows)
    efforts = [idle if name is None else values[name] for name in layout.efforts]
    return Trajectory(
        observations=np.hstack([positions, velocities]),
        # The last effort acts after the last observation.
        actions=np.stack(efforts, axis=1)[:-1],
        time_step=time_step,
        times=times,
    )


def _even_step(times: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Return the mean step [s], and the times from 0 on if their steps are uneven."""
    times = times - times[0]
    step = float(times[-1] / (len(times) - 1))
    if not 0 < step < np.inf:
        raise RobooptError(f"`times` must increase, but their mean step is {step} s.")
    even = np.abs(np.diff(times) - step).max() <= EVEN_STEP_TOLERANCE * step
    return step, None if even else times
