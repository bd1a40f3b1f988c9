from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt import Trajectory
from roboopt.sysid import ConstantVelocity, Forecasts, forecasts
from roboopt.sysid._tables import comparison, forecast_table, worse_forecasts


class Pushed(eqx.Module):
    """A mass of 1 kg that the action pushes, its velocity first."""

    gain: float = 1.0
    time_step: float = eqx.field(static=True, default=0.1)
    joints: int = eqx.field(static=True, default=1)

    def __call__(self, state, action):
        speed = state[1:] + self.time_step * self.gain * action
        return jnp.concatenate([state[:1] + self.time_step * speed, speed])


def recording(steps=20, push=1.0, time_step=0.1):
    """Return a mass pushed from rest: after k steps q = a Δt² k (k + 1)/2."""
    k = np.arange(steps + 1)
    speed = push * time_step * k
    q = push * time_step**2 * k * (k + 1) / 2
    actions = np.full((steps, 1), push)
    return Trajectory(np.stack([q, speed], 1), actions, time_step)


def test_errors_by_hand():
    # After k steps from any of its states constant velocity is behind by a Δt² k (k +
    # 1)/2 and a Δt k, and half the push by half of that.
    models = {"right": Pushed(), "half": Pushed(0.5)}
    found = forecasts(models, [recording()], (0.2, 0.5))
    np.testing.assert_allclose(found.seconds, [0.1, 0.2, 0.5])
    behind = np.array([[0.01, 0.1], [0.03, 0.2], [0.15, 0.5]])
    assert list(found.rmse) == ["right", "half", "constant velocity"]
    np.testing.assert_allclose(found.rmse["constant velocity"], behind, rtol=1e-12)
    np.testing.assert_allclose(found.rmse["half"], behind / 2, rtol=1e-12)
    np.testing.assert_allclose(found.rmse["right"], 0.0, atol=1e-14)
    # Of positions alone: half as wrong.
    np.testing.assert_allclose(found.ratio("half", "constant velocity", 1), 2.0)


def test_errors_are_the_root_of_the_mean_square_over_runs():
    # Pushes of 1 and of 7: √((1 + 49)/2) = 5 times the error of 1.
    runs = [recording(push=1.0), recording(push=7.0)]
    found = forecasts({}, runs, (0.2,))
    np.testing.assert_allclose(
        found.rmse["constant velocity"], [[0.05, 0.5], [0.15, 1.0]], rtol=1e-12
    )


def test_two_exact_models_are_as_good_as_each_other():
    rmse = {"fitted": 1e-15, "URDF": 2e-16, "constant velocity": 0.1}
    found = Forecasts([0.1], {name: np.full((1, 4), x) for name, x in rmse.items()})
    assert comparison(float(found.ratio("fitted", "URDF", 2)[0])) == "as good as"


def test_a_ratio_is_a_geometric_mean_over_joints():
    ours, theirs = np.array([[1.0, 1.0, 9.0, 9.0]]), np.array([[2.0, 8.0, 0.0, 0.0]])
    found = Forecasts([0.1], {"ours": ours, "theirs": theirs})
    np.testing.assert_allclose(found.ratio("ours", "theirs", 2), [4.0])


def test_a_joint_at_rest_counts_in_no_ratio():
    # Four times better where it moves, 10,000 times where it rests.
    ours, theirs = np.array([[1.0, 1e-4, 9.0, 9.0]]), np.array([[4.0, 1.0, 9.0, 9.0]])
    rmse = {"ours": ours, "theirs": theirs}
    found = Forecasts([0.1], rmse, (True, False))
    np.testing.assert_allclose(found.ratio("ours", "theirs", 2), [4.0])
    still = Forecasts([0.1], rmse, (False, False))
    np.testing.assert_allclose(still.ratio("ours", "theirs", 2), [200.0])
    # Recordings in which the second joint shakes by 0.2 mrad.
    q = np.stack([np.linspace(0, 1, 21), 1e-4 * (-1.0) ** np.arange(21)], 1)
    run = Trajectory(np.concatenate([q, 0 * q], 1), np.zeros((20, 2)), 0.1)
    assert forecasts({}, [run], (0.2,)).moving == (True, False)


def test_times_shorter_than_a_step_are_one_step():
    assert forecasts({}, [recording()], (0.01, 0.1, 0.3)).seconds == pytest.approx(
        [0.1, 0.3]
    )


def test_angles_count_modulo_a_turn():
    # A joint that reads q modulo 2π, and moves on at its velocity.
    time = 0.1 * np.arange(21)
    q = np.mod(5.0 * time, 2 * np.pi)
    run = Trajectory(np.stack([q, np.full(21, 5.0)], 1), np.zeros((20, 1)), 0.1)
    right = forecasts({}, [run], (0.5,), wraps=(True, False))
    np.testing.assert_allclose(right.rmse["constant velocity"], 0.0, atol=1e-13)
    wrong = forecasts({}, [run], (0.5,))
    assert wrong.rmse["constant velocity"][0, 0] > 1.0


