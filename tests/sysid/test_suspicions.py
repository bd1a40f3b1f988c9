"""What is wrong with a robot's file or columns is named where efforts are not met."""

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._effort_errors import effort_errors
from roboopt.sysid._fitter import effort_windows
from roboopt.sysid._suspicions import UNRECORDED, suspicion_sentence, suspicions
from roboopt.sysid._tables import effort_sentences

ARM = Path(__file__).parents[1] / "cases" / "recordings" / "arm3.urdf"
STEP = 0.01
FREE = ("mass", "center_of_mass", "extent", "shear", "damping")
FIT: dict[str, Any] = {"error": "effort", "steps": 2, "free": [*FREE, "friction"]}
SLOW = pytest.mark.slow


def arm(gravity=(0.0, 0.0, -9.81)):
    settings = {"gravity": gravity, "linear_damping": 0.0, "angular_damping": 0.0}
    return ParametricTwin(ro.Twin(ro.load_urdf(ARM, **settings), STEP), FREE)


@pytest.fixture(scope="module")
def columns():
    return moved(arm())


def moved(model):
    """Return positions, velocities and efforts of a motion, with noise."""
    random = np.random.default_rng(0)
    rates = random.uniform(1, 6, (model.joints, 5))
    waves = rates * STEP * np.arange(1001)[:, None, None]
    waves = waves + random.uniform(0, 6, rates.shape)
    q, velocity = np.sin(waves).sum(2), (rates * np.cos(waves)).sum(2)
    acceleration = -(rates**2 * np.sin(waves)).sum(2)
    efforts = jax.jit(jax.vmap(model.inverse_dynamics))(q, velocity, acceleration)
    efforts = np.asarray(efforts) + 0.2 * velocity
    return q, velocity, efforts + 0.02 * random.normal(size=efforts.shape)


ERROR = InverseDynamicsError(scale=np.ones(3), central=True)


def recording(columns):
    q, velocity, efforts = columns
    return ro.Trajectory(np.hstack([q, velocity]), efforts[:-1], STEP)


def suspected(columns, gravity=(0.0, 0.0, -9.81)):
    return suspicions(ERROR, arm(gravity), effort_windows([recording(columns)]))


def test_nothing_is_suspected_of_what_is_right(columns):
    assert suspected(columns) == ()


@pytest.mark.parametrize("gravity", [(0.0, 0.0, -9.81), (0.0, 0.0, 0.0)])
def test_forces_that_are_not_recorded_are_suspected(columns, gravity):
    q, velocity, efforts = columns
    noise = np.random.default_rng(1).normal(size=efforts.shape)
    assert suspected((q, velocity, efforts.std(0) * noise)) == (UNRECORDED,)
    # Motors that carry the weight of an arm that a hand moves.
    weight = np.asarray(jax.vmap(arm(gravity).inverse_dynamics)(q, 0 * q, 0 * q))
    assert suspected((q, velocity, weight + 0.05 * noise), gravity) == (UNRECORDED,)
    # The efforts of the right robot, in other units, or of one of less inertia.
    assert UNRECORDED not in suspected((q, velocity, 0.01 * efforts))
    own = np.asarray(jax.vmap(arm().inverse_dynamics)(q, 0 * q, 0 * q))
    lighter = weight + 0.1 * (efforts - own)
    assert suspected((q, velocity, lighter), gravity) == ()


def test_forces_that_are_not_recorded_leave_no_verdicts(columns):
    q, velocity, _ = columns
    weight = np.asarray(jax.vmap(arm().inverse_dynamics)(q, 0 * q, 0 * q))
    noise = 0.05 * np.random.default_rng(1).normal(size=q.shape)
    run = recording((q, velocity, weight + noise))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = ro.identify(arm().inner, run, **FIT)
    assert any("moved by hand" in str(one.message) for one in told)
    said = str(found.summary())
    assert "by hand" in said and "known to" not in said and "base parameter" not in said
    assert not any(row.identified for row in found.parameters)
    assert found.efforts is not None and not found.efforts.base


@pytest.mark.parametrize(
    "of_positions, of_efforts, expected",
    [
        pytest.param([1, -1, 1], [1, -1, 1], ["axis of shoulder_lift"], marks=SLOW),
        ([1, 1, -1], [1, 1, 1], ["positions of elbow"]),
        pytest.param([1, 1, 1], [1, -1, 1], ["efforts of shoulder_lift"], marks=SLOW),
        ([1, -1, 1], [1, -1, -1], ["axis of shoulder_lift", "efforts of elbow"]),
    ],
)
def test_signs_are_named(columns, of_positions, of_efforts, expected):
    q, velocity, efforts = columns
    found = suspected((q * of_positions, velocity * of_positions, efforts * of_efforts))
    assert len(found) == len(expected)
    assert all(any(word in said for said in found) for word in expected)


