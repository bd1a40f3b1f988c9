"""What `minimize` notes of every step: norms, predicted and actual decrease, rates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro


def square(model: Any, batch: Any) -> Any:
    return 0.5 * jnp.sum(model**2)


def test_notes_by_hand():
    # ½|m|² at (3, 4) has the gradient (3, 4), of norm 5. A step of −0.1 g has the norm
    # 0.5, promises 0.1 · 25 = 2.5, and takes the loss from 12.5 to ½ 4.5² = 10.125.
    start = jnp.array([3.0, 4.0])
    result = ro.minimize(square, start, jnp.ones(1), steps=2, optimizer=optax.sgd(0.1))
    history = result.history
    expected = {
        "gradient_norm": [5, 4.5, 4.05],
        "step_norm": [0.5, 0.45, 0.405],
        "predicted_decrease": [2.5, 2.025, 1.64025],
        "actual_decrease": [2.375, 1.92375, np.nan],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-12)
    assert "learning_rate" not in history  # sgd keeps none
    np.testing.assert_allclose(result.first_gradient["model"], [3, 4], rtol=1e-14)
    np.testing.assert_allclose(result.gradient["model"], result.model, rtol=1e-14)
    assert "step_norm" not in repr(result)


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [
        (optax.inject_hyperparams(optax.sgd)(0.25), [0.25, 0.25]),
        (
            optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(0.5, 0.0, 2)),
            [0.5, 0.25],
        ),
        (ro.optimize.scale_by_schedule(optax.linear_schedule(1.0, 0.0, 4)), [1, 0.75]),
        # Past its end by the rounding of its steps.
        (ro.optimize.scale_by_schedule(lambda step: 0.5 - 0.6 * step), [0.5, 0.0]),
    ],
)
def test_learning_rate_is_that_of_the_step(optimizer: Any, rates: list[float]):
    result = ro.minimize(
        square, jnp.array([3.0]), jnp.ones(1), steps=1, optimizer=optimizer
    )
    history = result.history
    np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-12)
    steps = history["learning_rate"] * history["gradient_norm"]
    np.testing.assert_allclose(history["step_norm"], steps, rtol=1e-12)


def test_changing_batches_have_no_actual_decrease():
    x = jnp.arange(40.0)
    cost = lambda m, x: jnp.mean((m - x) ** 2)  # noqa: E731
    result = ro.minimize(cost, jnp.zeros(()), x, steps=19, batch_size=8)
    history = result.history
    assert "actual_decrease" not in history and result.gradient == {}
    np.testing.assert_array_equal(
        np.flatnonzero(np.isfinite(history["step_norm"])), [0, 8, 16]
    )
    assert np.isfinite(history["gradient_norm"]).all()
    # The default Adam warms up over one step and anneals to a hundredth.
    assert history["learning_rate"].max() == pytest.approx(0.03)


class Blocks:
    steps = 3

    def next(self, model: Any, key: Any) -> Any:
        return jax.random.normal(key, (4,))


def test_decrease_is_unknown_where_the_batch_changes():
    cost = lambda m, x: jnp.mean((m - x) ** 2)  # noqa: E731
    settings: dict[str, Any] = {"steps": 7, "optimizer": optax.sgd(0.1)}
    falls = ro.minimize(cost, jnp.zeros(()), Blocks(), **settings).history[
        "actual_decrease"
    ]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(falls)), [2, 7])


def test_a_checkpoint_continues_the_notes(tmp_path):
    settings: dict[str, Any] = {"steps": 6, "optimizer": optax.sgd(0.1)}
    start = jnp.array([3.0, 4.0])
    whole = ro.minimize(square, start, jnp.ones(1), **settings)
    path = tmp_path / "run.npz"
    stop = lambda status: status.step >= 2  # noqa: E731
    part = {**settings, "checkpoint": path}
    ro.minimize(square, start, jnp.ones(1), callback=stop, **part)
    both = ro.minimize(square, start, jnp.ones(1), **part)
    for name, values in whole.history.items():
        np.testing.assert_array_equal(both.history[name], values)


def test_gradient_is_by_the_parameter_within_its_bounds():
    # d(m − 3)²/dm = −4 at m = 1; −0.3 times the derivative is of its coordinate.
    cost = lambda m, x: (m - 3.0) ** 2  # noqa: E731
    bounds = [ro.Bound(lambda m: m, 0.0, 2.0)]
    result = ro.minimize(cost, jnp.ones(()), jnp.ones(1), steps=3, bounds=bounds)
    np.testing.assert_allclose(result.first_gradient["model"], -4, rtol=1e-12)
    slope = 2 * (result.model - 3)
    np.testing.assert_allclose(result.gradient["model"], slope, rtol=1e-9)


def test_starts_side_by_side():
    starts = jnp.array([[3.0, 4.0], [0.3, 0.4]])
    result = ro.minimize(
        square, starts, jnp.ones(1), steps=2, batched=True, optimizer=optax.sgd(0.1)
    )
    np.testing.assert_allclose(result.history["gradient_norm"][0], [5, 0.5], rtol=1e-12)
    assert result.history["actual_decrease"].shape == (3, 2)
    np.testing.assert_allclose(result.gradient["model"], 0.81 * starts[1], rtol=1e-12)


def test_a_gradient_whose_square_overflows_is_finite():
    big = jnp.array([1e25], jnp.float32)
    cost = lambda m, x: jnp.sum(m * big)  # noqa: E731
    zero = jnp.zeros(1, jnp.float32)
    result = ro.minimize(cost, zero, jnp.ones(1), steps=2, optimizer=optax.sgd(1e-30))
    assert result.reason == "steps"
    np.testing.assert_allclose(result.history["gradient_norm"], 1e25, rtol=1e-6)
    infinite = lambda m, x: jnp.sum(jnp.sqrt(m["bad"]) + m["good"])  # noqa: E731
    with pytest.raises(ValueError, match=r"gradient not finite: model\['bad'\]\."):
        ro.minimize(infinite, {"bad": zero, "good": zero}, jnp.ones(1))


@pytest.mark.parametrize(
    "optimizer",
    [None, "clipped", optax.adam(0.1)],
    ids=["default", "clipped", "adam"],
)
def test_an_optimizer_that_such_a_gradient_stops_is_told(optimizer):
    if optimizer == "clipped":
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))
    bowl = lambda m, x: 1e160 * jnp.sum((m - 1) ** 2)  # noqa: E731
    how: dict[str, Any] = {"steps": 5, "optimizer": optimizer}
    with pytest.raises(ro.RobooptError, match=r"square of the gradient.*model; scale"):
        ro.minimize(bowl, jnp.zeros(2), None, **how)
    # Where the gradient grows on the way, the descent ends there.
    later = lambda m, x: jnp.sum(jnp.where(m < 0.1, -1e3 * m, 1e160 * m))  # noqa: E731
    if optimizer is not None:
        found = ro.minimize(later, jnp.zeros(2), None, **how)
        assert found.reason == "diverged"
        assert "square of the gradient not finite: model" in found.message


def test_names_of_the_objective_win():
    info = {"gradient_norm": jnp.asarray(7.0)}

    def estimator(loss_fn: Any, params: Any, batch: Any, key: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
        return loss, gradient, info

    result = ro.minimize(
        square, jnp.ones(2), jnp.ones(1), steps=1, gradient=estimator,
        optimizer=optax.sgd(0.1),
    )  # fmt: skip
    np.testing.assert_array_equal(result.history["gradient_norm"], 7.0)


def test_a_loop_without_a_derivative_is_named():
    def endless(x, _):
        return jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, x)

    with pytest.raises(ro.RobooptError, match="`objective`.*while_loop"):
        ro.minimize(endless, 1.1, None, steps=2)


def test_small_models_keep_each_parameter_and_derivative():
    # f = Σ x² at (1, −2): a step of 0.25 · 2x halves each number.
    def loss(m, _):
        return jnp.sum(m["x"] ** 2)

    start = {"x": jnp.array([1.0, -2.0])}
    result = ro.minimize(loss, start, None, steps=2, optimizer=optax.sgd(0.25))
    assert list(result.parameters) == ["x[0]", "x[1]"]
    np.testing.assert_allclose(result.parameters["x[1]"], [-2, -1, -0.5], rtol=1e-12)
    np.testing.assert_allclose(result.derivatives["x[1]"], [-4, -2, -1], rtol=1e-12)
    assert "dL/d x[0]" in result.columns() and "parameters" not in result.history
