"""Samples that lack numbers: the same rule on every road to a recording."""

import warnings
from functools import partial

import numpy as np
import pytest
from told import read_told

from roboopt.data import Columns, Trajectory, joint_motion, resample, smooth

COUNT, STEP_S = 200, 0.01
TIMES = STEP_S * np.arange(COUNT)
Q = np.stack([np.sin(TIMES), np.cos(2 * TIMES)], 1)
DQ = np.stack([np.cos(TIMES), -2 * np.sin(2 * TIMES)], 1)
TAU = np.stack([TIMES + 1, 3 - TIMES], 1)
JOINTS = ["shoulder", "elbow"]
NAMES = [f"{kind}_{joint}" for kind in ("q", "dq", "tau") for joint in JOINTS]


def as_csv(tmp_path, rows):
    np.savetxt(path := tmp_path / "x.csv", rows, "%.17g", ",", header=HEADER)
    return path


def as_npz(tmp_path, rows):
    t, q, dq, tau = rows[:, 0], rows[:, 1:3], rows[:, 3:5], rows[:, 5:]
    np.savez(path := tmp_path / "x.npz", time=t, q=q, dq=dq, tau=tau)
    return path


def as_mat(tmp_path, rows):
    from scipy.io import savemat

    t, q, dq, tau = rows[:, 0], rows[:, 1:3], rows[:, 3:5], rows[:, 5:]
    savemat(path := tmp_path / "x.mat", {"time": t, "q": q, "dq": dq, "tau": tau})
    return path


def as_frame(tmp_path, rows):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(rows, columns=HEADER.split(","))


def as_episode(tmp_path, rows):
    path = tmp_path / "episode.npz"
    as_trajectory(tmp_path, rows).save(path)
    return path


def as_trajectory(tmp_path, rows):
    return Trajectory(rows[:, 1:5], rows[:-1, 5:], STEP_S)


HEADER = ",".join(["time", *NAMES])
ELBOW = r"\S*( of )?(elbow|q\[1\])"
STRONGLY = partial(smooth, cutoff_hz=5.0)
ROADS = [as_csv, as_npz, as_mat, as_frame, as_episode, as_trajectory]


