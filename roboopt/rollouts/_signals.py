"""The axes of observations and actions by name and unit, for tables and plots."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from roboopt.rollouts._env_group import describe, told_time_step
from roboopt.rollouts._twin_rollout import twin_rollout


class JointUnits(NamedTuple):
    """The units of a joint's position, velocity and effort."""

    position: str
    velocity: str
    effort: str
    effort_name: str
    """"torque" or "force"."""

    @classmethod
    def of(cls, revolute: Any) -> "JointUnits":
        """Return the units of a revolute or a prismatic joint."""
        if revolute:
            return cls("rad", "rad/s", "N·m", "torque")
        return cls("m", "m/s", "N", "force")


class Signal(NamedTuple):
    """One axis of an observation or an action."""

    name: str
    unit: str
    """"1" where the environment does not say."""


class Signals(NamedTuple):
    """The axes of the observations and of the actions of an environment."""

    observations: tuple[Signal, ...]
    actions: tuple[Signal, ...]
    tolerances: tuple[tuple[tuple[float, float], ...], ...] = ()
    """By observation, the intervals in one of which it must be for success; empty
    where the task does not say."""
    window: float = 0.0
    """The end of an episode throughout which it must be there [s]."""
    timed: bool = True
    """Whether the duration of a step is known."""

    @classmethod
    def named(
        cls, names: Mapping[str, Sequence[str]], sizes: Mapping[str, int]
    ) -> "Signals":
        """Return the axes of `sizes` "observations" and "actions" by their names.

        A name such as "x [m]" has its unit. Axes with other than one name each are
        numbered.
        """
        every = []
        for kind, size in sizes.items():
            given = names.get(kind, ())
            if len(given) != size:
                given = [f"{kind[:-1]} {k}" for k in range(size)]
            found = [re.fullmatch(r"(.+?) \[([^\[\]]+)\]", name) for name in given]
            pairs = zip(given, found, strict=True)
            every.append(
                tuple(Signal(x[1], x[2]) if x else Signal(n, "1") for n, x in pairs)
            )
        return cls(*every)


def signals(env: Any, names: Mapping[str, Sequence[str]] | None = None) -> Signals:
    """Return the names and units of observations and actions.

    Observations of an environment with a robot's twin are [q, q̇, goal], or [q, q̇] and
    a reference's position, velocity and acceleration, and its actions efforts, or what
    its `interface` says, named by joint. Axes of any other environment have the names
    that are given, as of `Signals.named`.

    Args:
        env: a Gymnasium environment with one axis of observations.
        names: of the axes of "observations" and "actions", where they are known.
    """
    size = env.observation_space.shape[0]
    tolerances, window = _criterion(env, size)
    rollout = twin_rollout(env).rollout
    robot = getattr(rollout and rollout.dynamics, "robot", None)
    if rollout is None or robot is None:
        sizes = {"observations": size, "actions": (*env.action_space.shape, 1)[0]}
        seen, acted, *_ = Signals.named(names or {}, sizes)
        timed = told_time_step(env) is not None
        return Signals(seen, acted, tolerances, window, timed)
    units = [JointUnits.of(revolute) for revolute in robot.revolute]
    named = list(zip(robot.joint_names, units, strict=True))
    kinds = [("position", 0), ("velocity", 1)]
    if rollout.reference is None:
        kinds += [("goal", 0)]
    else:
        kinds += [("reference", 0), ("reference velocity", 1)]
    observations = [
        Signal(f"{name}: {kind}", unit[column])
        for kind, column in kinds
        for name, unit in named
    ]
    observations += [
        Signal(f"{name}: reference acceleration", f"{unit.position}/s²")
        for name, unit in named
    ]
    interface = getattr(env.unwrapped, "interface", "torque")
    actions = []
    for name, unit in (named[joint] for joint in env.unwrapped.actuated):
        of_command = {"position": unit.position, "velocity": unit.velocity}
        of_command |= {"voltage": "V", "duty": "1", "torque": unit.effort}
        kind = unit.effort_name if interface == "torque" else interface
        actions.append(Signal(f"{name}: {kind}", of_command[interface]))
    seen = tuple(observations[:size])
    return Signals(seen, tuple(actions), tolerances, window)


def _criterion(env: Any, size: int) -> tuple[Any, float]:
    """Return the tolerances and the window of the environment's task, if it has them.

    Observations that a wrapper has changed are not what the task means.
    """
    task = getattr(env.unwrapped, "task", None)
    known = getattr(task, "tolerances", None)
    if not known or not describe(env).unchanged:
        return (), 0.0
    tolerances = tuple(tuple(known.get(k, ())) for k in range(size))
    return tolerances, float(getattr(task, "window", 0.0))
