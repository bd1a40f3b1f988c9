"""Actions relative to the observation: the policy adds what it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro

SEEN = np.random.default_rng(0).normal(size=(40, 3))


def test_a_shift_is_a_constant_of_the_inner_policy():
    # a = (o₂ + 1, o₀ − 2): relative to the axes 2 and 0 it is (1, −2) everywhere.
    actions = SEEN[:, [2, 0]] + [1.0, -2.0]
    made = ro.policies.RelativeActions.of(
        (SEEN, actions), (2, 0), ro.policies.LinearPolicy.of, key=jax.random.key(0)
    )
    far = jnp.array([50.0, 7.0, -30.0])
    np.testing.assert_allclose(made.policy(far), [1.0, -2.0], atol=1e-6)
    np.testing.assert_allclose(made(far), [-29.0, 48.0], atol=1e-6)
    assert ro.policies.observation_size(made) == 3


@pytest.mark.parametrize("axes", [(0,), (0, 3), (-1, 0)])
def test_axes_that_do_not_fit_are_refused(axes):
    with pytest.raises(ro.RobooptError, match="`axes`"):
        ro.policies.RelativeActions.of((SEEN, SEEN[:, :2]), axes, key=jax.random.key(0))
