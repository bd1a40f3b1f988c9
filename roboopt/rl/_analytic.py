"""Gradient descent of a policy through whole episodes of a differentiable twin.

    L(π) = −E[Σ_t r_t]

(`objectives.NegativeReward`), by L-BFGS where the gradient is exact, else by Adam.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._errors import require, require_positive
from roboopt._programs import called
from roboopt.diagnose import norm_by_horizon
from roboopt.gradients import Automatic
from roboopt.objectives import NegativeReward
from roboopt.optimize import scale_by_schedule
from roboopt.rl._policies import actor_critic, deterministic_policy, fresh
from roboopt.rl._run import Measured, Run, budget_in_words
from roboopt.rl._task import PROBE_STARTS, STARTS, Task
from roboopt.rollouts import Episode, Rollout, as_episodes

DECAY_TIME_S = 0.6  # of the gradient of a network
DECAYING_STARTS, DECAYING_STEPS = 4, 400
EXACT_STARTS, EXACT_STEPS = 8, 40
SMALL_ARM_STARTS, SMALL_ARM_JOINTS = 16, 3
WARMUP_SHARE = 1 / 20  # of the steps of Adam
FIRST_RATE, LAST_RATE = 0.1, 0.05  # relative to the largest


@dataclass(frozen=True)
class AnalyticGradient:
    """Descent along the gradient of whole episodes of the twin.

    With an infinite decay time the gradient is exact, and L-BFGS descends from a fixed
    set of starts. A network falls, and its gradient explodes, before it has learned not
    to: its gradient decays on the way back through time, and Adam descends on random
    starts.
    """

    gradient: ClassVar[str] = "analytic"
    gradient_decay_time: float | None = None
    """Time constant of the gradient's decay [s]; None for 0.6 s of a network or a
    cart-pole, and infinity of an arm's controller."""
    learning_rate: float = 0.03
    """The largest learning rate of Adam, where the decay time is finite."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm, where the decay time is finite."""

    def __post_init__(self):
        require_positive(
            learning_rate=self.learning_rate, max_gradient_norm=self.max_gradient_norm
        )
        decay = self.gradient_decay_time
        require(decay is None or decay > 0, "gradient_decay_time", "be positive", decay)

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`, or one that fits."""
        twin, new = task.require_twin("an analytic gradient"), fresh(task, policy)
        decay, trained = self.gradient_decay_time, None
        if decay is None:
            decay = math.inf if task.holds_goals and not new else DECAY_TIME_S
        exact = math.isinf(decay)
        if new and not exact:
            agent, described = actor_critic(task, policy)
            policy, trained = agent.policy, lambda policy: policy.network
        else:
            policy, described = deterministic_policy(task, policy)
        small = twin.dynamics.joints <= SMALL_ARM_JOINTS
        default = SMALL_ARM_STARTS if small else EXACT_STARTS
        count = task.envs or (default if exact else DECAYING_STARTS)
        per_step = count * twin.horizon
        steps = EXACT_STEPS if exact else DECAYING_STEPS
        budget = f"{steps} gradient steps"
        if task.timesteps is not None:
            steps = max(1, task.timesteps // per_step)
            budget = budget_in_words(task.timesteps, per_step)
        starts = task.starts(count if exact else max(STARTS, count))
        measured = jnp.asarray(starts if exact else starts[:PROBE_STARTS], float)
        objective = NegativeReward(
            twin if exact else dataclasses.replace(twin, gradient_decay_time=decay)
        )
        noted: dict[int, tuple[float, float]] = {}
        how = f"decaying within {decay:g} s, from {count} starts a step"
        settings: dict[str, Any] = {}
        if exact:
            how = f"from {count} starts, with L-BFGS"
        else:
            adam = analytic_adam(steps, self.learning_rate, self.max_gradient_norm)
            settings = {"batch_size": count, "trainable": trained, "optimizer": adam}
        return Run(
            algorithm=dataclasses.replace(self, gradient_decay_time=decay),
            objective=objective,
            model=policy,
            data=jnp.asarray(starts, float),
            steps=steps,
            settings=settings,
            # L-BFGS searches along lines by exact gradients: theirs is noted beside.
            estimator=None if exact else Automatic(),
            timesteps=task.timesteps or steps * per_step,
            progress=Measured(
                lambda step: min(step + 1, steps) * per_step,
                _measure(twin, measured, noted if exact and count > 1 else None),
                every_step=task.target is not None,
            ),
            gradients=noted,
            choice={
                "policy": described,
                "algorithm": (
                    f"analytic gradient through whole episodes of {twin.horizon} "
                    f"steps, {how}"
                ),
                "environment": "its twin in JAX",
                "budget": budget,
            },
            horizon=twin.horizon if exact else round(decay / twin.dynamics.time_step),
            recent=len(measured),
        )


def _measure(
    twin: Rollout, starts: Float[Array, "start obs"], noted: dict | None
) -> Callable[[Any, int], list[Episode]]:
    """Return `measure(policy, step)`: the episodes of a policy from `starts`.

    The relative norm and the signal-to-noise ratio of the gradient go into `noted`, by
    step.
    """
    success = getattr(twin.reward, "success", None)
    objective = NegativeReward(twin)

    def measure(policy: Any, step: int) -> list[Episode]:
        if noted is not None:
            norms = norm_by_horizon(objective, policy, starts, [twin.horizon])
            noted[step] = norms.norms[-1], norms.signal_to_noise[-1]
        return as_episodes(called(twin, policy, starts), success)

    return measure


# Cached: JAX compiles anew for every new optimizer object.
@functools.lru_cache
def analytic_adam(steps: int, learning_rate: float, max_norm: float = 1.0) -> Any:
    """Return Adam on clipped gradients, warmed up and annealed by a half cosine.

    Through a robot that is about to fall gradients are a thousand times what they are
    elsewhere; clipping their norm keeps only the direction of these.
    """
    import optax

    warmup = max(1, int(steps * WARMUP_SHARE))
    rate = optax.warmup_cosine_decay_schedule(
        FIRST_RATE * learning_rate,
        learning_rate,
        warmup,
        max(steps, warmup + 1),
        LAST_RATE * learning_rate,
    )
    # One flat array compiles a third faster than a dozen of them.
    clip = optax.clip_by_global_norm(max_norm)
    return optax.flatten(
        optax.chain(clip, optax.scale_by_adam(), scale_by_schedule(rate))
    )
