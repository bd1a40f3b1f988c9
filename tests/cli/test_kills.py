"""Runs of every verb that are killed at random moments and resumed, to the bit."""

import random
from collections import Counter

import pytest
from kill_server import Server, killed

FEW = {
    **{"collect": 6, "minimize": 2, "least_squares": 2},
    **{"clone": 1, "identify": 1, "reinforce": 1, "tune": 1},
}
"""Kills of each case, most of them of the cheap ones."""
LONG = "identify", "tune", "clone", "reinforce"
ROUNDS = 10


@pytest.fixture(scope="module")
def server():
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in LONG else c for c in FEW]
)
def test_a_killed_run_goes_on_to_the_same_bits(server, tmp_path, case):
    found = killed(server, case, tmp_path / case, random.Random(case), FEW[case])
    assert found["kills"] >= FEW[case]


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_hundred_kills_lose_nothing(server, tmp_path, round_):
    total: Counter = Counter()
    for case in (*FEW, "dagger"):
        chance = random.Random(f"{round_} {case}")
        kills = 6 if case == "collect" else 2
        total.update(killed(server, case, tmp_path / case, chance, kills))
    print(dict(total))
    assert total["kills"] >= 200 // ROUNDS and total["resumed"] >= 10