def test_recordings_that_are_held_out_must_agree(columns):
    q, velocity, efforts = columns
    right, wrong = (
        effort_windows([recording((q, velocity, efforts * sign))])
        for sign in ([1, 1, 1], [1, -1, 1])
    )
    assert len(suspicions(ERROR, arm(), wrong, wrong)) == 1
    assert suspicions(ERROR, arm(), wrong, right) == ()


def test_they_are_told_before_the_fit_and_in_the_summary(columns):
    steps = []
    tilted = arm(gravity=(0.0, 9.81, 0.0)).inner

    def identified():
        log = lambda step, metrics: steps.append(step)  # noqa: E731
        return ro.identify(tilted, recording(columns), log=log, **FIT)

    with pytest.raises(UserWarning, match="efforts clearly better with gravity"):
        identified()
    assert not steps
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = identified()
    assert steps and sum("gravity" in str(one.message) for one in told) == 1
    assert len(found.suspicions) == 1
    said = str(found.summary())
    assert "gravity (0, 0, -9.81)" in said and "do not hold" in said
    again = str(dataclasses.replace(found, suspicions=()).summary())
    assert "do not hold" not in again
    doubt = "do not tell viscous from Coulomb friction"
    assert doubt in again and doubt not in said


def test_exchanged_columns_are_named(columns):
    found = suspected([x[:, [0, 2, 1]] for x in columns])
    assert len(found) == 1 and "exchanged" in found[0]


def test_exchanged_efforts_are_named(columns):
    q, velocity, efforts = columns
    found = suspected((q, velocity, efforts[:, [1, 0, 2]]))
    shoulder = "shoulder_pan_joint and shoulder_lift_joint"
    assert found == (f"the efforts of {shoulder} exchanged",)


@pytest.mark.parametrize(
    "factors, told",
    [
        ([1e-3, 1e-3, 1e-3], "of shoulder_pan_joint, .*, elbow_joint hold.* kN·m"),
        ([1, 1, 1e3], "column of elbow_joint holds about 1000 times .* mN·m"),
        pytest.param(
            *([1, 1e-2, 1], "column of shoulder_lift_joint holds 1/.* percents"),
            marks=SLOW,
        ),
    ],
)
def test_efforts_in_another_unit_are_named(columns, factors, told):
    q, velocity, efforts = columns
    (found,) = suspected((q, velocity, efforts * factors))
    assert re.search(told, found)
    assert suspicion_sentence((found,)) == f"{found}."
    assert "better with gravity: check" in suspicion_sentence(("gravity", found))


@pytest.mark.parametrize("factor", [0.3, pytest.param(3.0, marks=SLOW)])
def test_masses_that_are_wrong_are_no_unit(columns, factor):
    q, velocity, efforts = columns
    assert suspected((q, velocity, factor * efforts)) == ()


def test_the_direction_of_gravity_is_named(columns):
    found = suspected(columns, gravity=(0.0, 9.81, 0.0))
    assert len(found) == 1 and "gravity (0, 0, -9.81) m/s²" in found[0]


@pytest.mark.parametrize(
    "tilt, axis", [(0.1, 0), (0.35, 0), pytest.param(0.6, 1, marks=pytest.mark.slow)]
)
def test_a_tilted_base_is_named_with_its_gravity(tilt, axis):
    gravity = 9.81 * np.array([0.0, 0.0, -np.cos(tilt)])
    gravity[axis] = 9.81 * np.sin(tilt)
    (found,) = suspected(moved(arm(gravity)))
    told = re.findall(r"-?[\d.]+", found.split("m/s²")[0])
    assert np.allclose([float(x) for x in told], gravity, atol=0.15)


@pytest.mark.parametrize(
    "samples, when", [(3, "earlier"), pytest.param(-2, "later", marks=pytest.mark.slow)]
)
def test_efforts_of_another_time_are_named(columns, samples, when):
    q, velocity, efforts = columns
    found = suspected((q, velocity, np.roll(efforts, samples, 0)))
    assert found == (f"efforts {abs(samples) * 10} ms {when} than recorded",)


def test_a_robot_that_is_given_without_gravity_has_it(columns):
    found = suspected(columns, gravity=(0.0, 0.0, 0.0))
    assert len(found) == 1 and "gravity (0, 0, -9.8" in found[0]


def test_joints_whose_gears_multiply_an_inertia_are_named(columns):
    q, velocity, efforts = columns
    geared = efforts + [0, 0, 0.3] * np.gradient(velocity, STEP, axis=0)
    for recorded, expected in ((efforts, ()), (geared, ("elbow_joint",))):
        run = recording((q, velocity, recorded))
        found = effort_errors(ERROR, arm(), arm(), [run], [], None)
        assert found.geared == expected
    said = effort_sentences(found, arm().robot.joint_names)
    assert any("Rotor inertia" in one and "elbow_joint" in one for one in said)
