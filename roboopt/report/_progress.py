"""The progress bar of the verbs."""

import contextlib
from collections.abc import Callable, Iterator

from roboopt._progress import Lines, rich_console


@contextlib.contextmanager
def progress_bar(
    label: str, total: int, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """Show a labelled bar on stderr, and yield the function that advances it by one.

    Args:
        label: what is done.
        total: of the calls.
        shown: whether to show the bar; lines now and then where there is no terminal.
    """
    if not shown:
        yield lambda: None
        return
    console = rich_console()
    if console is None:
        lines, done = Lines(f"{label}: {total}"), iter(range(1, total + 1))
        yield lambda: lines.show(f"{label}: {next(done, total)} of {total}")
        lines.flush()
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)
