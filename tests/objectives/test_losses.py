import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from roboopt import Huber, Squared


def test_squared_is_the_error_itself():
    error = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(Squared().residual(error), error)


def test_huber_by_hand():
    # Threshold 1: ρ(½) = ⅛ inside; ρ(±5) = 1·(5 − ½) = 4.5 = r²/2 at r = ±3, where
    # dr/de = ρ'/r = 1/3.
    loss = Huber(1.0)
    error = jnp.array([0.5, 5.0, -5.0])
    residual = loss.residual(error)
    np.testing.assert_allclose(residual, [0.5, 3.0, -3.0], rtol=1e-15)
    slope = jax.vmap(jax.grad(lambda e: loss.residual(e)))(error)
    np.testing.assert_allclose(slope, [1.0, 1 / 3, 1 / 3], rtol=1e-14)


def test_huber_is_smooth_at_its_threshold_and_finite_at_0():
    loss = Huber(1.345)
    cost = lambda e: 0.5 * loss.residual(e) ** 2  # noqa: E731
    near = jnp.array([1.345 - 1e-9, 1.345 + 1e-9])
    np.testing.assert_allclose(*jax.vmap(jax.grad(cost))(near), rtol=1e-8)
    assert jax.grad(loss.residual)(0.0) == 1.0


def test_huber_reduces_to_squared():
    error = jnp.linspace(-3.0, 3.0, 7)
    np.testing.assert_array_equal(Huber(3.0).residual(error), error)


def test_gradient_matches_finite_differences():
    check_grads(
        jax.jit(Huber(1.0).residual), (jnp.array([-4.0, -0.3, 0.2, 2.0]),), order=2
    )


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("inf"), float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(threshold):
    with pytest.raises(ValueError, match="`threshold` must be positive and finite"):
        Huber(threshold)
