"""Rounds of descent: failures come into the batch, and the best round is kept."""

import numpy as np
import pytest

from roboopt.tuning import TuningProblem, descend
from roboopt.tuning._rounds import FRESH_STARTS, MAX_ROUNDS, _replace_half


def test_up_to_half_of_the_batch_is_replaced_by_the_latest_failures():
    batch, failures = np.arange(6.0)[:, None], np.array([[10.0], [11.0]])
    np.testing.assert_array_equal(
        _replace_half(batch, failures)[:, 0], [10.0, 11.0, 0.0, 1.0, 2.0, 3.0]
    )
    many = np.arange(20.0, 30.0)[:, None]
    np.testing.assert_array_equal(
        _replace_half(batch, many)[:, 0], [20.0, 21.0, 22.0, 0.0, 1.0, 2.0]
    )


@pytest.mark.slow
def test_rounds_go_on_while_fresh_starts_fail():
    # A pole that hangs cannot be up and still for a second within half of one.
    problem = TuningProblem.of(
        "cart-pole", task="swing-up", duration=0.5, starts=2, steps=2
    )
    said = []
    result = descend(problem, say=said.append)
    rounds = [text for text in said if text.startswith("round")]
    assert len(rounds) == MAX_ROUNDS and f"0 of {FRESH_STARTS}" in rounds[0]
    # The first round takes two steps and the others one; each notes its start as well.
    assert result.steps == 2 + (MAX_ROUNDS - 1)
    assert all(len(v) == result.steps + MAX_ROUNDS for v in result.history.values())
    assert result.history["round"].tolist() == [1.0] * 3 + [2.0] * 2 + [3, 3, 4, 4]
    assert result.message.startswith(f"{MAX_ROUNDS} rounds; in the last, ")
    assert result.loss in result.history["loss"]
    problem.env.close()
