"""Environments stepped one after the other, and the process that may hold them.

Run as a script, this module is a worker: it answers requests on a pipe until the pipe
is closed. It imports neither JAX nor any of roboopt, so that it starts fast and a
user's script needs no guard. Before it touches an environment, the worker writes the
environment's row into shared memory: if the worker hangs or dies, the parent knows
which environment did it.
"""

import contextlib
import linecache
import mmap
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

TERMINATED, TRUNCATED, SUCCEEDED, TOLD = 1, 2, 4, 8
RESET, STEP = "reset", "step"
ORPHAN_GRACE_S = 2.0  # The parent ends a late worker before the worker ends itself.


class Fault(Exception):
    """An environment's failure: its row, what happened, and the traceback."""

    def __init__(self, row: int, what: str, trace: str = ""):
        """Describe the failure."""
        super().__init__(row, what, trace)
        self.row, self.what, self.trace = row, what, trace


class Description(NamedTuple):
    """The properties of an environment that are needed outside its process."""

    name: str
    observation_space: Any
    action_space: Any
    time_step: float
    """[s]"""
    unchanged: bool
    """Whether observations are those of the innermost environment."""
    task: Any
    """Judges the success of whole episodes; or None."""
    reward_threshold: float | None
    bounded: bool
    """Whether a time limit ends every episode."""


class EnvGroup:
    """Environments of one kind, and their last observations, rewards and flags.

    Raises:
        Fault: from each method, if an environment raised, or `make` made none.
    """

    def __init__(self, make: Any, count: int, mark: Any):
        """Make `count` environments; `mark[0]` is set to the row that is touched."""
        self._mark = mark
        self.envs: list[Any] = []
        for row in range(count):
            mark[0] = row
            try:
                self.envs.append(_made(make))
            except Exception as error:
                self.close()
                raise _fault(row, "making it", error) from error
        self.description = describe(self.envs[0])
        space = self.description.observation_space
        self._shape = space.shape or ()
        self._discrete = type(self.description.action_space).__name__ == "Discrete"
        self._steps = [env.step for env in self.envs]
        dtype = space.dtype if np.dtype(space.dtype).kind == "f" else np.dtype(float)
        self.observations = np.zeros((count, *self._shape), dtype)
        self.rewards = np.zeros(count)
        self.flags = np.zeros(count, np.uint8)
        self.efforts: np.ndarray | None = None
        self._efforts: np.ndarray | None = None

    @property
    def answer(self) -> tuple[Any, ...]:
        """Return the observations, rewards, flags and efforts of the last request."""
        return self.observations, self.rewards, self.flags, self.efforts

    def reset(self, orders: Sequence[tuple[int, int | None, dict | None]]) -> None:
        """Begin an episode for each of (row, seed, options)."""
        self.observations = self.observations.copy()
        for row, seed, options in orders:
            self._mark[0] = row
            try:
                observation, _ = self.envs[row].reset(seed=seed, options=options)
                self.observations[row] = self._shaped(observation)
            except Exception as error:
                raise _fault(row, "`reset`", error) from error

    def step(self, actions: np.ndarray, rows: Sequence[int]) -> None:
        """Take a step in each of `rows`, with the same rows of `actions`."""
        given = actions[:, 0].tolist() if self._discrete else actions
        # New arrays, which the caller may keep: copying the old ones takes longer.
        observations = self.observations = self.observations.copy()
        rewards = self.rewards = np.zeros(len(self.envs))
        flags = self.flags = np.zeros(len(self.envs), np.uint8)
        mark, steps, shape = self._mark, self._steps, self._shape
        with_effort = 0
        row = -1
        try:
            for row in rows:
                mark[0] = row
                seen, reward, terminated, truncated, info = steps[row](given[row])
                if type(seen) is not np.ndarray or seen.shape != shape:
                    seen = self._shaped(seen)
                observations[row] = seen
                rewards[row] = reward
                flag = TERMINATED if terminated else 0
                if truncated:
                    flag |= TRUNCATED
                if info:
                    success = info.get("is_success", info.get("success"))
                    if success is not None:
                        flag |= TOLD | SUCCEEDED if success else TOLD
                    effort = info.get("effort")
                    if effort is not None:
                        with_effort += 1
                        self._note_effort(row, effort)
                if flag:
                    flags[row] = flag
        except Exception as error:
            raise _fault(row, "`step`", error) from error
        self.efforts = None
        if with_effort and with_effort == len(rows):
            assert self._efforts is not None
            self.efforts = self._efforts.copy()

    def close(self) -> None:
        """Close all environments, whatever they raise."""
        for env in self.envs:
            try:
                env.close()
            except Exception:  # The environment is of no use any more.
                pass

    def _note_effort(self, row: int, effort: Any) -> None:
        effort = np.asarray(effort, float)
        if self._efforts is None:
            self._efforts = np.zeros((len(self.envs), effort.size))
        self._efforts[row] = effort.reshape(self._efforts.shape[1:])

    def _shaped(self, observation: Any) -> np.ndarray:
        seen = np.asarray(observation)
        if seen.shape != self._shape:
            raise ValueError(
                f"an observation must have shape {self._shape}, got {seen.shape}"
            )
        return seen


