"""Run pages as notebooks: `python docs/tools/outputs.py docs/tutorials/tune.md ...`.

A page is the one source. Its blocks run in order in a new folder with a copy of
`examples/`, Python in one session and shell commands in place. What they print goes to
`docs/notebooks/NAME.ipynb`, and into the page under each line `<!-- output -->`. Under
a line `<!-- example NAME -->` goes what `examples/NAME.py` prints.
"""

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
OUTPUT = re.compile(r"<!-- output -->\n```text\n.*?```\n\n?", re.DOTALL)
FOLLOWING = re.compile(r"(```python\n(?:(?!```).)*```\n\n)```text\n.*?```\n", re.DOTALL)
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?\)")  # to a file of this project
EXAMPLE = re.compile(r"(<!-- example (\w+) -->\n```text\n).*?```", re.DOTALL)
NOISE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|^.*\r", re.MULTILINE)  # colors, bars


def notebook(page: Path) -> Any:
    """Return the notebook of a page, without outputs, with the links of its folder."""
    text = FOLLOWING.sub(r"\1", OUTPUT.sub("", page.read_text()))
    text = re.sub(r"\s\[The same page as a notebook\]\(.*?\)\.?", "", text)
    made = jupytext.reads(re.sub(r"<!-- \w+ -->\n", "", text), "md")

    def moved(match: re.Match[str]) -> str:
        file = os.path.relpath(page.parent / match[2], NOTEBOOKS)
        return f"{match[1]}{file}{match[3] or ''})"

    for number, cell in enumerate(made.cells):
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(moved, cell.source)
        cell.id = str(number)
        cell.metadata = {}
    made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return made


def printed(cell: Any) -> str:
    """Return what a cell printed, as text."""
    texts = [
        out.get("text") or out.get("data", {}).get("text/plain", "")
        for out in cell.get("outputs", [])
    ]
    return "".join(texts).strip("\n")


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
    """Leave of a cell's outputs what it printed, in one piece, without colors."""
    cell.metadata = {}
    if cell.cell_type == "code":
        kept = [out for out in cell.outputs if out.get("name") != "stderr"]
        text = printed({"outputs": kept}).replace(folder + "/", "")
        text = re.sub(r"[ \t]+$", "", NOISE.sub("", text), flags=re.M)
        new = nbformat.v4.new_output("stream", name="stdout", text=text)
        cell.outputs = [new] if text else []


def fill(page: Path, made: Any) -> None:
    """Write the outputs of a notebook into its page."""
    cells = iter([c for c in made.cells if c.cell_type == "code"])
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
        if "[The same page as a notebook]" in page.read_text():
            made = run(page)
            fill(page, made)
            nbformat.write(made, NOTEBOOKS / f"{page.stem}.ipynb")
        print(page.name)


if __name__ == "__main__":
    main()
