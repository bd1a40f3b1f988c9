"""Friction laws beyond Coulomb's are identified from recordings with noise."""

import dataclasses

import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import (
    ParametricTwin,
    Twin,
    effort_matrix,
    linear_parameters,
    load_urdf,
    with_friction,
)
from roboopt.sysid._friction_velocity import without_velocities

STEP = 0.004
TRUTH = {
    "damping": 4.0,
    "friction": 5.0,
    "friction_asymmetry": 1.0,
    "stribeck_friction": 3.0,
    "stribeck_velocity": 0.06,
}


def logged(seed, stribeck=TRUTH["stribeck_friction"]):
    """Return a slide of 3 kg, logged with noise."""
    random = np.random.default_rng(seed)
    time = STEP * np.arange(4001)
    rates = np.array([0.31, 0.73, 1.7])
    waves = rates * time[:, None] + random.uniform(0, 6, 3)
    position = 0.2 * (np.sin(waves) / rates).sum(1)
    velocity = 0.2 * np.cos(waves).sum(1)
    acceleration = -0.2 * (rates * np.sin(waves)).sum(1)
    side = np.tanh(velocity / 0.01)
    fall = np.exp(-((velocity / TRUTH["stribeck_velocity"]) ** 2))
    dry = TRUTH["friction"] + TRUTH["friction_asymmetry"] * side
    dry = (dry + stribeck * fall) * side
    effort = 3 * acceleration + TRUTH["damping"] * velocity + dry
    effort = effort + 0.1 * random.normal(size=len(time))
    seen = np.stack([position + 1e-6 * random.normal(size=len(time)), velocity], 1)
    return ro.Trajectory(seen, effort[:-1, None], STEP)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [[], ["stribeck_velocity"]])
def test_stribeck_friction_and_asymmetry_are_inside_their_intervals(urdf, scale):
    free = ["mass", "damping", "friction", "friction_asymmetry", "stribeck_friction"]
    result = ro.identify(urdf, [logged(0), logged(1)], free=[*free, *scale])
    report = result.identifiability
    assert report is not None and result.efforts is not None
    for name, true in TRUTH.items():
        number = report.names.index(f"{name}[rail]")
        half = (report.upper[number] - report.lower[number]) / 2
        assert half < 0.1 * true
        assert abs(report.values[number] - true) < 2 * half
    assert result.before.names == result.model.names
    assert result.efforts.unconstrained is not None
    # Least squares count the uncertainty of the velocity scales, as the intervals do.
    for one in result.efforts.base:
        if one.name in report.names:
            number = report.names.index(one.name)
            half = (report.upper[number] - report.lower[number]) / 2
            assert 0.7 * half < one.combination.half_width < 1.01 * half
    assert "falls with speed" not in str(result.summary())


@pytest.mark.slow
@pytest.mark.parametrize("stribeck", [3.0, 0.0])
def test_friction_that_falls_with_speed_is_said(urdf, stribeck):
    runs = [logged(0, stribeck), logged(1, stribeck)]
    free = ["mass", "damping", "friction", "effort_offset"]
    result = ro.identify(urdf, runs, free=free)
    said = " ".join(str(result.summary()).split())
    assert ("The friction of rail falls with speed" in said) == (stribeck > 0)
    if not stribeck:
        assert "The effort_offset of rail may be friction that depends" in said


@pytest.mark.parametrize("implicit", [False, True])
def test_efforts_are_linear_in_a_law(urdf, implicit):
    law = {"asymmetry": 0.3, "stribeck": 0.7, "stribeck_velocity": 0.2}
    robot = with_friction(load_urdf(urdf), coulomb=1.0, velocity=0.05, **law)
    robot = dataclasses.replace(robot, linear_damping=0.0, angular_damping=0.0)
    free = ["mass", "friction", "stribeck_friction"]
    model = ParametricTwin(Twin(robot, STEP, implicit_damping=implicit), free)
    numbers = linear_parameters(model)
    for velocity in (-0.3, -0.02, 0.0, 0.01, 0.2):
        q, speed, acceleration = np.array([[0.1], [velocity], [0.5]])
        matrix = effort_matrix(model, q, speed, acceleration, STEP)
        effort = model.inverse_dynamics(q, speed, acceleration, STEP)
        np.testing.assert_allclose(matrix @ numbers, effort, rtol=1e-12)


def test_single_precision_is_warned_of(urdf):
    with jax.enable_x64(False), pytest.warns(UserWarning, match="single precision"):
        with pytest.raises(ro.RobooptError, match="must hold motion"):
            still = ro.Trajectory(np.zeros((50, 2)), np.zeros((49, 1)), STEP)
            ro.identify(urdf, still)


def test_only_scales_of_friction_that_is_fitted_are_asked_for(urdf):
    twin = Twin(load_urdf(urdf), STEP)
    scales = ["friction_velocity[rail]", "stribeck_velocity[rail]"]
    for fitted, left in (
        (["friction", "stribeck_friction"], []),
        (["friction"], scales[1:]),
        (["damping"], scales),
    ):
        model = without_velocities(ParametricTwin(twin, [*fitted, *scales]))
        assert [n for n in model.names if "velocity" in n] == left
