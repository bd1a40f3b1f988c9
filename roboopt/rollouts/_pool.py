"""Many environments of one kind, step by step, here or in worker processes.

All of them take a step, then all their observations are there: who acts is asked once
for all. An environment that fails costs its episode and those beside it, and not the
program: what it was, what it was at and why is said, and the next `reset` begins anew.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from roboopt._errors import RobooptError
from roboopt.rollouts._collect import time_step_of
from roboopt.rollouts._pool_actions import RefusedRow, read_many
from roboopt.rollouts._pool_process import Here, There
from roboopt.rollouts._pool_worker import SUCCEEDED, TERMINATED, TOLD, TRUNCATED, Fault
from roboopt.rollouts._spaces import check_observations


class EnvError(RuntimeError):
    """An environment raised, showed what is no number, hung, or died."""

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        step: int | None = None,
        action: Any = None,
    ):
        """Say it, and of which of the environments, at which step, on what action."""
        super().__init__(message)
        self.index, self.step, self.action = index, step, action


class Infos(NamedTuple):
    """What else a step told, of all environments."""

    actions: Shaped[np.ndarray, "env act"]
    """What they took, clipped to their limits."""
    success: Bool[np.ndarray, " env"] | None
    """What `is_success` or `success` says; None if no environment says."""
    efforts: Float[np.ndarray, "env joint"] | None
    """What acted on the joints; None unless all that took a step say."""


class Pool:
    """Many environments of one kind, in lockstep.

    What ends is not begun anew unless `reset` is told so: no step is lost. What is
    returned is the caller's to keep.

    Attributes:
        envs: how many.
        name: of the environments.
        observation_space: of one.
        action_space: of one.
        time_step: what a step takes [s]; 1 where the environment does not say.
        unchanged: whether observations come as the innermost environment makes them.
        task: what judges success, as the tasks in `roboopt_envs.tasks`, or None.
        reward_threshold: the return that solves the environment, or None.
    """

    def __init__(
        self,
        make: Any,
        envs: int = 8,
        *,
        processes: int = 0,
        timeout: float = 60.0,
    ):
        """Make the environments.

        Args:
            make: a Gymnasium id, `package:Name-v0` for one that a package registers, or
                a function that makes one environment.
            envs: how many.
            processes: that hold them; 0 for none but this one, which is faster where
                a step takes some microseconds. With some, an environment that hangs
                or dies does not take this process with it.
            timeout: within which a worker must answer [s].

        Raises:
            RobooptError: if a number is out of its range, `make` makes nothing or
            cannot
                be sent to a process, or its spaces are not such as `collect` takes.
            EnvError: if a worker dies or hangs at the start.
        """
        if not (isinstance(make, str) or callable(make)):
            raise RobooptError(
                "`make` must be a Gymnasium id, or a function that makes an "
                f"environment, got {make!r}."
            )
        for name, value, least in (("envs", envs, 1), ("processes", processes, 0)):
            if value < least:
                raise RobooptError(f"`{name}` must be at least {least}, got {value}.")
        if not 0 < timeout < float("inf"):
            raise RobooptError(f"`timeout` must be positive and finite, got {timeout}.")
        self.envs = envs
        self.name = make if isinstance(make, str) else "the environment"
        parts = min(processes, envs) or 1
        edges = [envs * k // parts for k in range(parts + 1)]
        self._rows = [slice(*edge) for edge in zip(edges, edges[1:], strict=False)]
        counts = [rows.stop - rows.start for rows in self._rows]
        self._parts: list[Any] = [
            There(make, count, timeout) if processes else Here(make, count)
            for count in counts
        ]
        # Not a method: it would keep the pool alive.
        self._close = weakref.finalize(self, _close, self._parts)
        self._ready = np.zeros(envs, bool)
        self._counts = np.zeros(envs, int)
        self._spoke_of_success = False
        try:
            self._start(first=True)
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        described = self._parts[0].described
        check_observations(described)
        self._read = read_many(described.action_space, self.envs)
        self.name = described.name
        self.observation_space = described.observation_space
        self.action_space = described.action_space
        self.time_step = time_step_of(described)
        self.unchanged, self.task = described.unchanged, described.task
        self.reward_threshold = described.reward_threshold

    @property
    def observation_size(self) -> int:
        """Of one observation."""
        return self.observation_space.shape[0]

    def reset(
        self,
        indices: Int[np.ndarray, " some"] | Sequence[int] | None = None,
        seeds: Any = None,
        options: dict | Sequence[dict | None] | None = None,
    ) -> Float[np.ndarray, "env obs"]:
        """Begin an episode in some of the environments; return what all show.

        Args:
            indices: of those that begin; by default all.
            seeds: of each of them; by default left to chance.
            options: for all of them, or of each.

        Raises:
            RobooptError: if there are not as many as `indices`, or these are no
            indices.
            EnvError: if one fails. All must then be reset.
        """
        self._require_open()
        rows = np.arange(self.envs) if indices is None else np.asarray(indices, int)
        rows = rows.tolist()
        if len(set(rows)) < len(rows) or not all(0 <= k < self.envs for k in rows):
            raise RobooptError(
                f"`indices` must be different ones below {self.envs}, got {indices}."
            )
        seeds = _each("seeds", seeds, rows)
        if options is None or isinstance(options, dict):
            options = [options] * len(rows)
        options = _each("options", options, rows)
        orders = {
            row: (None if seed is None else int(seed), option)
            for row, seed, option in zip(rows, seeds, options, strict=True)
        }
        # While it lasts, none is ready: it may fail, or be interrupted.
        ready, self._ready = self._ready, np.zeros(self.envs, bool)
        self._start()
        asked = []
        for part, part_rows in zip(self._parts, self._rows, strict=True):
            own = range(part_rows.start, part_rows.stop)
            told = [(k - own.start, *orders[k]) for k in own if k in orders]
            if told:
                part.send_reset(told)
                asked.append(part)
        self._receive(asked, None)
        observations = self._gathered("observations")
        self._counts[rows] = 0
        self._check_finite(observations)
        ready[rows] = True
        self._ready = ready
        return observations

    def step(
        self, actions: Any, active: Bool[np.ndarray, " env"] | None = None
    ) -> tuple[
        Float[np.ndarray, "env obs"],
        Float[np.ndarray, " env"],
        Bool[np.ndarray, " env"],
        Bool[np.ndarray, " env"],
        Infos,
    ]:
        """Take a step in those whose episode is not over.

        Of the others, the observation is the last, the reward 0, and nothing ends.

        Args:
            actions: of each, (envs, act), or (envs,) where one is a choice. Continuous
                ones are clipped to their limits, as actuators do.
            active: which take the step; by default all.

        Returns:
            Observations, rewards, whether the environment ended the episode with this
            step, whether a limit of time did, and what else was told.

        Raises:
            RobooptError: if no episode is running, or an action is none.
            EnvError: if one fails. All must then be reset.
        """
        self._require_open()
        ready = self._ready
        active = ready if active is None else ready & active
        if not active.any():
            raise RobooptError("`step` needs a `reset` before, got no episode running.")
        try:
            recorded = self._read(actions, active)
        except RefusedRow as refused:
            raise RobooptError(
                f"`actions`: who acts {refused.why}, in environment {refused.row} at "
                f"step {self._counts[refused.row]} of its episode."
            ) from None
        self._ready = np.zeros(self.envs, bool)
        asked = []
        for part, rows in zip(self._parts, self._rows, strict=True):
            if active[rows].any():
                part.send_step(recorded[rows], active[rows])
                asked.append(part)
        self._receive(asked, recorded)
        observations = self._gathered("observations")
        rewards, flags = self._gathered("rewards"), self._gathered("flags")
        if len(asked) < len(self._parts):
            rewards[~active], flags[~active] = 0, 0
        self._check_finite(observations, rewards, recorded)
        self._counts += active
        terminated, truncated = flags & TERMINATED > 0, flags & TRUNCATED > 0
        self._ready = ready & ~(terminated | truncated)
        self._spoke_of_success |= bool((flags & TOLD).any())
        success = flags & SUCCEEDED > 0 if self._spoke_of_success else None
        infos = Infos(recorded, success, self._efforts(asked))
        return observations, rewards, terminated, truncated, infos

    def close(self) -> None:
        """Close the environments, and end their processes. Closing twice is fine."""
        self._close()

    def __enter__(self) -> "Pool":
        """Return the pool."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def _require_open(self) -> None:
        if not self._close.alive:
            raise RobooptError("the pool must be open, but `close` was called.")

    def _start(self, first: bool = False) -> None:
        """Start what is not running: everything at first, later what was ended."""
        number = 0
        try:
            for number in range(len(self._parts)):
                self._parts[number].start()
            for number in range(len(self._parts)):
                self._parts[number].started()
        except Fault as fault:
            self._parts[number].end()
            if first and fault.trace:
                error = RobooptError(
                    f"`make` must make an environment, but {fault.what}"
                )
            else:
                error = EnvError(f"{self.name}: at its start it {fault.what}.")
            raise _noted(error, fault) from fault.__cause__

    def _receive(self, parts: list[Any], actions: np.ndarray | None) -> None:
        """Wait for all of `parts`, whatever becomes of the first, then tell of it."""
        failed: list[tuple[int, Fault]] = []
        done = 0
        try:
            for part in parts:
                try:
                    part.receive()
                except Fault as fault:
                    failed.append((self._parts.index(part), fault))
                    part.end()
                done += 1
        finally:
            # Interrupted: what they would answer is nobody's any more.
            for part in parts[done:]:
                part.end()
        if failed:
            number, fault = failed[0]
            index = self._rows[number].start + fault.row
            raise _noted(self._failure(index, fault.what, actions), fault) from (
                fault.__cause__
            )

    def _failure(self, index: int, what: str, actions: np.ndarray | None) -> EnvError:
        if actions is None:
            at = "at its reset"
            return EnvError(
                f"{self.name}: environment {index} {what}, {at}.", index=index
            )
        step, action = int(self._counts[index]), actions[index]
        return EnvError(
            f"{self.name}: environment {index} {what}, at step {step} of its episode, "
            f"on action {action}.",
            index=index,
            step=step,
            action=action,
        )

    def _check_finite(
        self,
        observations: np.ndarray,
        rewards: np.ndarray | None = None,
        actions: np.ndarray | None = None,
    ) -> None:
        shown = {"observation": observations}
        if rewards is not None:
            shown["reward"] = rewards
        for name, values in shown.items():
            if np.isfinite(values).all():
                continue
            shown_by_each = values.reshape(self.envs, -1)
            bad = np.array([not np.isfinite(row).all() for row in shown_by_each])
            for part, rows in zip(self._parts, self._rows, strict=True):
                if bad[rows].any():
                    part.end()
            index = int(bad.argmax())
            what = f"gave the {name} {values[index]}, which is not finite"
            raise self._failure(index, what, actions)

    def _gathered(self, name: str) -> np.ndarray:
        # A copy also of one: the next step writes over it.
        return np.concatenate([getattr(part, name) for part in self._parts])

    def _efforts(self, asked: list[Any]) -> np.ndarray | None:
        known = [part.efforts for part in asked]
        if any(efforts is None for efforts in known):
            return None
        if len(asked) == len(self._parts):
            return np.concatenate(known)
        return np.concatenate(
            [
                part.efforts
                if part in asked
                else np.zeros((rows.stop - rows.start, known[0].shape[1]))
                for part, rows in zip(self._parts, self._rows, strict=True)
            ]
        )


def _close(parts: list[Any]) -> None:
    for part in parts:
        part.close()


def _each(name: str, values: Any, rows: list[int]) -> list[Any]:
    if values is None:
        return [None] * len(rows)
    values = list(values)
    if len(values) != len(rows):
        raise RobooptError(
            f"`{name}` must hold one for each of {len(rows)} environments, got "
            f"{len(values)}."
        )
    return values


def _noted(error: Exception, fault: Fault) -> Exception:
    if fault.trace:
        error.add_note(f"In the environment:\n{fault.trace}")
    return error
