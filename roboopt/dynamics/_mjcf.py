"""A `Multibody` from an MJCF file, compiled by MuJoCo.

MuJoCo resolves defaults, includes, and inertias from shapes; the tree is read from the
compiled model. A body with several joints becomes a chain: MuJoCo moves the body by its
joints one after the other, each about an axis that is fixed in the body. A joint's
position counts from `ref`, at which the body stands as the file says; this shift is
folded into the joint's frame, so that positions here are MuJoCo's.
"""

import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.dynamics._assembly import JointRow, LinkRow, assemble
from roboopt.dynamics._mjcf_actuators import Motors, left_out, motors
from roboopt.dynamics._mjcf_bounds import check_bounds
from roboopt.dynamics._mjcf_equalities import Coupling, couple, require_open
from roboopt.dynamics._multibody import Multibody
from roboopt.urdf import Inertial, Mimic, Pose, rotation_from_quaternion

SLIDE, HINGE = 2, 3  # mujoco.mjtJoint
NO_GRAVITY = "mjDSBL_GRAVITY"


def load_mjcf(
    path: str | PathLike | Any, *, locked: Iterable[str] | Mapping[str, float] = ()
) -> Multibody:
    """Load a robot on a fixed base from an MJCF file, through the package mujoco.

    The robot has MuJoCo's mass matrix, bias, gravity, joint damping, armature, friction
    loss and joint limits. Equality constraints between two joints, also those that a
    fixed tendon makes, hold exactly: one joint follows the other. A `Twin` of the robot
    takes PyBullet's step, not MuJoCo's, and has no contacts.

    Args:
        path: the file, or a `mujoco.MjModel`.
        locked: names of joints that are held at their reference (`ref`, usually 0), or
            a mapping from names to positions [rad or m]. A free or a ball joint is held
            at the pose that the file gives its body.

    Raises:
        RobooptError: if MuJoCo is not installed or cannot compile the file, nothing
            moves, a free or a ball joint is not locked, or an equality constraint
            cannot be kept.

    Warns:
        UserWarning: if the file has forces that a `Multibody` cannot state, such as
            springs, which are left out.
    """
    model = _compiled(path)
    names = _Names(model)
    locked = (locked,) if isinstance(locked, str) else locked
    held = _held(model, names.joints, locked)
    motor = motors(model)
    coupling = couple(model, names.joints, held, motor.driven, names.equality)
    joints, links = _rows(model, names, coupling, motor)
    require_open(model, [link.pose.joint for link in links], names.equality)
    if missing := left_out(model, names, coupling.held):
        warnings.warn(
            "a Multibody has no place for these forces of the MJCF, which are left "
            f"out: {missing}.",
            UserWarning,
            stacklevel=2,
        )
    disabled = int(getattr(import_module("mujoco").mjtDisableBit, NO_GRAVITY))
    off = model.opt.disableflags & disabled
    return assemble(
        joints,
        links,
        gravity=0 * model.opt.gravity if off else model.opt.gravity,
        linear_damping=0.0,
        angular_damping=0.0,
    )


def _compiled(path: Any) -> Any:
    try:
        mujoco = import_module("mujoco")
    except ModuleNotFoundError as error:
        raise RobooptError(
            "`load_mjcf` needs mujoco: pip install 'roboopt[mujoco]'"
        ) from error
    if isinstance(path, mujoco.MjModel):
        return path
    there = isinstance(path, str | PathLike) and Path(path).is_file()
    require(there, "path", "be an MJCF file or a mujoco.MjModel", path)
    check_bounds(path)
    try:
        return mujoco.MjModel.from_xml_path(fspath(path))
    except (ValueError, RuntimeError, mujoco.FatalError) as error:
        said = " ".join(str(error).split())
        raise RobooptError(f"`path`: MuJoCo cannot compile {path}: {said}") from error


class _Names:
    """The names in a model; what has none is named by its number."""

    def __init__(self, model: Any):
        self._model = model
        self.bodies = [self("body", n) for n in range(model.nbody)]
        self.joints = [self("joint", n) for n in range(model.njnt)]

    def __call__(self, kind: str, number: int) -> str:
        try:
            name = getattr(self._model, kind)(number).name
        except UnicodeDecodeError as error:
            raise RobooptError(f"`path` must have names in UTF-8: {error}") from error
        return name or f"{kind} {number}"

    def equality(self, number: int) -> str:
        """Return how messages refer to an equality constraint."""
        return f"equality constraint {self('equality', number)!r}"


def _held(
    model: Any, names: list[str], locked: Iterable[str] | Mapping[str, float]
) -> dict[int, float]:
    """Return the locked joints, and where they stand, from their reference."""
    unknown = sorted(set(locked) - set(names))
    require(not unknown, "locked", f"name joints of {names}", unknown)
    held = {}
    for name in locked:
        joint = names.index(name)
        scalar = model.jnt_type[joint] in (SLIDE, HINGE)
        held[joint] = 0.0
        if isinstance(locked, Mapping):
            if not scalar or not np.isfinite(locked[name]):
                raise RobooptError(
                    "`locked` must map hinge and slide joints to finite positions, got "
                    f"{name!r}: {locked[name]}."
                )
            reference = model.qpos0[model.jnt_qposadr[joint]]
            held[joint] = float(locked[name] - reference)
    others = np.flatnonzero(~np.isin(model.jnt_type, (SLIDE, HINGE))).tolist()
    if loose := [names[joint] for joint in others if joint not in held]:
        raise RobooptError(
            "`path`: every joint must be a hinge or a slide joint, got the free or "
            f"ball joint(s) {loose}: hold them by `locked`."
        )
    return held


