"""The linear-quadratic regulator of `LinearFeedback`."""

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.policies import LinearFeedback

EXAMPLES = Path(__file__).parents[2] / "examples"
ARM = EXAMPLES / "double_pendulum" / "double_pendulum.urdf"


class Scalar:
    """s' = s + a, with a constant push."""

    action_size = 1

    def __init__(self, push: float = 0.0, gain: float = 1.0):
        self.push, self.gain = push, gain

    def __call__(self, state, action):
        return state + self.gain * action + self.push


def squares(state, action):
    return (state**2).sum() + (action**2).sum()


def test_the_gain_of_a_sum_is_the_golden_ratio():
    # P = 1 + P − P²/(1 + P) gives P = φ, hence K = φ/(1 + φ) = 1/φ.
    found = LinearFeedback.regulator(Scalar(), squares, np.zeros(1))
    np.testing.assert_allclose(found.gains, [[(np.sqrt(5) - 1) / 2]], rtol=1e-12)
    np.testing.assert_array_equal(found.target(), [0.0])


def test_the_effort_that_holds_the_equilibrium_is_given_there():
    found = LinearFeedback.regulator(Scalar(push=0.3), squares, np.array([2.0]))
    np.testing.assert_allclose(found(jnp.array([2.0])), [-0.3], rtol=1e-12)


def test_a_cost_without_effort_takes_full_effort_for_a_hundredth():
    def position(state, action):
        return (state**2).sum()

    dynamics = Scalar()
    dynamics.effort_limits = np.array([5.0])  # type: ignore
    # P = 1 + P r / (P + r) with r = 0.01 / 5².
    r = 0.01 / 25
    p = (1 + np.sqrt(1 + 4 * r)) / 2
    found = LinearFeedback.regulator(dynamics, position, np.zeros(1))
    np.testing.assert_allclose(found.gains, [[p / (p + r)]], rtol=1e-9)


def test_friction_does_not_count_as_damping():
    twin = ro.Twin(ro.load_urdf(ARM), 1 / 240, implicit_damping=True)
    rough = eqx.tree_at(lambda t: t.robot.friction, twin, jnp.array([0.1, 0.1]))
    cost, hanging = squares, np.zeros(4)
    found = [LinearFeedback.regulator(t, cost, hanging).gains for t in (twin, rough)]
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_what_no_effort_stabilizes_is_refused():
    with pytest.raises(ro.RobooptError, match="`target` must be an equilibrium that"):
        LinearFeedback.regulator(Scalar(gain=0.0), squares, np.zeros(1))
