"""Checks of samples against the space of their environment.

A sample beyond its bounds by a telling factor is in another unit: 57.3 for degrees in
place of radians; or the space is ±1, for values divided by their largest, and the
samples are not; or the other way round.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.diagnose._finding import DEGREES_PER_RADIAN, Finding, error, warning

ROUNDING = 1e-6  # of the bounds: single precision
MIN_UNIT_RATIO = 3.0  # of the bounds: no actuator overshoots so far
MIN_NORMALIZED_PEAK = 0.99
MAX_AXES_NAMED = 6
ADVICE = {
    "action": "the environment clips or refuses those; record what was applied, or "
    "clip them and pass `low` and `high` to the demonstrations",
    "observation": "compare their order and units with the environment's",
}


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Limits of a Gymnasium space, axis by axis."""

    low: np.ndarray
    high: np.ndarray
    discrete: bool
    """Whether the values are whole numbers."""

    @classmethod
    def of(cls, space: Any, name: str) -> "Bounds":
        """Return the bounds of a Box, Discrete, MultiDiscrete or MultiBinary space."""
        discrete = True
        if hasattr(space, "low") and hasattr(space, "high"):
            low, high = np.ravel(space.low), np.ravel(space.high)
            discrete = np.dtype(space.dtype).kind in "iub"
        elif hasattr(space, "nvec"):
            low = np.ravel(getattr(space, "start", np.zeros_like(space.nvec)))
            high = low + np.ravel(space.nvec) - 1
        elif type(space).__name__ == "MultiBinary":
            low = np.zeros(int(np.prod(space.shape)))
            high = low + 1
        elif hasattr(space, "n"):
            low = np.array([getattr(space, "start", 0)])
            high = low + space.n - 1
        else:
            raise RobooptError(
                f"`{name}` must be a space of Box, Discrete, MultiDiscrete or "
                f"MultiBinary, got {type(space).__name__}."
            )
        return cls(low.astype(float), high.astype(float), discrete)


def check_space(values: np.ndarray, bounds: Bounds, name: str) -> list[Finding]:
    """Find samples (sample, axis) of another size, kind or range than the space's."""
    size = values.shape[1]
    wrong = []
    if size != len(bounds.low):
        wrong.append(
            error(
                "another_environment",
                f"the {name}s have size {size}, but those of the environment have "
                f"{len(bounds.low)}: the dataset is one of another environment, or its "
                f"{name}s were flattened, stacked or cut; take the environment that "
                "they were recorded in, or bring them to its form.",
            )
        )
    if name == "action":
        wrong += _kind(values, bounds)
    if wrong:
        return wrong
    if name == "action" and bounds.discrete:
        return [*_labels(values, bounds)]
    wrong = [*_range(values, bounds, name)]
    if name == "action" and all(found.severity == "warning" for found in wrong):
        wrong += _normalized(values, bounds)
    return wrong


def _kind(values: np.ndarray, bounds: Bounds) -> Iterator[Finding]:
    """Find numbers where the environment has choices, or the other way round."""
    whole = values.dtype.kind in "iub"
    if bounds.discrete and not whole:
        advice = "and not all of them are whole: they are of another action space"
        if (values == np.round(values)).all():
            advice = "though all of them are whole: convert them by `astype(int)`"
        yield error(
            "numbers_for_choices",
            "the environment's actions are choices, but those recorded are of type "
            f"{values.dtype}, {advice}.",
        )
    elif whole and not bounds.discrete:
        yield error(
            "choices_for_numbers",
            "the environment's actions are continuous, but those recorded are of type "
            f"{values.dtype}: if they are values, convert them by `astype(float)`; if "
            "they number choices, look up what each of them stands for.",
        )


