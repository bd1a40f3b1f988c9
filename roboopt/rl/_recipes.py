"""The recipe of each kind of gradient: settings that did well without tuning."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.diagnose import norm_by_horizon
from roboopt.gradients import Automatic, Mixed, ZerothOrder
from roboopt.objectives import NegativeReward
from roboopt.optimize import partition
from roboopt.policies import ActorCritic, GaussianExploration
from roboopt.rl._analytic_optimizer import analytic_optimizer
from roboopt.rl._experiences import Experiences
from roboopt.rl._ingredients import (
    PROBED,
    STARTS,
    agent_of,
    joints_of,
    norms_of,
    policy_of,
    rollout_of,
    simulation_of,
    starts_of,
)
from roboopt.rl._parameter_noise import ParameterNoise
from roboopt.rl._recipe import Recipe, Wishes, gradient_for
from roboopt.rl._setting import Setting
from roboopt.rl._trials import Trials
from roboopt.rollouts import Episode, GymVectorEnv, Rollout, TwinVectorEnv, as_episodes

STEPS = 40  # through whole episodes
SMOOTHED_STEPS = 100
PAIRS = 8
MIXED_SHARE = 4  # parameters to a pair: the twin knows about the rest
BATCH, FADING_STEPS = 4, 400  # episodes a step, of networks through whole ones
FORESIGHT = 0.6  # s, within which their gradients fade
FEW = 128  # parameters, that are explored themselves
DRAWS = 8  # policies for each start


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
    """Of few parameters by drawing these, else by drawing actions."""
    if wishes.fresh(setting) or setting.horizon is None:
        return _by_actions(setting, wishes)
    policy, said = policy_of(setting, wishes)
    if callable(getattr(policy, "sample", None)):
        return _by_actions(setting, wishes)
    if not isinstance(policy, ParameterNoise):
        if _size(policy) > FEW:
            return _by_actions(setting, wishes)
        policy = ParameterNoise(policy)
        said += ", its parameters drawn by chance"
    return _by_parameters(setting, wishes, policy, said)


def _by_parameters(
    setting: Setting, wishes: Wishes, agent: ParameterNoise, said: str
) -> Recipe:
    """Natural gradients of what drawn policies earn, in the twin if there is one."""
    assert setting.horizon is not None
    count = wishes.envs or max(8, -(-4 * agent.shift.size // DRAWS))
    twin = setting.kind is not None and not wishes.processes
    if twin:
        run: Any = rollout_of(setting, joint_limits=setting.kind == "ArmReach")
        where = "its twin in JAX"
    else:
        run = simulation_of(setting, wishes)
        where = setting.name
        if wishes.processes:
            where += f", in {wishes.processes} processes"
    starts = starts_of(setting, STARTS, wishes.seed)
    data = Trials(run, starts, groups=count, draws=DRAWS, seed=wishes.seed)
    timesteps = wishes.timesteps or (2_000_000 if twin else 1_000_000)
    steps = data.steps_for(timesteps)
    return Recipe(
        gradient="likelihood",
        agent=agent,
        objective=NegativeReward(),
        data=data,
        settings={"steps": steps, "gradient": Automatic()},
        timesteps_of=_by_blocks(data, data.samples, steps),
        said={
            "policy": said,
            "gradient": (
                "likelihood: the natural gradient of the likelihood ratio of policies "
                f"that were tried, {DRAWS} from each of {count} starts a step"
            ),
            "experience": where,
            "ends": f"after {steps} gradient steps",
        },
        episodes=lambda: data.episodes,
        acting=_acting,
        close=getattr(run, "close", lambda: None),
    )


def _by_actions(setting: Setting, wishes: Wishes) -> Recipe:
    """Proximal policy optimization, in the twin if there is one and it is fast."""
    agent, said = agent_of(setting, wishes)
    twin = setting.kind is not None and not wishes.processes
    if twin:
        world: Any = TwinVectorEnv(
            rollout_of(setting, joint_limits=setting.kind == "ArmReach"),
            setting.world.sample_starts(STARTS, seed=wishes.seed),
            wishes.envs or 64,
            stagger=True,
        )
        where = f"{world.envs} of its twins in JAX"
    else:
        world = GymVectorEnv(
            setting.given, wishes.envs or 8, processes=wishes.processes
        )
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
            "gradient": Automatic(),
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
        agent, said = agent_of(setting, wishes)
        policy, trainable = agent.policy, lambda policy: policy.network
    else:
        (policy, said), trainable = policy_of(setting, wishes), None
    batch = wishes.envs or BATCH
    rollout = dataclasses.replace(rollout_of(setting), gradient_decay_time=FORESIGHT)
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
            "trainable": trainable,
            "optimizer": analytic_optimizer(steps),
            "gradient": Automatic(),
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
        norm_by_horizon=norms_of(setting, wishes),
        recent=PROBED,
    )


def _holding(setting: Setting, wishes: Wishes) -> Recipe:
    """Exact gradients of controllers that hold the robot, by a line search."""
    policy, said = policy_of(setting, wishes)
    count = wishes.envs or (16 if joints_of(setting) < 4 else 8)
    rollout = rollout_of(setting)
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
        norm_by_horizon=norms_of(setting, wishes),
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
    assert setting.horizon is not None
    policy, said = policy_of(setting, wishes)
    count = wishes.envs or 8
    mixed = gradient_for(setting, wishes) == "mixed"
    tuned, _, _ = partition(policy, None)
    simulation = simulation_of(setting, wishes)
    starts = starts_of(setting, count, wishes.seed)
    smoothed = ZerothOrder()
    if mixed:
        smoothed = ZerothOrder(pairs=min(max(1, _size(policy) // MIXED_SHARE), PAIRS))
    pairs = smoothed.num_pairs(tuned)
    episodes = count * (2 * pairs + 1)
    gradient: Any = smoothed
    how = f"smoothed: from values alone, {_pairs(pairs)} of perturbations"
    few = SMOOTHED_STEPS
    if mixed:
        gradient = Mixed(Automatic(NegativeReward(rollout_of(setting))), smoothed)
        how = (
            "mixed: the twin's exact gradient as far as it agrees with the smoothed "
            f"one, of {_pairs(pairs)} of perturbations"
        )
    elif smoothed.deterministic(tuned):
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
        norm_by_horizon=norms_of(setting, wishes) if mixed else None,
        close=getattr(simulation, "close", lambda: None),
        recent=count,
    )


def _pairs(count: int) -> str:
    return "one pair" if count == 1 else f"{count} pairs"


def _size(policy: Any) -> int:
    """Return the number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(partition(policy, None)[0]))


def _acting(agent: Any) -> Any:
    """Return the policy of an agent, without the chance that it explored by."""
    for kind in (ActorCritic, GaussianExploration, ParameterNoise):
        agent = agent.policy if isinstance(agent, kind) else agent
    return agent


def _by_blocks(data: Any, samples: int, steps: int) -> Callable[[int], int]:
    blocks = max(1, steps // data.steps)
    return lambda taken: min(taken // data.steps + 1, blocks) * samples
