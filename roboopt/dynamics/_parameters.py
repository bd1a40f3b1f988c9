"""The entries of a `ParametricTwin`: names, units, starting values, and which are free.

An entry is one number of a robot or its actuators, such as "mass[link_3]", with a
coordinate z in one vector. Masses and extents are exponentials of their coordinates.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics import _log_cholesky as cholesky
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._twin import Twin
from roboopt.urdf.friction import STRIBECK_VELOCITY, FrictionLaw

# The unit of each quantity, at a revolute and at a prismatic joint where they differ.
BODY_UNITS = {
    "mass": "kg",
    **{f"center_of_mass.{axis}": "m" for axis in "xyz"},
    **{f"extent.{axis}": "m" for axis in "xyz"},
    **{f"shear.{axes}": "m" for axes in ("xy", "xz", "yz")},
}
JOINT_UNITS = {
    "damping": ("N·m·s/rad", "N·s/m"),
    "friction": ("N·m", "N"),
    "friction_velocity": ("rad/s", "m/s"),
    "friction_asymmetry": ("N·m", "N"),
    "stribeck_friction": ("N·m", "N"),
    "stribeck_velocity": ("rad/s", "m/s"),
    "load_friction": ("1", "1"),
    "armature": ("kg·m²", "kg"),
    "position_offset": ("rad", "m"),
}
ACTUATOR_UNITS = {
    "effort_gain": ("1", "1"),
    "effort_offset": ("N·m", "N"),
    "lag": ("s", "s"),
    "delay": ("s", "s"),
}
EFFORTS = ("effort_gain", "effort_offset")
"""Of commands that are efforts, alone."""
DRIVE_UNITS = {
    "resistance": "Ω",
    "torque_constant": "N·m/A",
    "gear_ratio": "1",
    "rotor_inertia": "kg·m²",
    "supply_voltage": "V",
    "no_load_speed": "",
    "position_gain": "",
    "velocity_gain": "",
}
"""Numbers of a `Drive` that has them; the unit of some depends on the joint."""
GRAVITY_UNITS = {f"gravity.{axis}": "m/s²" for axis in "xyz"}
POSITIVE = (
    *("mass", "extent.x", "extent.y", "extent.z"),
    *("friction_velocity", "stribeck_velocity"),
    *("resistance", "torque_constant", "gear_ratio", "supply_voltage"),
    "no_load_speed",
)
NOT_NEGATIVE = (
    *("damping", "friction", "armature", "lag", "delay"),
    *("stribeck_friction", "load_friction"),
    *("rotor_inertia", "position_gain", "velocity_gain"),
)
LARGEST = {"load_friction": 2 * (1 - 1e-6)}
"""Upper bounds: with a share of 2 no motor moves the joint."""
FIXED_SPANS = {
    "effort_gain": 1.0,
    "load_friction": 0.5,
    "rotor_inertia": 1e-6,
    "position_gain": 1.0,
    "velocity_gain": 0.1,
    "position_offset": 0.1,
    "lag": 0.1,
    "delay": 0.1,
}
MIN_EXTENT = 1e-3  # m, in `span`


class Entry(NamedTuple):
    """One number that may be fitted."""

    name: str
    unit: str


def quantity(name: str) -> str:
    """Return the name of an entry without the link or joint in brackets."""
    return name.partition("[")[0]


def massive_bodies(robot: Multibody) -> tuple[int, ...]:
    """Return the numbers of the bodies that have mass."""
    return tuple(int(i) for i in np.flatnonzero(np.asarray(robot.masses) > 0))


def entries(twin: Twin) -> list[Entry]:
    """Return every entry, in the order of the coordinates."""
    robot = twin.robot
    kinds = [0 if revolute else 1 for revolute in robot.revolute]
    bodies = [robot.body_names[i] for i in massive_bodies(robot)]
    found = [
        Entry(f"{q}[{name}]", unit) for q, unit in BODY_UNITS.items() for name in bodies
    ]
    all_joints = range(twin.joints)
    actuators = actuator_units(twin)
    for units, joints in ((JOINT_UNITS, all_joints), (actuators, twin.actuated)):
        for q, unit in units.items():
            names = robot.joint_names
            found += [Entry(f"{q}[{names[j]}]", unit[kinds[j]]) for j in joints]
    for q in drive_numbers(twin):
        asks = "N·m" if twin.drive is None or twin.drive.resistance is None else "V"
        unit = {"position_gain": f"{asks}/rad", "velocity_gain": f"{asks}·s/rad"}
        unit = unit.get(q, "rad/s" if q == "no_load_speed" else DRIVE_UNITS[q])
        for j in twin.actuated:
            named = unit.replace("rad", "m") if kinds[j] else unit
            found.append(Entry(f"{q}[{robot.joint_names[j]}]", named))
    return found + [Entry(*item) for item in GRAVITY_UNITS.items()]


def actuator_units(twin: Twin) -> dict[str, tuple[str, str]]:
    """Return the units of the actuators' errors that a twin's commands can have."""
    left_out = () if twin.interface == "torque" else EFFORTS
    return {q: unit for q, unit in ACTUATOR_UNITS.items() if q not in left_out}


def drive_numbers(twin: Twin) -> dict[str, Any]:
    """Return the numbers of a twin's drive by name, (act,) each."""
    found = {name: getattr(twin.drive, name, None) for name in DRIVE_UNITS}
    return {name: value for name, value in found.items() if value is not None}


def sizes(twin: Twin, bodies: int) -> dict[str, int]:
    """Return the number of entries of each quantity, in the order of the entries."""
    return {
        **dict.fromkeys(BODY_UNITS, bodies),
        **dict.fromkeys(JOINT_UNITS, twin.joints),
        **dict.fromkeys(actuator_units(twin), twin.action_size),
        **dict.fromkeys(drive_numbers(twin), twin.action_size),
        **dict.fromkeys(GRAVITY_UNITS, 1),
    }


