"""`minimize`: what it finds, what it keeps to, why it stops, what it refuses."""

import _thread
import threading
import time
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro

# f(x) = ½ xᵀ A x − bᵀ x has its minimum at A⁻¹ b.
A = jnp.array([[3.0, 1.0], [1.0, 2.0]])
B = jnp.array([5.0, -5.0])
MINIMUM = np.array([3.0, -4.0])
NOTHING = jnp.zeros(1)


def quadratic(x, _):
    return 0.5 * x @ A @ x - B @ x


class Pair(eqx.Module):
    first: jax.Array
    second: jax.Array


def distances(model, _):
    return (model.first - 3.0) ** 2 + (model.second - 3.0) ** 2


def pair(first=1.0, second=1.0):
    return Pair(jnp.asarray(first), jnp.asarray(second))


@pytest.mark.parametrize(
    "optimizer", [None, optax.adam(0.1), optax.sgd(0.1, momentum=0.9)]
)
def test_it_finds_the_minimum_of_a_quadratic(optimizer):
    result = ro.minimize(
        quadratic, jnp.array([1.0, 1.0]), NOTHING, steps=600, optimizer=optimizer
    )
    # Adam's last steps are as long as its learning rate times what momentum is left.
    np.testing.assert_allclose(result.model, MINIMUM, atol=1e-3)
    assert result.loss == pytest.approx(-0.5 * float(B @ MINIMUM), abs=1e-5)


def test_steps_are_the_optimizers_own():
    # Three steps of plain descent by hand: x ← x − ⅒ (A x − b).
    x, path = np.array([1.0, 1.0]), []
    for _ in range(4):
        path.append(0.5 * x @ A @ x - B @ x)
        x = x - 0.1 * (A @ x - B)
    result = ro.minimize(
        quadratic, jnp.array([1.0, 1.0]), NOTHING, steps=3, optimizer=optax.sgd(0.1)
    )
    np.testing.assert_allclose(result.history["loss"], path, rtol=1e-14)
    assert (result.reason, result.steps) == ("steps", 3)


def test_the_best_model_is_returned_even_if_the_descent_leaves_it():
    # A learning rate of 1 overshoots: the loss rises from the first step on.
    result = ro.minimize(
        quadratic, jnp.array([2.9, -3.9]), NOTHING, steps=20, optimizer=optax.sgd(1.0)
    )
    assert result.history["loss"][-1] > result.history["loss"][0]
    np.testing.assert_array_equal(result.model, [2.9, -3.9])
    assert result.loss == result.history["loss"].min()


def test_the_same_seed_gives_the_same_bits():
    data = jax.random.normal(jax.random.key(0), (50, 2))

    def loss(model, batch):
        return jnp.mean((batch - model[None]) ** 2)

    runs = [
        ro.minimize(loss, jnp.zeros(2), data, steps=30, batch_size=8, seed=seed)
        for seed in (3, 3, 4)
    ]
    losses = [run.history["loss"] for run in runs]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert not np.array_equal(losses[0], losses[2])


def test_minibatches_pass_over_every_sample_once_an_epoch():
    data = jnp.arange(12.0)

    def loss(model, batch):
        # Its value tells which samples were drawn: a sum of distinct powers of two.
        return 0.0 * model.sum() + jnp.sum(2.0**batch)

    result = ro.minimize(loss, jnp.ones(1), data, steps=7, batch_size=4)
    epochs = result.history["loss"][:6].reshape(2, 3).sum(1)
    np.testing.assert_array_equal(epochs, 2.0**12 - 1)
    assert len(set(result.history["loss"][:6].tolist())) > 3


