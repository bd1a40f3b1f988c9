"""Asymmetric, Stribeck and load-dependent friction: in twin, environment and fit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach

import roboopt as ro
from roboopt.dynamics import ParametricTwin, with_friction
from roboopt.rollouts import collect, twin_rollout

from .test_commands import DC, Waves, bounds

LAW = {
    "viscous": (0.02, 0.01),
    "coulomb": (0.1, 0.05),
    "velocity": (0.01, 0.05),
    "asymmetry": (0.04, -0.02),
    "stribeck": (0.2, 0.1),
    "stribeck_velocity": (0.1, 0.3),
    "load": (0.2, 0.1),
}


@pytest.fixture(scope="module")
def plain():
    with ArmReach("two-link") as env:
        return ro.dynamics.load_env(env)


@pytest.fixture(scope="module")
def rough(plain):
    return with_friction(plain, **LAW)


def test_friction_by_its_formula(rough):
    # At q̇ = 0.1 and 3 v_b: with τ the motors' and h the links' efforts.
    q, velocity = jnp.array([0.3, -0.4]), jnp.array([0.1, -0.9])
    effort = jnp.array([1.0, -2.0])
    needed = np.asarray(rough.bias(q, velocity))
    smooth = np.tanh(np.array([10.0, -18.0]))
    factor = np.array([0.1, 0.05]) + np.array([0.04, -0.02]) * smooth
    factor += np.array([0.2, 0.1]) * np.exp([-1.0, -9.0])
    factor += np.array([0.2, 0.1]) * np.abs(np.asarray(effort) + needed) / 2
    friction = np.array([0.02, 0.01]) * np.asarray(velocity) + factor * smooth
    found = rough.forward_dynamics(q, velocity, effort)
    matrix = np.asarray(rough.mass_matrix(q))
    expected = np.linalg.solve(matrix, np.asarray(effort) - friction - needed)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    # The effort that this acceleration needs is the effort that was given.
    again = rough.inverse_dynamics(q, velocity, found)
    np.testing.assert_allclose(again, effort, rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{}, {"interface": "position"}, {"interface": "voltage", "drive": DC}],
    ids=str,
)
def test_the_twin_is_rough_as_the_environment_is(rough, options):
    env = ArmReach("two-link", model=rough, duration=3.0, **options)
    high = np.minimum(bounds(env)[1], 3.0)
    policy = Waves(jnp.zeros(2), jnp.asarray(0.3 * high))
    starts = env.sample_starts(1, seed=0)
    there = collect(env, policy, starts=starts)
    here = eqx.filter_jit(twin_rollout(env).require())(policy, jnp.asarray(starts))
    for name in ("observations", "efforts"):
        gap = np.abs(np.asarray(getattr(here, name)) - getattr(there, name)).max()
        assert gap < 1e-9, (name, gap)
    env.close()


def test_the_derivatives_are_those_of_the_steps(rough):
    twin = ro.Twin(rough, 1 / 240, implicit_damping=True)
    state, action = jnp.array([0.3, -0.2, 0.5, -0.4]), jnp.array([0.5, 0.1])
    explicit = ro.Twin(rough, 1 / 240)
    for made in (twin, explicit):
        slope = jax.jacfwd(made)(state, action)
        step = 1e-6 * jnp.array([1.0, -2.0, 3.0, 1.0])
        ends = made(state + step, action) - made(state - step, action)
        np.testing.assert_allclose(ends / 2, slope @ step, rtol=1e-6)


def test_every_part_of_the_law_is_a_parameter(plain, rough):
    names = ("friction*", "stribeck_*", "load_friction", "damping")
    smooth = with_friction(plain, coulomb=0.05)
    model = ParametricTwin(ro.Twin(smooth, 1 / 240, implicit_damping=True), names)
    assert len(model.names) == 7 * 2
    values = {
        "damping": LAW["viscous"],
        "friction": LAW["coulomb"],
        "friction_velocity": np.log(LAW["velocity"]),
        "friction_asymmetry": LAW["asymmetry"],
        "stribeck_friction": LAW["stribeck"],
        "stribeck_velocity": np.log(LAW["stribeck_velocity"]),
        "load_friction": LAW["load"],
    }
    joints, coordinates = plain.joint_names, np.array(model.coordinates)
    for name, pair in values.items():
        for joint, value in zip(joints, pair, strict=True):
            coordinates[model.names.index(f"{name}[{joint}]")] = value
    model = eqx.tree_at(lambda m: m.coordinates, model, jnp.asarray(coordinates))
    twin = ro.Twin(rough, 1 / 240, implicit_damping=True)
    state, action = jnp.array([0.3, -0.2, 0.5, -0.4]), jnp.array([0.5, 0.1])
    np.testing.assert_allclose(model(state, action), twin(state, action), rtol=1e-12)


@pytest.mark.parametrize(
    "bad, match",
    [
        ({"load": -0.1}, "`load` must be at least 0 and less than 2, got -0.1"),
        ({"load": 2.0}, "`load` must be at least 0 and less than 2, got 2"),
        ({"asymmetry": np.inf}, "`asymmetry` must be finite"),
        ({"stribeck_velocity": 0.0}, "`stribeck_velocity` must be positive"),
        ({"coulomb": 0.1, "asymmetry": 0.2}, "`asymmetry` must not exceed"),
        ({"coulomb": (0.1, 0.2, 0.3)}, "`coulomb` must be one number or one"),
    ],
)
def test_impossible_friction_is_refused(plain, bad, match):
    with pytest.raises(ro.RobooptError, match=match):
        with_friction(plain, **bad)
