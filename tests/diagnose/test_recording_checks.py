"""What is found wrong with recordings."""

import dataclasses
import re

import numpy as np
import pytest

from roboopt.data import Trajectory
from roboopt.diagnose import check_recordings

STEP = 0.01
TIMES = STEP * np.arange(501)
DEGREES = 180 / np.pi


def driven(shift=0):
    """Two unit masses under a random force that is held for each step, shifted."""
    force = np.random.default_rng(3).uniform(-1, 1, (500, 2)).round(6)
    velocity = np.concatenate([np.zeros((1, 2)), np.cumsum(force * STEP, axis=0)])
    mean = (velocity[1:] + velocity[:-1]) / 2
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(mean * STEP, axis=0)])
    logged = np.roll(force, shift, axis=0)
    return Trajectory(np.hstack([position, velocity]), logged, STEP)


def swung(position_scale=1.0, velocity_scale=1.0, shift=0, amplitude=1.0):
    """Two joints that swing at 1 and 0.5 Hz."""
    frequency = 2 * np.pi * np.array([1.0, 0.5])
    phase = frequency * TIMES[:, None]
    late = frequency * (TIMES[:, None] - shift * STEP)
    position = amplitude * position_scale * np.sin(phase)
    velocity = amplitude * velocity_scale * frequency * np.cos(late)
    return Trajectory(
        np.hstack([position, velocity]), np.cos(1.3 * phase[:-1] + 0.2), STEP
    )


def codes(recordings, **arguments):
    return {f.code for f in check_recordings(recordings, **arguments)}


def only(recordings, kind, **arguments):
    """Return the findings, all of which must be of `kind`."""
    findings = check_recordings(recordings, **arguments)
    assert findings and {f.code for f in findings} == {kind}
    return findings


def changed(recording, **arrays):
    return dataclasses.replace(recording, **arrays)


def stretched(recording, at, factor):
    """Return the recording with one step `factor` times as long, position included."""
    observations = recording.observations.copy()
    times = TIMES.copy()
    extra = (factor - 1) * STEP
    times[at + 1 :] += extra
    observations[at + 1 :, :2] += observations[at, 2:] * extra
    return changed(recording, observations=observations, times=times)


def test_good_recordings_have_no_findings():
    assert check_recordings([driven(), swung()], lower=-2.0, upper=2.0) == []
    assert check_recordings(driven(), effort_limits=[2.0, 3.0]) == []


def test_values_that_are_not_finite_are_found_first():
    broken = swung()
    broken.observations[7, 2] = np.nan
    broken.observations[9, 0] = np.inf
    still = changed(swung(), observations=np.zeros((501, 4)))
    first, *rest = check_recordings([still, broken])
    assert first.severity == "error" and first.code == "not_finite"
    assert first.where == "recording 1"
    assert "observations" in first.message and "(7, 2)" in first.message
    (named, *_) = check_recordings([still, broken], names=["a.csv", "b.csv"])
    assert named.where == "b.csv" and str(named).startswith("b.csv: ")
    assert {f.severity for f in rest} == {"warning"}


def test_time_that_stands_still_is_an_error():
    times = TIMES.copy()
    times[5] = times[4]
    (finding,) = only(changed(swung(), times=times), "time_not_increasing")
    assert finding.severity == "error"
    assert "sample 5" in finding.message


def test_uneven_steps_are_told_in_milliseconds():
    (finding,) = only(stretched(swung(), 100, 1.5), "uneven_steps")
    assert "10.000 to 15.000 ms" in finding.message
    assert finding.severity == "warning"


def test_gaps_are_found_where_they_are():
    findings = check_recordings(stretched(swung(), 100, 4.0))
    (gap,) = [f for f in findings if f.code == "gap"]
    assert "40.000 ms after 1.000 s" in gap.message
    assert "needs no cut" in gap.message
    (gap,) = [
        f for f in check_recordings(stretched(swung(), 100, 12.0)) if f.code == "gap"
    ]
    assert "120.000 ms" in gap.message and "cut the recording there" in gap.message


