import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from recordings import cart_pole, mean_square, one_step_errors, record

import roboopt as ro
from roboopt.data import Normalizer, Trajectory
from roboopt.dynamics import (
    Gaussian,
    GaussianNetworkDynamics,
    NetworkDynamics,
    linearize,
)
from roboopt.networks import NormalizedMLP
from roboopt.rollouts import Rollout

KEY = jax.random.key(0)
SETTINGS = {"actuated": (0,), "effort_limits": 10.0, "width": 16}
STATE, ACTION = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([2.0])


@pytest.fixture(scope="module")
def runs():
    return record(cart_pole(), episodes=6, steps=60, seed=0)


@pytest.fixture(scope="module")
def dynamics(runs):
    return NetworkDynamics.of(runs, key=KEY, **SETTINGS)


@pytest.fixture(scope="module")
def stochastic(dynamics, runs):
    return GaussianNetworkDynamics.of(dynamics, runs, key=KEY, width=16)


def test_adds_an_increment_in_units_of_the_recorded_ones(dynamics, runs):
    changes = np.diff(runs.observations, axis=1).reshape(-1, 4)
    zero = eqx.tree_at(
        lambda d: d.increment.perceptron, dynamics, lambda x: jnp.array([0.0, 1, -1, 2])
    )
    expected = STATE + changes.mean(0) + changes.std(0) * np.array([0, 1, -1, 2])
    np.testing.assert_allclose(zero(STATE, ACTION), expected, rtol=1e-12)


def test_has_what_a_twin_has(dynamics):
    twin = cart_pole()
    for name in ("time_step", "joints", "action_size", "actuated"):
        assert getattr(dynamics, name) == getattr(twin, name)
    for effort in ([3.0], [-50.0]):
        action = jnp.array(effort)
        np.testing.assert_array_equal(dynamics.clip(action), twin.clip(action))
        np.testing.assert_array_equal(dynamics.effort(action), twin.effort(action))


def test_an_action_beyond_the_limits_does_what_the_limit_does(dynamics):
    np.testing.assert_array_equal(
        dynamics(STATE, jnp.array([50.0])), dynamics(STATE, jnp.array([10.0]))
    )


def test_moves_on_by_a_turn_where_an_angle_starts_a_turn_further(runs):
    ours = NetworkDynamics.of(runs, key=KEY, angles=(1,), **SETTINGS)
    turn = jnp.array([0.0, 2 * np.pi, 0.0, 0.0])
    after = ours(STATE, ACTION) + turn
    np.testing.assert_allclose(ours(STATE + turn, ACTION), after, rtol=1e-12)


def test_runs_in_a_rollout_and_has_gradients(dynamics):
    policy = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    trajectory = Rollout(dynamics, 5)(policy, STATE[None])
    assert trajectory.observations.shape == (1, 6, 4)
    assert trajectory.efforts is not None and trajectory.efforts.shape == (1, 5, 2)
    a, b = linearize(dynamics, STATE, ACTION)
    assert a.shape == (4, 4) and b.shape == (4, 1)
    assert_derivatives(dynamics, (STATE, ACTION), rtol=1e-6, atol=1e-6)


def test_learns_better_than_no_change_of_velocity(dynamics, runs):
    objective = mean_square(dynamics.increment.outputs.scale())
    result = ro.minimize(
        objective, dynamics, ro.data.sliding_windows(runs, 1), steps=500, batch_size=64
    )
    held_out = record(cart_pole(), episodes=3, steps=60, seed=1)
    learned = one_step_errors(result.model, held_out)

    def straight(state, action):
        velocity = state[2:]
        return state + dynamics.time_step * jnp.append(velocity, jnp.zeros(2))

    unchanged = one_step_errors(straight, held_out)
    ratio = np.std(learned[:, 2:], 0) / np.std(unchanged[:, 2:], 0)
    assert np.all(ratio < 0.5)
    # What normalizes is given.
    for got, given in (
        (result.model.increment.inputs, dynamics.increment.inputs),
        (result.model.increment.outputs, dynamics.increment.outputs),
        (result.model.effort_limits, dynamics.effort_limits),
    ):
        assert eqx.tree_equal(got, given)


def test_works_in_single_precision(dynamics, stochastic):
    state, action = STATE.astype(jnp.float32), ACTION.astype(jnp.float32)
    single = lambda tree: jax.tree.map(  # noqa: E731
        lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, tree
    )
    assert single(dynamics)(state, action).dtype == jnp.float32
    assert single(stochastic)(state, action).variance.dtype == jnp.float32


def test_survives_a_file(dynamics, stochastic, tmp_path):
    for number, model in enumerate((dynamics, stochastic)):
        path = tmp_path / f"{number}.npz"
        ro.save(path, model)
        expected, got = model(STATE, ACTION), ro.load(path)(STATE, ACTION)
        jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_deviation_is_at_first_the_error_of_the_mean(dynamics, stochastic, runs):
    said = stochastic(STATE, ACTION)
    assert isinstance(said, Gaussian)
    np.testing.assert_array_equal(said.mean, dynamics(STATE, ACTION))
    expected = (one_step_errors(dynamics, runs) ** 2).mean(0)
    np.testing.assert_allclose(said.variance, expected, rtol=1e-10)


