"""What `roboopt tune` shows on the terminal while it judges, and after."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from roboopt.cli._comparison import GAP_HEADER, Comparison


@contextlib.contextmanager
def progress(total: int, name: str = "judging") -> Iterator[Callable[[], None]]:
    """Show a bar on stderr, and yield what moves it on by one of `total`."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)


def print_comparison(compared: Comparison, ending: str) -> None:
    """Print the tables and the verdict to stdout.

    Args:
        compared: what came out.
        ending: why the descent stopped.
    """
    # Names carry their units in brackets, which are markup to rich.
    console = Console(markup=False, highlight=False)
    head = ("", "PyBullet\nbefore", "\nafter", "\nchange", "twin\nbefore", "\nafter")
    console.print(_table(head, compared.table()))
    console.print(_table(GAP_HEADER, compared.gap_table()))
    for sentence in (*compared.verdict(), f"It stopped: {ending}"):
        console.print(sentence)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, name in enumerate(header):
        table.add_column(
            Text(name), justify="right" if column else "left", no_wrap=True
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table
