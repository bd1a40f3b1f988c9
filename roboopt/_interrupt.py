"""Ctrl-C and SIGTERM: noted at once, obeyed where nothing can break.

A `KeyboardInterrupt` that is raised while JAX traces or compiles may pass through C++
code that cannot hold it, and ends the process with a segmentation fault. So the handler
raises it only where no function of JAX is running, and elsewhere tries again until that
is so. A descent shields its steps, and asks between them.
"""

import _thread
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

RETRY_S = 0.02
NOTHING = "nothing was begun, and no file is written"
SAME_S = 0.1  # between signals that are one: `timeout` sends two, to a group as well
GRACE_S = 1.0  # in which a command with nothing to keep may end by itself
SIGNALS = signal.SIGINT, signal.SIGTERM

P = ParamSpec("P")
T = TypeVar("T")


class _Handler:
    """The handler of one outermost block of `interrupts`, and what it has noted."""

    def __init__(self, command: bool, owner: bool):
        self.command, self.owner = command, owner
        self.signum = self.shields = self.expected = 0
        self.pending = self.keeping = self.retried = self.over = False
        self.cleanups: list[Callable[[], object]] = []
        self.left = NOTHING
        self._lock = threading.Lock()

    def handle(self, signum: int, frame: Any) -> None:
        """Raise, or try again later; a second signal of the user raises anywhere."""
        retried, self.retried = self.retried, False
        if not retried:
            again, self.pending, self.signum = self.pending, True, signum
            if again:
                if self.owner:  # `watch` ends the process
                    return
                self.raise_now()
            threading.Thread(target=self._retry, daemon=True).start()
        if self.pending and not self.shields and not _in_jax(frame):
            self.raise_now()

    def check(self) -> None:
        if self.pending:
            self.raise_now()

    def raise_now(self) -> None:
        self.pending = False
        raise KeyboardInterrupt

    def end(self, text: str) -> None:
        """End the process without the interpreter's end, which XLA may crash."""
        with contextlib.suppress(OSError):
            os.write(2, f"\nroboopt: {text}\n".encode())
        os._exit(128 + self.signum)

    def close(self) -> None:
        with self._lock:
            self.over, self.pending = True, False

    def _retry(self) -> None:
        while self.pending:
            time.sleep(RETRY_S)
            with self._lock:
                if self.pending and not self.shields:
                    self.retried = True
                    self.expected += 1
                    _thread.interrupt_main(signal.Signals(self.signum))

    def watch(self, pipe: int) -> None:
        """Read the signals as the kernel delivers them, also while C++ code runs."""
        seen, last = 0, -SAME_S
        while number := os.read(pipe, 1):
            with self._lock:
                own = self.expected > 0
                self.expected -= own
            if own or number[0] not in SIGNALS:
                continue
            since, last = time.monotonic() - last, time.monotonic()
            if since < SAME_S:
                continue
            seen, self.signum = seen + 1, number[0]
            if seen > 1:
                self.end("ended at once")
            threading.Thread(target=self._end_in_time, daemon=True).start()

    def _end_in_time(self) -> None:
        time.sleep(GRACE_S)
        if self.keeping or self.over:
            return
        for cleanup in self.cleanups:
            cleanup()
        self.end(interrupted())


_handler: _Handler | None = None


@contextlib.contextmanager
def interrupts(*, command: bool = False, owner: bool = False) -> Iterator[None]:
    """Obey Ctrl-C in the block where nothing can break; in a command SIGTERM too.

    Nothing changes outside the main thread, within another such block, or where the
    program handles SIGINT itself. A signal that is ignored, as SIGINT in a background
    job of a script, stays so. The handlers of before are put back, or with `owner`
    those of the system, which end the process.

    Args:
        command: whether the block is a whole command.
        owner: whether the process is that command's alone: a second signal then ends
            it at once, and so does the first where there is nothing to keep.
    """
    global _handler
    main = threading.current_thread() is threading.main_thread()
    known = signal.default_int_handler, signal.SIG_IGN
    own = main and signal.getsignal(signal.SIGINT) in known
    if _handler is not None or not own:
        yield
        return
    handler = _handler = _Handler(command, owner)
    numbers = SIGNALS if command else SIGNALS[:1]
    numbers = [n for n in numbers if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler.handle) for number in numbers}
    ends = _watched(handler) if owner else ()
    try:
        yield
        handler.check()
    finally:
        handler.close()
        for number, former in before.items():
            # The end of an owner's process takes a while, and keeps nothing any more.
            signal.signal(number, signal.SIG_DFL if owner else former)
        if ends:
            signal.set_wakeup_fd(-1)
        _handler = None


def interruptible(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with its calls in a block of `interrupts`."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with interrupts():
            return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Let no signal interrupt the block; `check` raises the one that came."""
    with _shields(1):
        yield


@contextlib.contextmanager
def exposed() -> Iterator[None]:
    """Let a signal interrupt the block, within one that is `shielded`."""
    check()
    with _shields(0):
        yield


def check() -> None:
    """Raise a `KeyboardInterrupt` if a signal came where it could not be raised."""
    if _is_here():
        _handler.check()  # type: ignore


def keep() -> None:
    """Note that there is a result which the end of the process would lose."""
    if _is_here():
        _handler.keeping = True  # type: ignore


def leaves(text: str) -> None:
    """Set what an interrupted command says of what is left of it; may be empty."""
    if _handler is not None:
        _handler.left = text


def interrupted() -> str:
    """Return the words of an interrupted command."""
    left = "" if _handler is None else _handler.left
    return f"interrupted{left and f': {left}'}"


def ending() -> bool:
    """Return whether the command that runs was told to end."""
    return _handler is not None and _handler.command and _handler.signum != 0


def exit_code() -> int:
    """Return the exit code of an interrupted command: 130, or 143 after SIGTERM."""
    return 128 + ((_handler.signum if _handler else 0) or signal.SIGINT)


@contextlib.contextmanager
def cleaned_up(cleanup: Callable[[], object]) -> Iterator[None]:
    """Call `cleanup` if the process is ended within the block."""
    cleanups = [] if _handler is None else _handler.cleanups
    cleanups.append(cleanup)
    try:
        yield
    finally:
        cleanups.remove(cleanup)


@contextlib.contextmanager
def _shields(number: int) -> Iterator[None]:
    handler = _handler if _is_here() else None
    if handler is None:
        yield
        return
    before, handler.shields = handler.shields, number
    try:
        yield
    finally:
        handler.shields = before


def _is_here() -> bool:
    here = threading.current_thread() is threading.main_thread()
    return here and _handler is not None


def _in_jax(frame: Any) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in ("jax", "jaxlib"):
            return True
        frame = frame.f_back
    return False


def _watched(handler: _Handler) -> tuple[int, int]:
    """Let a thread read the signals of the process; return the ends of its pipe."""
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    signal.set_wakeup_fd(ends[1], warn_on_full_buffer=False)
    threading.Thread(target=handler.watch, args=ends[:1], daemon=True).start()
    return ends


def end_process(code: int) -> None:
    """End the process at once, its output written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
