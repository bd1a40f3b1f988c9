"""Controllers, policies and terms print numbers with units, never array types."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import roboopt_envs

import roboopt as ro
from roboopt.policies import (
    EnergyShapingSwingUp,
    GaussianExploration,
    LinearFeedback,
    MLPPolicy,
    PDGravityCompensation,
    TrackingController,
)

KEY = jax.random.key(0)
ASSETS = Path(roboopt_envs.__file__).parent / "assets"
ARM = ro.load_urdf(ASSETS / "two_link.urdf")


def test_terms_have_units():
    term = ro.Term(jnp.array(0.7263), 1.0, "s")
    assert repr(term) == "0.7263 s (weight 1)"
    assert repr({"a": term}) == "{'a': 0.7263 s (weight 1)}"
    assert repr(ro.Term(jnp.array(2.0), 0.1, "1")) == "2 (weight 0.1)"
    seen = []

    @jax.jit
    def traced(x):
        seen.append(repr(ro.Term(x, 1.0, "J")))
        return x

    traced(jnp.ones(3))
    assert seen == ["<array of 3> J (weight 1)"]


def test_linear_feedback_shows_its_gains():
    text = repr(LinearFeedback(np.array([[1.0, -2.5]]), np.array([0.1, 0.0])))
    assert "gains=[[1, -2.5]] N/m or N·m/rad, N·s/m or N·m·s/rad," in text
    assert "target=[0.1, 0] m or rad, m/s or rad/s," in text


def test_gains_are_shown_by_joint_in_units():
    first, second = ARM.joint_names
    policy = PDGravityCompensation(ARM, np.array([80.0, 20.0]), np.array([8.0, 2.0]))
    for controller in (
        policy,
        TrackingController(ARM, abs, policy.stiffness, policy.damping),
    ):
        text = repr(controller)
        assert f"{first}: 80 N·m/rad, 8 N·m·s/rad" in text
        assert f"{second}: 20 N·m/rad, 2 N·m·s/rad" in text
    cart = ro.load_urdf(ASSETS / "cart_pole.urdf")
    swing = EnergyShapingSwingUp(cart, np.ones(4), energy_gain=3.0)
    assert "energy_gain=3 1/(J·kg·s)" in repr(swing)


def test_networks_show_their_sizes():
    policy = MLPPolicy.bounded(np.ones(4), np.ones(2), key=KEY, width=16)
    assert "MLP(layers=4 → 16 → 16 → 2, activation=tanh)" in repr(policy)
    exploring = GaussianExploration(policy, 0.1)
    assert "4 → 16 → 16 → 2" in repr(exploring) and "spread=0.1" in repr(exploring)


def test_no_module_shows_array_types():
    policy = MLPPolicy.bounded(np.ones(4), np.ones(2), key=KEY)
    arm = PDGravityCompensation(ARM, np.ones(2), np.ones(2))
    critic = eqx.nn.Linear(4, 1, key=KEY)
    for thing in (
        policy,
        arm,
        ARM,
        ro.policies.GravityCompensated(arm, ARM),
        ro.policies.ActorCritic(GaussianExploration(policy, 1.0), critic),
        ro.policies.Clipped(policy, -1.0, np.inf),
        ro.Frozen(jnp.ones((30, 3))),
        ro.ActionMismatch([1.0, 2.0], loss="huber"),
    ):
        text = repr(thing)
        assert "f64[" not in text and "f32[" not in text and "[0x" not in text
    assert repr(ro.ActionMismatch([1.0, 2.0])) == (
        "ActionMismatch(scale=[1, 2], loss=L2())"
    )
    assert repr(ro.Frozen(jnp.ones((30, 3)))) == "<array of 30 × 3>"


def test_no_line_is_longer_than_a_terminal():
    gains = np.full((2, 16), -123.4)
    clipped = ro.policies.Clipped(LinearFeedback(gains, np.ones(16)), -1.0, 1.0)
    for thing in (LinearFeedback(gains), clipped, GaussianExploration(clipped, 0.1)):
        assert max(map(len, repr(thing).splitlines())) <= 80, repr(thing)


def test_a_trajectory_shows_sizes_and_the_time_step():
    run = ro.Trajectory(
        np.zeros((3, 201, 3)), np.zeros((3, 200, 1)), 0.02, rewards=np.zeros((3, 200))
    )
    assert repr(run) == (
        "Trajectory(\n  observations=3 × 201 × 3,\n  actions=3 × 200 × 1,\n"
        "  time_step=0.02 s,\n  rewards=3 × 200,\n)"
    )