def coordinates(twin: Twin) -> np.ndarray:
    """Return the coordinates of every entry of a twin without actuator errors."""
    robot = twin.robot
    chosen = np.array(massive_bodies(robot), int)
    masses, _, logs, shears = _shapes(robot)
    zero, one = np.zeros(twin.action_size), np.ones(twin.action_size)
    errors = dict(zip(ACTUATOR_UNITS, (one, zero, zero, zero), strict=True))
    for name in ("lag", "delay"):
        if (known := getattr(twin.drive, name, None)) is not None:
            errors[name] = np.asarray(known)
    drive = drive_numbers(twin)
    return np.concatenate(
        [
            np.log(masses),
            np.asarray(robot.centers_of_mass)[chosen].T.ravel(),
            logs.T.ravel(),
            shears.T.ravel(),
            np.asarray(robot.damping),
            np.asarray(robot.friction),
            np.log(np.broadcast_to(robot.friction_velocity, twin.joints)),
            *friction_law(robot)._replace(
                stribeck_velocity=np.log(friction_law(robot).stribeck_velocity)
            ),
            np.asarray(robot.armature),
            np.zeros(twin.joints),
            *(errors[name] for name in actuator_units(twin)),
            *(
                np.log(np.asarray(x)) if name in POSITIVE else np.asarray(x)
                for name, x in drive.items()
            ),
            np.asarray(robot.gravity),
        ]
    )


def friction_law(robot: Multibody) -> FrictionLaw:
    """Return the robot's law of friction in NumPy, without effect if it has none."""
    if robot.friction_law is not None:
        return FrictionLaw(*map(np.asarray, robot.friction_law))
    zero = np.zeros(len(robot.joint_names))
    return FrictionLaw(zero, zero, zero + STRIBECK_VELOCITY, zero)


def flat_remainders(robot: Multibody) -> np.ndarray:
    """Return each massive body's inertia minus its coordinates', 0 unless flat."""
    masses, inertias, logs, shears = _shapes(robot)
    gap = inertias - np.asarray(_inertias(masses, logs, shears))
    size, known = (np.abs(x).max((1, 2), keepdims=True) for x in (gap, inertias))
    return np.where(size <= 1e-9 * known, 0.0, gap)


_inertias = jax.jit(jax.vmap(cholesky.inertia))


def _shapes(robot: Multibody) -> tuple[np.ndarray, ...]:
    """Return masses, inertias, and shape coordinates of the massive bodies."""
    chosen = np.array(massive_bodies(robot), int)
    masses = np.asarray(robot.masses, float)[chosen]
    inertias = np.asarray(robot.inertias)[chosen]
    found = [cholesky.shape_coordinates(*x) for x in zip(masses, inertias, strict=True)]
    shapes = np.reshape(found, (-1, 2, 3))
    return masses, inertias, shapes[:, 0], shapes[:, 1]


def span(name: str, robot: Multibody, joint_inertia: np.ndarray) -> float:
    """Return the error of an entry's coordinate that would matter; see `spans`."""
    what, _, where = name.removesuffix("]").partition("[")
    if what in FIXED_SPANS:
        return FIXED_SPANS[what]
    if what in POSITIVE or what in GRAVITY_UNITS:
        return 1.0
    if what in BODY_UNITS:
        body = robot.body_names.index(where)
        trace = 0.5 * float(jnp.trace(robot.inertias[body]) / robot.masses[body])
        return max(np.sqrt(trace), MIN_EXTENT)
    return float(joint_inertia[robot.joint_names.index(where)])


def groups(
    all_entries: list[Entry], free: Sequence[str], ties: Sequence[Sequence[str]]
) -> list[list[int]]:
    """Return the entries of each parameter: one, or several that are tied."""
    names = [entry.name for entry in all_entries]
    chosen = _matching(names, (free,) if isinstance(free, str) else free)
    group_of = {i: [i] for i in chosen}
    for tie in ties:
        unknown = [n for n in tie if n not in names or names.index(n) not in chosen]
        if unknown or len(tie) < 2:
            raise RobooptError(
                f"`ties` must each hold two or more names that are free, got {tie}"
                + (f", of which {unknown} is not." if unknown else ".")
            )
        members = sorted(names.index(name) for name in tie)
        if len({(quantity(names[i]), all_entries[i].unit) for i in members}) > 1:
            raise RobooptError(f"`ties` must each be of one quantity, got {tie}.")
        if any(len(group_of[i]) > 1 for i in members) or len(set(members)) < len(tie):
            raise RobooptError(f"`ties` must name a parameter once, got {tie}.")
        for i in members:
            group_of[i] = members
    return [group for i, group in sorted(group_of.items()) if group[0] == i]


def _matching(names: list[str], free: Sequence[str]) -> list[int]:
    chosen: set[int] = set()
    for pattern in free:
        # Brackets are part of names here, not sets of letters.
        literal, found = pattern.replace("[", "[[]"), []
        for i, name in enumerate(names):
            what = quantity(name)
            fits = fnmatchcase(name, literal) or fnmatchcase(what, literal)
            if fits or what.partition(".")[0] == pattern:
                found.append(i)
        if not found:
            quantities = sorted({quantity(name) for name in names})
            raise RobooptError(
                f"`free` must name parameters, got {pattern!r}, which matches none; "
                f"there are {quantities}, each with a link or joint in brackets, such "
                f"as {names[0]!r}."
            )
        chosen.update(found)
    if not chosen:
        raise RobooptError("`free` must name at least one parameter, got none.")
    return sorted(chosen)
