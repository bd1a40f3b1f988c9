"""Motion that the recorded efforts do not explain: that of an arm moved by hand.

A motor that only carries the weight of a robot that a hand moves needs efforts of
gravity alone. Least squares meet them, with a robot without inertia: the inertial part
of the efforts, u = M(q) q̈ + C(q, q̇) q̇ of the robot as given, is in none of them. Each
joint's efforts are fitted by s u beside gravity and friction of any size, and s then is
about 1 where the robot moved itself, or what the robot's inertia is to that given.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboopt.dynamics import ParametricTwin, joint_numbers, linear_parameters
from roboopt.sysid._friction_velocity import unexplained

MAX_INERTIA = 0.3  # of the robot's own, that unexplained motion may seem to have
SIGMAS = 3.0  # standard errors, beyond which a share is told
MIN_LEFT = 1e-6  # of the inertial part, that gravity and friction do not explain


@dataclass(frozen=True)
class _Share:
    """A part of the efforts, over that of the robot as given, and its error."""

    value: float
    error: float


def moved_from_outside(
    rows: Float[np.ndarray, "joint instant column"],
    weightless: Float[np.ndarray, "joint instant column"],
    model: ParametricTwin,
    independent: float,
) -> bool:
    """Return whether the efforts hold nothing of the robot's inertia.

    That is so if no joint's do, of those whose recordings would tell.

    Args:
        rows: [Y, τ] at all instants.
        weightless: the same without gravity.
        model: the robot as given.
        independent: how many of the instants tell something new.
    """
    shares = [
        _inertia(rows[joint], weightless[joint], model, joint, independent)
        for joint in model.actuated
    ]
    told = [(share, most) for share, most in shares if SIGMAS * share.error < most]
    return bool(told) and all(
        abs(one.value) + SIGMAS * one.error < most and one.value < SIGMAS * one.error
        for one, most in told
    )


def _inertia(
    rows: np.ndarray,
    weightless: np.ndarray,
    model: ParametricTwin,
    joint: int,
    independent: float,
) -> tuple[_Share, float]:
    """Return the share of the inertial part, and the most of a robot without it."""
    numbers = np.asarray(linear_parameters(model), float)
    kinds, joints = joint_numbers(model), model.joints
    first = numbers.size - len(kinds) * joints
    bodies = np.arange(numbers.size) < first
    own = first + joint + joints * np.arange(len(kinds))
    armature = own[kinds.index("armature")]
    gravity = (rows - weightless)[:, :first]
    moved = bodies | (np.arange(numbers.size) == armature)
    inertial = weightless[:, :-1][:, moved] @ numbers[moved]
    rubbing = weightless[:, np.setdiff1d(own, armature)]
    efforts = rows[:, -1]
    others = np.hstack([gravity, rubbing])
    share = _share(others, inertial, efforts, independent)
    weight = gravity @ numbers[:first]
    of_weight = _share(
        np.column_stack([rubbing, inertial]), weight, efforts, independent
    )
    # Efforts in other units hold as little of the weight.
    scaled = of_weight.value > SIGMAS * of_weight.error
    return share, MAX_INERTIA * (min(1.0, of_weight.value) if scaled else 1.0)


def _share(
    others: np.ndarray, part: np.ndarray, efforts: np.ndarray, independent: float
) -> _Share:
    """Return the share of a part of the efforts beside all others."""
    size = np.linalg.norm(part)
    columns, left = unexplained(others, part[:, None], efforts)
    column = size * columns[:, 0]
    square = float(column @ column)
    if square <= (MIN_LEFT * size) ** 2:
        return _Share(0.0, np.inf)
    value = float(column @ left) / square
    rest = left - value * column
    freedom = min(len(rest), independent) - others.shape[1]
    if freedom <= 0:
        return _Share(value, np.inf)
    return _Share(value, float(np.sqrt(rest @ rest / square / freedom)))
