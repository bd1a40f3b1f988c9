"""Wrong command lines, made by rule: one line on stderr each, and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("wrong_lines.py")
EVERY = 18  # in the default suite: 84 of some 1500 lines


def run(folder, first, every):
    """Run some of the lines in one process, and return those that ended otherwise."""
    command = [sys.executable, str(SCRIPT), str(folder), str(first), str(every)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *found, last = done.stdout.splitlines()
    assert int(first.split()[0]) > 75 and last == "done"
    return [line for line in found if line.startswith("{")]


def test_a_wrong_command_line_is_answered_in_a_line(tmp_path):
    assert not run(tmp_path, 0, EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, EVERY))
def test_every_wrong_command_line_is_answered_in_a_line(first, tmp_path):
    assert not run(tmp_path, first, EVERY)
