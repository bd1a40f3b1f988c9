"""Damping and friction on the velocity after a step."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs.arm
from roboopt_envs.arm import ArmReach

import roboopt as ro
from roboopt import Twin

TWO_LINK = Path(roboopt_envs.arm.__file__).parent / "assets" / "two_link.urdf"


@pytest.fixture(scope="module")
def twin():
    env = ArmReach("iiwa")
    yield Twin.from_env(env)
    env.close()


def test_a_step_by_its_formula(twin):
    # v′ = v + Δt (M + Δt D)⁻¹ (τ − h − D v), D = d + c·tanh(v/v_s)/v, v_s = 0.01.
    assert twin.implicit_damping
    friction = jnp.linspace(0.0, 0.6, 7)
    twin = eqx.tree_at(lambda t: t.robot.friction, twin, friction)
    robot, dt = twin.robot, twin.time_step
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1, 3.0):
        q, v = rng.normal(size=7), size * rng.normal(size=7)
        effort = 20 * rng.normal(size=7)
        resistance = robot.damping + friction * np.tanh(v / 0.01) / v
        matrix = robot.mass_matrix(jnp.asarray(q)) + dt * np.diag(resistance)
        push = effort - robot.bias(jnp.asarray(q), jnp.asarray(v)) - resistance * v
        after = v + dt * np.linalg.solve(matrix, push)
        found = twin(jnp.asarray([*q, *v]), jnp.asarray(effort))
        np.testing.assert_allclose(found[7:], after, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[:7], q + dt * after, rtol=1e-12)


def test_friction_at_rest_is_finite_and_differentiable(twin):
    twin = eqx.tree_at(lambda t: t.robot.friction, twin, jnp.full(7, 0.3))
    for speed in (0.0, 1e-9, 1e-6, 1e-5):
        state = jnp.concatenate([jnp.full(7, 0.2), jnp.full(7, speed)])
        jacobian = jax.jit(jax.jacfwd(twin))(state, jnp.zeros(7))
        assert jnp.isfinite(jacobian).all()
        step = jnp.linspace(-1e-6, 1e-6, 14)
        ahead, behind = (twin(state + x, jnp.zeros(7)) for x in (step, -step))
        np.testing.assert_allclose(
            (ahead - behind) / 2, jacobian @ step, rtol=1e-5, atol=1e-12
        )


def test_without_damping_and_friction_both_steps_are_one(twin):
    still = eqx.tree_at(lambda t: t.robot.damping, twin, jnp.zeros(7))
    explicit = dataclasses.replace(still, implicit_damping=False)
    state, action = jnp.linspace(-1, 1, 14), jnp.linspace(-9, 9, 7)
    np.testing.assert_array_equal(still(state, action), explicit(state, action))
    damped = dataclasses.replace(twin, implicit_damping=False)
    assert np.abs(twin(state, action) - damped(state, action)).max() > 1e-3


@pytest.mark.parametrize("friction", [0.0, 0.3])
def test_the_efforts_of_its_own_motions_are_found_to_rounding(friction):
    robot = ro.load_urdf(TWO_LINK)
    robot = eqx.tree_at(lambda r: r.friction, robot, jnp.full(2, friction))
    robot = eqx.tree_at(lambda r: r.damping, robot, jnp.array([2.0, 5.0]))
    twin = ro.Twin(robot, 1 / 240, implicit_damping=True)
    efforts = np.random.default_rng(0).uniform(-5, 5, (50, 2))
    states = [jnp.array([0.3, -0.5, 0.4, 1.0])]
    for effort in efforts:
        states.append(twin(states[-1], jnp.asarray(effort)))
    run = ro.Trajectory(np.array(states), efforts, 1 / 240)
    model = ro.dynamics.ParametricTwin(twin, ("mass", "damping"))
    error = ro.objectives.InverseDynamicsError().errors(model, run)
    assert np.abs(error).max() < 1e-10
