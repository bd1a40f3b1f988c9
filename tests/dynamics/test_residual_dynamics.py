import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from recordings import cart_pole, mean_square, one_step_errors, record

import roboopt as ro
from roboopt.data import Normalizer
from roboopt.dynamics import ResidualDynamics
from roboopt.networks import NormalizedMLP
from roboopt.rollouts import Rollout

KEY = jax.random.key(0)
STATE, ACTION = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([2.0])
TWIN = cart_pole()


@pytest.fixture(scope="module")
def runs():
    return record(TWIN, episodes=100, steps=6, seed=0)


@pytest.fixture(scope="module")
def wrong():
    """The cart-pole with a cart that is 30 % too heavy."""
    return eqx.tree_at(lambda t: t.robot.masses, TWIN, TWIN.robot.masses * 1.3)


@pytest.fixture(scope="module")
def residual(wrong, runs):
    return ResidualDynamics.of(wrong, runs, key=KEY, width=16)


def test_is_exactly_the_twin_at_first(residual, wrong, runs):
    rows = jnp.asarray(runs.observations[0, :-1]), jnp.asarray(runs.actions[0])
    np.testing.assert_array_equal(jax.vmap(residual)(*rows), jax.vmap(wrong)(*rows))


def test_corrects_velocities_and_positions_by_what_follows(residual, wrong):
    units = residual.correction.outputs.scale()
    moved = eqx.tree_at(
        lambda r: r.correction.perceptron, residual, lambda x: jnp.array([2.0, -3.0])
    )
    change = np.asarray(moved(STATE, ACTION) - wrong(STATE, ACTION))
    # Differences of numbers near 1, so to rounding of these.
    np.testing.assert_allclose(change[2:], units * np.array([2, -3]), atol=1e-15)
    np.testing.assert_allclose(change[:2], TWIN.time_step * change[2:], atol=1e-15)


def test_a_correction_is_as_large_as_the_twins_errors(residual, wrong, runs):
    errors = one_step_errors(wrong, runs)[:, 2:]
    np.testing.assert_allclose(
        residual.correction.outputs.scale(), np.sqrt((errors**2).mean(0)), rtol=1e-9
    )
    np.testing.assert_array_equal(residual.correction.outputs.mean(), 0.0)


def test_positions_stay_the_integral_of_velocities_whatever_is_learned(residual):
    last = lambda r: r.correction.perceptron.layers[-1].weight  # noqa: E731
    weights = jax.random.normal(KEY, last(residual).shape)
    after = eqx.tree_at(last, residual, weights)(STATE, ACTION)
    expected = STATE[:2] + TWIN.time_step * after[2:]
    np.testing.assert_allclose(after[:2], expected, rtol=1e-14)


def test_learns_what_the_twin_misses_and_leaves_it_alone(residual, wrong, runs):
    objective = mean_square(np.std(one_step_errors(wrong, runs), 0))
    result = ro.minimize(
        objective, residual, ro.data.sliding_windows(runs, 1), steps=500, batch_size=64
    )
    held_out = record(TWIN, episodes=30, steps=6, seed=1)
    ratio = np.std(one_step_errors(result.model, held_out), 0) / np.std(
        one_step_errors(wrong, held_out), 0
    )
    assert np.all(ratio < 0.3)
    assert eqx.tree_equal(result.model.inner, residual.inner)


@pytest.mark.slow
def test_the_twin_is_tuned_on_request(wrong, runs):
    slope = eqx.filter_grad(lambda model: jnp.sum(model(STATE, ACTION)))
    options = {"key": KEY, "width": 4}
    given = ResidualDynamics.of(wrong, runs, **options)
    tuned = ResidualDynamics.of(wrong, runs, train_twin=True, **options)
    assert not np.any(slope(given).inner.robot.masses)
    assert np.any(slope(tuned).inner.robot.masses)


def test_a_perfect_twin_is_left_as_it_is(runs):
    perfect = ResidualDynamics.of(TWIN, runs, key=KEY, width=4)
    outputs = perfect.correction.outputs
    assert outputs is not None and np.all(np.isfinite(outputs.scale()))
    np.testing.assert_array_equal(perfect(STATE, ACTION), TWIN(STATE, ACTION))


def test_has_what_the_twin_has_and_runs_in_its_place(residual, wrong):
    for name in ("time_step", "joints", "action_size"):
        assert getattr(residual, name) == getattr(wrong, name)
    np.testing.assert_array_equal(residual.clip(jnp.array([50.0])), [10.0])
    np.testing.assert_array_equal(residual.effort(ACTION), [2.0, 0.0])
    np.testing.assert_array_equal(
        residual(STATE, jnp.array([50.0])), residual(STATE, jnp.array([10.0]))
    )
    policy = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    ours = Rollout(residual, 5)(policy, STATE[None])
    np.testing.assert_array_equal(
        ours.observations, Rollout(wrong, 5)(policy, STATE[None]).observations
    )
    assert_derivatives(residual, (STATE, ACTION), rtol=1e-6, atol=1e-6)


def test_survives_a_file(residual, tmp_path):
    ro.save(tmp_path / "r.npz", residual)
    loaded = ro.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(loaded(STATE, ACTION), residual(STATE, ACTION))


def test_works_in_single_precision(residual):
    single = jax.tree.map(
        lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, residual
    )
    after = single(STATE.astype(jnp.float32), ACTION.astype(jnp.float32))
    assert after.dtype == jnp.float32


def test_what_does_not_fit_is_refused(wrong, residual, runs):
    four = Normalizer([0.0] * 4, [1.0] * 4)
    network = NormalizedMLP.of(
        runs.observations[0, 1:], four, extra=runs.actions[0], key=KEY
    )
    match = r"`correction` must fit `twin` .* \(4, 1, 2\), got \(4, 1, 4\)"
    with pytest.raises(ValueError, match=match):
        ResidualDynamics(wrong, network)
    slow = ro.Trajectory(runs.observations, runs.actions, 0.1)
    with pytest.raises(ValueError, match="`trajectories` must have the time step of"):
        ResidualDynamics.of(wrong, slow, key=KEY)
    both = ro.Trajectory(
        runs.observations, np.repeat(runs.actions, 2, -1), runs.time_step
    )
    match = "`trajectories` must have actions of `twin`'s size 1, got 2"
    with pytest.raises(ValueError, match=match):
        ResidualDynamics.of(wrong, both, key=KEY)
    with pytest.raises(ValueError, match="`(state|action)` must have shape"):
        residual(STATE, jnp.zeros(2))
