"""The velocity scales of each joint's dry friction, from recordings.

Friction c tanh(q̇ / v_s) is linear in c, not in v_s; so is Stribeck friction, which ends
at v_b, where it is fitted. The efforts of one joint are fitted by least squares in all
numbers, possible or not, with each of several scales; one that explains clearly more
than the scale of the model is taken. Scales far below the speeds of the recording are
all alike, and those near them are viscous friction.

Filtered efforts pass from one sign of friction to the other as slowly as the filter
answers, which looks like a large v_s: the friction of each scale is filtered as well
(`InverseDynamicsError.filter`).
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import (
    FrictionLaw,
    ParametricTwin,
    Twin,
    friction_law,
    linear_parameters,
)
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import (
    Condensed,
    dry_columns,
    is_condensable,
    own_shapes,
)
from roboopt.sysid._nearest_possible import free_numbers

SHARES = np.geomspace(1e-3, 0.3, 21)  # of the root mean square speed
FINER = np.geomspace(0.75, 1 / 0.75, 21)  # of the best of these
FAST_SHARES = np.geomspace(0.01, 1.0, 9)  # of the same speed, where Stribeck's ends
FAST_FINER = np.geomspace(0.7, 1 / 0.7, 9)
MIN_GAIN = 6.0  # of χ², by which a scale is clearly better
MIN_SHARE = 0.02  # of the error, likewise where more than noise is left
FEW_SHARES = np.geomspace(1e-3, 0.1, 8)  # where friction is only judged
FEW_FAST_SHARES = np.geomspace(0.02, 0.5, 6)
MIN_FALL = 0.25  # of the error, that friction falling with speed explains
MIN_EXPLAINED = 1e-6  # of the efforts: less error is rounding
MIN_SINGULAR = 1e-10  # relative
SCALES = "friction_velocity", "stribeck_velocity"


def with_friction_velocity(
    model: ParametricTwin,
    error: InverseDynamicsError,
    data: Trajectory,
    oversampling: float,
) -> tuple[ParametricTwin, tuple[str, ...]]:
    """Return the model with the scales that the recordings show, and their names.

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
    joints, given = model.joints, own_shapes(model)
    free, own = free_numbers(model)[0], dry_columns(model)
    asked = np.flatnonzero(free[own[:, 0]]).tolist()
    falls = own.shape[1] > 1 and free[own[:, -1]].any()  # with speed, near rest
    speed = _speeds(data, joints)
    numbers = np.asarray(linear_parameters(model), float)
    slow, fast = SHARES * speed, FAST_SHARES * speed if falls else np.inf * speed
    found = given.copy()
    fine = error.filter is not None
    rounds = (1.0, 0.2, 0.04, None) if falls else (1.0, 0.1, None)
    for finer in rounds if fine else (None,):
        groups = _groups(slow, fast, own.shape[1])
        shapes = groups.reshape(joints, -1, 3)
        condensed = Condensed.of(error, model, data, shapes)
        count, best = condensed.instants / oversampling, given.copy()
        for joint in asked:
            factor = condensed.factors[joint]
            errors, slopes = _fits(factor, numbers, free, own[joint])
            errors = np.where(slopes > 0, np.maximum(errors, 1e-300), np.inf)
            number = int(np.argmin(errors[1:]))
            best[joint] = groups[joint, number]
            gain = np.log(errors[0] / errors[number + 1])
            least = MIN_GAIN / (2 * count) if fine else -np.log(1 - MIN_SHARE)
            found[joint] = best[joint] if gain > least else given[joint]
        if finer is not None:
            slow = best[:, 0, :1] * FINER**finer
            fast = best[:, -1, 1:2] * (FAST_FINER**finer if falls else 1.0)
    named = model.robot.joint_names
    names = tuple(
        f"{kind}[{named[j]}]"
        for kind, number in zip(SCALES, (own[:, 0], own[:, -1]), strict=True)
        for j in asked
        if kind == SCALES[0] or (falls and free[number[j]])
    )
    if np.array_equal(found, given):
        return model, names
    robot = model.inner.robot
    robot = dataclasses.replace(robot, friction_velocity=jnp.asarray(found[:, 0, 0]))
    if own.shape[1] > 1:
        law = friction_law(robot)._replace(stribeck_velocity=found[:, -1, 1])
        law = FrictionLaw(*map(jnp.asarray, law))
        robot = dataclasses.replace(robot, friction_law=law)
    twin = eqx.tree_at(lambda t: t.robot, model.inner, robot)
    return with_names(model, twin), names


