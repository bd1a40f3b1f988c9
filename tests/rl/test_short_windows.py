"""Short windows: what they earn and their gradients by hand, and where they begin."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import Steady, Wavering, line

import roboopt as ro
from roboopt.rl import analytic_optimizer

STARTS = np.array([[1.0, 0.0]])
AGENT = Steady(jnp.array(0.5), jnp.array(3.0))


def windows(horizon=4, envs=2, **settings):
    world = ro.rollouts.TwinVectorEnv(line(horizon), STARTS, envs)
    return ro.rl.Windows(world, **{"steps": 2, "discount": 0.5, **settings})


def test_value_and_gradient_by_hand():
    # At k = 0.5 m/s from 1 m: 1.25 m and 1.5 m, rewards −0.625 and −0.75. Rewards of
    # root mean square U = √((0.625² + 0.75²)/2) count as long as 1/(1 − γ) = 2 steps:
    # the unit is 2 U. V(x) = 3 x expects 4.5 at the end.
    # An action changes its own reward by −0.5 · 0.5, the next by γ of that, and V by
    # γ · 3 · 0.5, the first by γ of that again; V's own 3 has no part in it.
    batch = windows().block(AGENT, 0).data
    unit = 2 * np.sqrt((0.625**2 + 0.75**2) / 2)
    np.testing.assert_allclose(batch.unit, unit)
    objective = ro.NegativeReward(value_weight=0.0)
    grad = eqx.filter_grad(objective)(AGENT, batch)
    terms = objective.terms(AGENT, batch)
    np.testing.assert_allclose(terms["negative_reward"].value, 1.375 / unit - 4.5)
    np.testing.assert_allclose(grad.k, 0.625 / unit - 1.125)
    assert grad.worth == 0.0


def test_what_is_beyond_the_limits_comes_back():
    # At 3 m/s, held at 1, the exact slope is 0; but less would earn more by 0.5 · 0.5
    # a unit. At −3 m/s from 9 m more would, which is held already.
    objective = ro.NegativeReward(value_weight=0.0)
    slopes = []
    for k, start in ((3.0, 1.0), (-3.0, 9.0)):
        agent = Steady(jnp.array(k), jnp.array(0.0))
        world = ro.rollouts.TwinVectorEnv(line(4), np.array([[start, 0.0]]), 1)
        batch = ro.rl.Windows(world, steps=1, discount=0.5).block(agent, 0).data
        slopes.append(eqx.filter_grad(objective)(agent, batch).k * batch.unit[0])
    np.testing.assert_allclose(slopes, [0.25, 0.0])


def test_the_value_function_learns_the_lambda_returns():
    # At trace 1 the target of the first step is the window's own return, and of the
    # last it is r + γ V. Its error is half the mean square, whose slope is that of V.
    data = windows(trace=1.0)
    batch = data.block(AGENT, 0).data
    unit = batch.unit[0]
    last = -0.75 / unit + 0.5 * 4.5
    first = -0.625 / unit + 0.5 * last
    np.testing.assert_allclose(batch.targets, [[first, last]] * 2)
    np.testing.assert_allclose(batch.observations[0, :, 0], [1.0, 1.25])
    errors = np.array([3.0 - first, 3.75 - last])
    objective = ro.NegativeReward(value_weight=1.0)
    error = objective.terms(AGENT, batch)["value_error"].value
    np.testing.assert_allclose(error, np.mean(errors**2) / 2)
    grad = eqx.filter_grad(objective)(AGENT, batch)
    np.testing.assert_allclose(grad.worth, np.mean(errors * [1.0, 1.25]))
    # At trace 0 each looks one step ahead.
    zero = windows(trace=0.0).block(AGENT, 0).data.targets[0]
    np.testing.assert_allclose(zero, [-0.625 / unit + 0.5 * 3.75, last])


def test_gradient_matches_finite_differences():
    batch = windows(steps=3, discount=1.0).block(AGENT, 0).data
    objective = ro.NegativeReward()

    def loss(k):
        return objective(Steady(k, AGENT.worth), batch)

    grad = jax.grad(loss)(AGENT.k)
    # Piecewise quadratic: central differences are exact but for rounding.
    wanted = (loss(AGENT.k + 1e-3) - loss(AGENT.k - 1e-3)) / 2e-3
    np.testing.assert_allclose(grad, wanted, rtol=1e-9)


def test_windows_go_on_and_stop_at_an_episodes_end():
    data = windows(horizon=3)
    first, second = (data.block(AGENT, k).data for k in range(2))
    assert [episode.length for episode in data.episodes] == [3, 3]
    third = data.block(AGENT, 2).data
    np.testing.assert_allclose(first.starts[:, 0], 1.0)
    np.testing.assert_array_equal(first.left, 3)
    np.testing.assert_allclose(second.starts[:, 0], 1.5)
    np.testing.assert_array_equal(second.left, 1)
    # One step of the second window ended the episode, another was taken after it.
    np.testing.assert_allclose(third.starts[:, 0], 1.25)
    np.testing.assert_array_equal(third.left, 2)
    # What the second earns is the one step to 1.75 m, and V there.
    terms = ro.NegativeReward().terms(AGENT, second)
    earned = -0.875 / float(second.unit[0]) + 3 * 1.75
    np.testing.assert_allclose(terms["negative_reward"].value, -earned)


def test_an_agent_acts_by_chance_if_wanted():
    agent = Wavering(jnp.array(0.1), jnp.array(3.0))
    batch = windows(envs=8).block(agent, 0).data
    objective = ro.NegativeReward(entropy_weight=2.0)
    terms = objective.terms(agent, batch)
    assert terms["negative_entropy"].value == -1.5
    assert terms["negative_entropy"].weight == 2.0
    assert len(np.unique(batch.observations[:, 1, 0])) == 8
    same = objective.terms(agent, batch)["negative_reward"].value
    assert terms["negative_reward"].value == same
    other = eqx.tree_at(lambda b: b.keys, batch, batch.keys + 1)
    assert objective.terms(agent, other)["negative_reward"].value != same
    calm = windows(envs=8, noise=False).block(agent, 0).data
    assert calm.keys is None
    assert set(objective.terms(agent, calm)) == {"negative_reward", "value_error"}


def test_minimize_brings_the_mass_home():
    data = windows(steps=4, descents=2)
    fresh = Steady(AGENT.k, jnp.zeros(()))
    optimizer = analytic_optimizer(100, 0.05)
    result = ro.minimize(
        ro.NegativeReward(), fresh, data, steps=100, optimizer=optimizer
    )
    assert result.reason == "steps"
    assert data.world.steps_made == 50 * 4 * 2
    assert -1.0 < float(result.model.k) < -0.4
    assert not ro.NegativeReward().ranks(data.block(fresh, 50).data)


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"descents": 0}, "`descents` must be at least 1, got 0"),
        ({"discount": 0.0}, "`discount` must be above 0 and at most 1, got 0.0"),
        ({"trace": 1.5}, "`trace` must be within 0 and 1, got 1.5"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_bad_input_is_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        windows(**settings)


def test_the_optimizers_rate_is_positive():
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        analytic_optimizer(0)
    with pytest.raises(ValueError, match="`rate` must be positive, got 0"):
        analytic_optimizer(3, 0.0)


def test_inputs_follow_what_is_seen_if_wanted():
    class Seeing(Steady):
        seen: tuple[float, ...] = ()

        def seeing(self, normalizer):
            return Seeing(self.k, self.worth, tuple(np.asarray(normalizer.mean())))

    agent = Seeing(AGENT.k, AGENT.worth)
    assert windows().block(agent, 0).model.seen == ()
    # At 1 and 1.25 m, with 0 and then 0.5 m/s.
    seen = windows(normalize_observations=True).block(agent, 0).model.seen
    np.testing.assert_allclose(seen, [1.125, 0.25])


def test_it_goes_on_from_what_was_measured():
    data, later = (windows(normalize_observations=True) for _ in range(2))
    later.restore(data.state())
    np.testing.assert_array_equal(later.block(AGENT, 1).data.left, 4)
    first = data.block(AGENT, 0).data
    later.restore(data.state())
    again = later.block(Steady(jnp.array(1.0), AGENT.worth), 1).data
    np.testing.assert_array_equal(again.unit, first.unit)
    assert data.samples == 2 * 2