def _rows(
    model: Any, names: _Names, coupling: Coupling, motor: Motors
) -> tuple[list[JointRow], list[LinkRow]]:
    """Return the rows of the moving joints, and a row of each body, world first."""
    joints: list[JointRow] = []
    links: list[LinkRow] = []
    limits = _limits(model, coupling)
    for body, name in enumerate(names.bodies):
        if body == 0:
            links.append(LinkRow(name, Pose(-1, np.eye(3), np.zeros(3)), None))
            continue
        # MuJoCo numbers a body's parent before the body.
        pose = links[model.body_parentid[body]].pose
        pose = _moved(pose, _rotation(model.body_quat[body]), model.body_pos[body])
        first = model.body_jntadr[body]
        for joint in range(first, first + model.body_jntnum[body]):
            kind, anchor = int(model.jnt_type[joint]), model.jnt_pos[joint]
            reference = float(model.qpos0[model.jnt_qposadr[joint]])
            shift = coupling.held.get(joint, -reference)
            if kind in (SLIDE, HINGE):
                motion = _motion(kind, model.jnt_axis[joint], anchor, shift)
                pose = _moved(pose, *motion)
            if joint in coupling.held:
                continue
            frame = _moved(pose, np.eye(3), anchor)
            mimic = _mimic(model, joint, names, coupling)
            joints.append(
                _joint_row(
                    model, joint, names.joints[joint], frame, limits[joint], motor
                )._replace(mimic=mimic)
            )
            pose = Pose(len(joints) - 1, np.eye(3), -anchor)
        axes = _rotation(model.body_iquat[body])
        tensor = axes @ np.diag(model.body_inertia[body]) @ axes.T
        inertial = Inertial(
            float(model.body_mass[body]), model.body_ipos[body], tensor
        ).to_parent(pose.rotation, pose.offset)
        links.append(LinkRow(name, pose, inertial))
    return joints, links


def _joint_row(
    model: Any, joint: int, name: str, frame: Pose, limits: np.ndarray, motor: Motors
) -> JointRow:
    dof, limit = model.jnt_dofadr[joint], motor.effort_limits[joint]
    # "No limits" is a lower limit above the upper one.
    lower, upper = limits if np.isfinite(limits).all() else (0.0, -1.0)
    return JointRow(
        name=name,
        revolute=bool(model.jnt_type[joint] == HINGE),
        pose=frame,
        axis=model.jnt_axis[joint].copy(),
        damping=float(model.dof_damping[dof] + motor.damping[joint]),
        lower=float(lower),
        upper=float(upper),
        effort_limit=float(limit) if limit > 0 else np.inf,
        friction=float(model.dof_frictionloss[dof]),
        armature=float(model.dof_armature[dof] + motor.armature[joint]),
    )


def _references(model: Any) -> np.ndarray:
    """Return the position of each joint at its reference, (joint,) [rad or m]."""
    return model.qpos0[model.jnt_qposadr]


def _mimic(model: Any, joint: int, names: _Names, coupling: Coupling) -> Mimic | None:
    """Return the joint that a joint follows, in positions instead of displacements."""
    if joint not in coupling.followers:
        return None
    leader, factor, shift = coupling.followers[joint]
    references = _references(model)
    offset = references[joint] + shift - factor * references[leader]
    return Mimic(names.joints[leader], factor, float(offset))


def _limits(model: Any, coupling: Coupling) -> np.ndarray:
    """Return the limits of each joint and the joints that follow it, (joint, 2)."""
    limited = model.jnt_limited.astype(bool)[:, None]
    limits = np.where(limited, model.jnt_range, [-np.inf, np.inf])
    references = _references(model)
    for joint, (leader, factor, shift) in coupling.followers.items():
        ends = (limits[joint] - references[joint] - shift) / factor
        lower, upper = np.sort(ends) + references[leader]
        limits[leader] = max(limits[leader, 0], lower), min(limits[leader, 1], upper)
    return limits


def _moved(pose: Pose, rotation: np.ndarray, offset: np.ndarray) -> Pose:
    """Return the pose of a frame that has the given pose in the frame of `pose`."""
    turned = pose.rotation @ rotation
    return Pose(pose.joint, turned, pose.offset + pose.rotation @ offset)


def _motion(
    kind: int, axis: np.ndarray, anchor: np.ndarray, by: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose of a body after a joint's motion, in the body before it."""
    if kind == SLIDE:
        return np.eye(3), by * axis
    half = 0.5 * by
    rotation = rotation_from_quaternion([*(np.sin(half) * axis), np.cos(half)])
    return rotation, anchor - rotation @ anchor


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    """Return the rotation of MuJoCo's quaternion (w, x, y, z)."""
    return rotation_from_quaternion(np.roll(quaternion, -1))
