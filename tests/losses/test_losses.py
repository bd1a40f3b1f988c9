import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import assert_derivatives

from roboopt import RobooptError
from roboopt.losses import L1, L2, Huber, as_loss


def test_squared_is_the_error_itself():
    error = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(L2().residual(error), error)


def test_huber_by_hand():
    # Threshold 1: ρ(½) = ⅛ inside; ρ(±5) = 1·(5 − ½) = 4.5 = r²/2 at r = ±3, where
    # dr/de = ρ'/r = 1/3.
    loss = Huber(1.0)
    error = jnp.array([0.5, 5.0, -5.0])
    residual = loss.residual(error)
    np.testing.assert_allclose(residual, [0.5, 3.0, -3.0], rtol=1e-15)
    slope = jax.jit(jax.vmap(jax.grad(lambda e: loss.residual(e))))(error)
    np.testing.assert_allclose(slope, [1.0, 1 / 3, 1 / 3], rtol=1e-14)


def test_huber_is_smooth_at_its_threshold_and_finite_at_0():
    loss = Huber(1.345)
    cost = lambda e: 0.5 * loss.residual(e) ** 2  # noqa: E731
    near = jnp.array([1.345 - 1e-9, 1.345 + 1e-9])
    np.testing.assert_allclose(*jax.jit(jax.vmap(jax.grad(cost)))(near), rtol=1e-8)
    assert jax.jit(jax.grad(loss.residual))(0.0) == 1.0


def test_huber_reduces_to_squared():
    error = jnp.linspace(-3.0, 3.0, 7)
    np.testing.assert_array_equal(Huber(3.0).residual(error), error)


def test_gradient_matches_finite_differences():
    errors = jnp.array([-4.0, -0.3, 0.2, 2.0])
    assert_derivatives(Huber(1.0).residual, (errors,), order=2)


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("inf"), float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(threshold):
    with pytest.raises(ValueError, match="`threshold` must be positive and finite"):
        Huber(threshold)


def test_absolute_by_hand():
    # ρ(±2) = 2 = r²/2 at r = ±2, where dr/de = ρ'/r = ±1/±2; ρ(½) = ½ at r = 1.
    loss = L1()
    error = jnp.array([-2.0, 0.5, 2.0])
    np.testing.assert_allclose(loss.residual(error), [-2.0, 1.0, 2.0], rtol=1e-15)
    slope = jax.jit(jax.vmap(jax.grad(loss.residual)))(error)
    np.testing.assert_allclose(slope, [0.5, 1.0, 0.5], rtol=1e-14)
    assert_derivatives(loss.residual, (error,), order=2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_slope_of_absolute_is_the_sign_however_small_the_error(dtype):
    cost = lambda e: 0.5 * L1().residual(e) ** 2  # noqa: E731
    tiny = jnp.finfo(dtype).tiny
    error = jnp.array([-1e-20, -tiny, -tiny / 8, 0.0, tiny / 8, tiny, 1e-20], dtype)
    slope = jax.jit(jax.vmap(jax.grad(cost)))(error)
    # Below the least normal number it is taken for 0, where the slope is 0.
    np.testing.assert_allclose(slope, [-1, -1, 0, 0, 0, 1, 1], rtol=1e-6)
    assert jax.jit(jax.grad(L1().residual))(dtype(0.0)) == 0.0


def test_absolute_finds_the_median():
    # Of 1, 2 and 100 that is 2, wherever 100 is.
    values = jnp.array([1.0, 2.0, 100.0])
    cost = lambda m: 0.5 * jnp.mean(L1().residual(m - values) ** 2)  # noqa: E731
    slopes = jax.jit(jax.vmap(jax.grad(cost)))(jnp.array([1.99, 2.0, 2.01]))
    np.testing.assert_allclose(slopes, [-1 / 3, 0.0, 1 / 3], atol=1e-12)


@pytest.mark.parametrize(
    "name, loss", [("l1", L1()), ("l2", L2()), ("huber", Huber(1.345))]
)
def test_a_loss_may_be_named(name, loss):
    assert as_loss(name) == loss
    assert as_loss(loss) is loss


def test_any_function_of_the_error_is_a_loss():
    # optax.huber_loss(e, None, 1) is e²/2 up to 1 and |e| − ½ beyond: that of Huber(1).
    errors = jnp.array([-3.0, -0.5, 0.0, 1e-200, 0.5, 3.0])
    ours, theirs = Huber(1.0), as_loss(optax.huber_loss)
    np.testing.assert_allclose(theirs(errors), ours(errors), atol=1e-15)
    np.testing.assert_allclose(theirs.residual(errors), ours.residual(errors))
    slopes = [jax.jacobian(loss.residual)(errors) for loss in (theirs, ours)]
    np.testing.assert_allclose(*slopes, rtol=1e-12)


def test_other_losses_are_refused():
    for loss in ("l3", "nll", 2.0, Huber):
        with pytest.raises(RobooptError, match="`loss` must be one of 'l1', 'l2'"):
            as_loss(loss)
    with pytest.raises(RobooptError, match="`loss` must return one number for each"):
        as_loss(jnp.sum)(jnp.ones(3))
