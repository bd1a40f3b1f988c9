"""Blocks of data that change as a descent goes on, and the order within a block."""

import _thread
import re
import threading

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro


class Given:
    """Each block's samples are its number's value; remembers who asked for it."""

    def __init__(self, values, steps=4, drifts=False, size=6):
        self.values, self.steps, self.drifts, self.size = values, steps, drifts, size
        self.models, self.numbers = [], []

    def next(self, model, key):
        number = len(self.numbers)
        self.models.append(float(model))
        self.numbers.append(number)
        value = self.values[number]
        if isinstance(value, BaseException):
            raise value
        return value if isinstance(value, dict) else {"x": np.full(self.size, value)}


RATE = optax.sgd(0.01)


def half_square(model, batch):
    return 0.5 * jnp.mean((batch["x"] - model) ** 2)


def descend(source, steps, rate=0.5, start=0.0, **settings):
    arguments = {"optimizer": optax.sgd(rate), "batch_size": 2, **settings}
    return ro.minimize(
        half_square, jnp.asarray(start), source, steps=steps, **arguments
    )


@pytest.mark.parametrize("batch_size", [2, None])
def test_steps_on_blocks_by_hand(batch_size):
    # m ← m + ½ (x − m): from 0 on block 0, x = 8, to 4 and 6; on block 1, x = −2, to
    # 2 and 0, where the last loss, ½ 2², is taken too.
    source = Given([8.0, -2.0], steps=2)
    result = descend(source, 4, batch_size=batch_size)
    at = np.array([0.0, 4.0, 6.0, 2.0, 0.0])
    x = np.array([8.0, 8.0, -2.0, -2.0, -2.0])
    np.testing.assert_allclose(result.history["loss"], 0.5 * (x - at) ** 2, rtol=1e-14)
    assert source.numbers == [0, 1]
    np.testing.assert_allclose(source.models, [0.0, 6.0], rtol=1e-14)
    assert (result.reason, result.steps) == ("steps", 4)


def test_what_is_left_over_goes_to_the_last_block():
    source = Given([1.0, 2.0, 3.0], steps=4)
    assert descend(source, 11).steps == 11
    assert source.numbers == [0, 1]
    source = Given([1.0], steps=100)
    assert descend(source, 5).steps == 5


def test_the_same_loop_serves_all_blocks():
    traced = []

    def loss(model, batch):
        traced.append(1)
        return half_square(model, batch)

    def count(blocks):
        traced.clear()
        source = Given(np.arange(blocks), steps=3)
        fresh = optax.sgd(0.1)
        start = jnp.asarray(0.0)
        ro.minimize(
            lambda m, b: loss(m, b),
            start,
            source,
            steps=3 * blocks,
            batch_size=2,
            optimizer=fresh,
        )
        return len(traced)

    assert count(1) == count(5) > 0


def test_the_best_of_the_last_block_where_data_drift():
    # Block 1 is far harder: no loss on it comes near those on block 0.
    def run(drifts):
        source = Given([0.1, 50.0], steps=3, drifts=drifts)
        return source, descend(source, 6, batch_size=None)

    source, result = run(drifts=True)
    assert result.loss == result.history["loss"][3:].min() > 1.0
    # On block 0, 0 → 0.05 → 0.075 (judged best) → 0.0875, which was not judged.
    np.testing.assert_allclose(source.models, [0.0, 0.075])
    source, result = run(drifts=False)
    assert result.loss == result.history["loss"][:3].min() < 1e-3
    np.testing.assert_allclose(source.models, [0.0, 0.0875])
    assert float(result.model) == pytest.approx(0.075)


def test_a_lucky_minibatch_does_not_choose_the_model():
    # On every block the minibatches' losses are 0 at a fifth of the samples, at random,
    # and otherwise tell the model's distance from 1.
    def loss(model, batch):
        return jnp.mean(batch["x"]) * (1.0 + (model - 1.0) ** 2)

    sample = (np.arange(100) >= 20).astype(float)

    class Lucky(Given):
        def next(self, model, key):
            super().next(model, key)
            return {"x": sample}

    results = [
        ro.minimize(
            loss,
            jnp.asarray(-4.0),
            Lucky(np.zeros(2), steps=200, drifts=True),
            steps=400,
            batch_size=1,
            seed=seed,
            optimizer=RATE,
        )
        for seed in range(4)
    ]
    # A step on average shrinks the distance by 0.01·2·0.8; the luck of the second block
    # was at its very beginning, and the model is of 50 steps later at the least.
    assert any(r.history["loss"][200:205].min() == 0.0 for r in results)
    for result in results:
        far = 5 * 0.98 ** np.count_nonzero(result.history["loss"][:250])
        assert float(result.model) >= 1 - far - 1e-9