def falling_friction(
    error: InverseDynamicsError, model: ParametricTwin, data: Trajectory
) -> tuple[str, ...]:
    """Return the joints that Stribeck friction, which is not fitted, would explain.

    Least squares with it are compared with those of Coulomb friction, asymmetric or
    not, for several scales of both.
    """
    joints, own = model.joints, dry_columns(model)
    free, numbers = free_numbers(model)[0], np.asarray(linear_parameters(model), float)
    speed = _speeds(data, joints)
    slow = np.concatenate([own_shapes(model)[:, :1, 0], FEW_SHARES * speed], 1)
    fast = FEW_FAST_SHARES * speed
    pairs = slow.shape[1], fast.shape[1]
    groups = _groups(slow, fast, 3).reshape(joints, *pairs, 3, 3)
    kinds = groups[:, :, 0, :2], groups[:, :, :, 2]  # Coulomb's by v_s; Stribeck's
    shapes = np.concatenate([kind.reshape(joints, -1, 3) for kind in kinds], 1)
    condensed = Condensed.of(error, model, data, shapes)
    found, count = [], free.size
    for joint, name in enumerate(model.robot.joint_names):
        friction, *others = own[joint]
        if not free[friction] or (others and free[others[-1]]):
            continue
        factor, left = condensed.factors[joint], free.copy()
        left[own[joint]] = False
        right = factor[:, -1] - factor[:, :count] @ np.where(free, 0.0, numbers)
        coulomb, falling = np.split(factor[:, count:-1], [2 * pairs[0]], 1)
        coulomb = coulomb.reshape(-1, pairs[0], 2)
        falling = falling.reshape(-1, *pairs)
        plain, better = [], [np.inf]
        for number in range(pairs[0]):
            kept = np.hstack([coulomb[:, number], factor[:, :count][:, left]])
            plain.append(_least_squares(kept, right)[0])
            for column in falling[:, number].T:
                remaining, size = _least_squares(np.column_stack([column, kept]), right)
                better += [remaining] if size > 0 else []
        rounding = MIN_EXPLAINED * np.linalg.norm(right)
        if min(better) < (1 - MIN_FALL) * min(plain) and min(plain) > rounding:
            found.append(name)
    return tuple(found)


def _speeds(data: Trajectory, joints: int) -> np.ndarray:
    """Return the root mean square speed of each joint, (joint, 1), 1 of one at rest."""
    speed = np.asarray(data.observations)[..., joints : 2 * joints]
    speed = np.sqrt(np.mean(speed**2, tuple(range(speed.ndim - 1))))
    return np.where(speed > 0, speed, 1.0)[:, None]


def _groups(slow: np.ndarray, fast: np.ndarray, count: int) -> np.ndarray:
    """Return shapes of friction for each pair of scales, (joint, pair, shape, 3)."""
    a, b = (
        x.reshape(len(x), -1)
        for x in np.broadcast_arrays(slow[:, :, None], fast[:, None, :])
    )
    never = np.full_like(a, np.inf)
    shapes = [(a, never, 1.0), (a, never, 2.0), (a, b, 1.0)]
    made = [np.stack(np.broadcast_arrays(*one), -1) for one in shapes[:count]]
    return np.stack(made, 2)


def with_names(
    model: ParametricTwin, twin: Twin, more: Sequence[str] = ()
) -> ParametricTwin:
    """Return `twin` with the names and ties of `model`, and `more` names."""
    groups = [joined.split(" = ") for joined in model.names]
    names = [*(name for group in groups for name in group), *more]
    return ParametricTwin(twin, names, ties=[g for g in groups if len(g) > 1])


def with_velocities(model: ParametricTwin, names: Sequence[str]) -> ParametricTwin:
    """Return `model` with these scales as parameters too."""
    more = [name for name in names if name not in " = ".join(model.names)]
    if not more:
        return model
    made = with_names(model, model.inner, more)
    values = np.array(made.coordinates)
    for name, value in zip(model.names, np.asarray(model.coordinates), strict=True):
        values[made.names.index(name)] = value
    return eqx.tree_at(lambda m: m.coordinates, made, jnp.asarray(values))


def without_velocities(model: ParametricTwin) -> ParametricTwin:
    """Return `model` with scales as they are given, of friction that is fitted.

    Those of friction that is known, and tied ones, stay parameters.
    """
    names = model.names

    def asked(name: str) -> bool:
        kind, _, joint = name.partition("[")
        amounts = {"friction_velocity": ["friction"]}
        amounts["stribeck_velocity"] = ["friction", "stribeck_friction"]
        return kind in SCALES and all(f"{a}[{joint}" in names for a in amounts[kind])

    groups = [joined.split(" = ") for joined in names if not asked(joined)]
    if len(groups) in (0, len(names)):
        return model
    kept = [name for group in groups for name in group]
    return ParametricTwin(model.inner, kept, ties=[g for g in groups if len(g) > 1])


def _fits(
    factor: np.ndarray, numbers: np.ndarray, free: np.ndarray, dry: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error and the Coulomb friction of least squares, by the scales.

    The first are the scales of the model, those of the further columns follow.

    Args:
        factor: triangle of one joint's efforts, from `Condensed`.
        numbers: of the robot as given, which those that are not free keep.
        free: which are fitted.
        dry: the numbers of the joint's dry friction.
    """
    count = free.size
    right = factor[:, -1] - factor[:, :count] @ np.where(free, 0.0, numbers)
    others = free.copy()
    others[dry] = False
    left = factor[:, :count][:, others]
    further = np.arange(count, factor.shape[1] - 1).reshape(-1, dry.size)
    found = [
        _least_squares(np.hstack([factor[:, columns[free[dry]]], left]), right)
        for columns in (dry, *further)
    ]
    errors, slopes = np.array(found).T
    return errors, slopes


def _least_squares(matrix: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return the error of least squares with columns of unit length, and a number.

    The number is that of the first column.
    """
    size = np.linalg.norm(matrix, axis=0)
    matrix = matrix / np.where(size > 0, size, 1.0)
    fitted = np.linalg.lstsq(matrix, right, rcond=MIN_SINGULAR)[0]
    return float(np.linalg.norm(matrix @ fitted - right)), float(fitted[0])
