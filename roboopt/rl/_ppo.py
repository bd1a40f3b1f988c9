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
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.gradients import Automatic
from roboopt.objectives import PPOBatch, PPOLoss
from roboopt.optimize import Block, Result, minimize
from roboopt.rl._advantages import generalized_advantages
from roboopt.rl._checks import check_settings, require_at_least
from roboopt.rl._policies import actor_critic
from roboopt.rl._run import Run, count_blocks
from roboopt.rl._running import RewardScale, RunningMeanStd
from roboopt.rl._task import Task
from roboopt.rollouts import Episode, GymVectorEnv, Steps, VectorEnv

ADAM_EPSILON = 1e-5  # gradients that are almost zero stay so
TWIN_ENVS, GYM_ENVS = 64, 8
TWIN_TIMESTEPS, GYM_TIMESTEPS = 2_000_000, 100_000


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimization; with `clip=None` REINFORCE with a baseline."""

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
        """Raise a RobooptError where a setting is out of its range."""
        check_settings(
            self,
            counts=("steps", "epochs", "minibatches"),
            shares=("discount", "gae_lambda"),
            positive=("learning_rate", "max_gradient_norm"),
        )
        self.loss()

    def loss(self) -> PPOLoss:
        """Return the objective."""
        return PPOLoss(self.clip, self.value_weight, self.entropy_weight)

    def optimizer(self, steps: int) -> Any:
        """Return the optax transformation for `steps` gradient steps."""
        return _optimizer(steps, self.learning_rate, self.max_gradient_norm)

    def data(self, envs: VectorEnv, seed: int = 0) -> "PPOData":
        """Return the data source for `minimize`: blocks of steps in `envs`."""
        return PPOData(self, envs, seed)

    def learn(
        self,
        agent: Any,
        envs: VectorEnv,
        *,
        timesteps: int,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        """Improve `agent` by acting in `envs`.

        Args:
            agent: an `ActorCritic`, or anything with its methods.
            envs: vector environments, in Gymnasium or in a twin.
            timesteps: steps of all environments together, rounded up to whole blocks.
            seed: the seed of all randomness.
            **settings: further settings of `minimize`, such as `callback`.

        Raises:
            RobooptError: if an argument is out of its range.
        """
        data = self.data(envs, seed)
        steps = data.gradient_steps(timesteps)
        optimizer, batch_size = self.optimizer(steps), data.batch_size
        settings = {"optimizer": optimizer, "batch_size": batch_size, **settings}
        return minimize(self.loss(), agent, data, steps=steps, seed=seed, **settings)

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy` or a fresh network."""
        agent, described = actor_critic(task, policy)
        if task.twin is not None and not task.processes:
            envs: Any = task.twin_envs(task.envs or TWIN_ENVS)
            timesteps = task.timesteps or TWIN_TIMESTEPS
            where = f"{envs.envs} twins in JAX"
        else:
            count = task.envs or GYM_ENVS
            envs = GymVectorEnv(task.make, count, processes=task.processes)
            timesteps = task.timesteps or GYM_TIMESTEPS
            where = f"{count} environments{task.in_processes}"
        data = self.data(envs, task.seed)
        steps = data.gradient_steps(timesteps)
        return Run(
            algorithm=self,
            gradient="likelihood",
            objective=self.loss(),
            model=agent,
            data=data,
            steps=steps,
            settings={
                "optimizer": self.optimizer(steps),
                "batch_size": data.batch_size,
                "gradient": Automatic(),  # notes the norm and noise of the gradient
            },
            timesteps=timesteps,
            count=count_blocks(data),
            choice={
                "policy": f"{described}, with a value network",
                "algorithm": (
                    f"PPO: likelihood-ratio gradient, {data.steps} gradient steps "
                    f"every {data.samples} timesteps"
                ),
                "environment": where,
                "budget": f"{timesteps} timesteps",
            },
            reused=data.steps,
            close=getattr(envs, "close", lambda: None),
        )


# Cached: JAX compiles anew for every new optimizer object.
@functools.lru_cache
def _optimizer(steps: int, learning_rate: float, max_norm: float) -> Any:
    import optax

    rate = optax.linear_schedule(learning_rate, 0.0, steps)
    adam = optax.adam(rate, eps=ADAM_EPSILON)
    # One flat array compiles a third faster than a dozen of them.
    return optax.flatten(optax.chain(optax.clip_by_global_norm(max_norm), adam))


