"""A random order of n samples, any part of which is computed without the rest.

A generalized Feistel network (Black and Rogaway, 2002, Ciphers with arbitrary finite
domains): position p = b i + j in a table of a rows and b columns, a b ≥ n. Each round
adds a hash of the column to the row, and one of the row to the column, modulo a and b,
which is a bijection; a result beyond n goes through again. The sort within
`jax.random.permutation` took 40 % of the steps per second from a network of two layers
of 64, on 10,000 samples in batches of 256.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

ROUNDS = 8


def first_order(key: PRNGKeyArray) -> UInt32[Array, "round 2"]:
    """Return the round keys of the first order, by hashing a key."""
    # `jax.random.bits` would take longer to compile than the rest of a step.
    words = jax.random.key_data(key)
    return _hash(words[0] ^ _hash(words[-1] + _counts()))


def next_order(order: UInt32[Array, "round 2"]) -> UInt32[Array, "round 2"]:
    """Return the round keys of the next order."""
    return _hash(order + _counts())


def _counts() -> UInt32[Array, "round 2"]:
    # Weyl's sequence: each word goes its own way.
    numbers = jnp.arange(1, 2 * ROUNDS + 1, dtype=jnp.uint32)
    return (numbers * jnp.uint32(0x9E3779B9)).reshape(ROUNDS, 2)


def shuffled(
    positions: Int[Array, " sample"], count: int, keys: UInt32[Array, "round 2"]
) -> Int[Array, " sample"]:
    """Return which of `count` < 2³¹ samples are at `positions` of an order."""
    rows = math.isqrt(count - 1) + 1
    columns = -(-count // rows)

    def mix(place, key):
        row, column = place
        row = (row + _hash(column ^ key[0]) % rows) % rows
        column = (column + _hash(row ^ key[1]) % columns) % columns
        return (row, column), None

    def again(carry):
        position, outside = carry
        # A scan compiles faster than unrolled rounds.
        place = position // columns, position % columns
        (row, column), _ = jax.lax.scan(mix, place, keys)
        position = jnp.where(outside, row * columns + column, position)
        return position, position >= count

    first = positions.astype(jnp.uint32), jnp.ones(positions.shape, bool)
    last, _ = jax.lax.while_loop(lambda carry: carry[1].any(), again, first)
    return last.astype(positions.dtype)


def _hash(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Return 32 well-mixed bits: the end of MurmurHash3 (Appleby, 2011)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