def test_saturation_is_seen_with_and_without_a_limit():
    # |cos| is above 0.5 for two thirds of the time, so 67 % of the samples are cut off.
    cut = changed(swung(), actions=np.clip(swung().actions, -0.5, 0.5))
    findings = only(cut, "saturation", joint_names=["shoulder", "elbow"])
    assert len(findings) == 2
    assert findings[0].where == "joint shoulder of recording 0"
    share = float(findings[0].message.split(" for ")[1].split(" %")[0])
    assert share == pytest.approx(66.7, abs=1.0)
    # A drive may cut off less than the robot's limit.
    first, second = only(cut, "saturation", effort_limits=[0.5, 9.0])
    assert first.where == "joint 0 of recording 0" and "limit of 0.5" in first.message
    assert "largest value of 0.5" in second.message
    assert "is at its limit" in first.message and "is at its la" in second.message
    beyond, *_ = only(cut, "saturation", effort_limits=[0.4, 9.0])
    assert "is at or beyond its limit of 0.4 for" in beyond.message
    assert check_recordings(swung(), effort_limits=2.0) == []


def test_rounded_oscillations_and_switches_are_not_saturated():
    rounded = changed(swung(), actions=swung().actions.round(2))
    switched = changed(swung(), actions=np.sign(swung().actions))
    assert codes([rounded, switched]) == set()


def test_degrees_show_against_the_limits():
    # 1 rad is 57.3°, where the joint ends at 2 rad.
    findings = only(swung(DEGREES, DEGREES), "degrees", lower=-2.0, upper=2.0)
    assert len(findings) == 2 and {f.severity for f in findings} == {"error"}
    assert "57.3 rad" in findings[1].message


def test_a_recording_beyond_limits_that_others_keep_to_is_a_warning():
    far = [swung(), swung(amplitude=14.0)]
    found = check_recordings(far, lower=-3.0, upper=3.0)
    assert {f.severity for f in found} == {"warning"}
    assert "degrees" not in {f.code for f in found}
    (first, _) = [f for f in found if f.code == "beyond_limits"]
    assert first.where == "joint 0 of recording 1" and "11 rad" in first.message


def test_degrees_show_in_speeds_but_turns_and_slides_are_left_alone():
    # 1 Hz at 57.3 degrees is 360 a second, taken for rad/s.
    findings = only(swung(DEGREES, DEGREES), "degrees")
    assert {f.severity for f in findings} == {"warning"}
    assert "359.8 rad/s" in findings[0].message
    assert codes(swung(DEGREES, DEGREES), revolute=[False, False]) == set()
    # Three turns, 19 rad from end to end, at up to 60 rad/s.
    assert codes(swung(amplitude=9.5)) == set()


def test_degrees_show_against_limits_that_are_loose_or_far_off():
    for limit in (100.0, 4 * np.pi, 0.1):
        findings = check_recordings(swung(DEGREES, DEGREES), lower=-limit, upper=limit)
        found = [f for f in findings if f.code == "degrees"]
        assert len(found) == 2 and {f.severity for f in found} == {"warning"}
        assert findings[0].code == "degrees" and "q1_deg" in findings[0].message
    # A gripper's screw, whose limits allow for its turns, is left alone.
    assert codes(swung(amplitude=12), lower=-12.5, upper=12.5) == set()


def test_positions_beyond_the_limits_are_found():
    (finding,) = only(swung(), "beyond_limits", upper=[0.7, 2.0])
    assert finding.where == "joint 0 of recording 0"
    assert "0.3 rad beyond its limits, -inf to 0.7 rad" in finding.message


@pytest.mark.parametrize(
    "position, velocity, match",
    [
        (1.0, DEGREES, "57.* convert the velocities from deg/s"),
        (DEGREES, 1.0, "0.0174.* convert the positions from degrees"),
    ],
)
def test_one_unit_in_degrees_is_an_error(position, velocity, match):
    findings = check_recordings(swung(position, velocity))
    errors = [f for f in findings if f.severity == "error"]
    assert len(errors) == 2 and {f.code for f in errors} == {"degrees"}
    assert re.search(match, errors[0].message)


