"""A page of the documentation as one session: `run` executes its blocks in order.

Python blocks share a namespace, that of `__main__`, and shell blocks the folder. A
command `roboopt ...` is called in the same process, which has imported and compiled
already; whatever else a shell block holds is run by bash.
"""

import gc
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"(?P<mark><!-- (?P<word>[\w-]+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```",
    re.DOTALL,
)
SETUP = ("run", "tests")  # the two commands that set up; .ci/run and people run these
END = "All blocks have run."
OPERATORS = set("|&;<>$`*")  # for the shell to read


class Block(NamedTuple):
    """A block of code."""

    language: str
    code: str
    slow: bool


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are run."""
    found = [
        Block(match["language"], match["code"], match["word"] == "slow")
        for match in BLOCK.finditer(page.read_text())
        if match["word"] not in SETUP
    ]
    return [block for block in found if block.language in ("python", "bash")]


def run(page: str, *, slow: bool, fewer: tuple[str, str] | None = None) -> None:
    """Run the blocks of a page, those marked slow only if asked to.

    Args:
        page: the path of the page.
        slow: whether blocks marked slow are run.
        fewer: arguments in the page's first block, and those in their place.
    """
    gc.set_threshold(50_000)  # as the command does
    found = blocks(Path(page))
    if fewer is not None:
        assert fewer[0] in found[0].code, f"{page} no longer says {fewer[0]}"
        found[0] = found[0]._replace(code=found[0].code.replace(*fewer))
    for block in found:
        if block.slow and not slow:
            continue
        if block.language == "python":
            exec(block.code, vars(sys.modules["__main__"]))
        else:
            for line in block.code.replace("\\\n", " ").splitlines():
                command(line)
    print(END)
    gc.freeze()  # as the command does


def command(line: str) -> None:
    """Run a line of a shell block."""
    words = shlex.split(line)
    if words[:1] != ["roboopt"] or OPERATORS & set(line):
        subprocess.run(["bash", "-euc", line], check=True)
        return
    from roboopt.cli import main

    print(f"$ {line}", flush=True)
    try:
        code = main(words[1:])
    except SystemExit as ended:  # after `--help`
        code = ended.code
    if code:
        raise RuntimeError(f"exit code {code}: {line}")
