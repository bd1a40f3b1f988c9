"""The example of an arm on a table, whose contact only PyBullet simulates."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_gains_tuned_through_contact_are_the_best_on_the_table(capsys):
    main = runpy.run_path(str(EXAMPLES / "tune_through_contact.py"))["main"]
    first, by_twin, by_contact = main()
    assert by_contact < min(first, by_twin)
    assert "tuned through contact" in capsys.readouterr().out
