"""Selection by held-out data: the best model on them is kept, in every kind of run."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro

# 30 samples of 20 inputs, of which the target depends on one: the rest is noise, which
# gradient descent fits in the end.
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(560, 20))
TARGETS = INPUTS[:, 0] + RANDOM.normal(size=560)
TRAINING = INPUTS[:30], TARGETS[:30]
HELD_OUT = INPUTS[30:60], TARGETS[30:60]
OTHERS = INPUTS[60:], TARGETS[60:]
SLOW = optax.adam(0.01)


def loss(weights, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ weights - targets) ** 2)


def measured(weights, batch=HELD_OUT):
    return float(np.mean((batch[0] @ np.asarray(weights) - batch[1]) ** 2))


def descend(data=TRAINING, **settings):
    arguments = {"steps": 1500, "optimizer": SLOW, "validation": HELD_OUT, **settings}
    return ro.minimize(loss, jnp.zeros(20), data, **arguments)


def test_the_best_on_held_out_data_is_kept_and_is_better_on_others():
    last = descend(validation=None)
    best = descend(patience=1500)
    known = best.history["validation"]
    assert best.steps == 1500 and len(known) == 1501
    assert best.loss == known.min() == known[best.best_step] < 0.8 * known[-1]
    assert best.loss == pytest.approx(measured(best.model), rel=1e-12)
    assert loss(best.model, OTHERS) < 0.95 * loss(last.model, OTHERS)
    assert loss(best.model, TRAINING) > 1.1 * loss(last.model, TRAINING)


def test_patience_ends_the_descent_and_the_best_is_the_same():
    stopped, whole = descend(patience=40), descend(patience=1500)
    assert stopped.best_step is not None and whole.best_step is not None
    assert (stopped.reason, stopped.steps) == ("validation", stopped.best_step + 40)
    assert stopped.best_step == whole.best_step
    np.testing.assert_array_equal(stopped.model, whole.model)
    # A quarter of the steps, by default.
    assert descend().steps == whole.best_step + 375
    assert "validation" in stopped.message


def test_minibatches_are_validated_now_and_then_and_at_the_end():
    found = descend(batch_size=10, steps=1030, patience=2000)
    known = np.flatnonzero(np.isfinite(found.history["validation"]))
    assert known.tolist() == [*range(0, 1030, 50), 1030]
    assert found.loss == np.nanmin(found.history["validation"])
    assert found.best_step in known


def test_an_interrupted_descent_goes_on_to_the_same_bits(tmp_path):
    settings = {"batch_size": 10, "patience": 700}
    whole = descend(**settings)
    parts = {**settings, "checkpoint": tmp_path / "run.npz"}
    descend(callback=lambda status: status.step > 60, **parts)
    resumed = descend(**parts)
    assert resumed.reason == whole.reason and resumed.steps == whole.steps
    np.testing.assert_array_equal(resumed.model, whole.model)
    for name in ("loss", "validation"):
        np.testing.assert_array_equal(resumed.history[name], whole.history[name])
    with pytest.raises(ro.RobooptError, match="validation"):
        descend(**{**parts, "validation": OTHERS})


def test_each_of_many_starts_keeps_its_best():
    starts = jnp.stack([jnp.zeros(20), 0.1 * jnp.ones(20), -jnp.ones(20)])
    settings = {"steps": 400, "optimizer": SLOW, "validation": HELD_OUT}
    settings["patience"] = 400
    one_by_one = [ro.minimize(loss, x, TRAINING, **settings).loss for x in starts]
    found = ro.minimize(loss, starts, TRAINING, batched=True, **settings)
    assert found.history["validation"].shape == (401, 3)
    each = found.history["validation"].min(0)
    np.testing.assert_allclose(each, one_by_one, rtol=1e-9)
    assert found.loss == pytest.approx(min(one_by_one), rel=1e-9)
    assert measured(found.model) == pytest.approx(found.loss, rel=1e-9)


def test_a_simulator_outside_jax_is_validated():
    def simulated(weights, batch):
        return jnp.asarray(measured(weights, batch))

    found = ro.minimize(
        simulated,
        jnp.zeros(20),
        TRAINING,
        gradient=ro.gradients.ZerothOrder(pairs=4, traced=False),
        validation=HELD_OUT,
        optimizer=SLOW,
        steps=5,
    )
    known = found.history["validation"]
    assert np.isfinite(known).all() and len(known) == 6
    assert found.loss == known.min() == pytest.approx(measured(found.model))


class Surrogate(ro.Objective):
    """One of which only the gradient means anything."""

    def terms(self, model, batch):
        return {"loss": ro.Term(loss(model, batch), 1.0, "1")}

    def ranks(self, batch):
        return False


@pytest.mark.parametrize(
    "objective, held_out",
    [
        (loss, (np.full((3, 20), np.nan), np.zeros(3))),
        (lambda w, b: loss(w, b) / jnp.any(b[1]), (INPUTS[:3], np.zeros(3))),
        (loss, "runs"),
        (Surrogate(), HELD_OUT),
    ],
)
def test_what_cannot_select_is_refused(objective, held_out):
    with pytest.raises(ro.RobooptError, match="`validation`"):
        ro.minimize(objective, jnp.zeros(20), TRAINING, validation=held_out, steps=5)


def test_the_default_optimizer_is_stopped_too():
    found = descend(optimizer=None, patience=30, steps=300)
    # Least squares of 30 samples by L-BFGS: the best on held-out data lies before.
    assert found.reason == "validation" and found.best_step is not None
    assert found.best_step < found.steps
    assert measured(found.model) == pytest.approx(found.loss, rel=1e-9)
