"""What the commands show on the terminal while they work, and after."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roboopt.cli._clone_tables import HEADER as CLONE_HEADER


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
