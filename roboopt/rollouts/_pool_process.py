"""Groups of environments: one in this process, or one that a worker process holds.

Both are spoken to alike: `send_reset` or `send_step`, and then `receive`. What went
wrong is a `Fault`; a group that had one is to be ended, and begins anew at its next
reset.
"""

import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.rollouts import _pool_worker
from roboopt.rollouts._pool_worker import (
    ANSWER,
    FAILED,
    Described,
    Fault,
    Group,
    receive,
    send,
)

STARTING = 300.0  # s, at least, for a worker to import what it needs
ENDING = 3.0  # s, to close environments

Orders = Sequence[tuple[int, int | None, dict | None]]


class Here:
    """Environments in this process."""

    def __init__(self, make: Any, count: int):
        """Make them."""
        self._make, self._count = make, count
        self._group: Group | None = None
        self._do: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Make the environments, if there are none."""
        if self._group is None:
            self._group = Group(self._make, self._count, [0])
            self.described = self._group.described
            self.observations = self._group.observations
            self.rewards, self.flags = self._group.rewards, self._group.flags

    def started(self) -> None:
        """Nothing: they are."""

    def send_reset(self, orders: Orders) -> None:
        """Begin the episodes of (row, seed, options)."""
        group = self._group
        assert group is not None
        self._do = lambda: group.reset(orders)

    def send_step(self, actions: np.ndarray, active: np.ndarray) -> None:
        """Step the rows that are active."""
        group = self._group
        assert group is not None
        rows = np.flatnonzero(active).tolist()
        self._do = lambda: group.step(actions, rows)

    def receive(self) -> None:
        """Do it."""
        self._do()

    @property
    def efforts(self) -> np.ndarray | None:
        """Of the last step, (envs, joints); None if not all gave one."""
        return None if self._group is None else self._group.efforts

    def end(self) -> None:
        """Close the environments."""
        if self._group is not None:
            self._group.close()
        self._group = None

    close = end


class There:
    """Environments in a worker process."""

    def __init__(self, make: Any, count: int, timeout: float):
        """Say which; `start` starts it."""
        self._count, self._timeout = count, timeout
        self._starting = max(timeout, STARTING)
        self._setup = _setup(make, count, timeout, self._starting)
        self._process: subprocess.Popen | None = None
        self._deadline = 0.0

    def start(self) -> None:
        """Start the process, if there is none; `started` waits until it is ready."""
        if self._process is not None:
            return
        with tempfile.TemporaryFile() as file:
            file.truncate(8)
            self._mark = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
            self._socket, theirs = socket.socketpair()
            handles = theirs.fileno(), file.fileno()
            with theirs:
                self._process = subprocess.Popen(
                    # Not with the script's folder in the path: modules there have
                    # names of the standard library.
                    [sys.executable, "-P", _pool_worker.__file__, *map(str, handles)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=handles,
                    # Of the terminal's signals only this process decides.
                    start_new_session=True,
                    # The processes share the cores already.
                    env={"OMP_NUM_THREADS": "1", **os.environ},
                )
        self._deadline = time.monotonic() + self._starting
        self._begun = False

    def started(self) -> None:
        """Wait until the environments are made."""
        if self._begun:
            return
        self._say(self._setup)
        _, answer = self._answer()
        self.described = Described(*pickle.loads(answer))
        self._begun = True
        space = self.described.observation_space
        dtype = np.dtype(space.dtype)
        self._dtype = dtype if dtype.kind == "f" else np.dtype(float)
        self._shape = self._count, *(space.shape or ())
        self.observations = np.zeros(self._shape, self._dtype)
        self.rewards = np.zeros(self._count)
        self.flags = np.zeros(self._count, np.uint8)
        self.efforts: np.ndarray | None = None

    def send_reset(self, orders: Orders) -> None:
        """Tell it to begin the episodes of (row, seed, options)."""
        self._deadline = time.monotonic() + self._timeout
        self._say(b"r", pickle.dumps(orders))

    def send_step(self, actions: np.ndarray, active: np.ndarray) -> None:
        """Tell it to step the rows that are active."""
        self._deadline = time.monotonic() + self._timeout
        self._say(b"s", active, np.ascontiguousarray(actions))

    def receive(self) -> None:
        """Wait for what came of it.

        Raises:
            Fault: if an environment raised, was late, or died with the process.
        """
        width, answer = self._answer()
        n = self._count
        size = int(np.prod(self._shape))
        at = size * self._dtype.itemsize
        self.observations = np.frombuffer(answer, self._dtype, size)
        self.observations = self.observations.reshape(self._shape)
        self.rewards = np.frombuffer(answer, float, n, at)
        self.flags = np.frombuffer(answer, np.uint8, n, at + 8 * n)
        self.efforts = None
        if width:
            efforts = np.frombuffer(answer, float, n * width, at + 9 * n)
            self.efforts = efforts.reshape(n, width)

    def end(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def close(self) -> None:
        """Let the process close its environments and end."""
        if self._process is None:
            return
        self._socket.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._socket.close()
        self._process = None

    def _say(self, *parts: Any) -> None:
        try:
            self._socket.settimeout(max(self._deadline - time.monotonic(), 1e-3))
            send(self._socket, *parts)
        except (TimeoutError, ConnectionError):
            pass  # what became of it, the answer tells

    def _answer(self) -> tuple[int, bytearray]:
        assert self._process is not None
        try:
            answer = receive(self._socket, self._deadline)
        except TimeoutError:
            limit = self._timeout if self._begun else self._starting
            raise Fault(
                int(self._mark[0]), f"did not answer within `timeout`, {limit:g} s"
            ) from None
        except (EOFError, ConnectionError):
            raise Fault(int(self._mark[0]), self._death()) from None
        kind, width = ANSWER.unpack_from(answer)
        del answer[: ANSWER.size]
        if kind == FAILED:
            raise Fault(*pickle.loads(answer))
        return width, answer

    def _death(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            return "closed the connection of its worker process"
        if code < 0:
            return f"died with its worker process, by {signal.Signals(-code).name}"
        return f"ended its worker process, with exit code {code}"


def _setup(make: Any, count: int, timeout: float, starting: float) -> bytes:
    """Return what a worker is told first.

    Raises:
        RobooptError: if `make` cannot be sent.
    """
    import cloudpickle
    import gymnasium

    try:
        made = cloudpickle.dumps(make)
    except Exception as error:
        raise RobooptError(
            "`make` must be what cloudpickle can send to a worker process, got "
            f"{make!r}: {error}"
        ) from error
    if isinstance(make, str) and make.startswith("roboopt/"):
        import roboopt_envs  # noqa: F401  registers them, here and so there
    specs = []
    for name, spec in gymnasium.registry.items():
        if not str(spec.entry_point).startswith("gymnasium."):
            try:
                specs.append((name, cloudpickle.dumps(spec)))
            except Exception:  # it may not be this one
                pass
    quiet = "pybullet" in sys.modules or str(make).startswith("roboopt/")
    first = specs, quiet, made, count, timeout, starting
    # The path by itself: what follows may need it to be read.
    path = [str(Path(folder).absolute()) for folder in sys.path]
    return pickle.dumps((path, pickle.dumps(first)))
