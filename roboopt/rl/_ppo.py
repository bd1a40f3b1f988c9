"""Proximal policy optimization (PPO), and REINFORCE with a baseline.

In every block the agent acts for some steps in vector environments; several epochs of
gradient steps on the loss

    L = −E[min(r A, clip(r, 1 − ε, 1 + ε) A)] + w_V E[½ (V(o) − R)²] − w_H E[H]

(`objectives.PPOLoss`) follow, and the block is discarded (Schulman et al., 2017).
Everything that depends on units is measured on the way: observations are normalized by
their running mean and deviation, rewards are divided by the root mean square of their
discounted sums, and advantages are standardized within the block, so that one learning
rate serves newtons and euros.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import (
    RobooptError,
    require,
    require_at_least,
    require_bool,
    require_positive,
    require_share,
)
from roboopt._programs import filter_jit
from roboopt._progress import counted
from roboopt.objectives import PPOBatch, PPOLoss
from roboopt.optimize import Block, scale_by_schedule
from roboopt.rl._advantages import generalized_advantages
from roboopt.rl._experience import ActorCriticAlgorithm, VectorExperience
from roboopt.rl._policies import actor_critic
from roboopt.rl._run import Run, budget_in_words
from roboopt.rl._running import RewardScale
from roboopt.rl._task import Task
from roboopt.rollouts import GymVectorEnv, Steps, VectorEnv

ADAM_EPSILON = 1e-5  # gradients that are almost zero stay so
TWIN_ENVS, GYM_ENVS = 64, 8
TWIN_TIMESTEPS, GYM_TIMESTEPS = 2_000_000, 100_000


@dataclass(frozen=True)
class PPO(ActorCriticAlgorithm):
    """Proximal policy optimization; with `clip=None` REINFORCE with a baseline."""

    gradient: ClassVar[str] = "likelihood"
    discount: float = 0.99
    """γ of one step."""
    gae_lambda: float = 0.98
    """λ of the generalized advantages."""
    clip: float | None = 0.2
    """ε, the clip range of the likelihood ratio; None for no clip."""
    value_weight: float = 0.5
    """Weight of the value function's error."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus, per nat."""
    steps: int = 256
    """Steps of each environment a block. Blocks shorter than an episode, where all
    episodes have the same length, show the value function only part of them."""
    epochs: int = 10
    """Passes over a block."""
    minibatches: int = 8
    """Gradient steps a pass."""
    learning_rate: float = 1e-3
    """Adam's learning rate, annealed to 0 linearly."""
    max_gradient_norm: float = 0.5
    """Gradients are clipped to this norm."""
    normalize_observations: bool = True
    """Whether the inputs of fresh networks are normalized as more is observed."""
    scale_rewards: bool = True
    """Whether rewards are divided by the root mean square of their discounted sums."""

    def __post_init__(self):
        counts = {"steps": self.steps, "epochs": self.epochs}
        require_at_least(1, **counts, minibatches=self.minibatches)
        require_share(discount=self.discount, gae_lambda=self.gae_lambda)
        require_positive(
            learning_rate=self.learning_rate, max_gradient_norm=self.max_gradient_norm
        )
        require_bool(
            normalize_observations=self.normalize_observations,
            scale_rewards=self.scale_rewards,
        )
        self.objective()

    def objective(self, envs: Any = None) -> PPOLoss:
        """Return the objective, which is the same in all environments."""
        return PPOLoss(self.clip, self.value_weight, self.entropy_weight)

    def optimizer(self, steps: int) -> Any:
        """Return the optax transformation for `steps` gradient steps."""
        return _optimizer(steps, self.learning_rate, self.max_gradient_norm)

    def data(self, envs: VectorEnv, seed: int = 0) -> "PPOData":
        """Return the data source for `minimize`: blocks of steps in `envs`."""
        return PPOData(self, envs, seed)

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy` or a fresh network."""
        agent, described = actor_critic(task, policy)
        if task.in_twin:
            envs: Any = task.twin_envs(task.envs or TWIN_ENVS)
            where, timesteps = f"{envs.envs} twins in JAX", TWIN_TIMESTEPS
        else:
            count = task.envs or GYM_ENVS
            envs = GymVectorEnv(task.make, count, processes=task.processes)
            where, timesteps = f"{count} environments{task.in_processes}", GYM_TIMESTEPS
        data, timesteps = self.data(envs, task.seed), task.timesteps or timesteps
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
                "algorithm": (
                    "PPO: likelihood-ratio gradient, "
                    f"{counted(data.steps, 'gradient step')} every {data.samples} "
                    "timesteps"
                ),
                "environment": where,
                "budget": budget_in_words(timesteps, data.samples),
            },
            close=getattr(envs, "close", lambda: None),
        )


# Cached: JAX compiles anew for every new optimizer object.
@functools.lru_cache
def _optimizer(steps: int, learning_rate: float, max_norm: float) -> Any:
    import optax

    rate = optax.linear_schedule(learning_rate, 0.0, steps)
    adam = optax.scale_by_adam(eps=ADAM_EPSILON), scale_by_schedule(rate)
    # One flat array compiles a third faster than a dozen of them.
    return optax.flatten(optax.chain(optax.clip_by_global_norm(max_norm), *adam))


class PPOData(VectorExperience):
    """The blocks of `PPO`, with advantages and returns."""

    def __init__(self, ppo: PPO, envs: VectorEnv, seed: int = 0):
        super().__init__(envs, seed, ppo.steps, scale=RewardScale.zero(envs.envs))
        self._ppo, self.steps = ppo, ppo.epochs * ppo.minibatches
        rule = f"be at most the {self.samples} samples of a block"
        require(ppo.minibatches <= self.samples, "minibatches", rule, ppo.minibatches)
        if ppo.minibatches > 1:
            self.batch_size = self.samples // ppo.minibatches
            if self.batch_size % (count := len(self.devices or (None,))):
                raise RobooptError(
                    f"`minibatches` must leave {count} `devices` equal shares of the "
                    f"{self.samples} samples of a block, got {ppo.minibatches} "
                    f"minibatches of {self.batch_size} samples."
                )

    def _begin(self) -> None:
        super()._begin()
        no_reward = np.zeros(self._envs.envs)
        self._memory["scale"] = self._memory["scale"]._replace(running=no_reward)

    def _block(self, model: Any, number: int) -> Block:
        ppo, memory = self._ppo, self._memory
        if number and ppo.normalize_observations:
            # Between blocks: a block is learned as it was acted.
            model = model.seeing(memory["observed"].normalizer())
        steps = self._collect(model, jax.random.key(_block_seed(self._seed, number)))
        self._observe(steps)
        unit = 1.0
        if ppo.scale_rewards:
            memory["scale"] = memory["scale"].update(steps, ppo.discount)
            unit = memory["scale"].unit
        numbers = [unit, ppo.discount, ppo.gae_lambda]
        settings = np.array(numbers, steps.rewards.dtype)
        return Block(_batch(model, steps, settings), model)


@filter_jit
def _batch(agent: Any, steps: Steps, settings: Float[AnyArray, "3"]) -> PPOBatch:
    """Return the batch of `steps`; `settings` are the unit of the rewards, γ and λ."""
    unit, discount, gae_lambda = jnp.asarray(settings)
    observations, actions = jnp.asarray(steps.observations), jnp.asarray(steps.drawn)
    both = jnp.stack([observations, jnp.asarray(steps.next_observations)])
    values, next_values = jax.vmap(jax.vmap(jax.vmap(agent.value)))(both)
    advantages = generalized_advantages(
        jnp.asarray(steps.rewards) / unit,
        values,
        next_values,
        jnp.asarray(steps.terminated),
        jnp.asarray(steps.ended),
        discount=discount,
        gae_lambda=gae_lambda,
    )
    weights = jnp.asarray(steps.valid, values.dtype)
    total = jnp.maximum(jnp.sum(weights), 1.0)
    centered = advantages - jnp.sum(weights * advantages) / total
    variance = jnp.sum(weights * centered**2) / total
    tiny = 1e-16
    deviation = jnp.where(variance > tiny, jnp.sqrt(jnp.maximum(variance, tiny)), 1.0)

    def rows(x: Array) -> Array:
        return x.reshape(-1, *x.shape[2:])

    return PPOBatch(
        observations=rows(observations),
        actions=rows(actions),
        log_probs=rows(jax.vmap(jax.vmap(agent.log_prob))(observations, actions)),
        advantages=rows(centered / deviation),
        returns=rows(advantages + values),
        weights=rows(weights),
    )


def _block_seed(seed: int, number: int) -> int:
    sequence = np.random.SeedSequence([seed, number])
    return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
