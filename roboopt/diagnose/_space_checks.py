"""Checks of samples against the space of an environment that they should be of.

A sample beyond its bounds by a telling factor is in another unit: 57.3 for degrees in
place of radians; or the space is ±1, for values divided by their largest, and the
samples are not; or the other way round.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from roboopt._errors import RobooptError
from roboopt.diagnose._finding import Finding

DEGREES = 180 / math.pi
ROUNDING = 1e-6  # Of the bounds: beyond them by less is single precision.
FAR = 3.0  # Times the bounds: no actuator overshoots so far.
FULL = 0.99  # Values divided by their largest come so near to 1.


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a Gymnasium space allows, axis by axis."""

    low: np.ndarray
    high: np.ndarray
    choices: bool
    """Whether its values are whole numbers."""

    @classmethod
    def of(cls, space: Any, name: str) -> "Bounds":
        """Return the bounds of `space`: Box, Discrete, MultiDiscrete or MultiBinary.

        Raises:
            RobooptError: if it is another, naming it `name`.
        """
        kind = type(space).__name__
        if hasattr(space, "low") and hasattr(space, "high"):
            low, high = np.ravel(space.low), np.ravel(space.high)
            whole = np.dtype(space.dtype).kind in "iub"
        elif hasattr(space, "nvec"):
            low = np.ravel(getattr(space, "start", np.zeros_like(space.nvec)))
            high, whole = low + np.ravel(space.nvec) - 1, True
        elif kind == "MultiBinary":
            low = np.zeros(int(np.prod(space.shape)))
            high, whole = low + 1, True
        elif hasattr(space, "n"):
            low = np.array([getattr(space, "start", 0)])
            high, whole = low + space.n - 1, True
        else:
            raise RobooptError(
                f"`{name}` must be a space of Box, Discrete, MultiDiscrete or "
                f"MultiBinary, got {kind}."
            )
        return cls(low.astype(float), high.astype(float), whole)


def size_finding(size: int, bounds: Bounds, what: str) -> Iterator[Finding]:
    """Yield whether samples are of another size than the space."""
    if size != len(bounds.low):
        yield Finding(
            "another environment",
            f"the {what}s have size {size}, but those of the environment have "
            f"{len(bounds.low)}: this is a dataset of another environment, or its "
            f"{what}s were flattened, stacked or cut; take the environment that it was "
            "recorded in, or bring them to its form.",
            "error",
        )


def kind_finding(values: np.ndarray, bounds: Bounds) -> Iterator[Finding]:
    """Yield whether actions are numbers where they should be choices, or reversed."""
    whole = values.dtype.kind in "iub"
    if bounds.choices and not whole:
        rounded = bool((values == np.round(values)).all())
        what = (
            "though all of them are whole: convert them by `astype(int)`"
            if rounded
            else "and not all of them are whole: they are of another action space"
        )
        yield Finding(
            "numbers for choices",
            "the environment's actions are choices, but those recorded are of type "
            f"{values.dtype}, {what}.",
            "error",
        )
    elif whole and not bounds.choices:
        yield Finding(
            "choices for numbers",
            "the environment's actions are continuous, but those recorded are of type "
            f"{values.dtype}: if they are values, convert them by `astype(float)`; if "
            "they number choices, look up what each of them stood for.",
            "error",
        )


def label_findings(values: np.ndarray, bounds: Bounds) -> Iterator[Finding]:
    """Yield which choices are none of the space's."""
    for axis in range(values.shape[1]):
        column, low, high = values[:, axis], bounds.low[axis], bounds.high[axis]
        bad = (column < low) | (column > high)
        if bad.any():
            yield Finding(
                "label out of range",
                f"action axis {axis} must be one of {low:g} to {high:g}, but is "
                f"{column.min()} to {column.max()} and beyond these in {_share(bad)}: "
                "number the choices as the environment does.",
                "error",
            )


def range_findings(values: np.ndarray, bounds: Bounds, what: str) -> Iterator[Finding]:
    """Yield which axes leave their bounds, by how much, and why they may."""
    unit_box = bool((bounds.low == -1).all() and (bounds.high == 1).all())
    for axis in range(values.shape[1]):
        column = values[:, axis]
        low, high = float(bounds.low[axis]), float(bounds.high[axis])
        span = high - low if math.isfinite(high - low) else 0.0
        room = ROUNDING * (
            span or max(abs(x) for x in (low, high, 1) if math.isfinite(x))
        )
        bad = (column < low - room) | (column > high + room)
        if not bad.any():
            continue
        beyond = float(max(low - column.min(), column.max() - high))
        guess = _guess(column, low, high, unit_box, what)
        severity: Literal["error", "warning"] = (
            "error" if guess and what == "action" else "warning"
        )
        yield Finding(
            f"{what} out of range",
            f"{what} axis {axis} goes {beyond:.3g} beyond its bounds {low:.4g} to "
            f"{high:.4g}, in {_share(bad)}: {guess or _ADVICE[what]}.",
            severity,
        )


def scale_finding(values: np.ndarray, bounds: Bounds) -> Iterator[Finding]:
    """Yield whether actions seem divided by their largest, unlike the space's."""
    reach = np.minimum(np.abs(bounds.low), np.abs(bounds.high))
    largest = np.abs(values).max(axis=0)
    small = (reach >= FAR) & (largest <= 1 + ROUNDING)
    if small.any() and small.all() and largest.max() >= FULL:
        yield Finding(
            "normalized",
            f"all actions are within ±1 and reach {largest.max():.4g}, but the "
            f"environment's go to {reach.min():.4g}: if they were divided by their "
            "largest, multiply them by it.",
            "warning",
        )


_ADVICE = {
    "action": "the environment clips or refuses those; record what was applied, or "
    "clip them and pass `low` and `high` to `demonstrations`",
    "observation": "compare their order and units with the environment's",
}


def _guess(
    column: np.ndarray, low: float, high: float, unit_box: bool, what: str
) -> str | None:
    """Return in which unit the values seem to be, if the ratio is telling."""
    reach = max(abs(low), abs(high))
    if not math.isfinite(reach) or reach == 0:
        return None
    ratio = float(np.abs(column).max()) / reach
    if ratio < FAR:
        return None
    if unit_box:
        return (
            f"the space is normalized to ±1 and they are {ratio:.3g} times as large; "
            "if they are in physical units, divide them by the largest that the "
            "environment allows"
        )
    if 0.3 <= ratio / DEGREES <= 1.05:
        return (
            f"they reach {ratio:.3g} times the bounds, and would keep to them in "
            "degrees; convert them to radians, or find what else scales them"
        )
    return f"they reach {ratio:.3g} times the bounds; compare the units"


def _share(bad: np.ndarray) -> str:
    return f"{int(bad.sum())} of {len(bad)} samples ({100 * bad.mean():.2g} %)"
