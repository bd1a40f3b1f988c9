"""A progress bar on the terminal: rich if it is installed, else plain text."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def show(steps: int, wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Yield a function that shows a `Status`."""
    if not wanted:
        yield lambda status: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError:
        yield _plain
        print(file=sys.stderr)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling", total=steps)
        yield lambda status: bar.update(
            task, completed=status.step, description=_description(status)
        )


def _description(status: Any) -> str:
    return f"loss {status.loss:.6g}, best {status.best_loss:.6g}"


def _plain(status: Any) -> None:
    line = f"\rstep {status.step}: {_description(status)} "
    print(line, end="", file=sys.stderr, flush=True)