def test_a_function_of_model_and_key_is_a_source():
    def sample(model, key):
        return model + jax.random.normal(key, (64,))

    # E[(s − 2)²] for s ~ N(m, 1) is (m − 2)² + 1; the source sees the model, and its
    # gradient is stopped, so that only the loss's own use of the model counts.
    def loss(model, batch):
        return jnp.mean((jax.lax.stop_gradient(batch) - 2.0) * model)

    result = ro.minimize(
        loss, jnp.asarray(0.0), sample, steps=300, optimizer=optax.sgd(0.05)
    )
    assert result.history["loss"].shape == (301,)
    # Fixed point where the mean of the samples is 2.
    final = ro.minimize(
        loss,
        jnp.asarray(0.0),
        sample,
        steps=300,
        optimizer=optax.sgd(0.05),
        callback=lambda s: None,
    )
    assert final.history["loss"][-1] == result.history["loss"][-1]


def test_bounds_are_kept_at_every_step():
    seen = []

    def loss(model, _):
        jax.debug.callback(lambda x: seen.append(float(x)), model.first)
        return distances(model, None)

    result = ro.minimize(
        loss,
        pair(),
        NOTHING,
        steps=60,
        bounds=[ro.Bound(lambda m: m.first, 0.0, 2.0)],
    )
    jax.effects_barrier()
    assert seen and all(0.0 < x < 2.0 for x in seen)
    assert result.model.first == pytest.approx(2.0, abs=1e-2)
    assert result.model.second == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize("lower, upper", [(0.0, np.inf), (-np.inf, 7.0), (0.0, 7.0)])
def test_a_minimum_inside_the_bounds_is_found(lower, upper):
    bound = ro.Bound(lambda m: m.first, lower, upper)
    result = ro.minimize(distances, pair(), NOTHING, steps=100, bounds=[bound])
    assert result.model.first == pytest.approx(3.0, abs=1e-4)


def test_only_what_train_names_moves():
    result = ro.minimize(
        distances, pair(), NOTHING, steps=50, trainable=lambda m: m.second
    )
    assert result.model.first == 1.0
    assert result.model.second == pytest.approx(3.0, abs=1e-4)


def test_frozen_parts_and_numbers_of_python_stay():
    class Model(eqx.Module):
        gain: jax.Array
        offset: float
        given: ro.Frozen

    def loss(model, _):
        return (model.gain * model.given() + model.offset - 7.0) ** 2

    model = Model(jnp.asarray(1.0), 1.0, ro.Frozen(jnp.asarray(2.0)))
    result = ro.minimize(loss, model, NOTHING, steps=50)
    assert (result.model.offset, result.model.given.value) == (1.0, 2.0)
    assert result.model.gain == pytest.approx(3.0, abs=1e-5)


def test_many_starts_descend_side_by_side():
    # x⁴ − 2x² + x/2 has two minima; the left one is the lower.
    def double_well(x, _):
        return x**4 - 2 * x**2 + 0.5 * x

    starts = jnp.array([-0.5, 0.5, 2.0])
    result = ro.minimize(
        double_well,
        starts,
        NOTHING,
        steps=200,
        optimizer=optax.sgd(0.02),
        batched=True,
        tolerance=0.0,
    )
    single = ro.minimize(
        double_well,
        starts[0],
        NOTHING,
        steps=200,
        optimizer=optax.sgd(0.02),
        tolerance=0.0,
    )
    assert result.history["loss"].shape == (201, 3)
    np.testing.assert_allclose(
        result.history["loss"][:, 0], single.history["loss"], rtol=1e-12
    )
    assert float(result.model) == pytest.approx(-1.057, abs=1e-3)
    assert result.loss == pytest.approx(result.history["loss"].min())


def test_one_start_that_fails_leaves_the_others():
    def loss(x, _):
        return jnp.where(x > 10.0, jnp.nan, (x - 3.0) ** 2)

    result = ro.minimize(loss, jnp.array([11.0, 1.0]), NOTHING, steps=40, batched=True)
    assert float(result.model) == pytest.approx(3.0, abs=1e-4)


