"""How long a descent may go on."""

import math

import numpy as np

from roboopt._errors import RobooptError


def check_budget(steps: int, tolerance: float | None, seconds: float) -> None:
    """Raise a ValueError unless the arguments of a descent are in their ranges."""
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise RobooptError(
            f"`steps` must be a whole number of at least 1, got {steps}."
        )
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise RobooptError(
            f"`tolerance` must be finite and not negative, got {tolerance}."
        )
    if not seconds > 0:
        raise RobooptError(f"`seconds` must be positive, got {seconds}.")
