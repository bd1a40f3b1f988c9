"""Gradient descent of a policy on the reward of whole episodes in any simulator.

    L(π) = −E[Σ_t r_t]

(`objectives.NegativeReward`), with the gradient from values alone, or mixed by variance
with that of a differentiable twin (`roboopt.gradients`).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx

from roboopt._core import trainable_mask
from roboopt._errors import require_at_least, require_positive
from roboopt.gradients import Automatic, Mixed, ZerothOrder
from roboopt.objectives import NegativeReward
from roboopt.rl._policies import deterministic_policy, parameter_count
from roboopt.rl._run import Measured, Run, budget_in_words
from roboopt.rl._task import Task
from roboopt.rollouts import Episode, as_episodes

STARTS = 8  # a step
LBFGS_STEPS, ADAM_STEPS = 40, 100
MAX_SEARCH_RUNS = 12  # from each start, in a line search
PARAMETERS_PER_PAIR, MAX_MIXED_PAIRS = 4, 8  # the twin knows about the rest


@dataclass(frozen=True)
class ZerothOrderGradient:
    """Descent along gradients from values alone, in any simulator."""

    gradient: ClassVar[str] = "zeroth-order"
    pairs: int | None = None
    """Pairs of opposite perturbations a step; None for one for each of up to 32
    parameters, and 8 for more."""
    scale: float = 0.05
    """Standard deviation of the perturbations, relative to each parameter array."""

    def __post_init__(self):
        require_at_least(1, pairs=self.pairs)
        require_positive(scale=self.scale)

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`, or one that fits."""
        task.require_horizon("a zeroth-order gradient")
        policy, described = deterministic_policy(task, policy)
        values = ZerothOrder(pairs=self.pairs, scale=self.scale)
        text = "zeroth-order gradient from values alone"
        return _whole_episodes(self, task, policy, described, values, None, text)


@dataclass(frozen=True)
class MixedGradient:
    """Descent along the twin's gradient as far as the simulator agrees with it."""

    gradient: ClassVar[str] = "mixed"
    pairs: int | None = None
    """Pairs of opposite perturbations a step; None for one for four parameters, at most
    8."""
    scale: float = 0.05
    """Standard deviation of the perturbations, relative to each parameter array."""

    __post_init__ = ZerothOrderGradient.__post_init__

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`, or one that fits."""
        twin = task.require_twin("a mixed gradient")
        policy, described = deterministic_policy(task, policy)
        size = parameter_count(policy)
        pairs = self.pairs or min(max(1, size // PARAMETERS_PER_PAIR), MAX_MIXED_PAIRS)
        values = ZerothOrder(pairs=pairs, scale=self.scale)
        mixed = Mixed(Automatic(NegativeReward(twin)), values)
        text = "mixed gradient of the twin and of values in the simulator"
        run = _whole_episodes(self, task, policy, described, values, mixed, text)
        return dataclasses.replace(run, horizon=task.horizon)


def _whole_episodes(
    algorithm: ZerothOrderGradient | MixedGradient,
    task: Task,
    policy: Any,
    described: str,
    values: ZerothOrder,
    mixed: Mixed | None,
    text: str,
) -> Run:
    """Return the run on values of whole episodes in the environment itself."""
    count = task.envs or STARTS
    starts, rollout = task.starts(count), task.gym_rollout()
    trained = eqx.filter(policy, trainable_mask(policy))
    pairs = values.num_pairs(trained)
    episodes, steps = count * (2 * pairs + 1), ADAM_STEPS
    if mixed is None and values.deterministic(trained):
        # L-BFGS searches along lines, by one more run from each start.
        episodes, steps = episodes + count, LBFGS_STEPS
    budget, cost = f"{steps} gradient steps", 0
    if task.timesteps is not None:
        # The length of an episode, for the annealing, is that of the first policy.
        rollout(policy, starts)
        once = rollout.steps_made
        evaluation = cost = episodes * once // count
        if steps == LBFGS_STEPS:
            cost += MAX_SEARCH_RUNS * once
        steps = max(1, task.timesteps // evaluation - 1)
        # Two evaluations, and what runs beside them: the first policy, and each found.
        least = 2 * evaluation + 3 * once
        budget = budget_in_words(task.timesteps, least)
    success = getattr(getattr(task.env.unwrapped, "task", None), "success", None)

    def measure(model: Any, step: int) -> list[Episode]:
        return as_episodes(rollout(model, starts), success)

    return Run(
        algorithm=dataclasses.replace(algorithm, pairs=pairs),
        objective=NegativeReward(rollout),
        model=policy,
        data=starts,
        steps=steps,
        estimator=mixed or values,
        timesteps=task.timesteps,
        progress=Measured(
            lambda step: rollout.steps_made,
            measure,
            every_step=task.target is not None,
            spent=rollout.steps_made,
            cost=cost,
            budget=task.timesteps,
        ),
        choice={
            "policy": described,
            "algorithm": (
                f"{text}; {pairs} pair{'s' * (pairs > 1)} of perturbations, each from "
                f"{count} starts"
            ),
            "environment": f"{episodes} episodes a step{task.in_processes}",
            "budget": budget,
        },
        close=rollout.close,
        recent=count,
    )
