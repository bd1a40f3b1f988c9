"""Controllers by name, with gains that suit a robot before any tuning."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt._timed import timed
from roboopt.policies import (
    PID,
    CartesianImpedance,
    ComputedTorque,
    ErrorFeedback,
    LinearFeedback,
    PDGravityCompensation,
)


def _limited(kind: Any) -> Callable[..., Any]:
    """Return what guesses the gains of a controller from the motors' limits."""

    def make(env: Any, twin: Any, task: Any) -> Any:
        tool = (env.tool,) if kind is CartesianImpedance else ()
        settings: Any = (*tool, env.effort_limits, twin.time_step)
        at = (
            {"tool_offset": getattr(env, "tool_offset", (0.0, 0.0, 0.0))}
            if tool
            else {}
        )
        return kind.from_limits(
            twin.robot,
            *settings,
            implicit_damping=getattr(twin, "implicit_damping", False),
            **at,
        )

    return make


def _regulator(env: Any, twin: Any, task: Any) -> Any:
    """Return the linear-quadratic regulator of the task's cost.

    The regulator is about the robot's upright, or the origin; or for an arm about where
    its first goal or reference is, with gravity compensation.
    """
    rate = timed(task.cost_rate)
    now = lambda observation, action: rate(observation, action, 0.0)  # noqa: E731
    joints, start = twin.joints, env.sample_starts(1, seed=0)[0]
    if start.size in (3 * joints, 5 * joints):
        posture = start[2 * joints : 3 * joints]
        moving = start.size == 5 * joints
        return ErrorFeedback.regulator(twin, now, posture, moving=moving)
    upright = getattr(env, "upright", np.zeros(joints))
    return LinearFeedback.regulator(twin, now, np.concatenate([upright, 0 * upright]))


CONTROLLERS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "pd": (
        "proportional-derivative control with gravity compensation",
        _limited(PDGravityCompensation),
    ),
    "pid": ("proportional-integral-derivative control with anti-windup", _limited(PID)),
    "computed-torque": (
        "computed torque",
        lambda env, twin, task: ComputedTorque(twin.robot),
    ),
    "impedance": ("Cartesian impedance control", _limited(CartesianImpedance)),
    "lqr": ("the linear-quadratic regulator of the task cost", _regulator),
}
"""The controllers in words, and what makes them of environment, twin and task."""


def named_controller(name: str, env: Any, twin: Any, task: Any) -> tuple[Any, str]:
    """Return the controller of a name, and what it is in words."""
    words, make = CONTROLLERS[name]
    robot = None if hasattr(twin, "dynamics") else getattr(twin, "robot", None)
    full = twin.action_size == twin.joints
    efforts = getattr(env.unwrapped, "interface", "torque") == "torque"
    if robot is None or not efforts or (name != "lqr" and not full):
        raise RobooptError(
            f"`controller` must be another than {name} for this robot: {words} needs a "
            "motor at every joint, and actions that are efforts."
        )
    if name == "impedance" and not hasattr(env.unwrapped, "tool"):
        raise RobooptError(
            "`controller` must be another than impedance for a robot without a tool."
        )
    return make(env.unwrapped, twin, task), words
