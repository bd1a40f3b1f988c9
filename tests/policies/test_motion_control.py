"""Controllers of joints and tools: each formula, its memory, text, files and export."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs
from roboopt_envs.tasks import ToolChain, TrackTrajectory

import roboopt as ro
from roboopt import RobooptError
from roboopt.export import export_numpy
from roboopt.policies import (
    PID,
    CartesianImpedance,
    ComputedTorque,
    ControlLaw,
    ErrorFeedback,
    LinearFeedback,
    PDGravityCompensation,
)
from roboopt.urdf import read_urdf

URDF = Path(roboopt_envs.__file__).parent / "assets" / "two_link.urdf"
ROBOT = ro.load_urdf(URDF)
Q, V = jnp.array([0.3, -0.5]), jnp.array([0.2, 0.4])
R = jnp.array([0.4, -0.3])
RATE, ACCELERATION = jnp.array([1.0, -1.0]), jnp.array([3.0, 2.0])
MOVING = jnp.concatenate([Q, V, R, RATE, ACCELERATION])
TWO = np.ones(2)


def test_pid_by_hand():
    # At first the filter has settled: τ = 10·0.1 + 2·(1 − 0.2) = 2.6 N·m at the
    # shoulder. Half a second later I = 0.5·4·0.1 = 0.2 N·m, with the error still 0.1.
    # The filter has kept exp(−0.5/0.5) of its value as the speed is that of r now.
    policy = PID(ROBOT, 10 * TWO, 2 * TWO, 4 * TWO, 0.5 * TWO, np.full(2, np.inf))
    carry, effort = policy(policy.init(None), MOVING, jnp.array(0.0))
    np.testing.assert_allclose(effort[0], 2.6, rtol=1e-12)
    later = jnp.concatenate([Q, RATE, R, RATE, ACCELERATION])
    carry, effort = policy(carry, later, jnp.array(0.5))
    wanted = 1.0 + 2 * 0.8 * np.exp(-1)
    np.testing.assert_allclose(effort[0], wanted, rtol=1e-12)
    _, effort = policy(carry, later, jnp.array(0.5))
    np.testing.assert_allclose(effort[0], wanted + 0.2, rtol=1e-12)


def test_the_integral_does_not_wind_up():
    # τ is cut at 1 N·m: in equilibrium 4·0.1 = 4/10·(τ − 1), so τ stays at 2 N·m.
    policy = PID(ROBOT, 10 * TWO, 2 * TWO, 4 * TWO, 0.5 * TWO, TWO)
    carry, effort, still = policy.init(None), TWO, jnp.concatenate([Q, 0 * V, R])
    for time in np.arange(0.0, 40.0, 0.05):
        carry, effort = policy(carry, still, jnp.array(time))
    np.testing.assert_allclose(effort[0], 2.0, rtol=0.02)


def test_pd_follows_the_velocity_of_a_reference_and_stops_at_a_goal():
    policy = PDGravityCompensation(ROBOT, 10 * TWO, 2 * TWO)
    gravity = ROBOT.gravity_effort(Q)
    np.testing.assert_allclose(policy(MOVING) - gravity, [2.6, -0.8], rtol=1e-12)
    still = policy(MOVING[:6]) - gravity
    np.testing.assert_allclose(still, [0.6, 1.2], rtol=1e-12)


def test_computed_torque_makes_the_errors_linear():
    policy = ComputedTorque(ROBOT, 100 * TWO, 14 * TWO)
    resisted = policy(MOVING)
    acceleration = ROBOT.forward_dynamics(Q, V, resisted)
    wanted = ACCELERATION + 100 * (R - Q) + 14 * (RATE - V)
    np.testing.assert_allclose(acceleration, wanted, rtol=1e-9)


@pytest.mark.parametrize("offset", [(0.0, 0.0, 0.0), (0.1, -0.2, 0.3)])
def test_impedance_is_a_spring_and_a_damper_on_the_tool(offset):
    tool = np.array([50.0, 60.0, 70.0]), np.array([5.0, 6.0, 7.0])
    policy = CartesianImpedance(ROBOT, "tool", *tool, 3 * TWO, 0.5 * TWO, offset)
    place = ToolChain.from_urdf(read_urdf(URDF), "tool", offset).position
    jacobian = jax.jacfwd(place)
    speed = jacobian(R) @ RATE - jacobian(Q) @ V
    force = tool[0] * (place(R) - place(Q)) + tool[1] * speed
    wanted = jacobian(Q).T @ force + 3 * (R - Q) + 0.5 * (RATE - V)
    found = policy(MOVING) - ROBOT.gravity_effort(Q)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    with pytest.raises(RobooptError, match="`link`"):
        CartesianImpedance(ROBOT, "hand", *tool, TWO, TWO)
    with pytest.raises(RobooptError, match="`tool_offset`"):
        CartesianImpedance(ROBOT, "tool", *tool, TWO, TWO, (0.1, 0.2))


def track_cost():
    chain = ToolChain.from_urdf(read_urdf(URDF), "tool")
    rows = ((0.0, 0.0), (0.1, 0.1))
    return TrackTrajectory(chain, (0.0, 1.0), rows, (1.0, 1.0), (5.0, 5.0)).cost_rate


@pytest.mark.slow
def test_error_feedback_is_the_regulator_at_its_posture():
    # Near q = r the whole law, gravity included, is −K of the regulator of the cost
    # with 100 (τ/limit)² added.
    twin = ro.Twin(ROBOT, 1 / 240, effort_limits=np.array([12.0, 3.0]))
    policy = ErrorFeedback.regulator(twin, track_cost(), R, moving=True)
    goal = jnp.concatenate([R, jnp.zeros(4)])
    rest = jnp.concatenate([R, jnp.zeros(2)])

    def cost(state, action):
        seen = jnp.concatenate([state, goal])
        return (
            track_cost()(seen, action)
            + 100 * ((action / twin.effort_limits) ** 2).sum()
        )

    whole = jax.jit(jax.jacfwd(lambda s: policy(jnp.concatenate([s, goal]))))(rest)
    wanted = -LinearFeedback.regulator(twin, cost, rest).gains
    np.testing.assert_allclose(whole, wanted, rtol=1e-9)


def spring(gains, observation):
    return gains["k"] * (observation[4:6] - observation[:2]) - gains["d"]


def test_a_law_of_ones_own_has_gains_and_a_file(tmp_path):
    gains, units = {"k": [3.0, 4.0], "d": 0.5}, {"k": "N·m/rad"}
    policy = ControlLaw(spring, gains, units)
    np.testing.assert_allclose(policy(MOVING), [-0.2, 0.3], atol=1e-12)
    slope = jax.jit(jax.grad(lambda p: p(MOVING).sum()))(policy)
    np.testing.assert_allclose(slope.gains["k"], [0.1, 0.2], rtol=1e-12)
    assert "k: [3, 4] N·m/rad" in str(policy) and "spring" in str(policy)
    ro.save(tmp_path / "law.npz", policy)
    loaded = ro.load(tmp_path / "law.npz", allow=[spring])
    np.testing.assert_array_equal(loaded(MOVING), policy(MOVING))
    for wrong in ({"law": 3}, {"gains": {}}, {"units": {"m": "kg"}}):
        with pytest.raises(RobooptError, match="`law`|`gains`"):
            ControlLaw(**{"law": spring, "gains": gains, **wrong})


def test_gains_of_a_law_of_ones_own_stay_positive(tmp_path):
    policy = ControlLaw(spring, {"k": [3.0, 4.0], "d": -0.5}, positive=["k"])
    np.testing.assert_allclose(policy(MOVING), [0.8, 1.3], rtol=1e-12)
    slope = jax.jit(jax.grad(lambda p: p(MOVING).sum()))(policy)
    np.testing.assert_allclose(slope.gains["log_k"], [0.3, 0.8], rtol=1e-12)
    away = jax.tree.map(lambda leaf: leaf - 50.0, policy)
    assert np.all(away.values["k"] > 0) and away.values["d"] == -50.5
    assert "k: [3, 4]" in str(policy)
    ro.save(tmp_path / "law.npz", policy)
    loaded = ro.load(tmp_path / "law.npz", allow=[spring])
    np.testing.assert_array_equal(loaded(MOVING), policy(MOVING))
    for positive in ("m", "d", ["k", "d"]):
        with pytest.raises(RobooptError, match="`positive` must name gains"):
            ControlLaw(spring, {"k": [3.0, 4.0], "d": -0.5}, positive=positive)


LIMITS = np.array([12.0, 3.0])
POLICIES = {
    "pid": PID.from_limits(ROBOT, LIMITS, 1 / 240),
    "computed torque": ComputedTorque(ROBOT),
    "impedance": CartesianImpedance.from_limits(ROBOT, "tool", LIMITS, 1 / 240),
    "errors": ErrorFeedback(ROBOT, np.ones((2, 4))),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_controllers_are_printed_saved_and_exported(policy, tmp_path):
    assert "shoulder" in str(policy)
    ro.save(tmp_path / "controller.npz", policy)
    loaded = ro.load(tmp_path / "controller.npz")
    files = export_numpy(loaded, MOVING, tmp_path / "exported.npz")
    spec = importlib.util.spec_from_file_location("exported", files.runner)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    exported = module.Policy(files.arrays)
    carry = ro.policies.initial_carry(policy)
    for k in range(3):
        seen, time = MOVING * (1 + 0.1 * k), jnp.array(0.01 * k)
        carry, wanted = ro.policies.act(policy, carry, seen, time)
        given = (np.asarray(seen), float(time))
        found = exported(*given[: 2 if isinstance(policy, PID) else 1])
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
