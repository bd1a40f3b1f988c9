"""Learned dynamics against physics that is wrong, as the example prints them."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_the_residual_puts_right_what_the_twin_misses(capsys):
    example = runpy.run_path(str(EXAMPLES / "learn_dynamics.py"))
    assert example["main"]() < 0.002
    rows = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    errors = {row[0].strip(): float(row[2].rstrip("%")) for row in rows[1:6]}
    assert errors["twin 30 % off"] < errors["constant velocity"]
    assert errors["network"] < errors["twin 30 % off"] / 5
    assert errors["ensemble of 5"] < errors["network"]
