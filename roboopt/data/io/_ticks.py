"""Positions that are whole numbers: ticks of an encoder, in no unit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._units import unit_of

MIN_LEVELS = 20  # of numbers that are no states of a switch
MIN_RANGE = 100.0  # rad or m: sixteen turns of a joint


def require_no_ticks(
    values: Mapping[str, np.ndarray], positions: Sequence[str], path: Path
) -> None:
    """Raise a `RobooptError` for positions without a unit that seem to be ticks."""
    for name in positions:
        found = values[name][~np.isnan(values[name])]
        if unit_of(name) or not len(found) or np.mod(found, 1).any():
            continue
        if np.ptp(found) >= MIN_RANGE and len(np.unique(found)) >= MIN_LEVELS:
            raise RobooptError(
                f"`path` must hold positions in rad or m, but {name} of {path} holds "
                f"whole numbers from {found.min():g} to {found.max():g}, as ticks of "
                "an encoder: multiply them by 2π over the ticks of a turn (4096 of "
                "many servos), and velocities likewise, or name the column with its "
                f"unit, such as `{name} [deg]`."
            )
