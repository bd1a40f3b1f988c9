"""Every code block of the README and the documentation runs as it is printed.

A page is one session: its Python blocks share a namespace, its shell blocks a folder
with a copy of `examples/`. Blocks that take minutes follow the line `<!-- slow -->` and
are marked slow; blocks that only illustrate are written as `text`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.parent.name != "tutorials"]  # test_notebooks.py
BLOCK = re.compile(
    r"(?P<mark><!-- (?P<word>[\w-]+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```",
    re.DOTALL,
)
SLOW_PAGES = ("reinforce", "resume")  # whose quick blocks take half a minute
COMPUTING = ("README",)  # compiled with full optimization: it computes for longer
SETUP = ("run", "tests")  # the two commands that set up; .ci/run and people run these


class Block(NamedTuple):
    language: str
    code: str
    slow: bool


def blocks(page: Path) -> list[Block]:
    found = [
        Block(match["language"], match["code"], match["word"] == "slow")
        for match in BLOCK.finditer(page.read_text())
        if match["word"] not in SETUP
    ]
    return [block for block in found if block.language in ("python", "bash")]


def cases() -> list:
    """Return a page's quick blocks as one case, and its slow ones, after them, too."""
    made = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        if any(not block.slow for block in blocks(page)):
            marks = [pytest.mark.slow] if page.stem in SLOW_PAGES else []
            made.append(pytest.param(page, False, id=name, marks=marks))
        if any(block.slow for block in blocks(page)):
            made.append(pytest.param(page, True, id=name, marks=pytest.mark.slow))
    return made


@pytest.mark.parametrize("page, slow", cases())
def test_the_blocks_of_a_page_run_in_order(page, slow, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    chosen = [block for block in blocks(page) if slow or not block.slow]
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}"}
    if page.stem in COMPUTING:
        environment.pop("XLA_FLAGS", None)
    for block in chosen:
        if block.language == "bash":
            run(["bash", "-euc", block.code], tmp_path, environment)
    python = "\n".join(block.code for block in chosen if block.language == "python")
    if python:
        run([sys.executable, "-c", python], tmp_path, environment)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
