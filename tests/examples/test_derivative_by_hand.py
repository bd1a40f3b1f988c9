"""The derivative of the two-weight network, by hand and by JAX."""

import math
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = runpy.run_path(str(EXAMPLES / "derivative_by_hand.py"))
loss, factors = EXAMPLE["loss"], EXAMPLE["factors_by_hand"]


def by_hand(*numbers):
    return tuple(math.prod(found) for found in factors(*numbers).values())


@pytest.mark.parametrize("seed", range(10))
def test_hand_and_jax_agree(seed):
    w1, w2, x, y = np.random.default_rng(seed).normal(size=4)
    expected = jax.grad(loss)(jnp.array([w1, w2]), (jnp.asarray(x), jnp.asarray(y)))
    np.testing.assert_allclose(by_hand(w1, w2, x, y), expected, rtol=1e-12)


def test_numbers_worked_out_on_paper():
    # w1 = ½, w2 = 2, x = 3, y = 1: ŷ = 3, so dL/dw1 = 2·2·2·3 and dL/dw2 = 2·2·½·3.
    assert by_hand(0.5, 2.0, 3.0, 1.0) == (24.0, 6.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_chain_has_the_factors_of_the_hand(seed):
    w1, w2, x, y = np.random.default_rng(seed).normal(size=4)
    found = ro.chain(loss, jnp.array([w1, w2]), (x, y))
    for name, expected in factors(w1, w2, x, y).items():
        (path,) = found.paths(name)
        np.testing.assert_allclose(path.factors, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "weights, y, signs",
    [
        ((0.5, 2.0), 1.0, (-1, -1)),  # both derivatives positive: both weights fall
        ((0.5, 0.8), 3.0, (1, 1)),  # both negative: both rise
        ((1.0, 1.0), 1.5, (0, 0)),  # the sample is fitted: both stay
        ((0.0, 2.0), 1.0, (1, 0)),  # h = 0: the second weight's derivative is zero
    ],
)
def test_weights_go_against_their_derivative(weights, y, signs):
    sample = jnp.asarray(1.5), jnp.asarray(y)
    result = ro.minimize(
        loss, jnp.array(weights), sample, steps=1, optimizer=optax.sgd(1e-3)
    )
    moved = np.asarray(result.model) - np.array(weights)
    np.testing.assert_array_equal(np.sign(moved), signs)


def test_the_first_order_prediction_is_right_to_second_order():
    weights, sample = jnp.array([0.5, 0.8]), (jnp.asarray(1.5), jnp.asarray(3.0))
    value, slope = jax.value_and_grad(loss)(weights, sample)

    def error(rate):
        predicted = value - rate * slope @ slope
        return abs(loss(weights - rate * slope, sample) - predicted)

    # Halving the step quarters what the straight line misses.
    assert error(1e-4) / error(5e-5) == pytest.approx(4.0, rel=1e-2)


def test_it_fits(capsys):
    assert EXAMPLE["main"]() < 1e-20
    said = capsys.readouterr().out
    assert "dL/dyhat · dyhat/dh · dh/dw1 = −4.8 · 0.8 · 1.5 = −5.76" in said
    assert "w1: raising it lowers the loss" in said
