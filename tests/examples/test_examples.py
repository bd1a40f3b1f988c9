"""Every example ends in the line that the page of examples quotes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "examples.md").read_text()
LAST = dict(re.findall(r"^\| \[(\w+)\.py\].*\| `(.*)` \|$", PAGE, re.MULTILINE))
MAX_LINES = 100


def test_the_page_lists_all_examples_and_they_are_short():
    files = {f.stem: f for f in (ROOT / "examples").glob("*.py")}
    assert files.keys() == LAST.keys()
    for path in files.values():
        assert len(path.read_text().splitlines()) < MAX_LINES, path


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST)
def test_an_example_ends_in_the_line_that_is_quoted(name, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == LAST[name]
