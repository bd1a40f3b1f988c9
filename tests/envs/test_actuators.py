"""What motors draw, worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.tasks import Actuators


def test_power_by_hand():
    # P = 2·(1 + 3)/2 = 4 W and −3·(0.5 + 1.5)/2 = −3 W; heat 0.5·(2/4)² = 0.125 W and
    # 2·(3/1.5)² = 8 W.
    effort, before, after = np.array([2.0, -3.0]), np.array([1.0, 0.5]), [3.0, 1.5]
    plain = Actuators((0.5, 2.0), (4.0, 1.5))
    regenerative = Actuators((0.5, 2.0), (4.0, 1.5), regenerative=True)
    power = plain.mechanical_power(effort, before, np.array(after))
    np.testing.assert_allclose(power, [4.0, 3.0], rtol=1e-15)
    power = regenerative.mechanical_power(effort, before, np.array(after))
    np.testing.assert_allclose(power, [4.0, 0.0], rtol=1e-15)
    np.testing.assert_allclose(plain.joule_power(effort), [0.125, 8.0], rtol=1e-15)


@pytest.mark.parametrize("regenerative", [False, True])
def test_numpy_and_jax_agree_on_batches(regenerative):
    motors = Actuators((1.0, 0.5, 2.0), (0.3, 5.0, 1.0), regenerative)
    arrays = np.random.default_rng(0).normal(size=(3, 4, 5, 3))
    mechanical = jax.jit(motors.mechanical_power)(*jnp.asarray(arrays))
    joule = jax.jit(motors.joule_power)(jnp.asarray(arrays[0]))
    same = {"rtol": 1e-12, "atol": 0}
    np.testing.assert_allclose(mechanical, motors.mechanical_power(*arrays), **same)
    np.testing.assert_allclose(joule, motors.joule_power(arrays[0]), **same)
    one = motors.mechanical_power(*arrays[:, 2, 3])
    np.testing.assert_array_equal(one, motors.mechanical_power(*arrays)[2, 3])


@pytest.mark.parametrize("regenerative", [False, True])
def test_gradients_at_rest_are_zero(regenerative):
    motors = Actuators((1.0,), (1.0,), regenerative)

    def power(effort, velocity):
        return (motors.mechanical_power(effort, velocity, velocity)).sum()

    zero, one = jnp.zeros(1), jnp.ones(1)
    for effort, velocity in ((zero, zero), (one, zero), (zero, one)):
        for gradient in jax.grad(power, argnums=(0, 1))(effort, velocity):
            np.testing.assert_array_equal(gradient, [0.0])


@pytest.mark.parametrize(
    "resistance, constant, match",
    [
        ((1.0,), (1.0, 1.0), "must hold one value for each joint, got 1 and 2"),
        ((), (), "must hold one value for each joint"),
        ((-1.0,), (1.0,), "`resistance` must not be negative or infinite"),
        ((float("nan"),), (1.0,), "`resistance` must not be negative"),
        ((float("inf"),), (1.0,), "`resistance` must not be negative"),
        ((1.0,), (0.0,), "`torque_constant` must be positive and finite"),
        ((1.0,), (float("inf"),), "`torque_constant` must be positive"),
    ],
)
def test_bad_motors_are_refused(resistance, constant, match):
    with pytest.raises(ValueError, match=match):
        Actuators(resistance, constant)


def test_wrong_number_of_joints_is_refused():
    motors, effort = Actuators((1.0,), (1.0,)), np.ones(2)
    with pytest.raises(ValueError, match="`effort` must hold 1 joints"):
        motors.joule_power(effort)
    with pytest.raises(ValueError, match="`effort` must hold 1 joints"):
        motors.mechanical_power(effort, effort, effort)
