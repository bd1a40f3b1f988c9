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
from statistics import NormalDist

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
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
from roboopt.sysid._sizes import rms

BOUND_SHARES = np.array([1e-3, 1.0])  # of the root mean square speed
SHARES = np.geomspace(1e-3, 0.3, 21)  # of the same
FINER = np.geomspace(0.75, 1 / 0.75, 21)  # of the best of these
FAST_SHARES = np.geomspace(0.01, 1.0, 9)  # of the same speed, where Stribeck's ends
FAST_FINER = np.geomspace(0.7, 1 / 0.7, 9)
ALL_SHARES = np.geomspace(1e-3, 1.0, 31)  # of the same, among which intervals are told
CHANCE = NormalDist().inv_cdf(0.975) ** 2  # of χ², by 95 % of noise
MIN_GAIN = 6.0  # of χ², by which a scale is clearly better
MIN_SHARE = 0.02  # of the error, likewise where more than noise is left
MIN_SINGULAR = 1e-10  # relative
LOG_STEP = 0.02  # of scales, by which efforts are differentiated
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
    speed = speeds([data], joints)[:, None]
    numbers = np.asarray(linear_parameters(model), float)
    slow, fast = SHARES * speed, FAST_SHARES * speed if falls else np.inf * speed
    found = given.copy()
    fine = error.filter is not None
    rounds = (1.0, 0.2, 0.04, None) if falls else (1.0, 0.1, None)
    for finer in rounds if fine else (None,):
        groups = shape_groups(slow, fast, own.shape[1])
        shapes = groups.reshape(joints, -1, 3)
        condensed = Condensed.of(error, model, data, shapes)
        count, best = condensed.instants / oversampling, given.copy()
        for joint in asked:
            factor = condensed.factors[joint]
            errors, slopes = _fits(factor, numbers, free, own[joint])
            own_error, *errors = np.maximum(errors, 1e-300)
            errors = np.where(slopes[1:] > 0, errors, np.inf)
            number = int(np.argmin(errors))
            best[joint] = groups[joint, number]
            gain = np.log(own_error) - np.log(errors[number])  # −∞ where none rubs
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