@pytest.mark.parametrize(
    "position, velocity, match",
    [
        (1.0, 30 / np.pi, "9.5.* the velocities from rpm to rad/s, .*dq1_rpm"),
        (1.0, 0.5 / np.pi, "0.159.* from revolutions a second to rad/s, .*dq1_rps"),
        (0.5 / np.pi, 1.0, "6.28.* the positions from revolutions to rad, .*q1_rev"),
        (0.5 * DEGREES, 15 / np.pi, "0.166.* from rpm .* and the positions from degr"),
    ],
)
def test_revolutions_beside_radians_are_an_error(position, velocity, match):
    recording = swung(position, velocity)
    errors = [f for f in check_recordings(recording) if f.severity == "error"]
    assert len(errors) == 2 and {f.code for f in errors} == {"revolutions"}
    assert re.search(match, errors[0].message)
    # A slide does not turn, and a gear of 10 is no unit.
    assert "revolutions" not in codes(recording, revolute=[False, False])
    assert codes(swung(1.0, 10.0)) == {"time_step"}


@pytest.mark.parametrize(
    "factor, unit", [(1e3, "milli"), (1e6, "micro"), (1e9, "nano")]
)
def test_other_units_of_time_are_found(factor, unit):
    recording = changed(swung(), time_step=STEP * factor)
    findings = only(recording, "time_unit")
    assert [f.severity for f in findings] == ["error", "error", "warning"]
    assert all(f"{unit}seconds" in f.message for f in findings)


def test_velocities_of_another_sign_scale_or_joint_are_found():
    findings = only(swung(velocity_scale=-1.0), "velocity_mismatch")
    assert "compare their signs" in findings[0].message
    twice = swung()
    seen = twice.observations * [1, 1, 2, 1]
    findings = only(changed(twice, observations=seen), "velocity_mismatch")
    assert "1.999 times" in findings[0].message
    swapped = swung().observations[:, [0, 1, 3, 2]]
    findings = only(changed(swung(), observations=swapped), "velocity_mismatch")
    assert "compare the columns" in findings[0].message


def test_velocities_that_are_zero_disagree_with_a_motion():
    assert codes(swung(velocity_scale=0.0)) == {"velocity_mismatch"}


@pytest.mark.parametrize("shift, what", [(1, "late"), (3, "late"), (-2, "early")])
def test_shifted_velocities_are_found(shift, what):
    findings = only(swung(shift=shift), "shifted_velocities")
    assert f"{what} against the positions, by {abs(shift)}" in findings[0].message


@pytest.mark.parametrize("half", [0.5, -0.5, 0.6])
def test_the_half_step_of_an_integrator_is_no_shift(half):
    assert codes(swung(shift=half)) == set()


def test_efforts_against_a_periodic_motion_are_not_shifted():
    # Another joint drives this one: half a period would make the signs agree.
    time = 0.005 * np.arange(1001)
    rate = 2 * np.pi * 20
    seen = np.stack([np.sin(rate * time), rate * np.cos(rate * time)], 1)
    effort = rate**2 * np.sin(rate * time[:-1]) + 30 * np.random.default_rng(0).normal(
        size=1000
    )
    assert "shifted_efforts" not in codes(Trajectory(seen, effort[:, None], 0.005))


@pytest.mark.parametrize("shift, what", [(1, "late"), (-2, "early")])
def test_shifted_efforts_are_found(shift, what):
    findings = only(driven(shift), "shifted_efforts")
    assert len(findings) == 2
    assert f"logged too {what}, by {abs(shift)} in samples" in findings[0].message


def test_joints_that_stand_still_and_constant_efforts_are_found():
    still = swung()
    still.observations[:, [1, 3]] = 0.0
    still.actions[:, 1] = 0.25
    findings = check_recordings(still, revolute=[True, False])
    assert [f.code for f in findings] == ["not_moving", "constant_effort"]
    assert {f.where for f in findings} == {"joint 1 of recording 0"}
    assert "0 m" in findings[0].message and "0.25" in findings[1].message


