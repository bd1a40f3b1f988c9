"""The velocity scale of each joint's Coulomb friction, from recordings.

Friction c tanh(q̇ / v_s) is linear in c, not in v_s. The efforts of one joint are fitted
by least squares in all numbers, possible or not, with each of several scales; one that
explains clearly more than the scale of the model is taken. Scales far below the speeds
of the recording are all alike, and those near them are viscous friction.

Filtered efforts pass from one sign of friction to the other as slowly as the filter
answers, which looks like a large v_s: the friction of each scale is filtered as well
(`InverseDynamicsError.filter`).
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, Twin, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, is_condensable
from roboopt.sysid._nearest_possible import free_numbers

SHARES = np.geomspace(1e-3, 0.3, 21)  # of the root mean square speed
FINER = np.geomspace(0.75, 1 / 0.75, 21)  # of the best of these
MIN_GAIN = 6.0  # of χ², by which a scale is clearly better
MIN_SHARE = 0.02  # of the error, likewise where more than noise is left
MIN_SINGULAR = 1e-10  # relative


def with_friction_velocity(
    model: ParametricTwin,
    error: InverseDynamicsError,
    data: Trajectory,
    oversampling: float,
) -> tuple[ParametricTwin, tuple[int, ...]]:
    """Return the model with the scales that the recordings show, and whose they are.

    A scale stays where another explains the efforts no better than chance. That of a
    joint whose friction is not fitted is not asked for.

    Args:
        model: the robot, whose scales are compared with others.
        error: of the efforts.
        data: the recordings.
        oversampling: instants of `error` for each that tells something new.
    """
    if not is_condensable(error, model):
        return model, ()
    robot, joints = model.inner.robot, model.joints
    given = np.array(np.broadcast_to(robot.friction_velocity, joints), float)
    free = free_numbers(model)[0]
    # After the bodies' numbers: damping, friction, armature and offset of each joint.
    first = free.size - 3 * joints
    asked = np.flatnonzero(free[first : first + joints]).tolist()
    speed = np.asarray(data.observations)[..., joints : 2 * joints]
    speed = np.sqrt(np.mean(speed**2, tuple(range(speed.ndim - 1))))
    numbers = np.asarray(linear_parameters(model), float)
    scales = SHARES * np.where(speed > 0, speed, 1.0)[:, None]
    found = given.copy()
    fine = error.filter is not None
    for shares in (FINER, FINER**0.1, None) if fine else (None,):
        condensed = Condensed.of(error, model, data, scales)
        count, best = condensed.instants / oversampling, given.copy()
        for joint in asked:
            factor, own = condensed.factors[joint], scales[joint]
            errors, slopes = _fits(factor, numbers, free, first + joint)
            errors = np.where(slopes > 0, np.maximum(errors, 1e-300), np.inf)
            number = int(np.argmin(errors[1:]))
            best[joint] = own[number]
            gain = np.log(errors[0] / errors[number + 1])
            least = MIN_GAIN / (2 * count) if fine else -np.log(1 - MIN_SHARE)
            found[joint] = own[number] if gain > least else given[joint]
        scales = best[:, None] * (1.0 if shares is None else shares)
    if np.array_equal(found, given):
        return model, tuple(asked)
    scaled = lambda t: t.robot.friction_velocity  # noqa: E731
    twin = eqx.tree_at(scaled, model.inner, jnp.asarray(found))
    return with_names(model, twin), tuple(asked)


def with_names(
    model: ParametricTwin, twin: Twin, more: Sequence[str] = ()
) -> ParametricTwin:
    """Return `twin` with the names and ties of `model`, and `more` names."""
    groups = [joined.split(" = ") for joined in model.names]
    names = [*(name for group in groups for name in group), *more]
    return ParametricTwin(twin, names, ties=[g for g in groups if len(g) > 1])


def with_velocities(model: ParametricTwin, joints: Sequence[int]) -> ParametricTwin:
    """Return `model` with the scales of these joints as parameters too."""
    named = [f"friction_velocity[{model.robot.joint_names[j]}]" for j in joints]
    more = [name for name in named if name not in " = ".join(model.names)]
    if not more:
        return model
    made = with_names(model, model.inner, more)
    values = np.array(made.coordinates)
    for name, value in zip(model.names, np.asarray(model.coordinates), strict=True):
        values[made.names.index(name)] = value
    return eqx.tree_at(lambda m: m.coordinates, made, jnp.asarray(values))


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
