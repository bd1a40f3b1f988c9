"""Checks and arithmetic of actuated joints and effort limits, shared by dynamics."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import RobooptError, floats, require, require_positive


def checked_time_step(time_step: float) -> float:
    """Return a positive, finite time step [s]."""
    require_positive(time_step=time_step)
    return float(time_step)


def checked_actuated(
    actuated: Sequence[int] | None, joints: int, count: int | None = None
) -> tuple[int, ...]:
    """Return the numbers of `count` different joints; all joints for None."""
    numbers = tuple(range(joints)) if actuated is None else tuple(actuated)
    known = len(set(numbers) & set(range(joints))) == len(numbers)
    if not known or count not in (None, len(numbers)):
        wanted = "joints" if count is None else f"{count} joint(s), one an action,"
        raise RobooptError(
            f"`actuated` must name {wanted} of 0 to {joints - 1} once each, by their "
            f"numbers, got {actuated!r}."
        )
    return numbers


def checked_effort_limits(limits: Any, count: int) -> Float[Array, " act"]:
    """Return `count` positive effort limits [N·m or N]."""
    given = floats("effort_limits", limits)
    valid = given.shape in ((), (count,)) and np.all(given > 0)
    rule = f"be one positive number or {count} of them"
    require(valid, "effort_limits", rule, limits)
    return jnp.asarray(np.broadcast_to(given, (count,)))


def clipped(
    action: Float[Array, " act"], limits: Float[Array, " act"]
) -> Float[Array, " act"]:
    """Return the action within ±`limits`."""
    limits = limits.astype(action.dtype)
    return jnp.clip(action, -limits, limits)


def joint_effort(
    applied: Float[Array, " act"], actuated: tuple[int, ...], joints: int
) -> Float[Array, " joint"]:
    """Return the effort on every joint, 0 on joints that are not actuated."""
    if actuated == tuple(range(joints)):
        return applied
    return jnp.zeros(joints, applied.dtype).at[np.array(actuated)].set(applied)
