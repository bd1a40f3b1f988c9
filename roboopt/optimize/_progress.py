"""A progress bar on the terminal; with rich if it is installed, else plain text."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def show(steps: int, wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Yield what takes a `Status` and shows it."""
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

        def update(status: Any) -> None:
            said = f"loss {status.loss:.6g}, best {status.best_loss:.6g}"
            bar.update(task, completed=status.step, description=said)

        yield update


def _plain(status: Any) -> None:
    print(
        f"\rstep {status.step}: loss {status.loss:.6g}, best {status.best_loss:.6g} ",
        end="",
        file=sys.stderr,
        flush=True,
    )
