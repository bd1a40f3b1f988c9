"""A sign of life on stderr while a command says nothing, as during a compilation."""

import contextlib
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

MAX_LINE = 60  # characters
WARNING = "roboopt: warning:"  # of lines that do not say what is done
PERIOD_S = 4.0  # of silence, after which the command says that it still works
FILE_PERIOD_S = 15.0  # likewise in a file, where progress says something before
MAX_PERIOD_S = 60.0


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
def heartbeat(period: float | None = None) -> Iterator[None]:
    """Repeat on stderr, after a `period` [s] of silence, what was said last.

    In a long silence each line takes twice as long as the one before, up to a minute.
    """
    if period is None:
        period = PERIOD_S if sys.stderr.isatty() else FILE_PERIOD_S
    began = written = time.monotonic()
    said, pause = "starting", period
    over = threading.Event()

    def note(text: str, told: bool) -> None:
        nonlocal began, written, said, pause
        began = written = time.monotonic()
        pause = period
        lines = [x for x in text.splitlines() if x.strip() and WARNING not in x]
        if lines:
            last = lines[-1].strip()
            last = textwrap.shorten(last, MAX_LINE, placeholder=" …").rstrip(". ")
            said = last if told else "working"  # Results are no news of what is done.

    def watch() -> None:
        nonlocal written, pause
        while not over.wait(max(written + pause - time.monotonic(), 0.01)):
            now = time.monotonic()
            if now - written >= pause:
                written, pause = now, min(2 * pause, MAX_PERIOD_S)
                before[1].write(f"... {said}, {now - began:.0f} s\n")
                before[1].flush()

    before = sys.stdout, sys.stderr
    streams = [
        _Watched(stream, partial(note, told=told))
        for stream, told in zip(before, (False, True), strict=True)
    ]
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