def read_parts(source):
    if not isinstance(source, Trajectory):
        return read_told(source, joints=JOINTS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = joint_motion(source, JOINTS, None, "recording 0")
    return runs, " ".join(str(w.message) for w in caught)


def read(source):
    (run,), said = read_parts(source)
    return run, said


def rows_without(*gaps):
    rows = np.column_stack([TIMES, Q, DQ, TAU])
    for samples, columns in gaps:
        rows[samples, columns] = np.nan
    return rows


@pytest.mark.parametrize("road", ROADS)
def test_a_few_samples_are_left_out_at_their_times(tmp_path, road):
    gaps = (slice(50, 53), 2), (90, [1, 5]), (slice(197, None), 6)
    run, said = read(road(tmp_path, rows_without(*gaps)))
    # The last sample needs no effort, so that of three only two are lost.
    kept = np.delete(np.arange(COUNT), [50, 51, 52, 90, 197, 198])
    np.testing.assert_array_equal(run.observations, np.hstack([Q, DQ])[kept])
    np.testing.assert_array_equal(run.actions, TAU[kept[:-1]])
    assert run.times is not None
    np.testing.assert_allclose(run.times, TIMES[kept], atol=1e-12)
    assert "6 samples, between 50 and 198, lack" in said


@pytest.mark.parametrize("road", ROADS)
def test_a_sensor_that_begins_late_cuts_the_recording(tmp_path, road):
    run, said = read(road(tmp_path, rows_without((slice(0, 60), 3))))
    np.testing.assert_array_equal(run.observations, np.hstack([Q, DQ])[60:])
    assert run.times is None and run.time_step == pytest.approx(STEP_S)
    assert "60 samples, 0 to 59, lack" in said and "at the ends" in said


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "gap, said",
    [
        (
            [(slice(k, k + 30), 2) for k in (30, 90, 150)],
            "in 3 gaps longer than 10 steps .*0.29 s to 0.6 s, and no part .* 64",
        ),
        ([(slice(3, None, 5), 5)], "40 samples, between 3 and 198, lack .*20 %"),
        ([(slice(10, 190), slice(1, 3))], "(180 samples|no number|nothing is known)"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(tmp_path, road, gap, said):
    with pytest.raises(ValueError, match=said):
        read(road(tmp_path, rows_without(*gap)))


@pytest.mark.parametrize("road", ROADS)
def test_a_recording_is_cut_where_too_much_is_lacking(tmp_path, road):
    # Ten steps may be bridged, which eleven between whole samples are not.
    gaps = (slice(70, 80), 2), (slice(85, 120), [2, 4])
    runs, told = read_parts(road(tmp_path, rows_without(*gaps)))
    every = np.hstack([Q, DQ])
    for run, kept in zip(runs, (slice(0, 70), slice(120, None)), strict=True):
        np.testing.assert_array_equal(run.observations, every[kept])
        np.testing.assert_array_equal(run.actions, TAU[kept][:-1])
        assert run.times is None and run.time_step == pytest.approx(STEP_S)
    assert "45 samples, between 70 and 119, lack" in told
    assert "0.69 s to 0.8 s" in told and "3 parts, but 1 shorter than 64" in told


def test_positions_that_stop_while_the_efforts_go_on_are_a_gap(tmp_path):
    # No row has positions then, as in rows of other sensors.
    rows = rows_without((slice(80, 130), [1, 2, 3, 4]))
    runs, said = read_parts(as_csv(tmp_path, rows))
    assert [run.steps for run in runs] == [79, 69] and "0.79 s to 1.3 s" in said
    rows = rows_without((slice(100, 103), [1, 2, 3, 4]))
    run, said = read(as_csv(tmp_path, rows))
    assert run.steps == COUNT - 4 and "3 rows of x.csv hold no positions" in said


def test_a_time_step_in_place_of_times_counts_the_lost_samples(tmp_path):
    path = as_csv(tmp_path, rows_without((slice(50, 53), 2)))
    (run,), _ = read_told(path, joints=JOINTS, columns=Columns(time="0.02"))
    kept = np.delete(np.arange(COUNT), [50, 51, 52])
    assert run.times is not None
    np.testing.assert_allclose(run.times, 0.02 * kept, atol=1e-12)


def test_a_joint_that_nothing_drives_needs_no_effort(tmp_path):
    run = as_trajectory(tmp_path, rows_without((slice(None), 6)))
    (made,) = joint_motion(run, JOINTS, [0], "recording 0")
    np.testing.assert_array_equal(made.actions[:, 1], 0)
    with pytest.raises(ValueError, match="lack effort of elbow"):
        joint_motion(run, JOINTS, None, "recording 0")


@pytest.mark.parametrize("made", [partial(resample, time_step=0.02), STRONGLY])
def test_resampling_and_smoothing_name_what_is_not_finite(tmp_path, made):
    run = as_trajectory(tmp_path, rows_without((7, 2)))
    with pytest.raises(ValueError, match=r"`trajectory`.* observations .*\(7, 1\)"):
        made(run)


@pytest.mark.parametrize("road", [as_csv, as_npz, as_mat, as_frame])
def test_samples_that_are_not_there_are_a_gap_as_those_without_numbers_are(
    tmp_path, road
):
    rows = rows_without()
    runs, said = read_parts(road(tmp_path, np.delete(rows, slice(100, 130), 0)))
    assert [run.steps for run in runs] == [99, 69]
    assert "0.99 s to 1.3 s" in said and "cut there into 2 parts" in said
    run, _ = read(road(tmp_path, np.delete(rows, slice(100, 106), 0)))
    assert run.times is not None and run.steps == COUNT - 7
    # Many long steps are uneven sampling.
    uneven = np.unique(np.append(np.arange(0, 100), np.arange(100, COUNT, 12)))
    run, _ = read(road(tmp_path, rows[uneven]))
    assert run.steps == len(uneven) - 1
    # So are steps that jitter, some of them longer than ten.
    steps = np.random.default_rng(0).permutation(np.repeat([1, 2, 11], [110, 20, 3]))
    jitter = np.cumsum(steps)
    run, _ = read(road(tmp_path, rows_without()[jitter[jitter < COUNT]]))
    assert run.steps > 100


@pytest.mark.parametrize("lost", [[slice(70, 110)], [slice(0, 30)], [slice(150, 200)]])
@pytest.mark.parametrize("written", [as_csv, as_npz, as_frame])
def test_zeros_amid_a_motion_are_lost_samples(tmp_path, written, lost):
    rows = np.hstack([TIMES[:, None], Q + 1, DQ, TAU])
    for part in lost:
        rows[part, 1:5] = 0
    runs, said = read_told(written(tmp_path, rows), joints=JOINTS)
    kept = np.concatenate([run.observations for run in runs])
    np.testing.assert_array_equal(kept, np.delete(rows[:, 1:5], np.r_[tuple(lost)], 0))
    assert f"{lost[0].start} to {lost[0].stop - 1}" in said and "0 at once" in said


def test_single_zeros_are_left_out(tmp_path):
    rows = np.hstack([TIMES[:, None], Q + 1, DQ, TAU])
    rows[[40, 90], 1:3] = 0
    (run,), said = read_told(as_csv(tmp_path, rows), joints=JOINTS)
    assert run.steps == COUNT - 3 and "between 40 and 90" in said


@pytest.mark.parametrize(
    "position",
    [
        np.maximum(TIMES - 1, 0) ** 2,  # rests at zero, and then goes on
        np.round(np.sin(20 * TIMES), 1),  # comes to zero as it moves
        np.where(TIMES < 1, 0, 0.1),  # never moves but once
    ],
)
def test_a_robot_may_be_at_zero(tmp_path, position):
    rows = np.stack([TIMES, *[position] * 2, *[0 * TIMES + 1] * 4], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (run,) = read_told(as_csv(tmp_path, rows), joints=JOINTS)[0]
    assert run.steps == COUNT - 1