def test_what_is_not_finite_stops_with_the_last_good_model():
    class Terms(ro.Objective):
        def terms(self, model, batch):
            return {
                "good": ro.Term((model.first - 9.0) ** 2, 1.0, "1"),
                "bad": ro.Term(jnp.where(model.first > 2.0, jnp.nan, 0.0), 1.0, "1"),
            }

    result = ro.minimize(Terms(), pair(), NOTHING, steps=100, optimizer=optax.sgd(0.01))
    assert result.reason == "non-finite"
    assert "terms not finite: bad, loss;" in result.message
    assert 1.5 < float(result.model.first) <= 2.0
    assert np.isfinite(result.loss)


def test_a_gradient_that_is_not_finite_is_blamed_on_its_leaf():
    # √(x − 1) has an infinite slope at 1, where the loss itself is finite.
    def loss(model, _):
        return jnp.sqrt(jnp.maximum(model.second - 1.0, 0.0)) + model.first**2

    with pytest.raises(ValueError, match=r"gradient not finite: model\.second"):
        ro.minimize(loss, pair(), NOTHING, steps=5)


def test_a_bad_gradient_of_a_bare_array_is_blamed_on_the_model():
    with pytest.raises(ro.RobooptError, match="gradient not finite: model[.]"):
        ro.minimize(lambda m, _: jnp.sqrt(m - 1.0).sum(), jnp.ones(2), NOTHING)


def test_a_result_prints_numbers():
    result = ro.minimize(distances, pair(), NOTHING, steps=5)
    for text in (repr(result), result._repr_html_()):
        assert f"{result.loss:.6g}" in text and result.reason in text
        assert "f64[" not in text and "f32[" not in text


def test_it_stops_on_tolerance():
    result = ro.minimize(
        quadratic,
        jnp.array([1.0, 1.0]),
        NOTHING,
        steps=5000,
        optimizer=optax.sgd(0.1),
        tolerance=1e-3,
        patience=5,
    )
    assert result.reason == "tolerance"
    losses = result.history["loss"]
    assert losses[-6] - losses[-1] < 1e-3 * abs(losses[-1]) * 5
    assert result.steps < 200


def test_it_stops_on_seconds_and_on_the_callback():
    slow = optax.sgd(1e-9)
    timed = ro.minimize(
        quadratic,
        jnp.ones(2),
        NOTHING,
        steps=10**9,
        optimizer=slow,
        seconds=2.0,
        tolerance=0.0,
    )
    assert timed.reason == "seconds" and 0 < timed.steps < 10**9
    seen = []

    def stop_at_20(status):
        seen.append(status)
        return status.step >= 20

    stopped = ro.minimize(
        quadratic,
        jnp.ones(2),
        NOTHING,
        steps=10**6,
        callback=stop_at_20,
        optimizer=slow,
        tolerance=0.0,
    )
    assert stopped.reason == "callback" and stopped.steps == seen[-1].step
    assert seen[-1].best_loss == stopped.loss


def sleeping(model, batch, duration):
    """Return a loss whose evaluation takes `duration` [s]."""

    def sleep(x):
        time.sleep(duration)
        return x

    shape = jax.ShapeDtypeStruct((), model.dtype)
    return jax.pure_callback(sleep, shape, jax.lax.stop_gradient(model)) + model**2


@pytest.mark.slow
def test_steps_that_are_long_do_not_exceed_the_time():
    result = ro.minimize(
        partial(sleeping, duration=0.7),
        jnp.ones(()),
        NOTHING,
        steps=10**6,
        optimizer=optax.sgd(1e-3),
        tolerance=0.0,
        seconds=8.0,
    )
    assert result.reason == "seconds" and result.steps > 0
    assert 6 <= result.seconds <= 8.8


def test_a_first_step_that_takes_too_long_is_not_waited_for():
    began = time.perf_counter()
    result = ro.minimize(
        partial(sleeping, duration=20.0), jnp.ones(()), NOTHING, steps=3, seconds=2.0
    )
    assert time.perf_counter() - began < 10
    assert (result.reason, result.steps) == ("seconds", 0)
    assert len(result.history["loss"]) == 0 and result.model == 1.0


