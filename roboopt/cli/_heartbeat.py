"""A sign of life on stderr while a command says nothing, as during a compilation."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

MAX_LINE = 60  # characters
PERIOD_S = 4.0  # of silence, after which the command says that it still works


class _Watched:
    """A stream that notes when something was last written to it."""

    def __init__(self, stream: Any, note: Any):
        self._stream, self._note = stream, note

    def write(self, text: str) -> int:
        self._note(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def heartbeat(period: float = PERIOD_S) -> Iterator[None]:
    """Repeat on stderr, after each `period` [s] of silence, what was said last."""
    began = written = time.monotonic()
    said = "starting"
    over = threading.Event()

    def note(text: str) -> None:
        nonlocal began, written, said
        began = written = time.monotonic()
        if lines := text.strip().splitlines():
            said = lines[-1][:MAX_LINE].rstrip(". ")

    def watch() -> None:
        nonlocal written
        while not over.wait(max(written + period - time.monotonic(), 0.01)):
            now = time.monotonic()
            if now - written >= period:
                written = now
                before[1].write(f"... {said}, {now - began:.0f} s\n")
                before[1].flush()

    before = sys.stdout, sys.stderr
    streams = [_Watched(stream, note) for stream in before]
    sys.stdout, sys.stderr = streams  # type: ignore
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        # Whoever has put a stream of their own here takes it away.
        if sys.stdout is streams[0]:
            sys.stdout = before[0]
        if sys.stderr is streams[1]:
            sys.stderr = before[1]
