"""The velocity scale of each joint's Coulomb friction, from recordings.

Friction c tanh(q̇ / v_s) is linear in c, not in v_s. The efforts of one joint are fitted
by least squares in all numbers, possible or not, with each of several scales; one that
explains clearly more than the scale of the model is taken. Scales far below the speeds
of the recording are all alike, and those near them are viscous friction.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, is_condensable
from roboopt.sysid._nearest_possible import free_numbers

SHARES = np.geomspace(1e-3, 0.3, 21)  # of the root mean square speed
MIN_GAIN = 0.02  # of the error of the efforts
MIN_SINGULAR = 1e-10  # relative


def with_friction_velocity(
    model: ParametricTwin, error: InverseDynamicsError, data: Trajectory
) -> ParametricTwin:
    """Return the model with the scales that the recordings show.

    A scale stays where the joint's friction is not fitted or another explains no more.
    """
    if not is_condensable(error, model):
        return model
    robot, joints = model.inner.robot, model.joints
    given = np.array(np.broadcast_to(robot.friction_velocity, joints), float)
    speed = np.asarray(data.observations)[..., joints : 2 * joints]
    speed = np.sqrt(np.mean(speed**2, tuple(range(speed.ndim - 1))))
    scales = SHARES * np.where(speed > 0, speed, 1.0)[:, None]
    condensed = Condensed.of(error, model, data, scales)
    free = free_numbers(model)[0]
    numbers = np.asarray(linear_parameters(model), float)
    # After the bodies' numbers: damping, friction, armature and offset of each joint.
    first = free.size - 3 * joints
    found = given.copy()
    for joint in np.flatnonzero(free[first : first + joints]).tolist():
        factor, own = condensed.factors[joint], scales[joint]
        errors, slopes = _fits(factor, numbers, free, first + joint)
        best = int(np.argmin(np.where(slopes[1:] > 0, errors[1:], np.inf))) + 1
        if slopes[best] > 0 and errors[best] < (1 - MIN_GAIN) * errors[0]:
            found[joint] = own[best - 1]
    if np.array_equal(found, given):
        return model
    scaled = lambda t: t.robot.friction_velocity  # noqa: E731
    twin = eqx.tree_at(scaled, model.inner, jnp.asarray(found))
    groups = [joined.split(" = ") for joined in model.names]
    names = [name for group in groups for name in group]
    return ParametricTwin(twin, names, ties=[g for g in groups if len(g) > 1])


def _fits(
    factor: np.ndarray, numbers: np.ndarray, free: np.ndarray, friction: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error and the friction of least squares, by the scale.

    The first is the scale of the model, those of the further columns follow.

    Args:
        factor: triangle of one joint's efforts, from `Condensed`.
        numbers: of the robot as given, which those that are not free keep.
        free: which are fitted.
        friction: the number of the joint's friction.
    """
    count = free.size
    right = factor[:, -1] - factor[:, :count] @ np.where(free, 0.0, numbers)
    others = free.copy()
    others[friction] = False
    left = factor[:, :count][:, others]
    size = np.linalg.norm(left, axis=0)
    left = left[:, size > 0] / size[size > 0]
    errors, slopes = [], []
    for column in (friction, *range(count, factor.shape[1] - 1)):
        length = np.linalg.norm(factor[:, column])
        one = factor[:, column : column + 1] / (length if length > 0 else 1.0)
        matrix = np.concatenate([one, left], 1)
        fitted = np.linalg.lstsq(matrix, right, rcond=MIN_SINGULAR)[0]
        errors.append(np.linalg.norm(matrix @ fitted - right))
        slopes.append(fitted[0])
    return np.array(errors), np.array(slopes)
