"""Excitation: information by hand, its laws, and a motion that keeps its
promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from dynamics.hand_robots import write_pendulum
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleSwingUp

import roboopt as ro
from roboopt.objectives import ExcitationCost
from roboopt.policies import FourierReference, TrackingController
from roboopt.sysid import design_excitation

TIMES = jnp.array([0.0, 1.0])


def still_then_fast(time):
    """q = 0; at time 1 with q̇ = 2 rad/s and q̈ = 3 rad/s²."""
    return 0.0 * time[None], 2.0 * time[None], 3.0 * time[None]


@pytest.fixture
def pendulum(tmp_path):
    path = write_pendulum(tmp_path / "p.urdf", more='<dynamics damping="0.5"/>')
    robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    return ro.dynamics.ParametricTwin(ro.Twin(robot, 1 / 240), free=("mass", "damping"))


def test_information_by_hand(pendulum):
    # ID = m (0.05 + 0.25) q̈ − m g 0.5 cos q + d q̇ with 0.6 kg·m² at m = 2 kg. Over
    # ln m it slopes by 0.6 q̈ − 9.81 cos q: −9.81 and −8.01 N·m at the two instants.
    # Over d it slopes by q̇, times its span of 0.6 N·m·s/rad: 0 and 1.2 N·m.
    # With a noise of 0.1 N·m: J = [−98.1, 0; −80.1, 12].
    objective = ExcitationCost(
        pendulum, np.array([10.0]), noise=np.array([0.1]), velocity_limits=np.ones(1)
    )
    gravity = -float(pendulum.robot.gravity_effort(jnp.zeros(1))[0])
    slopes = np.array([[-gravity, 0.0], [1.8 - gravity, 1.2]]) / 0.1
    assert gravity == pytest.approx(9.81, abs=0.01)
    information = slopes.T @ slopes
    np.testing.assert_allclose(
        objective.information(still_then_fast, TIMES), information, rtol=1e-9
    )
    (a, b), (_, c) = information + np.eye(2)
    terms = objective.terms(still_then_fast, TIMES)
    # Efforts: −9.81, and 1.8 − 9.81 + 0.5·2 = −7.01: within 10 N·m. Speeds: 2 rad/s is
    # over 1 rad/s by 1, at one of two instants: 1²/2.
    values = {name: float(term.value) for name, term in terms.items()}
    assert values == {
        "information": pytest.approx(-np.log(a * c - b * b) / 2, rel=1e-9),
        "effort_excess": 0.0,
        "velocity_excess": 0.5,
    }
    # A limit of 5 N·m is exceeded by 0.962 and 0.402 of itself.
    tight = ExcitationCost(pendulum, np.array([5.0]), effort_weight=2.0)
    excess = tight.terms(still_then_fast, TIMES)["effort_excess"]
    efforts = np.array([gravity, gravity - 2.8])
    assert float(excess.value) == pytest.approx(np.mean((efforts / 5 - 1) ** 2))
    assert excess.weight == 2.0


@pytest.mark.slow
def test_more_instants_tell_no_less_and_what_cannot_be_told_costs_nothing(pendulum):
    objective = ExcitationCost(pendulum, np.array([10.0]))
    still = objective.terms(still_then_fast, jnp.zeros(1))["information"].value
    # Standing still tells of the mass only: log det(diag(1 + J², 1)), with the noise
    # of 1 % of 10 N·m.
    gravity = float(pendulum.robot.gravity_effort(jnp.zeros(1))[0])
    assert float(still) == pytest.approx(-np.log(1 + (gravity / 0.1) ** 2) / 2)
    assert objective.terms(still_then_fast, TIMES)["information"].value < still


def test_gradient_matches_finite_differences(pendulum):
    motion = FourierReference.random(pendulum.robot, 2.0, 2, jax.random.key(0))
    objective = ExcitationCost(
        pendulum, np.array([3.0]), velocity_limits=np.array([0.5])
    )
    times = jnp.linspace(0.0, 2.0, 7)
    leaves, structure = jax.tree.flatten(motion)

    def value(leaves):
        return objective(jax.tree.unflatten(structure, leaves), times)

    assert_derivatives(value, (leaves,))


@pytest.mark.slow
def test_a_designed_motion_tells_more_and_keeps_its_limits_in_bullet():
    env = ArmReach("two-link", duration=2.0)
    twin = ro.Twin.from_env(env)
    model = ro.dynamics.ParametricTwin(twin, free=("mass", "damping"))
    limits = {
        "effort_limits": 0.8 * env.effort_limits,
        "velocity_limits": np.array([4.0, 6.0]),
    }
    designed, first = (
        design_excitation(
            model,
            duration=2.0,
            time_step=env.time_step,
            harmonics=3,
            starts=1,
            steps=steps,
            **limits,
        )
        for steps in (25, 1)
    )
    judge = ExcitationCost(model, **limits)
    times = jnp.linspace(0.0, 2.0, 100, endpoint=False)
    before, after = judge(first, times), judge(designed, times)
    assert after < before - 0.5
    controller = TrackingController.from_limits(
        twin.robot, designed, env.effort_limits, env.time_step
    )
    start = np.asarray(designed(0.0)[0])
    run = ro.rollouts.collect(
        env, controller, starts=np.concatenate([start, 0 * start, start])[None], seed=0
    )
    q, velocity = run.observations[0, :, :2], run.observations[0, :, 2:4]
    # Four fifths of the limits are for the motion, the rest for the feedback.
    assert (np.abs(q) < np.pi / 2).all()
    assert (np.abs(velocity) < limits["velocity_limits"]).all()
    assert (np.abs(np.asarray(run.efforts)) < limits["effort_limits"]).all()
    env.close()


BAD = [
    ({"effort_limits": np.ones(2)}, "`effort_limits` must hold a positive number"),
    (
        {"effort_limits": np.array([np.inf])},
        "`effort_limits` must hold a positive",
    ),
    ({"velocity_limits": -np.ones(1)}, "`velocity_limits` must hold a positive"),
    ({"noise": np.zeros(1)}, "`noise` must hold a positive number"),
    ({"effort_weight": -1.0}, "`effort_weight` must be finite"),
    ({"velocity_weight": -1.0}, "`velocity_weight` must be finite"),
]


@pytest.mark.parametrize("changes, match", BAD)
def test_bad_settings_are_refused(changes, match, pendulum):
    with pytest.raises(ValueError, match=match):
        ExcitationCost(pendulum, **{"effort_limits": np.ones(1), **changes})


def test_a_joint_without_actuator_is_refused():
    env = CartPoleSwingUp()
    model = ro.dynamics.ParametricTwin(ro.Twin.from_env(env), free=("mass",))
    with pytest.raises(ValueError, match="actuator at each of its 2 joints.*got 1"):
        ExcitationCost(model, np.ones(2))
    env.close()


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"duration": 1e-3}, "`duration` must be finite and at least one"),
        ({"time_step": 0.0}, "`duration` must be finite and at least one"),
        ({"starts": 0}, "`starts` must be at least 1, got 0"),
    ],
)
def test_bad_designs_are_refused(changes, match, pendulum):
    settings = {"duration": 2.0, "time_step": 0.01, "effort_limits": np.ones(1)}
    with pytest.raises(ValueError, match=match):
        design_excitation(pendulum, **{**settings, **changes})
