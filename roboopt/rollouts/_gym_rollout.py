"""Simulated trajectories through any Gymnasium environment, many at once.

What a `Rollout` is for a simulator in JAX, this is for every other: the same call, the
same trajectories, but no gradient. Episode k of any two models begins alike and meets
the same chance, so that their difference is the models'.
"""

import math
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.policies import StatefulPolicy
from roboopt.rollouts._collect import check_start
from roboopt.rollouts._deciders import Deciders, is_array
from roboopt.rollouts._pool import Pool


class GymRollout:
    """Runs what acts, with its memory, in environments for `horizon` steps.

    An episode that ends before has reward 0 from there on, and stays at its last
    observation. Rewards, efforts and success are the environment's.

    Attributes:
        horizon: steps.
        pool: the environments.
        time_step: what a step takes [s]; 1 where the environment does not say.
        steps_made: steps that environments have taken by now, in all.
        differentiable: False: JAX can neither trace nor differentiate the rollout.
    """

    differentiable = False

    def __init__(
        self,
        make: Any,
        horizon: int,
        *,
        envs: int = 8,
        processes: int = 0,
        timeout: float = 60.0,
    ):
        """Make the environments.

        Args:
            make: as `Pool` takes it.
            horizon: steps.
            envs: how many episodes run at a time.
            processes: that hold the environments; 0 for none but this one.
            timeout: within which a worker process must answer [s].

        Raises:
            RobooptError: if `horizon` is less than 1, or as `Pool`.
            EnvError: as `Pool`.
        """
        if horizon < 1:
            raise RobooptError(f"`horizon` must be at least 1 step, got {horizon}.")
        self.horizon = horizon
        self.pool = Pool(make, envs, processes=processes, timeout=timeout)
        self.time_step = self.pool.time_step
        self.steps_made = 0

    def __call__(
        self,
        model: Any,
        starts: Shaped[AnyArray, "..."],
        keys: Shaped[Array, "starts ..."] | None = None,
    ) -> Trajectory:
        """Return the trajectories of `model`, one a start.

        Args:
            model: `policy(observation) -> action`, an `OpenLoop`, a `TimeVaryingPolicy`
            or a `StatefulPolicy`.
                A function need not be JAX's, but must not remember anything; one that
                returns arrays of JAX must be pure.
            starts: observations (starts, obs) for environments that begin where `reset`
                is told by `options["start"]`, as those of `roboopt_envs`; or the seeds
                (starts,) of resets, for any.
            keys: what a `StatefulPolicy` draws from, one a start.

        Raises:
            RobooptError: if JAX is tracing; if `starts` are neither, or the environment
                does not begin there; if there are not as many `keys`, or `model` needs
                them; if it is not callable, or returns what is no action.
            EnvError: if an environment fails. The next call begins anew.
        """
        _refuse_tracing(model, starts, keys)
        if not (callable(model) or isinstance(model, StatefulPolicy)):
            raise RobooptError(
                "`model` must be callable, observation -> action, or an "
                "`StatefulPolicy`, got "
                f"{model!r}."
            )
        deciders = Deciders(model, self.pool.envs, many=False)
        return self._run(deciders, (), starts, keys)

    def many(
        self,
        models: Any,
        starts: Shaped[AnyArray, "..."],
        keys: Shaped[Array, "starts ..."] | None = None,
    ) -> Trajectory:
        """Return the trajectories (models, starts, ...) of each model from each start.

        Args:
            models: as `model` there, but that every array has a first axis more, which
                counts the models.
            starts: as there.
            keys: as there; the same for all models.

        Raises:
            RobooptError: as there; or if the arrays of `models` differ in their first
                axis, or there are none.
            EnvError: as there.
        """
        _refuse_tracing(models, starts, keys)
        count = _count(models)
        deciders = Deciders(models, self.pool.envs, many=True)
        return self._run(deciders, (count,), starts, keys)

    def each(
        self,
        models: Any,
        starts: Shaped[AnyArray, "..."],
        keys: Shaped[Array, "starts ..."] | None = None,
    ) -> Trajectory:
        """Return the trajectories (models, ...) of each model from a start of its own.

        Args:
            models: as for `many`.
            starts: as there, as many as there are models.
            keys: as there.

        Raises:
            RobooptError: as there; or if there are not as many starts as models.
            EnvError: as there.
        """
        _refuse_tracing(models, starts, keys)
        count = _count(models)
        if np.ndim(starts) == 0 or len(starts) != count:
            raise RobooptError(
                f"`starts` must hold one for each of {count} models, got shape "
                f"{np.shape(starts)}."
            )
        deciders = Deciders(models, self.pool.envs, many=True)
        return self._run(deciders, (), starts, keys, each=True)

    def close(self) -> None:
        """Close the environments, and end their processes. Closing twice is fine."""
        self.pool.close()

    def __enter__(self) -> "GymRollout":
        """Return the simulation."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def _run(
        self,
        deciders: Deciders,
        models: tuple[int, ...],
        starts: Any,
        keys: Any,
        *,
        each: bool = False,
    ) -> Trajectory:
        """Run every start with each of so many `models`, or `each` with its own."""
        begins = _begins(starts, self.pool)
        count = len(begins)
        if keys is not None and len(keys) != count:
            raise RobooptError(
                f"`keys` must hold one for each of {count} starts, got shape "
                f"{keys.shape}."
            )
        batch = *models, count
        start = np.tile(np.arange(count), math.prod(models))
        owner = start if each else np.arange(len(start)) // count
        tapes = self._recorded(deciders, begins, keys, start, owner)

        def shaped(array: np.ndarray | None) -> Any:
            return None if array is None else array.reshape(*batch, *array.shape[1:])

        observations = shaped(tapes.observations)
        success = shaped(tapes.success)
        if self.pool.task is not None and self.pool.unchanged:
            success = np.asarray(self.pool.task.success(observations, self.time_step))
        return Trajectory(
            observations=observations,
            actions=shaped(tapes.actions),
            time_step=self.time_step,
            rewards=shaped(tapes.rewards),
            efforts=shaped(tapes.efforts),
            terminated=shaped(tapes.terminated),
            success=success,
        )

    def _recorded(
        self,
        deciders: Deciders,
        begins: list["_Begin"],
        keys: Any,
        start: np.ndarray,
        owner: np.ndarray,
    ) -> "_Tapes":
        """Run the episodes, as many at a time as there are slots.

        Args:
            deciders: what acts.
            begins: how episodes begin.
            keys: what is drawn from, for each of `begins`.
            start: which of `begins` each episode has.
            owner: which model acts in it.
        """
        pool, horizon, episodes = self.pool, self.horizon, len(start)
        tapes = _Tapes(episodes, horizon, pool.observation_size)
        episode = np.zeros(pool.envs, int)
        elapsed = np.zeros(pool.envs, int)
        running = np.zeros(pool.envs, bool)
        observations = np.zeros((pool.envs, pool.observation_size))
        waiting = 0
        while True:
            free = np.flatnonzero(~running)[: episodes - waiting]
            if len(free):
                fresh = np.zeros(pool.envs, bool)
                fresh[free] = True
                episode[free] = np.arange(waiting, waiting + len(free))
                waiting += len(free)
                elapsed[free], running[free] = 0, True
                own = start[episode]
                observations = self._begun(free, [begins[k] for k in own[free]])
                tapes.observations[episode[free], 0] = observations[free]
                slot_keys = None if keys is None else keys[own]
                deciders.begin(fresh, observations, owner[episode], slot_keys)
            if not running.any():
                return tapes
            actions = deciders(observations, elapsed * self.time_step, running)
            step = pool.step(actions, running)
            self.steps_made += int(running.sum())
            observations = step[0]
            tapes.note(running, episode, elapsed, *step)
            elapsed += running
            over = running & (step[2] | step[3] | (elapsed == horizon))
            if over.any():
                tapes.end(over, episode, elapsed, step[2], step[4].success)
                running &= ~over

    def _begun(self, slots: np.ndarray, begins: list["_Begin"]) -> np.ndarray:
        observations = self.pool.reset(
            slots, [begin.seed for begin in begins], [begin.options for begin in begins]
        )
        if self.pool.unchanged:
            for slot, begin in zip(slots.tolist(), begins, strict=True):
                if begin.options is not None:
                    check_start(
                        self.pool.name, observations[slot], begin.options["start"]
                    )
        return observations


def _count(models: Any) -> int:
    """Return how many models there are."""
    counts = {
        leaf.shape[0] if leaf.ndim else 0
        for leaf in jax.tree.leaves(models)
        if is_array(leaf)
    }
    if len(counts) != 1 or 0 in counts:
        raise RobooptError(
            "`models` must hold arrays whose first axis counts the models, "
            f"at least one, got the sizes {sorted(counts)}."
        )
    return counts.pop()


class _Begin(NamedTuple):
    """How an episode begins, whoever acts in it."""

    seed: int
    options: dict | None


def _begins(starts: Any, pool: Pool) -> list[_Begin]:
    starts = np.asarray(starts)
    if starts.ndim == 1 and starts.dtype.kind in "iu" and len(starts):
        if (starts < 0).any():
            raise RobooptError(
                f"`starts` must be seeds of at least 0, got {starts.min()}."
            )
        return [_Begin(int(seed), None) for seed in starts]
    if starts.ndim != 2 or len(starts) == 0 or starts.dtype.kind != "f":
        raise RobooptError(
            "`starts` must be observations (starts, obs), or the seeds (starts,) of "
            f"resets, at least one, got {starts.dtype} of shape {starts.shape}."
        )
    if pool.unchanged and starts.shape[1] != pool.observation_size:
        raise RobooptError(
            f"`starts` must hold observations of size {pool.observation_size}, got "
            f"shape {starts.shape}."
        )
    # What chance there is depends on the start alone, wherever it is in a batch.
    return [_Begin(zlib.crc32(start.tobytes()), {"start": start}) for start in starts]


class _Tapes:
    """What happened, episode by episode."""

    def __init__(self, episodes: int, horizon: int, size: int):
        self._steps = episodes, horizon
        self.observations = np.zeros((episodes, horizon + 1, size))
        self.rewards = np.zeros((episodes, horizon))
        self.terminated = np.zeros(episodes, bool)
        self._success = np.zeros(episodes, bool)
        self.success: np.ndarray | None = None
        self.actions: np.ndarray = np.zeros((episodes, horizon, 0))
        self.efforts: np.ndarray | None = None
        self._empty = True

    def note(self, running, episode, elapsed, observations, rewards, _, __, infos):
        """Note a step of the slots that are running."""
        if self._empty:
            self._empty = False
            actions = infos.actions
            self.actions = np.zeros((*self._steps, actions.shape[1]), actions.dtype)
            if infos.efforts is not None:
                self.efforts = np.zeros((*self._steps, infos.efforts.shape[1]))
        if infos.efforts is None:
            self.efforts = None
        rows, at = episode[running], elapsed[running]
        self.observations[rows, at + 1] = observations[running]
        self.actions[rows, at] = infos.actions[running]
        self.rewards[rows, at] = rewards[running]
        if self.efforts is not None and infos.efforts is not None:
            self.efforts[rows, at] = infos.efforts[running]

    def end(self, over, episode, elapsed, terminated, success):
        """Note the end of episodes, and let them stay where they ended."""
        rows = episode[over]
        self.terminated[rows] = terminated[over]
        if success is not None:
            self._success[rows] = success[over]
            self.success = self._success
        for row, steps in zip(rows.tolist(), elapsed[over].tolist(), strict=True):
            self.observations[row, steps + 1 :] = self.observations[row, steps]


def _refuse_tracing(*arguments: Any) -> None:
    leaves = jax.tree.leaves(arguments)
    # Under `jax.jit` even a constant is a tracer.
    if any(isinstance(leaf, Tracer) for leaf in (*leaves, jnp.zeros(()))):
        raise RobooptError(
            "`GymRollout` cannot be differentiated, compiled or mapped by JAX: give "
            "`minimize` gradient=roboopt.gradients.ZerothOrder(), and call `many` for "
            "many models."
        )
