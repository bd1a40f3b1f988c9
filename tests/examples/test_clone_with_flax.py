"""The README's network and trainer of flax's, on a force that is cut off."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_the_clone_balances_the_cart_pole(capsys):
    pytest.importorskip("flax")
    main = runpy.run_path(str(EXAMPLES / "clone_with_flax.py"))["main"]
    assert main() >= 0.9
    assert "clone of 9600 actions, 20 episodes: success" in capsys.readouterr().out
