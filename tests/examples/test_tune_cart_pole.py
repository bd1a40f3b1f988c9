"""The README's example, run as it stands."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_the_tuned_gains_balance_every_start(capsys):
    main = runpy.run_path(str(EXAMPLES / "tune_cart_pole.py"))["main"]
    assert main() == 1.0
    said = capsys.readouterr().out
    assert "start in PyBullet: 69% of 100 starts balanced" in said
    assert "tuned in PyBullet: 100% of 100 starts balanced" in said
