"""Open-loop control by a cubic spline through efforts at even times.

Between two knots the spline is the Hermite cubic with the Catmull-Rom slopes
(p_{i+1} − p_{i−1}) / 2: its first derivative is continuous, and a knot changes it only
within two intervals.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, compiled
from roboopt._errors import require, require_positive
from roboopt._readable import Readable
from roboopt.policies._protocol import OpenLoop, Time


class OpenLoopSpline(Readable, OpenLoop):
    """Efforts over time, through knots; constant after the last."""

    knots: Float[Array, "knot act"]
    """[N·m or N], the first at time 0."""
    duration: float = eqx.field(static=True)
    """Time of the last knot [s]."""

    def __init__(self, knots: Float[AnyArray, "..."], duration: float):
        """Interpolate two or more `knots` over `duration` [s]."""
        knots = jnp.asarray(knots, float)
        rule = "have shape (2 or more, actions)"
        require(knots.ndim == 2 and knots.shape[0] >= 2, "knots", rule, knots.shape)
        require_positive(duration=duration)
        self.knots, self.duration = knots, float(duration)

    def __call__(self, time: Time) -> Float[Array, " act"]:
        """Return the effort at `time` [s]."""
        return self._at(jnp.asarray(time))

    @compiled
    def _at(self, time: Array) -> Float[Array, " act"]:
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
