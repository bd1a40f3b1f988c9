"""Ways to the gradient: exact with its noise, smoothed, mixed; and what they need."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.gradients._zeroth_order import orthogonal

GAINS = {"stiff": jnp.array([300.0, 200.0]), "soft": jnp.array([0.3])}


def quadratic(model, batch):
    """Return a cost whose gradient is linear in gains of very different sizes."""
    stiff = (model["stiff"] - 100.0) / 100.0
    return jnp.sum(stiff**2) + jnp.sum((model["soft"] - batch.mean()) ** 2)


def recording():
    """Return an optimizer that takes no step and keeps each gradient."""
    seen = []

    def update(updates, state, params=None, **_):
        jax.debug.callback(lambda g: seen.append(g), updates, ordered=True)
        return jax.tree.map(jnp.zeros_like, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update), seen


def gradients(objective, model, batch, gradient, steps=1, **settings):
    optimizer, seen = recording()
    result = ro.minimize(
        objective,
        model,
        batch,
        steps=steps,
        optimizer=optimizer,
        gradient=gradient,
        **settings,
    )
    return seen, result


def test_exact_says_how_much_of_it_is_noise():
    # Of ½(m − x)² at m = 0 on x = 1, 1, 3, 3 the two groups' gradients are −1 and −3:
    # their mean is −2, the squared error of that Σ(±1)²/(2·1) = 1. A leaf of 0 counts
    # as of size 0.1: relative to it |g|² is 0.04, the error 0.01, and their ratio
    # (0.04 − 0.01)/0.01.
    x = jnp.array([1.0, 1.0, 3.0, 3.0])
    cost = lambda m, x: 0.5 * jnp.mean((m - x) ** 2)  # noqa: E731
    (gradient, *_), result = gradients(
        cost, jnp.zeros(()), x, ro.gradients.Automatic(groups=2)
    )
    np.testing.assert_allclose(gradient, -2.0, rtol=1e-14)
    np.testing.assert_allclose(
        result.history["relative_gradient_norm"][0], 0.2, rtol=1e-14
    )
    np.testing.assert_allclose(result.history["gradient_snr"][0], 3.0, rtol=1e-12)
    np.testing.assert_allclose(result.history["loss"][0], 2.5, rtol=1e-14)
    # Three samples do not divide: the gradient is there, and nothing more is said.
    (gradient, *_), result = gradients(
        cost, jnp.zeros(()), x[:3], ro.gradients.Automatic(groups=2)
    )
    np.testing.assert_allclose(gradient, -5 / 3, rtol=1e-14)
    assert "gradient_snr" not in result.history


@pytest.mark.parametrize("pairs", [3, 6])
@pytest.mark.parametrize("traced", [True, False])
def test_as_many_pairs_as_parameters_are_central_differences(pairs, traced):
    # Of a quadratic these are exact, whatever the directions.
    batch = jnp.ones(4)
    expected = jax.jit(jax.grad(quadratic))(GAINS, batch)
    smoothed = ro.gradients.ZerothOrder(pairs=pairs, traced=traced)
    (found, *_), _ = gradients(quadratic, GAINS, batch, smoothed)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10)


@pytest.mark.parametrize("size, pairs, share", [(6, 2, 2.0), (3, 5, 2 / 25)])
def test_other_pairs_are_right_on_average_and_know_their_error(size, pairs, share):
    # `share`: of the squared error r (d − r)/P² in |g|², by hand.
    slope = jnp.arange(1.0, size + 1)
    # Of size 1, so that relative changes are changes.
    model = jnp.ones(size)
    linear = lambda m, batch: slope @ m + 0.0 * batch.sum()  # noqa: E731
    found, result = gradients(
        linear, model, jnp.ones(2), ro.gradients.ZerothOrder(pairs=pairs), steps=1999
    )
    found = np.stack(found)
    mean = found.mean(0)
    errors = np.sum((found - slope[None]) ** 2, 1)
    assert np.linalg.norm(mean - slope) < 3 * np.sqrt(errors.mean() / len(found))
    np.testing.assert_allclose(errors.mean(), share * np.sum(slope**2), rtol=0.05)
    np.testing.assert_allclose(result.history["gradient_snr"], 1 / share, rtol=1e-6)


def test_directions_are_orthogonal_and_of_length_root_d():
    directions = orthogonal(jax.random.key(0), 5, 3)
    np.testing.assert_allclose(
        directions[:3] @ directions[:3].T, 3 * np.eye(3), atol=1e-12
    )
    np.testing.assert_allclose(
        directions[3:] @ directions[3:].T, 3 * np.eye(2), atol=1e-12
    )


def test_a_run_that_falls_over_at_the_start_is_refused():
    fragile = lambda m, b: jnp.where(m[0] > 1.0, jnp.nan, m[0] ** 2) + 0 * b.sum()  # noqa: E731
    start, batch = jnp.array([0.99]), jnp.ones(2)
    with pytest.raises(ValueError, match="`objective` must be finite at the start"):
        ro.minimize(fragile, start, batch, gradient=ro.gradients.ZerothOrder())


def test_what_jax_cannot_trace_is_tuned_by_its_values():
    def numpy_cost(model, batch):
        stiff = np.asarray(model["stiff"])
        if stiff[0] > 100.0:  # a branch that tracing would refuse
            return jnp.asarray(np.sum((stiff - 100.0) ** 2) / 1e4)
        return jnp.asarray(np.sum((stiff - 100.0) ** 2) / 1e4)

    settings: dict[str, Any] = {"trainable": lambda m: m["stiff"], "steps": 150}
    # Of two parameters, one direction a step: from 5, what is left is a tenth of a gain
    # of 100 at most.
    few = ro.gradients.ZerothOrder(pairs=1, traced=False)
    result = ro.minimize(numpy_cost, GAINS, jnp.ones(4), gradient=few, **settings)
    assert result.loss < 2e-2 and result.reason == "steps"
    assert (
        result.history["loss"].shape == result.history["relative_gradient_norm"].shape
    )
    # Or all of them, as good as the exact gradient.
    every = ro.gradients.ZerothOrder(traced=False)
    result = ro.minimize(numpy_cost, GAINS, jnp.ones(4), gradient=every, **settings)
    assert result.loss < 1e-12 and result.reason == "tolerance"


@pytest.mark.parametrize("traced", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_with_a_pair_for_each_parameter_a_valley_is_walked_as_by_exact_gradients(
    traced,
):
    def rosenbrock(model, batch):
        x, y = model
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2 + 0 * batch.sum()

    model, batch = jnp.array([-1.2, 1.0]), jnp.ones(2)
    assert rosenbrock(model, batch) > 20
    smoothed = ro.gradients.ZerothOrder(scale=1e-3, traced=traced)
    result = ro.minimize(rosenbrock, model, batch, gradient=smoothed, steps=60)
    assert result.loss < 1e-7
    assert np.all(result.history["gradient_snr"] == 1e6)
    assert ro.minimize(rosenbrock, model, batch, steps=100).loss < 1e-7
    # One direction a step walks by Adam, and is nowhere near by then.
    one = ro.gradients.ZerothOrder(pairs=1, scale=1e-3, traced=traced)
    assert ro.minimize(rosenbrock, model, batch, gradient=one, steps=100).loss > 0.1


def test_a_simulator_that_fails_later_loses_nothing():
    calls = []

    def failing(model, batch):
        calls.append(1)
        if len(calls) > 40:
            raise OSError("the cable came out")
        return jnp.sum(jnp.cosh(model))

    # A step takes three values: thirteen steps are whole.
    one = ro.gradients.ZerothOrder(pairs=1, traced=False)
    result = ro.minimize(failing, jnp.ones(2), jnp.ones(2), gradient=one)
    assert result.reason == "source"
    assert "the simulation: OSError: the cable came out" in result.message
    assert result.history["loss"].shape == (13,)
    assert result.loss == result.history["loss"].min() < 3.0
    # Or five and a search, in which it may fail as well.
    calls.clear()
    every = ro.gradients.ZerothOrder(traced=False)
    result = ro.minimize(
        failing, jnp.ones(2), jnp.ones(2), gradient=every, tolerance=0.0
    )
    assert result.reason == "source"
    assert 5 <= len(result.history["loss"]) < 8
    np.testing.assert_allclose(result.loss, 2.0, rtol=1e-6)


def test_mixed_counts_a_wrong_model_for_little_and_a_right_one_for_much():
    wrong = lambda m, batch: -3 * quadratic(m, batch)  # noqa: E731
    batch = jnp.ones(4)

    def mixed(model_of):
        # One pair of directions among three parameters: noisy.
        gradient = ro.gradients.Mixed(
            ro.gradients.Automatic(model_of), ro.gradients.ZerothOrder(pairs=1)
        )
        return ro.minimize(quadratic, GAINS, batch, gradient=gradient, steps=200)

    alone = ro.minimize(
        quadratic,
        GAINS,
        batch,
        gradient=ro.gradients.Automatic(wrong),
        steps=200,
        seed=1,
    )
    misled, led = mixed(wrong), mixed(quadratic)
    start = misled.history["loss"][0]
    # The wrong one alone finds the start best: its loss is its own, the other way up.
    assert quadratic(alone.model, batch) > start
    assert misled.loss < 0.2 * start and led.loss < 1e-3 * start
    assert np.median(misled.history["gradient_share"][5:]) < 0.2
    assert np.median(led.history["gradient_share"][5:]) > 0.8
    assert np.median(misled.history["gradient_cosine"]) < 0
    np.testing.assert_allclose(led.history["loss"][0], start, rtol=1e-14)


class Surrogate(ro.Objective):
    """Rises as the model gets better, as surrogates may."""

    def ranks(self, batch):
        return False

    def terms(self, model, batch):
        value = 2 * jnp.mean(batch) - model["x"]
        return {"surrogate": ro.Term(-value * jax.lax.stop_gradient(value), 1.0, "1")}


class Renewing:
    """Gives the model back with a counter in what is not trained."""

    steps, drifts = 2, True

    def __init__(self):
        self.given, self.count = [], 0

    def next(self, model, key):
        self.given.append(model)
        self.count += 1
        renewed = {**model, "count": ro.Frozen(jnp.asarray(float(self.count)))}
        return ro.optimize.Block(jnp.full(2, 5.0), renewed)

    def state(self):
        return {"count": np.array(self.count)}

    def restore(self, state):
        self.count = int(state["count"])


def counted():
    return {"x": jnp.zeros(()), "count": ro.Frozen(jnp.zeros(()))}


def test_blocks_renew_what_is_not_trained_and_surrogates_keep_the_latest():
    source = Renewing()
    result = ro.minimize(
        Surrogate(), counted(), source, steps=6, optimizer=optax.sgd(-0.1)
    )
    assert [float(m["count"].value) for m in source.given] == [0.0, 1.0, 2.0]
    assert float(result.model["count"].value) == 3.0
    # x ← x + 0.1 (10 − x): after two and four steps when blocks are asked for, and six.
    expected = [10 * (1 - 0.9**k) for k in (0, 2, 4)]
    np.testing.assert_allclose([m["x"] for m in source.given], expected, rtol=1e-12)
    np.testing.assert_allclose(result.model["x"], 10 * (1 - 0.9**6), rtol=1e-12)
    # The loss rose all the while: by it, the first would have been the best.
    assert np.argmin(result.history["loss"]) == 0


def test_a_descent_on_blocks_goes_on_from_its_checkpoint(tmp_path):
    path = tmp_path / "c.npz"
    settings: dict[str, Any] = {"optimizer": optax.sgd(-0.1)}
    stop: dict[str, Any] = {"callback": lambda status: status.step >= 2}
    ro.minimize(
        Surrogate(), counted(), Renewing(), steps=6, checkpoint=path, **settings, **stop
    )
    again = Renewing()
    result = ro.minimize(
        Surrogate(), counted(), again, steps=6, checkpoint=path, **settings
    )
    assert result.steps == 6 and result.history["loss"].shape == (7,)
    np.testing.assert_allclose(result.model["x"], 10 * (1 - 0.9**6), rtol=1e-12)
    # The first descent saw two blocks, and this one the third.
    assert again.count == 3


class Growing(Renewing):
    def next(self, model, key):
        data, renewed = super().next(model, key)
        renewed["count"] = ro.Frozen(jnp.zeros(self.count))
        return ro.optimize.Block(data, renewed)


def test_models_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="`data` must return the model with"):
        ro.minimize(Surrogate(), counted(), Growing(), steps=4)


class Outside(eqx.Module):
    """A rollout that JAX cannot trace."""

    differentiable = False

    def __call__(self, model, starts):
        raise NotImplementedError


def test_bad_settings_are_refused():
    for make, match in [
        (
            lambda: ro.gradients.Automatic(groups=0),
            "`groups` must be at least 1, got 0",
        ),
        (
            lambda: ro.gradients.ZerothOrder(pairs=0),
            "`pairs` must be at least 1, got 0",
        ),
        (
            lambda: ro.gradients.ZerothOrder(scale=0.0),
            "`scale` must be positive .* got 0.0",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    outside = ro.NegativeReward(Outside())
    with pytest.raises(ValueError, match="`gradient` must be `ZerothOrder` where"):
        ro.minimize(outside, GAINS, jnp.ones(2), gradient=ro.gradients.Automatic())
    with pytest.raises(ValueError, match="`batched`"):
        smoothed = ro.gradients.ZerothOrder(traced=False)
        many = jnp.zeros((2, 3))
        ro.minimize(quadratic, many, jnp.ones(2), gradient=smoothed, batched=True)
    with pytest.raises(ValueError, match="`optimizer` must not search along lines"):
        smoothed = ro.gradients.ZerothOrder()
        ro.minimize(
            quadratic, GAINS, jnp.ones(2), gradient=smoothed, optimizer=optax.lbfgs()
        )
