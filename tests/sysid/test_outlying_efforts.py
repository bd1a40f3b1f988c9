"""Contacts are told from noise and friction by the efforts that no robot explains."""

import re
import warnings
from typing import Any

import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import ParametricTwin, Twin
from roboopt.sysid._checks import check_arguments, last_said
from roboopt.sysid._outlying_efforts import outlying_efforts

STEP = 0.01
FREE = ("mass", "damping", "friction", "effort_offset")


def slid(seed, *, touched=(0.0, 0.0), force=20.0):
    """Return 10 s of a cart of 3 kg with dry friction that is touched for a while."""
    rng, t = np.random.default_rng(seed), STEP * np.arange(1001)
    size, phase = rng.uniform(0.05, 0.2, (3, 1)), rng.uniform(0, 6, (3, 1))
    rate = 2 * np.pi * np.array([[0.3], [0.7], [1.1]])
    angle = rate * t + phase
    q = (size * np.sin(angle)).sum(0)
    velocity = (size * rate * np.cos(angle)).sum(0)
    acceleration = -(size * rate**2 * np.sin(angle)).sum(0)
    effort = 3 * acceleration + 2 * velocity + 4 * np.sign(velocity)
    effort += 0.3 * rng.normal(size=t.size)
    effort[(t >= touched[0]) & (t < touched[1])] += force
    q += 1e-5 * rng.normal(size=t.size)
    seen = np.stack([q, velocity], 1)
    return ro.data.Trajectory(seen, effort[:-1, None], STEP)


def found(urdf, runs):
    robot = ro.dynamics.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    start = ParametricTwin(Twin(robot, STEP), FREE)
    return outlying_efforts(start, runs, [f"run{k}" for k in range(len(runs))])


@pytest.mark.parametrize("force", [8.0, -20.0])
def test_a_contact_is_found_where_it_was(urdf, force):
    runs = [slid(0), slid(1, touched=(6.0, 7.0), force=force)]
    with pytest.warns(UserWarning, match="joint rail of run1: between"):
        (finding,) = found(urdf, runs)
    began, ended, size = map(
        float,
        re.findall(r"between (\S+) s and (\S+) s .* are (\S+) N ", str(finding))[0],
    )
    # The smoothing blurs its ends.
    assert (began, ended) == pytest.approx((6.0, 7.0), abs=0.1)
    assert size == pytest.approx(abs(force), rel=0.1)


def test_noise_and_dry_friction_are_no_contact(urdf):
    assert found(urdf, [slid(seed) for seed in range(4)]) == []
    # A force on half of a recording is an error of the model, or of the sensor.
    assert found(urdf, [slid(5, touched=(0.0, 5.0))]) == []
    run = slid(6)
    short = ro.data.Trajectory(run.observations[:50], run.actions[:49], STEP)
    assert found(urdf, [short]) == []


@pytest.mark.slow
def test_identify_says_it_in_its_summary(urdf):
    runs = [slid(0), slid(1, touched=(6.0, 7.0))]
    with pytest.warns(UserWarning, match="did it touch something"):
        how: dict[str, Any] = {"free": FREE, "error": "effort", "cutoff": 10.0}
        made = ro.identify(urdf, runs, held_out=0, **how)
    assert "joint rail of recording 1: between" in " ".join(str(made).split())


def test_of_many_fits_the_last_says_what_recordings_do_not_depend_on():
    with pytest.warns(UserWarning) as told:
        with last_said("the residuals"):
            for text in ("the residuals a", "other", "the residuals b"):
                warnings.warn(text, stacklevel=1)
    assert [str(one.message) for one in told] == ["other", "the residuals b"]


def test_arguments_of_other_types_are_named(urdf):
    for name, wrong in (("actuated", 3.5), ("ties", 3), ("free", 3), ("actuated", {})):
        with pytest.raises(ro.RobooptError, match=f"`{name}` must be a list"):
            check_arguments("auto", None, **{"free": None, name: wrong})
    for name in ("truth", "keep", "options"):
        with pytest.raises(ro.RobooptError, match=f"`{name}` must .*, got 3"):
            check_arguments("auto", None, None, **{name: 3})
    with pytest.raises(ro.RobooptError, match="`ties` must be a list"):
        check_arguments("auto", None, None, ties=[3])
    with pytest.raises(ro.RobooptError, match="`cutoff` must be a number"):
        check_arguments("auto", [1.0], None)
    check_arguments("auto", 5.0, "mass", actuated=np.array([0]), ties=[("a", "b")])
