"""Policy gradients with parameter-based exploration (PGPE), along the natural gradient.

Every step draws some policies from `ParameterNoise` for each of some starts, and runs
one episode of each. A return is compared with those of the other policies from the same
start, by its rank among n,

    A_i = u_i / E[max(u, 0)],
    u_i = #{j: R_j < R_i} + ½ #{j ≠ i: R_j = R_i} − (n − 1)/2

so that neither the difficulty of the start nor the unit of the reward matters, and a
motion that is not finite is the last and no worse. The gradient is that of the
likelihood ratio, −E[A ∇ log p(θ)] (`objectives.PPOLoss` without a clip), and the step
follows the natural gradient: by the inverse of the Fisher information the gradient by
the mean x is multiplied by σ², and that by log σ by ½. Steps then measure the change of
the distribution, whatever the units of the parameters. Learning rates are 1 for the
mean and (3 + log d)/5√d for log σ (Sehnke et al., 2010, Parameter-exploring policy
gradients; Wierstra et al., 2014, Natural evolution strategies).
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from roboopt._core import AnyArray, groups_at_once
from roboopt._errors import RobooptError, require, require_at_least, require_positive
from roboopt._programs import filter_jit
from roboopt.data import Trajectory
from roboopt.objectives import PPOBatch, PPOLoss
from roboopt.optimize import Block, Result, minimize
from roboopt.rl._experience import Experience
from roboopt.rl._parameter_noise import ParameterNoise
from roboopt.rl._policies import deterministic_policy
from roboopt.rl._run import Run, budget_in_words
from roboopt.rl._task import STARTS, Task
from roboopt.rollouts import as_episodes

MIN_STARTS = 8  # a step
EPISODES_PER_PARAMETER = 4
TWIN_TIMESTEPS, GYM_TIMESTEPS = 2_000_000, 1_000_000
OBJECTIVE = PPOLoss(clip=None, value_weight=0.0)  # the likelihood ratio


@dataclass(frozen=True)
class PGPE:
    """Parameter exploration for policies with few parameters, such as gains."""

    gradient: ClassVar[str] = "likelihood"
    draws: int = 8
    """Policies drawn for each start."""
    spread: float = 0.1
    """The first standard deviation, relative to the size of each parameter array."""
    learning_rate: float = 1.0
    """Relative to the rates above, which suit advantages whose positive part is 1 on
    average."""

    def __post_init__(self):
        require_at_least(2, draws=self.draws)
        require_positive(spread=self.spread, learning_rate=self.learning_rate)

    def data(
        self, rollout: Any, starts: Any, *, starts_per_step: int = 8, seed: int = 0
    ) -> "PGPEData":
        """Return the data source for `minimize`: episodes of drawn policies."""
        return PGPEData(rollout, starts, starts_per_step, self.draws, seed)

    def learn(
        self,
        policy: Any,
        rollout: Any,
        starts: Shaped[AnyArray, "..."],
        *,
        steps: int,
        starts_per_step: int = 8,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        """Improve `policy` by its return through `rollout`, differentiable or not.

        Args:
            policy: a `ParameterNoise`, or a policy to put one around.
            rollout: a `Rollout` with a reward, a `GymRollout`, or another callable like
                them with a `horizon`.
            starts: starts to draw from: observations (starts, obs), or for a
                `GymRollout` the seeds (starts,) of resets.
            steps: gradient steps.
            starts_per_step: starts drawn for each step. All episodes of a step should
                be several times the parameters.
            seed: the seed of all randomness.
            **settings: further settings of `minimize`, such as `callback`.

        Raises:
            RobooptError: if an argument is out of its range.
        """
        data = self.data(rollout, starts, starts_per_step=starts_per_step, seed=seed)
        settings.setdefault("optimizer", _natural_descent(self.learning_rate))
        noise = self.around(policy)
        return minimize(OBJECTIVE, noise, data, steps=steps, seed=seed, **settings)

    def around(self, policy: Any) -> ParameterNoise:
        """Return `policy` with noise on its parameters."""
        if isinstance(policy, ParameterNoise):
            return policy
        return ParameterNoise(policy, self.spread)

    def prepare(self, task: Task, policy: Any) -> Run:
        """Return the run on `task`, from `policy`."""
        task.require_horizon("PGPE")
        policy, described = deterministic_policy(task, policy)
        noise = self.around(policy)
        enough = -(-EPISODES_PER_PARAMETER * noise.shift.size // self.draws)
        count = task.envs or max(MIN_STARTS, enough)
        if task.in_twin:
            rollout: Any = task.sampling_twin()
            where, timesteps = "its twin in JAX", task.timesteps or TWIN_TIMESTEPS
        else:
            rollout, where = task.gym_rollout(), f"{task.name}{task.in_processes}"
            timesteps = task.timesteps or GYM_TIMESTEPS
        starts = task.starts(STARTS)
        data = PGPEData(rollout, starts, count, self.draws, task.seed, timesteps)
        return Run(
            algorithm=self,
            objective=OBJECTIVE,
            model=noise,
            data=data,
            progress=data,
            # Episodes that end early leave more steps in the budget.
            steps=-(-timesteps // (count * self.draws)),
            settings={"optimizer": _natural_descent(self.learning_rate)},
            timesteps=timesteps,
            choice={
                "policy": f"{described}, with noise on its parameters",
                "algorithm": (
                    f"PGPE: likelihood-ratio gradient, natural; {self.draws} policies "
                    f"from each of {count} starts a step"
                ),
                "environment": where,
                "budget": budget_in_words(
                    timesteps, count * self.draws * rollout.horizon
                ),
            },
            close=getattr(rollout, "close", lambda: None),
        )


# Cached: JAX compiles anew for every new optimizer object.
@functools.lru_cache
def _natural_descent(learning_rate: float) -> Any:
    import optax

    def init(params: Any) -> Any:
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        size = updates.shift.size
        deviation_rate = (3 + math.log(size)) / (5 * math.sqrt(size))
        variance = jnp.exp(2 * params.log_deviation)
        steps = (
            -learning_rate * variance * updates.shift,
            -learning_rate * deviation_rate / 2 * updates.log_deviation,
        )
        both = lambda tree: (tree.shift, tree.log_deviation)  # noqa: E731
        return eqx.tree_at(both, updates, steps), state

    return optax.GradientTransformation(init, update)


class PGPEData(Experience):
    """Episodes of policies drawn from a `ParameterNoise`, a data source."""

    def __init__(
        self,
        rollout: Any,
        starts: Shaped[AnyArray, "..."],
        groups: int = 8,
        draws: int = 8,
        seed: int = 0,
        timesteps: int | None = None,
    ):
        """Keep the arguments of `PGPE.learn`; no episode runs yet.

        Where a block could exceed `timesteps`, blocks repeat the last one.
        """
        require_at_least(1, starts_per_step=groups)
        super().__init__(seed)
        self._bank = np.asarray(starts)
        if self._bank.ndim not in (1, 2) or len(self._bank) == 0:
            raise RobooptError(
                "`starts` must be observations (starts, obs), or the seeds (starts,) "
                f"of resets, at least one, got shape {self._bank.shape}."
            )
        self._rollout, self._budget = rollout, timesteps
        self._groups, self._draws = groups, draws
        self._outside = not getattr(rollout, "differentiable", True)
        self._success = getattr(getattr(rollout, "reward", None), "success", None)
        # Compiled for every source: what it closes over is constant, and faster so.
        self._compiled = filter_jit(self._rollouts)
        self._last: PPOBatch | None = None
        self._cost = 0  # of the longest block

    def _block(self, model: Any, number: int) -> Block:
        """Run policies that `model` draws; return their advantages."""
        valid = isinstance(model, ParameterNoise)
        require(valid, "model", "be a `ParameterNoise`", type(model))
        budget = math.inf if self._budget is None else self._budget
        if self._last is not None and self.timesteps + self._cost > budget:
            self.exhausted = True
            return Block(self._last, model)
        random = np.random.default_rng([self._seed, number])
        rows = random.integers(len(self._bank), size=self._groups)
        starts = np.repeat(self._bank[rows], self._draws, 0)
        key = jax.random.key(int(random.integers(2**32)))
        drawn = _draw(model, key, len(starts))
        trajectory, taken = self._run(model, drawn, starts)
        if trajectory.rewards is None:
            raise RobooptError(
                "`rollout` must return trajectories with rewards, got none."
            )
        self._cost = max(self._cost, taken)
        self._count(taken, as_episodes(trajectory, self._success))
        returns = np.asarray(trajectory.rewards, float).sum(-1)
        returns = np.where(np.isfinite(returns), returns, -np.inf)
        advantages = _rank_advantages(returns.reshape(self._groups, self._draws))
        observations = jnp.asarray(np.asarray(trajectory.observations)[:, 0], float)
        kind = drawn.dtype
        finite = np.nan_to_num(returns, neginf=-float(jnp.finfo(kind).max))
        self._last = PPOBatch(
            observations=observations,
            actions=drawn,
            log_probs=_log_probs(model, observations, drawn),
            advantages=jnp.asarray(advantages.ravel(), kind),
            returns=jnp.asarray(finite, kind),
            weights=jnp.ones(len(starts), kind),
        )
        return Block(self._last, model)

    def _run(
        self, model: Any, drawn: Array, starts: np.ndarray
    ) -> tuple[Trajectory, int]:
        """Run each of the policies `drawn` from its start; return also the steps."""
        if not self._outside:
            trajectory = self._compiled(model, drawn, jnp.asarray(starts, float))
            return trajectory, len(starts) * self._rollout.horizon
        before = self._rollout.steps_made
        trajectory = self._rollout.many(_policies(model, drawn), starts, paired=True)
        return trajectory, self._rollout.steps_made - before

    def _rollouts(
        self,
        model: Any,
        drawn: Float[Array, "sample parameter"],
        starts: Float[Array, "sample obs"],
    ) -> Trajectory:
        def one(drawn, start):
            run = self._rollout(model.at(drawn), start[None])
            return jax.tree.map(lambda x: x[0], run)

        def apart(x):
            return x.reshape(self._groups, self._draws, -1)

        # On a CPU group by group: all at once, XLA shares every small operation among
        # threads, and takes three times as long for an arm of nine joints.
        group = lambda both: jax.vmap(one)(*both)  # noqa: E731
        width = groups_at_once(self._groups)
        runs = jax.lax.map(group, (apart(drawn), apart(starts)), batch_size=width)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), runs)


@filter_jit
def _draw(model: Any, key: Array, count: int) -> Float[Array, "sample parameter"]:
    return jax.vmap(model.draw)(jax.random.split(key, count))


@filter_jit
def _policies(model: Any, drawn: Float[Array, "sample parameter"]) -> Any:
    return eqx.filter_vmap(model.at)(drawn)


@filter_jit
def _log_probs(model: Any, observations: Array, drawn: Array) -> Array:
    return jax.vmap(model.log_prob)(observations, drawn)


def _rank_advantages(
    returns: Float[np.ndarray, "group draw"],
) -> Float[np.ndarray, "group draw"]:
    """Return the advantages by rank; equal returns share theirs."""
    each, other = returns[:, :, None], returns[:, None, :]
    rank = (each > other).sum(-1) + 0.5 * ((each == other).sum(-1) - 1)
    count = returns.shape[1]
    # The positive part of all n ranks without a tie is this on average.
    positive = (count**2 - count % 2) / (8 * count)
    return (rank - (count - 1) / 2) / positive
