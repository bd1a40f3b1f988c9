"""Recordings in tables: one row a sample, one column a quantity."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import expansion_limit
from roboopt.data._smoothing import differentiate
from roboopt.data.io._arrays import Arrays, ReadOptions, located
from roboopt.data.io._columns import Columns, find_columns, unit_scale

MAX_LINE = 2**22  # characters
MAX_COLUMNS = 10_000
EVEN_STEP_TOLERANCE = 1e-6  # relative deviation from the mean step


def read_csv(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table."""
    try:
        with _open(path) as file:
            yield from _recordings(file, path, options)
    except (UnicodeDecodeError, zlib.error, EOFError, csv.Error, OSError) as error:
        raise RobooptError(f"`path` must be a table, but {path}: {error}") from error


def _recordings(
    file: Any, path: Path, options: ReadOptions
) -> Iterator[tuple[str, Arrays]]:
    text = _lines(file, path)
    first = next(text, "")
    delimiter = max(",;\t", key=first.count)
    (header,) = csv.reader([first.lstrip("# ").rstrip("\r\n")], delimiter=delimiter)
    header = [name.strip() for name in header]
    if len(header) > MAX_COLUMNS:
        raise RobooptError(
            f"`path` must have at most {MAX_COLUMNS} columns, but {path} has "
            f"{len(header)}."
        )
    columns, run_column = find_columns(
        header,
        options.columns,
        options.joints,
        timed=options.time_step is None,
        path=path,
    )
    table = csv.reader(text, delimiter=delimiter)
    rows = [row for row in table if row and not row[0].startswith("#")]
    if not rows:
        raise RobooptError(f"`path` must hold samples, but {path} holds none.")
    if columns.velocities is None:
        options.estimated.append(path.name)
    places = [header.index(name) for name in columns.names]
    runs: dict[str, list[list[float]]] = {}
    try:
        for row in rows:
            run = row[header.index(run_column)].strip() if run_column else ""
            # A cell may be empty, such as the effort of the last sample.
            numbers = [float(row[k].strip() or "nan") for k in places]
            runs.setdefault(run, []).append(numbers)
    except (ValueError, IndexError) as error:
        raise RobooptError(f"`path` must hold numbers, but {path}: {error}") from error
    scale = [unit_scale(name) for name in columns.names]
    for k, samples in enumerate(runs.values()):
        values = dict(zip(columns.names, (np.array(samples) * scale).T, strict=True))
        where = f"recording {k} of {path}"
        with located(where):
            arrays = _arrays(values, columns, options.time_step)
        yield where, arrays


def _lines(file: TextIOWrapper, path: Path) -> Iterator[str]:
    """Yield the lines of a table, refused where one or all of them go on and on."""
    left = expansion_limit(path)
    while line := file.readline(MAX_LINE + 1):
        left -= len(line)
        if len(line) > MAX_LINE or left < 0:
            what = "all" if left < 0 else "line"
            limit = expansion_limit(path) if left < 0 else MAX_LINE
            raise RobooptError(
                f"`path` must be a table of at most {limit} characters in {what}, but "
                f"{path} goes on."
            )
        yield line


def _open(path: Path) -> TextIOWrapper:
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _arrays(
    values: Mapping[str, np.ndarray], columns: Columns, time_step: float | None
) -> dict[str, Any]:
    assert columns.positions and columns.efforts
    count = len(values[columns.positions[0]])
    if count < 2:
        raise RobooptError(f"a recording must hold at least 2 samples, got {count}.")
    timed: dict[str, Any] = {"time_step": time_step}
    if time_step is None:
        assert columns.time is not None
        timed = _even_step(values[columns.time])
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


def _even_step(times: np.ndarray) -> dict[str, Any]:
    """Return the mean step [s], and the times from 0 on if their steps are uneven."""
    times = times - times[0]
    step = float(times[-1] / (len(times) - 1))
    if not 0 < step < np.inf:
        raise RobooptError(f"`times` must increase, but their mean step is {step} s.")
    even = np.abs(np.diff(times) - step).max() <= EVEN_STEP_TOLERANCE * step
    return {"time_step": step} if even else {"time_step": step, "times": times}