def test_an_interrupt_keeps_the_best_so_far():
    def interrupt(status):
        if status.step > 5:
            threading.Thread(target=_thread.interrupt_main).start()

    result = ro.minimize(
        quadratic,
        jnp.ones(2),
        NOTHING,
        steps=10**9,
        optimizer=optax.sgd(1e-3),
        callback=interrupt,
        tolerance=0.0,
        seconds=60.0,
    )
    assert result.reason == "interrupted"
    assert result.loss <= result.history["loss"][0]


def test_the_result_saves_and_loads(tmp_path):
    result = ro.minimize(distances, pair(), NOTHING, steps=5)
    ro.save(tmp_path / "result.npz", result)
    loaded = ro.load(tmp_path / "result.npz", allow=[Pair])
    np.testing.assert_array_equal(loaded.history["loss"], result.history["loss"])
    assert (loaded.reason, loaded.loss) == (result.reason, result.loss)
    assert loaded.model.first == result.model.first


BAD = [
    ({"steps": 0}, "`steps` must be at least 1, got 0"),
    ({"tolerance": -1.0}, "`tolerance` must be finite and not negative, got -1.0"),
    ({"patience": 0}, "`patience` must be at least 1"),
    ({"seconds": 0.0}, "`seconds` must be positive, got 0.0"),
    ({"optimizer": 0.1}, "`optimizer` must be an optax transformation, got 0.1"),
    ({"batch_size": 9}, "`batch_size` must be between 1 and"),
    ({"data": {}}, "`data` must be a function"),
    ({"data": (jnp.zeros(3), jnp.zeros(2)), "batch_size": 2}, r"samples.*\[2, 3\]"),
    ({"data": jnp.array([0.0, jnp.nan])}, r"`data` must be finite, got nan at \(1,\)"),
    ({"data": lambda m, k: 0.0, "batch_size": 2}, "`batch_size` must be None"),
    ({"model": pair(jnp.nan)}, r"`model`\.first must be finite, got nan"),
    ({"model": (1, 2)}, "`model` must have a floating-point array"),
    ({"batched": True}, "`model` must have one leading axis of starts"),
    ({"bounds": [ro.Bound(lambda m: m.first, 2.0, 3.0)]}, "strictly inside"),
    (
        {"bounds": [ro.Bound(lambda m: m.first, 0.0, 3.0)] * 2},
        "`bounds` must bound a leaf once",
    ),
    (
        {
            "bounds": [ro.Bound(lambda m: m.first, 0.0, 3.0)],
            "trainable": lambda m: m.second,
        },
        "`bounds` must select trainable arrays",
    ),
]


@pytest.mark.parametrize("change, match", BAD)
def test_bad_input_is_refused(change, match):
    arguments = {"model": pair(), "data": jnp.zeros(3), **change}
    with pytest.raises(ValueError, match=match):
        ro.minimize(
            distances, arguments.pop("model"), arguments.pop("data"), **arguments
        )


def test_a_bare_number_is_a_model_and_none_is_data():
    # (w − 3)² is least at 3.
    result = ro.minimize(lambda w, _: (w - 3.0) ** 2, 0.5, None, steps=20)
    np.testing.assert_allclose(result.model, 3.0, rtol=1e-9)
    found = ro.minimize(lambda m, _: (m["a"] - 3.0) ** 2, {"a": 0.5}, None, steps=20)
    np.testing.assert_allclose(found.model["a"], 3.0, rtol=1e-9)
    with pytest.raises(ro.RobooptError, match="`model`.*got 2"):
        ro.minimize(lambda w, _: (w - 3.0) ** 2, 2, None)


def test_empty_bounds_are_refused():
    with pytest.raises(ValueError, match="`lower` must be less than `upper`"):
        ro.Bound(lambda m: m, 1.0, 1.0)


def squares(model, batch):
    return sum(jnp.sum((leaf - 0.25) ** 2) for leaf in jax.tree.leaves(model))


