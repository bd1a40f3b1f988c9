import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives

from roboopt import Objective, Term
from roboopt.objectives import Prior, ResidualObjective, Sum


class Line(eqx.Module):
    slope: jax.Array
    offsets: jax.Array


class LineError(ResidualObjective):
    def residuals(self, model, batch):
        return (model.slope * batch[0] - batch[1]) / 0.5


class Square(ResidualObjective):
    def residuals(self, model, batch):
        return model - batch


def line(slope, *offsets):
    return Line(jnp.array(slope), jnp.array(offsets))


def test_value_and_gradient_by_hand():
    # (5 − 3)/2 = 1 and (1 − 4)/1 = −3 and 0: L = (1 + 9)/(2·3); dL/dslope = 1/2/3.
    prior = Prior(
        line(3.0, 4.0, 7.0), lambda m: (m.slope, m.offsets), (2.0, jnp.array([1.0, 9]))
    )
    value, grad = eqx.filter_value_and_grad(prior)(line(5.0, 1.0, 7.0), None)
    assert value == pytest.approx(10 / 6)
    assert grad.slope == pytest.approx(1 / 6)
    np.testing.assert_allclose(grad.offsets, [-1.0, 0.0])


def test_a_number_scales_everything():
    both = lambda m: (m.slope, m.offsets)  # noqa: E731
    prior = Prior(line(3.0, 4.0), both, 2.0)
    np.testing.assert_array_equal(prior.residuals(line(5.0, 1.0), None), [1.0, -1.5])


def test_it_is_0_at_its_center():
    prior = Prior(line(3.0, 4.0), lambda m: m.offsets)
    # What `where` does not name is free.
    assert prior(line(99.0, 4.0), None) == 0.0


def test_gradient_matches_finite_differences():
    prior = Prior(line(3.0, 4.0), lambda m: (m.slope, m.offsets), 0.7)
    value = lambda a: prior(Line(a, a[None]), None)  # noqa: E731
    assert_derivatives(value, (0.4,), order=2)


def test_beside_noise_it_is_the_posterior():
    # y = a x at x = 1, 2 with noise of σ = ½ and a belief a = 1 ± 1/√2: the posterior's
    # mean is (Σ x y/σ² + 1·2)/(Σ x²/σ² + 2) = (4·(3 + 2·4) + 2)/(4·5 + 2) = 46/22.
    x, y = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])
    prior = Prior(line(1.0), lambda m: m.slope, 1 / np.sqrt(2))
    posterior = LineError() + (1 / 2) * prior
    slope = lambda a: jax.jit(jax.grad(lambda v: posterior(Line(v, v), (x, y))))(a)  # noqa: E731
    assert slope(jnp.array(46 / 22)) == pytest.approx(0.0, abs=1e-14)
    assert abs(slope(jnp.array(2.0))) > 0.1


def test_residuals_of_a_sum_are_those_of_its_parts():
    # Half their mean square is the weighted sum of the parts' own.
    first, second = Square(), 3.0 * Square()
    model, batch = jnp.array([1.0, 2.0]), jnp.array([0.0, 5.0])
    prior = Prior(jnp.zeros(2), lambda m: jnp.stack([m[0], m[1], m[1]]), 2.0)
    both = first + second + 0.5 * prior
    assert isinstance(both, Sum)
    residuals = both.residuals(model, batch)
    # ½·mean(1, 9)·(1 + 3) + ½·½·mean(¼, 1, 1) = 10 + 0.1875
    assert residuals.shape == (2 + 2 + 3,)
    assert 0.5 * jnp.mean(residuals**2) == pytest.approx(10.1875)
    assert both(model, batch) == pytest.approx(10.1875)


def test_a_part_without_residuals_is_named():
    class Linear(Objective):
        def terms(self, model, batch):
            return {"linear": Term(model[0], 1.0, "J")}

    both = Square() + Linear()
    assert isinstance(both, Sum)
    with pytest.raises(ValueError, match="parts with residuals, got Linear"):
        both.residuals(jnp.ones(2), jnp.ones(2))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.array([1.0, np.nan])])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="`scale` must be positive"):
        Prior(line(1.0), lambda m: m.slope, scale)
