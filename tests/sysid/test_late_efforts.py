"""Efforts that come late, by less than a look at what is left tells, are taken earlier.

A delay τ of efforts makes up damping, τ I ω² of an inertia I that swings at ω.
"""

import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import ParametricTwin

ARM = Path(__file__).parents[1] / "cases" / "recordings" / "arm3.urdf"
STEP, NOISE, DAMPING = 0.002, 0.3, 0.2
FREE = ("mass", "center_of_mass", "extent", "shear", "damping", "friction")


def recorded(shares, seed):
    """Return noisy motion with efforts that low-pass filters of the drives delay.

    A filter that takes a share α of each new sample delays by (1 − α)/α steps.
    """
    robot = ro.load_urdf(ARM, linear_damping=0.0, angular_damping=0.0)
    model = ParametricTwin(ro.Twin(robot, STEP), FREE)
    random = np.random.default_rng(seed)
    rates = random.uniform(1, 6, (model.joints, 5))
    waves = rates * STEP * np.arange(4001)[:, None, None]
    waves = waves + random.uniform(0, 6, rates.shape)
    q, velocity = np.sin(waves).sum(2), (rates * np.cos(waves)).sum(2)
    acceleration = -(rates**2 * np.sin(waves)).sum(2)
    efforts = jax.jit(jax.vmap(model.inverse_dynamics))(q, velocity, acceleration)
    efforts = np.asarray(efforts) + DAMPING * velocity
    efforts += 0.3 * np.tanh(velocity / 0.05)
    efforts += NOISE * random.normal(size=efforts.shape)
    for k in range(1, len(efforts)):
        efforts[k] = efforts[k - 1] + shares * (efforts[k] - efforts[k - 1])
    q = q + 2e-5 * random.normal(size=q.shape)
    return robot, ro.Trajectory(np.hstack([q, velocity]), efforts[:-1], STEP)


def identified(shares):
    robot, first = recorded(np.array(shares), 0)
    runs = [first, recorded(np.array(shares), 1)[1]]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        settings = {"error": "effort", "free": FREE}
        found = ro.identify(ro.Twin(robot, STEP), runs, **settings)
    said = [str(one.message) for one in told if "come" in str(one.message)]
    return found, said, [f for f in found.findings if f.code == "late_efforts"]


def test_filtered_efforts_are_taken_earlier_and_intervals_hold_the_truth():
    found, said, findings = identified([0.4, 0.4, 0.4])  # (1 − 0.4)/0.4 of 2 ms
    assert len(said) == len(findings) == 1 and said[0] in str(findings[0])
    assert said[0] in " ".join(str(found.summary()).split())
    milliseconds = float(said[0].split("come ")[1].split()[0])
    assert milliseconds == pytest.approx(3.0, abs=0.3)
    dampings = [row for row in found.parameters if row.name.startswith("damping")]
    assert len(dampings) == 3
    given = ro.load_urdf(ARM).damping
    for row, own in zip(dampings, given, strict=True):
        assert row.lower <= own + DAMPING <= row.upper


NONE = pytest.param([1.0, 1.0, 1.0], marks=pytest.mark.slow)


@pytest.mark.parametrize("shares", [NONE, [1.0, 0.4, 1.0]])
def test_efforts_stay_where_joints_are_not_late_alike(shares):
    _, said, findings = identified(shares)
    assert not said and not findings
