"""Whole episodes of a policy in Gymnasium environments, one or many at a time.

`run_policy` is the one loop that steps a policy in Gymnasium; `run_episodes` records
whole episodes with it, and `GymVectorEnv` records blocks of steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Shaped

from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.rollouts._action_reader import RefusedAction
from roboopt.rollouts._policy_runner import PolicyRunner
from roboopt.rollouts._pool import Pool

MAX_UNBOUNDED_STEPS = 100_000
START_TOLERANCE = 1e-3  # Above rounding to single precision, below random starts.


def run_policy(
    step: Callable[[Any, np.ndarray], Any],
    act: Callable[[np.ndarray, np.ndarray], Any],
    observations: np.ndarray,
    active: np.ndarray,
    on_step: Callable[[Any], tuple[np.ndarray, np.ndarray]],
    steps: int | None = None,
) -> None:
    """Step a policy in environments until none is active, or for `steps` steps.

    Args:
        step: `step(actions, active)` steps the environments.
        act: `act(observations, active) -> actions`.
        observations: the first, (env, obs).
        active: which environments take a step.
        on_step: `on_step(step) -> (observations, active)` records a step, and begins
            the next episodes.
        steps: the number of steps.
    """
    taken = 0
    while taken != steps and True in active.tolist():
        actions = act(observations, active)
        observations, active = on_step(step(actions, active))
        taken += 1


class Start(NamedTuple):
    """How an episode begins, whoever acts in it."""

    seed: int | None
    options: dict | None


def run_episodes(
    pool: Pool,
    policy: Any,
    starts: list[Start],
    keys: Shaped[Array, "episode ..."] | None,
    *,
    owners: np.ndarray | None = None,
    label: Any = None,
    max_steps: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Trajectory:
    """Run one episode a start, as many at a time as the pool has environments.

    Args:
        pool: the environments.
        policy: any kind of policy; with `owners`, many along a first axis.
        starts: how each episode begins.
        keys: the source of each episode's randomness.
        owners: which of many policies acts in each episode.
        label: a policy whose actions are recorded while `policy` acts.
        max_steps: the end of an episode that the environment has not ended before.
        progress: called with the number of episodes done, after each.

    Raises:
        RobooptError: if an environment does not begin where it is told, if an action is
            invalid, or if nothing ends the episodes.
        EnvError: if an environment fails.
    """
    recorder = _Recorder(pool, policy, starts, keys, owners, label, max_steps, progress)
    observations, active = recorder.begin(np.zeros((pool.envs, 0)))
    run_policy(pool.advance, recorder.act, observations, active, recorder.on_step)
    return recorder.trajectory()


class _Recorder:
    """Assigns episodes to environments, asks the policies, and keeps what happened."""

    def __init__(self, pool, policy, starts, keys, owners, label, max_steps, progress):
        self._pool, self._starts, self._keys = pool, starts, keys
        count = len(starts)
        self._owners = np.zeros(count, int) if owners is None else owners
        runner = PolicyRunner(policy, pool.envs, batched=owners is not None)
        self._policies: dict[str, tuple[PolicyRunner, Any]] = {"policy": (runner, keys)}
        if label is not None:
            own = None if keys is None else _other_keys(keys)
            self._policies["label"] = PolicyRunner(label, pool.envs), own
        self._runners = [(name, p[0]) for name, p in self._policies.items()]
        self._max_steps = max_steps
        self._endless = max_steps is None and not pool.description.bounded
        self._progress = progress
        self._waiting = self._done = 0
        self._episode = np.zeros(pool.envs, int)
        self._elapsed = np.zeros(pool.envs, int)
        self._active = np.zeros(pool.envs, bool)
        self._first: list[np.ndarray] = []
        # Steps are written down in stretches, in which no episode begins or ends.
        self._stretch: list[tuple[Any, ...]] = []
        self._stretch_steps = 0
        self._stretches: list[tuple[Any, ...]] = []
        self._lengths = np.zeros(count, int)
        self._terminated, self._success = np.zeros((2, count), bool)
        self._told = False

    def begin(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Begin waiting episodes in the environments that are not active."""
        waiting = len(self._starts) - self._waiting
        free = np.flatnonzero(~self._active)[:waiting]
        if len(free):
            first = self._waiting
            self._waiting += len(free)
            self._episode[free] = np.arange(first, self._waiting)
            self._elapsed[free] = 0
            self._active = self._active.copy()
            self._active[free] = True
            starts = self._starts[first : self._waiting]
            observations = self._reset(free, starts)
            self._first.extend(observations[free])
            fresh = np.zeros(self._pool.envs, bool)
            fresh[free] = True
            owners = self._owners[self._episode]
            for runner, keys in self._policies.values():
                slot_keys = None if keys is None else keys[self._episode]
                runner.begin(fresh, owners, slot_keys)
        most = MAX_UNBOUNDED_STEPS if self._max_steps is None else self._max_steps
        if self._active.any():
            self._stretch_steps = int(most - self._elapsed[self._active].max())
        return observations, self._active

    def _reset(self, slots: np.ndarray, starts: list[Start]) -> np.ndarray:
        observations = self._pool.reset(
            slots, [s.seed for s in starts], [s.options for s in starts]
        )
        for slot, start in zip(slots.tolist(), starts, strict=True):
            if start.options is not None and self._pool.description.unchanged:
                told, begun = start.options["start"], observations[slot]
                tolerance = START_TOLERANCE * (1 + np.abs(told))
                if begun.shape != told.shape or (abs(begun - told) > tolerance).any():
                    raise RobooptError(
                        "`env` must begin where `reset` is told by options['start'] if "
                        f"`starts` are given; {self._pool.description.name} was told "
                        f"{told} and began at {begun}."
                    )
        return observations

    def act(self, observations: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Return the actions of the policy, and keep those of the label."""
        taken = None
        for name, runner in self._runners:
            actions = runner(observations, self._times, active)
            try:
                self._recorded = self._pool.read_actions(actions, active)
            except RefusedAction as refused:
                row = refused.row
                step = self._elapsed[row] + len(self._stretch)
                raise RobooptError(
                    f"`{name}` {refused.why}, at step {step} of episode "
                    f"{self._episode[row]} on observation {observations[row]}."
                ) from None
            if taken is None:
                taken = self._recorded
        assert taken is not None
        return taken

    def _times(self) -> np.ndarray:
        elapsed = self._elapsed + self._active * len(self._stretch)
        return elapsed * self._pool.description.time_step

    def on_step(self, step: Any) -> tuple[np.ndarray, np.ndarray]:
        """Keep a step, and begin episodes where others have ended."""
        observations, rewards, terminated, truncated, infos = step
        stretch = self._stretch
        stretch.append((observations, self._recorded, rewards, infos.efforts))
        if len(stretch) < self._stretch_steps and not (
            True in terminated.tolist() or True in truncated.tolist()
        ):
            return observations, self._active
        active = self._active
        self._end_stretch()
        over = active & (terminated | truncated)
        if self._max_steps is not None:
            over |= active & (self._elapsed == self._max_steps)
        elif self._endless and self._elapsed.max() >= MAX_UNBOUNDED_STEPS:
            raise RobooptError(
                f"nothing ends the episodes of {self._pool.description.name} within "
                f"{MAX_UNBOUNDED_STEPS} steps: give `max_steps`."
            )
        episodes = self._episode[over]
        self._lengths[episodes] = self._elapsed[over]
        self._terminated[episodes] = terminated[over]
        if infos.success is not None:
            self._told = True
            self._success[episodes] = infos.success[over]
        self._active = active & ~over
        for _ in episodes:
            self._done += 1
            if self._progress is not None:
                self._progress(self._done)
        return self.begin(observations)

    def _end_stretch(self) -> None:
        """Write down the steps since the last episode began or ended."""
        active, steps = self._active, len(self._stretch)
        at = self._elapsed[active] + np.arange(steps)[:, None]
        rows = np.broadcast_to(self._episode[active], at.shape)
        columns = [
            None
            if any(v is None for v in values)
            else _flat(np.array(values)[:, active])
            for values in zip(*self._stretch, strict=True)
        ]
        self._stretches.append((rows.ravel(), at.ravel(), *columns))
        self._elapsed += active * steps
        self._stretch = []

    def trajectory(self) -> Trajectory:
        """Return all episodes, padded to `max_steps` or the longest."""
        description, lengths = self._pool.description, self._lengths
        count, most = len(lengths), int(lengths.max())
        if not self._endless and self._max_steps is not None:
            most = self._max_steps
        columns = list(zip(*self._stretches, strict=True))
        rows, at = (np.concatenate(column) for column in columns[:2])

        def table(values: Any, offset: int = 0) -> np.ndarray:
            joined = np.concatenate(values)
            shape = count, most + offset, *joined.shape[1:]
            found = np.zeros(shape, joined.dtype)
            found[rows, at + offset] = joined
            return found

        observations = table(columns[2], 1)
        observations[:, 0] = self._first
        for episode, steps in enumerate(lengths.tolist()):
            observations[episode, steps + 1 :] = observations[episode, steps]
        efforts = None if any(e is None for e in columns[5]) else table(columns[5])
        success = self._success if self._told else None
        if description.task is not None and description.unchanged:
            judge, step = description.task.success, description.time_step
            pairs = zip(observations, lengths, strict=True)
            success = np.array([bool(judge(seen[: n + 1], step)) for seen, n in pairs])
        return Trajectory(
            observations=observations,
            actions=table(columns[3]),
            time_step=description.time_step,
            rewards=table(columns[4]),
            efforts=efforts,
            terminated=self._terminated,
            success=success,
            lengths=None if (lengths == most).all() else lengths,
        )


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *values.shape[2:])


def episode_keys(key: Array, count: int) -> Shaped[Array, "episode ..."]:
    """Return a key for each episode, which does not depend on their number."""
    return jax.vmap(jax.random.fold_in, (None, 0))(
        key, np.arange(count, dtype=np.uint32)
    )


def _other_keys(keys: Shaped[Array, "episode ..."]) -> Shaped[Array, "episode ..."]:
    return jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
