"""The efforts are a matrix times the linear parameters, and condensed ones keep all."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pybullet_data
import pytest

from roboopt.data import Trajectory, sliding_windows
from roboopt.dynamics import (
    ParametricTwin,
    Twin,
    effort_matrix,
    efforts_are_linear,
    linear_parameters,
    load_urdf,
)
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, CondensedEffortError, is_condensable

CASES = Path(__file__).parents[1] / "cases"
ROBOTS = (
    CASES / "recordings" / "arm3.urdf",
    CASES / "urdf" / "u3_mimic_gripper.urdf",
    Path(pybullet_data.getDataPath(), "cartpole.urdf"),
)
FREE = (
    *("mass", "center_of_mass", "extent", "shear", "damping", "friction", "armature"),
    "effort_offset",
)
STEP = 1e-2


def parametric(path, implicit=False, damped=0.0):
    """Return a twin with friction and armature, parameters moved from the file."""
    robot = load_urdf(path, linear_damping=damped, angular_damping=damped)
    robot = dataclasses.replace(
        robot, friction=robot.friction + 0.3, armature=robot.armature + 0.1
    )
    joints = tuple(range(len(robot.joint_names)))
    twin = Twin(robot, STEP, actuated=joints, implicit_damping=implicit)
    return moved(ParametricTwin(twin, FREE), 1)


def moved(model, seed):
    shift = 0.1 * np.random.default_rng(seed).normal(size=len(model.names))
    return eqx.tree_at(lambda m: m.coordinates, model, model.coordinates + shift)


@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("implicit", [False, True])
def test_the_matrix_times_the_numbers_is_the_inverse_dynamics(path, implicit):
    model = parametric(path, implicit)
    motion = jnp.asarray(np.random.default_rng(0).normal(size=(3, model.joints)))
    effort = model.inverse_dynamics(*motion, STEP)
    q, velocity, acceleration = motion
    matrix = effort_matrix(model, q, velocity, acceleration, STEP)
    found = matrix @ linear_parameters(model)
    np.testing.assert_allclose(found, effort, rtol=0, atol=1e-13 * np.abs(effort).max())


WEIGHTS = np.array([0.05, 0.2, 0.1, 0.3, 0.2, 0.1, 0.05])


@pytest.mark.parametrize(
    "settings",
    [{}, {"central": True}, {"filter": WEIGHTS}, {"filter": WEIGHTS, "every": 2}],
)
@pytest.mark.parametrize("count", [7, 1500])
def test_condensed_efforts_have_the_value_of_the_recordings(settings, count):
    model = parametric(ROBOTS[0], implicit=True)
    generator, joints = np.random.default_rng(2), model.joints
    runs = [
        Trajectory(
            generator.normal(size=(count + 1, 2 * joints)),
            generator.normal(size=(count, joints)),
            STEP,
        )
        for _ in range(2)
    ]
    data = sliding_windows(runs, count)
    scale = np.array([2.0, np.inf, 0.5])
    error = InverseDynamicsError(scale=scale, **settings)
    batch = Condensed.of(error, model, data).batch()
    for seed in (3, 4):
        other = moved(model, seed)
        whole = 0.5 * np.mean(np.asarray(error.residuals(other, data)) ** 2)
        short = CondensedEffortError(scale).residuals(other, batch)
        assert 0.5 * np.mean(np.asarray(short) ** 2) == pytest.approx(whole, rel=1e-12)


def test_what_is_not_linear_is_not_condensed():
    error = InverseDynamicsError(scale=np.ones(3))
    model = parametric(ROBOTS[0])
    assert efforts_are_linear(model) and is_condensable(error, model)
    assert not is_condensable(error, parametric(ROBOTS[0], damped=0.04))
    assert not is_condensable(dataclasses.replace(error, loss="l1"), model)
    twin = model.inner
    for free in ("effort_gain", "position_offset", "delay"):
        assert not efforts_are_linear(ParametricTwin(twin, (free, "mass")))
