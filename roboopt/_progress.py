"""A progress bar on stderr on a terminal, and a line now and then in a file."""

import contextlib
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

MAX_WIDTH = 80  # columns
LINE_PERIOD_S = 10.0  # between lines of progress where there is no terminal
worded: ContextVar[Callable[[str], str]] = ContextVar("worded", default=str)
"""How notes name arguments: a command names its flags."""


def say(text: str, shown: bool = True) -> None:
    """Print what begins now on stderr, if it is to be shown."""
    if shown:
        print(text, file=sys.stderr, flush=True)


def say_notes(notes: Mapping[str, str], shown: bool = True) -> None:
    """Print names and texts on stderr, in lines of at most 80 columns."""
    width = min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
    whole: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    for name, text in notes.items():
        said = f"{name}: {worded.get()(text)}"
        lines = textwrap.wrap(said, width, subsequent_indent="  ", **whole)
        say("\n".join(lines), shown)


def rich_console() -> Any:
    """Return rich's console on stderr; None without a terminal, or without rich.

    A file is no terminal, whatever FORCE_COLOR says: bars would fill it.
    """
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    console = Console(stderr=True)
    return console if sys.stderr.isatty() or console.is_jupyter else None


class Lines:
    """Lines of progress: the first text at once, the latest after each period."""

    def __init__(self, text: str):
        """Print the first text."""
        self._text, self._done, self._shown = text, None, (text, None)
        say(text)
        self._last = time.monotonic()

    def show(self, text: str, done: int | None = None) -> None:
        """Print a text if it is time.

        Args:
            text: the latest.
            done: how much is done, where texts of one amount are printed once.
        """
        self._text, self._done = text, done
        if time.monotonic() - self._last >= LINE_PERIOD_S:
            self.flush()

    def flush(self) -> None:
        """Print the latest text unless it, or one of its amount, has been printed."""
        text, done = self._shown
        if self._text != text and (done is None or self._done != done):
            say(self._text)
            self._shown = self._text, self._done
        self._last = time.monotonic()


@contextlib.contextmanager
def progress_line(total: int | None, shown: bool) -> Iterator[Callable]:
    """Yield `update(completed, text)`, which shows how far a run is.

    Args:
        total: `completed` at the end, None if unknown.
        shown: whether to show anything.
    """
    if not shown:
        yield lambda completed, text: None
        return
    console = rich_console()
    if console is None:
        lines = Lines("compiling")
        yield lambda completed, text: lines.show(text, completed)
        lines.flush()
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(20),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("compiling", total=total)
        yield lambda completed, text: bar.update(
            task, completed=completed, description=text
        )


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, which takes an s unless the number is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"
