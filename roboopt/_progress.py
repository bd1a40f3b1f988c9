"""A progress bar on stderr: rich if it is installed, else plain text."""

import contextlib
import sys
from collections.abc import Callable, Iterator


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
    try:
        from rich import progress
        from rich.console import Console
    except ModuleNotFoundError:
        yield lambda completed, text: print(
            f"\r{text} ", end="", file=sys.stderr, flush=True
        )
        print(file=sys.stderr)
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(20),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling", total=total)
        yield lambda completed, text: bar.update(
            task, completed=completed, description=text
        )
