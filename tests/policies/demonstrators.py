"""What there is to clone in the tests of policies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro

KEY = jax.random.key(0)


def samples(actions, rng=None, count=400, size=3, **limits):
    """Demonstrations of `actions(observations, rng)`, on observations far from 0."""
    rng = np.random.default_rng(0) if rng is None else rng
    observations = np.array([5.0, -2.0, 0.1])[:size] + rng.normal(
        size=(count, size)
    ) * np.array([2.0, 1.0, 0.01][:size])
    return ro.data.Demonstrations(observations, actions(observations, rng), **limits)


def linear(o, rng):
    """Two axes of different units and offsets."""
    gains = np.array([[3.0, -1.0, 0.0], [0.02, 0.0, 1.0]])
    return np.array([100.0, -1.0]) + o @ gains.T


def two_ways(o, rng):
    """Around −6 one time in four, around 10 else; 0.5 off, and 2 · o₁ on top."""
    side = np.where(rng.random(len(o)) < 0.25, -8.0, 8.0)
    return (2 + side + 2 * (o[:, 1] + 2) + 0.5 * rng.normal(size=len(o)))[:, None]


def chunks(o, rng):
    """Three actions of two axes, at each place another."""
    return np.stack([linear(o, rng) + k for k in range(3)], axis=1)


def check_saving(policy, path, observation):
    """A policy comes back as it was, and `jax.jit` takes it as it stands."""
    ro.save(path / "policy.npz", policy)
    loaded = ro.load(path / "policy.npz")
    # As arrays of NumPy, which compare without a program for each shape.
    dynamic, static = eqx.partition((loaded, policy), eqx.is_array)
    assert eqx.tree_equal(*eqx.combine(jax.tree.map(np.asarray, dynamic), static))
    there = jax.jit(policy)(observation), jax.jit(loaded)(observation)
    np.testing.assert_array_equal(*there)


def log_likelihood(policy, batch):
    """Mean negative log-likelihood, the loss of policies that have one."""
    return -jnp.mean(jax.vmap(policy.log_prob)(batch.observations, batch.actions))