def _labels(values: np.ndarray, bounds: Bounds) -> Iterator[Finding]:
    """Find choices that the space does not have."""
    for axis, column in enumerate(values.T):
        low, high = bounds.low[axis], bounds.high[axis]
        bad = (column < low) | (column > high)
        if bad.any():
            yield error(
                "label_out_of_range",
                f"the action must be one of {low:g} to {high:g}, but is {column.min()} "
                f"to {column.max()} and beyond these in {_share(bad)}: number the "
                "choices as the environment does.",
                f"action axis {axis}",
            )


def _range(values: np.ndarray, bounds: Bounds, name: str) -> Iterator[Finding]:
    """Find axes that leave their bounds, those with one guess at the reason at once."""
    unit_box = bool((bounds.low == -1).all() and (bounds.high == 1).all())
    found: dict[str, dict[int, str]] = {}
    largest: dict[str, float] = {}
    for axis, column in enumerate(values.T):
        low, high = float(bounds.low[axis]), float(bounds.high[axis])
        span = high - low if math.isfinite(high - low) else 0.0
        finite = [abs(x) for x in (low, high, 1) if math.isfinite(x)]
        room = ROUNDING * (span or max(finite))
        bad = (column < low - room) | (column > high + room)
        if not bad.any():
            continue
        beyond = float(max(low - column.min(), column.max() - high))
        reach = max(abs(low), abs(high))
        ratio = float(np.abs(column).max()) / reach if reach else math.inf
        guess = _unit_guess(ratio, unit_box)
        largest[guess] = max(ratio, largest.get(guess, 0.0))
        found.setdefault(guess, {})[axis] = (
            f"goes {beyond:.3g} beyond its bounds {low:.4g} to {high:.4g}, in "
            f"{_share(bad)}"
        )
    for guess, axes in found.items():
        make = error if guess and name == "action" else warning
        texts = [*axes.values()]
        said = f"the {name} {texts[0]}"
        if len(axes) > 1:
            each = [f"axis {axis} {text}" for axis, text in axes.items()]
            said = "; ".join(each[:MAX_AXES_NAMED])
            if (rest := len(each) - MAX_AXES_NAMED) > 0:
                said += f"; and so do{'es' * (rest == 1)} {rest} more"
        yield make(
            f"{name}_out_of_range",
            f"{said}: {guess.format(largest[guess]) or ADVICE[name]}.",
            f"{name} {'axes' if len(axes) > 1 else 'axis'} {', '.join(map(str, axes))}",
        )


def _unit_guess(ratio: float, unit_box: bool) -> str:
    """Return the unit that values seem to be in, if it is telling how large they are.

    Args:
        ratio: of the largest value to the bounds, for the braces in what is returned.
        unit_box: whether the space is normalized.
    """
    if ratio < MIN_UNIT_RATIO or not math.isfinite(ratio):
        return ""
    if unit_box:
        return (
            "the space is normalized to ±1 and they are {:.3g} times as large; "
            "if they are in physical units, divide them by the largest that the "
            "environment allows"
        )
    said = "they reach {:.3g} times the bounds"
    if 0.3 <= ratio / DEGREES_PER_RADIAN <= 1.05:
        return (
            f"{said}, and would keep to them in degrees; convert them to radians, or "
            "find what else scales them"
        )
    return f"{said}; compare the units"


def _normalized(values: np.ndarray, bounds: Bounds) -> Iterator[Finding]:
    """Find actions that seem divided by their largest, unlike the space's."""
    reach = np.minimum(np.abs(bounds.low), np.abs(bounds.high))
    largest = np.abs(values).max(axis=0, initial=0)
    small = (reach >= MIN_UNIT_RATIO) & (largest <= 1 + ROUNDING)
    if small.any() and small.all() and largest.max() >= MIN_NORMALIZED_PEAK:
        yield warning(
            "normalized",
            f"all actions are within ±1 and reach {largest.max():.4g}, but the "
            f"environment's go to {reach.min():.4g}: if they were divided by their "
            "largest, multiply them by it.",
        )


def _share(bad: np.ndarray) -> str:
    return f"{int(bad.sum())} of {len(bad)} samples ({100 * bad.mean():.2g} %)"
