"""Reference trajectories from tables: of the joints, or of the tool.

A table has a column `time` [s], which counts from the first sample, and either one
column for each joint, by its name [rad or m], or the columns `x`, `y` and `z` of the
tool's path in the world [m], or some of them: the other coordinates are free. Units in
brackets, as in `shoulder [deg]`, are converted. A path of the tool becomes one of the
joints, sample by sample, by damped least squares (Nakamura and Hanafusa, 1986) from the
solution of the sample before.
"""

import csv
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require

from ._tool_chain import ToolChain

PATH = "x", "y", "z"
UNITS = {"s": ("s", 1.0), "rad": ("rad", 1.0), "m": ("m", 1.0), "ms": ("s", 1e-3)}
UNITS |= {"deg": ("rad", math.pi / 180), "mm": ("m", 1e-3), "cm": ("m", 1e-2)}
MAX_ITERATIONS = 200
REACHED = 1e-6  # m: how near the tool must come to a sample
DAMPING = 1e-6  # of the least squares, relative to the square of the largest lever
COMPLEX_STEP = 1e-30


def read_table(reference: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the columns of a reference, or of a CSV file, and stated SI units."""
    columns: Mapping[str, Any]
    if isinstance(reference, Mapping):
        columns = reference
    else:
        try:
            with open(reference, encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file) if any(row)]
        except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RobooptError(
                f"`reference` must be a CSV file, got {reference}: {reason}."
            ) from error
        header, samples = rows[0] if rows else [], rows[1:]
        counts = {len(row) for row in samples} or {0}
        if counts != {len(header)} or len(set(header)) < len(header):
            raise RobooptError(
                "`reference` must be a CSV file with a row of different names above "
                f"samples of as many numbers, got {reference}: {header} above rows of "
                f"{sorted(counts)} numbers."
            )
        columns = {name: [row[k] for row in samples] for k, name in enumerate(header)}
    found: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for header, values in columns.items():
        name, unit, numbers = _column(header, values)
        require(name not in found, "reference", "have one column of a name", header)
        found[name] = numbers
        units |= {name: unit} if unit else {}
    _check_units(units, {"time": "s"})
    if len({len(values) for values in found.values()}) != 1 or "time" not in found:
        lengths = {name: len(values) for name, values in found.items()}
        raise RobooptError(
            "`reference` must hold a column `time` and others of the same length, got "
            f"{lengths}."
        )
    if len(found["time"]) < 2 or (np.diff(found["time"]) <= 0).any():
        raise RobooptError(
            "`reference` must have at least two times that increase, got "
            f"{np.array2string(found['time'], threshold=8)}."
        )
    found["time"] = found["time"] - found["time"][0]
    return found, units


def _check_units(units: Mapping[str, str], meant: Mapping[str, str]) -> None:
    """Refuse a column whose stated unit does not measure what the column holds."""
    for name, unit in units.items():
        rule = f"have {name} in a unit of {meant.get(name)}"
        require(unit == meant.get(name, unit), "reference", rule, unit)


def _column(name: str, values: Any) -> tuple[str, str, np.ndarray]:
    """Return a column's name, its SI unit where one is stated, and its values in it."""
    plain, bracket, unit = name.strip().partition("[")
    unit = unit.rstrip("] ") if bracket else ""
    try:
        numbers = np.array(values, dtype=str).astype(float)
    except ValueError:
        numbers = np.array(np.nan)
    si, factor = UNITS.get(unit, ("", 1.0))
    known = si or not bracket
    if numbers.ndim != 1 or not np.isfinite(numbers).all() or not known:
        shown = np.array2string(np.asarray(values), threshold=8)
        raise RobooptError(
            f"`reference` must hold finite numbers in units of {', '.join(UNITS)}, got "
            f"the column {name!r} of {shown}."
        )
    return plain.strip(), si, factor * numbers


def joint_positions(
    table: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    joints: Mapping[str, str],
    chain: ToolChain,
    limits: np.ndarray,
    first: np.ndarray,
) -> np.ndarray:
    """Return the joints' positions of a table, (T, n) [rad or m].

    The table states `units`, and the joints have theirs by name. Limits (2, n) that are
    no range do not count. A path's first sample is solved for from each of `first`, (k,
    n).
    """
    others, names = set(table) - {"time"}, list(joints)
    free = limits[0] >= limits[1]
    limits = np.where(free, [[-np.inf], [np.inf]], limits)
    if others == set(names):
        _check_units(units, joints)
        q = np.stack([table[name] for name in names], axis=-1)
        beyond = np.maximum(limits[0] - q, q - limits[1])
        row, k = np.unravel_index(np.argmax(beyond), q.shape)
        if beyond[row, k] > REACHED:
            raise RobooptError(
                f"`reference` must stay within the joints' limits, {limits[:, k]} of "
                f"{names[k]}, got {q[row, k]:g} {joints[names[k]]} at "
                f"{table['time'][row]:g} s."
            )
        return q
    if not others or others - set(PATH):
        raise RobooptError(
            f"`reference` must have, beside `time`, the columns {names}, or some "
            f"of {list(PATH)}, got {sorted(others)}."
        )
    _check_units(units, dict.fromkeys(PATH, "m"))
    axes = [axis for axis, name in enumerate(PATH) if name in table]
    points = np.stack([table[PATH[axis]] for axis in axes], axis=-1)

    def miss(point: np.ndarray, q: np.ndarray) -> float:
        return float(np.linalg.norm(point - chain.position(q)[axes]))

    begins = [_solved(chain, axes, points[0], q, limits) for q in first]
    rows = [min(begins, key=lambda q: miss(points[0], q))]
    for point in points[1:]:
        rows.append(_solved(chain, axes, point, rows[-1], limits))
    missed = list(map(miss, points, rows))
    if max(missed) > REACHED:
        worst = int(np.argmax(missed))
        raise RobooptError(
            "`reference` must be a path that the tool reaches within the joints' "
            f"limits, got {points[worst].tolist()} m at {table['time'][worst]:g} s, of "
            f"which the tool stays {missed[worst]:.2g} m away, at "
            f"{chain.position(rows[worst]).round(4).tolist()}."
        )
    return np.array(rows)


def _solved(
    chain: ToolChain,
    axes: list[int],
    point: np.ndarray,
    q: np.ndarray,
    limits: np.ndarray,
) -> np.ndarray:
    """Return a configuration near `q` whose tool is at `point`, or as near as found."""
    for _ in range(MAX_ITERATIONS):
        error = point - chain.position(q)[axes]
        if np.linalg.norm(error) < REACHED / 1000:
            break
        steps = q + COMPLEX_STEP * 1j * np.eye(len(q))
        jacobian = chain.position(steps).imag.T[axes] / COMPLEX_STEP
        square = jacobian @ jacobian.T
        square += max(DAMPING * np.trace(square), 1e-12) * np.eye(len(axes))
        step = jacobian.T @ np.linalg.solve(square, error)
        step *= min(1.0, 0.5 / max(np.abs(step).max(), 1e-12))
        q = np.clip(q + step, *limits)
    return q
