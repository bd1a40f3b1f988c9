"""A network takes the place of a linear policy only where unseen episodes show it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.imitation._selection import mean_policy
from roboopt.imitation._standard_error import simplest


def test_the_rule_by_hand():
    # Against the last, best candidate: sums of 8, 1 and 0, of four episodes each. The
    # variances are 2/3, 4/3, 0: standard errors √(4 · 2/3) = 1.6, 2.3, 0.
    costs = np.array([[2.0, 1, 3, 2], [1.25, 1.25, -0.75, -0.75], [0, 0, 0, 0]])
    assert simplest(costs) == 1  # 8 > 2 · 1.6, and 1 < 2.3
    assert simplest(costs[::2]) == 1
    # A sum of 3 is less than 2 · 1.6: the simplest stays.
    assert simplest(costs - [[1.25], [0], [0]]) == 0
    # The best comes first: whatever follows is no better and less simple.
    assert simplest(costs[::-1]) == 0


@pytest.mark.parametrize("angles", [(), (1,)])
def test_the_mean_of_both_is_one_network(angles):
    rng = np.random.default_rng(0)
    seen, acted = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    samples = ro.data.Demonstrations(seen, acted)
    linear = ro.policies.LinearPolicy.of(samples, angles=angles)
    network = ro.policies.MLPPolicy.of(samples, angles=angles, key=jax.random.key(1))
    both = mean_policy(linear, network, 0.25)
    x = jnp.asarray(rng.normal(size=3))
    expected = 0.75 * linear(x) + 0.25 * network(x)
    np.testing.assert_allclose(both(x), expected, rtol=1e-12, atol=1e-12)
    assert isinstance(both, ro.policies.MLPPolicy)
    assert mean_policy(linear, network, 0.0) is linear


def curved(count, seed, noise):
    rng, episodes = np.random.default_rng(seed), []
    for _ in range(count):
        seen = rng.uniform(-2, 2, (31, 2))
        actions = np.tanh(3 * seen[:-1, :1]) + noise * rng.normal(size=(30, 1))
        episodes.append(ro.data.Trajectory(seen, actions, 0.05))
    return episodes


@pytest.mark.slow
def test_a_network_is_kept_in_part_where_noise_is_large():
    settings: dict[str, Any] = {
        "past_actions": 0,
        "steps": 1000,
        "width": 16,
        "depth": 1,
    }
    made = ro.clone(curved(12, 0, 0.7), held_out=curved(60, 1, 0.7), **settings)
    assert "of its way from the linear policy" in made.description["policy"]
    assert made.errors["clone"] < made.errors["linear"]
    # The network that sees all of the samples is kept, and no fold's.
    assert "360 for training" in made.description["samples"]
    assert "12 episodes in 5 parts" in made.description["samples"]


def test_episodes_that_select_teach_no_candidate():
    # One episode has actions that only it can teach. A policy that had learned of it
    # would have the mismatch of the one kept, which learns of all episodes.
    episodes = curved(5, 0, 0.0)
    wild = ro.data.Trajectory(episodes[0].observations, 100 + episodes[0].actions, 0.05)
    given: dict[str, Any] = {
        "validation": [wild],
        "past_actions": 0,
        "steps": 2,
        "held_out": [wild],
    }
    made = ro.clone(episodes[1:], width=4, depth=1, **given)
    assert isinstance(made.policy.policy, ro.policies.LinearPolicy)
    assert made.mismatch["validation"] > 1.5 * made.mismatch["held out"]


@pytest.mark.parametrize("memory", [{"history": 3}, {"chunk": 4}])
@pytest.mark.slow
def test_histories_and_chunks_are_cross_validated(memory: dict[str, Any]):
    few: dict[str, Any] = {"steps": 20, "width": 4, "depth": 1}
    made = ro.clone(curved(7, 0, 0.1), **memory, **few)
    assert "5 episodes in 5 parts" in made.description["samples"]
    assert np.isfinite(made.mismatch["validation"])


def test_parts_of_a_single_episode_select_as_episodes_do():
    seen = np.random.default_rng(2).uniform(-2, 2, (101, 2))
    noise = np.random.default_rng(3).normal(size=(100, 1))
    settings: dict[str, Any] = {"steps": 300, "width": 8, "depth": 1, "held_out": 0.3}
    linear = ro.data.Trajectory(seen, seen[:-1, :1] + noise, 0.05)
    made = ro.clone(linear, past_actions=0, **settings)
    assert made.linear_kept
    assert "(5 parts of the only episode)" in made.description["samples"]
    curved = ro.data.Trajectory(seen, np.sin(4 * seen[:-1, :1]) + 0.01 * noise, 0.05)
    made = ro.clone(curved, past_actions=0, **{**settings, "steps": 1200})
    assert not made.linear_kept
