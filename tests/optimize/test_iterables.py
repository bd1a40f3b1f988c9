"""Iterables of batches as data: lists, generators, and data loaders."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro

SGD = optax.sgd(0.5)


def half_square(model, batch):
    return 0.5 * jnp.mean((batch["x"] - model) ** 2)


def descend(data, steps, **settings):
    arguments = {"optimizer": SGD, **settings}
    return ro.minimize(half_square, jnp.asarray(0.0), data, steps=steps, **arguments)


def batches(*values, size=2):
    return [{"x": np.full(size, value)} for value in values]


def test_steps_on_batches_by_hand():
    # m ← m + ½ (x − m): from 0 to 4 on 8, to 1 on −2, and again to 4.5 and 1.25.
    result = descend(batches(8.0, -2.0), 4)
    at = np.array([0.0, 4.0, 1.0, 4.5, 1.25])
    x = np.array([8.0, -2.0, 8.0, -2.0, -2.0])
    np.testing.assert_allclose(result.history["loss"], 0.5 * (x - at) ** 2, rtol=1e-14)
    assert (result.reason, result.steps) == ("steps", 4)


def test_a_generator_that_ends():
    result = descend((batch for batch in batches(8.0, 8.0, 8.0)), 10)
    assert result.reason == "exhausted" and "3 steps" in result.message
    # The last batch judges the last model, too: 0 → 4 → 6 → 7.
    np.testing.assert_allclose(result.history["loss"], [32.0, 8.0, 2.0, 0.5])
    assert float(result.model) == 7.0
    assert descend((batch for batch in batches(8.0, 8.0, 8.0)), 3).reason == "steps"


def test_a_lucky_batch_does_not_choose_the_model():
    # The loss of the start is 0 on the first batch.
    result = descend((batch for batch in batches(0.0, *[8.0] * 9)), 20)
    assert float(result.model) > 7.9
    # Batches of one sample scatter by 1 about 2, which costs ½ at best.
    random = np.random.default_rng(0)
    noise = batches(*random.normal(2.0, 1.0, 500), size=1)
    result = descend(noise, 500, optimizer=optax.sgd(0.02))
    assert 0.3 < result.loss < 0.7
    assert float(result.model) == pytest.approx(2.0, abs=0.4)


class Tensor:
    """An array of another library."""

    def __init__(self, values):
        self._values = values

    @property
    def shape(self):
        return self._values.shape

    def __array__(self, dtype=None, copy=None):
        return self._values


class Loader:
    """Collates samples as torch's DataLoader: a list [x, y], and a smaller last one."""

    def __len__(self):
        return 3

    def __iter__(self):
        for size in (4, 4, 2):
            yield [Tensor(np.full((size, 1), 2.0)), Tensor(np.full((size, 1), 6.0))]


def test_a_data_loader():
    def loss(model, batch):
        x, y = batch
        return jnp.mean((model * x - y) ** 2)

    result = ro.minimize(loss, jnp.asarray(1.0), Loader(), steps=300)
    assert float(result.model) == pytest.approx(3.0, abs=1e-3)


def test_several_starts_share_the_batches():
    result = ro.minimize(
        half_square,
        jnp.array([0.0, 4.0]),
        batches(8.0, 8.0),
        steps=3,
        optimizer=SGD,
        batched=True,
    )
    assert result.history["loss"].shape == (4, 2)
    assert float(result.model) == 7.5


def test_a_line_search_restarts_on_each_batch():
    result = descend(batches(3.0, 5.0), 4, optimizer=optax.lbfgs())
    # The search of the third step ended at 3 with a loss of 0, which is 2 on 5.
    assert result.history["loss"][3] == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize(
    "data, match",
    [
        ([], "`data`"),
        ([{"x": "text"}], "`data`"),
        ("text", "`data`"),
        (batches(np.nan), "`data`"),
    ],
)
def test_bad_batches_are_refused(data, match):
    with pytest.raises(ro.RobooptError, match=match):
        descend(data, 2)


@pytest.mark.parametrize("bad", [{"x": np.full((2, 1), 1.0)}, {"y": np.ones(2)}])
def test_a_later_batch_of_another_form_ends_the_run(bad):
    result = descend([*batches(8.0), bad], 4)
    assert result.reason == "source" and "`data`" in result.message
    assert float(result.model) == 0.0
