"""Open-loop control by a cubic spline through efforts at even times.

Between two knots the spline is the Hermite cubic with the Catmull-Rom slopes
(p_{i+1} − p_{i−1}) / 2: its first derivative is continuous, and a knot changes it only
within two intervals.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt._readable import Readable
from roboopt.policies._protocol import OpenLoop


class OpenLoopSpline(Readable, OpenLoop):
    """Efforts over time, through knots; constant after the last."""

    knots: Float[Array, "knot act"]
    """[N·m or N], the first at time 0."""
    duration: float = eqx.field(static=True)
    """Time of the last knot [s]."""

    def __init__(self, knots: Float[AnyArray, "..."], duration: float):
        """Interpolate `knots` over `duration` [s].

        Raises:
            RobooptError: if there are fewer than two knots, or `duration` is not
                positive.
        """
        knots = jnp.asarray(knots, float)
        if knots.ndim != 2 or knots.shape[0] < 2:
            raise RobooptError(
                f"`knots` must have shape (2 or more, actions), got {knots.shape}."
            )
        if not 0 < duration < np.inf:
            raise RobooptError(f"`duration` must be positive, got {duration}.")
        self.knots = knots
        self.duration = float(duration)

    def __call__(self, time: Float[Array, ""]) -> Float[Array, " act"]:
        """Return the effort at `time` [s]."""
        last = self.knots.shape[0] - 1
        place = jnp.clip(time / self.duration, 0.0, 1.0) * last
        index = jnp.clip(jnp.floor(place), 0, last - 1).astype(int)
        s = (place - index).astype(self.knots.dtype)
        # Beyond the ends the end knots are repeated.
        around = jnp.clip(index + jnp.arange(-1, 3), 0, last)
        before, left, right, after = self.knots[around]
        slope_left, slope_right = (right - before) / 2, (after - left) / 2
        return (
            (2 * s**3 - 3 * s**2 + 1) * left
            + (s**3 - 2 * s**2 + s) * slope_left
            + (3 * s**2 - 2 * s**3) * right
            + (s**3 - s**2) * slope_right
        )
