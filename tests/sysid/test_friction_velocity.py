"""The velocity scale of friction is taken from recordings of slow and fast drives."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import ParametricTwin, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed
from roboopt.sysid._effort_errors import effort_errors
from roboopt.sysid._fitter import Fitter, effort_windows
from roboopt.sysid._friction_velocity import (
    least_squares_error,
    scale_intervals,
    unexplained,
    with_friction_velocity,
)
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._preparation import impulse_response, smoothed
from roboopt.sysid._smoothing import least_squares_of, smoothing
from roboopt.sysid._tables import Parameter, friction_sentences

STEP, CUTOFF = 0.005, 5.0
FREE = ("mass", "damping", "friction", "effort_offset")
NAMES = ("mass", "damping", "friction", "friction_velocity", "effort_offset")


def scale_of(robot):
    return np.asarray(robot.friction_velocity).reshape(-1)[0]


def logged(speed, scale, seed):
    """Return a slide with friction 5 tanh(q̇/scale) N, logged with noise."""
    rng = np.random.default_rng(seed)
    time = STEP * np.arange(4001)
    rates = np.array([0.31, 0.73, 1.7])
    phases = rng.uniform(0, 6, 3)
    waves = rates * time[:, None] + phases
    position = speed * (np.sin(waves) / rates).sum(1)
    velocity = speed * np.cos(waves).sum(1)
    acceleration = -speed * (rates * np.sin(waves)).sum(1)
    effort = 3 * acceleration + 4 * velocity + 5 * np.tanh(velocity / scale)
    effort = effort + 0.1 * rng.normal(size=len(time))
    seen = np.stack([position + 1e-6 * rng.normal(size=len(time)), velocity], 1)
    return ro.Trajectory(seen, effort[:-1, None], STEP)


@pytest.mark.slow
@pytest.mark.parametrize("speed, scale", [(0.02, 0.002), (0.5, 0.08)])
def test_a_drive_has_the_scale_of_its_recording(urdf, tmp_path, speed, scale):
    runs = [logged(speed, scale, seed) for seed in range(3)]
    made = ro.identify(urdf, runs, free=FREE)
    found = scale_of(made.model.robot)
    assert 0.5 * scale < found < 2 * scale
    assert made.efforts is not None and made.efforts.unconstrained is not None
    # Noise of 0.1 N is all that is left of about 5 N, but for the smoothing.
    assert made.efforts.fitted[0] < 0.15
    # All intervals hold the truth: 95 % of them do, half as wide again 99.7 %.
    truth: dict[str, float] = dict(zip(NAMES, (3, 4, 5, scale, 0), strict=True))
    assert {row.name.partition("[")[0] for row in made.parameters} == set(truth)
    for row in made.parameters:
        true = truth[row.name.partition("[")[0]]
        slack = (row.upper - row.lower) / 4
        assert row.verdict in ("identified", "zero within its interval"), row
        assert row.lower - slack < true < row.upper + slack, row
    # The scale goes with the URDF, and with the twin of its environment.
    made.save(tmp_path / "out")
    again = ro.load_urdf(tmp_path / "out" / "identified.urdf")
    assert scale_of(again) == pytest.approx(found, rel=1e-6)
    assert float(again.friction[0]) == pytest.approx(5, rel=0.05)


@pytest.mark.slow
def test_a_scale_that_is_right_stays_but_for_the_smoothing(urdf):
    made = ro.identify(urdf, [logged(0.5, 0.01, seed) for seed in range(3)], free=FREE)
    assert scale_of(made.model.robot) == pytest.approx(0.01, rel=0.1)


def test_filtered_efforts_tell_the_friction(urdf):
    scale = 0.002
    # 4 N·s/m and 5 N, and 0.1 N of noise that 4000 samples reduce to 0.002 N.
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    robot = eqx.tree_at(lambda r: r.friction_velocity, robot, jnp.array([scale]))
    model = ParametricTwin(ro.Twin(robot, STEP), FREE)
    [run] = smoothed([logged(0.1, scale, 0)], CUTOFF)
    ones, response = np.ones(1), impulse_response(CUTOFF, STEP)
    error = InverseDynamicsError(scale=ones, filter=response, staggered=True)
    numbers = np.asarray(linear_parameters(model))
    condensed = Condensed.of(error, model, run)
    found = condensed.unconstrained(numbers, free_numbers(model)[0])
    np.testing.assert_allclose(found[-4:-2], [4, 5], atol=0.1)
    # Without it friction seems to be smooth over much more of the motion.
    plain = Condensed.of(dataclasses.replace(error, filter=None), model, run)
    wrong = plain.unconstrained(numbers, free_numbers(model)[0])
    assert abs(wrong[-4] - 4) > 0.2


def test_an_interval_holds_all_scales_that_are_as_likely(urdf):
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    ones, response = np.ones(1), impulse_response(CUTOFF, STEP)
    error = InverseDynamicsError(scale=ones, filter=response, staggered=True)
    names = ("friction_velocity[rail]",)
    for scale, believed in ((0.0005, 0.01), (0.08, 0.08), (2.0, 0.01)):
        given = eqx.tree_at(lambda r: r.friction_velocity, robot, jnp.array([believed]))
        model = ParametricTwin(ro.Twin(given, STEP), FREE)
        [run] = smoothed([logged(0.5, scale, 0)], CUTOFF)
        found = scale_intervals(model, error, run, 20.0, names)
        # One that is known to less than the ratio of two that are tried needs none.
        assert bool(found) == (scale != 0.08)
        for lower, upper in found.values():
            # Below some scale, and above another, all are alike.
            assert lower < scale < upper
            assert (lower == 0) == (scale < 0.01) and (upper == np.inf) == (scale > 1)
    assert scale_intervals(model, error, run, 20.0, ()) == {}
    row = Parameter(names[0], "m/s", 0.01, 0.01, 0.0, 0.012, "identified", "")
    assert row.conclusion() == "at most 0.012"


def test_a_held_out_recording_may_be_shorter_than_the_filter(urdf):
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    robot = eqx.tree_at(lambda r: r.friction_velocity, robot, jnp.array([0.08]))
    model = ParametricTwin(ro.Twin(robot, STEP), FREE)
    whole = logged(0.5, 0.08, 0)
    part = ro.Trajectory(whole.observations[:61], whole.actions[:60], STEP)
    [run], [short] = (smoothed([one], CUTOFF) for one in (whole, part))
    response = impulse_response(CUTOFF, STEP)
    assert short.steps < len(response)
    error = InverseDynamicsError(scale=np.ones(1), filter=response, staggered=True)
    found = effort_errors(error, model, model, [run], [short], CUTOFF)
    assert found.held_out and found.unconstrained is not None
    assert 0 < found.unconstrained[0] < found.before[0] / 3


def test_a_scale_that_is_fitted_is_left_to_its_row_of_the_table(urdf):
    before = ro.load_urdf(urdf)
    after = eqx.tree_at(lambda r: r.friction_velocity, before, jnp.array([0.05]))
    assert "rail 0.05 m/s" in " ".join(friction_sentences(before, after, []))
    row = Parameter("friction_velocity[rail]", "m/s", 0.01, 0.05, 0.0, 0.1, "", "")
    assert friction_sentences(before, after, [row]) == []


def test_a_side_file_names_scales_of_its_joints(urdf):
    side = urdf.with_name("slide.urdf.json")
    side.write_text('{"friction_velocity": {"rail": 0.05}}')
    assert scale_of(ro.load_urdf(urdf)) == 0.05
    for wrong in ('{"rail": 0}', '{"rail": "slow"}', '{"door": 0.1}', "[0.1]"):
        side.write_text(f'{{"friction_velocity": {wrong}}}')
        with pytest.raises(ro.RobooptError, match="friction_velocity"):
            ro.load_urdf(urdf)


def test_windows_lose_no_more_than_the_ends_of_recordings(urdf):
    # Cut at different lengths, as logs with jitter are.
    whole = logged(0.1, 0.01, 0)
    runs = [
        ro.Trajectory(whole.observations[: n + 1], whole.actions[:n], STEP)
        for n in (1500, 1511, 1490)
    ]
    response = impulse_response(CUTOFF, STEP)
    windows = effort_windows(runs, response)
    counted = windows.steps - (len(response) - 1)
    assert 0.9 < len(windows.actions) * counted / (4501 - 3 * len(response)) < 1.15


def test_noise_of_positions_lowers_the_cutoff_until_it_biases_nothing(urdf):
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    robot = eqx.tree_at(lambda r: r.friction_velocity, robot, jnp.array([0.08]))
    model = ParametricTwin(ro.Twin(robot, STEP), FREE)
    fitter = Fitter(model, prior=None, steps=1, progress=False)
    noise = 2e-4 * np.random.default_rng(9).normal(size=(4001, 1))
    run = logged(0.5, 0.08, 0)
    seen = np.hstack(
        [np.asarray(run.observations)[:, :1] + noise, run.observations[:, 1:]]
    )
    noisy = ro.Trajectory(seen, run.actions, STEP)

    def mass(made):
        error = made.effort_error(fitter, effort_windows(made.runs, made.response))
        windows = effort_windows(made.runs, made.response)
        return least_squares_of(error, model, windows)[0][0]

    high = smoothing(fitter, [noisy], 16.0, lower=False)
    assert high.response is not None and mass(high) < 2.9  # of 3 kg
    made = smoothing(fitter, [noisy], 16.0)
    assert 2.0 <= made.cutoff < 16 and made.response is not None
    assert mass(made) == pytest.approx(3.0, rel=0.02)
    # Clean positions keep the cutoff that they came with.
    assert smoothing(fitter, [run], 8.0).cutoff == 8


def test_friction_that_would_drive_the_joint_keeps_its_scale(urdf):
    # As where the signs of efforts are exchanged: no scale slows the motion.
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    model = ParametricTwin(ro.Twin(robot, STEP), FREE)
    run = logged(0.1, 0.01, 0)
    error = InverseDynamicsError(scale=np.ones(1), staggered=True)
    run = dataclasses.replace(run, actions=-np.asarray(run.actions))
    assert with_friction_velocity(model, error, run, 1.0)[0] is model


def test_columns_less_their_fit_have_the_error_of_all_columns():
    # The last column is a sum of others, and takes part in nothing.
    random = np.random.default_rng(0)
    matrix, columns = random.normal(size=(30, 8)), random.normal(size=(30, 2))
    matrix = np.column_stack([matrix, matrix[:, 0] + 1e3 * matrix[:, 1]])
    right = random.normal(size=30)
    left, rest = unexplained(matrix, columns, right)
    error, number = least_squares_error(left, rest)
    both = np.column_stack([columns, matrix])
    numbers = np.linalg.lstsq(both, right, rcond=1e-10)[0]
    np.testing.assert_allclose(error, np.linalg.norm(both @ numbers - right))
    length = np.linalg.norm(columns[:, 0])
    np.testing.assert_allclose(number, numbers[0] * length)
    # What the matrix explains already is left out.
    left, rest = unexplained(matrix, matrix[:, :1] - 3 * matrix[:, 2:3], right)
    error, number = least_squares_error(left, rest)
    assert number == 0 and np.isclose(error, np.linalg.norm(rest))
