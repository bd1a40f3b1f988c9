"""Efforts in another unit than the robot's.

Least squares meet efforts in kN·m that count as N·m, with a robot of a thousandth of
the mass. The masses of a URDF are seldom wrong by ten times. Each joint's efforts are
fitted by s u, where u are the efforts that the bodies of the robot as given take,
beside friction, offset and rotor of any size: s is then about 1, or the factor of the
unit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt.dynamics import ParametricTwin, joint_numbers, linear_parameters
from roboopt.rollouts import JointUnits
from roboopt.sysid._friction_velocity import unexplained

MIN_FACTOR = 10.0  # of the efforts: less may be that of the URDF's masses
MAX_UNEXPLAINED = 0.4  # of what friction leaves of the efforts, RMS
MIN_TOLD = 0.1  # of the bodies' efforts, that friction and a rotor do not explain
SAME = 2.0  # ratio of factors that are one
OTHER_UNIT = "the effort column"  # begins the phrases
PREFIXES = {1e-3: "k", 1e3: "m"}


def effort_factors(
    rows: Float[np.ndarray, "joint instant column"], model: ParametricTwin
) -> Float[np.ndarray, " joint"]:
    """Return each joint's efforts over those that the robot's bodies take.

    NaN where the recordings do not tell, or the bodies of the robot as given do not
    explain the efforts.

    Args:
        rows: [Y, τ] at all instants.
        model: the robot as given.
    """
    numbers = np.asarray(linear_parameters(model), float)
    joints, kinds = model.joints, len(joint_numbers(model))
    first = numbers.size - kinds * joints
    found = np.full(joints, np.nan)
    for joint in model.actuated:
        own = first + joint + joints * np.arange(kinds)
        bodies = rows[joint][:, :first] @ numbers[:first]
        column, left = unexplained(
            rows[joint][:, own], bodies[:, None], rows[joint][:, -1]
        )
        size = float(np.linalg.norm(column))
        if size < MIN_TOLD:
            continue
        axis = column[:, 0] / size
        along = float(axis @ left)
        rest = np.linalg.norm(left - along * axis)
        if along > 0 and rest < MAX_UNEXPLAINED * np.linalg.norm(left):
            found[joint] = along / size / np.linalg.norm(bodies)
    return found


def unit_phrases(
    factors: Float[np.ndarray, " joint"], model: ParametricTwin
) -> tuple[str, ...]:
    """Return which effort columns are likely in another unit, and what to do."""
    wrong = (factors > MIN_FACTOR) | (factors < 1 / MIN_FACTOR)
    left, said = list(np.flatnonzero(wrong)), []
    while left:
        alike = [j for j in left if 1 / SAME < factors[j] / factors[left[0]] < SAME]
        left = [j for j in left if j not in alike]
        factor = float(np.exp(np.mean(np.log(factors[alike]))))
        told = np.flatnonzero(np.isfinite(factors))
        # Joints that tell nothing were most likely recorded like all others.
        named = model.actuated if len(alike) == len(told) > 1 else alike
        said.append(_phrase(named, factor, model))
    return tuple(said)


def _phrase(joints: Sequence[Any], factor: float, model: ParametricTwin) -> str:
    names = ", ".join(model.robot.joint_names[joint] for joint in joints)
    units = [JointUnits.of(model.robot.revolute[j]).effort for j in joints]
    said = f"{OTHER_UNIT} of {names} holds"
    if len(joints) > 1:
        said = f"{OTHER_UNIT}s of {names} hold"
    size = f"{factor:.2g} times" if factor > 1 else f"1/{1 / factor:.2g} of"
    for power, prefix in PREFIXES.items():
        if 1 / SAME < factor / power < SAME:
            wrong = " or ".join(dict.fromkeys(f"{prefix}{unit}" for unit in units))
            plain = f"_{prefix}{units[0].replace('·', '')}"
            size = (
                f"about {power:g} times" if factor > 1 else f"about 1/{1 / power:g} of"
            )
            return (
                f"{said} {size} the efforts that the URDF's masses need, as if the "
                f"unit were {wrong}: end the columns' names with their unit, as in "
                f"{plain}, or correct the masses"
            )
    return (
        f"{said} {size} the efforts that the URDF's masses need, as percents, currents "
        "or efforts before a gear may: convert the columns, or correct the masses"
    )
