"""A joint that turns beyond the limits in its file is told from one in degrees."""

import dataclasses

import numpy as np
import pytest

import roboopt as ro

URDF = """<robot name="wheel"><link name="base"/><link name="rod"><inertial>
<origin xyz="0.5 0 0"/><mass value="2"/>
<inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="hinge" type="revolute"><parent link="base"/><child link="rod"/>
<axis xyz="0 1 0"/><limit lower="-3.1416" upper="3.1416" effort="50" velocity="9"/>
<dynamics damping="0"/></joint></robot>"""
STEP = 0.01


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "wheel.urdf"
    file.write_text(URDF)
    return file


def turned(weight=1.2, seed=0):
    """Return three turns to and fro, and the efforts of a heavier rod."""
    time = STEP * np.arange(2001)
    rates = 2 * np.pi / 10 * np.array([1.0, 5.0])
    waves, sizes = rates * time[:, None], np.array([9.0, 0.5])
    q = np.sin(waves) @ sizes
    velocity = np.cos(waves) @ (rates * sizes)
    acceleration = -np.sin(waves) @ (rates**2 * sizes)
    random = np.random.default_rng(seed)
    effort = weight * (0.51 * acceleration - 9.81 * np.cos(q))
    effort += 0.1 * velocity + 0.05 * random.normal(size=len(q))
    q = q + 1e-4 * random.normal(size=len(q))
    return ro.Trajectory(np.stack([q, velocity], 1), effort[:-1, None], STEP)


def identified(path, run):
    return ro.identify(path, run, error="effort", steps=2, free=["mass", "damping"])


def test_turns_are_read_with_a_warning(path):
    with pytest.warns(UserWarning, match="make the joint `continuous`"):
        found = identified(path, turned())
    (finding,) = (f for f in found.findings if f.code == "turns")
    assert finding.where == "joint hinge"
    values = dict(zip(found.model.names, found.model.values(), strict=True))
    np.testing.assert_allclose(values["mass[rod]"], 2.4, rtol=0.01)


def test_degrees_and_what_nothing_tells_are_refused(path):
    # The same efforts beside positions and velocities of a slow motion in degrees.
    run, random = turned(), np.random.default_rng(1)
    radians = run.observations * 0.15
    slow = 0.1 * radians[:-1, 1] - 9.81 * np.cos(radians[:-1, 0])
    slow += 0.05 * random.normal(size=len(slow))
    degrees = ro.Trajectory(np.degrees(radians), slow[:, None], STEP)
    noise = random.normal(size=run.actions.shape)
    for one in (degrees, dataclasses.replace(run, actions=noise)):
        with pytest.raises(ro.RobooptError, match="in degrees.*`continuous`"):
            identified(path, one)


def test_what_several_recordings_share_is_said_once_with_a_gear(path):
    run, random = turned(), np.random.default_rng(1)
    # A motor's angle, 36 times that of its joint, within the limits in degrees.
    motor = ro.Trajectory(
        run.observations * np.array([36 * 0.1, 36 * 0.1]),
        random.normal(size=run.actions.shape),
        STEP,
    )
    with pytest.raises(ro.RobooptError, match="gear's ratio") as told:
        identified(path, [motor, motor, motor])
    assert str(told.value).count("degrees") == 1
    assert "2 more cases" in str(told.value)
