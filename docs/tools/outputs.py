"""Run pages as notebooks: `python docs/tools/outputs.py docs/tutorials/tune.md ...`.

A page is the one source. Its blocks run in order in a new folder with a copy of
`examples/`, Python in one session and shell commands in place. What they print goes
into the page under each line `<!-- output -->`, and to `docs/notebooks/NAME.ipynb` if
the page links to a notebook. Where
a block ends by printing a result, its cell ends with the result itself, which the
notebook shows as tables. Under a line `<!-- example NAME -->` goes what
`examples/NAME.py` prints.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
NOTED = "[The same page as a notebook]"
OUTPUT = re.compile(r"<!-- output -->\n```text\n.*?```\n\n?", re.DOTALL)
FOLLOWING = re.compile(r"(```python\n(?:(?!```).)*```\n\n)```text\n.*?```\n", re.DOTALL)
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?\)")  # to a file of this project
EXAMPLE = re.compile(r"(<!-- example (\w+) -->\n```text\n).*?```", re.DOTALL)
HERE = """\
# In the checkout, wherever this notebook was opened:
import os
from pathlib import Path

folders = [Path.cwd(), *Path.cwd().parents]
os.chdir(next(folder for folder in folders if (folder / "examples").is_dir()))"""
"""The first cell of a notebook."""
NOISE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|^.*\r", re.MULTILINE)  # colors, bars


def notebook(page: Path) -> Any:
    """Return the notebook of a page, without outputs, with the links of its folder."""
    text = page.read_text()
    plain = FOLLOWING.sub(r"\1", OUTPUT.sub("", text))
    plain = re.sub(rf"\s{re.escape(NOTED)}\(.*?\)\.?", "", plain)
    made = jupytext.reads(re.sub(r"<!-- \w+ -->\n", "", plain), "md")

    def moved(match: re.Match[str]) -> str:
        file = os.path.relpath(page.parent / match[2], NOTEBOOKS)
        return f"{match[1]}{file}{match[3] or ''})"

    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(moved, cell.source)
        elif NOTED in text and not cell.source.startswith("%%"):
            cell.source = showing(cell.source)
    if NOTED in text:
        first = next(i for i, c in enumerate(made.cells) if c.cell_type == "code")
        made.cells.insert(first, nbformat.v4.new_code_cell(HERE))
    for number, cell in enumerate(made.cells):
        cell.id = str(number)
        cell.metadata = {}
    made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return made


def showing(source: str) -> str:
    """Return a cell that shows what it prints last, if that is a result or a model.

    Results are variables, attributes, entries, and what functions of `ro` return. Other
    calls return arrays, whose type a notebook would show.
    """
    last = ast.parse(source).body[-1]
    if not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)):
        return source
    call = last.value
    if ast.unparse(call.func) != "print" or len(call.args) != 1:
        return source
    value = ast.unparse(call.args[0])
    if isinstance(call.args[0], ast.JoinedStr) or (
        isinstance(call.args[0], ast.Call) and not value.startswith("ro.")
    ):
        return source
    before = source.splitlines()[: last.lineno - 1]
    return "\n".join([*before, ast.get_source_segment(source, call.args[0]) or value])


def printed(cell: Any) -> str:
    """Return what a cell printed and showed, as text."""
    texts = [
        out.get("text") or out.get("data", {}).get("text/plain", "")
        for out in cell.get("outputs", [])
    ]
    return "\n".join(text.strip("\n") for text in texts)


def environment() -> dict[str, str]:
    """Return the environment of a reader who has installed roboopt."""
    scripts = Path(sys.executable).parent
    found = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    found |= {"PATH": f"{scripts}:{os.environ['PATH']}", "COLUMNS": "88"}
    return found | {"PYTHONWARNINGS": "ignore"}


def run(page: Path) -> Any:
    """Return the notebook of a page with its outputs, which name no folder here."""
    made = notebook(page)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        client = NotebookClient(
            made, timeout=1200, resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment())
    for cell in made.cells:
        tidy(cell, folder)
    return made


def tidy(cell: Any, folder: str) -> None:
    """Leave of a cell's outputs what it printed, in one piece, and what it showed."""
    cell.metadata = {}
    if cell.cell_type != "code":
        return

    def clean(text: str) -> str:
        text = NOISE.sub("", text.replace(folder + "/", "")).strip("\n")
        return re.sub(r"[ \t]+$", "", text, flags=re.M)

    said = [out.text for out in cell.outputs if out.get("name") == "stdout"]
    text = clean("".join(said))
    new = nbformat.v4.new_output("stream", name="stdout", text=text)
    shown = [out for out in cell.outputs if "text/html" in out.get("data", {})]
    for out in shown:
        out.data = {kind: clean(out.data[kind]) for kind in ("text/plain", "text/html")}
    cell.outputs = [new] * bool(text) + shown


def fill(page: Path, made: Any) -> None:
    """Write the outputs of a notebook into its page."""
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    cells = iter([cell for cell in code if cell.source != HERE])
    parts, last = [], ""
    pieces = re.split(
        r"(```(?:python|bash)\n.*?```\n|<!-- output -->\n```text\n.*?```)",
        page.read_text(),
        flags=re.DOTALL,
    )
    for piece in pieces:
        if piece.startswith(("```python", "```bash")):
            last = printed(next(cells))
        elif piece.startswith("<!-- output -->"):
            piece = f"<!-- output -->\n```text\n{last}\n```"
        parts.append(piece)
    page.write_text("".join(parts))


def fill_examples(page: Path) -> None:
    """Write what examples print into a page."""

    def said(match: re.Match[str]) -> str:
        command = [sys.executable, f"examples/{match[2]}.py"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True
        )
        done.check_returncode()
        return f"{match[1]}{done.stdout.strip()}\n```"

    page.write_text(EXAMPLE.sub(said, page.read_text()))


def main() -> None:
    """Run the pages that are named."""
    for name in sys.argv[1:]:
        page = Path(name).resolve()
        if "<!-- example" in page.read_text():
            fill_examples(page)
        text = page.read_text()
        if NOTED in text or "<!-- output -->" in text:
            made = run(page)
            fill(page, made)
            if NOTED in text:
                nbformat.write(made, NOTEBOOKS / f"{page.stem}.ipynb")
        print(page.name)


if __name__ == "__main__":
    main()
