"""The order of samples within an epoch: each order and each place is equally likely."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt.optimize._shuffle import ROUNDS, first_order, next_order, shuffled


@pytest.mark.parametrize("count", [1, 2, 3, 12, 100, 997, 1024])
def test_every_thing_comes_once_in_an_order(count):
    keys = jax.random.bits(jax.random.key(count), (2, ROUNDS, 2), jnp.uint32)
    orders = [np.asarray(shuffled(jnp.arange(count), count, k)) for k in keys]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
    if count >= 12:
        assert (orders[0] != orders[1]).mean() > 0.5


def test_orders_are_equally_likely():
    # χ² of 24 orders in 12 000 draws: 23 degrees of freedom, 49.7 at one in a thousand.
    keys = jax.random.bits(jax.random.key(0), (12_000, ROUNDS, 2), jnp.uint32)
    orders = np.asarray(
        jax.jit(jax.vmap(lambda k: shuffled(jnp.arange(4), 4, k)))(keys)
    )
    code = orders @ 4 ** np.arange(4)
    every = np.array(list(itertools.permutations(range(4)))) @ 4 ** np.arange(4)
    counts = [np.sum(code == one) for one in every]
    assert sum(counts) == 12_000
    assert np.sum((np.array(counts) - 500) ** 2 / 500) < 49.7


def test_the_places_in_a_long_order_are_equally_likely():
    # 20 000 draws in 1000 bins: 999 degrees of freedom, 1143 at one in a thousand. What
    # comes first, and how far from it what comes next.
    count = 1000
    keys = jax.random.bits(jax.random.key(1), (20_000, ROUNDS, 2), jnp.uint32)
    pair = np.asarray(
        jax.jit(jax.vmap(lambda k: shuffled(jnp.arange(2), count, k)))(keys)
    )
    for bins in (
        np.bincount(pair[:, 0], minlength=count),
        np.bincount((pair[:, 1] - pair[:, 0]) % count, minlength=count)[1:],
    ):
        mean = 20_000 / len(bins)
        assert np.sum((bins - mean) ** 2 / mean) < 1143


def test_epochs_and_keys_have_orders_of_their_own():
    # χ² of 24 orders over 12 000 epochs, and over the first of 12 000 keys: 23 degrees
    # of freedom, 49.7 at one in a thousand.
    first = first_order(jax.random.key(0))
    step = lambda order, _: (next_order(order), order)  # noqa: E731
    _, orders = jax.lax.scan(step, first, length=12_000)
    keys = jax.random.split(jax.random.key(1), 12_000)
    for drawn in (orders, jax.vmap(first_order)(keys)):
        rows = jax.vmap(lambda k: shuffled(jnp.arange(4), 4, k))(drawn)
        code = np.asarray(rows) @ 4 ** np.arange(4)
        _, counts = np.unique(code, return_counts=True)
        assert counts.size == 24
        assert ((counts - 500) ** 2 / 500).sum() < 49.7
