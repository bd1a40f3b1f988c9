"""The model's efforts are filtered as those that were recorded."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import ParametricTwin, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed
from roboopt.sysid._preparation import impulse_response, interpolated, smoothed

ARM = Path(__file__).parents[1] / "cases" / "recordings" / "arm3.urdf"
STEP, CUTOFF, FASTEST = 0.002, 8.0, 6.0


@pytest.fixture
def model():
    """Return an arm with friction."""
    robot = ro.load_urdf(ARM, linear_damping=0.0, angular_damping=0.0)
    robot = dataclasses.replace(robot, friction=robot.friction + 0.5)
    return ParametricTwin(ro.Twin(robot, STEP), ("mass", "damping", "friction"))


def recorded(model):
    """Return motion up to `FASTEST` [Hz], whose efforts have products of it."""
    random = np.random.default_rng(0)
    time = STEP * np.arange(3001)[:, None, None]
    rates = 2 * np.pi * random.uniform(0.5, FASTEST, (model.joints, 6))
    waves = rates * time + random.uniform(0, 6, rates.shape)
    q = 2 * (np.sin(waves) / rates).sum(2)
    velocity = 2 * np.cos(waves).sum(2)
    acceleration = -2 * (rates * np.sin(waves)).sum(2)
    efforts = jax.jit(jax.vmap(model.inverse_dynamics))(q, velocity, acceleration)
    return ro.Trajectory(np.hstack([q, velocity]), np.asarray(efforts)[:-1], STEP)


@pytest.mark.parametrize("every", [1, 8])
def test_nothing_is_left_of_motion_whose_products_the_filter_stops(model, every):
    run, response = recorded(model), impulse_response(CUTOFF, STEP)
    settings = {"staggered": True, "every": every}
    error = InverseDynamicsError(filter=response, **settings)
    seen = smoothed([run], CUTOFF, margin=2.0)[0]
    numbers = np.asarray(linear_parameters(model))

    def share(error, seen):
        left = Condensed.of(error, model, seen).rms(numbers)
        return left / np.std(np.asarray(seen.actions), 0)

    assert share(error, seen).max() < 2e-3
    # Not so without a filter, nor where positions lack what the efforts still show.
    [narrow] = smoothed([run], CUTOFF)
    assert share(InverseDynamicsError(**settings), narrow).max() > 2e-2
    assert share(error, narrow).max() > 2e-2


def test_fast_motion_is_differentiated_between_its_samples(model):
    # Up to 6 Hz in steps of 16 ms: differences lack (π f h)²/3 of accelerations.
    whole = recorded(model)
    run = ro.Trajectory(whole.observations[::8], whole.actions[::8], 8 * STEP)
    numbers = np.asarray(linear_parameters(model))

    def share(runs):
        [seen] = smoothed(runs, CUTOFF, margin=2.0)
        response = impulse_response(CUTOFF, seen.time_step)
        error = InverseDynamicsError(filter=response, staggered=True)
        left = Condensed.of(error, model, seen).rms(numbers)
        return left / np.std(np.asarray(seen.actions), 0)

    finer = interpolated([run], CUTOFF)
    assert finer[0].time_step == pytest.approx(8 * STEP / 9)
    assert share(finer).max() < 0.3 * share([run]).max()
    assert interpolated(finer, CUTOFF / 9)[0] is finer[0]