def test_short_blocks_of_drifting_data_are_judged_too():
    source = Given([0.0, 8.0], steps=3, drifts=True)
    result = descend(source, 6)
    # On block 1, 0 → 4 → 6 → 7, and judged from its second step on.
    assert float(result.model) == 7.0
    assert result.loss > result.history["loss"][-1]


def test_a_line_search_begins_anew_on_a_block():
    source = Given([3.0, 5.0], steps=5)
    result = ro.minimize(
        half_square, jnp.asarray(0.0), source, steps=10, optimizer=optax.lbfgs()
    )
    # The loss at the block's beginning is the new data's: ½ (5 − 3)².
    assert result.history["loss"][5] == pytest.approx(2.0, rel=1e-6)
    assert result.history["loss"][-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    "bad, match",
    [
        (OSError("no such disk"), "after 3 steps in `data`, block 1: OSError: no such"),
        (np.nan, r"block 1: RobooptError: `data`\['x'\] must be finite"),
        ({}, r"`data`\['x'\] is missing, of block 0 float64\[6\]"),
        ({"x": np.zeros(5)}, r"is float64\[5\], of block 0 float64\[6\]"),
        ({"x": np.zeros(6, int)}, r"is int64\[6\], of block 0 float64\[6\]"),
    ],
)
def test_a_later_block_that_cannot_be_had(bad, match):
    source = Given([1.0, bad])
    result = descend(source, 8)
    assert result.reason == "source" and result.steps == 3
    assert len(result.history["loss"]) == 4
    # Of m = 0, ½, ¾, ⅞ the smoothed loss is least at the last.
    assert float(result.model) == 0.875
    assert re.search(match, result.message)


def test_the_first_block_that_cannot_be_had_raises():
    with pytest.raises(OSError, match="no such disk"):
        descend(Given([OSError("no such disk")]), 8)


def test_an_interrupt_within_a_block_keeps_the_best():
    class Slow(Given):
        def next(self, model, key):
            if len(self.numbers) == 1:
                threading.Thread(target=_thread.interrupt_main).start()
                threading.Event().wait(30.0)
            return super().next(model, key)

    result = descend(Slow([1.0, 1.0]), 8)
    assert result.reason == "interrupted"
    assert float(result.model) == 0.875


def test_seconds_and_the_callback_count_over_blocks():
    seen = []
    result = descend(
        Given(np.ones(5)), 20, callback=lambda s: seen.append(s.step) or s.step >= 10
    )
    assert result.reason == "callback" and seen == sorted(seen) and seen[-1] >= 10
    result = descend(Given(np.ones(5)), 20, seconds=1e-6)
    assert result.reason == "seconds"


BAD = [
    (Given([1.0], steps=0), {}, r"`data.steps` must be .* at least 1, got 0"),
    (Given([1.0]), {"batch_size": 7}, "`batch_size` must be between 1 and"),
    (Given([1.0]), {"checkpoint": "c.npz"}, "`checkpoint`"),
    (
        Given([1.0]),
        {"batched": True, "start": [0.0]},
        "`batched`",
    ),
    (Given([1.0], drifts=True), {"tolerance": 0.1}, "`tolerance`"),
    (Given([np.inf]), {}, r"`data`\['x'\] must be finite"),
    (Given([{"x": "text"}]), {}, "`data`"),
]


@pytest.mark.parametrize("source, settings, match", BAD)
def test_bad_sources_are_refused(source, settings, match):
    with pytest.raises(ValueError, match=match):
        descend(source, 4, **settings)


def test_what_has_blocks_is_a_source():
    assert isinstance(Given([]), ro.optimize.Source)
    assert not isinstance(iter([]), ro.optimize.Source)


def test_limits_of_demonstrations_may_be_infinite():
    # A joint without a limit on one side: only what is not a number is refused.
    samples = ro.data.Demonstrations(
        np.ones((6, 1)),
        np.full((6, 1), 2.0),
        low=np.full((6, 1), -np.inf),
        high=np.full((6, 1), 3.0),
    )
    found = ro.minimize(
        ro.ActionMismatch(),
        ro.policies.LinearFeedback(np.ones((1, 1))),
        samples,
        batch_size=2,
    )
    np.testing.assert_allclose(found.model.gains, -2.0, atol=1e-3)
    with pytest.raises(ValueError, match=r"`data`\.low must be finite, got nan"):
        ro.minimize(
            ro.ActionMismatch(),
            ro.policies.LinearFeedback(np.ones((1, 1))),
            ro.data.Demonstrations(
                np.ones((2, 1)), np.ones((2, 1)), low=np.full((2, 1), np.nan)
            ),
        )
