from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from roboopt.data import Normalizer
from roboopt.networks import MLP, NormalizedMLP, angle_features

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
STATES, ACTIONS = RNG.normal(size=(50, 4)), RNG.normal(size=(50, 2))
OUTPUTS = Normalizer([10.0, -1.0, 0.0], [2.0, 3.0, 4.0])


def network(**settings):
    return NormalizedMLP.of(STATES, OUTPUTS, extra=ACTIONS, key=KEY, **settings)


def test_is_the_perceptron_in_units():
    ours = network(width=8, depth=1)
    features = np.concatenate([STATES, ACTIONS], 1)
    x = (features[3] - features.mean(0)) / features.std(0)
    first, last = ours.perceptron.layers
    hidden = np.tanh(first.weight @ x + first.bias)
    expected = np.array([10.0, -1.0, 0.0]) + np.array([2.0, 3.0, 4.0]) * (
        last.weight @ hidden + last.bias
    )
    np.testing.assert_allclose(ours(STATES[3], ACTIONS[3]), expected, rtol=1e-12)
    assert (ours.size, ours.extra_size, ours.output_size) == (4, 2, 3)


def test_a_turn_of_an_angle_makes_no_difference():
    ours = network(angles=(1,))
    turned = STATES[0] + 2 * np.pi * np.array([0, 1, 0, 0])
    np.testing.assert_allclose(
        ours(turned, ACTIONS[0]), ours(STATES[0], ACTIONS[0]), rtol=1e-12
    )
    plain = network()
    assert not np.allclose(plain(turned, ACTIONS[0]), plain(STATES[0], ACTIONS[0]))


def test_features_by_hand():
    # Axis 1 at 30°: the other three, and then sine ½ and cosine √¾.
    state = jnp.array([7.0, np.pi / 6, 8.0, 9.0])
    expected = [7.0, 8.0, 9.0, 0.5, np.sqrt(0.75)]
    np.testing.assert_allclose(angle_features(state, (1,)), expected)
    batch = jnp.stack([state, state])
    np.testing.assert_allclose(angle_features(batch, (1,)), [expected, expected])
    assert network(angles=(1,)).size == 4


def test_starts_at_the_mean_with_a_last_layer_of_zero():
    ours = network(last_gain=0.0)
    np.testing.assert_array_equal(ours(STATES[0], ACTIONS[0]), [10.0, -1.0, 0.0])


def test_an_axis_that_never_changed_stays_finite():
    still = STATES * np.array([1.0, 0.0, 1.0, 1.0])
    ours = NormalizedMLP.of(still, OUTPUTS, extra=ACTIONS, key=KEY)
    assert np.all(np.isfinite(ours(STATES[0], ACTIONS[0])))


@pytest.mark.parametrize(
    "setting, match",
    [
        ({"angles": (4,)}, r"`angles` must name axes 0 to 3 .* once each, got \(4,\)"),
        ({"angles": (1, 1)}, "`angles` must name axes 0 to 3 of the input once each"),
        ({"width": 0}, "`width` must be at least 1, got 0"),
        ({"depth": 0}, "`depth` must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(setting, match):
    with pytest.raises(ValueError, match=match):
        network(**setting)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`samples` and `extra`.*got 50 and 49"):
        NormalizedMLP.of(STATES, OUTPUTS, extra=ACTIONS[1:], key=KEY)
    for x, extra in ((STATES[0, :3], ACTIONS[0]), (STATES[0], ACTIONS[0, :1])):
        with pytest.raises(ValueError, match="`x` must have .* 4 inputs and 2 of"):
            network()(x, extra)
    with pytest.raises(ValueError, match="`x` must have .* 4 inputs and 2 of"):
        network()(STATES[0])


def test_jax_and_optax_take_a_network_as_it_stands():
    ours: Any = network(width=4, activation=jax.nn.silu)
    loss = lambda n: jnp.sum(n(STATES[0], ACTIONS[0]) ** 2)  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(loss))(ours)
    state = optax.lbfgs().init(ours)
    assert np.isfinite(value) and len(jax.tree.leaves(state)) > 0
    assert jax.tree.structure(slope) == jax.tree.structure(ours)
    assert repr(ours.perceptron) == "MLP(layers=6 → 4 → 4 → 3, activation=silu)"


def test_a_network_is_that_of_equinox():
    ours = MLP(3, 2, 8, 2, key=KEY)
    theirs = eqx.nn.MLP(3, 2, 8, 2, jnp.tanh, key=KEY)
    x = jnp.array([0.1, -2.0, 3.0])
    np.testing.assert_array_equal(ours(x), theirs(x))