def test_rows_that_repeat_in_motion_are_found_and_at_rest_are_not():
    repeated = swung()
    repeated.observations[200] = repeated.observations[199]
    assert "duplicate_rows" not in codes(repeated)  # but the efforts do not
    repeated.actions[200] = repeated.actions[199]
    (finding,) = only(repeated, "duplicate_rows")
    assert "sample 200" in finding.message
    rest = swung()
    rest.observations[:100] = 0.0
    rest.observations[100:] -= rest.observations[100] * np.array([1, 1, 0, 0])
    assert "duplicate_rows" not in codes(rest)


def test_efforts_are_looked_at_before_actions_and_missing_ones_are_not():
    targets = changed(swung(), actions=np.ones((500, 2)), efforts=swung().actions)
    assert codes(targets) == set()
    assert codes(changed(swung(), actions=np.ones((500, 1)))) == set()


@pytest.mark.parametrize(
    "recordings, arguments, match",
    [
        ([], {}, "`recordings` must hold at least one, got none"),
        (
            Trajectory(np.ones((4, 3)), np.ones((3, 1)), 0.1),
            {},
            r"`recordings` must hold observations \[q, q̇\].*got sizes \[3\]",
        ),
        (swung(), {"lower": [0.0] * 3}, r"`lower` must be one number or 2, got shape"),
        (
            swung(),
            {"revolute": [True]},
            "`revolute` must hold 2, got 1",
        ),
        (swung(), {"names": ["a", "b"]}, "`names` must hold 1, got 2"),
        (swung(), {"joint_names": ["a"]}, "`joint_names` must hold 2, got 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(recordings, arguments, match):
    with pytest.raises(ValueError, match=match):
        check_recordings(recordings, **arguments)


def test_velocities_that_differ_alike_in_all_joints_tell_the_time_step():
    time = 0.04 * np.arange(400)
    q = np.stack([np.sin(time), np.cos(1.3 * time)], 1)
    velocity = np.stack([np.cos(time), -1.3 * np.sin(1.3 * time)], 1)
    seen = np.hstack([q, velocity])
    wrong = Trajectory(seen, np.sin(q)[:-1], 0.005)
    (found,) = [f for f in check_recordings([wrong]) if "veloc" in f.message]
    assert found.code == "time_step" and "0.125 times" in found.message
    assert "steps of 0.04 s instead of 0.005 s" in found.message
    right = Trajectory(seen, np.sin(q)[:-1], 0.04)
    assert not [f for f in check_recordings([right]) if "veloc" in f.message]
    seen[:, 3] *= 3  # another cause for each joint
    apart = [f.code for f in check_recordings([Trajectory(seen, q[:-1], 0.04)])]
    assert apart.count("velocity_mismatch") == 1 and "time_step" not in apart


def test_lost_samples_come_before_suspicions_of_units():
    run = swung()
    observations = np.array(run.observations) + 5
    observations[100:150] = 0
    (finding,) = check_recordings(changed(run, observations=observations))
    assert finding.code == "zeros" and finding.severity == "error"
    assert "100 to 149" in finding.message


@pytest.mark.parametrize("size", [0.1, -0.8, 2 * np.pi])
def test_a_position_that_jumps_is_named(size):
    run = swung()
    q, _ = np.split(np.array(run.observations), 2, axis=1)
    q[250:, 1] += size
    # Without a column of velocities they are differences of the positions.
    observations = np.hstack([q, np.gradient(q, STEP, axis=0)])
    told = check_recordings(dataclasses.replace(run, observations=observations))
    assert "degrees" not in {one.code for one in told}
    (found,) = (one for one in told if one.code == "jump")
    assert found.where.startswith("joint 1 of")
    told = re.search(r"1 time, first by ([-\d.]+) rad at 2.49 s", found.message)
    assert told is not None and float(told[1]) == pytest.approx(size, abs=0.05)


@pytest.mark.parametrize("level, noise", [(0.1, 0.0), (1e-6, 0.01)])
def test_encoders_and_noise_are_no_jumps(level, noise):
    run = swung()
    q, velocity = np.split(np.array(run.observations), 2, axis=1)
    q = q + noise * np.random.default_rng(0).normal(size=q.shape)
    observations = np.hstack([level * np.round(q / level), velocity])
    assert "jump" not in codes(dataclasses.replace(run, observations=observations))
