"""Efforts that come late, by less than a look at what is left tells, are taken earlier.

A delay τ of efforts makes up damping, τ I ω² of an inertia I that swings at ω.
"""

import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.diagnose import identifiability
from roboopt.dynamics import ParametricTwin, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed
from roboopt.sysid._effort_errors import effort_errors
from roboopt.sysid._estimate import late_residuals
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._preparation import smoothed

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
    waves = rates * STEP * np.arange(2001)[:, None, None]
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


def all_inside(found):
    """Return whether the intervals of all dampings hold the true ones."""
    dampings = [row for row in found.parameters if row.name.startswith("damping")]
    true = np.asarray(ro.load_urdf(ARM).damping) + DAMPING
    assert len(dampings) == len(true)
    return all(
        row.lower <= own <= row.upper for row, own in zip(dampings, true, strict=True)
    )


def test_filtered_efforts_are_taken_earlier_and_intervals_hold_the_truth():
    found, said, findings = identified([0.4, 0.4, 0.4])  # (1 − 0.4)/0.4 of 2 ms
    assert len(said) == len(findings) == 1 and said[0] in str(findings[0])
    assert said[0] in " ".join(str(found.summary()).split())
    milliseconds = float(said[0].split("come ")[1].split()[0])
    assert milliseconds == pytest.approx(3.0, abs=0.3)
    assert all_inside(found)


NONE = pytest.param([1.0, 1.0, 1.0], marks=pytest.mark.slow)


@pytest.mark.parametrize("shares", [NONE, [1.0, 0.4, 1.0]])
def test_efforts_stay_where_joints_are_not_late_alike(shares):
    found, said, findings = identified(shares)
    assert not said and not findings
    assert all_inside(found)  # as wide as their own delays make them


RATES, PHASES = np.array([1.9, 4.6, 10.7]), np.array([0.0, 2.0, 4.0])


def slid(late, seed, count=6001):
    """Return a slide of 3 kg that rubs with 4 N·s/m and 5 N, whose efforts are late."""
    random, times = np.random.default_rng(seed), STEP * np.arange(count)
    at = times - late

    def moved(times):
        waves = RATES * times[:, None] + PHASES
        position = (np.sin(waves) / RATES).sum(1)
        return position, np.cos(waves).sum(1), -(RATES * np.sin(waves)).sum(1)

    _, velocity, acceleration = moved(at)
    efforts = 3 * acceleration + 4 * velocity + 5 * np.tanh(velocity / 0.05)
    efforts += 0.5 * random.normal(size=count)
    position = moved(times)[0] + 1e-5 * random.normal(size=count)
    seen = np.stack([position, np.gradient(position, STEP)], 1)
    return ro.Trajectory(seen, efforts[:-1, None], STEP)


def test_the_delay_of_one_joint_is_told(urdf):
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    free = ("mass", "damping", "friction", "effort_offset")
    with pytest.warns(UserWarning, match=r"the joint come"):
        found = ro.identify(robot, slid(0.006, 0), free=free, held_out=0)
    rows = {row.name.partition("[")[0]: row for row in found.parameters}
    for name, true in (("mass", 3.0), ("damping", 4.0), ("friction", 5.0)):
        assert rows[name].lower < true < rows[name].upper, rows[name]
    # 3 kg at 10.7 rad/s would make up much more damping than is in doubt.
    assert rows["damping"].upper - rows["damping"].lower < 0.006 * 3 * 10.7**2 / 5


@pytest.mark.slow
def test_what_resampling_delays_is_told_of_it(urdf):
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    settings = {"free": ("mass", "damping", "friction"), "held_out": 0}
    with pytest.warns(UserWarning, match=r"[12]\.\d+ ± .* early .* `resample` make"):
        ro.identify(robot, slid(0.0, 0), resample=3 * STEP, **settings)


def test_intervals_count_the_doubt_about_a_delay(urdf):
    doubt = 0.003  # s
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    robot = eqx.tree_at(lambda r: r.friction_velocity, robot, jnp.array([0.05]))
    model = ParametricTwin(ro.Twin(robot, STEP), ("mass", "damping", "friction"))
    given, free = np.asarray(linear_parameters(model)), free_numbers(model)[0]
    error = InverseDynamicsError(scale=np.ones(1), staggered=True)
    runs = [slid(late, 0) for late in (doubt, -doubt, 0.0)]
    runs = smoothed(runs, 5.0)
    later, earlier, run = runs
    moved = [
        Condensed.of(error, model, one).unconstrained(given, free)[free][-2:]
        for one in (later, earlier)
    ]
    change = np.abs(moved[0] - moved[1]) / 2  # of damping and friction
    assert change[0] > 0.1
    delays = [None, np.array([[doubt]])]
    half = []
    for one in delays:
        made = effort_errors(error, model, model, [run], [], 5.0, (), one)
        half.append([x.deviation for x in made.base][-2:])
        late = late_residuals(error, model, run, one)
        report = identifiability(error, model, run, uncertain=late)
        half[-1] += np.sqrt(np.diag(report.covariance)).tolist()[-2:]
    sure, doubtful = np.array(half) ** 2
    np.testing.assert_allclose(np.sqrt(doubtful - sure), [*change, *change], rtol=0.1)
