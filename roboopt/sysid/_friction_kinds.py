"""Kinds of dry friction that recordings show, or may show, and a fit lacks."""

from typing import NamedTuple

import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, joint_numbers, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, dry_columns, own_shapes
from roboopt.sysid._friction_velocity import (
    MIN_SHARE,
    least_squares_error,
    shape_groups,
    speeds,
    unexplained,
)
from roboopt.sysid._nearest_possible import free_numbers

SHARES = np.geomspace(1e-3, 0.1, 8)  # of the root mean square speed
FAST_SHARES = np.geomspace(0.02, 0.5, 6)
MIN_FALL = 0.25  # of the error, that friction falling with speed explains
MIN_EXPLAINED = 1e-6  # of the efforts: less error is rounding


class MissingFriction(NamedTuple):
    """The joints whose friction is not that of the fit."""

    falling: tuple[str, ...] = ()
    """Those that Stribeck friction explains clearly better."""
    asymmetric: tuple[str, ...] = ()
    """Those whose offset asymmetric friction explains as well."""


def missing_friction(
    error: InverseDynamicsError, model: ParametricTwin, data: Trajectory
) -> MissingFriction:
    """Compare least squares with further kinds of friction, for several scales each."""
    joints, own = model.joints, dry_columns(model)
    free, numbers = free_numbers(model)[0], np.asarray(linear_parameters(model), float)
    speed = speeds([data], joints)[:, None]
    slow = np.concatenate([own_shapes(model)[:, :1, 0], SHARES * speed], 1)
    fast = FAST_SHARES * speed
    pairs = slow.shape[1], fast.shape[1]
    groups = shape_groups(slow, fast, 3).reshape(joints, *pairs, 3, 3)
    kinds = groups[:, :, 0, :2], groups[:, :, :, 2]  # Coulomb's by v_s; Stribeck's
    shapes = np.concatenate([kind.reshape(joints, -1, 3) for kind in kinds], 1)
    condensed = Condensed.of(error, model, data, shapes)
    falling, asymmetric, count = [], [], free.size
    kinds_of = joint_numbers(model)
    offsets = count + (kinds_of.index("effort_offset") - len(kinds_of)) * joints
    for joint, name in enumerate(model.robot.joint_names):
        friction, *others = own[joint]
        if not free[friction]:
            continue
        factor, offset = condensed.factors[joint], offsets + joint
        matrix = factor[:, :count]
        right = factor[:, -1] - matrix @ np.where(free, 0.0, numbers)
        rest = free.copy()
        rest[own[joint]] = False
        unmoved = rest.copy()
        unmoved[offset] = False
        columns, left = unexplained(matrix[:, rest], factor[:, count:-1], right)
        coulomb, stribeck = np.split(columns, [2 * pairs[0]], 1)
        coulomb = coulomb.reshape(-1, pairs[0], 2)
        stribeck = stribeck.reshape(-1, *pairs)
        plain = _least_error(coulomb, left)
        if plain < MIN_EXPLAINED * np.linalg.norm(right):
            continue
        if not (others and free[others[-1]]) and any(
            _least_error(coulomb, left, fall) < (1 - MIN_FALL) * plain
            for fall in stribeck.transpose(2, 0, 1)
        ):
            falling.append(name)
        if free[offset] and not (others and free[others[0]]):
            moved = _least_error(coulomb[..., :1], left)
            coulomb = factor[:, count : count + 2 * pairs[0]]
            columns, left = unexplained(matrix[:, unmoved], coulomb, right)
            coulomb = columns.reshape(-1, pairs[0], 2)
            neither = _least_error(coulomb[..., :1], left)
            either = _least_error(coulomb, left)
            if max(either, 1e-300) < (1 + MIN_SHARE) * moved < neither:
                asymmetric.append(name)
    return MissingFriction(tuple(falling), tuple(asymmetric))


def _least_error(
    coulomb: np.ndarray, left: np.ndarray, falling: np.ndarray | None = None
) -> float:
    """Return the error of least squares with the best velocity scale v_s.

    Args:
        coulomb: columns of Coulomb's friction, (row, scale, shape), less their fit by
            all else.
        left: the efforts, likewise.
        falling: a column of friction that falls with speed, (row, scale), which counts
            where it is positive.
    """
    found = [np.inf]
    for number in range(coulomb.shape[1]):
        columns = [coulomb[:, number]]
        if falling is not None:
            columns.insert(0, falling[:, number, None])
        error, size = least_squares_error(np.hstack(columns), left)
        found.append(error if falling is None or size > 0 else np.inf)
    return min(found)