def test_a_lead_is_not_forecast():
    # Pushed from its sixth step on: with a lead of five there is nothing before it.
    run = recording(10)
    still = np.concatenate([np.zeros((5, 2)), run.observations])
    actions = np.concatenate([np.zeros((5, 1)), run.actions])
    late = Trajectory(still, actions, 0.1)
    ours = forecasts({}, [late], (1.0,), lead=5)
    np.testing.assert_allclose(
        ours.rmse["constant velocity"], [[0.01, 0.1], [0.55, 1.0]], rtol=1e-12
    )


def test_constant_velocity_by_hand():
    state = jnp.array([1.0, 2.0, 30.0, 40.0])
    guess = ConstantVelocity(2, 0.1)
    np.testing.assert_allclose(guess(state, jnp.zeros(2)), [4.0, 6.0, 30.0, 40.0])
    np.testing.assert_allclose(
        guess.advance(state, jnp.zeros(2), 0.2), [7.0, 10.0, 30.0, 40.0]
    )


def test_runs_shorter_than_the_longest_time_are_refused():
    with pytest.raises(ValueError, match="`recordings` must each hold at least"):
        forecasts({}, [recording(4)], (0.5,))


def test_forecasts_that_are_worse_are_named_with_their_errors():
    path = (
        Path(ro.__file__).parents[1] / "examples/double_pendulum/double_pendulum.urdf"
    )
    robot = ro.dynamics.load_urdf(path)
    model = ro.dynamics.ParametricTwin(ro.dynamics.Twin(robot, 0.01), ("mass",))
    errors = {
        "fitted": [[1e-3, 2e-3, 9, 9], [0.02, 0.03, 9, 9], [0.1, 0.1, 9, 9]],
        "URDF": [[2e-3, 3e-3, 1, 1], [0.05, 0.05, 1, 1], [0.5, 0.5, 1, 1]],
        "constant velocity": [
            *([1e-3, 1e-3, 1, 1], [0.0199, 0.01, 1, 1], [0.3, 0.2, 1, 1])
        ],
    }
    rmse = {name: np.array(rows) for name, rows in errors.items()}
    (said,) = worse_forecasts(Forecasts([0.01, 0.1, 0.5], rmse), model)
    # The shoulder is as good to less than 1 %, and velocities are not judged.
    assert said == (
        "Forecasts are worse than constant velocity: of elbow after one step (0.002 "
        "against 0.001 rad), 0.1 s (0.03 against 0.01 rad)."
    )
    better = {**rmse, "fitted": rmse["URDF"] / 10}
    assert worse_forecasts(Forecasts([0.01, 0.1, 0.5], better), model) == []
    # What is below a billionth of the largest error is rounding.
    exact = {
        name: np.full((1, 4), x)
        for name, x in zip(rmse, (1e-15, 2e-16, 0.1), strict=True)
    }
    assert worse_forecasts(Forecasts([0.01], exact), model) == []
    # So is what is below 1e-12 rad, though no model is further off.
    still = {name: np.full((1, 4), 1e-15) for name in rmse}
    still["fitted"] *= 5
    found = Forecasts([0.01], still)
    assert worse_forecasts(found, model) == []
    assert {*forecast_table(found, model).rows[0][2:]} == {"0"}


def test_a_joint_that_all_forecast_exactly_does_not_dilute_the_ratio():
    ours, theirs = np.array([[0.0, 1.0, 0.0, 0.0]]), np.array([[1e-15, 4.0, 0.0, 0.0]])
    found = Forecasts([0.1], {"ours": ours, "theirs": theirs})
    np.testing.assert_allclose(found.ratio("ours", "theirs", 2), [4.0])


def test_forecasts_may_be_fewer():
    # Forecasts over 2 steps begin at each of 20 steps, or at 0, 6, 12 and the last, 18.
    growing = recording()
    actions = np.arange(20.0)[:, None]
    run = Trajectory(np.cumsum(growing.observations, 0), actions, 0.1)
    behind = [run.observations[k + 2, 0] - run.observations[k, 0] for k in range(19)]
    behind -= 0.2 * np.asarray(run.observations)[:19, 1]
    for most, begins in ((None, range(19)), (3, (0, 6, 12, 18))):
        found = forecasts({}, [run], (0.2,), most=most).rmse["constant velocity"]
        expected = np.sqrt(np.mean(behind[list(begins)] ** 2))
        np.testing.assert_allclose(found[-1, 0], expected, rtol=1e-12)
