"""Short windows: what they earn and their gradients by hand, and where they begin."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import Steady, Wavering, line

import roboopt as ro
from roboopt.rl import SHAC

STARTS = np.array([[1.0, 0.0]])
AGENT = Steady(jnp.array(0.5), jnp.array(3.0))


def windows(length=4, envs=2, starts=STARTS, **settings):
    """Return the data, and a function that makes the objective with given weights."""
    world = ro.rollouts.TwinVectorEnv(line(length), starts, envs)
    shac = SHAC(**{"horizon": 2, "discount": 0.5, **settings})
    return shac.data(world), shac.loss(world.rollout)


def test_value_and_gradient_by_hand():
    # At k = 0.5 m/s from 1 m: 1.25 m and 1.5 m, rewards −0.625 and −0.75. Rewards of
    # root mean square U = √((0.625² + 0.75²)/2) count as long as 1/(1 − γ) = 2 steps:
    # the unit is 2 U. V(x) = 3 x expects 4.5 at the end.
    # An action changes its own reward by −0.5 · 0.5, the next by γ of that, and V by
    # γ · 3 · 0.5, the first by γ of that again; V's own 3 has no part in it.
    data, objective = windows(value_weight=0.0)
    batch = data.next(AGENT, None).data
    unit = 2 * np.sqrt((0.625**2 + 0.75**2) / 2)
    np.testing.assert_allclose(batch.value_unit, unit)
    grad = eqx.filter_grad(objective)(AGENT, batch)
    terms = objective.terms(AGENT, batch)
    np.testing.assert_allclose(terms["negative_reward"].value, 1.375 / unit - 4.5)
    np.testing.assert_allclose(grad.k, 0.625 / unit - 1.125)
    assert grad.worth == 0.0


def test_what_is_beyond_the_limits_comes_back():
    # At 3 m/s, held at 1, the exact slope is 0; but less would earn more by 0.5 · 0.5
    # a unit. At −3 m/s from 9 m more would, which is held already.
    slopes = []
    for k, start in ((3.0, 1.0), (-3.0, 9.0)):
        agent = Steady(jnp.array(k), jnp.array(0.0))
        settings = {"horizon": 1, "value_weight": 0.0}
        first = np.array([[start, 0.0]])
        data, objective = windows(envs=1, starts=first, **settings)
        batch = data.next(agent, None).data
        slopes.append(eqx.filter_grad(objective)(agent, batch).k * batch.value_unit[0])
    np.testing.assert_allclose(slopes, [0.25, 0.0])


def test_the_value_function_learns_the_lambda_returns():
    # At λ = 1 the target of the first step is the window's own return, and of the
    # last it is r + γ V. Its error is half the mean square, whose slope is that of V.
    data, objective = windows(gae_lambda=1.0, value_weight=1.0)
    batch = data.next(AGENT, None).data
    unit = batch.value_unit[0]
    last = -0.75 / unit + 0.5 * 4.5
    first = -0.625 / unit + 0.5 * last
    np.testing.assert_allclose(batch.value_targets, [[first, last]] * 2)
    np.testing.assert_allclose(batch.observations[0, :, 0], [1.0, 1.25])
    errors = np.array([3.0 - first, 3.75 - last])
    error = objective.terms(AGENT, batch)["value_error"].value
    np.testing.assert_allclose(error, np.mean(errors**2) / 2)
    grad = eqx.filter_grad(objective)(AGENT, batch)
    np.testing.assert_allclose(grad.worth, np.mean(errors * [1.0, 1.25]))
    # At λ = 0 each looks one step ahead.
    zero = windows(gae_lambda=0.0)[0].next(AGENT, None).data.value_targets[0]
    np.testing.assert_allclose(zero, [-0.625 / unit + 0.5 * 3.75, last])


def test_gradient_matches_finite_differences():
    data, objective = windows(horizon=3, discount=1.0)
    batch = data.next(AGENT, None).data

    def loss(k):
        return objective(Steady(k, AGENT.worth), batch)

    grad = jax.grad(loss)(AGENT.k)
    # Piecewise quadratic: central differences are exact but for rounding.
    wanted = (loss(AGENT.k + 1e-3) - loss(AGENT.k - 1e-3)) / 2e-3
    np.testing.assert_allclose(grad, wanted, rtol=1e-9)


def test_windows_go_on_and_stop_at_an_episodes_end():
    data, objective = windows(length=3)
    first, second = (data.next(AGENT, None).data for _ in range(2))
    assert [episode.length for episode in data.episodes] == [3, 3]
    third = data.next(AGENT, None).data
    np.testing.assert_allclose(first.starts[:, 0], 1.0)
    np.testing.assert_array_equal(first.steps_left, 3)
    np.testing.assert_allclose(second.starts[:, 0], 1.5)
    np.testing.assert_array_equal(second.steps_left, 1)
    # One step of the second window ended the episode, another was taken after it.
    np.testing.assert_allclose(third.starts[:, 0], 1.25)
    np.testing.assert_array_equal(third.steps_left, 2)
    # What the second earns is the one step to 1.75 m, and V there.
    terms = objective.terms(AGENT, second)
    earned = -0.875 / float(second.value_unit[0]) + 3 * 1.75
    np.testing.assert_allclose(terms["negative_reward"].value, -earned)


def test_an_agent_acts_by_chance_if_wanted():
    agent = Wavering(jnp.array(0.1), jnp.array(3.0))
    data, objective = windows(envs=8, entropy_weight=2.0)
    batch = data.next(agent, None).data
    terms = objective.terms(agent, batch)
    assert terms["negative_entropy"].value == -1.5
    assert terms["negative_entropy"].weight == 2.0
    assert len(np.unique(batch.observations[:, 1, 0])) == 8
    same = objective.terms(agent, batch)["negative_reward"].value
    assert terms["negative_reward"].value == same
    other = eqx.tree_at(lambda b: b.keys, batch, batch.keys + 1)
    assert objective.terms(agent, other)["negative_reward"].value != same
    calm = windows(envs=8, sample_actions=False)[0].next(agent, None).data
    assert calm.keys is None
    assert set(objective.terms(agent, calm)) == {"negative_reward", "value_error"}


def test_it_brings_the_mass_home():
    world = ro.rollouts.TwinVectorEnv(line(4), STARTS, 2)
    shac = SHAC(horizon=4, updates=2, discount=0.5, learning_rate=0.05)
    fresh = Steady(AGENT.k, jnp.zeros(()))
    result = shac.learn(fresh, world, timesteps=50 * 4 * 2)
    assert result.reason == "steps" and result.steps == 100
    assert world.steps_made == 50 * 4 * 2
    assert -1.0 < float(result.model.k) < -0.4
    assert not shac.loss(world.rollout).ranks(None)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"horizon": 0}, "horizon"),
        ({"updates": 0}, "updates"),
        ({"discount": 0.0}, "discount"),
        ({"gae_lambda": 1.5}, "gae_lambda"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"value_weight": -1.0}, "value_weight"),
    ],
)
def test_bad_settings_are_refused(settings, name):
    with pytest.raises(ro.RobooptError, match=f"`{name}`"):
        SHAC(**settings)


def test_bad_use_is_refused():
    world = ro.rollouts.TwinVectorEnv(line(4), STARTS, 2)
    with pytest.raises(ro.RobooptError, match="`seed`"):
        SHAC().data(world, seed=-1)
    with pytest.raises(ro.RobooptError, match="`timesteps`"):
        SHAC().data(world).gradient_steps(0)


def test_a_batch_holds_arrays_alone():
    batch = windows()[0].next(AGENT, None).data
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(batch))
    assert hash(jax.tree.structure(batch)) is not None


def test_inputs_follow_what_is_seen_if_wanted():
    class Seeing(Steady):
        seen: tuple[float, ...] = ()

        def seeing(self, normalizer):
            return Seeing(self.k, self.worth, tuple(np.asarray(normalizer.mean())))

    agent = Seeing(AGENT.k, AGENT.worth)
    assert windows()[0].next(agent, None).model.seen == ()
    # At 1 and 1.25 m, with 0 and then 0.5 m/s.
    seen = windows(normalize_observations=True)[0].next(agent, None).model.seen
    np.testing.assert_allclose(seen, [1.125, 0.25])


def test_it_goes_on_from_what_was_measured():
    data, later = (windows(normalize_observations=True)[0] for _ in range(2))
    later.restore(data.state())
    np.testing.assert_array_equal(later.next(AGENT, None).data.steps_left, 4)
    first = data.next(AGENT, None).data
    later.restore(data.state())
    again = later.next(Steady(jnp.array(1.0), AGENT.worth), None).data
    np.testing.assert_array_equal(again.value_unit, first.value_unit)
    assert data.samples == 2 * 2
