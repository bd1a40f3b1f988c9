"""Gradient descent of a policy on the negative reward of whole episodes.

    L(π) = −E[Σ_t r_t]

(`objectives.NegativeReward`), with the gradient of a differentiable twin, of values
alone in any simulator, or of both mixed by their variance (`roboopt.gradients`).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt._core import trainable
from roboopt._errors import RobooptError
from roboopt.diagnose import norm_by_horizon
from roboopt.gradients import Automatic, Mixed, ZerothOrder
from roboopt.objectives import NegativeReward
from roboopt.rl._analytic_adam import analytic_adam
from roboopt.rl._checks import check_settings, require_at_least
from roboopt.rl._policies import (
    actor_critic,
    deterministic_policy,
    fresh,
    parameter_count,
)
from roboopt.rl._run import Measured, Run
from roboopt.rl._task import PROBE_STARTS, STARTS, Task
from roboopt.rollouts import Episode, as_episodes

DECAY_TIME_S = 0.6  # of the gradient of a network
DECAYING_STARTS, DECAYING_STEPS = 4, 400
SEARCH_STEPS = 40
SEARCH_STARTS = 8
SMALL_ARM_STARTS, SMALL_ARM_JOINTS = 16, 3
ZEROTH_ORDER_STEPS = 100
PARAMETERS_PER_PAIR, MAX_MIXED_PAIRS = 4, 8  # the twin knows about the rest


@dataclass(frozen=True)
class AnalyticGradient:
    """Descent along the gradient of whole episodes of the twin.

    With an infinite decay time the gradient is exact, and L-BFGS descends from a fixed
    set of starts. A network falls, and its gradient explodes, before it has learned not
    to: its gradient decays on the way back through time, and Adam descends on random
    starts.
    """

    gradient_decay_time: float | None = None
    """Time constant of the gradient's decay [s]; None for 0.6 s of a network or a
    cart-pole, and infinity of an arm's controller."""
    learning_rate: float = 0.03
    """The largest learning rate of Adam, where the decay time is finite."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm, where the decay time is finite."""

    def __post_init__(self):
        """Raise a RobooptError where a setting is out of its range."""
        check_settings(self, positive=("learning_rate", "max_gradient_norm"))
        decay = self.gradient_decay_time
        if decay is not None and not decay > 0:
            raise RobooptError(f"`gradient_decay_time` must be positive, got {decay}.")

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`, or one that fits."""
        task.require_twin("an analytic gradient")
        decay = self.gradient_decay_time
        if decay is None:
            exact = task.holds_goals and not fresh(task, policy)
            decay = math.inf if exact else DECAY_TIME_S
        if math.isinf(decay):
            return self._exact(task, policy)
        return self._decaying(task, policy, decay)

    def _exact(self, task: Task, policy: Any) -> Run:
        """Return the run of L-BFGS, the default optimizer on fixed data."""
        assert task.twin is not None
        policy, described = deterministic_policy(task, policy)
        small = task.twin.dynamics.joints <= SMALL_ARM_JOINTS
        count = task.envs or (SMALL_ARM_STARTS if small else SEARCH_STARTS)
        starts, horizon = task.starts(count), task.twin.horizon
        per_step = count * horizon
        steps = SEARCH_STEPS
        if task.timesteps is not None:
            steps = -(-task.timesteps // per_step)
        objective = NegativeReward(task.twin)
        run = _twin_runner(task, starts)
        noted: dict[int, tuple[float, float]] = {}

        def measure(model: Any, step: int) -> list[Episode]:
            if count > 1:
                norms = norm_by_horizon(objective, model, starts, [horizon])
                noted[step] = norms.norms[-1], norms.signal_to_noise[-1]
            return run(model)

        return Run(
            algorithm=dataclasses.replace(self, gradient_decay_time=math.inf),
            gradient="analytic",
            objective=objective,
            model=policy,
            data=jnp.asarray(starts, float),
            steps=steps,
            settings={},
            timesteps=task.timesteps,
            count=Measured(
                lambda status: min(status.step + 1, steps) * per_step,
                measure,
                task.target is not None,
            ),
            gradients=noted,
            choice={
                "policy": described,
                "algorithm": (
                    f"analytic gradient through whole episodes of {horizon} steps, "
                    f"from {count} starts, with L-BFGS"
                ),
                "environment": "its twin in JAX",
                "budget": f"{steps} gradient steps",
            },
            horizon=horizon,
            norm_by_horizon=task.norm_by_horizon,
            recent=count,
        )

    def _decaying(self, task: Task, policy: Any, decay: float) -> Run:
        """Return the run of Adam on minibatches of random starts."""
        assert task.twin is not None
        train = None
        if fresh(task, policy):
            agent, described = actor_critic(task, policy)
            policy, train = agent.policy, lambda policy: policy.network
        else:
            policy, described = deterministic_policy(task, policy)
        batch = task.envs or DECAYING_STARTS
        rollout = dataclasses.replace(task.twin, gradient_decay_time=decay)
        starts = task.starts(max(STARTS, batch))
        per_step = batch * rollout.horizon
        timesteps = task.timesteps or DECAYING_STEPS * per_step
        steps = -(-timesteps // per_step)
        run = _twin_runner(task, starts[:PROBE_STARTS])
        return Run(
            algorithm=dataclasses.replace(self, gradient_decay_time=decay),
            gradient="analytic",
            objective=NegativeReward(rollout),
            model=policy,
            data=jnp.asarray(starts, float),
            steps=steps,
            settings={
                "batch_size": batch,
                "trainable": train,
                "optimizer": analytic_adam(
                    steps, self.learning_rate, self.max_gradient_norm
                ),
                "gradient": Automatic(),
            },
            timesteps=timesteps,
            count=Measured(
                lambda status: min(status.step + 1, steps) * per_step,
                lambda model, step: run(model),
                task.target is not None,
            ),
            choice={
                "policy": described,
                "algorithm": (
                    f"analytic gradient through whole episodes of {rollout.horizon} "
                    f"steps, decaying within {decay:g} s, from {batch} starts a step"
                ),
                "environment": "its twin in JAX",
                "budget": f"{steps} gradient steps",
            },
            horizon=round(decay / rollout.dynamics.time_step),
            norm_by_horizon=task.norm_by_horizon,
            recent=PROBE_STARTS,
        )


def _twin_runner(task: Task, starts: np.ndarray) -> Any:
    """Return `run(policy) -> episodes` from `starts` through the twin."""
    assert task.twin is not None
    run, first = eqx.filter_jit(task.twin), jnp.asarray(starts, float)
    success = getattr(task.twin.reward, "success", None)
    return lambda model: as_episodes(run(model, first), success)


@dataclass(frozen=True)
class ZerothOrderGradient:
    """Descent along gradients from values alone, in any simulator."""

    pairs: int | None = None
    """Pairs of opposite perturbations a step; None for one for each of up to 32
    parameters, and 8 for more."""
    scale: float = 0.05
    """Standard deviation of the perturbations, relative to each parameter array."""

    def __post_init__(self):
        """Raise a RobooptError where a setting is out of its range."""
        if self.pairs is not None:
            require_at_least("pairs", self.pairs, 1)
        check_settings(self, positive=("scale",))

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`, or one that fits."""
        task.require_horizon("a zeroth-order gradient")
        policy, described = deterministic_policy(task, policy)
        estimator = ZerothOrder(pairs=self.pairs, scale=self.scale)
        text = "zeroth-order gradient from values alone"
        return _whole_episodes(self, task, policy, described, estimator, None, text)


@dataclass(frozen=True)
class MixedGradient:
    """Descent along the twin's gradient as far as the simulator agrees with it."""

    pairs: int | None = None
    """Pairs of opposite perturbations a step; None for one for four parameters, at most
    8."""
    scale: float = 0.05
    """Standard deviation of the perturbations, relative to each parameter array."""

    __post_init__ = ZerothOrderGradient.__post_init__

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`, or one that fits."""
        task.require_twin("a mixed gradient")
        policy, described = deterministic_policy(task, policy)
        size = parameter_count(policy)
        pairs = self.pairs or min(max(1, size // PARAMETERS_PER_PAIR), MAX_MIXED_PAIRS)
        values = ZerothOrder(pairs=pairs, scale=self.scale)
        exact = Automatic(NegativeReward(task.twin))
        text = "mixed gradient of the twin and of values in the simulator"
        mixed = Mixed(exact, values)
        return _whole_episodes(self, task, policy, described, values, mixed, text)


def _whole_episodes(
    algorithm: Any,
    task: Task,
    policy: Any,
    described: str,
    values: ZerothOrder,
    mixed: Mixed | None,
    text: str,
) -> Run:
    """Return the run on values of whole episodes in the environment itself."""
    assert task.horizon is not None
    count = task.envs or SEARCH_STARTS
    starts, rollout = task.starts(count), task.gym_rollout()
    trained = eqx.filter(policy, trainable(policy))
    pairs = values.num_pairs(trained)
    episodes, steps = count * (2 * pairs + 1), ZEROTH_ORDER_STEPS
    if mixed is None and values.deterministic(trained):
        # L-BFGS searches along lines, by one more run from each start.
        episodes, steps = episodes + count, SEARCH_STEPS
    if task.timesteps is not None:
        # The length of an episode, for the annealing, is that of the first policy.
        rollout(policy, starts)
        per_step = episodes * rollout.steps_made / count
        steps = max(1, math.ceil(task.timesteps / per_step))
    success = getattr(getattr(task.env.unwrapped, "task", None), "success", None)
    beside = rollout.steps_made

    def measure(model: Any, step: int) -> list[Episode]:
        nonlocal beside
        before = rollout.steps_made
        found = as_episodes(rollout(model, starts), success)
        beside += rollout.steps_made - before
        return found

    taken = lambda: rollout.steps_made - beside  # noqa: E731
    return Run(
        algorithm=dataclasses.replace(algorithm, pairs=pairs),
        gradient="zeroth-order" if mixed is None else "mixed",
        objective=NegativeReward(rollout),
        model=policy,
        data=starts,
        steps=steps,
        settings={"gradient": mixed or values},
        timesteps=task.timesteps,
        count=Measured(lambda status: taken(), measure, task.target is not None),
        exhausted=lambda: task.timesteps is not None and taken() >= task.timesteps,
        choice={
            "policy": described,
            "algorithm": (
                f"{text}; {pairs} pair{'s' * (pairs > 1)} of perturbations, each from "
                f"{count} starts"
            ),
            "environment": f"{episodes} episodes a step{task.in_processes}",
            "budget": (
                f"{steps} gradient steps"
                if task.timesteps is None
                else f"{task.timesteps} timesteps"
            ),
        },
        horizon=None if mixed is None else task.horizon,
        norm_by_horizon=None if mixed is None else task.norm_by_horizon,
        close=rollout.close,
        recent=count,
    )
