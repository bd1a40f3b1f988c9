"""The axes of observations and actions by name and unit, for tables and plots."""

from typing import Any, NamedTuple

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


def signals(env: Any) -> Signals:
    """Return the names and units of observations and actions.

    Observations of an environment with a twin are [q, q̇, goal] and its actions efforts,
    named by joint. Axes of any other environment are numbered.

    Args:
        env: a Gymnasium environment with one axis of observations.
    """
    size = env.observation_space.shape[0]
    shape = env.action_space.shape or (1,)
    rollout = twin_rollout(env).rollout
    if rollout is None:
        return Signals(
            tuple(Signal(f"observation {k}", "1") for k in range(size)),
            tuple(Signal(f"action {k}", "1") for k in range(shape[0])),
        )
    robot, actuated = rollout.dynamics.robot, env.unwrapped.actuated
    units = [JointUnits.of(revolute) for revolute in robot.revolute]
    named = list(zip(robot.joint_names, units, strict=True))
    observations = [Signal(f"{name}: position", unit.position) for name, unit in named]
    observations += [Signal(f"{name}: velocity", unit.velocity) for name, unit in named]
    observations += [Signal(f"{name}: goal", unit.position) for name, unit in named]
    actions = [
        Signal(f"{name}: {unit.effort_name}", unit.effort)
        for name, unit in (named[joint] for joint in actuated)
    ]
    return Signals(tuple(observations[:size]), tuple(actions))
