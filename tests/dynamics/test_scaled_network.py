import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt.data import Normalizer
from roboopt.dynamics import ScaledNetwork

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
STATES, ACTIONS = RNG.normal(size=(50, 4)), RNG.normal(size=(50, 2))
OUTPUTS = Normalizer([10.0, -1.0, 0.0], [2.0, 3.0, 4.0])


def network(**settings):
    return ScaledNetwork(STATES, ACTIONS, OUTPUTS, key=KEY, **settings)


def test_is_the_perceptron_in_units():
    ours = network(width=8, depth=1)
    features = np.concatenate([STATES, ACTIONS], 1)
    x = (features[3] - features.mean(0)) / features.std(0)
    first, last = ours.network.layers
    hidden = np.tanh(first.weight @ x + first.bias)
    expected = np.array([10.0, -1.0, 0.0]) + np.array([2.0, 3.0, 4.0]) * (
        last.weight @ hidden + last.bias
    )
    np.testing.assert_allclose(ours(STATES[3], ACTIONS[3]), expected, rtol=1e-12)
    assert (ours.state_size, ours.action_size) == (4, 2)


def test_a_turn_of_an_angle_makes_no_difference():
    ours = network(angles=(1,))
    turned = STATES[0] + 2 * np.pi * np.array([0, 1, 0, 0])
    np.testing.assert_allclose(
        ours(turned, ACTIONS[0]), ours(STATES[0], ACTIONS[0]), rtol=1e-12
    )
    plain = network()
    assert not np.allclose(plain(turned, ACTIONS[0]), plain(STATES[0], ACTIONS[0]))


def test_features_by_hand():
    # Axis 1 at 30°: the other three, sine ½ and cosine √¾, and the action.
    state, action = jnp.array([7.0, np.pi / 6, 8.0, 9.0]), jnp.array([5.0, 6.0])
    expected = [7.0, 8.0, 9.0, 0.5, np.sqrt(0.75), 5.0, 6.0]
    ours = network(angles=(1,))
    np.testing.assert_allclose(ours.features(state, action), expected)
    assert ours.action_size == 2


def test_starts_at_the_mean_with_a_last_layer_of_zero():
    ours = network(zero=True)
    np.testing.assert_array_equal(ours(STATES[0], ACTIONS[0]), [10.0, -1.0, 0.0])


def test_an_axis_that_never_changed_stays_finite():
    still = STATES * np.array([1.0, 0.0, 1.0, 1.0])
    ours = ScaledNetwork(still, ACTIONS, OUTPUTS, key=KEY)
    assert np.all(np.isfinite(ours(STATES[0], ACTIONS[0])))


@pytest.mark.parametrize(
    "setting, match",
    [
        ({"angles": (4,)}, r"`angles` must name axes 0 to 3 .* once each, got \(4,\)"),
        ({"angles": (1, 1)}, "`angles` must name axes 0 to 3 of the state once each"),
        ({"width": 0}, "`width` and `depth` must be at least 1, got 0 and 2"),
        ({"depth": 0}, "`width` and `depth` must be at least 1, got 64 and 0"),
    ],
)
def test_bad_settings_are_refused(setting, match):
    with pytest.raises(ValueError, match=match):
        network(**setting)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="same length, got 50 and 49"):
        ScaledNetwork(STATES, ACTIONS[1:], OUTPUTS, key=KEY)
    match = r"must have shapes \(4,\) and \(2,\), got \(3,\) and \(2,\)"
    with pytest.raises(ValueError, match=match):
        network()(STATES[0, :3], ACTIONS[0])
    with pytest.raises(ValueError, match=r"got \(4,\) and \(1,\)"):
        network()(STATES[0], ACTIONS[0, :1])
