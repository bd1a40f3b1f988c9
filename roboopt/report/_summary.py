"""What a verb found, as tables and sentences that every renderer shows alike."""

import html
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from roboopt.report._page import Table
from roboopt.report._text import paragraph, table_text

MIN_WIDTH, MAX_WIDTH = 60, 110  # characters
DEFAULT_WIDTH = 80


@dataclass(frozen=True)
class Summary:
    """A title, the tables, and sentences with the most important one first."""

    title: str
    tables: Sequence[Table]
    sentences: Sequence[str]

    def text(self, width: int = DEFAULT_WIDTH) -> str:
        """Return plain text of at most `width` columns; no number is cut short."""
        tables = [table_text(table, width) for table in self.tables]
        sentences = "\n".join(paragraph(said, width) for said in self.sentences)
        return "\n\n".join([self.title, *tables, sentences])

    def html(self) -> str:
        """Return a fragment of HTML, as notebooks show it."""
        tables = "".join(table.html() for table in self.tables)
        said = "".join(f"<p>{html.escape(text)}</p>" for text in self.sentences)
        return f"<h3>{html.escape(self.title)}</h3>{tables}{said}"

    def __str__(self) -> str:
        """Return the text at the width of the terminal, 80 columns without one."""
        columns = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
        return self.text(min(max(columns, MIN_WIDTH), MAX_WIDTH))
