from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs
from derivatives import assert_derivatives

from roboopt.data import Trajectory
from roboopt.dynamics import Gaussian, ParametricTwin, Twin, load_urdf
from roboopt.objectives import (
    MultipleShooting,
    PredictionError,
    Prior,
    ShootingVariables,
)
from roboopt.optimize import Fit, least_squares, minimize

TIME_STEP = 0.02
CART_POLE = Path(roboopt_envs.__file__).parent / "assets" / "cart_pole.urdf"


class Growth(eqx.Module):
    rate: jax.Array

    def __call__(self, state, action):
        return self.rate * state + action


class Drift(eqx.Module):
    """Moves at its velocity, for as long as it is told."""

    time_step: float = eqx.field(static=True, default=1.0)

    def __call__(self, state, action):
        return self.advance(state, action, self.time_step)

    def advance(self, state, action, duration):
        return jnp.stack([state[0] + duration * state[1], state[1]])


class Pendulum(eqx.Module):
    """q̈ = a sin q − b q̇ + c u, upright at q = 0."""

    parameters: jax.Array

    def __call__(self, state, action):
        stiffness, damping, gain = self.parameters
        q, velocity = state
        rate = stiffness * jnp.sin(q) - damping * velocity + gain * action[0]
        velocity = velocity + TIME_STEP * rate
        return jnp.stack([q + TIME_STEP * velocity, velocity])


TRUE = jnp.array([9.0, 0.3, 1.5])
GUESS = jnp.array([4.0, 0.0, 1.0])
POSITIONS = np.array([0.001, np.inf])
GAPS = np.array([0.001, 0.005])


def motion(dynamics, start, actions):
    advance = lambda s, u: (dynamics(s, u),) * 2  # noqa: E731
    after = jax.lax.scan(advance, jnp.asarray(start), jnp.asarray(actions))[1]
    return np.concatenate([np.asarray(start)[None], after])


def swinging(steps=300):
    """Return a fall from near upright, its velocities not recorded."""
    time = TIME_STEP * np.arange(steps)
    actions = (2 * np.sin(3 * time) + np.cos(7 * time))[:, None]
    states = motion(Pendulum(TRUE), [0.01, 0.0], actions)
    return states, Trajectory(states * [1.0, 0.0], actions, TIME_STEP)


def balanced(steps=300):
    """Return 6 s that a controller keeps upright, positions with noise of 1 mrad."""
    time = TIME_STEP * np.arange(steps)
    dither = 3 * np.sin(3 * time) + 3 * np.cos(7 * time)

    def step(state, extra):
        action = (extra - 12 * state[0] - 3 * state[1])[None]
        after = Pendulum(TRUE)(state, action)
        return after, (after, action)

    start = jnp.array([0.05, 0.0])
    states, actions = jax.lax.scan(step, start, jnp.asarray(dither))[1]
    states = np.concatenate([start[None], states])
    assert np.abs(states[:, 0]).max() < 1.2  # Within 70° of upright.
    states[:, 0] += 0.001 * np.random.default_rng(0).standard_normal(steps + 1)
    return Trajectory(states, np.asarray(actions), TIME_STEP)


# Six samples and windows of 2 steps: they begin at samples 0, 2 and 3, the last so that
# it ends with the trajectory. At a rate of 2 they lead from their own beginnings
#   1 → 3 → 6,    5 → 10,    10.5 → 22 → 44
# which is off the samples by 0, ½ | 0 | ½, 2, 4, and off the next beginnings by 1, −½.
MEASURED = np.array([[1.0], [2.5], [5.0], [10.0], [20.0], [40.0]])
ACTIONS = np.array([[1.0], [0.0], [0.0], [1.0], [0.0]])
BEGINS = jnp.array([[1.0], [5.0], [10.5]])
RECORDING = Trajectory(MEASURED, ACTIONS, 1.0)
MODEL = ShootingVariables(Growth(jnp.array(2.0)), BEGINS)
OBJECTIVE = MultipleShooting(2, np.array([0.5]), np.array([0.25]))


@eqx.filter_jit
def errors_and_gaps(objective, model, batch):
    return objective.errors(model, batch), objective.gaps(model, batch)


@eqx.filter_jit
def value_and_gradient(objective, model, batch):
    return eqx.filter_value_and_grad(objective)(model, batch)


@eqx.filter_jit
def residuals_and_terms(objective, model, batch):
    return objective.residuals(model, batch), objective.terms(model, batch)


single_errors = eqx.filter_jit(PredictionError().errors)


