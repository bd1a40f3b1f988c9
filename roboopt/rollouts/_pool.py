"""Many environments of one kind, stepped together, here or in worker processes.

An environment that fails ends its episode and those beside it, not the program: an
`EnvError` names the environment, the step and the action, and the next `reset` begins
anew. Finished environments stay finished until `reset`; no auto-reset.
"""

import weakref
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from roboopt._errors import RobooptError
from roboopt.policies import check_observation_space
from roboopt.rollouts._action_reader import RefusedAction, action_reader, all_finite
from roboopt.rollouts._env_group import (
    RESET,
    STEP,
    SUCCEEDED,
    TERMINATED,
    TOLD,
    TRUNCATED,
    Fault,
)
from roboopt.rollouts._env_spec import EnvSpec, env_maker, is_env
from roboopt.rollouts._env_worker import LocalEnvs, WorkerEnvs


class EnvError(RuntimeError):
    """An environment raised, returned a non-finite number, hung, or died."""

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        step: int | None = None,
        action: Any = None,
    ):
        """Keep the environment's index, the step of its episode, and the action."""
        super().__init__(message)
        self.index, self.step, self.action = index, step, action


class Infos(NamedTuple):
    """What else a step told, of all environments."""

    actions: Shaped[np.ndarray, "env act"]
    """The actions taken, clipped to their limits."""
    success: Bool[np.ndarray, " env"] | None
    """`is_success` or `success`; None if no environment says."""
    efforts: Float[np.ndarray, "env joint"] | None
    """The joints' efforts; None unless all that took a step say."""


