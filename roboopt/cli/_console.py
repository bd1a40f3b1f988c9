"""What the commands show on the terminal while they work, and after."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from roboopt.cli._clone_tables import HEADER as CLONE_HEADER
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


def print_judged(outcome: Any) -> None:
    """Print who did how well, and the verdict, to stdout."""
    console = Console(markup=False, highlight=False)
    console.print(_table(CLONE_HEADER, outcome.rows()))
    for sentence in outcome.sentences():
        console.print(sentence)


def _table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: Sequence[int] = (0,),
) -> Table:
    """Return a table whose columns `text` are text, the others numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, name in enumerate(header):
        # Only what says more than a number, at the end, may take several lines.
        last = column == len(header) - 1 and column in text
        table.add_column(
            Text(name),
            justify="left" if column in text else "right",
            no_wrap=not last,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table
