"""Handles of environments, in this process or in a worker process, with one interface.

`start` and `ready` make the environments, `request` asks and `receive` waits for the
answer. A failure is a `Fault`; the handle is then ended, and starts anew when needed.
"""

import io
import linecache
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import ChainMap
from collections.abc import Callable
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.rollouts import _env_group
from roboopt.rollouts._env_group import RESET, Description, EnvGroup, Fault

STARTUP_TIMEOUT_S = 300.0
CLOSING_TIMEOUT_S = 3.0


class LocalEnvs:
    """Environments in this process."""

    description: Description
    answer: tuple[Any, ...]
    """Observations, rewards, flags and efforts after the last request."""

    def __init__(self, make: Callable[[], Any], count: int, *, leave_open: bool):
        """Take the function that makes one environment; `start` calls it."""
        self._make, self._count, self._leave_open = make, count, leave_open
        self.group: EnvGroup | None = None

    def start(self) -> None:
        """Make the environments, if there are none."""
        if self.group is None:
            self.group = EnvGroup(self._make, self._count, [0])
            self.description, self.answer = self.group.description, self.group.answer

    def ready(self) -> None:
        """Do nothing: `start` has made the environments."""

    def request(self, kind: str, *arguments: Any) -> None:
        """Keep the request until `receive`."""
        self._request = kind, arguments

    def receive(self) -> None:
        """Reset or step the environments."""
        assert self.group is not None
        kind, arguments = self._request
        (self.group.reset if kind == RESET else self.group.step)(*arguments)
        self.answer = self.group.answer

    def end(self) -> None:
        """Close the environments, unless they are to be left open."""
        if self.group is not None and not self._leave_open:
            self.group.close()
        self.group = None

    close = end


class WorkerEnvs:
    """Environments in a worker process, with a watchdog."""

    description: Description
    answer: tuple[Any, ...]

    def __init__(self, make: Callable[[], Any], count: int, timeout: float):
        """Serialize the request to make `count` environments.

        Raises:
            RobooptError: if `make` cannot be serialized.
        """
        self._timeout = timeout
        self._startup = max(timeout, STARTUP_TIMEOUT_S)
        self._setup = _setup(make, count, timeout, self._startup)
        self._process: subprocess.Popen | None = None
        self._ready = False
        self._number = 0

    def start(self) -> None:
        """Start the process, if there is none."""
        if self._process is not None:
            return
        with tempfile.TemporaryFile() as file:
            file.truncate(8)
            self._mark = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
            self._pipe, theirs = Pipe()
            handles = theirs.fileno(), file.fileno()
            with theirs:
                self._process = subprocess.Popen(
                    # -P: modules in the script's folder would shadow the library's.
                    [sys.executable, "-P", _env_group.__file__, *map(str, handles)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=handles,
                    # Signals of the terminal go to the parent alone.
                    start_new_session=True,
                    # The processes share the cores already.
                    env={"OMP_NUM_THREADS": "1", **os.environ},
                )
        self._deadline = time.monotonic() + self._startup
        self._ready, self._number = False, 0

    def ready(self) -> None:
        """Wait until the environments are made."""
        if not self._ready:
            self._send(self._setup)
            self.description = Description(*self._receive())
            self._ready = True

    def request(self, kind: str, *arguments: Any) -> None:
        """Send a numbered request."""
        self._number += 1
        self._deadline = time.monotonic() + self._timeout
        self._send(pickle.dumps((self._number, kind, *arguments), protocol=5))

    def receive(self) -> None:
        """Wait for the answer.

        Raises:
            Fault: if an environment raised, was late, or died with the process.
        """
        self.answer = self._receive()

    def end(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def close(self) -> None:
        """Let the process close its environments and end."""
        if self._process is None:
            return
        self._pipe.close()
        try:
            self._process.wait(CLOSING_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._pipe.close()
        self._process = None

    def _send(self, message: bytes) -> None:
        try:
            self._pipe.send_bytes(message)
        except ConnectionError:
            pass  # Receiving the answer will tell why.

    def _receive(self) -> tuple[Any, ...]:
        while True:
            try:
                if not self._pipe.poll(max(self._deadline - time.monotonic(), 0)):
                    limit = self._timeout if self._ready else self._startup
                    what = f"did not answer within `timeout`, {limit:g} s"
                    raise Fault(int(self._mark[0]), what)
                number, failure, answer = pickle.loads(self._pipe.recv_bytes())
            except (EOFError, ConnectionError):
                raise Fault(int(self._mark[0]), self._death()) from None
            if number != self._number:
                continue
            if failure is not None:
                raise Fault(*failure)
            return answer

    def _death(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(CLOSING_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "closed the connection of its worker process"
        if code < 0:
            return f"died with its worker process, by {signal.Signals(-code).name}"
        return f"ended its worker process, with exit code {code}"


def _setup(
    make: Callable[[], Any], count: int, timeout: float, startup: float
) -> bytes:
    """Return the first message of a worker.

    Raises:
        RobooptError: if `make` cannot be serialized.
    """
    import gymnasium

    sources: dict[str, Any] = {}
    try:
        made = _dumps(make, sources)
    except Exception as error:
        raise RobooptError(
            "`make` must be what cloudpickle can send to a worker process, got "
            f"{make!r}: {error}"
        ) from error
    specs = []
    for name, spec in gymnasium.registry.items():
        if not str(spec.entry_point).startswith("gymnasium."):
            try:
                specs.append((name, _dumps(spec, sources)))
            except Exception:  # It may be another environment's.
                pass
    quiet = "pybullet" in sys.modules or "roboopt_envs" in repr(make)
    first = specs, sources, quiet, made, count, timeout, startup
    # The path by itself: the rest may need it to be read.
    path = [str(Path(folder).absolute()) for folder in sys.path]
    return pickle.dumps((path, pickle.dumps(first)))


def _dumps(value: Any, sources: dict[str, Any]) -> bytes:
    """Serialize by cloudpickle, but keep the file names of functions.

    cloudpickle calls all code that it copies `<dynamic-code>`, so that a traceback in
    the worker would show neither file nor line.

    Args:
        value: to serialize.
        sources: receives the source lines of code that is in no file, such as the
            cells of a notebook, as `linecache` keeps them.
    """
    import cloudpickle

    table = cloudpickle.Pickler.dispatch_table
    reduce_code = table[types.CodeType]

    def reduce_with_name(code: types.CodeType) -> Any:
        name = code.co_filename
        lines = linecache.getlines(name)
        if lines and not os.path.exists(name):
            size = sum(map(len, lines))
            sources[name] = (size, None, lines, name)
        make, arguments = reduce_code(code)[:2]
        return make, tuple(name if x == "<dynamic-code>" else x for x in arguments)

    class Pickler(cloudpickle.Pickler):
        dispatch_table = ChainMap({types.CodeType: reduce_with_name}, dict(table))

    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()
