"""Whole episodes of a policy in Gymnasium environments, one or many at a time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Shaped

from roboopt._errors import RobooptError
from roboopt._interrupt import keep
from roboopt.data import Trajectory
from roboopt.rollouts._action_reader import RefusedAction, action_reader
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._parts import COLUMNS, EpisodeParts
from roboopt.rollouts._policy_runner import PolicyRunner
from roboopt.rollouts._pool import EnvError, Pool

MAX_UNBOUNDED_STEPS = 100_000
START_TOLERANCE = 1e-3  # Above rounding to single precision, below random starts.


def run_episodes(
    pool: Any,
    policy: Any,
    starts: list[Start],
    keys: Shaped[Array, "episode ..."] | None,
    *,
    owners: np.ndarray | None = None,
    label: Any = None,
    max_steps: int | None = None,
    progress: Callable[[int], object] | None = None,
    parts: EpisodeParts | None = None,
    numbers: np.ndarray | None = None,
) -> Trajectory:
    """Run one episode a start, as many at a time as the pool has environments.

    The pool is a `Pool`, or the workers of a cluster, each of which runs some episodes.

    `keys` are the source of each episode's randomness. With `owners`, `policy` is many
    policies along a first axis, and `owners` says which of them acts in each episode.
    `label`, `max_steps` and `progress` are those of `collect`. `parts` hold episodes
    that are not run again, and receive those that end. Errors name an episode by its
    place in `numbers`, where these are given.
    """
    if not isinstance(pool, Pool):
        settings = {"owners": owners, "label": label, "max_steps": max_steps}
        return pool.run(policy, starts, keys, progress, **settings)
    batched = owners is not None
    runners = {"policy": (PolicyRunner(policy, pool.envs, batched=batched), keys)}
    if label is not None:
        own = None if keys is None else _other_keys(keys)
        runners["label"] = PolicyRunner(label, pool.envs), own
    episodes = _Episodes(pool, runners, starts, owners, max_steps, progress, parts)
    if numbers is not None:
        episodes.numbers = numbers
    episodes.run()
    return episodes.trajectory()


class _Episodes:
    """Assigns episodes to environments, asks the policies, and keeps what happened.

    Steps are written down in stretches, in which no episode begins or ends.
    """

    def __init__(self, pool, runners, starts, owners, max_steps, progress, parts):
        self._pool, self._runners, self._starts = pool, runners, starts
        self._max_steps, self._progress = max_steps, progress
        self._read = action_reader(pool.action_space, pool.envs)
        count = len(starts)
        self.numbers = np.arange(count)
        self._owners = np.zeros(count, int) if owners is None else owners
        self._done, self._parts, self._unwritten = 0, parts, []
        self._episode, self._elapsed = np.zeros((2, pool.envs), int)
        self._active = np.zeros(pool.envs, bool)
        self._first: dict[int, np.ndarray] = {}
        self._stretch: list[tuple[Any, ...]] = []
        self._stretches: list[tuple[Any, ...]] = []
        self._lengths = np.zeros(count, int)
        self._terminated, self._success = np.zeros((2, count), bool)
        self._told = False
        self._waiting = list(range(count))
        for part in () if parts is None else parts.found:
            self._restore(part)

    def run(self) -> None:
        """Run all episodes."""
        try:
            self._begin()
            while self._active.any():
                self._run_stretch()
                if self._parts is not None and self._parts.is_due():
                    self._write()
                self._begin()
        except EnvError as error:
            if error.index is not None:
                error.episode = int(self.numbers[self._episode[error.index]])
            raise
        finally:
            self._write()

    def _restore(self, part: dict[str, np.ndarray]) -> None:
        """Take over the episodes of a part."""
        lengths = part["length"]
        rows = np.repeat(part["number"], lengths)
        at = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        own = rows < len(self._starts)  # There may be fewer episodes than before.
        columns = [part[name][own] if name in part else None for name in COLUMNS]
        self._stretches.append((rows[own], at[own], *columns))
        for k, episode in enumerate(part["number"].tolist()):
            if episode not in self._waiting:
                continue
            self._waiting.remove(episode)
            self._first[episode] = part["first"][k]
            self._lengths[episode] = lengths[k]
            self._terminated[episode] = part["terminated"][k]
            if "success" in part:
                self._told, self._success[episode] = True, part["success"][k]
            self._end_one()

    def _write(self) -> None:
        """Write the episodes that have ended since the last part."""
        if self._parts is None or not self._unwritten:
            return
        ended = np.array(self._unwritten)
        chosen = [[np.isin(stretch[0], ended), stretch] for stretch in self._stretches]
        cut = [
            [None if x is None else x[own] for x in stretch]
            for own, stretch in chosen
            if own.any()
        ]
        rows, at, *columns = zip(*cut, strict=True)
        order = np.lexsort((np.concatenate(at), np.concatenate(rows)))
        ended.sort()
        part = {
            "number": ended,
            "length": self._lengths[ended],
            "terminated": self._terminated[ended],
            "first": np.stack([self._first[k] for k in ended.tolist()]),
        }
        part |= {"success": self._success[ended]} if self._told else {}
        for name, values in zip(COLUMNS, columns, strict=True):
            if not any(x is None for x in values):
                part[name] = np.concatenate(values)[order]
        if self._parts.write(part):
            self._unwritten.clear()

    def _end_one(self) -> None:
        if self._parts is not None:
            keep()
        self._done += 1
        if self._progress is not None:
            self._progress(self._done)

    def _begin(self) -> None:
        """Begin waiting episodes in the environments that are not active."""
        free = np.flatnonzero(~self._active)[: len(self._waiting)]
        if not len(free):
            return
        episodes = self._waiting[: len(free)]
        del self._waiting[: len(free)]
        self._episode[free], self._elapsed[free] = episodes, 0
        self._active[free] = True
        starts = [self._starts[k] for k in episodes]
        pairs = zip(free.tolist(), starts, strict=True)
        self._observations = self._pool.reset(dict(pairs))
        first = self._observations[free]
        self._check_starts(first, starts)
        self._first |= dict(zip(episodes, first, strict=True))
        fresh = np.isin(np.arange(self._pool.envs), free)
        for runner, keys in self._runners.values():
            own = None if keys is None else keys[self._episode]
            runner.begin(fresh, self._owners[self._episode], own)

    def _check_starts(self, observations: np.ndarray, starts: list[Start]) -> None:
        """Refuse an environment that does not begin where it is told."""
        description = self._pool.description
        for begun, start in zip(observations, starts, strict=True):
            if start.options is None or not description.unchanged:
                continue
            told = start.options["start"]
            tolerance = START_TOLERANCE * (1 + np.abs(told))
            if begun.shape != told.shape or (abs(begun - told) > tolerance).any():
                raise RobooptError(
                    "`env` must begin where `reset` is told by options['start'] if "
                    f"`starts` are given; {description.name} was told {told} and began "
                    f"at {begun}."
                )

    def _run_stretch(self) -> None:
        """Let all active environments take steps until the first episode ends."""
        active, stretch, step = self._active, self._stretch, self._pool.step
        description = self._pool.description
        rows = np.flatnonzero(active).tolist()
        labeled = "label" in self._runners
        most = MAX_UNBOUNDED_STEPS if self._max_steps is None else self._max_steps
        left = max(int(most - self._elapsed[active].max()), 1)
        terminated = truncated = success = []
        while len(stretch) < left and True not in terminated and True not in truncated:
            taken = recorded = self._actions("policy", rows)
            if labeled:
                recorded = self._actions("label", rows)
            seen, rewards, terminated, truncated, success, *acted = step(taken, rows)
            stretch.append((seen, recorded, rewards, *acted))
            self._observations = seen
        self._end_stretch(rows)
        over = active & np.logical_or(terminated, truncated)
        if self._max_steps is not None:
            over |= active & (self._elapsed == self._max_steps)
        elif self._elapsed.max() >= MAX_UNBOUNDED_STEPS and not description.bounded:
            raise RobooptError(
                f"nothing ends the episodes of {description.name} within "
                f"{MAX_UNBOUNDED_STEPS} steps: give `max_steps`."
            )
        for slot in np.flatnonzero(over).tolist():
            episode = self._episode[slot]
            self._lengths[episode] = self._elapsed[slot]
            self._terminated[episode] = terminated[slot]
            if success[slot] is not None:
                self._told, self._success[episode] = True, success[slot]
            self._unwritten.append(int(episode))
            self._end_one()
        self._active = active & ~over

    def _actions(self, name: str, rows: list[int]) -> np.ndarray:
        """Return the actions of the policy, or of the label."""
        actions = self._runners[name][0](self._observations, self._times, rows)
        try:
            return self._read(actions, self._active)
        except RefusedAction as refused:
            row = refused.row
            raise RobooptError(
                f"`{name}` {refused.why}, at step "
                f"{self._elapsed[row] + len(self._stretch)} of episode "
                f"{self.numbers[self._episode[row]]} on observation "
                f"{self._observations[row]}."
            ) from None

    def _times(self) -> np.ndarray:
        elapsed = self._elapsed + self._active * len(self._stretch)
        return elapsed * self._pool.description.time_step

    def _end_stretch(self, slots: list[int]) -> None:
        """Write down the steps of the stretch in the rows of their episodes."""
        steps, envs = len(self._stretch), self._pool.envs
        at = self._elapsed[slots] + np.arange(steps)[:, None]
        rows = np.broadcast_to(self._episode[slots], at.shape)
        observations, actions, rewards, *acted = zip(*self._stretch, strict=True)

        def flat(values: Any) -> np.ndarray:
            table = np.concatenate(values).reshape(steps, envs, -1)[:, slots]
            return table.reshape(-1, table.shape[-1])

        def if_known(values: Any) -> np.ndarray | None:
            known = [step[slot] for step in values for slot in slots]
            return None if any(x is None for x in known) else np.array(known)

        self._stretches.append(
            (
                rows.ravel(),
                at.ravel(),
                flat(observations),
                flat(actions),
                np.array(rewards)[:, slots].ravel(),
                *map(if_known, acted),
            )
        )
        self._elapsed[slots] += steps
        self._stretch.clear()

    def trajectory(self) -> Trajectory:
        """Return all episodes, padded to `max_steps` or the longest."""
        description, lengths = self._pool.description, self._lengths
        count, most = len(lengths), int(lengths.max())
        if self._max_steps is not None:
            most = self._max_steps
        rows, at, *columns = zip(*self._stretches, strict=True)
        rows, at = np.concatenate(rows), np.concatenate(at)

        def table(values: Any, offset: int = 0) -> np.ndarray:
            joined = np.concatenate(values)
            found = np.zeros((count, most + offset, *joined.shape[1:]), joined.dtype)
            found[rows, at + offset] = joined
            return found

        observations = table(columns[0], 1)
        observations[:, 0] = [self._first[k] for k in range(count)]
        for episode, steps in enumerate(lengths.tolist()):
            observations[episode, steps + 1 :] = observations[episode, steps]
        success = self._success if self._told else None
        if description.task is not None and description.unchanged:
            judge, step = description.task.success, description.time_step
            pairs = zip(observations, lengths, strict=True)
            success = np.array([bool(judge(seen[: n + 1], step)) for seen, n in pairs])
        efforts, within = (
            None if any(x is None for x in values) else table(values)
            for values in columns[3:]
        )
        seen = done = None
        if within is not None:
            seen, done = np.split(within, [observations.shape[-1]], axis=-1)
            for episode, steps in enumerate(lengths.tolist()):
                seen[episode, steps:] = observations[episode, steps]
        return Trajectory(
            observations=observations,
            actions=table(columns[1]),
            time_step=description.time_step,
            rewards=table(columns[2]),
            efforts=efforts,
            substep_observations=seen,
            substep_efforts=done,
            terminated=self._terminated,
            success=success,
            lengths=None if (lengths == most).all() else lengths,
        )


def episode_keys(key: Array, count: int) -> Shaped[Array, "episode ..."]:
    """Return a key for each episode, which does not depend on their number."""
    return jax.vmap(jax.random.fold_in, (None, 0))(
        key, np.arange(count, dtype=np.uint32)
    )


def _other_keys(keys: Shaped[Array, "episode ..."]) -> Shaped[Array, "episode ..."]:
    return jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
