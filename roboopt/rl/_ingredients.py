"""What the recipes are made of: policies, agents, rollouts, and starts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.diagnose import HorizonNorms, norm_by_horizon
from roboopt.dynamics import Twin
from roboopt.objectives import NegativeReward
from roboopt.policies import (
    ActorCritic,
    GaussianExploration,
    MLPPolicy,
    PDGravityCompensation,
)
from roboopt.rl._recipe import Wishes
from roboopt.rl._setting import Setting
from roboopt.rollouts import GymRollout, Rollout

STARTS = 1024  # that episodes in the twin begin at
PROBED = 16  # starts, that a gradient's noise is seen over
SIDE_BY_SIDE = 32  # episodes: half as fast again as 8, and no slower to make than 64
SPREAD = 0.3  # of what a policy without chance is given, in halves of the range
ANGLES = {"CartPoleSwingUp": (1,)}
# Perturbing parameters tells the less of each the more there are.
SMALL = {"width": 16, "depth": 1}


def agent_of(setting: Setting, wishes: Wishes) -> tuple[ActorCritic, str]:
    """Return a policy with chance and a value function, and it in words."""
    space, given = setting.env.observation_space, wishes.policy
    network = _network(setting, wishes)
    if isinstance(given, ActorCritic):
        return given, "the agent given, and its value function"
    if wishes.fresh(setting):
        agent = ActorCritic.of(
            space, setting.env.action_space, key=wishes.key, **network
        )
        return agent, f"{_fresh(agent)}, {_described(network)}"
    policy, said = policy_of(setting, wishes)
    if not callable(getattr(policy, "sample", None)):
        if setting.discrete:
            raise RobooptError(
                "`policy` must be able to `sample` choices, such as a "
                f"`CategoricalPolicy`, got {type(policy).__name__}."
            )
        policy = GaussianExploration(policy, SPREAD * _halves(setting.env.action_space))
        said += ", with chance around it"
    return ActorCritic.around(policy, space, key=wishes.key, **network), said


def policy_of(setting: Setting, wishes: Wishes) -> tuple[Any, str]:
    """Return a policy without chance unless one with it is given, and it in words."""
    given = wishes.policy
    if isinstance(given, ActorCritic):
        given = given.policy
    if given is not None and not isinstance(given, str):
        return given, f"the {type(given).__name__} given"
    if given == "pd" and setting.kind != "ArmReach":
        raise RobooptError(
            "`policy` 'pd' is for the arms of roboopt, whose gravity is compensated: "
            "choose 'network'."
        )
    if not wishes.fresh(setting):
        world = setting.world
        robot = Twin.from_env(world).robot
        policy = PDGravityCompensation.from_limits(
            robot, world.effort_limits, world.time_step
        )
        return policy, "proportional-derivative control with gravity compensation"
    if setting.discrete:
        raise RobooptError(
            "`gradient` 'smoothed' of choices sees no small change: choose "
            "'likelihood', or give a `policy`."
        )
    network: dict[str, Any] = {**SMALL, **_network(setting, wishes)}
    shown = _shown(setting, wishes)
    policy = MLPPolicy.of(shown, key=wishes.key, **network)
    return policy, f"a network, {_described(network)}"


def _shown(setting: Setting, wishes: Wishes) -> Demonstrations:
    """Return what a network is normalized by: random actions and what they led to."""
    env, rows, acts = setting.env, [], []
    space = env.action_space
    space.seed(wishes.seed)
    half = _halves(space)
    seen, _ = env.reset(seed=wishes.seed)
    for _ in range(STARTS):
        action = np.asarray(space.sample())
        rows.append(np.array(seen, float))
        acts.append(np.clip(action, -half, half).astype(float))
        seen, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            seen, _ = env.reset()
    return Demonstrations(np.stack(rows), np.stack(acts))


def _network(setting: Setting, wishes: Wishes) -> dict[str, Any]:
    angles = ANGLES.get(setting.kind or "", ())
    return {"angles": angles, **wishes.network}


def _described(network: Any) -> str:
    said = f"{network.get('depth', 2)} hidden layers of {network.get('width', 64)}"
    angles = network.get("angles", ())
    if angles:
        said += f", sine and cosine of axis {', '.join(map(str, angles))}"
    return said


def _fresh(agent: ActorCritic) -> str:
    kind = type(agent.policy).__name__
    names = {
        "CategoricalPolicy": "a network of the choices' probabilities",
        "GaussianPolicy": "a network of a Gaussian's mean",
    }
    return names.get(kind, kind)


def _halves(space: Any) -> np.ndarray:
    """Return half the range of each action, 1 where it has none."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = (np.asarray(space.high, float) - np.asarray(space.low, float)) / 2
    return np.where(np.isfinite(half) & (half < 1e30), half, 1.0)


def rollout_of(setting: Setting, *, joint_limits: bool = False) -> Rollout:
    assert setting.horizon is not None
    world = setting.world
    twin = Twin.from_env(world, joint_limits=joint_limits)
    return Rollout(twin, setting.horizon, reward=world.task)


def simulation_of(setting: Setting, wishes: Wishes) -> GymRollout:
    """Return what runs whole episodes of the environment itself."""
    assert setting.horizon is not None
    envs, processes = SIDE_BY_SIDE, wishes.processes
    return GymRollout(setting.given, setting.horizon, envs=envs, processes=processes)


def norms_of(setting: Setting, wishes: Wishes) -> Callable[[Any], HorizonNorms]:
    objective = NegativeReward(rollout_of(setting))
    starts = setting.world.sample_starts(PROBED, seed=wishes.seed)
    return lambda policy: norm_by_horizon(objective, policy, starts)


def starts_of(setting: Setting, count: int, seed: int) -> np.ndarray:
    if setting.kind is not None:
        return np.asarray(setting.world.sample_starts(count, seed=seed))
    # Seeds of resets, for what cannot be told where to begin.
    return np.random.default_rng(seed).integers(2**31 - 1, size=count)


def joints_of(setting: Setting) -> int:
    return len(setting.world.joint_names)
