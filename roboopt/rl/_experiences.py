"""Experiences: what an agent did last, as batches to learn from by likelihood ratio.

Every block, the agent acts for some steps; several passes of gradient steps are taken
over what it did, and it is forgotten. All that depends on the task's units is measured
on the way: observations are normalized by the mean and deviation of all seen so far,
rewards divided by the root mean square of their discounted sums,

    s² = E[R_t²],   R_t = r_t + γ (1 − ended_{t−1}) R_{t−1},

and advantages by their own mean and deviation in the block; so one learning rate serves
newtons and euros. (Engstrom et al., 2020, Implementation matters in deep policy
gradients, who divide by the deviation: a reward that is always the same has none.)
"""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Experience, generalized_advantages
from roboopt.optimize import Block
from roboopt.optimize._compile_ahead import zeros
from roboopt.rl._optimizer import on_policy_optimizer
from roboopt.rl._running import Scale, Seen
from roboopt.rollouts import Episode, Steps, VectorEnv

LAST = 100  # Episodes that a mean return is of.


class Progress(NamedTuple):
    """How far learning had come."""

    timesteps: int
    """Steps of all environments together."""
    seconds: float
    """Since the first block was asked for."""
    mean_return: float
    """Of the last episodes, up to a hundred; NaN before one has ended."""
    mean_length: float
    """Likewise, in steps."""
    success_rate: float
    """Likewise, of those that say; NaN if none does."""


