"""Factors and paths where numbers are selected, used twice, or only returned."""

import math

import jax
import jax.numpy as jnp
import pytest

from roboopt.diagnose import chain


def huber(m):
    r = m - 0.2
    near = 0.5 * r**2
    far = jnp.abs(r) - 0.5
    return jnp.where(jnp.abs(r) < 1, near, far)


SELECTIONS = [
    lambda m: jnp.where(m > 0, m * 2, m * 3),
    lambda m: jnp.where(m > 0, m * 2, 0.0),
    lambda m: jnp.where(m > 0, jnp.sin(m), jnp.cos(m)) * 2,
    huber,
    lambda m: jnp.sinc(m),
    lambda m: jnp.arctan2(m, 2.0) * jnp.hypot(m, 1.0),
    lambda m: jnp.heaviside(m, 0.5) * m,
    lambda m: jnp.select([m > 1, m > 0], [m**2, m * 3], 0.0 * m),
    lambda m: jnp.interp(m, jnp.array([0.0, 1, 2]), jnp.array([1.0, 3, -4])),
    lambda m: m.astype(int).astype(float) * m,
]


@pytest.mark.parametrize("function", SELECTIONS)
@pytest.mark.parametrize("m", [-0.6, 0.7, 1.7])
def test_a_selection_of_numbers_has_the_factors_of_the_branch_taken(function, m):
    found = chain(function, m)
    expected = float(jax.grad(function)(m))
    assert found.parameters["m"] == pytest.approx(expected, rel=1e-12)
    total = math.fsum(path.product for path in found.paths("m"))
    assert total == pytest.approx(expected, rel=1e-12)
    assert "/dm" in str(found)


def test_the_branch_not_taken_has_a_factor_of_zero():
    found = chain(huber, 0.7)
    assert found.nodes[-1].factors == {"near": 1.0, "far": 0.0}


def test_one_of_two_results_with_a_name_counts_once():
    # u = sin w and v = cos w are results of one condition, and u alone has a name.
    def combine(u, v):
        a = u
        return a * v

    def loss(w):
        pair = lambda w: (jnp.sin(w), jnp.cos(w))  # noqa: E731
        return combine(*jax.lax.cond(w > 0, pair, pair, w))

    found = chain(loss, 0.7)
    total = math.fsum(path.product for path in found.paths("w"))
    assert total == pytest.approx(math.cos(1.4), rel=1e-12)
