"""Trials: episodes of policies that were drawn, to learn from by likelihood ratio.

Every block, some policies are drawn for each of some starts, and each runs one episode.
What it earned is compared with what the others did from the same start, by its rank,

    A_i = r_i / E[max(r, 0)]
    r_i = #{j: R_j < R_i} + ½ #{j ≠ i: R_j = R_i} − (n − 1)/2

so that neither the starts' differences nor the reward's unit come into it, and a motion
that fell over, or is not finite, is the last and no more.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Experience, Trajectory
from roboopt.optimize import Block
from roboopt.rl._natural_optimizer import natural_optimizer
from roboopt.rollouts import Episode, as_episodes


class Trials:
    """A source of batches for `minimize`: what drawn policies earn, block by block.

    `minimize(NegativeReward(), ParameterNoise(policy), Trials(run, starts))`
    improves the policy by what it earns through `run`, differentiable or not.
    """

    drifts: bool = True
    """The data come from the agent."""
    steps: int = 1
    """Gradient steps on one block."""
    episodes: list[Episode]
    """All that have ended."""
    timesteps: int
    """Of all episodes together, each taken for whole."""

    def __init__(
        self,
        run: Any,
        starts: Shaped[AnyArray, "..."],
        *,
        groups: int = 8,
        draws: int = 8,
        seed: int = 0,
    ):
        """Keep the settings; nothing runs yet.

        Args:
            run: a `Rollout` with a reward, a `GymRollout`, or whatever else is called
                as a `Rollout` and has a `horizon`.
            starts: that episodes begin at: observations (starts, obs), or for a
                `GymRollout` the seeds (starts,) of resets.
            groups: how many starts a block has, drawn from `starts`.
            draws: how many policies are drawn for each of them. All together should be
                several times the parameters.
            seed: of all chance.

        Raises:
            RobooptError: if `groups` is less than 1, `draws` less than 2, `seed` is
                negative, or there is no start.
        """
        for name, value, least in (("groups", groups, 1), ("draws", draws, 2)):
            if value < least:
                raise RobooptError(f"`{name}` must be at least {least}, got {value}.")
        if seed < 0:
            raise RobooptError(f"`seed` must be at least 0, got {seed}.")
        self._bank = np.asarray(starts)
        if self._bank.ndim not in (1, 2) or len(self._bank) == 0:
            raise RobooptError(
                "`starts` must be observations (starts, obs), or the seeds (starts,) "
                f"of resets, at least one, got shape {self._bank.shape}."
            )
        self._run, self._seed = run, seed
        self._groups, self._draws = groups, draws
        self._outside = not getattr(run, "differentiable", True)
        self._success = getattr(getattr(run, "reward", None), "success", None)
        # Its own for every source: what it closes over is constant, and faster so.
        self._rolled = eqx.filter_jit(self._rollouts)
        self.episodes, self.timesteps = [], 0

    @property
    def samples(self) -> int:
        """Return the steps of all episodes of a block."""
        return self._groups * self._draws * self._run.horizon

    def optimizer(self, steps: int) -> Any:
        """Return what `minimize` is to use for so many gradient steps."""
        return natural_optimizer()

    def steps_for(self, timesteps: int) -> int:
        """Return the gradient steps of at least `timesteps` in the episodes.

        Raises:
            RobooptError: if `timesteps` is less than 1.
        """
        if timesteps < 1:
            raise RobooptError(f"`timesteps` must be at least 1, got {timesteps}.")
        return -(-timesteps // self.samples) * self.steps

    def block(self, model: Any, number: int) -> Block:
        """Let policies that `model` draws run; return what they earned.

        Args:
            model: an `ParameterNoise`.
            number: 0 to begin anew, or the next.

        Raises:
            RobooptError: if `model` cannot draw, or `run` returns no rewards.
        """
        if not (hasattr(model, "draw") and hasattr(model, "at")):
            raise RobooptError(
                "`model` must draw policies, as an `ParameterNoise` does, got "
                f"{type(model).__name__}."
            )
        if number == 0:
            self.episodes, self.timesteps = [], 0
        chance = np.random.default_rng([self._seed, number])
        rows = chance.integers(len(self._bank), size=self._groups)
        starts = np.repeat(self._bank[rows], self._draws, 0)
        key = jax.random.key(int(chance.integers(2**32)))
        drawn = _draw(model, key, len(starts))
        trajectory = self._trajectory(model, drawn, starts)
        if trajectory.rewards is None:
            raise RobooptError("`run` must return trajectories with rewards, got none.")
        self.timesteps += self.samples
        self.episodes += as_episodes(trajectory, self._success)
        returns = np.asarray(trajectory.rewards, float).sum(-1)
        returns = np.where(np.isfinite(returns), returns, -np.inf)
        advantages = _utilities(returns.reshape(self._groups, self._draws)).ravel()
        observations = jnp.asarray(np.asarray(trajectory.observations)[:, 0], float)
        kind = drawn.dtype
        finite = np.nan_to_num(returns, neginf=-float(jnp.finfo(kind).max))
        experience = Experience(
            observations=observations,
            drawn=drawn,
            log_probs=_log_probs(model, observations, drawn),
            advantages=jnp.asarray(advantages, kind),
            returns=jnp.asarray(finite, kind),
            values=jnp.zeros(len(starts), kind),
            weights=jnp.ones(len(starts), kind),
        )
        return Block(experience, model)

    def _trajectory(self, model: Any, drawn: Array, starts: np.ndarray) -> Trajectory:
        """Return what each of the policies `drawn` does from its start."""
        if self._outside:
            return self._run.each(_policies(model, drawn), starts)
        return self._rolled(model, drawn, jnp.asarray(starts, float))

    def _rollouts(
        self,
        model: Any,
        drawn: Float[Array, "sample parameter"],
        starts: Float[Array, "sample obs"],
    ) -> Trajectory:
        def one(drawn, start):
            run = self._run(model.at(drawn), start[None])
            return jax.tree.map(lambda x: x[0], run)

        def apart(x):
            return x.reshape(self._groups, self._draws, -1)

        # Group by group: all at once, XLA shares every small operation among threads,
        # and takes three times as long for an arm of nine joints.
        group = lambda both: jax.vmap(one)(*both)  # noqa: E731
        runs = jax.lax.map(group, (apart(drawn), apart(starts)))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), runs)

    def state(self) -> Any:
        """Return what a checkpoint holds."""
        return {"timesteps": np.asarray(self.timesteps)}

    def restore(self, state: Any) -> None:
        """Go on from a `state`."""
        self.episodes, self.timesteps = [], int(state["timesteps"])


@eqx.filter_jit
def _draw(model: Any, key: Array, count: int) -> Float[Array, "sample parameter"]:
    return jax.vmap(model.draw)(jax.random.split(key, count))


@eqx.filter_jit
def _policies(model: Any, drawn: Float[Array, "sample parameter"]) -> Any:
    return eqx.filter_vmap(model.at)(drawn)


@eqx.filter_jit
def _log_probs(model: Any, observations: Array, drawn: Array) -> Array:
    return jax.vmap(model.log_prob)(observations, drawn)


def _utilities(
    returns: Float[np.ndarray, "group draw"],
) -> Float[np.ndarray, "group draw"]:
    """Return the advantages by rank; where returns are equal they share theirs."""
    each, other = returns[:, :, None], returns[:, None, :]
    beaten = (each > other).sum(-1) + 0.5 * ((each == other).sum(-1) - 1)
    count = returns.shape[1]
    # All n ranks without a tie have a positive part of this on average.
    positive = (count**2 - count % 2) / (8 * count)
    return (beaten - (count - 1) / 2) / positive
