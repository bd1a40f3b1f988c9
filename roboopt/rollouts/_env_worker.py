"""Environments in a worker process, with a watchdog."""

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
from roboopt.rollouts._env_group import Description, Fault

STARTUP_TIMEOUT_S = 300.0
CLOSING_TIMEOUT_S = 3.0


class EnvWorker:
    """An `EnvGroup` in a process of its own.

    Requests and answers are numbered: the process may answer twice, where an
    environment forks, or late, where nobody waited.
    """

    def __init__(self, make: Callable[[], Any], count: int, timeout: float):
        """Start a process that makes environments and answers within `timeout` [s]."""
        startup = max(timeout, STARTUP_TIMEOUT_S)
        setup = _setup(make, count, timeout, startup)
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
        self._timeout, self._limit, self._number = timeout, startup, 0
        self._deadline = time.monotonic() + startup
        # The path by itself: the rest may need it to be read.
        path = [str(Path(folder).absolute()) for folder in sys.path]
        for message in (pickle.dumps(path), setup):
            self._send(message)

    def describe(self) -> Description:
        """Wait until the environments are made; return the properties of one."""
        return Description(*pickle.loads(self.receive()))

    def request(self, kind: str, *arguments: Any) -> Callable[[], Any]:
        """Ask for `EnvGroup.reset` or `EnvGroup.step`; return `receive`."""
        self._number, self._limit = self._number + 1, self._timeout
        self._deadline = time.monotonic() + self._timeout
        self._send(pickle.dumps((self._number, kind, *arguments), protocol=5))
        return self.receive

    def receive(self) -> Any:
        """Wait for the answer to the last request, or raise a `Fault`."""
        number = failure = answer = None
        while number != self._number:
            try:
                if not self._pipe.poll(max(self._deadline - time.monotonic(), 0)):
                    what = f"did not answer within {self._limit:g} s"
                    raise Fault(int(self._mark[0]), what)
                number, failure, answer = pickle.loads(self._pipe.recv_bytes())
            except (EOFError, ConnectionError):
                raise Fault(int(self._mark[0]), self._death()) from None
        if failure is not None:
            raise Fault(*failure)
        return answer

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def close(self) -> None:
        """Let the process close its environments and end."""
        self._pipe.close()
        try:
            self._process.wait(CLOSING_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _send(self, message: bytes) -> None:
        try:
            self._pipe.send_bytes(message)
        except ConnectionError:
            pass  # Receiving the answer will tell why.

    def _death(self) -> str:
        try:
            code = self._process.wait(CLOSING_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "closed the connection of its worker process"
        if code < 0:
            return f"died with its worker process, by {signal.Signals(-code).name}"
        return f"ended its worker process, with exit code {code}"


def portable(make: Any) -> tuple[list[tuple[str, bytes]], dict[str, Any], bytes]:
    """Return what makes an environment in another process.

    These are the environments that are registered here, the lines of code that is in no
    file, and `make`.
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
    return specs, sources, made


def received(sent: tuple[list[tuple[str, bytes]], dict[str, Any], bytes]) -> Any:
    """Return the `make` of `portable` in this process."""
    specs, sources, made = sent
    linecache.cache.update(sources)
    _env_group.register(specs)
    return pickle.loads(made)


def _setup(
    make: Callable[[], Any], count: int, timeout: float, startup: float
) -> bytes:
    return pickle.dumps((*portable(make), count, timeout, startup))


def _dumps(value: Any, sources: dict[str, Any]) -> bytes:
    """Serialize by cloudpickle, but keep the file names of functions.

    cloudpickle calls all code that it copies `<dynamic-code>`, so that a traceback in
    the worker would show neither file nor line. `sources` receives, for `linecache`,
    the lines of code that is in no file, such as the cells of a notebook.
    """
    import cloudpickle

    table = cloudpickle.Pickler.dispatch_table
    reduce_code = table[types.CodeType]

    def reduce_with_name(code: types.CodeType) -> Any:
        name = code.co_filename
        lines = linecache.getlines(name)
        if lines and not os.path.exists(name):
            sources[name] = sum(map(len, lines)), None, lines, name
        make, arguments = reduce_code(code)[:2]
        return make, tuple(name if x == "<dynamic-code>" else x for x in arguments)

    class Pickler(cloudpickle.Pickler):
        dispatch_table = ChainMap({types.CodeType: reduce_with_name}, dict(table))

    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()
