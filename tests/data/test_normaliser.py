import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.data import Normalizer

# Means 2 and 5; deviations 1 and, as nothing changes it, none.
SAMPLES = np.array([[1.0, 5.0], [3.0, 5.0]])


def test_mean_and_deviation_by_hand():
    normalizer = Normalizer.of(SAMPLES)
    np.testing.assert_array_equal(normalizer.mean(), [2.0, 5.0])
    np.testing.assert_array_equal(normalizer.scale(), [1.0, 1.0])
    np.testing.assert_array_equal(normalizer(SAMPLES[1]), [1.0, 0.0])
    np.testing.assert_array_equal(
        normalizer.inverse(normalizer(SAMPLES[0])), SAMPLES[0]
    )
    assert normalizer.size == 2


def test_leading_axes_are_all_samples():
    rows = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 3))
    ours, flat = Normalizer.of(rows), Normalizer.of(rows.reshape(-1, 3))
    np.testing.assert_array_equal(ours.mean(), flat.mean())
    normal = np.asarray(jax.vmap(ours)(rows.reshape(-1, 3)))
    # To the rounding of sums of 20 numbers near 1.
    np.testing.assert_allclose(normal.mean(0), 0.0, atol=1e-14)
    np.testing.assert_allclose(normal.std(0), 1.0, rtol=1e-14)


def test_rounding_is_no_spread():
    # 0.1 three times has a mean that is not 0.1 to the last bit.
    assert Normalizer.of(np.full((3, 1), 0.1)).scale() == 1.0
    single = np.full((3, 1), 1000.1, np.float32)
    single[0] = np.nextafter(single[0], np.float32(0))
    assert Normalizer.of(single).scale() == 1.0
    # In double precision the same change is one.
    assert Normalizer.of(single.astype(float)).scale() < 1e-4


def test_is_given_not_tuned(tmp_path):
    normalizer = Normalizer.of(SAMPLES)
    slopes = jax.grad(lambda n: jnp.sum(n(jnp.ones(2)) ** 2))(normalizer)
    assert all(not np.any(x) for x in jax.tree.leaves(slopes))
    ro.save(tmp_path / "n.npz", normalizer)
    loaded = ro.load(tmp_path / "n.npz")
    np.testing.assert_array_equal(loaded(SAMPLES[0]), normalizer(SAMPLES[0]))


@pytest.mark.parametrize(
    "samples, match",
    [
        (np.zeros((0, 2)), r"`samples` must hold at least one, got shape \(0, 2\)"),
        (np.array([[0.0, np.nan]]), r"`samples` must be finite, got nan at \(0, 1\)"),
    ],
)
def test_bad_samples_are_refused(samples, match):
    with pytest.raises(ValueError, match=match):
        Normalizer.of(samples)


@pytest.mark.parametrize(
    "mean, scale, match",
    [
        ([0.0], [1.0, 1.0], "`mean` and `scale` must each hold one number an axis"),
        (0.0, 1.0, "`mean` and `scale` must each hold one number an axis"),
        ([np.inf], [1.0], "`mean` must be finite, got"),
        ([0.0], [0.0], "`scale` must be positive and finite, got"),
        ([0.0], [np.inf], "`scale` must be positive and finite, got"),
    ],
)
def test_bad_numbers_are_refused(mean, scale, match):
    with pytest.raises(ValueError, match=match):
        Normalizer(mean, scale)


@pytest.mark.parametrize("constant", [0.1, 0.3, -0.7, 1e6 + 0.1])
def test_the_rounding_of_a_mean_is_no_scale(constant):
    samples = np.full((3000, 1), constant)
    assert float(Normalizer.of(samples).scale.value[0]) == 1.0
    samples[::2] *= 1 + 1e-9  # a scale, if a small one
    assert float(Normalizer.of(samples).scale.value[0]) < 1e-2
