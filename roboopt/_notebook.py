"""HTML for notebooks, alike in JupyterLab, VS Code and on a page, in light and dark.

Colors are those of the text around, and rules apply inside of `.roboopt` alone.
"""

import html
from collections.abc import Mapping

STYLE = """
.roboopt { max-width: 60rem; overflow-x: auto; }
.roboopt table { border-collapse: collapse; margin: .5em 0; font-size: .95em; }
.roboopt tr { background: none !important; }
.roboopt th, .roboopt td { border: 0; padding: .2em 1.2em .2em 0; text-align: right;
  vertical-align: top; color: inherit; font-variant-numeric: tabular-nums;
  border-bottom: 1px solid color-mix(in srgb, currentColor 22%, transparent); }
.roboopt th { font-weight: 600; }
.roboopt th.group { text-align: center; }
.roboopt :is(th, td):is(:first-child, .text) { text-align: left; }
.roboopt pre { margin: 0; background: none; color: inherit; }
.roboopt p { margin: .2em 0; }
"""


def styled(content: str) -> str:
    """Return HTML with the rules for its tables."""
    return f'<div class="roboopt"><style>{STYLE}</style>{content}</div>'


def values_html(title: str, values: Mapping[str, str]) -> str:
    """Return a table with a row for each name and the text of its value."""
    rows = "".join(
        f'<tr><th>{html.escape(name)}</th><td class="text">{_text(value)}</td></tr>'
        for name, value in values.items()
    )
    return styled(f"<b>{html.escape(title)}</b><table>{rows}</table>")


def _text(value: str) -> str:
    said = html.escape(value.strip("\n"))
    return f"<pre>{said}</pre>" if "\n" in said else said