class Experiences:
    """A source of batches for `minimize`: what the agent does, block by block."""

    drifts: bool = True
    """The data come from the agent."""
    episodes: list[Episode]
    """All that have ended."""
    log: list[Progress]
    """After each block."""
    timesteps: int
    """Taken by now, in all environments together."""

    def __init__(
        self,
        world: VectorEnv,
        *,
        steps: int = 256,
        epochs: int = 10,
        minibatches: int = 8,
        discount: float = 0.99,
        trace: float = 0.98,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        seed: int = 0,
    ):
        """Keep the settings; nothing acts yet.

        Args:
            world: to act in.
            steps: of each environment, that the agent acts for before each block. If
                it is less than an episode, and all of these go on for as long as each
                other, a block holds but a part of them, and the value function forgets
                the rest.
            epochs: passes over a block.
            minibatches: gradient steps a pass: `minimize` is to be given `batch_size`
                as it is here.
            discount: γ of the rewards.
            trace: λ of the advantages.
            normalize_observations: whether the agent's inputs follow what is seen.
            scale_rewards: whether rewards are divided by the root mean square of their
                discounted sums.
            seed: of the episodes and of what the agent draws.

        Raises:
            RobooptError: if `steps`, `epochs` or `minibatches` is less than 1, there
            are
                more minibatches than samples, `discount` or `trace` is not between 0
                and 1, or `seed` is negative.
        """
        counts = {"steps": steps, "epochs": epochs, "minibatches": minibatches}
        for name, value in counts.items():
            if value < 1:
                raise RobooptError(f"`{name}` must be at least 1, got {value}.")
        for name, value in {"discount": discount, "trace": trace}.items():
            if not 0 <= value <= 1:
                raise RobooptError(f"`{name}` must be from 0 to 1, got {value}.")
        if seed < 0:
            raise RobooptError(f"`seed` must be at least 0, got {seed}.")
        self._samples = steps * world.envs
        if minibatches > self._samples:
            raise RobooptError(
                f"`minibatches` must be at most the {self._samples} samples of a "
                f"block, got {minibatches}."
            )
        self._world, self._length, self._seed = world, steps, seed
        self._epochs, self._minibatches = epochs, minibatches
        self._discount, self._trace = discount, trace
        self._normalize, self._rescale = normalize_observations, scale_rewards
        self._forget()

    def _forget(self) -> None:
        self.episodes, self.log, self.timesteps = [], [], 0
        self._began: float | None = None
        self._seen = Seen.none(self._world.observation_size)
        self._scale = Scale(np.zeros(self._world.envs), 0.0, 0.0)

    @property
    def steps(self) -> int:
        """Return how many gradient steps are taken on one block."""
        return self._epochs * self._minibatches

    @property
    def batch_size(self) -> int | None:
        """Return what `minimize` is to be given; None for all of a block."""
        whole = self._minibatches == 1
        return None if whole else self._samples // self._minibatches

    @property
    def samples(self) -> int:
        """Return the steps of all environments in a block."""
        return self._samples

    def optimizer(self, steps: int) -> Any:
        """Return what `minimize` is to use for so many gradient steps."""
        return on_policy_optimizer(steps)

    def steps_for(self, timesteps: int) -> int:
        """Return the gradient steps of at least `timesteps` in the environments.

        Raises:
            RobooptError: if `timesteps` is less than 1.
        """
        if timesteps < 1:
            raise RobooptError(f"`timesteps` must be at least 1, got {timesteps}.")
        return -(-timesteps // self._samples) * self.steps

    def recent_return(self, episodes: int = LAST) -> float:
        """Return the mean return of the last `episodes`; NaN before one has ended."""
        last = [x.undiscounted_return for x in self.episodes[-episodes:]]
        return float(np.mean(last)) if last else float("nan")

    def block(self, model: Any, number: int) -> Block:
        """Let `model` act, and return what it did, and the model with its inputs so.

        Args:
            model: an agent, such as an `ActorCritic`.
            number: 0 to begin anew, or the next.
        """
        if number == 0:
            self._forget()
        if self._began is None:
            self._began = time.perf_counter()
            self._world.begin(self._seed)
        if number and self._normalize:
            model = model.seeing(self._seen.normalizer())
        key = jax.random.key(_seed(self._seed, number))
        steps, episodes = self._world.collect(model, key, self._length)
        self._seen = self._seen.and_(steps.observations, steps.valid)
        if not number and self._normalize:
            # So that the first steps are not taken on inputs in any unit.
            model = model.seeing(self._seen.normalizer())
        unit = 1.0
        if self._rescale:
            self._scale = self._scale.and_(steps, self._discount)
            unit = self._scale.unit
        settings = np.array([unit, self._discount, self._trace], steps.rewards.dtype)
        experience = _experience(model, steps, settings)
        self._note(steps, episodes)
        return Block(experience, model)

    def outline(self, model: Any) -> Experience:
        """Return what is like a block, though nothing has happened in it."""
        kind = jax.dtypes.canonicalize_dtype(float)
        seen = jax.ShapeDtypeStruct((self._world.observation_size,), kind)
        drawn = eqx.filter_eval_shape(model.draw, seen, jax.random.key(0))

        def many(like: Any) -> np.ndarray:
            shape = self._length, self._world.envs, *like.shape
            return np.zeros(shape, like.dtype)

        once, flag = (jax.ShapeDtypeStruct((), dtype) for dtype in (kind, bool))
        steps = Steps(*map(many, (seen, drawn, once, seen, flag, flag, flag)))
        settings = np.zeros(3, kind)
        return zeros(eqx.filter_eval_shape(_experience, model, steps, settings))

    def _note(self, steps: Steps, episodes: list[Episode]) -> None:
        assert self._began is not None
        self.timesteps += self._samples
        self.episodes += episodes
        last = self.episodes[-LAST:]
        said = [x.success for x in last if x.success is not None]
        progress = Progress(
            self.timesteps,
            time.perf_counter() - self._began,
            self.recent_return(),
            float(np.mean([x.length for x in last])) if last else float("nan"),
            float(np.mean(said)) if said else float("nan"),
        )
        self.log.append(progress)

    def state(self) -> Any:
        """Return what has been measured by now, for a checkpoint."""
        seen = self._seen
        return {
            "timesteps": np.asarray(self.timesteps),
            "seen": (np.asarray(seen.number), seen.mean, seen.square),
            "scale": (np.asarray(self._scale.square), np.asarray(self._scale.number)),
        }

    def restore(self, state: Any) -> None:
        """Go on from a `state`, with new episodes."""
        self._forget()
        self.timesteps = int(state["timesteps"])
        count, mean, square = state["seen"]
        self._seen = Seen(float(count), np.asarray(mean), np.asarray(square))
        square, count = state["scale"]
        self._scale = Scale(np.zeros(self._world.envs), float(square), float(count))


@eqx.filter_jit
def _experience(agent: Any, steps: Steps, settings: Float[AnyArray, "3"]) -> Experience:
    """Return what is learned from `steps`.

    Args:
        agent: that acted.
        steps: of all environments.
        settings: the unit of the rewards, the discount and the trace.
    """
    unit, discount, trace = jnp.asarray(settings)
    observations, drawn = jnp.asarray(steps.observations), jnp.asarray(steps.drawn)
    both = jnp.stack([observations, jnp.asarray(steps.next_observations)])
    values, following = jax.vmap(jax.vmap(jax.vmap(agent.value)))(both)
    advantages = generalized_advantages(
        jnp.asarray(steps.rewards) / unit,
        values,
        following,
        jnp.asarray(steps.terminated),
        jnp.asarray(steps.ended),
        discount=discount,
        trace=trace,
    )
    weights = jnp.asarray(steps.valid, values.dtype)
    total = jnp.maximum(jnp.sum(weights), 1.0)
    apart = advantages - jnp.sum(weights * advantages) / total
    normalized = apart / _root(jnp.sum(weights * apart**2) / total)
    log_probs = jax.vmap(jax.vmap(agent.log_prob))(observations, drawn)

    def rows(x: Array) -> Array:
        return x.reshape(-1, *x.shape[2:])

    return Experience(
        observations=rows(observations),
        drawn=rows(drawn),
        log_probs=rows(log_probs),
        advantages=rows(normalized),
        returns=rows(advantages + values),
        values=rows(values),
        weights=rows(weights),
    )


def _root(square: Array) -> Array:
    """Return the root, or 1 where there is next to nothing."""
    least = 1e-16
    return jnp.where(square > least, jnp.sqrt(jnp.maximum(square, least)), 1.0)


def _seed(seed: int, number: int) -> int:
    sequence = np.random.SeedSequence([seed, number])
    return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
