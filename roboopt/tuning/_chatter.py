"""Chatter: a joint that is thrown back and forth at every step of the controller.

Damping d on a joint that feels the inertia M is stable in steps h only below 2M/h, and
M falls as an arm folds onto the joint's axis: gains that suit most configurations can
chatter in some.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

SPEED = 0.05  # rad/s or m/s, at each of the steps
STEPS = 12  # in a row; a joint that swings freely does not turn around so often


def chatters(observations: Any, joints: int) -> Any:
    """Return which motions [q, q̇, …] of `joints` chatter, (starts,)."""
    xp = np if isinstance(observations, np.ndarray) else jnp
    speeds = observations[..., joints : 2 * joints]
    turns = speeds[:, 1:] * speeds[:, :-1] < -(SPEED**2)
    count = xp.cumsum(turns, axis=1)
    return xp.any(count[:, STEPS:] - count[:, :-STEPS] == STEPS, axis=(1, 2))
