"""The library's own demonstrators: controllers of its tasks, from theory alone.

An arm that reaches gets gravity-compensated proportional-derivative control, a robot
that balances the linear-quadratic regulator, and a cart-pole that swings up energy
shaping with that regulator around the top.
"""

import sys
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import RobooptError, require
from roboopt.policies import EnergyShapingSwingUp, LinearFeedback, PDGravityCompensation
from roboopt.rollouts import twin_rollout

# Gains for reaching that overshoot little, on arms from a toy to an industrial one.
REACH_SATURATION = 0.1
REACH_DAMPING_RATIO = 1.5
STATE_COSTS = (1.0, 10.0, 0.1, 0.1)  # of [x, θ, ẋ, θ̇], in SI units squared
FORCE_COST = 0.01  # 1/N²
SWING_UP_GAINS = {"energy_gain": 80.0, "position_gain": 3.0, "velocity_gain": 2.0}


class Demonstrator(NamedTuple):
    """A policy that does a task, and its name in words."""

    policy: Any
    description: str


def demonstrator(env: Any) -> Demonstrator:
    """Return a controller that does the task of `env`.

    Args:
        env: an environment that a twin reproduces, with a task of `roboopt_envs.tasks`.
            Its wrappers must leave observations and actions as they are.

    Raises:
        RobooptError: if the library has no controller for the task.
    """
    world = env.unwrapped
    spaces = ("observation_space", "action_space")
    if any(getattr(env, name) != getattr(world, name) for name in spaces):
        raise RobooptError(
            f"`env` must have the observations and actions of {world}, got the wrapped "
            f"{env}: give a demonstrator."
        )
    task = getattr(world, "task", None)
    # An environment with such a task has loaded its module.
    tasks: Any = sys.modules.get("roboopt_envs.tasks")
    own = () if tasks is None else (tasks.Reach, tasks.Balance, tasks.SwingUp)
    if not isinstance(task, own) and not hasattr(world, "upright"):
        raise RobooptError(
            "`env` must have a task of roboopt_envs.tasks, for which the library has a "
            f"controller, got {task!r}: give a demonstrator."
        )
    interface = getattr(world, "interface", "torque")
    rule = 'be "torque" for the library\'s own demonstrators'
    require(interface == "torque", "interface", rule, interface)
    dynamics = twin_rollout(env).require().dynamics
    if tasks is not None and isinstance(task, tasks.Reach):
        policy = PDGravityCompensation.from_limits(
            dynamics.robot,
            world.effort_limits,
            dynamics.time_step,
            saturation=REACH_SATURATION,
            damping_ratio=REACH_DAMPING_RATIO,
            implicit_damping=dynamics.implicit_damping,
        )
        words = "proportional-derivative control, gravity compensated"
        return Demonstrator(policy, words)
    if hasattr(world, "upright"):
        state = np.concatenate([world.upright, 0 * world.upright])
        cost = world.task.cost_rate
        policy = LinearFeedback.regulator(dynamics, cost, state)
        return Demonstrator(policy, "the linear-quadratic regulator")
    if tasks is not None and isinstance(task, tasks.Balance):
        policy = LinearFeedback(_regulator(dynamics))
        return Demonstrator(policy, "the linear-quadratic regulator")
    gains = _regulator(dynamics)[0]
    policy = EnergyShapingSwingUp(dynamics.robot, gains, **SWING_UP_GAINS)
    words = "energy shaping, and the linear-quadratic regulator around the top"
    return Demonstrator(policy, words)


def _regulator(dynamics: Any) -> Float[Array, "1 4"]:
    """Return K of the discrete-time LQR about the upright cart-pole."""

    def cost_rate(state: Array, force: Array) -> Array:
        return jnp.dot(jnp.array(STATE_COSTS), state**2) + FORCE_COST * force[0] ** 2

    return LinearFeedback.regulator(dynamics, cost_rate, np.zeros(4)).gains