class Pool:
    """Many environments of one kind; returned arrays are the caller's to keep.

    Attributes:
        envs: the number of environments.
        description: the properties of one environment.
        read_actions: `read_actions(actions, active)` returns the actions that
            environments take, or raises `RefusedAction`.
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
            make: a Gymnasium id, `package:Name-v0` for one that a package registers, an
                `EnvSpec`, or a function that makes one environment; or one environment,
                which the pool leaves open.
            envs: the number of environments.
            processes: the number of processes that hold them; 0 for this one, which is
                faster where a step takes microseconds. In processes, an environment
                that hangs or dies does not take this process with it.
            timeout: the time within which a worker must answer [s].

        Raises:
            RobooptError: if a number is out of its range, `make` makes no environment
                or cannot be sent to a process, or the spaces are not such as `collect`
                takes.
            EnvError: if a worker dies or hangs at the start.
        """
        for name, value, least in (("envs", envs, 1), ("processes", processes, 0)):
            if value < least:
                raise RobooptError(f"`{name}` must be at least {least}, got {value}.")
        if not 0 < timeout < float("inf"):
            raise RobooptError(f"`timeout` must be positive and finite, got {timeout}.")
        borrowed = is_env(make)
        if borrowed and (envs > 1 or processes):
            raise RobooptError(
                "`make` must make environments for `envs` above 1 or `processes`, got "
                f"the environment {make}."
            )
        maker = (lambda: make) if borrowed else env_maker(make)
        self.envs = envs
        self._name = str(make) if isinstance(make, str | EnvSpec) else "the environment"
        parts = min(processes, envs) or 1
        edges = [envs * k // parts for k in range(parts + 1)]
        self._rows = [slice(*edge) for edge in zip(edges, edges[1:], strict=False)]
        counts = [rows.stop - rows.start for rows in self._rows]
        self._parts: list[LocalEnvs | WorkerEnvs] = [
            WorkerEnvs(maker, n, timeout)
            if processes
            else LocalEnvs(maker, n, leave_open=borrowed)
            for n in counts
        ]
        # No bound method: it would keep the pool alive.
        self._close = weakref.finalize(self, _close, self._parts)
        self._running: np.ndarray = np.zeros(envs, bool)
        self._idle: np.ndarray = np.zeros(envs, bool)
        self._idle.flags.writeable = False  # It is returned, as no episode's end.
        self._steps = [0] * envs
        self._told_success = False
        try:
            self._start(first=True)
            self.description = self._parts[0].description
            self._name = self.description.name
            check_observation_space(self.observation_space)
            self.read_actions = action_reader(self.action_space, envs)
        except BaseException:
            self.close()
            raise

    @property
    def observation_space(self) -> Any:
        """Return the observation space of one environment."""
        return self.description.observation_space

    @property
    def action_space(self) -> Any:
        """Return the action space of one environment."""
        return self.description.action_space

    def reset(
        self,
        indices: Int[np.ndarray, " some"] | Sequence[int] | None = None,
        seeds: Any = None,
        options: dict | Sequence[dict | None] | None = None,
    ) -> Float[np.ndarray, "env obs"]:
        """Begin an episode in some of the environments; return all observations.

        Args:
            indices: which environments; by default all.
            seeds: one for each of them; by default random.
            options: one for all of them, or one for each.

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
        if options is None or isinstance(options, dict):
            options = [options] * len(rows)
        seeds = _one_each("seeds", [None] * len(rows) if seeds is None else seeds, rows)
        options = _one_each("options", options, rows)
        orders = {
            row: (None if seed is None else int(seed), option)
            for row, seed, option in zip(rows, seeds, options, strict=True)
        }
        # None is running until all have begun: a reset may fail, or be interrupted.
        running, self._running = self._running.copy(), self._idle
        self._start()
        asked = []
        for part, own in zip(self._parts, self._rows, strict=True):
            order = [
                (k - own.start, *orders[k])
                for k in range(own.start, own.stop)
                if k in orders
            ]
            if order:
                part.request(RESET, order)
                asked.append(part)
        self._receive(asked, None)
        observations = self._gathered(0)
        for row in rows:
            self._steps[row] = 0
        self._refuse_not_finite(observations)
        running[rows] = True
        self._running = running
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
        """Take a step in those environments whose episode is running.

        The others keep their observation, with reward 0 and no end.

        Args:
            actions: one for each, (envs, act), or (envs,) where they are discrete.
                Continuous actions are clipped to their limits, as actuators do.
            active: which take the step; by default all.

        Returns:
            Observations, rewards, `terminated`, `truncated`, and what else was told.

        Raises:
            RobooptError: if no episode is running, or an action is invalid.
            EnvError: if one fails. All must then be reset.
        """
        self._require_open()
        running = self._running
        active = running if active is None else np.logical_and(running, active)
        if True not in active.tolist():
            raise RobooptError("`step` needs a `reset` before, got no episode running.")
        try:
            recorded = self.read_actions(actions, active)
        except RefusedAction as refused:
            raise RobooptError(
                f"`actions`: the policy {refused.why}, in environment {refused.row} at "
                f"step {self._steps[refused.row]} of its episode."
            ) from None
        return self.advance(recorded, active)

    def advance(self, recorded: np.ndarray, active: np.ndarray) -> tuple[Any, ...]:
        """Take a step as `step` does, with actions from `read_actions`."""
        running = self._running
        # None is running until all have answered: the wait may be interrupted.
        self._running = self._idle
        rows = active.nonzero()[0].tolist()
        observations, rewards, flags, efforts = self._answers(recorded, rows)
        if not (
            # Squares that overflow are looked at again.
            isfinite(np.vdot(observations, observations))
            and isfinite(np.vdot(rewards, rewards))
        ):
            self._refuse_not_finite(observations, rewards, recorded)
        for row in rows:
            self._steps[row] += 1
        said = 0
        for flag in flags.tolist():
            said |= flag
        if said & (TERMINATED | TRUNCATED):
            terminated, truncated = flags & TERMINATED > 0, flags & TRUNCATED > 0
            running = running & ~(terminated | truncated)
        else:
            terminated = truncated = self._idle
        self._told_success |= bool(said & TOLD)
        success = flags & SUCCEEDED > 0 if self._told_success else None
        self._running = running
        return (
            observations,
            rewards,
            terminated,
            truncated,
            Infos(recorded, success, efforts),
        )

    def _answers(self, actions: np.ndarray, rows: list[int]) -> tuple[Any, ...]:
        """Return the observations, rewards, flags and efforts after a step."""
        if len(self._parts) == 1:
            self._parts[0].request(STEP, actions, rows)
            self._receive(self._parts, actions)
            return self._parts[0].answer
        asked = []
        for part, own in zip(self._parts, self._rows, strict=True):
            order = [k - own.start for k in rows if own.start <= k < own.stop]
            if order:
                part.request(STEP, actions[own], order)
                asked.append(part)
        self._receive(asked, actions)
        observations, rewards, flags = (self._gathered(k) for k in range(3))
        if len(asked) < len(self._parts):
            idle = np.setdiff1d(np.arange(self.envs), rows)
            rewards[idle], flags[idle] = 0, 0
        return observations, rewards, flags, self._efforts(asked)

    def close(self) -> None:
        """Close the environments, and end their processes. Closing twice is fine."""
        self._close()

    def __enter__(self) -> "Pool":
        """Return the pool."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the pool."""
        self.close()

    def _require_open(self) -> None:
        if not self._close.alive:
            raise RobooptError("the pool must be open, but `close` was called.")

    def _start(self, first: bool = False) -> None:
        """Start all parts at first, later those that were ended."""
        part = self._parts[0]
        try:
            for part in self._parts:
                part.start()
            for part in self._parts:
                part.ready()
        except Fault as fault:
            part.end()
            if first and fault.trace:
                error = RobooptError(
                    f"`make` must make an environment, but {fault.what}"
                )
            else:
                error = EnvError(f"{self._name}: at its start it {fault.what}.")
            raise _noted(error, fault) from fault.__cause__

    def _receive(self, parts: list[Any], actions: np.ndarray | None) -> None:
        """Wait for all of `parts`, then report the first failure."""
        failed: list[tuple[int, Fault]] = []
        received = 0
        try:
            for part in parts:
                try:
                    part.receive()
                except Fault as fault:
                    failed.append((self._parts.index(part), fault))
                    part.end()
                received += 1
        finally:
            for part in parts[received:]:  # The wait was interrupted.
                part.end()
        if failed:
            number, fault = failed[0]
            index = self._rows[number].start + fault.row
            error = self._failure(index, fault.what, actions)
            raise _noted(error, fault) from fault.__cause__

    def _failure(self, index: int, what: str, actions: np.ndarray | None) -> EnvError:
        said = f"{self._name}: environment {index} {what}"
        if actions is None:
            return EnvError(f"{said}, at its reset.", index=index)
        step, action = self._steps[index], actions[index]
        return EnvError(
            f"{said}, at step {step} of its episode, on action {action}.",
            index=index,
            step=step,
            action=action,
        )

    def _refuse_not_finite(
        self,
        observations: np.ndarray,
        rewards: np.ndarray | None = None,
        actions: np.ndarray | None = None,
    ) -> None:
        found = [("observation", observations)]
        if rewards is not None:
            found.append(("reward", rewards))
        for name, values in found:
            if all_finite(values):
                continue
            bad = np.array([not np.isfinite(row).all() for row in values])
            for part, rows in zip(self._parts, self._rows, strict=True):
                if bad[rows].any():
                    part.end()
            index = int(bad.argmax())
            what = f"gave the {name} {values[index]}, which is not finite"
            raise self._failure(index, what, actions)

    def _gathered(self, position: int) -> np.ndarray:
        if len(self._parts) == 1:
            return self._parts[0].answer[position]
        return np.concatenate([part.answer[position] for part in self._parts])

    def _efforts(self, asked: list[Any]) -> np.ndarray | None:
        known = [part.answer[3] for part in asked]
        if any(efforts is None for efforts in known):
            return None
        efforts = np.zeros((self.envs, known[0].shape[1]))
        for part, rows in zip(self._parts, self._rows, strict=True):
            if part in asked:
                efforts[rows] = part.answer[3]
        return efforts


def _close(parts: list[Any]) -> None:
    for part in parts:
        part.close()


def _one_each(name: str, values: Any, rows: list[int]) -> list[Any]:
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