def test_errors_and_gaps_by_hand():
    errors, gaps = errors_and_gaps(OBJECTIVE, MODEL, RECORDING)
    np.testing.assert_allclose(errors, [[0], [0.5], [0], [0.5], [2], [4]], atol=1e-15)
    np.testing.assert_allclose(gaps, [[1.0], [-0.5]])


def test_value_and_gradient_by_hand():
    # Scaled: 0, 1, 0, 1, 4, 8 and 4, −2, whose squares sum to 82 and 20. With 8 of them
    # L = 102/16. Slopes over the scale, along the rate: 1/½ of the 1; 5/¼ of the 4 and
    # of the −2; 10.5/½ of the 4; (22 + 2·10.5)/½ of the 8:
    #   (2 + 80 − 40 + 84 + 688)/8 = 101.75
    # and along the second beginning −1/¼ of the 4 and 2/¼ of the −2: −32/8 = −4.
    value, slope = value_and_gradient(OBJECTIVE, MODEL, RECORDING)
    np.testing.assert_allclose(value, 102 / 16, rtol=1e-14)
    np.testing.assert_allclose(slope.dynamics.rate, 101.75, rtol=1e-14)
    np.testing.assert_allclose(slope.states[1], [-4.0], rtol=1e-14)
    residuals, terms = residuals_and_terms(OBJECTIVE, MODEL, RECORDING)
    np.testing.assert_allclose(terms["prediction_error"].value, 82 / 16, rtol=1e-14)
    np.testing.assert_allclose(terms["gaps"].value, 20 / 16, rtol=1e-14)
    np.testing.assert_allclose(0.5 * jnp.mean(residuals**2), value, rtol=1e-14)


def test_trajectories_of_a_batch_have_no_gap_between_them():
    batch = Trajectory(
        np.stack([MEASURED, MEASURED + 100.0]), np.stack([ACTIONS] * 2), 1.0
    )
    # From 101 the second runs 203, 406, 812, 1625; all its gaps are closed.
    others = jnp.array([[101.0], [406.0], [812.0]])
    both = ShootingVariables(MODEL.dynamics, jnp.concatenate([BEGINS, others]))
    errors, gaps = errors_and_gaps(OBJECTIVE, both, batch)
    np.testing.assert_allclose(gaps, [[1.0], [-0.5], [0.0], [0.0]], atol=1e-12)
    np.testing.assert_allclose(errors[:6, 0], [0, 0.5, 0, 0.5, 2, 4], atol=1e-15)
    np.testing.assert_allclose(errors[6:9], [[0.0], [100.5], [301.0]])


@pytest.mark.parametrize("horizon", [1, 3, 5])
def test_with_closed_gaps_it_is_the_output_error(horizon):
    whole = motion(MODEL.dynamics, [1.0], ACTIONS)
    ideal = Trajectory(whole, ACTIONS, 1.0)
    model = ShootingVariables.of(MODEL.dynamics, ideal, horizon)
    objective = MultipleShooting(horizon, np.ones(1), np.ones(1))
    single = single_errors(MODEL.dynamics, RECORDING)[0]
    errors, gaps = errors_and_gaps(objective, model, RECORDING)
    np.testing.assert_allclose(errors, np.concatenate([[[0.0]], single]), atol=1e-12)
    np.testing.assert_allclose(gaps, 0.0, atol=1e-12)


def test_gradient_matches_finite_differences():
    recording = swinging(10)[1]
    objective = MultipleShooting(4, POSITIONS, GAPS)
    model = ShootingVariables.of(Pendulum(GUESS), recording, 4, velocities=False)

    def value(parameters, states):
        return 1e-3 * objective(
            ShootingVariables(Pendulum(parameters), states), recording
        )

    assert_derivatives(value, (GUESS, model.states), rtol=1e-6)