def test_deviation_stays_within_its_factor(stochastic):
    start = jnp.exp(stochastic.log_deviation.outputs.mean())
    for sign in (-1, 1):
        last = lambda g: g.log_deviation.perceptron.layers[-1].bias  # noqa: E731
        far = eqx.tree_at(last, stochastic, jnp.full(4, sign * 1e6))
        ratio = jnp.sqrt(far(STATE, ACTION).variance) / start
        np.testing.assert_allclose(ratio, 1e4 ** float(sign), rtol=1e-9)


def test_a_perfect_mean_has_a_deviation_nonetheless(runs):
    twin = cart_pole()
    stochastic = GaussianNetworkDynamics.of(twin, runs, key=KEY, width=4)
    spread = np.diff(runs.observations, axis=1).reshape(-1, 4).std(0)
    deviation = np.sqrt(stochastic(STATE, ACTION).variance)
    np.testing.assert_allclose(deviation, 1e-3 * spread, rtol=1e-9)


def negative_log_likelihood(model, runs):
    steps = runs.observations[:, 0], runs.actions[:, 0], runs.observations[:, 1]

    def of_one(state, action, after):
        mean, variance = model(state, action)
        return 0.5 * ((after - mean) ** 2 / variance + jnp.log(variance))

    return jnp.mean(jax.vmap(of_one)(*steps), 0)


def test_likelihood_finds_where_the_noise_is():
    # A joint at rest whose velocity is measured with a noise of 0.1 and, for an action
    # above zero, of 0.4.
    rng = np.random.default_rng(0)
    actions = rng.choice([-1.0, 1.0], (4000, 1, 1))
    noise = np.where(actions[:, 0] > 0, 0.4, 0.1) * rng.normal(size=(4000, 1))
    observations = np.zeros((4000, 2, 2))
    observations[:, 1, 1] = noise[:, 0]
    runs = Trajectory(observations, actions, 0.1)
    mean = NetworkDynamics.of(runs, key=KEY, width=8)
    start = GaussianNetworkDynamics.of(mean, runs, key=KEY, width=8)
    result = ro.minimize(
        lambda model, batch: negative_log_likelihood(model, batch)[1],
        start,
        runs,
        steps=500,
    )
    for action, deviation in ((-1.0, 0.1), (1.0, 0.4)):
        said = result.model(jnp.zeros(2), jnp.array([action]))
        # Of 2000 samples a deviation is known to 1/√4000 = 1.6 %, and three times that
        # is rare.
        np.testing.assert_allclose(np.sqrt(said.variance[1]), deviation, rtol=0.05)


def test_the_mean_is_run_in_a_rollout(stochastic, dynamics):
    policy = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    ours = Rollout(stochastic.mean_dynamics, 3)(policy, STATE[None])
    expected = Rollout(dynamics, 3)(policy, STATE[None])
    np.testing.assert_array_equal(ours.observations, expected.observations)
    for name in ("time_step", "joints", "action_size"):
        assert getattr(stochastic, name) == getattr(dynamics, name)
    np.testing.assert_array_equal(stochastic.clip(10 * ACTION), [10.0])
    np.testing.assert_array_equal(stochastic.effort(ACTION), [2.0, 0.0])


@pytest.mark.parametrize(
    "setting, match",
    [
        ({"actuated": None}, r"`actuated` must name 1 joint"),
        ({"actuated": (2,)}, r"`actuated` must name 1 .* got \(2,\)"),
        ({"actuated": (0, 0)}, r"`actuated` must name 1 .* got \(0, 0\)"),
        ({"effort_limits": 0.0}, "`effort_limits` must be one positive number or 1"),
        ({"effort_limits": (1.0, 2.0)}, "`effort_limits` must be one positive number"),
    ],
)
def test_bad_settings_are_refused(runs, setting, match):
    with pytest.raises(ValueError, match=match):
        NetworkDynamics.of(runs, key=KEY, **SETTINGS | setting)


def test_an_angle_that_jumps_is_refused(runs):
    wrapped = eqx.tree_at(
        lambda r: r.observations, runs, np.mod(runs.observations, 2 * np.pi)
    )
    with pytest.raises(
        ValueError, match=r"`angles` must not be wrapped .* jump of 6\.\d+ rad"
    ):
        NetworkDynamics.of(wrapped, key=KEY, angles=(1,), **SETTINGS)


def test_parts_that_do_not_fit_are_refused(dynamics, runs):
    states, actions = runs.observations[0], runs.actions[0]

    def of(size, last=0):
        outputs = Normalizer([0.0] * size, [1.0] * size)
        return NormalizedMLP.of(states[1:, : 4 - last], outputs, extra=actions, key=KEY)

    with pytest.raises(ValueError, match=r"`increment` must give .* got 2 outputs for"):
        NetworkDynamics(of(2), 0.1, actuated=(0,))
    with pytest.raises(ValueError, match="got 3 outputs for a state of 3"):
        NetworkDynamics(of(3, 1), 0.1, actuated=(0,))
    with pytest.raises(ValueError, match="`time_step` must be positive and finite"):
        NetworkDynamics(of(4), 0.0, actuated=(0,))
    match = r"`log_deviation` must fit .* \(4, 1, 4\), got \(4, 1, 2\)"
    with pytest.raises(ValueError, match=match):
        GaussianNetworkDynamics(dynamics, of(2))


def test_a_state_of_another_size_is_refused(dynamics, stochastic):
    for model in (dynamics, stochastic):
        with pytest.raises(ValueError, match="`(state|action)` must have shape"):
            model(STATE[:2], ACTION)
        with pytest.raises(ValueError, match="`(state|action)` must have shape"):
            model(STATE, jnp.zeros(2))
