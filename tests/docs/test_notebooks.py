"""Notebooks are made from their pages, and pages quote what the notebooks print."""

import re
from pathlib import Path

import nbformat
import pytest
from outputs import LINK, NOTEBOOKS, notebook, printed, run

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    p for p in DOCS.rglob("*.md") if "[The same page as a notebook]" in p.read_text()
]
TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]
OTHERS = [
    p
    for p in DOCS.rglob("*.md")
    if "<!-- output -->" in p.read_text() and p not in PAGES
]
MAX_BYTES = 500_000
NUMBER = re.compile(r"[−+-]?\d[\d.]*(e[−+-]?\d+)?|–")
QUOTED = re.compile(r"<!-- output -->\n```text\n(.*?)\n?```", re.DOTALL)


def test_every_notebook_has_a_page():
    assert {p.stem for p in PAGES} == {p.stem for p in NOTEBOOKS.glob("*.ipynb")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_its_page_executed(page):
    found = nbformat.read(NOTEBOOKS / f"{page.stem}.ipynb", as_version=4)
    sources = [(cell.cell_type, cell.source) for cell in notebook(page).cells]
    assert [(cell.cell_type, cell.source) for cell in found.cells] == sources
    said = [printed(cell) for cell in found.cells if cell.cell_type == "code"]
    assert any(said), "run docs/tools/outputs.py on the page"
    for text in QUOTED.findall(page.read_text()):
        assert text in said
    assert not re.search(r"/tmp/|/home/|/root/|/Users/", "".join(said))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_and_pictures_of_a_notebook_exist(page):
    found = nbformat.read(NOTEBOOKS / f"{page.stem}.ipynb", as_version=4)
    text = "\n".join(c.source for c in found.cells if c.cell_type == "markdown")
    files = [file for _, file, _ in LINK.findall(text)]
    assert len(files) >= len(LINK.findall(page.read_text())) - 1  # not to itself
    assert not [file for file in files if not (NOTEBOOKS / file).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_shows_results_as_tables(page):
    path = NOTEBOOKS / f"{page.stem}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    shown = [out.get("data", {}) for c in cells for out in c.get("outputs", [])]
    assert any("<table" in data.get("text/html", "") for data in shown)
    assert path.stat().st_size < MAX_BYTES


def words(cell) -> str:
    """Return what a cell printed, without numbers, which vary with the machine."""
    return " ".join(NUMBER.sub(" ", printed(cell)).split())


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_it_quotes(page):
    found = nbformat.read(NOTEBOOKS / f"{page.stem}.ipynb", as_version=4)
    for old, new in zip(found.cells, run(page).cells, strict=True):
        if old.cell_type == "code" and not old.source.startswith("%%bash"):
            assert words(new) == words(old)


@pytest.mark.slow
@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_a_guide_prints_what_it_quotes(page):
    said = {words(cell) for cell in run(page).cells if cell.cell_type == "code"}
    quoted = QUOTED.findall(page.read_text())
    assert quoted
    for text in quoted:
        assert " ".join(NUMBER.sub(" ", text).split()) in said
