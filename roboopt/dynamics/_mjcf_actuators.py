"""MJCF's actuators and forces: motors of joints, and what a `Multibody` leaves out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

JOINT, JOINT_IN_PARENT = 0, 1  # mujoco.mjtTrn
FIXED_GAIN, NO_BIAS = 0, 0  # mujoco.mjtGain, mujoco.mjtBias
SHOWN = 3  # names that a message lists

Names = Callable[[str, int], str]
"""The name of the thing of some kind that has a number."""


class Motors(NamedTuple):
    """The motors of the joints; of a joint without motor, 0 and False."""

    driven: list[bool]
    effort_limits: np.ndarray
    """(joint,) [N·m or N]; infinite where the actuators state none."""
    armature: np.ndarray
    """(joint,) reflected to the joint [kg·m² or kg]."""
    damping: np.ndarray
    """(joint,) [N·m·s/rad or N·s/m]."""


def motors(model: Any) -> Motors:
    """Return the motors that a model's actuators are for its joints.

    An actuator's force is limited by `forcerange`, or by `ctrlrange` where the force is
    a multiple of the control; `gear` reflects it to the joint. The forces of several
    actuators add up, and `actuatorfrcrange` of the joint limits their sum.
    """
    limits, armature, damping = np.zeros((3, model.njnt))
    driven = [False] * model.njnt
    for number in range(getattr(model, "nactuator", model.nu)):
        if model.actuator_trntype[number] not in (JOINT, JOINT_IN_PARENT):
            continue
        joint = model.actuator_trnid[number, 0]
        gear = abs(model.actuator_gear[number, 0])
        driven[joint] = True
        limits[joint] += gear * _force(model, number) if gear else 0.0
        # Older versions of MuJoCo have neither.
        for total, name in ((armature, "armature"), (damping, "damping")):
            stated = getattr(model, f"actuator_{name}", None)
            total[joint] += 0.0 if stated is None else gear**2 * stated[number]
    for joint in np.flatnonzero(model.jnt_actfrclimited):
        limits[joint] = min(limits[joint], np.abs(model.jnt_actfrcrange[joint]).max())
    return Motors(driven, limits, armature, damping)


def _force(model: Any, number: int) -> float:
    """Return an actuator's largest force, before its gear."""
    if model.actuator_forcelimited[number]:
        return float(np.abs(model.actuator_forcerange[number]).max())
    addresses = getattr(model, "actuator_ctrladr", None)
    control = number if addresses is None else addresses[number]
    proportional = (
        model.actuator_gaintype[number] == FIXED_GAIN
        and model.actuator_biastype[number] == NO_BIAS
    )
    if proportional and model.actuator_ctrllimited[control]:
        gain = abs(model.actuator_gainprm[number, 0])
        return float(gain * np.abs(model.actuator_ctrlrange[control]).max())
    return np.inf


def left_out(model: Any, names: Names, held: dict[int, float]) -> str:
    """Return the forces of a model that a `Multibody` cannot state, in words, or ""."""
    found = {
        "springs of joints": (
            "joint",
            _any(model, "jnt_stiffness", "jnt_stiffnesspoly"),
        ),
        "nonlinear damping of joints": ("joint", _by_joint(model)),
        "gravity compensation of bodies": ("body", _any(model, "body_gravcomp")),
        "forces of tendons": (
            "tendon",
            _any(
                model,
                *("tendon_stiffness", "tendon_damping", "tendon_frictionloss"),
                "tendon_armature",
            ),
        ),
        "actuators that drive no single joint": (
            "actuator",
            ~np.isin(model.actuator_trntype, (JOINT, JOINT_IN_PARENT)),
        ),
    }
    parts = []
    for what, (kind, mask) in found.items():
        numbers = np.flatnonzero(mask).tolist()
        if kind == "joint":
            numbers = [n for n in numbers if n not in held]
        if numbers:
            parts.append(f"{what} {_listed([names(kind, n) for n in numbers])}")
    if model.opt.density or model.opt.viscosity:
        parts.append("the drag of the medium")
    if getattr(model, "nflex", 0):
        parts.append("deformable bodies")
    return "; ".join(parts)


def _any(model: Any, *fields: str) -> np.ndarray:
    arrays = [getattr(model, field, None) for field in fields]
    masks = [
        np.any(x.reshape(len(x), -1), 1) for x in arrays if x is not None and len(x)
    ]
    return np.any(masks, axis=0) if masks else np.zeros(0, bool)


def _by_joint(model: Any) -> np.ndarray:
    """Return which joints have a damping that is no multiple of the velocity."""
    return (
        np.isin(np.arange(model.njnt), model.dof_jntid[_any(model, "dof_dampingpoly")])
        if model.nv
        else np.zeros(0, bool)
    )


def _listed(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