BOTH = {"single": jnp.ones(2, jnp.float32), "double": jnp.ones(2)}
HALF = {"half": jnp.ones(2, jnp.bfloat16)}


@pytest.mark.parametrize(
    "model, bounded", [(BOTH, None), (BOTH, "single"), (HALF, "half")]
)
def test_parameters_keep_their_precisions(model, bounded):
    # 0.25 is exact in every precision.
    bounds = [ro.Bound(lambda m: m[bounded], 0.0, 2.0)] if bounded else []
    result = ro.minimize(squares, model, jnp.zeros(1), bounds=bounds, steps=40)
    for name, leaf in result.model.items():
        assert leaf.dtype == model[name].dtype
        np.testing.assert_allclose(np.asarray(leaf, float), 0.25, rtol=1e-5)


@pytest.mark.parametrize("batched", [False, True])
def test_bounds_of_a_wrong_shape_are_refused(batched):
    starts = jnp.ones((3, 2))
    bounds = [ro.Bound(lambda m: m, lower=jnp.zeros((3, 2) if batched else 4))]
    with pytest.raises(ro.RobooptError, match="`bounds`"):
        ro.minimize(squares, starts, jnp.zeros(1), bounds=bounds, batched=batched)
    with pytest.raises(ro.RobooptError, match="`lower` and `upper`"):
        ro.Bound(lambda m: m, [1.0, 2.0], [3.0, 4.0, 5.0])


def test_starts_that_fail_leave_the_others_going_and_are_named():
    # Σ √m + (m − 2)²: at 0 the slope is infinite, below it the root is not real.
    roots = lambda m, batch: jnp.sum(jnp.sqrt(m) + (m - 2) ** 2)  # noqa: E731
    starts = jnp.array([[1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    result = ro.minimize(roots, starts, jnp.zeros(1), batched=True, steps=30)
    alone = ro.minimize(roots, starts[0], jnp.zeros(1), steps=30)
    np.testing.assert_allclose(result.model, alone.model, rtol=1e-6)
    assert result.reason == "tolerance"
    assert "2 of 3" in result.message
    assert "start 1" in result.message and "start 2" in result.message


@pytest.mark.parametrize("kind", [complex, int])
def test_a_loss_that_is_not_real_is_refused(kind):
    loss = lambda m, batch: jnp.sum(m).astype(kind)  # noqa: E731
    with pytest.raises(ro.RobooptError, match="`objective`"):
        ro.minimize(loss, jnp.ones(2), jnp.zeros(1), steps=2)


def test_the_loss_of_changing_batches_is_said_to_be_a_mean():
    batches = [jnp.full(1, x) for x in (1.0, 2.0, 3.0, 4.0)]
    error = lambda m, batch: jnp.sum((m - batch) ** 2)  # noqa: E731
    result = ro.minimize(error, jnp.zeros(1), batches, steps=3)
    assert result.smoothed and "mean" in repr(result)
    exact = ro.minimize(error, jnp.zeros(1), batches[0], steps=3)
    assert not exact.smoothed and "mean" not in repr(exact)
    assert result.summary().startswith("loss") and "model" in exact.summary()


def test_a_result_shows_the_terms_of_its_model():
    class Two(ro.Objective):
        def terms(self, model, batch):
            near = ro.Term(jnp.sum((model - 1) ** 2), 1.0, "1")
            return {"near": near, "small": ro.Term(jnp.sum(model**2), 1.0, "1")}

    result = ro.minimize(Two(), jnp.zeros(1), jnp.zeros(1), steps=10)
    # The minimum of (m − 1)² + m² is ½, where both terms are ¼.
    assert "near=0.25" in repr(result) and "model=[0.5]" in repr(result)


@pytest.mark.parametrize("steps, said", [(1, "1 step taken"), (2, "all 2 steps taken")])
def test_the_message_counts_steps(steps, said):
    found = ro.minimize(
        lambda x, _: jnp.sum(x**2), jnp.ones(1), None, steps=steps, tolerance=None
    )
    assert found.message == said
