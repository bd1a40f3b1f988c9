"""Windows of twins that go on: the data of a short-horizon actor and critic.

Parallel twins act through a window of steps, then the next, and begin anew where an
episode ends. Each window is given to the objective twice: its beginning, from which
the objective runs it again to differentiate through it, and what was seen on the way,
with what the value function V is to say of that, the λ-returns

    G_t = r_t + γ ((1 − λ) V(o_{t+1}) + λ G_{t+1})

(Xu et al., 2022, Accelerated policy learning with parallel differentiable simulation).
Their windows are of 32 steps of 1/60 s, and between two of the policy's steps V takes
64. Here V takes one, and windows are long enough, of 2.4 times 1/(1 − γ) steps, that
little is left of what it errs by.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import RobooptError
from roboopt.data import generalized_advantages
from roboopt.objectives._short_horizon import Window, WindowSettings
from roboopt.optimize import Block
from roboopt.policies import acts_by_chance
from roboopt.rl._analytic_optimizer import analytic_optimizer
from roboopt.rl._running import Seen
from roboopt.rollouts import Episode, Steps, TwinVectorEnv

RATE = 0.01  # Of the optimizer: the value function has to keep up.


class Windows:
    """A source for `minimize`: short windows of twins that go on through episodes.

    `minimize(NegativeReward(), agent, Windows(world))` descends on the exact gradient
    of what `agent` earns in a window and what its value function expects after it.
    Twins that are all at the same point of their episodes teach V next to nothing: have
    them staggered. Where an episode can be run through whole, a `Rollout` with a finite
    `gradient_decay_time` needs no value function, and does better.
    """

    drifts: bool = True
    """Losses on different windows cannot be compared: they begin elsewhere."""
    steps: int
    """Steps of the descent on one block, which is a window of every twin."""
    episodes: list[Episode]
    """Those that have ended, in their order."""

    def __init__(
        self,
        world: TwinVectorEnv,
        *,
        steps: int = 240,
        discount: float = 0.99,
        trace: float = 0.99,
        descents: int = 1,
        noise: bool = True,
        normalize_observations: bool = False,
        seed: int = 0,
    ):
        """Keep the world; nothing acts yet.

        Args:
            world: whose twins act.
            steps: of a window.
            discount: γ, of one step.
            trace: λ: 0 trusts the value function after one step, 1 only at the end of
                the window.
            descents: steps of the descent on one window, for each of which the
                objective runs it again.
            noise: whether an agent that can acts by chance, and the gradient is that of
                what it earns so on average.
            normalize_observations: whether the agent's inputs follow what is seen, if
                they can. A robot's numbers in SI units seldom need it, and a policy
                that learns fast forgets by it.
            seed: of all chance.

        Raises:
            RobooptError: if a number is out of its range.
        """
        for name, value in (("steps", steps), ("descents", descents)):
            if value < 1:
                raise RobooptError(f"`{name}` must be at least 1, got {value}.")
        if not 0 < discount <= 1:
            raise RobooptError(
                f"`discount` must be above 0 and at most 1, got {discount}."
            )
        if not 0 <= trace <= 1:
            raise RobooptError(f"`trace` must be within 0 and 1, got {trace}.")
        if seed < 0:
            raise RobooptError(f"`seed` must be at least 0, got {seed}.")
        self.world, self.steps, self.episodes = world, descents, []
        self._trace, self._noise, self._seed = trace, noise, seed
        self._normalize = normalize_observations
        self._unit: float | None = None
        self._seen = Seen.none(world.observation_size)
        self._settings = WindowSettings(world.rollout, steps, discount)

    def block(self, model: Any, number: int) -> Block:
        """Let `model` act through the next window; return it, and the model seeing it.

        Args:
            model: an agent, such as an `ActorCritic`.
            number: 0 to begin anew, or the next.
        """
        settings, envs = self._settings, self.world.envs
        if number == 0:
            self.episodes, self._unit = [], None
            self._seen = Seen.none(self.world.observation_size)
            self.world.begin(self._seed)
        key = jax.random.fold_in(jax.random.key(self._seed), number)
        of_world, of_windows = jax.random.split(key)
        by_chance = self._noise and acts_by_chance(model)
        starts, left = self.world.twins
        acting = model if by_chance else _Likeliest(model)
        made, ended = self.world.collect(acting, of_world, settings.steps)
        self.episodes += ended
        if self._normalize and hasattr(model, "seeing"):
            self._seen = self._seen.and_(made.observations, made.valid)
            model = model.seeing(self._seen.normalizer())
        if self._unit is None:
            self._unit = self._first_unit(made)
        unit = jnp.asarray(self._unit, starts.dtype)
        targets = _targets(model, made, unit, settings.discount, self._trace)
        keys = None
        if by_chance:
            keys = jax.random.key_data(jax.random.split(of_windows, envs))
        window = Window(
            starts=starts,
            left=left,
            keys=keys,
            observations=jnp.swapaxes(jnp.asarray(made.observations), 0, 1),
            targets=jnp.swapaxes(targets, 0, 1),
            unit=jnp.full(envs, unit),
            settings=settings,
        )
        return Block(window, model)

    @property
    def samples(self) -> int:
        """Return the steps of all twins in a window."""
        return self.world.envs * self._settings.steps

    def optimizer(self, steps: int) -> Any:
        """Return what `minimize` is to use for so many gradient steps."""
        return analytic_optimizer(steps, RATE)

    def state(self) -> Any:
        """Return what has been measured by now, for a checkpoint."""
        seen = self._seen
        return {
            "unit": np.asarray(np.nan if self._unit is None else self._unit),
            "seen": (np.asarray(seen.number), seen.mean, seen.square),
        }

    def restore(self, state: Any) -> None:
        """Go on from a `state`, with new episodes."""
        unit = float(state["unit"])
        self._unit = None if np.isnan(unit) else unit
        count, mean, square = state["seen"]
        self._seen = Seen(float(count), np.asarray(mean), np.asarray(square))
        self.episodes = []
        self.world.begin(self._seed)

    def _first_unit(self, made: Steps) -> float:
        """Return the size of a value: of a reward, as often as they count."""
        size = float(np.sqrt(np.mean(np.square(np.asarray(made.rewards, float)))))
        left = 1 - self._settings.discount
        return (size or 1.0) / max(left, 1 / self.world.rollout.horizon)


class _Likeliest(eqx.Module):
    """An agent that leaves nothing to chance."""

    agent: Any

    def __call__(self, observation: Float[Array, " obs"]) -> Float[Array, " act"]:
        return self.agent(observation)


@eqx.filter_jit
def _targets(
    model: Any, made: Steps, unit: Float[Array, ""], discount: float, trace: float
) -> Float[Array, "time env"]:
    value = jax.vmap(jax.vmap(model.value))
    values = value(made.observations)
    advantages = generalized_advantages(
        jnp.asarray(made.rewards) / unit,
        values,
        value(made.next_observations),
        jnp.asarray(made.terminated),
        jnp.asarray(made.ended),
        discount=discount,
        trace=trace,
    )
    return values + advantages
