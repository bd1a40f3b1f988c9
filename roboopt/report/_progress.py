"""The progress bar of the verbs."""

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec


@contextlib.contextmanager
def progress_bar(
    label: str, total: int, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """Show a labelled bar on stderr, and yield the function that advances it by one.

    Args:
        label: what is done.
        total: of the calls.
        shown: whether to show the bar; without rich there is none either.
    """
    if not shown or find_spec("rich") is None:
        yield lambda: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)
