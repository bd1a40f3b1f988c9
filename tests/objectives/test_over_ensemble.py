import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import Ensemble
from roboopt.objectives import Objective, Term, over_ensemble


class Constant(eqx.Module):
    value: jax.Array

    def __call__(self, state, action):
        return self.value


class Distance(Objective):
    def terms(self, model, batch):
        error = model(batch, batch) - batch
        return {"distance": Term(jnp.mean(error**2), 0.5, "m²")}


def ensemble(*values):
    return Ensemble([Constant(jnp.array([x])) for x in values])


TARGET = jnp.array([2.0])
OBJECTIVE = over_ensemble(Distance())


def test_value_and_gradient_by_hand():
    # Members at 1 and 5 err by −1 and 3: ½ (½·1 + ½·9) = 2.5, with the slopes −1/2 and
    # 3/2. Their mean, 3, would err by 1 alone.
    model = ensemble(1.0, 5.0)
    value, slope = eqx.filter_value_and_grad(OBJECTIVE)(model, TARGET)
    np.testing.assert_allclose(value, 2.5)
    np.testing.assert_allclose(slope.members.value, [[-0.5], [1.5]])
    (term,) = OBJECTIVE.terms(model, TARGET).values()
    assert (float(term.value), float(term.weight), term.unit) == (5.0, 0.5, "m²")


def test_members_that_are_right_in_the_mean_alone_are_not_right():
    model = ensemble(1.0, 3.0)
    assert Distance()(model, TARGET) == 0.0
    assert OBJECTIVE(model, TARGET) == 0.5


def test_every_member_learns():
    result = ro.minimize(OBJECTIVE, ensemble(1.0, 5.0), TARGET, steps=300)
    np.testing.assert_allclose(result.model.members.value, [[2.0], [2.0]], atol=1e-3)
    assert set(result.history) >= {"loss", "distance"}


def test_adds_to_other_objectives():
    assert (OBJECTIVE + 2 * OBJECTIVE)(ensemble(1.0, 3.0), TARGET) == 1.5


def test_what_has_no_members_is_refused():
    with pytest.raises(ValueError, match="`model` must be an `Ensemble`, got Constant"):
        OBJECTIVE(Constant(jnp.zeros(1)), TARGET)
