"""Short-horizon actor-critic (SHAC): analytic gradients through windows of the twin.

Parallel twins act through a window of h steps, then the next, and begin anew where an
episode ends. Every window gives one gradient step on

    L = −E[Σ_{t<h} r_t + V(o_h)] + w_V E[½ (V(o) − G)²] − w_H E[H]

(`objectives.ShortHorizonLoss`), which runs the window again to differentiate through
it. The targets of the value function V are the λ-returns of the window,

    G_t = r_t + γ ((1 − λ) V(o_{t+1}) + λ G_{t+1})

(Xu et al., 2022, Accelerated policy learning with parallel differentiable simulation).
The windows there are 32 steps of 1/60 s, and V takes 64 gradient steps between two of
the policy. Here V takes one, and windows are 2.4 times 1/(1 − γ) steps long, so that
little remains of the error of V.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import (
    require_at_least,
    require_bool,
    require_positive,
    require_share,
)
from roboopt._programs import filter_jit
from roboopt.objectives import ShortHorizonBatch, ShortHorizonLoss
from roboopt.optimize import Block
from roboopt.policies import acts_by_chance
from roboopt.rl._advantages import generalized_advantages
from roboopt.rl._analytic import analytic_adam
from roboopt.rl._experience import ActorCriticAlgorithm, VectorExperience
from roboopt.rl._policies import actor_critic
from roboopt.rl._run import Run, budget_in_words
from roboopt.rl._task import Task
from roboopt.rollouts import Rollout, Steps, TwinVectorEnv

ENVS, TIMESTEPS = 64, 2_000_000


@dataclass(frozen=True)
class SHAC(ActorCriticAlgorithm):
    """Short-horizon actor-critic, for environments with a twin.

    Where an episode can be differentiated as a whole, `AnalyticGradient` with a finite
    `gradient_decay_time` needs no value function, and does better.
    """

    gradient: ClassVar[str] = "analytic"
    horizon: int = 240
    """Steps of a window."""
    discount: float = 0.99
    """γ of one step."""
    gae_lambda: float = 0.99
    """λ: 0 trusts the value function after one step, 1 only at the window's end."""
    value_weight: float = 0.5
    """Weight of the value function's error."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus, per nat."""
    updates: int = 1
    """Gradient steps on one window, each of which runs the window again."""
    learning_rate: float = 0.01
    """The largest learning rate of Adam, warmed up and annealed by a half cosine."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm."""
    sample_actions: bool = True
    """Whether a stochastic policy samples its actions while it learns."""
    normalize_observations: bool = False
    """Whether the inputs of fresh networks are normalized as more is observed. SI units
    of a robot seldom need this, and a policy that learns fast forgets by it."""

    def __post_init__(self):
        require_at_least(1, updates=self.updates)
        require_share(gae_lambda=self.gae_lambda)
        require_positive(
            learning_rate=self.learning_rate, max_gradient_norm=self.max_gradient_norm
        )
        require_bool(
            sample_actions=self.sample_actions,
            normalize_observations=self.normalize_observations,
        )
        self.loss(None)

    def loss(self, rollout: Rollout | None) -> ShortHorizonLoss:
        """Return the objective through `rollout`."""
        weights = self.value_weight, self.entropy_weight
        return ShortHorizonLoss(rollout, self.horizon, self.discount, *weights)

    def objective(self, envs: TwinVectorEnv) -> ShortHorizonLoss:
        """Return the objective through the twins of `envs`."""
        return self.loss(envs.rollout)

    def optimizer(self, steps: int) -> Any:
        """Return the optax transformation for `steps` gradient steps."""
        return analytic_adam(steps, self.learning_rate, self.max_gradient_norm)

    def data(self, envs: TwinVectorEnv, seed: int = 0) -> "SHACData":
        """Return the data source for `minimize`: windows of `envs`."""
        return SHACData(self, envs, seed)

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy` or a fresh network."""
        task.require_twin("SHAC")
        agent, described = actor_critic(task, policy)
        envs = task.twin_envs(task.envs or ENVS)
        data, timesteps = self.data(envs, task.seed), task.timesteps or TIMESTEPS
        steps = data.gradient_steps(timesteps)
        return Run(
            algorithm=self,
            objective=self.objective(envs),
            model=agent,
            data=data,
            progress=data,
            steps=steps,
            settings=self.settings(data, steps),
            timesteps=timesteps,
            choice={
                "policy": f"{described}, with a value network",
                "algorithm": f"SHAC: analytic gradient through {self.horizon} steps",
                "environment": f"{envs.envs} twins in JAX",
                "budget": budget_in_words(timesteps, data.samples),
            },
            horizon=self.horizon,
        )


class SHACData(VectorExperience):
    """The blocks of `SHAC`: windows of twins that go on through their episodes."""

    def __init__(self, shac: SHAC, envs: TwinVectorEnv, seed: int = 0):
        super().__init__(envs, seed, shac.horizon, unit=np.asarray(np.nan))
        self._shac, self._envs, self.steps = shac, envs, shac.updates

    def _block(self, model: Any, number: int) -> Block:
        shac, envs, memory = self._shac, self._envs, self._memory
        key = jax.random.fold_in(jax.random.key(self._seed), number)
        envs_key, window_key = jax.random.split(key)
        samples = shac.sample_actions and acts_by_chance(model)
        starts, left = envs.twins
        steps = self._collect(model if samples else _Deterministic(model), envs_key)
        if shac.normalize_observations and hasattr(model, "seeing"):
            self._observe(steps)
            model = model.seeing(memory["observed"].normalizer())
        if np.isnan(memory["unit"]):
            memory["unit"] = np.asarray(self._first_unit(steps))
        unit = jnp.asarray(memory["unit"], starts.dtype)
        targets = _value_targets(model, steps, unit, shac.discount, shac.gae_lambda)
        keys = None
        if samples:
            keys = jax.random.key_data(jax.random.split(window_key, envs.envs))
        batch = ShortHorizonBatch(
            starts=starts,
            steps_left=left,
            keys=keys,
            observations=jnp.swapaxes(jnp.asarray(steps.observations), 0, 1),
            value_targets=jnp.swapaxes(targets, 0, 1),
            value_unit=jnp.full(envs.envs, unit),
        )
        return Block(batch, model)

    def _first_unit(self, steps: Steps) -> float:
        """Return the size of a value: a reward's, times the steps that count."""
        size = float(np.sqrt(np.mean(np.square(np.asarray(steps.rewards, float)))))
        rest = 1 - self._shac.discount
        return (size or 1.0) / max(rest, 1 / self._envs.rollout.horizon)


class _Deterministic(eqx.Module):
    """An agent that takes the likeliest action."""

    agent: Any

    def __call__(self, observation: Float[Array, " obs"]) -> Float[Array, " act"]:
        return self.agent(observation)


@filter_jit
def _value_targets(
    model: Any, steps: Steps, unit: Float[Array, ""], discount: float, gae_lambda: float
) -> Float[Array, "time env"]:
    """Return the λ-returns G of a window: values plus generalized advantages."""
    value = jax.vmap(jax.vmap(model.value))
    values = value(steps.observations)
    advantages = generalized_advantages(
        jnp.asarray(steps.rewards) / unit,
        values,
        value(steps.next_observations),
        jnp.asarray(steps.terminated),
        jnp.asarray(steps.ended),
        discount=discount,
        gae_lambda=gae_lambda,
    )
    return values + advantages