def scale_intervals(
    model: ParametricTwin,
    error: InverseDynamicsError,
    data: Trajectory,
    oversampling: float,
    names: Sequence[str],
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of velocity scales of Coulomb friction, by likelihood.

    They hold the scales that explain the efforts no worse than the best by more than
    chance, which derivatives at one scale do not tell: below some scale all are alike,
    and that interval begins at 0. Its end is infinite where viscous friction would do.

    Args:
        model: the fitted robot.
        error: of the efforts.
        data: the recordings.
        oversampling: instants of `error` for each that tells something new.
        names: of the scales, such as "friction_velocity[elbow]".
    """
    joints, own = model.robot.joint_names, dry_columns(model)
    asked = [j for j, name in enumerate(joints) if f"{SCALES[0]}[{name}]" in names]
    if not asked or not is_condensable(error, model):
        return {}
    slow = ALL_SHARES * speeds([data], model.joints)[:, None]
    fast = own_shapes(model)[:, -1, 1:2]
    groups = shape_groups(slow, fast, own.shape[1]).reshape(model.joints, -1, 3)
    condensed = Condensed.of(error, model, data, groups)
    free, numbers = free_numbers(model)[0], np.asarray(linear_parameters(model), float)
    count, found = condensed.instants / oversampling, {}
    for joint in asked:
        errors, slopes = _fits(condensed.factors[joint], numbers, free, own[joint])
        errors = np.where(slopes > 0, np.maximum(errors, 1e-300), np.inf)
        if not np.isfinite(errors[1:]).any():
            continue
        worse = 2 * count * np.log(errors[1:] / errors.min())
        if (ends := _ends(slow[joint], worse)) is not None:
            found[f"{SCALES[0]}[{joints[joint]}]"] = ends
    return found


def _ends(scales: np.ndarray, worse: np.ndarray) -> tuple[float, float] | None:
    """Return where χ², `worse` than the best, crosses that of chance.

    None where that is between two scales, and derivatives tell more.
    """
    inside = np.flatnonzero(worse <= CHANCE)
    if len(inside) < 2 and not {0, len(scales) - 1} & {*inside.tolist()}:
        return None
    first, last = inside[0], inside[-1]

    def crossing(near: int, far: int) -> float:
        share = (CHANCE - worse[near]) / (worse[far] - worse[near])
        return float(scales[near] * (scales[far] / scales[near]) ** share)

    return (
        0.0 if first == 0 else crossing(first, first - 1),
        np.inf if last == len(scales) - 1 else crossing(last, last + 1),
    )


def bounded_scales(
    model: ParametricTwin, lower: np.ndarray, upper: np.ndarray, speeds: AnyArray
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of coordinates in which the scales can be told from others.

    Far below a joint's speeds all are alike; beyond them friction is damping.
    """
    own, joints = np.asarray(model.coordinates), model.robot.joint_names
    for number, name in enumerate(model.names):
        kind, _, joint = name.partition(" = ")[0].removesuffix("]").partition("[")
        if kind in SCALES:
            ends = np.log(BOUND_SHARES * np.asarray(speeds)[joints.index(joint)])
            lower[number] = min(own[number], ends[0])
            upper[number] = max(own[number], ends[1])
    return lower, upper


def with_scale_slopes(
    error: InverseDynamicsError,
    before: ParametricTwin,
    fitted: ParametricTwin,
    data: Trajectory,
    names: Sequence[str],
) -> tuple[Condensed, np.ndarray | None]:
    """Return condensed efforts, and their derivatives by the logarithms of scales.

    The latter are (joint, row, scale), of the two of each joint, and 0 but for `names`;
    None where there are none.
    """
    if not names:
        return Condensed.of(error, before, data), None
    own, joints = own_shapes(fitted), fitted.robot.joint_names
    moved = np.stack([own] * 4, 1)  # by v_s and v_b, each to both sides
    for number, side in enumerate((1, -1, 1, -1)):
        moved[:, number, :, number // 2] *= np.exp(side * LOG_STEP)
    shapes = moved.reshape(len(joints), -1, 3)
    condensed = Condensed.of(error, before, data, shapes)
    count = linear_parameters(before).size
    columns = condensed.factors[:, :, count:-1]
    columns = columns.reshape(*columns.shape[:2], 2, 2, own.shape[1])
    numbers = np.asarray(linear_parameters(fitted))[dry_columns(fitted)]
    slopes = (columns[:, :, :, 0] - columns[:, :, :, 1]) @ numbers[:, None, :, None]
    asked = [[f"{kind}[{joint}]" in names for kind in SCALES] for joint in joints]
    slopes = slopes[..., 0] / (2 * LOG_STEP) * np.array(asked)[:, None]
    kept = np.delete(condensed.factors, np.s_[count:-1], 2)
    return Condensed(kept, condensed.instants), slopes


def speeds(runs: Sequence[Trajectory], joints: int) -> np.ndarray:
    """Return the root mean square speed of each joint, 1 of one at rest."""
    found = [np.asarray(x.observations)[..., joints : 2 * joints] for x in runs]
    speed = rms(np.concatenate([x.reshape(-1, joints) for x in found]))
    return np.where(speed > 0, speed, 1.0)


def shape_groups(slow: np.ndarray, fast: np.ndarray, count: int) -> np.ndarray:
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
    further = np.arange(count, factor.shape[1] - 1).reshape(-1, dry.size)
    rubbing = np.stack([dry, *further])[:, free[dry]]
    rest = factor[:, :count][:, others]
    columns, right = unexplained(rest, factor[:, rubbing.ravel()], right)
    groups = columns.reshape(len(right), *rubbing.shape).swapaxes(0, 1)
    found = [least_squares_error(group, right) for group in groups]
    errors, slopes = np.array(found).T
    return errors, slopes


def unexplained(
    matrix: Float[np.ndarray, "row number"],
    columns: Float[np.ndarray, "row column"],
    right: Float[np.ndarray, " row"],
) -> tuple[Float[np.ndarray, "row column"], Float[np.ndarray, " row"]]:
    """Return columns of unit length, and efforts, less their fit by a matrix.

    Least squares in some of the columns then do as well as with the matrix beside them,
    and in a fraction of the time.
    """
    matrix, columns = _unit(matrix), _unit(columns)
    axes, lengths, _ = np.linalg.svd(matrix, full_matrices=False)
    axes = axes[:, lengths > MIN_SINGULAR * lengths.max(initial=1e-300)]
    left = columns - axes @ (axes.T @ columns)
    # What is left of others is rounding.
    left[:, np.linalg.norm(left, axis=0) < MIN_SINGULAR] = 0.0
    return left, right - axes @ (axes.T @ right)


def _unit(matrix: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(matrix, axis=0)
    return matrix / np.where(size > 0, size, 1.0)


def least_squares_error(
    matrix: Float[np.ndarray, "row column"], right: Float[np.ndarray, " row"]
) -> tuple[float, float]:
    """Return the error of least squares, and the number of the first column."""
    fitted = np.linalg.lstsq(matrix, right, rcond=MIN_SINGULAR)[0]
    return float(np.linalg.norm(matrix @ fitted - right)), float(fitted[0])
