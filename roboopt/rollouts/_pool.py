"""Many environments of one kind, stepped together, here or in worker processes.

An environment that fails ends its episode and those beside it, not the program: an
`EnvError` names the environment, the step and the action, and after the next `reset` of
all environments the pool goes on. Nothing is reset by itself.
"""

import weakref
from functools import partial
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.policies import check_action_space, check_observation_space
from roboopt.rollouts._env_group import EnvGroup, Fault, Start
from roboopt.rollouts._env_spec import EnvSpec, env_maker, is_env
from roboopt.rollouts._env_worker import EnvWorker


class EnvError(RobooptError):
    """An environment raised, returned a non-finite number, hung, or died.

    Attributes:
        index: the environment's number.
        step: of its episode.
        action: on which it happened.
        episode: the number of its episode, where episodes are counted.
    """

    episode: int | None = None

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        step: int | None = None,
        action: Any = None,
    ):
        super().__init__(message)
        self.index, self.step, self.action = index, step, action


class Pool:
    """Many environments of one kind; returned arrays are the caller's to keep.

    Arguments and errors are those of `GymRollout`; `make` may also be one environment,
    which the pool leaves open. `argument` is the caller's name for `make`, in messages.
    """

    def __init__(
        self,
        make: Any,
        envs: int = 8,
        *,
        processes: int = 0,
        timeout: float = 60.0,
        argument: str = "make",
    ):
        for name, value, least in (("envs", envs, 1), ("processes", processes, 0)):
            require(value >= least, name, f"be at least {least}", value)
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
            maker, spec = env_maker(make, name=argument)
        if spec is not None:
            maker = partial(maker, disable_env_checker=True)
        self.envs, self._argument = envs, argument
        self._name = str(make) if isinstance(make, str | EnvSpec) else "the environment"
        self._start = partial(EnvGroup, maker, mark=[0])
        if processes:
            self._start = partial(EnvWorker, maker, timeout=timeout)
        parts = min(processes, envs) or 1
        edges = [envs * k // parts for k in range(parts + 1)]
        self._rows = [range(*edge) for edge in zip(edges, edges[1:], strict=False)]
        self._parts: list[Any] = [None] * parts  # `EnvGroup`s, `EnvWorker`s, or ended
        self._steps = [0] * envs
        # No bound method: it would keep the pool alive.
        owned = [] if self._borrowed else self._parts
        self._close = weakref.finalize(self, _close, owned)
        try:
            self._start_parts(first=True)
            self._name = self.description.name
            self.observation_space = self.description.observation_space
            self.action_space = self.description.action_space
            check_observation_space(self.observation_space)
            check_action_space(self.action_space)
        except BaseException:
            self.close()
            raise

    def reset(self, starts: dict[int, Start]) -> np.ndarray:
        """Begin an episode in the environments given; return all observations."""
        if not self._close.alive:
            raise RobooptError("the environments are closed: `close` was called.")
        self._start_parts()
        orders = [
            ({k - own.start: tuple(starts[k]) for k in own if k in starts},)
            for own in self._rows
        ]
        observations = np.concatenate(self._ask("reset", orders, None))
        for row in starts:
            self._steps[row] = 0
        return observations

    def step(self, actions: np.ndarray, rows: list[int]) -> tuple[Any, ...]:
        """Take a step in `rows`, whose episodes run; return as `EnvGroup.step` does.

        The actions are those of all environments, as an `action_reader` returns them.
        """
        local = self._parts[0]
        if isinstance(local, EnvGroup):
            try:  # As `_ask` does, but as fast as can be.
                found = local.step(actions, rows)
            except Fault as fault:
                self._end(0)
                raise self._error(0, fault, actions) from fault.__cause__
        else:
            orders = [
                (actions[list(own)], [k - own.start for k in rows if k in own])
                for own in self._rows
            ]
            seen, *lists = zip(*self._ask("step", orders, actions), strict=True)
            found = np.concatenate(seen), *(sum(parts, []) for parts in lists)
        for row in rows:
            self._steps[row] += 1
        return found

    def close(self) -> None:
        """Close the environments, and end their processes. Closing twice is fine."""
        self._close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

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
                text = f"`{self._argument}` must make an environment, but {fault.what}"
                error = RobooptError(text)
            raise _noted(error, fault) from fault.__cause__

    def _end(self, k: int) -> None:
        part, self._parts[k] = self._parts[k], None
        if part is not None and not self._borrowed:
            part.kill()

    def _ask(
        self, kind: str, orders: list[tuple], actions: np.ndarray | None
    ) -> list[Any]:
        """Return the answer of each part, or report the first failure."""
        parts = zip(self._parts, orders, strict=True)
        receive = [part.request(kind, *order) for part, order in parts]
        answers, failed = [], []
        for k in range(len(receive)):
            try:
                answers.append(receive[k]())
            except Fault as fault:
                failed.append((k, fault))
                self._end(k)
            except BaseException:  # The wait was interrupted.
                for late in range(k, len(receive)):
                    self._end(late)
                raise
        for k, fault in failed:
            raise self._error(k, fault, actions) from fault.__cause__
        return answers

    def _error(self, k: int, fault: Fault, actions: np.ndarray | None) -> Exception:
        """Return the error of a fault in part `k`."""
        index = self._rows[k].start + fault.row
        step, action, where = None, None, "its reset"
        if actions is not None:
            step, action = self._steps[index], actions[index]
            where = f"step {step} of its episode, on action {action}"
        text = f"{self._name}: environment {index} {fault.what}, at {where}."
        return _noted(EnvError(text, index=index, step=step, action=action), fault)


def _close(parts: list[Any]) -> None:
    for part in parts:
        if part is not None:
            part.close()


def _noted(error: Exception, fault: Fault) -> Exception:
    if fault.trace:
        error.add_note(f"In the environment:\n{fault.trace}")
    return error
