"""Wrong command lines, made by rule: one line on stderr each, and no traceback."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from wrong_lines import hinted

from roboopt.cli import main
from roboopt.cli._flags import all_flags
from roboopt.cli._main import COMMANDS

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


def test_a_number_out_of_range_is_refused_before_anything_is_read(capsys):
    tried = 0
    for name, place in COMMANDS.items():
        command, hints = hinted(place)
        for flag, field in all_flags(command).items():
            kinds = {*get_args(hints[field.name]), hints[field.name]} & {int, float}
            for value in ("-1", "nan")[: 1 + (float in kinds)] if kinds else ():
                flagged = f"--{flag.replace('_', '-')}"
                line = [name, *["nowhere"] * (name != "identify"), flagged, value]
                if flag == "target":
                    continue  # A return may be any number.
                assert main(line) == 2
                said = capsys.readouterr().err
                number = "-1(.0)?" if value == "-1" else "nan"
                assert re.search(f"{flagged} must be .*, got {number}[.]?$", said), line
                tried += 1
    assert tried > 90