def test_what_was_not_measured_counts_nothing():
    # Also where it is NaN, of which no derivative is.
    _, recording = swinging(10)
    positions = np.where([True, False], recording.observations, np.nan)
    unknown = Trajectory(positions, recording.actions, TIME_STEP)
    objective = MultipleShooting(4, POSITIONS, GAPS)
    model = ShootingVariables.of(Pendulum(GUESS), unknown, 4)
    for a, b in zip(
        jax.tree.leaves(value_and_gradient(objective, model, recording)),
        jax.tree.leaves(value_and_gradient(objective, model, unknown)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_angles_count_modulo_a_turn():
    states, recording = swinging(10)
    objective = MultipleShooting(5, np.ones(2), np.ones(2), wraps=(True, False))
    model = ShootingVariables.of(Pendulum(GUESS), recording, 5)
    turned = Trajectory(
        np.asarray(recording.observations) + [2 * np.pi, 0.0],
        recording.actions,
        TIME_STEP,
    )
    far = ShootingVariables(model.dynamics, model.states.at[1, 0].add(2 * jnp.pi))
    # The beginnings as well as the samples may be a turn away.
    expected, _ = residuals_and_terms(objective, model, recording)
    for other, batch in ((model, turned), (far, recording)):
        residuals, _ = residuals_and_terms(objective, other, batch)
        np.testing.assert_allclose(residuals, expected, atol=1e-12)


def test_windows_start_at_what_was_measured():
    np.testing.assert_array_equal(
        ShootingVariables.of(Growth(jnp.array(2.0)), RECORDING, 2).states,
        MEASURED[[0, 2, 3]],
    )
    np.testing.assert_allclose(MODEL(jnp.array([3.0]), jnp.array([1.0])), [7.0])


def test_velocities_are_differences_where_they_were_not_measured():
    # Of q = t² at uneven times: 2t, exactly. What was measured, 7, stays.
    times = np.array([[0.0, 0.5, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    states = np.stack([times**2, np.full_like(times, 7.0)], -1)
    actions = np.zeros((2, 3, 1))
    batch = Trajectory(states, actions, 1.0, times=times)
    found = ShootingVariables.of(Drift(), batch, 1, velocities=False).states
    np.testing.assert_allclose(found[:, 1], 2 * times[:, :-1].ravel(), atol=1e-14)
    states[0, 1, 1] = np.nan
    found = ShootingVariables.of(Drift(), batch, 1).states
    np.testing.assert_allclose(found[:, 1], [7, 1, 7, 7, 7, 7])


def test_differences_of_angles_are_over_the_shorter_way():
    angles = np.array([3.0, 3.1, 3.2 - 2 * np.pi, 3.3 - 2 * np.pi])
    batch = Trajectory(
        np.stack([angles, np.full(4, np.nan)], -1), np.zeros((3, 1)), 1.0
    )
    found = ShootingVariables.of(Drift(), batch, 1, wraps=(True, False)).states
    np.testing.assert_allclose(found[:, 1], 0.1, atol=1e-12)


def test_parameters_and_velocities_come_from_positions_alone():
    states, recording = swinging()
    objective = MultipleShooting(25, POSITIONS, GAPS)
    model = ShootingVariables.of(Pendulum(GUESS), recording, 25, velocities=False)
    assert np.abs(model.states - states[:-1:25])[:, 1].max() > 0.02
    result = least_squares(objective, model, recording)
    # Noise-free, so up to rounding, which the fall's growth multiplies.
    np.testing.assert_allclose(result.model.dynamics.parameters, TRUE, rtol=1e-9)
    np.testing.assert_allclose(result.model.states, states[:-1:25], atol=1e-9)


def test_a_cart_pole_that_moves_as_recorded_has_no_residuals():
    twin = Twin(load_urdf(str(CART_POLE)), 1 / 60, actuated=(0,))
    model = ParametricTwin(twin, free=("mass[pole]", "damping"))
    actions = 4 * np.sin(np.arange(40) / 12)[:, None]
    states = motion(model, [0.0, 2.5, 0.3, 0.5], actions)
    recording = Trajectory(states * [1.0, 1.0, 0.0, 0.0], actions, 1 / 60)
    scale = np.array([0.01, 0.01, np.inf, np.inf])
    objective = MultipleShooting(15, scale, np.array([0.01, 0.01, 0.1, 0.1]))
    true = ShootingVariables(model, jnp.asarray(states[[0, 15, 25]]))
    residuals, _ = residuals_and_terms(objective, true, recording)
    assert residuals.shape == (41 + 2, 4)
    np.testing.assert_allclose(residuals, 0.0, atol=1e-10)
    names = Fit.of(objective, true, recording).names()
    assert names[3:5] == [".states[0, 0]", ".states[0, 1]"]


def test_an_unstable_recording_that_one_shot_cannot_follow():
    # An error grows by e^(2.9 · 6) over it, a few 10⁷ times.
    recording = balanced()
    single = least_squares(PredictionError(None, POSITIONS), Pendulum(GUESS), recording)
    off = np.abs(single.model.parameters / TRUE - 1)
    assert off.max() > 0.3
    model = ShootingVariables.of(Pendulum(GUESS), recording, 25, velocities=False)
    objective = MultipleShooting(25, POSITIONS, GAPS)
    result = least_squares(objective, model, recording)
    off = np.abs(result.model.dynamics.parameters / TRUE - 1)
    # By its own covariance the estimate's standard deviation is under 2 %.
    assert off.max() < 0.04
    # ½ for noise as large as its scale, over half of the coordinates.
    assert result.loss < 0.3 < single.loss


def test_gradient_descent_finds_what_least_squares_finds():
    exact = least_squares(OBJECTIVE, MODEL, RECORDING)
    result = minimize(OBJECTIVE, MODEL, RECORDING, steps=200)
    np.testing.assert_allclose(result.loss, exact.loss, rtol=1e-4)
    assert set(result.history) >= {"loss", "prediction_error", "gaps"}


def test_adds_to_a_prior():
    # Of a rate of 3 before, off by 1: ½ · 1² beside the 102/16 of above.
    prior = Prior(Growth(jnp.array(3.0)), lambda m: getattr(m, "dynamics", m).rate)
    residuals, terms = residuals_and_terms(OBJECTIVE + prior, MODEL, RECORDING)
    assert set(terms) == {"prediction_error", "gaps", "prior"}
    np.testing.assert_allclose(0.5 * jnp.mean(residuals**2), 0.5 + 102 / 16)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ((0, np.ones(1), np.ones(1)), "`horizon` must be at least 1, got 0"),
        ((1, np.array([0.0]), np.ones(1)), "`scale` must hold one positive number"),
        ((1, np.array([np.nan]), np.ones(1)), "`scale` must hold one positive number"),
        ((1, np.array([np.inf]), np.ones(1)), "`scale` .* one of them finite"),
        ((1, np.ones(1), np.array([-1.0])), "`gap_scale` must hold one positive"),
        ((1, np.ones(2), np.array([1.0, np.inf])), "`gap_scale` .* all of them finite"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        MultipleShooting(*arguments)


class OfAnotherStep(eqx.Module):
    time_step: float = eqx.field(static=True, default=0.5)

    def __call__(self, state, action):
        return state


def gaussian(state, action):
    return Gaussian(state, jnp.ones_like(state))


@pytest.mark.parametrize(
    "objective, model, match",
    [
        (
            OBJECTIVE,
            MODEL.dynamics,
            "`model` must be a `ShootingVariables`, got Growth",
        ),
        (
            OBJECTIVE,
            ShootingVariables(MODEL.dynamics, BEGINS[:2]),
            r"\(3, 1\), got shape \(2",
        ),
        (
            OBJECTIVE,
            ShootingVariables(gaussian, BEGINS),
            "`model.dynamics` must predict states",
        ),
        (
            OBJECTIVE,
            ShootingVariables(OfAnotherStep(), BEGINS),
            "`model` must have `advance",
        ),
        (MultipleShooting(6, np.ones(1), np.ones(1)), MODEL, "`batch` .* = 6 steps"),
        (MultipleShooting(2, np.ones(2), np.ones(2)), MODEL, "`scale` .* 1 axes"),
        (
            MultipleShooting(2, np.ones(1), np.ones(1), wraps=(True, False)),
            MODEL,
            "`wraps` must hold one for each of the 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(objective, model, match):
    with pytest.raises(ValueError, match=match):
        objective(model, RECORDING)


@pytest.mark.parametrize(
    "observations, horizon, options, match",
    [
        (np.ones((4, 2)), 0, {}, "`horizon` must be at least 1, got 0"),
        (np.ones((4, 2)), 4, {}, "`batch` must hold at least"),
        (np.ones((4, 2)), 1, {"wraps": (True,)}, "`wraps` .* 2 state coordinates"),
        (np.ones((4, 3)), 1, {"velocities": False}, "`batch` .* got 3 coordinates"),
        (np.ones((2, 2)), 1, {"velocities": False}, "at least 3 samples, got 2"),
        (
            np.array([[1.0, 1.0], [np.nan, 1.0], [1.0, 1.0]]),
            1,
            {},
            r"`batch` must be finite, .* got nan at \(1, 0\)",
        ),
        (
            np.array([[1.0, 1.0], [1.0, np.inf], [1.0, 1.0]]),
            1,
            {},
            r"got inf at \(1, 1\)",
        ),
    ],
)
def test_starts_that_cannot_be_made_are_refused(observations, horizon, options, match):
    actions = np.zeros((len(observations) - 1, 1))
    with pytest.raises(ValueError, match=match):
        ShootingVariables.of(
            Drift(), Trajectory(observations, actions, 1.0), horizon, **options
        )
