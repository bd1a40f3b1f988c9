"""A pendulum that swings freely: what its motion tells of friction, and what not."""

import numpy as np
import pytest

import roboopt as ro

STEP = 1e-3
FREE = ("mass", "damping", "friction")
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
    mass, damping, friction = made.parameters
    assert "identified" not in (mass.verdict, damping.verdict, friction.verdict)
    assert damping.estimate / mass.estimate == pytest.approx(0.03, rel=0.1)
    # The one makes up for some of the other.
    assert 0 < friction.estimate / mass.estimate < 0.015


def test_laws_of_friction_that_cannot_be_told_apart_are_said(urdf):
    # One second of a swing, with noise, tells what is lost and not by which law.
    made = ro.identify(urdf, swinging(0.3, 1.5, 3e-3, 0), free=FREE[1:])
    assert "do not tell viscous from Coulomb friction of hinge" in " ".join(
        str(made).split()
    )
