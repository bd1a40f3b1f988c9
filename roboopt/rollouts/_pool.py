"""Many environments of one kind, stepped together, here or in worker processes.

An environment that fails ends its episode and those beside it, not the program: an
`EnvError` names the environment, the step and the action, and the next `reset` begins
anew. Finished environments stay finished until `reset`; no auto-reset.
"""

import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from roboopt._errors import RobooptError
from roboopt.policies import check_observation_space
from roboopt.rollouts._action_reader import RefusedAction, action_reader
from roboopt.rollouts._env_group import EnvGroup, Fault
from roboopt.rollouts._env_spec import EnvSpec, env_maker, is_env
from roboopt.rollouts._env_worker import EnvWorker


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
    """The rest of a step of all environments."""

    actions: Shaped[np.ndarray, "env act"]
    """The actions taken, clipped to their limits."""
    success: Bool[np.ndarray, " env"] | list[bool | None] | None
    """`is_success` or `success`; None if no environment says."""
    efforts: Float[np.ndarray, "env joint"] | None
    """The joints' efforts; None unless all that took a step say."""


class Pool:
    """Many environments of one kind; returned arrays are the caller's to keep.

    Attributes:
        envs: the number of environments.
        description: the properties of one environment.
        observation_space: the observation space of one environment.
        action_space: the action space of one environment.
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
        self._borrowed = is_env(make)
        if self._borrowed and (envs > 1 or processes):
            raise RobooptError(
                "`make` must make environments for `envs` above 1 or `processes`, got "
                f"the environment {make}."
            )
        maker, spec = (lambda: make), None
        if not self._borrowed:
            maker, spec = env_maker(make, name="make")
        if spec is not None:
            maker = partial(maker, disable_env_checker=True)
        self.envs = envs
        self._name = str(make) if isinstance(make, str | EnvSpec) else "the environment"
        parts = min(processes, envs) or 1
        edges = [envs * k // parts for k in range(parts + 1)]
        self._rows = [range(*edge) for edge in zip(edges, edges[1:], strict=False)]
        self._start = (
            partial(EnvWorker, maker, timeout=timeout)
            if processes
            else partial(EnvGroup, maker, mark=[0])
        )
        self._parts: list[Any] = [None] * parts  # `EnvGroup`s, `EnvWorker`s, or ended
        # No bound method: it would keep the pool alive.
        owned = [] if self._borrowed else self._parts
        self._close = weakref.finalize(self, _close, owned)
        self._idle = np.zeros(envs, bool)
        self._running, self._steps = self._idle, [0] * envs
        try:
            self._start_parts(first=True)
            self._name = self.description.name
            self.observation_space = self.description.observation_space
            self.action_space = self.description.action_space
            check_observation_space(self.observation_space)
            self.read_actions = action_reader(self.action_space, envs)
        except BaseException:
            self.close()
            raise

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
        seeds = [None] * len(rows) if seeds is None else np.asarray(seeds).tolist()
        if options is None or isinstance(options, dict):
            options = [options] * len(rows)
        for name, values in (("seeds", seeds), ("options", options)):
            if len(values) != len(rows):
                raise RobooptError(
                    f"`{name}` must hold one for each of {len(rows)} environments, got "
                    f"{len(values)}."
                )
        # None is running until all have begun: a reset may fail, or be interrupted.
        running, self._running = self._running.copy(), self._idle
        self._start_parts()
        told = dict(zip(rows, zip(seeds, options, strict=True), strict=True))
        orders = [
            ([(k - own.start, *told[k]) for k in own if k in told],)
            for own in self._rows
        ]
        observations = np.concatenate(self._ask("reset", orders))
        for row in rows:
            self._steps[row] = 0
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
            Observations, rewards, `terminated`, `truncated`, and the rest.

        Raises:
            RobooptError: if no episode is running, or an action is invalid.
            EnvError: if one fails. All must then be reset.
        """
        self._require_open()
        acting = self._running if active is None else self._running & active
        if not acting.any():
            raise RobooptError("`step` needs a `reset` before, got no episode running.")
        try:
            taken = self.read_actions(actions, acting)
        except RefusedAction as refused:
            raise RobooptError(
                f"`actions`: the policy {refused.why}, in environment {refused.row} at "
                f"step {self._steps[refused.row]} of its episode."
            ) from None
        rows = np.flatnonzero(acting).tolist()
        seen, rewards, terminated, truncated, said, known = self.advance(taken, rows)
        success = efforts = None
        if any(s is not None for s in said):
            success = np.array([bool(s) for s in said])
        if all(known[row] is not None for row in rows):
            efforts = np.zeros((self.envs, known[rows[0]].size))
            efforts[rows] = [known[row] for row in rows]
        infos = Infos(taken, success, efforts)
        ends = np.array(terminated), np.array(truncated)
        return seen, np.array(rewards), *ends, infos

    def advance(self, actions: np.ndarray, rows: list[int]) -> tuple[Any, ...]:
        """Take a step in `rows`, whose episodes run; return as `EnvGroup.step` does.

        Args:
            actions: of all environments, from `read_actions`.
            rows: the environments that take the step.
        """
        # None is running until all have answered: the wait may be interrupted.
        running, self._running = self._running, self._idle
        if len(self._parts) == 1:
            (found,) = self._ask("step", [(actions, rows)], actions)
        else:
            orders = [
                (
                    actions[own.start : own.stop],
                    [k - own.start for k in rows if k in own],
                )
                for own in self._rows
            ]
            seen, *lists = zip(*self._ask("step", orders, actions), strict=True)
            found = np.concatenate(seen), *(sum(parts, []) for parts in lists)
        for row in rows:
            self._steps[row] += 1
        terminated, truncated = found[2:4]
        if True in terminated or True in truncated:
            running = running & ~np.logical_or(terminated, truncated)
        self._running = running
        return found

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

    def _start_parts(self, first: bool = False) -> None:
        """Start all parts at first, later those that were ended."""
        missing = [k for k, part in enumerate(self._parts) if part is None]
        k = 0
        try:
            for k in missing:
                self._parts[k] = self._start(count=len(self._rows[k]))
            for k in missing:
                self.description = self._parts[k].describe()
        except Fault as fault:
            self._end(k)
            error = EnvError(f"{self._name}: at its start it {fault.what}.")
            if first and fault.trace:
                text = f"`make` must make an environment, but {fault.what}"
                error = RobooptError(text)
            raise _noted(error, fault) from fault.__cause__

    def _end(self, k: int) -> None:
        part, self._parts[k] = self._parts[k], None
        if part is not None and not self._borrowed:
            part.kill()

    def _ask(
        self, kind: str, orders: list[tuple], actions: np.ndarray | None = None
    ) -> list[Any]:
        """Return the answer of each part, or report the first failure."""
        answers, failed = [], []
        for part, order in zip(self._parts, orders, strict=True):
            part.request(kind, *order)
        for k, part in enumerate(self._parts):
            try:
                answers.append(part.receive())
            except Fault as fault:
                failed.append((k, fault))
                self._end(k)
            except BaseException:  # The wait was interrupted.
                for late in range(k, len(self._parts)):
                    self._end(late)
                raise
        if failed:
            k, fault = failed[0]
            index = self._rows[k].start + fault.row
            raise _noted(self._failure(index, fault.what, actions), fault) from (
                fault.__cause__
            )
        return answers

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


def _close(parts: list[Any]) -> None:
    for part in parts:
        if part is not None:
            part.close()


def _noted(error: Exception, fault: Fault) -> Exception:
    if fault.trace:
        error.add_note(f"In the environment:\n{fault.trace}")
    return error
