"""Tables whose columns have rows of their own, as where a program merges topics.

Positions arrive at one rate and efforts at another, so that a row holds what came at
its time, and its other cells are empty. The samples are those of the positions, and
every other column is interpolated between samples of its own.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import ReadOptions
from roboopt.data.io._columns import Columns, is_time
from roboopt.data.io._gaps import MAX_GAP_STEPS
from roboopt.data.io._table import Table
from roboopt.data.io._times import Stamps

MIN_SHARE_APART = 0.1  # of the samples; fewer empty cells are samples that were lost
MIN_SAMPLES = 4  # of a spline


def apart(
    values: Mapping[str, np.ndarray], positions: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Return the columns that lack samples at those of the positions, and their rows.

    Args:
        values: by name; an empty cell is NaN.
        positions: their columns, of which the one with the most samples tells the rows.
    """
    held = {name: ~np.isnan(value) for name, value in values.items()}
    rows = max((held[name] for name in positions), key=np.count_nonzero)
    found = []
    for name, own in held.items():
        lacking, others = (rows & ~own).sum(), (own & ~rows).sum()
        least = MIN_SHARE_APART * rows.sum() if others else 0.5 * rows.sum()
        if own.any() and lacking > least:
            found.append(name)
    return found, rows


def common_time(table: Table, rows: np.ndarray, name: str) -> str:
    """Return the column of times that has a cell in every row, `name` if it has.

    Args:
        table: of all rows.
        rows: which of them hold anything.
        name: of the column of times that would be read.

    Raises:
        RobooptError: if there is none.
    """
    for one in (name, *filter(is_time, table.header)):
        if all(str(cell).strip() not in ("", "nan") for cell in table.named(one)[rows]):
            return one
    raise RobooptError(
        "`path` must hold the times of all samples in one column, but in "
        f"{table.path} positions and efforts stand in different rows, and {name} is "
        "empty in some of them."
    )


def on_one_clock(
    stamps: Stamps,
    values: Mapping[str, np.ndarray],
    columns: Columns,
    others: Sequence[str],
    rows: np.ndarray,
    options: ReadOptions,
) -> tuple[Stamps, dict[str, np.ndarray]]:
    """Return the samples of the positions that all columns span, with a note.

    Positions and velocities are interpolated by cubic splines, as in `resample`, and
    efforts, which jump, linearly.

    Args:
        stamps: of all rows, none before the one above.
        values: by name; an empty cell is NaN.
        columns: what they hold.
        others: the columns to interpolate.
        rows: where the positions have their samples.
        options: the arguments of the reading.

    Raises:
        RobooptError: if a column has too few samples, or too long without any.
    """
    from scipy.interpolate import CubicSpline  # Slow to import.

    times, own, inside = stamps.seconds, {}, rows.copy()
    for name in others:
        held = np.flatnonzero(~np.isnan(values[name]))
        own[name] = held[np.append(True, np.diff(times[held]) > 0)[: len(held)]]
        if len(own[name]) < MIN_SAMPLES:
            raise RobooptError(
                f"`path` must hold at least {MIN_SAMPLES} samples of {name}, which has "
                f"rows of its own, got {len(own[name])}."
            )
        inside &= (times >= times[held[0]]) & (times <= times[held[-1]])
    at = times[inside]
    made = {name: value[inside] for name, value in values.items()}
    for name, held in own.items():
        known, steps = times[held], np.diff(times[held])
        first, last = known[(k := int(steps.argmax()))], known[k + 1]
        within = ((at > first) & (at < last)).any()
        if within and steps[k] > MAX_GAP_STEPS * np.median(steps):
            raise RobooptError(
                f"`path` must hold samples of {name} throughout, since they are "
                "interpolated to the times of the positions, but has none from "
                f"{first:.4g} s to {last:.4g} s: cut the recording there."
            )
        if name in (columns.efforts or ()):
            made[name] = np.interp(at, known, values[name][held])
        else:
            made[name] = CubicSpline(known, values[name][held])(at)
    others_step, step = (np.median(np.diff(times[k])) for k in (own[others[0]], rows))
    options.note(
        f"{', '.join(others)} have rows of their own, every {others_step:.3g} s, and "
        f"the positions every {step:.3g} s: interpolated to the times of the positions."
    )
    return dataclasses.replace(stamps, seconds=at), made
