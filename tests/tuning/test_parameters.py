from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt import explain
from roboopt._core import Frozen
from roboopt.policies import Clipped, LinearFeedback, MLPPolicy
from roboopt.tuning import named_arrays
from roboopt.tuning._joints import Joints
from roboopt.tuning._parameters import MAX_ROWS, named_by_joint, parameter_table

CART_POLE = Joints(("cart", "pole"), (False, True), (0,), (10.0,), (), ())


def test_gains_are_named_by_what_they_act_on():
    before = LinearFeedback(jnp.array([[1.0, 2.0, 4.0, 8.0]]))
    after = LinearFeedback(jnp.array([[1.0, 1.0, 6.0, 8.0]]))
    after = Clipped(after, -10.0, 10.0)
    assert parameter_table(before, after, CART_POLE).rows == [
        ["gains[cart, cart] [N/m]", "1", "1", "+0.0 %"],
        ["gains[cart, pole] [N/rad]", "2", "1", "−50.0 %"],
        ["gains[cart, cart velocity] [N·s/m]", "4", "6", "+50.0 %"],
        ["gains[cart, pole velocity] [N·s/rad]", "8", "8", "+0.0 %"],
    ]


class Model(eqx.Module):
    log_stiffness: Any
    robot: Any


def test_logarithms_are_shown_as_what_they_stand_for_and_given_parts_are_not():
    model = Model(jnp.log(jnp.array([3.0])), Frozen(jnp.ones(2)))
    (name, value), *others = named_arrays(model).items()
    assert name == "stiffness" and not others
    np.testing.assert_allclose(value, 3.0)


def test_an_explanation_names_logarithms_by_joint_too():
    model = Model(jnp.log(jnp.array([3.0, 2.0])), None)
    found = explain(lambda m, batch: jnp.exp(m.log_stiffness).sum(), model, None)
    found = named_by_joint(found, model, CART_POLE)
    assert found.names == ("stiffness[cart]", "stiffness[pole]") == found.logarithms


def test_a_network_is_a_row_an_array():
    network = MLPPolicy.bounded(np.ones(4), np.ones(1), key=jax.random.key(0), width=8)
    rows = parameter_table(network, network, CART_POLE).rows
    assert sum(a.size for a in named_arrays(network).values()) > MAX_ROWS
    assert len(rows) == len(named_arrays(network))
    assert all("root mean square" in row[0] and row[3] == "+0.0 %" for row in rows)
