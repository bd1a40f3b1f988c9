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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import isfinite
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

FEW_NUMBERS = 32
ORPHAN_GRACE_S = 2.0  # The parent ends a late worker before the worker ends itself.


class Fault(Exception):
    """An environment's failure: its row, what happened, and the traceback."""

    def __init__(self, row: int, what: str, trace: str = ""):
        super().__init__(row, what, trace)
        self.row, self.what, self.trace = row, what, trace

    @classmethod
    def raised(cls, row: int, what: str, error: Exception) -> "Fault":
        """Return the fault of an exception that is being handled."""
        text = f"{what} raised {type(error).__name__}: {error}"
        return cls(row, text, traceback.format_exc())


class Start(NamedTuple):
    """How an episode begins: the arguments of `reset`."""

    seed: int | None = None
    options: dict | None = None


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
    effort_axes: tuple[int, ...] | None = None
    """The joints whose efforts the task's cost is of, None for the actions."""


class EnvGroup:
    """Environments of one kind.

    Raises:
        Fault: from each method, if an environment raised, or returned a number that is
            not finite.
    """

    def __init__(self, make: Any, count: int, mark: Any):
        """Make `count` environments; `mark[0]` is set to the row that is touched."""
        self._mark = mark
        self._envs: list[Any] = []
        for row in range(count):
            mark[0] = row
            try:
                self._envs.append(_made(make))
            except Exception as error:
                self.close()
                raise Fault.raised(row, "making it", error) from error
        self._description = describe(self._envs[0])
        space = self._description.observation_space
        self._shape = space.shape or ()
        self._discrete = type(self._description.action_space).__name__ == "Discrete"
        dtype = space.dtype if np.dtype(space.dtype).kind == "f" else np.dtype(float)
        self._observations = np.zeros((count, *self._shape), dtype)
        self._told = False

    def describe(self) -> Description:
        """Return the properties of one environment."""
        return self._description

    def request(self, kind: str, *arguments: Any) -> Callable[[], Any]:
        """Return a function that answers the request, "reset" or "step"."""
        return partial(getattr(self, kind), *arguments)

    def reset(self, starts: dict[int, tuple[int | None, dict | None]]) -> np.ndarray:
        """Begin an episode in each row of `starts`; return all observations."""
        seen = self._observations = self._observations.copy()
        for row, (seed, options) in starts.items():
            self._mark[0] = row
            answer = None
            try:
                answer = self._envs[row].reset(seed=seed, options=options)
                begun, _ = answer
                seen[row] = self._shaped(begun)
            except Exception as error:
                raise self._fault(row, "reset", answer, error) from error
        _check_finite(seen)
        return seen

    def step(self, actions: np.ndarray, rows: Sequence[int]) -> tuple[Any, ...]:
        """Take a step in each of `rows`, with the same rows of `actions`.

        Returns:
            Of all environments the observations, and lists of the rewards, whether the
            episode was terminated or truncated, `success` (None as long as no
            environment says), the efforts (None where unknown), and the observations
            and efforts of each time step side by side (None where there is but one).
        """
        given = actions[:, 0].tolist() if self._discrete else actions
        count, mark, shape = len(self._envs), self._mark, self._shape
        # A new array, which the caller may keep.
        observations = self._observations = self._observations.copy()
        rewards, terminated, truncated = [0.0] * count, [False] * count, [False] * count
        success: list[bool | None] = [False if self._told else None] * count
        efforts: list[np.ndarray | None] = [None] * count
        within: list[np.ndarray | None] = [None] * count
        row, answer = -1, None
        try:
            for row in rows:
                mark[0], answer = row, None
                answer = self._envs[row].step(given[row])
                seen, reward, over, cut, info = answer
                if type(seen) is not np.ndarray or seen.shape != shape:
                    seen = self._shaped(seen)
                observations[row], rewards[row] = seen, float(reward)
                if over:
                    terminated[row] = True
                if cut:
                    truncated[row] = True
                if info:
                    said = info.get("is_success", info.get("success"))
                    if said is not None:
                        success[row], self._told = bool(said), True
                    effort = info.get("effort")
                    if effort is not None:
                        efforts[row] = np.array(effort, float).ravel()
                    if "substep_efforts" in info:
                        both = info["substep_observations"], info["substep_efforts"]
                        within[row] = np.concatenate(both, -1)
        except Exception as error:
            raise self._fault(row, "step", answer, error) from error
        _check_finite(observations, rewards)
        found = observations, rewards, terminated, truncated, success, efforts
        return *found, within

    def close(self) -> None:
        """Close all environments, whatever they raise."""
        for env in self._envs:
            with contextlib.suppress(Exception):
                env.close()

    kill = close

    def _fault(self, row: int, method: str, answer: Any, error: Exception) -> Fault:
        """Return the fault of a method that raised, or else of its answer."""
        if answer is None:
            return Fault.raised(row, f"`{method}`", error)
        parts = "observation, info"
        if method == "step":
            parts = "observation, reward, terminated, truncated, info"
        if not isinstance(answer, tuple) or len(answer) != len(parts.split(", ")):
            text = f"must return ({parts}) from `{method}`, got {answer!r}"
            return Fault(row, text)
        if method == "step" and np.shape(answer[1]) != ():
            return Fault(row, f"must give a number as reward, got {answer[1]!r}")
        return Fault(row, f"returned from `{method}` what cannot be used: {error}")

    def _shaped(self, observation: Any) -> np.ndarray:
        seen = np.asarray(observation)
        if seen.shape != self._shape:
            raise ValueError(
                f"an observation must have shape {self._shape}, got {seen.shape}"
            )
        return seen


