"""Policies of observations of another size, wherever policies are called."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.cart_pole import URDF

import roboopt as ro

SAID = "must take observations of 4 numbers, got one that takes 7"


def network(size):
    return eqx.nn.MLP(size, 1, 8, 1, key=jax.random.key(0))


@pytest.mark.parametrize(
    "policy",
    [network(7), lambda seen: jnp.ones((1, 7)) @ seen],
    ids=["MLP", "function"],
)
def test_a_policy_of_another_size_is_refused(policy):
    twin = ro.Twin(ro.load_urdf(URDF), 0.01, actuated=(0,))
    with pytest.raises(ro.RobooptError, match=f"`policy` {SAID}"):
        ro.Rollout(twin, 2)(policy, np.zeros((1, 4)))
    with pytest.raises(ro.RobooptError, match=f"`policy` {SAID}"):
        ro.evaluate(gymnasium.make("CartPole-v1"), policy, episodes=1)
    with pytest.raises(ro.RobooptError, match="`model` (expects 7|must take)"):
        ro.ActionMismatch()(policy, (np.zeros((2, 4)), np.zeros((2, 1))))


def test_what_fails_at_any_size_is_no_matter_of_size():
    def broken(observation):
        return jnp.zeros(2) @ jnp.zeros(3)

    with pytest.raises(TypeError, match="dot_general"):
        ro.policies.act(broken, None, jnp.zeros(4), jnp.zeros(()))


def test_a_smaller_network_does_not_fit_demonstrations():
    with pytest.raises(ro.RobooptError, match="`model` must take.* takes 3"):
        ro.ActionMismatch()(network(3), (np.zeros((2, 4)), np.zeros((2, 1))))
