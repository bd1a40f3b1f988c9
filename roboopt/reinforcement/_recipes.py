"""The recipe of each kind of gradient: settings that did well without tuning."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.data import Demonstrations
from roboopt.diagnose import HorizonNorms, norm_by_horizon
from roboopt.dynamics import Rollout, Twin
from roboopt.objectives import NegativeReward
from roboopt.optimize import Exact, Mixed, Smoothed
from roboopt.optimize._trained import partition
from roboopt.policies import (
    ActorCritic,
    Exploring,
    NetworkPolicy,
    PDGravityCompensation,
)
from roboopt.reinforcement._analytic_optimizer import analytic_optimizer
from roboopt.reinforcement._experiences import Experiences
from roboopt.reinforcement._recipe import (
    Recipe,
    Wishes,
    as_episodes,
    gradient_for,
)
from roboopt.reinforcement._setting import Setting
from roboopt.reinforcement._twin_world import TwinWorld
from roboopt.reinforcement._vector_world import VectorWorld
from roboopt.reinforcement._world import Episode

STARTS = 1024  # that episodes in the twin begin at
SPREAD = 0.3  # of what a policy without chance is given, in halves of the range
STEPS = 40  # through whole episodes
SMOOTHED_STEPS = 100
SIDE_BY_SIDE = 32  # episodes: half as fast again as 8, and no slower to make than 64
PAIRS = 8
MIXED_SHARE = 4  # parameters to a pair: the twin knows about the rest
PROBED = 16  # starts, that a gradient's noise is seen over
BATCH, FADING_STEPS = 4, 400  # episodes a step, of networks through whole ones
FORESIGHT = 0.6  # s, within which their gradients fade
ANGLES = {"CartPoleSwingUp": (1,)}
# Perturbing parameters tells the less of each the more there are.
SMALL = {"width": 16, "depth": 1}


def recipe(setting: Setting, wishes: Wishes) -> Recipe:
    """Return what is to be trained how.

    Raises:
        ValueError: if the wishes do not fit each other, or the environment.
    """
    kinds: dict[str, Callable[[Setting, Wishes], Recipe]] = {
        "likelihood": _likelihood,
        "analytic": _analytic,
        "smoothed": _smoothed,
        "mixed": _smoothed,
    }
    return kinds[gradient_for(setting, wishes)](setting, wishes)


def _likelihood(setting: Setting, wishes: Wishes) -> Recipe:
    """Proximal policy optimization, in the twin if there is one and it is fast."""
    agent, said = _agent(setting, wishes)
    twin = setting.kind is not None and not wishes.processes
    if twin:
        world: Any = TwinWorld(
            _rollout(setting, joint_limits=setting.kind == "ArmReach"),
            setting.world.sample_starts(STARTS, seed=wishes.seed),
            wishes.envs or 64,
            stagger=True,
        )
        where = f"{world.envs} of its twins in JAX"
    else:
        world = VectorWorld(setting.given, wishes.envs or 8, processes=wishes.processes)
        where = f"{world.envs} environments"
        if wishes.processes:
            where += f" in {wishes.processes} processes"
    data = Experiences(world, seed=wishes.seed)
    samples = data.samples
    timesteps = wishes.timesteps or (2_000_000 if twin else 100_000)
    count = data.steps_for(timesteps)
    return Recipe(
        gradient="likelihood",
        agent=agent,
        objective=NegativeReward(),
        data=data,
        fresh=wishes.fresh(setting),
        settings={
            "steps": count,
            "gradient": Exact(),
        },
        timesteps_of=_by_blocks(data, samples, count),
        said={
            "policy": f"{said}; and a network of the value",
            "gradient": (
                "likelihood: that of the likelihood ratio of what was tried, clipped "
                f"(PPO), {data.steps} gradient steps after every {samples} steps"
            ),
            "experience": where,
            "ends": f"after {timesteps} steps of the environment",
        },
        episodes=lambda: data.episodes,
        acting=_acting,
        reused=data.steps,
        close=getattr(world, "close", lambda: None),
    )


def _analytic(setting: Setting, wishes: Wishes) -> Recipe:
    """Exact gradients through whole episodes.

    Those of an arm's controller are good throughout; a network falls, and its gradients
    with it, before it has learned not to, so that they are let fade.
    """
    if setting.kind == "ArmReach" and not wishes.fresh(setting):
        return _holding(setting, wishes)
    if wishes.fresh(setting):
        agent, said = _agent(setting, wishes)
        policy, train = agent.policy, lambda policy: policy.network
    else:
        (policy, said), train = _policy(setting, wishes), None
    batch = wishes.envs or BATCH
    rollout = dataclasses.replace(_rollout(setting), foresight=FORESIGHT)
    starts = setting.world.sample_starts(max(STARTS, batch), seed=wishes.seed)
    a_step = batch * rollout.horizon
    timesteps = wishes.timesteps or FADING_STEPS * a_step
    steps = -(-timesteps // a_step)
    return Recipe(
        gradient="analytic",
        agent=policy,
        objective=NegativeReward(rollout),
        data=jnp.asarray(starts, float),
        fresh=wishes.fresh(setting),
        settings={
            "steps": steps,
            "batch_size": batch,
            "train": train,
            "optimizer": analytic_optimizer(steps),
            "gradient": Exact(),
        },
        timesteps_of=lambda taken: min(taken + 1, steps) * a_step,
        said={
            "policy": said,
            "gradient": (
                f"analytic: exact, through whole episodes of {rollout.horizon} steps "
                f"of the twin, fading within {FORESIGHT} s, from {batch} starts a step"
            ),
            "experience": "its twin in JAX",
            "ends": f"after {steps} gradient steps",
        },
        measure=_measured(setting, rollout, starts[:PROBED]),
        horizon=round(FORESIGHT / rollout.dynamics.time_step),
        norm_by_horizon=_norms(setting, wishes),
        recent=PROBED,
    )


def _holding(setting: Setting, wishes: Wishes) -> Recipe:
    """Exact gradients of controllers that hold the robot, by a line search."""
    policy, said = _policy(setting, wishes)
    count = wishes.envs or (16 if _joints(setting) < 4 else 8)
    rollout = _rollout(setting)
    starts = setting.world.sample_starts(count, seed=wishes.seed)
    a_step = count * rollout.horizon
    steps = STEPS if wishes.timesteps is None else -(-wishes.timesteps // a_step)
    objective = NegativeReward(rollout)
    return Recipe(
        gradient="analytic",
        agent=policy,
        objective=objective,
        data=jnp.asarray(starts, float),
        settings={"steps": steps},
        timesteps_of=lambda taken: min(taken + 1, steps) * a_step,
        said={
            "policy": said,
            "gradient": (
                f"analytic: exact, through whole episodes of {rollout.horizon} steps "
                f"of the twin, from {count} starts"
            ),
            "experience": "its twin in JAX",
            "ends": f"after {steps} gradient steps",
        },
        measure=_measured(setting, rollout, starts),
        gradient_of=lambda model: norm_by_horizon(
            objective, model, starts, [rollout.horizon]
        ),
        horizon=rollout.horizon,
        norm_by_horizon=_norms(setting, wishes),
        recent=count,
    )


def _measured(
    setting: Setting, rollout: Rollout, starts: np.ndarray
) -> Callable[[Any], list[Episode]]:
    """Return what runs a policy from `starts` through the twin."""
    run, begun = eqx.filter_jit(rollout), jnp.asarray(starts, float)
    return lambda model: as_episodes(run(model, begun), setting.world.task.success)


def _smoothed(setting: Setting, wishes: Wishes) -> Recipe:
    """Values of PyBullet, or any simulator; mixed with the twin's exact gradient."""
    from roboopt.data import Simulation

    assert setting.horizon is not None
    policy, said = _policy(setting, wishes)
    count = wishes.envs or 8
    mixed = gradient_for(setting, wishes) == "mixed"
    tuned, _, _ = partition(policy, None)
    simulation = Simulation(
        setting.given, setting.horizon, envs=SIDE_BY_SIDE, processes=wishes.processes
    )
    starts = _starts(setting, count, wishes.seed)
    smoothed = Smoothed()
    if mixed:
        size = sum(leaf.size for leaf in jax.tree.leaves(tuned))
        smoothed = Smoothed(pairs=min(max(1, size // MIXED_SHARE), PAIRS))
    pairs = smoothed.pairs_of(tuned)
    episodes = count * (2 * pairs + 1)
    gradient: Any = smoothed
    how = f"smoothed: from values alone, {_pairs(pairs)} of perturbations"
    few = SMOOTHED_STEPS
    if mixed:
        gradient = Mixed(Exact(NegativeReward(_rollout(setting))), smoothed)
        how = (
            "mixed: the twin's exact gradient as far as it agrees with the smoothed "
            f"one, of {_pairs(pairs)} of perturbations"
        )
    elif smoothed.repeats(tuned):
        # And one run from each start where the search along the line ends.
        episodes, few = episodes + count, STEPS
        how += ", one for each parameter"
    a_step = episodes * setting.horizon
    steps = few if wishes.timesteps is None else -(-wishes.timesteps // a_step)
    success = getattr(getattr(setting.world, "task", None), "success", None)
    return Recipe(
        gradient="mixed" if mixed else "smoothed",
        agent=policy,
        objective=NegativeReward(simulation),
        data=starts,
        fresh=wishes.fresh(setting),
        settings={"steps": steps, "gradient": gradient},
        timesteps_of=lambda taken: min(taken + 1, steps) * a_step,
        said={
            "policy": said,
            "gradient": f"{how}, each from {count} starts",
            "experience": (
                f"{episodes} episodes a step in {setting.name}"
                + (f", in {wishes.processes} processes" if wishes.processes else "")
            ),
            "ends": f"after {steps} gradient steps",
        },
        measure=lambda model: as_episodes(simulation(model, starts), success),
        horizon=setting.horizon if mixed else None,
        norm_by_horizon=_norms(setting, wishes) if mixed else None,
        close=getattr(simulation, "close", lambda: None),
        recent=count,
    )


def _pairs(count: int) -> str:
    return "one pair" if count == 1 else f"{count} pairs"


def _agent(setting: Setting, wishes: Wishes) -> tuple[ActorCritic, str]:
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
    policy, said = _policy(setting, wishes)
    if not callable(getattr(policy, "sample", None)):
        if setting.discrete:
            raise ValueError(
                "`policy` must be able to `sample` choices, such as a "
                f"`CategoricalPolicy`, got {type(policy).__name__}."
            )
        policy = Exploring(policy, SPREAD * _halves(setting.env.action_space))
        said += ", with chance around it"
    return ActorCritic.around(policy, space, key=wishes.key, **network), said


def _policy(setting: Setting, wishes: Wishes) -> tuple[Any, str]:
    """Return a policy without chance unless one with it is given, and it in words."""
    given = wishes.policy
    if isinstance(given, ActorCritic):
        given = given.policy
    if given is not None and not isinstance(given, str):
        return given, f"the {type(given).__name__} given"
    if given == "pd" and setting.kind != "ArmReach":
        raise ValueError(
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
        raise ValueError(
            "`gradient` 'smoothed' of choices sees no small change: choose "
            "'likelihood', or give a `policy`."
        )
    network: dict[str, Any] = {**SMALL, **_network(setting, wishes)}
    shown = _shown(setting, wishes)
    policy = NetworkPolicy.of(shown, key=wishes.key, **network)
    return policy, f"a network, {_described(network)}"


def _shown(setting: Setting, wishes: Wishes) -> Demonstrations:
    """Return what a network is normalised by: random actions and what they led to."""
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


def _rollout(setting: Setting, *, joint_limits: bool = False) -> Rollout:
    assert setting.horizon is not None
    world = setting.world
    twin = Twin.from_env(world, joint_limits=joint_limits)
    return Rollout(twin, setting.horizon, reward=world.task)


def _norms(setting: Setting, wishes: Wishes) -> Callable[[Any], HorizonNorms]:
    objective = NegativeReward(_rollout(setting))
    starts = setting.world.sample_starts(PROBED, seed=wishes.seed)
    return lambda policy: norm_by_horizon(objective, policy, starts)


def _starts(setting: Setting, count: int, seed: int) -> np.ndarray:
    if setting.kind is not None:
        return np.asarray(setting.world.sample_starts(count, seed=seed))
    # Seeds of resets, for what cannot be told where to begin.
    return np.random.default_rng(seed).integers(2**31 - 1, size=count)


def _joints(setting: Setting) -> int:
    return len(setting.world.joint_names)


def _acting(agent: Any) -> Any:
    """Return the policy of an agent, without the chance that it explored by."""
    policy = agent.policy if isinstance(agent, ActorCritic) else agent
    return policy.policy if isinstance(policy, Exploring) else policy


def _by_blocks(data: Any, samples: int, steps: int) -> Callable[[int], int]:
    blocks = max(1, steps // data.steps)
    return lambda taken: min(taken // data.steps + 1, blocks) * samples
