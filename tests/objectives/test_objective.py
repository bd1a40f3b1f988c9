"""The contract: terms, weights, sums, and that JAX takes objectives as they stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt import Objective, Term


class Square(Objective):
    target: float
    weight: float = 1.0

    def terms(self, model, batch):
        return {"square": Term((model - self.target) ** 2, self.weight, "m²")}


class Linear(Objective):
    def terms(self, model, batch):
        return {"linear": Term(model * batch, 0.5, "J")}


def test_the_value_is_the_weighted_sum_of_the_terms():
    # 2 (5 − 3)² = 8
    assert Square(3.0, 2.0)(jnp.asarray(5.0), None) == 8.0


def test_sums_and_multiples_add_and_weigh_terms():
    objective = 3.0 * Square(1.0, 2.0) + Linear() * 2.0
    model, batch = jnp.asarray(2.0), jnp.asarray(5.0)
    terms = objective.terms(model, batch)
    # 3 · 2 · (2 − 1)² + 2 · ½ · 2 · 5 = 6 + 10
    assert objective(model, batch) == 16.0
    assert {k: (float(t.value), t.weight, t.unit) for k, t in terms.items()} == {
        "square": (1.0, 6.0, "m²"),
        "linear": (10.0, 1.0, "J"),
    }
    gradient = jax.jit(jax.grad(objective))(model, batch)
    assert gradient == pytest.approx(6 * 2 * (2 - 1) + 5)


def test_names_that_meet_are_numbered_and_nothing_is_lost():
    objective = Square(0.0) + Square(1.0) + Linear()
    terms = objective.terms(jnp.asarray(2.0), jnp.asarray(0.0))
    assert list(terms) == ["1.square", "2.square", "linear"]
    assert objective(jnp.asarray(2.0), jnp.asarray(0.0)) == 4.0 + 1.0


def test_jax_takes_an_objective_as_it_stands():
    objective = Square(3.0) + Linear()
    model, batch = jnp.asarray(5.0), jnp.asarray(1.0)
    value = objective(model, batch)
    np.testing.assert_allclose(jax.jit(objective)(model, batch), value)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(objective, in_axes=(0, None)))(jnp.full(3, 5.0), batch),
        [value] * 3,
    )
    assert jax.jit(jax.grad(objective))(model, batch) == 2 * (5 - 3) + 0.5


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="`weight` must be finite and not negative"):
        _ = weight * Square(0.0)


def test_only_objectives_are_added():
    with pytest.raises(TypeError):
        _ = Square(0.0) + 1.0  # pyright: ignore
