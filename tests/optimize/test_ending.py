"""Why a descent ended: each way has a reason of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.optimize._ending import reason_to_rest


def descend(function, model, **settings):
    return ro.minimize(lambda m, _: function(m), jnp.asarray(model), None, **settings)


def test_a_plateau_is_no_further_improvement():
    # At the minimum, and where the loss is the same everywhere.
    found = descend(lambda m: jnp.sum((m - 1) ** 2), [3.0, 2.0])
    assert found.reason == "tolerance" and found.loss < 1e-12
    flat = descend(lambda m: 1.0 + 0 * jnp.sum(m), [3.0])
    assert flat.reason == "tolerance" and "gradient is zero" in flat.message
    start = descend(lambda m: jnp.sum((m - 1) ** 2), [1.0, 1.0])
    assert start.reason == "tolerance" and start.loss == 0
    assert "gradient is zero" not in found.message


@pytest.mark.parametrize(
    "function", [lambda m: -jnp.sum(m), lambda m: -jnp.sum(m**4), lambda m: -jnp.exp(m)]
)
@pytest.mark.parametrize("optimizer", [None, optax.sgd(1e28)])
def test_a_loss_that_falls_without_end_is_unbounded(function, optimizer):
    model = 1.0 if function(jnp.ones(())).shape == () else [1.0]
    found = descend(function, model, steps=5000, optimizer=optimizer)
    assert found.reason == "unbounded" and "no minimum" in found.message
    assert np.isfinite(found.loss) and "no minimum" in str(found)


def test_a_loss_that_rises_without_end_has_diverged():
    # Steps of 3 · 2 x overshoot the minimum five times over: x → −5 x.
    found = descend(lambda m: jnp.sum(m**2), [1.0], optimizer=optax.sgd(3.0))
    assert found.reason == "diverged" and found.loss == 1.0
    assert "of which none lowered the loss" in found.message


def test_steps_that_only_raise_the_loss_are_told():
    # x → −3 x: the loss rises ninefold a step.
    found = descend(lambda m: jnp.sum(m**2), [1.0], optimizer=optax.sgd(2.0), steps=2)
    assert found.message == "all 2 steps taken, of which none lowered the loss"


def uphill(m):
    """Return m², with a gradient of the wrong sign."""
    square = jnp.sum(m**2)
    return 1.0 + 2 * jax.lax.stop_gradient(square) - square


@pytest.mark.parametrize("batched", [False, True])
def test_a_search_that_finds_no_lower_loss_is_stuck(batched):
    found = descend(uphill, [[2.0]] if batched else [2.0], batched=batched)
    assert found.reason == "stuck" and found.loss == pytest.approx(5.0)
    assert "of which none lowered the loss" in found.message


def test_a_kink_is_where_a_search_is_stuck():
    steep = lambda m: 1.0 + jnp.sum(m + 1e3 * jnp.abs(m - 2.0))  # noqa: E731
    found = descend(steep, [2.5])
    assert found.reason == "stuck" and found.loss == pytest.approx(3.0, abs=1e-3)


def test_a_value_that_is_not_finite_is_named():
    found = descend(lambda m: jnp.sum(jnp.sqrt(m)), [1.0], optimizer=optax.sgd(0.7))
    assert found.reason == "non-finite" and "gradient not finite" in found.message


def test_small_parameters_are_reached_from_a_first_step_of_one():
    # A step of norm 1 is ten thousand times the distance to the minimum.
    found = descend(
        lambda m: jnp.sum(jnp.exp((m / 1e-4 - 1) ** 2)), [6e-5, 1e-4], steps=60
    )
    np.testing.assert_allclose(found.model, [1e-4, 1e-4], rtol=1e-3)
    assert found.loss == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    "dtype, reason", [("float32", "tolerance"), ("float64", "stuck")]
)
def test_a_gradient_is_small_where_rounding_lets_it_be_no_smaller(dtype, reason):
    # Of Σ (m − (1, 2))² in float32, down from 5, as near to (1, 2) as its numbers lie.
    columns = {"loss": [5.0, 7e-14], "gradient_norm": [4.5, 7e-7]}
    columns["actual_decrease"] = [5.0, 0.0]
    history = {name: np.array(values, dtype) for name, values in columns.items()}
    assert reason_to_rest(history, tolerance=1e-6, size=2.2) == reason
