"""Some environments, stepped one after the other, and the process that may hold them.

Run as a script this is a worker: it reads commands from the socket whose number it is
given, and ends with it. It imports neither JAX nor anything else of roboopt, so that
it starts fast and needs no guard in the user's script. In a shared word of memory it
notes which environment it is about to touch: who kills it for being late, or finds it
dead, learns from there which it was.
"""

import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError

TERMINATED, TRUNCATED, SUCCEEDED, TOLD = 1, 2, 4, 8
DONE, FAILED = 0, 1
HEAD = struct.Struct("<Q")
ANSWER = struct.Struct("<BxxxI")
CHUNK = 1 << 16
GRACE = 2.0  # s, in which who waits for an answer may end a worker before it does


class Fault(Exception):
    """What went wrong in an environment: its row, what, and where in the code."""

    def __init__(self, row: int, what: str, trace: str = ""):
        """Say it."""
        super().__init__(row, what, trace)
        self.row, self.what, self.trace = row, what, trace


class Described(NamedTuple):
    """What there is to know about an environment without holding it.

    It stands in for the environment where only its attributes are read.
    """

    name: str
    observation_space: Any
    action_space: Any
    metadata: dict
    time_step: Any
    unchanged: bool
    """Whether observations come as the innermost environment makes them."""
    task: Any
    """What judges success, or None."""
    reward_threshold: float | None

    @property
    def unwrapped(self) -> "Described":
        """Return this."""
        return self

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Group:
    """Some environments of one kind, and what they last showed.

    Raises:
        Fault: from each method, if an environment raised, or `make` made none.
    """

    def __init__(self, make: Any, count: int, mark: Any):
        """Make `count` environments; `mark[0]` is set to the one that is touched."""
        self._mark = mark
        self.envs: list[Any] = []
        for row in range(count):
            mark[0] = row
            try:
                self.envs.append(_made(make))
            except Exception as error:
                self.close()
                raise _fault(row, "making it", error) from error
        self.described = _described(self.envs[0])
        space = self.described.observation_space
        self._shape = space.shape or ()
        dtype = space.dtype if np.dtype(space.dtype).kind == "f" else np.dtype(float)
        self._discrete = type(self.described.action_space).__name__ == "Discrete"
        self._steps = [env.step for env in self.envs]
        self.observations = np.zeros((count, *self._shape), dtype)
        self.rewards = np.zeros(count)
        self.flags = np.zeros(count, np.uint8)
        self.efforts: np.ndarray | None = None
        self._efforts: np.ndarray | None = None

    def reset(self, orders: Sequence[tuple[int, int | None, dict | None]]) -> None:
        """Begin an episode for each of (row, seed, options)."""
        for row, seed, options in orders:
            self._mark[0] = row
            try:
                observation, _ = self.envs[row].reset(seed=seed, options=options)
                self.observations[row] = self._shaped(observation)
            except Exception as error:
                raise _fault(row, "`reset`", error) from error

    def step(self, actions: np.ndarray, rows: Sequence[int]) -> None:
        """Take a step in each of `rows`, with its row of `actions`."""
        given = actions[:, 0].tolist() if self._discrete else actions
        observations, rewards, flags = self.observations, self.rewards, self.flags
        rewards.fill(0)
        flags.fill(0)
        mark, steps, shape = self._mark, self._steps, self._shape
        moved = 0
        row = -1
        try:
            for row in rows:
                mark[0] = row
                seen, reward, terminated, truncated, info = steps[row](given[row])
                if type(seen) is not np.ndarray or seen.shape != shape:
                    seen = self._shaped(seen)
                observations[row] = seen
                rewards[row] = reward
                flag = 0
                if terminated:
                    flag = TERMINATED
                if truncated:
                    flag |= TRUNCATED
                if info:
                    said = info.get("is_success", info.get("success"))
                    if said is not None:
                        flag |= TOLD | SUCCEEDED if said else TOLD
                    effort = info.get("effort")
                    if effort is not None:
                        moved += 1
                        self._note_effort(row, effort)
                if flag:
                    flags[row] = flag
        except Exception as error:
            raise _fault(row, "`step`", error) from error
        self.efforts = self._efforts if moved and moved == len(rows) else None

    def close(self) -> None:
        """Close them all, whatever they say."""
        for env in self.envs:
            try:
                env.close()
            except Exception:  # it is over anyway
                pass

    def _note_effort(self, row: int, effort: Any) -> None:
        effort = np.asarray(effort, float)
        if self._efforts is None:
            self._efforts = np.zeros((len(self.envs), effort.size))
        self._efforts[row] = effort.reshape(self._efforts.shape[1:])

    def _shaped(self, observation: Any) -> np.ndarray:
        seen = np.asarray(observation)
        if seen.shape != self._shape:
            raise RobooptError(
                f"an observation must have shape {self._shape}, got {seen.shape}"
            )
        return seen


def unchanged(env: Any) -> bool:
    """Return whether observations come as the innermost environment makes them."""
    from gymnasium import ObservationWrapper

    if env.observation_space != env.unwrapped.observation_space:
        return False
    while env is not env.unwrapped:
        if isinstance(env, ObservationWrapper):
            return False
        env = env.env
    return True


def _fault(row: int, what: str, error: Exception) -> Fault:
    return Fault(
        row, f"{what} raised {type(error).__name__}: {error}", traceback.format_exc()
    )