def all_finite(values: np.ndarray) -> bool:
    """Return whether all of some real numbers are finite."""
    # A finite sum needs no closer look; lists are faster for few numbers.
    few = values.size <= FEW_NUMBERS
    total = sum(values.ravel().tolist()) if few else np.vdot(values, values)
    return isfinite(total) or bool(np.isfinite(values).all())


def _check_finite(observations: np.ndarray, rewards: Sequence[float] = ()) -> None:
    if all_finite(observations) and isfinite(sum(rewards)):
        return
    for name, values in (("observation", observations), ("reward", rewards)):
        for row, value in enumerate(values):
            if not np.isfinite(value).all():
                raise Fault(row, f"gave the {name} {value}, which is not finite")


def describe(env: Any) -> Description:
    """Return the properties of an environment with its wrappers."""
    from gymnasium import ObservationWrapper

    inner = env.unwrapped
    unchanged = env.observation_space == inner.observation_space
    unchanged &= not any(isinstance(x, ObservationWrapper) for x in _wrappers(env))
    task = getattr(inner, "task", None)
    return Description(
        name=env_name(env),
        observation_space=env.observation_space,
        action_space=env.action_space,
        time_step=time_step_of(env),
        unchanged=unchanged,
        task=task if callable(getattr(task, "success", None)) else None,
        reward_threshold=getattr(env.spec, "reward_threshold", None),
        bounded=time_limit(env) is not None,
        effort_axes=getattr(inner, "effort_axes", None),
    )


def env_name(env: Any) -> str:
    """Return the Gymnasium id of an environment, or the name of its class."""
    return str(getattr(env.spec, "id", None) or type(env.unwrapped).__name__)


