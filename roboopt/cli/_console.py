"""What the commands show on the terminal while they work, and after."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roboopt.cli import _identify_tables as tables
from roboopt.cli._clone_tables import HEADER as CLONE_HEADER
from roboopt.sysid import Forecasts, IdentifyResult

MOST_ROWS = 40  # of parameters; the report has them all
MOST_SUMS = 12
WIDTH = 140  # characters, where no terminal says


def print_identification(
    found: IdentifyResult,
    rows: Sequence[tables.Parameter],
    made: Forecasts | None,
    verdict: Sequence[str],
) -> None:
    """Print the parameters, the forecasts and the verdict to stdout.

    Args:
        found: what was identified.
        rows: of the parameters.
        made: forecasts of what was held out.
        verdict: in sentences.
    """
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=WIDTH)
    shown = [row for row in rows if row.identified or len(rows) <= MOST_ROWS]
    head = tables.header(list(rows))
    cells = [row.cells() for row in shown]
    console.print(_table(head, cells, text=(0, 1, len(head) - 1)))
    if len(shown) < len(rows):
        console.print(f"{len(rows) - len(shown)} others are in parameters.csv.\n")
    sums = found.verdict.combinations
    for line in sums[:MOST_SUMS]:
        console.print(f"known in combination: {line}")
    if len(sums) > MOST_SUMS:
        console.print(f"and {len(sums) - MOST_SUMS} more, in the report")
    if made is not None:
        head = ("RMSE of forecasts", "", *tables.ahead(made.seconds))
        lines = tables.forecast_rows(made, found.model.robot)
        console.print(_table(head, lines, text=(0, 1)))
    for sentence in verdict:
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