def _made(make: Any) -> Any:
    if not isinstance(make, str):
        env = make()
        if hasattr(env, "single_action_space"):
            raise TypeError(f"it must be one environment, not the vector of {env}")
        if not (hasattr(env, "unwrapped") and hasattr(env, "action_space")):
            raise TypeError(f"it must be a Gymnasium environment, not {env!r}")
        return env
    import gymnasium

    if make.startswith("roboopt/"):
        import roboopt_envs  # noqa: F401  registers them
    return gymnasium.make(make, disable_env_checker=True)


def _described(env: Any) -> Described:
    inner = env.unwrapped
    task = getattr(inner, "task", None)
    spec = getattr(env, "spec", None)
    return Described(
        name=str(getattr(spec, "id", None) or type(inner).__name__),
        observation_space=env.observation_space,
        action_space=env.action_space,
        metadata=dict(getattr(inner, "metadata", None) or {}),
        time_step=getattr(inner, "time_step", None),
        unchanged=unchanged(env),
        task=task if callable(getattr(task, "success", None)) else None,
        reward_threshold=getattr(spec, "reward_threshold", None),
    )


def send(to: socket.socket, *parts: Any) -> None:
    """Send `parts`, bytes or what has a buffer, as one message."""
    body = b"".join(parts)
    to.sendall(HEAD.pack(len(body)) + body)


def receive(sender: socket.socket, deadline: float | None = None) -> bytearray:
    """Return the next message.

    Raises:
        EOFError: if there is none any more.
        TimeoutError: if it is not whole at `deadline`, by `time.monotonic`.
    """
    message = bytearray()
    missing = HEAD.size
    while missing > 0:
        if deadline is not None:
            sender.settimeout(max(deadline - time.monotonic(), 1e-3))
        piece = sender.recv(max(missing, CHUNK))
        if not piece:
            raise EOFError
        message += piece
        if len(message) >= HEAD.size:
            missing = HEAD.size + HEAD.unpack_from(message)[0] - len(message)
    del message[: HEAD.size]
    return message


def _serve(parent: socket.socket, mark: Any) -> None:
    """Make what the first message says, then do what the others say."""
    path, first = pickle.loads(receive(parent))
    sys.path[:] = path
    group, limit = _begun(parent, first, mark)
    try:
        _obey(parent, group, limit)
    except (EOFError, ConnectionError):
        pass
    _end_within(limit)
    group.close()


def _obey(parent: socket.socket, group: Group, limit: float) -> None:
    count = len(group.envs)
    dtype = np.dtype(np.int64)
    if np.dtype(group.described.action_space.dtype).kind == "f":
        dtype = group.described.action_space.dtype
    while True:
        command = receive(parent)
        _end_within(limit)
        try:
            if command[:1] == b"r":
                group.reset(pickle.loads(command[1:]))
            else:
                rows = np.flatnonzero(np.frombuffer(command, bool, count, 1)).tolist()
                actions = np.frombuffer(command, dtype, -1, 1 + count)
                group.step(actions.reshape(count, -1), rows)
        except Fault as fault:
            _end_within(0)
            send(parent, ANSWER.pack(FAILED, 0), pickle.dumps(fault.args))
            continue
        _end_within(0)
        efforts = group.efforts
        width = 0 if efforts is None else efforts.shape[1]
        send(
            parent,
            ANSWER.pack(DONE, width),
            group.observations,
            group.rewards,
            group.flags,
            b"" if efforts is None else efforts,
        )


def _begun(parent: socket.socket, first: bytes, mark: Any) -> tuple[Group, float]:
    try:
        specs, quiet, make, count, limit, starting = pickle.loads(first)
        _end_within(starting)
        _register(specs)
        if quiet:
            _import_pybullet_silently()
        group = Group(pickle.loads(make), count, mark)
        described = _picklable(group.described)
    except Exception as error:
        fault = error
        if not isinstance(fault, Fault):
            fault = _fault(mark[0], "starting", error)
        send(parent, ANSWER.pack(FAILED, 0), pickle.dumps(fault.args))
        sys.exit(1)
    _end_within(0)
    send(parent, ANSWER.pack(DONE, 0), described)
    return group, limit


def _picklable(described: Described) -> bytes:
    import cloudpickle

    # As a tuple: in this process the class has no name that the parent knows.
    try:
        return cloudpickle.dumps(tuple(described))
    except Exception:  # a task that holds what cannot be sent
        return cloudpickle.dumps(tuple(described._replace(task=None)))


def _register(specs: Sequence[tuple[str, bytes]]) -> None:
    """Register the environments that the parent knows, and this process does not."""
    import gymnasium

    # A package that is imported later registers its own again.
    warnings.filterwarnings("ignore", ".*Overriding environment")
    for name, spec in specs:
        if name not in gymnasium.registry:
            try:
                gymnasium.registry[name] = pickle.loads(spec)
            except Exception:  # of a module that only the parent could import
                pass


def _import_pybullet_silently() -> None:
    """Import PyBullet, which tells stderr when it was built, in every process."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import pybullet  # noqa: F401
    except ImportError:
        pass
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _end_within(seconds: float) -> None:
    """End this process in `seconds` unless called again; 0: never.

    The parent ends it before. This is for when the parent is no more, and the
    environment hangs: the kernel's alarm asks no interpreter.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE if seconds else 0)


def _main(handle: int, marked: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mark = memoryview(mmap.mmap(marked, 8)).cast("q")
    os.close(marked)
    with socket.socket(fileno=handle) as parent:
        _serve(parent, mark)
    # Not by way of the interpreter's end, in which a library may hang.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
