"""The tables of recognized names are those of the code."""

import re
from pathlib import Path

from roboopt.data._demonstrations import ACTION_KEYS, OBSERVATION_KEYS
from roboopt.data.io._arrays import NAMES
from roboopt.data.io._columns import ALIASES, PARTS, ROBOTS, RUNS, TIMES

DOCS = Path(__file__).parents[2] / "docs"


def table(page, header):
    """Return the rows under a header as lists of cells."""
    text = (DOCS / page).read_text("utf-8").partition(f"| {header} |")[2]
    rows = text.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_columns():
    rows = {row[0].split()[0]: row[1] for row in table("formats.md", "column")}
    found = {name: set(re.findall("`(.*?)`", text)) for name, text in rows.items()}
    labels = {"run": RUNS | PARTS, "robot": ROBOTS}
    assert found == {"time": set(TIMES), **ALIASES, **labels}


def test_arrays():
    assert {row[0].strip("`") for row in table("formats.md", "array")} == set(NAMES)
    text = (DOCS / "clone.md").read_text("utf-8")
    for name in (*OBSERVATION_KEYS, *ACTION_KEYS):
        assert f"`{name}`" in text