class PPOData:
    """Blocks of steps of an agent in vector environments, a data source."""

    drifts: bool = True
    """The data come from the agent."""
    episodes: list[Episode]
    """All episodes that have ended."""
    timesteps: int
    """Steps so far, of all environments together."""

    def __init__(self, ppo: PPO, envs: VectorEnv, seed: int = 0):
        """Keep the arguments of `PPO.data`; no step is taken yet."""
        require_at_least("seed", seed, 0)
        self.samples = ppo.steps * envs.envs
        """Steps of all environments in a block."""
        if ppo.minibatches > self.samples:
            raise RobooptError(
                f"`minibatches` must be at most the {self.samples} samples of a "
                f"block, got {ppo.minibatches}."
            )
        self._ppo, self._envs, self._seed = ppo, envs, seed
        self.steps = ppo.epochs * ppo.minibatches
        """Gradient steps on one block."""
        whole = ppo.minibatches == 1
        self.batch_size = None if whole else self.samples // ppo.minibatches
        """Samples of a minibatch, None for whole blocks."""
        self._reset()

    def _reset(self) -> None:
        self.episodes, self.timesteps, self._begun = [], 0, False
        self._number = 0
        self._observed = RunningMeanStd.zero(self._envs.observation_size)
        self._scale = RewardScale.zero(self._envs.envs)

    def gradient_steps(self, timesteps: int) -> int:
        """Return the gradient steps of at least `timesteps` in the environments."""
        require_at_least("timesteps", timesteps, 1)
        return -(-timesteps // self.samples) * self.steps

    def next(self, model: Any, key: Any) -> Block:
        """Let `model` act; return the batch, and the model with renewed normalizers.

        Args:
            model: an agent, such as an `ActorCritic`.
            key: not used; the randomness follows from the seed of the source.
        """
        ppo = self._ppo
        number, self._number = self._number, self._number + 1
        if not self._begun:
            self._begun = True
            self._envs.begin(self._seed)
        if number and ppo.normalize_observations:
            model = model.seeing(self._observed.normalizer())
        acted = model
        key = jax.random.key(_block_seed(self._seed, number))
        steps, episodes = self._envs.collect(acted, key, ppo.steps)
        self.timesteps += self.samples
        self.episodes += episodes
        self._observed = self._observed.update(steps.observations, steps.valid)
        if number == 0 and ppo.normalize_observations:
            # The first gradient steps are not taken on inputs in any unit.
            model = model.seeing(self._observed.normalizer())
        unit = 1.0
        if ppo.scale_rewards:
            self._scale = self._scale.update(steps, ppo.discount)
            unit = self._scale.unit
        numbers = [unit, ppo.discount, ppo.gae_lambda]
        settings = np.array(numbers, steps.rewards.dtype)
        return Block(_batch(model, acted, steps, settings), model)

    def outline(self, model: Any) -> PPOBatch:
        """Return zeros of the shapes of a block, for compiling ahead."""
        kind = jax.dtypes.canonicalize_dtype(float)
        row = jax.ShapeDtypeStruct((self._envs.observation_size,), kind)
        drawn = eqx.filter_eval_shape(model.draw, row, jax.random.key(0))

        def block(like: Any) -> np.ndarray:
            shape = self._ppo.steps, self._envs.envs, *like.shape
            return np.zeros(shape, like.dtype)

        number, flag = (jax.ShapeDtypeStruct((), dtype) for dtype in (kind, bool))
        steps = Steps(*map(block, (row, drawn, number, row, flag, flag, flag)))
        shapes = eqx.filter_eval_shape(_batch, model, model, steps, np.zeros(3, kind))
        # NumPy's zeros: JAX would compile a program for every shape.
        return jax.tree.map(
            lambda x: jax.device_put(np.zeros(x.shape, x.dtype)), shapes
        )

    def state(self) -> Any:
        """Return the running statistics, for a checkpoint."""
        return {
            "number": np.asarray(self._number),
            "timesteps": np.asarray(self.timesteps),
            "observed": self._observed,
            "scale": self._scale._replace(running=np.zeros(self._envs.envs)),
        }

    def restore(self, state: Any) -> None:
        """Go on from a `state`, with new episodes."""
        self._reset()
        self._number = int(state["number"])
        self.timesteps = int(state["timesteps"])
        self._observed = RunningMeanStd(*map(np.asarray, state["observed"]))
        self._scale = RewardScale(*map(np.asarray, state["scale"]))


@eqx.filter_jit
def _batch(
    agent: Any, acted: Any, steps: Steps, settings: Float[AnyArray, "3"]
) -> PPOBatch:
    """Return the batch of `steps`.

    Args:
        agent: the agent whose value function is trained.
        acted: the agent that acted, whose normalizer may be another.
        steps: steps of all environments.
        settings: the unit of the rewards, γ and λ.
    """
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
        log_probs=rows(jax.vmap(jax.vmap(acted.log_prob))(observations, actions)),
        advantages=rows(centered / deviation),
        returns=rows(advantages + values),
        weights=rows(weights),
    )


def _block_seed(seed: int, number: int) -> int:
    sequence = np.random.SeedSequence([seed, number])
    return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
