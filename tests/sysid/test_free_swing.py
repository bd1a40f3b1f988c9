"""A pendulum that swings freely: what its motion tells of friction, and what not."""

from pathlib import Path

import numpy as np
import pytest

import roboopt as ro
from roboopt.diagnose import Combination
from roboopt.sysid._free_swing import free_swing_sentences

ARM = "examples/double_pendulum/double_pendulum.urdf"

STEP = 1e-3
FREE = ("mass", "damping", "friction")
UNTOLD = "do not tell viscous from Coulomb friction of hinge"
URDF = """<robot name="pendulum"><link name="base"/><link name="rod"><inertial>
<origin xyz="0 0 -0.3"/><mass value="1"/>
<inertia ixx="2e-2" iyy="2e-2" izz="1e-3" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="hinge" type="continuous"><parent link="base"/><child link="rod"/>
<axis xyz="0 1 0"/><dynamics damping="0.05" friction="0.02"/></joint></robot>"""


def swinging(start, seconds, noise, seed):
    """Return a log every 5 ms of a pendulum with damping 0.03 and friction 0.01."""
    q, v, states = start, 0.0, []
    for _ in range(round(seconds / STEP)):
        states.append(q)
        friction = 0.03 * v + 0.01 * np.tanh(v / 0.01)
        v += STEP * (-9.81 * 0.3 * np.sin(q) - friction) / 0.11
        q += STEP * v
    q = np.array(states[::5]) + noise * np.random.default_rng(seed).normal(
        size=len(states[::5])
    )
    seen = np.stack([q, np.gradient(q, 5 * STEP)], 1)
    return ro.Trajectory(seen, np.zeros((len(q) - 1, 1)), 5 * STEP)


@pytest.fixture
def urdf(tmp_path):
    path = tmp_path / "pendulum.urdf"
    path.write_text(URDF)
    return path


@pytest.mark.slow
def test_only_ratios_to_the_mass_are_known(urdf):
    runs = [swinging(1.2 + 0.1 * k, 6.0, 2e-4, k) for k in range(3)]
    made = ro.identify(urdf, runs, free=FREE)
    assert made.error == "motion"
    # No effort is there to be met.
    assert made.efforts is None and "met to" not in str(made)
    mass, damping, friction, _ = made.parameters  # the last: friction_velocity
    assert "identified" not in (mass.verdict, damping.verdict, friction.verdict)
    assert damping.estimate / mass.estimate == pytest.approx(0.03, rel=0.1)
    said = " ".join(str(made).split())
    assert "tells only ratios of masses" in said
    # The one makes up for some of the other.
    assert 0 < friction.estimate / mass.estimate < 0.015


def test_a_robot_that_nothing_drives_needs_no_efforts(urdf, tmp_path):
    run, path = swinging(0.3, 1.5, 3e-3, 0), tmp_path / "swing.csv"
    times = run.time_step * np.arange(run.steps + 1)
    rows = np.column_stack([times, run.observations[:, 0]])
    np.savetxt(path, rows, delimiter=",", header="time,hinge", comments="")
    with pytest.raises(ro.data.ColumnError, match=r"nothing drives.*`actuated=\[\]`"):
        ro.identify(urdf, path)
    with pytest.warns(UserWarning, match="no velocities|called as a joint"):
        made = ro.identify(urdf, path, actuated=[], free=FREE[1:])
    assert made.efforts is None
    # The mass is known, and with it all others.
    assert "only ratios" not in str(made)
    assert UNTOLD in " ".join(str(made).split())
    assert not any(f.code == "constant_effort" for f in made.findings)


def test_a_combination_of_value_0_is_a_ratio():
    robot = ro.dynamics.load_urdf(Path(ro.__file__).parents[1] / ARM)
    free = "mass", "damping", "friction"
    model = ro.dynamics.ParametricTwin(ro.dynamics.Twin(robot, STEP), free)
    run = ro.Trajectory(np.ones((3, 4)), np.zeros((2, 2)), STEP)
    terms = {"damping[shoulder]": 2.0, "friction[shoulder]": -0.5}
    sums = [Combination(terms, 1e-9, 1e-3), Combination({"mass[link_1]": 1.0}, 0.0, 1)]
    (said,) = free_swing_sentences(model, [run], sums)
    assert "only ratios" in said
    assert "damping[shoulder] is 0.25 times friction[shoulder]." in said
    driven = ro.Trajectory(np.ones((3, 4)), np.ones((2, 2)), STEP)
    assert free_swing_sentences(model, [run, driven], sums) == []
    heavy = ro.dynamics.ParametricTwin(model.inner, free[1:])
    assert free_swing_sentences(heavy, [run], sums) == []


@pytest.mark.slow
def test_laws_of_friction_that_cannot_be_told_apart_are_said(urdf):
    # One second of a swing, with noise, tells what is lost and not by which law.
    made = ro.identify(urdf, swinging(0.3, 1.5, 3e-3, 0), free=FREE[1:])
    assert UNTOLD in " ".join(str(made).split())
