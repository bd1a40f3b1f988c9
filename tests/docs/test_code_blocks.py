"""Every code block of the README and the documentation runs as it is printed.

A page is one session, in a process of its own and a folder with a copy of `examples/`.
Blocks that take minutes follow the line `<!-- slow -->` and are marked slow; blocks
that only illustrate are written as `text`. The quick tests let two blocks take fewer
and shorter episodes; the slow ones run them as printed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page import END, blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.parent.name != "tutorials"]  # test_notebooks.py
# Their quick blocks compute for long; tests/diagnose tests what the second shows.
SLOW_PAGES = ("reinforce", "derivative")
FEWER = {  # Of the sizes in tests/cli/test_tune.py, whose compiled programs are kept.
    "README": ("steps=20, episodes=20", "steps=3, episodes=3, starts=2, duration=0.5"),
    "resume": ("steps=4, episodes=2", "steps=4, episodes=3, starts=2, duration=0.5"),
}


def cases() -> list:
    """Return a page's quick blocks as one case, and its slow ones, after them, too.

    A page in `FEWER` is a slow case, as printed, in any case.
    """
    made = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        slow = [block.slow for block in blocks(page)]
        if not all(slow):
            marks = [pytest.mark.slow] if page.stem in SLOW_PAGES else []
            made.append(pytest.param(page, False, id=name, marks=marks))
        if any(slow) or page.stem in FEWER:
            made.append(pytest.param(page, True, id=name, marks=pytest.mark.slow))
    return made


@pytest.mark.parametrize("page, slow", cases())
def test_the_blocks_of_a_page_run_in_order(page, slow, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}"}
    fewer = None if slow else FEWER.get(page.stem)
    if slow or page.stem in SLOW_PAGES:
        flags = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = flags.replace("_level=0", "_level=1")
    code = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); "
    code += f"__import__('page').run({str(page)!r}, slow={slow}, fewer={fewer})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"{END}\n")


EXAMPLES = [
    page
    for page in PAGES[1:]  # The README is for a checkout.
    if any("examples/" in block.code for block in blocks(page))
]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_a_page_says_where_the_files_are_that_its_code_reads(page):
    assert "`cp -r CHECKOUT/examples .`" in page.read_text()
