"""Rounds of descent: failures come into the batch, and the best round is kept."""

import numpy as np
import pytest

from roboopt.cli._recipes import cart_pole
from roboopt.cli._rounds import FRESH, ROUNDS, _replaced, descend


def test_up_to_half_of_the_batch_is_replaced_by_the_latest_failures():
    batch, failures = np.arange(6.0)[:, None], np.array([[10.0], [11.0]])
    np.testing.assert_array_equal(
        _replaced(batch, failures)[:, 0], [10.0, 11.0, 0.0, 1.0, 2.0, 3.0]
    )
    many = np.arange(20.0, 30.0)[:, None]
    np.testing.assert_array_equal(
        _replaced(batch, many)[:, 0], [20.0, 21.0, 22.0, 0.0, 1.0, 2.0]
    )


@pytest.mark.slow
def test_rounds_go_on_while_fresh_starts_fail():
    # A pole that hangs cannot be up and still for a second within half of one.
    recipe = cart_pole(task="swing-up", duration=0.5, starts=2)
    said = []
    result = descend(recipe, steps=2, say=said.append)
    assert len(said) == ROUNDS and said[0].endswith(
        f"0 of {FRESH} fresh starts succeed"
    )
    # The first round takes two steps and the others one; each notes its start as well.
    assert result.steps == 2 + (ROUNDS - 1)
    assert all(len(v) == result.steps + ROUNDS for v in result.history.values())
    assert result.message.startswith(f"{ROUNDS} rounds; in the last, ")
    assert result.loss in result.history["loss"]
    recipe.env.close()