def time_limit(env: Any) -> int | None:
    """Return the most steps of an episode; None where nothing limits them."""
    from gymnasium.wrappers import TimeLimit

    limits, held = [], 1
    for wrapper in _wrappers(env):
        if "control_period" in vars(wrapper):
            held *= wrapper.substeps
        elif isinstance(wrapper, TimeLimit):
            limits.append(-(-wrapper._max_episode_steps // held))
    horizon = getattr(env.unwrapped, "horizon", None)
    if isinstance(horizon, int | np.integer):
        limits.append(-(-int(horizon) // held))
    return min(limits, default=None)


def _wrappers(env: Any) -> Iterator[Any]:
    """Yield the wrappers of an environment, from the outermost inwards."""
    inner = env.unwrapped
    while env is not inner:
        yield env
        env = env.env


def time_step_of(env: Any) -> float:
    """Return the duration of a step [s]; 1 where nothing says so."""
    return told_time_step(env) or 1.0


def told_time_step(env: Any) -> float | None:
    """Return the duration of a step as an environment tells it [s].

    A wrapper that holds actions says so by its `control_period`, the environment by its
    `control_period`, `time_step`, `dt` or `tau`, or else by 1/`render_fps` of its
    metadata.
    """
    inner = env.unwrapped
    for wrapper in _wrappers(env):
        if "control_period" in vars(wrapper):
            return float(wrapper.control_period)
    for name in ("control_period", "time_step", "dt", "tau"):
        step = getattr(inner, name, None)
        # An integer `time_step` is in many environments a counter of steps.
        if isinstance(step, float) and 0 < step < float("inf"):
            return float(step)
    rate = (getattr(inner, "metadata", None) or {}).get("render_fps")
    return 1.0 / rate if rate else None


def _made(make: Any) -> Any:
    env = make()
    if hasattr(env, "single_action_space"):
        raise TypeError(f"it must be one environment, not the vector of {env}")
    if not (hasattr(env, "unwrapped") and hasattr(env, "action_space")):
        raise TypeError(f"it must be a Gymnasium environment, not {env!r}")
    return env


def _serve(parent: Connection, mark: Any) -> None:
    """Make the environments of the second message, then answer requests."""
    process, number, group, limit = os.getpid(), 0, None, 0.0
    sys.path[:] = pickle.loads(parent.recv_bytes())
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            message = parent.recv_bytes()
            failure, answer = None, None
            try:
                if group is None:
                    group, answer, limit = _begun(message, mark)
                else:
                    number, kind, *arguments = pickle.loads(message)
                    _end_within(limit)
                    answer = getattr(group, kind)(*arguments)
            except Fault as fault:
                failure = fault.args
            _end_within(0)
            if os.getpid() != process:  # A process that an environment forked.
                os._exit(0)
            parent.send_bytes(pickle.dumps((number, failure, answer), protocol=5))
    _end_within(limit)
    if group is not None:
        group.close()


def _begun(setup: bytes, mark: Any) -> tuple[EnvGroup, bytes, float]:
    """Return environments, their description, and the time to answer a request [s]."""
    try:
        import cloudpickle

        specs, sources, make, count, limit, starting = pickle.loads(setup)
        _end_within(starting)
        linecache.cache.update(sources)
        register(specs)
        group = EnvGroup(pickle.loads(make), count, mark)
        # A tuple: the parent knows this script's classes by another name.
        return group, cloudpickle.dumps(tuple(group.describe())), limit
    except Fault:
        raise
    except Exception as error:
        raise Fault.raised(mark[0], "starting", error) from error


def register(specs: Sequence[tuple[str, bytes]]) -> None:
    """Register the environments that only the parent has registered."""
    import gymnasium

    # A package that is imported later registers its own again.
    warnings.filterwarnings("ignore", ".*Overriding environment")
    for name, spec in specs:
        if name not in gymnasium.registry:
            with contextlib.suppress(Exception):  # Only the parent has its module.
                gymnasium.registry[name] = pickle.loads(spec)


def _end_within(seconds: float) -> None:
    """End this process in `seconds` unless called again; 0 cancels.

    The parent ends a late worker earlier. The alarm is for a hanging environment whose
    parent is gone: the kernel's default action needs no interpreter.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds + ORPHAN_GRACE_S if seconds else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _handle, _shared = map(int, sys.argv[1:])
    with Connection(_handle) as _parent:
        _serve(_parent, memoryview(mmap.mmap(_shared, 8)).cast("q"))
    # Without the interpreter's end, in which a library may hang.
    sys.stdout.flush()
    os._exit(0)
