"""A command is never silent for long, and writes what it would write anyway."""

import sys
import time

import pytest

from roboopt._progress import progress_line, say_notes
from roboopt.cli._heartbeat import heartbeat
from roboopt.report import progress_bar


def test_silence_is_broken_until_something_is_written(capsys):
    with heartbeat(0.2):
        time.sleep(0.7)
        print("news")
        time.sleep(0.1)
    printed = capsys.readouterr()
    assert printed.out == "news\n"
    lines = printed.err.splitlines()
    assert 2 <= len(lines) <= 3 and set(lines) <= {
        "... starting, 0 s",
        "... starting, 1 s",
    }


def test_a_long_silence_is_broken_ever_more_rarely(capsys):
    with heartbeat(0.05):
        time.sleep(1.0)  # 0.05, 0.15, 0.35 and 0.75 s, not 20 times
    assert 2 <= len(capsys.readouterr().err.splitlines()) <= 4


def test_silence_is_of_what_was_last_said(capsys):
    with heartbeat(0.2):
        print("compiling ...", file=sys.stderr)
        time.sleep(0.3)
    assert "... compiling, 0 s" in capsys.readouterr().err.splitlines()[1]


def test_a_warning_is_not_what_is_done(capsys):
    with heartbeat(0.2):
        print("compiling", file=sys.stderr)
        print("roboopt: warning: a file tells no time", file=sys.stderr)
        time.sleep(0.3)
    assert "... compiling, 0 s" in capsys.readouterr().err.splitlines()


def test_a_table_is_not_repeated(capsys):
    with heartbeat(0.2):
        print("loss  0.5")
        time.sleep(0.3)
    assert capsys.readouterr().err == "... working, 0 s\n"


def test_a_busy_command_is_left_alone_and_its_streams_come_back(capsys):
    streams = sys.stdout, sys.stderr
    with heartbeat(0.3):
        for _ in range(6):
            time.sleep(0.1)
            print("busy", file=sys.stderr)
    assert capsys.readouterr().err == "busy\n" * 6
    assert (sys.stdout, sys.stderr) == streams


@pytest.mark.parametrize("forced", [False, True])
def test_progress_without_a_terminal_is_lines(capsys, monkeypatch, forced):
    if forced:  # as where continuous integration wants colors
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("roboopt._progress.LINE_PERIOD_S", 0.0)
    with progress_line(3, True) as show:
        show(1, "step 1")
        show(2, "step 2")
        show(2, "step 2, slower")
    with progress_bar("testing", 2) as advance:
        advance()
        advance()
    printed = capsys.readouterr().err
    assert "\r" not in printed and "\x1b" not in printed
    lines = printed.splitlines()
    assert lines[:3] == ["compiling", "step 1", "step 2"]
    assert lines[3:] == ["testing: 2", "testing: 1 of 2", "testing: 2 of 2"]


def test_notes_are_wrapped_within_eighty_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    address = "a/path/that/is/" + "long/" * 20
    notes = {"policy": "a policy", "tool": "a tool " * 20, "file": address}
    say_notes(notes)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "policy: a policy" and "a tool" in lines[1]
    assert all(len(line) <= 80 for line in lines if address not in line)
    starts = [line for line in lines if not line.startswith("  ")]
    assert [line.partition(":")[0] for line in starts] == [*notes]
    say_notes(notes, shown=False)
    assert capsys.readouterr().err == ""


def test_progress_that_is_not_wanted_is_none(capsys):
    with progress_line(3, False) as show, progress_bar("testing", 2, False) as advance:
        show(1, "step 1")
        advance()
    assert capsys.readouterr().err == ""