def describe(env: Any) -> Description:
    """Return the properties of an environment with its wrappers."""
    from gymnasium import ObservationWrapper
    from gymnasium.wrappers import TimeLimit

    inner, spec = env.unwrapped, getattr(env, "spec", None)
    unchanged = env.observation_space == inner.observation_space
    bounded = hasattr(inner, "horizon")
    wrapper = env
    while wrapper is not inner:
        unchanged &= not isinstance(wrapper, ObservationWrapper)
        bounded |= isinstance(wrapper, TimeLimit)
        wrapper = wrapper.env
    task = getattr(inner, "task", None)
    return Description(
        name=str(getattr(spec, "id", None) or type(inner).__name__),
        observation_space=env.observation_space,
        action_space=env.action_space,
        time_step=time_step_of(env),
        unchanged=unchanged,
        task=task if callable(getattr(task, "success", None)) else None,
        reward_threshold=getattr(spec, "reward_threshold", None),
        bounded=bounded,
    )


def time_step_of(env: Any) -> float:
    """Return the duration of a step [s]; 1 where nothing says so."""
    # An integer `time_step` is in many environments a counter of steps.
    step = getattr(env.unwrapped, "time_step", None)
    if isinstance(step, float) and 0 < step < float("inf"):
        return float(step)
    rate = (getattr(env.unwrapped, "metadata", None) or {}).get("render_fps")
    return 1.0 / rate if rate else 1.0


def _made(make: Any) -> Any:
    env = make()
    if hasattr(env, "single_action_space"):
        raise TypeError(f"it must be one environment, not the vector of {env}")
    if not (hasattr(env, "unwrapped") and hasattr(env, "action_space")):
        raise TypeError(f"it must be a Gymnasium environment, not {env!r}")
    return env


def _fault(row: int, what: str, error: Exception) -> Fault:
    trace = traceback.format_exc()
    return Fault(row, f"{what} raised {type(error).__name__}: {error}", trace)


def _serve(parent: Connection, mark: Any) -> None:
    """Make the environments of the first message, then answer requests."""
    process = os.getpid()
    path, first = pickle.loads(parent.recv_bytes())
    sys.path[:] = path
    group, limit = _begun(parent, first, mark)
    try:
        while True:
            number, kind, *arguments = pickle.loads(parent.recv_bytes())
            _end_within(limit)
            failure = None
            try:
                (group.reset if kind == RESET else group.step)(*arguments)
            except Fault as fault:
                failure = fault.args
            _end_within(0)
            if os.getpid() != process:  # A process that an environment forked.
                os._exit(0)
            answer = number, failure, group.answer
            parent.send_bytes(pickle.dumps(answer, protocol=5))
    except (EOFError, ConnectionError):
        pass
    _end_within(limit)
    group.close()


def _begun(parent: Connection, first: bytes, mark: Any) -> tuple[EnvGroup, float]:
    import cloudpickle

    try:
        specs, sources, quiet, make, count, limit, starting = pickle.loads(first)
        _end_within(starting)
        linecache.cache.update(sources)
        _register(specs)
        if quiet:
            with contextlib.suppress(ImportError):
                from roboopt_envs import import_pybullet_silently

                import_pybullet_silently()
        group = EnvGroup(pickle.loads(make), count, mark)
    except Exception as error:
        fault = (
            error if isinstance(error, Fault) else _fault(mark[0], "starting", error)
        )
        parent.send_bytes(pickle.dumps((0, fault.args, None)))
        sys.exit(1)
    told = group.description
    try:
        # A tuple: in this process the class has no name that the parent knows.
        answer = cloudpickle.dumps((0, None, tuple(told)))
    except Exception:  # The task holds what cannot be sent.
        answer = cloudpickle.dumps((0, None, tuple(told._replace(task=None))))
    _end_within(0)
    parent.send_bytes(answer)
    return group, limit


def _register(specs: Sequence[tuple[str, bytes]]) -> None:
    """Register the environments that only the parent has registered."""
    import gymnasium

    # A package that is imported later registers its own again.
    warnings.filterwarnings("ignore", ".*Overriding environment")
    for name, spec in specs:
        if name not in gymnasium.registry:
            try:
                gymnasium.registry[name] = pickle.loads(spec)
            except Exception:  # Its module can be imported in the parent only.
                pass


def _end_within(seconds: float) -> None:
    """End this process in `seconds` unless called again; 0 cancels.

    The parent ends a late worker earlier. The alarm is for a hanging environment whose
    parent is gone: the kernel's default action needs no interpreter.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds + ORPHAN_GRACE_S if seconds else 0)


def _main(handle: int, marked: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mark = memoryview(mmap.mmap(marked, 8)).cast("q")
    os.close(marked)
    with Connection(handle) as parent:
        _serve(parent, mark)
    # Without the interpreter's end, in which a library may hang.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
