"""Policies to start from, and the policies that act in the end."""

from itertools import islice
from typing import Any

import equinox as eqx
import jax
import numpy as np

from roboopt._core import trainable_mask
from roboopt._errors import RobooptError, require
from roboopt.data import Demonstrations
from roboopt.policies import (
    ActorCritic,
    CategoricalPolicy,
    Clipped,
    GaussianExploration,
    MLPPolicy,
    PDGravityCompensation,
    SetpointShaping,
    within_limits,
)
from roboopt.rl._parameter_noise import ParameterNoise
from roboopt.rl._task import STARTS, Task
from roboopt.rollouts import random_steps

EXPLORATION = 0.3  # standard deviation, in halves of the action range
# Perturbing parameters says the less of each the more there are.
SMALL_NETWORK = {"width": 16, "depth": 1}


def fresh(task: Task, policy: Any) -> bool:
    """Return whether the start is a network with random weights."""
    if isinstance(policy, str):
        return policy == "network"
    return policy is None and not task.holds_goals


def actor_critic(task: Task, policy: Any) -> tuple[ActorCritic, str]:
    """Return a stochastic policy with a value function, and it in words."""
    space, key = task.env.observation_space, jax.random.key(task.seed)
    network, policy = _network(task), _unclipped(policy)
    if isinstance(policy, ActorCritic):
        return policy, "the agent given"
    if fresh(task, policy):
        agent = ActorCritic.of(space, task.env.action_space, key=key, **network)
        categorical = isinstance(agent.policy, CategoricalPolicy)
        kind = "categorical" if categorical else "Gaussian"
        return agent, f"a fresh {kind} policy, {_described(network)}"
    policy, described = deterministic_policy(task, policy)
    if not callable(getattr(policy, "sample", None)):
        rule = "be able to `sample` choices, such as a `CategoricalPolicy`"
        require(not task.discrete, "policy", rule, type(policy))
        deviation = EXPLORATION * _half_range(task.env.action_space)
        policy = GaussianExploration(policy, deviation)
        described += ", with Gaussian exploration around it"
    return ActorCritic.around(policy, space, key=key, **network), described


def deterministic_policy(task: Task, policy: Any) -> tuple[Any, str]:
    """Return the policy given, or one that fits without exploration, and its name."""
    policy = _unclipped(policy)
    if isinstance(policy, ActorCritic):
        policy = policy.policy
    if policy is not None and not isinstance(policy, str):
        return policy, f"the {type(policy).__name__} given"
    if policy == "pd" and not (task.holds_goals and task.interface == "torque"):
        raise RobooptError(
            "`policy` 'pd' is for arms with a torque on every joint and a goal in the "
            "observation, without wrappers around the actions: choose 'network'."
        )
    if not fresh(task, policy):
        assert task.twin is not None
        world = task.env.unwrapped
        if task.interface != "torque":
            robot, interface = task.twin.dynamics.robot, task.interface
            shaping = SetpointShaping(robot, interface=interface)
            return shaping, f"the goal as a {interface} setpoint, shaped"
        policy = PDGravityCompensation.from_limits(
            task.twin.dynamics.robot,
            world.effort_limits,
            task.twin.dynamics.time_step,
            implicit_damping=getattr(world, "implicit_damping", False),
        )
        return policy, "PD control with gravity compensation"
    if task.discrete:
        raise RobooptError(
            "`env` has choices as actions, in which values alone cannot see small "
            "changes of the parameters: choose `gradient` 'likelihood' or the "
            "algorithm 'ppo', or give a `policy`."
        )
    network = {**SMALL_NETWORK, **_network(task)}
    samples, key = _random_samples(task), jax.random.key(task.seed)
    policy = MLPPolicy.of(samples, key=key, **network)
    return policy, f"a fresh network, {_described(network)}"


def _unclipped(policy: Any) -> Any:
    """Return the policy inside `Clipped`: an optimizer needs the gradient there."""
    return policy.policy if isinstance(policy, Clipped) else policy


def acting_policy(model: Any, action_space: Any) -> Any:
    """Return the policy of an agent without exploration, within the action limits."""
    for kind in (ActorCritic, GaussianExploration, ParameterNoise):
        model = model.policy if isinstance(model, kind) else model
    return within_limits(model, action_space)


def parameter_count(policy: Any) -> int:
    return sum(
        x.size for x in jax.tree.leaves(eqx.filter(policy, trainable_mask(policy)))
    )


def _random_samples(task: Task) -> Demonstrations:
    """Return random actions and the observations they lead to, for normalizers."""
    half = _half_range(task.env.action_space)
    steps = random_steps(task.source, seed=task.seed, processes=task.processes)
    rows, acts, _ = zip(*islice(steps, STARTS), strict=True)
    actions = np.clip(np.stack(acts), -half, half)
    return Demonstrations(np.stack(rows).astype(float), actions.astype(float))


def _network(task: Task) -> dict[str, Any]:
    """Return the settings of a network, with the angles that the environment names."""
    world = task.env.unwrapped
    wrapped = task.env.observation_space != world.observation_space
    angles = () if wrapped else getattr(world, "angles", ())
    return {"angles": tuple(angles), **task.network}


def _described(network: Any) -> str:
    text = f"{network.get('depth', 2)} hidden layers of {network.get('width', 64)}"
    if angles := network.get("angles", ()):
        text += f", sine and cosine of axis {', '.join(map(str, angles))}"
    return text


def _half_range(space: Any) -> np.ndarray:
    """Return half the range of each action, 1 where it is unlimited."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = (np.asarray(space.high, float) - np.asarray(space.low, float)) / 2
    return np.where(np.isfinite(half) & (half < 1e30), half, 1.0)
