"""Each pair of options of `minimize` finds the minimum, or one of them is refused."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro

# The samples are alike, so that minibatches have the minimum of all data.
TARGET = np.array([1.0, -2.0])
DATA = np.tile(TARGET, (12, 1))
STEPS = 250


def loss(model, batch):
    return jnp.mean((model["x"][None] - batch) ** 2) + (model["y"] - 3.0) ** 2


def sample(model, key):
    return jnp.asarray(DATA[:4])


class Samples:
    """A source that can be resumed."""

    steps = 20

    def next(self, model, key):
        return DATA

    def state(self):
        return {"count": np.zeros(())}

    def restore(self, state):
        pass


# The same objects in each test, for which steps are compiled already.
OPTIONS = {
    "bounds": {"bounds": [ro.Bound(lambda m: m["x"], -5.0, [4.0, 6.0])]},
    "batched": {"batched": True},
    "trainable": {"trainable": lambda m: m["x"]},
    "batch_size": {"batch_size": 4},
    "checkpoint": {"checkpoint": "run.npz"},
    "tolerance": {"tolerance": 1e-12, "patience": 100},
    "validation": {"validation": DATA[:6], "patience": STEPS},
    "gradient": {"gradient": ro.gradients.ZerothOrder()},
    "optimizer": {"optimizer": optax.adam(0.05)},
    "iterable": {"data": [DATA[:4], DATA[4:]]},
    "function": {"data": sample},
    "source": {"data": Samples()},
}
REFUSED = {
    ("batched", "source"): "`batched`",
    ("batch_size", "iterable"): "`batch_size`",
    ("batch_size", "function"): "`batch_size`",
    ("checkpoint", "iterable"): "`checkpoint`",
}
KINDS_OF_DATA = {"iterable", "function", "source"}
PAIRS = [
    pair
    for pair in itertools.combinations(OPTIONS, 2)
    if not set(pair) <= KINDS_OF_DATA
]


def cases() -> list:
    """Return the pairs: of an option with two of the kinds of data, those are slow."""
    others = [name for name in OPTIONS if name not in KINDS_OF_DATA]
    kinds = [name for name in OPTIONS if name in KINDS_OF_DATA]
    # Each kind meets a third of the options.
    quick = {(name, kinds[k % len(kinds)]) for k, name in enumerate(others)}
    quick |= {*itertools.combinations(others, 2), *REFUSED}
    slow = pytest.mark.slow
    return [
        pytest.param(pair, id="-".join(pair), marks=[] if pair in quick else [slow])
        for pair in PAIRS
    ]


def run(pair, folder):
    arguments = {"data": DATA, "steps": STEPS}
    for name in pair:
        arguments |= OPTIONS[name]
    model = {"x": np.array([0.5, -0.5]), "y": np.array(2.5)}
    if "batched" in pair:
        starts = np.array([1.0, 1.5, 0.5])
        model = jax.tree.map(lambda x: np.multiply.outer(starts, x), model)
    model = jax.tree.map(jnp.asarray, model)
    data = arguments.pop("data")
    if "checkpoint" not in pair:
        return ro.minimize(loss, model, data, **arguments)
    arguments["checkpoint"] = folder / "run.npz"
    ro.minimize(loss, model, data, callback=lambda status: True, **arguments)
    return ro.minimize(loss, model, data, **arguments)


@pytest.mark.parametrize("pair", cases())
def test_a_pair_of_options(pair, tmp_path):
    if pair in REFUSED:
        with pytest.raises(ro.RobooptError, match=REFUSED[pair]):
            run(pair, tmp_path)
        return
    result = run(pair, tmp_path)
    # The last steps of Adam are of the order of its learning rate.
    np.testing.assert_allclose(result.model["x"], TARGET, atol=2e-2)
    if "trainable" not in pair:
        np.testing.assert_allclose(result.model["y"], 3.0, atol=2e-2)
    elif "batched" in pair:
        assert result.model["y"] in (2.5, 3.75, 1.25)
    else:
        assert result.model["y"] == 2.5


def test_bounds_do_not_have_the_axis_of_starts():
    target = jnp.array([1.0, 3.0])
    bounds = [ro.Bound(lambda m: m, jnp.array([0.0, 0.0]), jnp.array([2.0, 2.5]))]
    result = ro.minimize(
        lambda m, b: jnp.sum((m - b) ** 2),
        jnp.ones((3, 2)),
        target,
        batched=True,
        bounds=bounds,
        steps=200,
    )
    assert result.model.shape == (2,)
    # The upper bound of 2.5 leaves a loss of (3 − 2.5)².
    np.testing.assert_allclose(result.model, [1.0, 2.5], atol=1e-2)
    assert result.loss == pytest.approx(0.25, abs=1e-2)
    with pytest.raises(ro.RobooptError, match="`bounds`"):
        ro.minimize(
            lambda m, b: jnp.sum((m - b) ** 2),
            jnp.array([[1.0, 1.0], [1.0, 2.6]]),
            target,
            batched=True,
            bounds=bounds,
        )


def squared(model, batch):
    return jnp.mean((model[None] - batch) ** 2)


@pytest.mark.parametrize("data", [DATA, DATA.astype(np.float32)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4},
        {"bounds": [ro.Bound(lambda m: m, -9.0, 9.0)]},
        {"gradient": ro.gradients.ZerothOrder()},
    ],
)
def test_a_single_precision_model_in_double_precision(data, options: dict[str, Any]):
    start = jnp.array([0.5, -0.5], jnp.float32)
    result = ro.minimize(squared, start, data, steps=STEPS, **options)
    assert result.model.dtype == jnp.float32
    np.testing.assert_allclose(result.model, TARGET, atol=1e-2)
