"""Samples of a recorder that is faster than the sensors, and other times for them."""

from functools import partial

import numpy as np
import pytest

import roboopt as ro
from roboopt import RobooptError
from roboopt.sysid._recordings import load_all

TIMES = 0.002 * np.arange(200)
Q, DQ, TAU = np.sin(TIMES), np.cos(TIMES), np.tan(TIMES)


def read(rows):
    observations = np.stack([Q, DQ], axis=1)[rows]
    run = ro.data.Trajectory(observations, TAU[rows][:-1, None], 0.002)
    (loaded,) = load_all([run], ["hinge"], None, None)
    return loaded.run


def test_samples_that_repeat_in_motion_are_left_out_and_times_kept():
    rows = np.arange(200)
    rows[[50, 51, 120, 199]] = [49, 49, 119, 198]
    with pytest.warns(UserWarning, match="4 samples repeat the one before"):
        run = read(rows)
    kept = np.setdiff1d(np.arange(200), [50, 51, 120, 199])
    np.testing.assert_array_equal(run.observations[:, 0], Q[kept])
    np.testing.assert_array_equal(run.actions[:, 0], TAU[kept[:-1]])
    np.testing.assert_allclose(np.asarray(run.times), TIMES[kept])
    assert run.time_step == pytest.approx(TIMES[198] / 195)


def test_a_coarse_encoder_repeats_no_sample():
    observations = np.stack([np.round(Q, 2), np.round(DQ, 1)], axis=1)
    run = ro.data.Trajectory(observations, TAU[:-1, None], 0.002)
    (loaded,) = load_all([run], ["hinge"], None, None)
    assert loaded.run.times is None and loaded.run.steps == 199


def test_a_robot_at_rest_repeats_no_sample():
    observations = np.zeros((50, 2))
    run = ro.data.Trajectory(observations, np.zeros((49, 1)), 0.002)
    (loaded,) = load_all([run], ["hinge"], None, None)
    assert loaded.run.times is None and loaded.run.steps == 49


def test_recordings_get_an_even_time_step_on_demand():
    times = np.delete(TIMES, [5, 6, 100])
    observations = np.stack([np.sin(times), np.cos(times)], axis=1)
    run = ro.data.Trajectory(
        observations, np.ones((len(times) - 1, 1)), 0.002, times=times
    )
    load = partial(load_all, [run], ["hinge"], None, None)
    (loaded,) = load(time_step=0.01)
    assert loaded.run.times is None and loaded.run.time_step == 0.01
    grid = 0.01 * np.arange(40)
    np.testing.assert_allclose(loaded.run.observations[:, 0], np.sin(grid), atol=1e-7)
    np.testing.assert_allclose(loaded.run.actions, 1.0, rtol=1e-12)
    for step in (0.0, 1.0):
        with pytest.raises(RobooptError, match="`resample`"):
            load(time_step=step)
