"""The README's own network and own loop, on choices."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_clone_balances_as_long_as_what_it_was_cloned_from(capsys):
    main = runpy.run_path(str(EXAMPLES / "clone_with_optax.py"))["main"]
    assert main() == 500.0
    assert "clone of 10000 choices, 20 episodes: success 100.0 %" in (
        capsys.readouterr().out
    )
