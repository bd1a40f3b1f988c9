import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from hand_twins import pendulum_twin, record

from roboopt import PredictionError, RobooptError, Trajectory
from roboopt.dynamics import Gaussian, ParametricTwin
from roboopt.losses import Huber


class Factor(eqx.Module):
    """s' = k s + a, on one coordinate."""

    k: jax.Array

    def __call__(self, state, action):
        return self.k * state + action


class Flow(eqx.Module):
    """ds/dt = k s + a, in steps of Euler's; of 0.1 s where none is told."""

    k: jax.Array
    time_step: float | None = eqx.field(static=True, default=0.1)

    def __call__(self, state, action):
        return self.advance(state, action, 0.1)

    def advance(self, state, action, duration):
        return state + duration * (self.k * state + action)


class Guess(eqx.Module):
    """Factor, and how sure it is."""

    k: jax.Array
    variance: jax.Array

    def __call__(self, state, action):
        return Gaussian(self.k * state + action, self.variance)


def factor(k):
    return Factor(jnp.array(k))


def recording(*states, actions=None, time_step=0.1, times=None):
    states = np.array(states, float)
    states = states[:, None] if states.ndim == 1 else states
    size = (len(states) - 1, states.shape[1])
    actions = np.zeros(size) if actions is None else np.array(actions, float)[:, None]
    return Trajectory(states, actions, time_step, times=times)


ONE = np.ones(1)
DOUBLING = recording(1, 2, 4, 8, 16)


def test_value_and_gradient_by_hand():
    # One step, k = 3: errors 3·1 − 2, 3·2 − 4 and, with the action 1, 3·4 + 1 − 8, each
    # over 2: L = (1 + 4 + 25)/(2·3·4) = 1.25, dL/dk = (1·1 + 2·2 + 5·4)/(3·4) = 25/12.
    batch = recording(1, 2, 4, 8, actions=[0, 0, 1])
    objective = PredictionError(horizon=1, scale=2 * ONE)
    value, grad = eqx.filter_value_and_grad(objective)(factor(3.0), batch)
    np.testing.assert_allclose([value, grad.k], [1.25, 25 / 12], rtol=1e-14)
    terms = objective.terms(factor(3.0), batch)
    assert list(terms) == ["prediction_error"]
    assert terms["prediction_error"].unit == "1"


def test_inside_a_window_predictions_run_open_loop():
    # From 1: 3 and 9 for 2 and 4; from 4: 12 and 36 for 8 and 16.
    errors = PredictionError(horizon=2).errors(factor(3.0), DOUBLING)
    np.testing.assert_array_equal(errors[..., 0], [[1.0, 5.0], [4.0, 20.0]])
    # The whole where no horizon is said: 3, 9, 27, 81 for 2, 4, 8, 16.
    errors = PredictionError().errors(factor(3.0), DOUBLING)
    np.testing.assert_array_equal(errors[..., 0], [[1.0, 5.0, 19.0, 65.0]])


def test_the_last_window_is_shifted_to_end_at_the_end():
    # Four steps in windows of three: from 1, and once more from 2.
    errors = PredictionError(horizon=3).errors(factor(3.0), DOUBLING)
    np.testing.assert_array_equal(errors[..., 0], [[1, 5, 19], [2, 10, 38]])


def test_a_lead_is_not_predicted():
    errors = PredictionError(horizon=2, lead=1).errors(factor(3.0), DOUBLING)
    # From 2 (6 and 18 for 4 and 8), and from 4, shifted to the end.
    np.testing.assert_array_equal(errors[..., 0], [[2, 10], [4, 20]])
    errors = PredictionError(lead=3).errors(factor(3.0), DOUBLING)
    np.testing.assert_array_equal(errors[..., 0], [[8]])


def test_a_batch_is_its_trajectories():
    batch = jax.tree.map(lambda x: np.stack([x, 2 * x]), DOUBLING)
    error = PredictionError(horizon=2).errors(factor(3.0), batch)
    alone = PredictionError(horizon=2).errors(factor(3.0), DOUBLING)
    np.testing.assert_array_equal(error, np.concatenate([alone, 2 * alone]))


def test_its_residuals_are_its_value():
    objective = PredictionError.for_data(
        factor(3.0), DOUBLING, horizon=2, loss=Huber(1.0)
    )
    residuals = objective.residuals(factor(3.0), DOUBLING)
    value = objective(factor(3.0), DOUBLING)
    np.testing.assert_allclose(0.5 * jnp.mean(residuals**2), value, rtol=1e-15)


def for_data(model, batch, **settings):
    """Return the value with the scale of the same data."""
    return PredictionError.for_data(model, batch, **settings)(model, batch)


def test_the_scale_is_the_change_over_a_window():
    # Over one step 1, 2, 4 and 8: √(85/4); errors at k = 3 are these too, so L = ½.
    assert for_data(factor(3.0), DOUBLING, horizon=1) == pytest.approx(0.5)
    # Over two: 1, 3, 4, 12, and errors 1, 5, 4, 20.
    value = for_data(factor(3.0), DOUBLING, horizon=2)
    assert value == pytest.approx(0.5 * (1 + 25 + 16 + 400) / (1 + 9 + 16 + 144))
    # What never changes is taken as it is.
    assert for_data(factor(3.0), recording(1, 1), horizon=1) == 0.5 * 2**2


def test_the_scale_is_fixed_whatever_the_minibatch():
    # The mean over two minibatches of equal size is the value of the whole.
    objective = PredictionError.for_data(factor(3.0), DOUBLING, horizon=1)
    parts = [recording(1, 2, 4), recording(4, 8, 16)]
    values = [float(objective(factor(3.0), part)) for part in parts]
    whole = float(objective(factor(3.0), DOUBLING))
    assert np.mean(values) == pytest.approx(whole, rel=1e-14)
    with pytest.raises(RobooptError, match="`scale` must hold.*for_data"):
        PredictionError(horizon=1)(factor(3.0), DOUBLING)


def test_the_unit_of_a_coordinate_does_not_matter():
    batch = recording([1, 0.1], [2, 0.4], [4, 0.3])
    ours = for_data(factor(3.0), batch, horizon=1)
    observations = batch.observations * np.array([1.0, 180 / np.pi])
    degrees = Trajectory(observations, batch.actions, 0.1)
    assert for_data(factor(3.0), degrees, horizon=1) == pytest.approx(ours)


def test_what_was_not_measured_does_not_count():
    batch = recording([1, 7], [2, -3])
    objective = PredictionError(scale=np.array([0.5, np.inf]))
    # (3 − 2)/0.5 = 2, of two residuals.
    value, grad = eqx.filter_value_and_grad(objective)(factor(3.0), batch)
    np.testing.assert_allclose([value, grad.k], [0.5 * 4 / 2, 2 * 2 / 2])


def test_angles_count_modulo_a_turn():
    batch = recording([3.0, 3.0], [-3.0, -3.0])
    objective = PredictionError(wraps=(True, False), scale=np.ones(2))
    errors = objective.errors(factor(1.0), batch)
    np.testing.assert_allclose(errors[0, 0], [6 - 2 * np.pi, 6.0], rtol=1e-14)
    # The automatic scale is of changes that wrap too: 2π − 6, not 6.
    auto = for_data(factor(1.0), batch, wraps=(True, False))
    assert auto == pytest.approx(0.5)


def test_huber_by_hand():
    # At threshold 1 errors of 1, 2, 4, 8 cost ½, 1.5, 3.5 and 7.5.
    objective = PredictionError(horizon=1, scale=ONE, loss=Huber(1.0))
    assert objective(factor(3.0), DOUBLING) == pytest.approx(13 / 4)


def test_the_likelihood_of_a_gaussian_by_hand():
    # Errors of 1 and 2 over a scale of 2, with the variance 1/4 of 2²: ½·(¼ + 1)/2/¼ +
    # ½ log ¼, in which d/d(variance) is −½ (¼ + 1)/2/(¼)² /4 + ½/variance.
    batch = recording(1, 2, 4)
    guess = Guess(jnp.array(3.0), jnp.ones(1))
    objective = PredictionError(horizon=1, scale=2 * ONE)
    value, grad = eqx.filter_value_and_grad(objective)(guess, batch)
    assert value == pytest.approx(1.25 + 0.5 * np.log(0.25))
    assert grad.variance[0] == pytest.approx(-1.25 + 0.5)
    assert list(objective.terms(guess, batch)) == ["negative_log_likelihood"]
    with pytest.raises(ValueError, match="must predict states for a sum of squares"):
        objective.residuals(guess, batch)


def test_the_means_of_gaussians_are_followed():
    guess = Guess(jnp.array(3.0), jnp.ones(1))
    np.testing.assert_array_equal(
        PredictionError().errors(guess, DOUBLING),
        PredictionError().errors(factor(3.0), DOUBLING),
    )


def test_a_likelihood_leaves_out_what_was_not_measured():
    batch = recording([1, 7], [2, -3])
    guess = Guess(jnp.array(3.0), jnp.full(2, 0.25))
    objective = PredictionError(scale=np.array([1.0, np.inf]))
    # ½·1²/¼ + ½ log ¼ of the first, 0 of the second.
    expected = (2 + 0.5 * np.log(0.25)) / 2
    assert objective(guess, batch) == pytest.approx(expected)


def test_another_sampling_step_is_simulated_in_substeps():
    # 0.25 s in steps of at most 0.1 s are three of 1/12 s: (1 + 1.2/12)³ = 1.1³.
    model = Flow(jnp.array(1.2))
    errors = PredictionError().errors(model, recording(1, 0, time_step=0.25))
    np.testing.assert_allclose(errors, 1.331, rtol=1e-14)
    # A whole number of the model's steps is just that many, rounding or not.
    errors = PredictionError().errors(model, recording(1, 0, time_step=3 * 0.1))
    np.testing.assert_allclose(errors, 1.12**3, rtol=1e-14)
    # And a shorter step is one.
    errors = PredictionError().errors(model, recording(1, 0, time_step=0.05))
    np.testing.assert_allclose(errors, 1.06, rtol=1e-14)


@pytest.mark.parametrize("step", [0.1, 0.2])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_recordings_meet_the_precision_of_the_dynamics(kind, step):
    double = recording(1, 2, 4, time_step=step)
    single = jax.tree.map(lambda x: x.astype(np.float32), double)
    objective = PredictionError(scale=ONE)
    flow = Flow(jnp.asarray(1.0, kind))
    value = objective(flow, single)
    assert value.dtype == kind
    np.testing.assert_allclose(value, objective(flow, double), rtol=1e-6)


def test_uneven_times_are_followed():
    # Steps of 0.05 and 0.1 s: 1.06 and, from 2, 2·1.12.
    batch = recording(1, 2, 3, time_step=0.075, times=np.array([0.0, 0.05, 0.15]))
    errors = PredictionError(horizon=1).errors(Flow(jnp.array(1.2)), batch)
    np.testing.assert_allclose(errors[..., 0], [[1.06 - 2], [2.24 - 3]], rtol=1e-13)
    errors = PredictionError(horizon=1).errors(Flow(jnp.array(1.2), None), batch)
    np.testing.assert_allclose(errors[..., 0], [[1.06 - 2], [2.24 - 3]], rtol=1e-13)


@pytest.mark.parametrize("horizon", [1, 7, None])
def test_the_twins_own_motions_have_no_error(horizon):
    twin = pendulum_twin()
    model = ParametricTwin(twin, ("mass", "damping"))
    batch = record(twin, steps=20)
    errors = jax.jit(PredictionError(horizon=horizon).errors)(model, batch)
    np.testing.assert_allclose(errors, 0.0, atol=1e-13)


def test_an_actuator_remembers_the_lead():
    # What the robot feels at k was commanded at k − 2.
    twin = pendulum_twin()
    batch = record(twin, steps=20)
    felt = np.asarray(batch.actions)
    commanded = np.concatenate([felt[2:], felt[:2]])
    late = Trajectory(batch.observations, commanded, batch.time_step)
    model = ParametricTwin(twin, "delay")
    model = eqx.tree_at(lambda m: m.coordinates, model, jnp.array([0.2]))
    errors = jax.jit(PredictionError(horizon=6, lead=2).errors)(model, late)
    np.testing.assert_allclose(errors, 0.0, atol=1e-13)
    # Without its lead the first window does not know what it should feel.
    errors = jax.jit(PredictionError(horizon=6).errors)(model, late)
    assert np.abs(errors[0]).max() > 1e-3
    np.testing.assert_allclose(errors[1:], 0.0, atol=1e-13)


def test_the_state_comes_first_in_an_observation():
    twin = pendulum_twin()
    batch = record(twin, steps=5)
    goal = np.full((6, 1), 9.0)
    seen = Trajectory(
        np.concatenate([batch.observations, goal], 1), batch.actions, batch.time_step
    )
    errors = PredictionError(horizon=5).errors(twin, seen)
    assert errors.shape == (1, 5, 2)
    np.testing.assert_allclose(errors, 0.0, atol=1e-13)


def test_gradient_matches_finite_differences():
    batch = recording([1, 7], [2, -3], [4, 2], [1, 1], [0, 2], actions=[1, 2, 0, 1])
    batch = Trajectory(batch.observations, np.repeat(batch.actions, 2, 1), 0.1)
    model = Flow(jnp.array(1.3))
    objective = PredictionError.for_data(model, batch, horizon=3, loss=Huber(2.0))

    def value(gain):
        return objective(Flow(gain), batch)

    assert_derivatives(value, (1.3,))


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"horizon": 0}, "`horizon` must be at least 1, got 0"),
        ({"lead": -1}, "`lead` must be at least 0, got -1"),
        ({"scale": np.array([1.0, 0.0])}, "`scale` must hold one positive number"),
        ({"scale": jnp.array([jnp.inf, jnp.inf])}, "one of them finite"),
    ],
)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        PredictionError(**settings)


@pytest.mark.parametrize(
    "settings, model, batch, match",
    [
        (
            {"horizon": 5},
            factor(2.0),
            DOUBLING,
            r"`lead` \+ `horizon` = 5 steps, got 4",
        ),
        ({"lead": 4}, factor(2.0), DOUBLING, r"`lead` \+ `horizon` = 5 steps, got 4"),
        ({"scale": np.ones(2)}, factor(2.0), DOUBLING, r"the 1 axes.*\(2,\)"),
        ({"wraps": (True,) * 2}, factor(2.0), DOUBLING, "the 1 state coord.*got 2"),
        (
            {},
            factor(2.0),
            recording(1, 2, times=np.array([0.0, 0.1])),
            "`model` must have `advance.*uneven",
        ),
        (
            {},
            Trajectory,
            jax.tree.map(lambda x: x[None, None], DOUBLING),
            "`batch` must be one trajectory or a batch of them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings, model, batch, match):
    with pytest.raises(ValueError, match=match):
        PredictionError(**settings).residuals(model, batch)


def test_another_step_needs_a_dynamics_that_can_take_it():
    class Fixed(Factor):
        time_step: float = eqx.field(static=True, default=0.1)

    with pytest.raises(ValueError, match=r"`advance.*\(0.2 s\) are not its own \(0.1"):
        PredictionError()(Fixed(jnp.array(2.0)), recording(1, 2, time_step=0.2))


def test_windows_begin_where_they_fit_best():
    # At k = 1 the predictions of a start s are s, s, s, s; the best start for 2, 4, 8,
    # 16 is their mean, 7.5, and the errors are 5.5, 3.5, −0.5, −8.5.
    error = PredictionError(scale=ONE, fit_starts=True)
    for start in (1.0, -40.0):
        batch = recording(start, 2, 4, 8, 16)
        errors = error.errors(factor(1.0), batch)[0, :, 0]
        np.testing.assert_allclose(errors, [5.5, 3.5, -0.5, -8.5], rtol=1e-8)
    # One of four degrees of freedom is the start's: r = e √(4/3).
    residuals = error.residuals(factor(1.0), batch)[0, :, 0]
    np.testing.assert_allclose(residuals, np.sqrt(4 / 3) * errors, rtol=1e-12)
    np.testing.assert_allclose(error.errors(factor(2.0), DOUBLING), 0, atol=1e-8)


def test_the_derivative_is_that_of_the_best_start():
    error = PredictionError(scale=ONE, fit_starts=True, horizon=4)
    batch = recording(1.3, 2.2, 4.1, 7.7, 16.4, 30.0, 61.0, 118.0, 250.0)
    assert_derivatives(lambda k: error(Factor(k), batch), (jnp.array(1.9),), order=1)


def test_noise_of_the_start_biases_no_fit_that_fits_it():
    # s₀ = 1 is measured as 1.1: one factor explains the other states, if s₀ is free.
    batch = recording(1.1, 2, 4, 8, 16)
    slope = jax.grad(lambda k, error: error(Factor(k), batch))
    biased = slope(jnp.array(2.0), PredictionError(scale=ONE))
    free = slope(jnp.array(2.0), PredictionError(scale=ONE, fit_starts=True))
    assert abs(biased) > 1.0 and abs(free) < 1e-6


def test_extrapolated_steps_have_an_error_of_second_order():
    # ṡ = −s from 1: after 0.5 s e^−0.5.
    batch = recording(1.0, np.exp(-0.5), time_step=0.5)
    sizes = []
    for step in (0.1, 0.05):
        model = Flow(jnp.array(-1.0), step)
        plain = PredictionError(scale=ONE).errors(model, batch)
        fine = PredictionError(scale=ONE, extrapolate=True).errors(model, batch)
        sizes.append((abs(float(plain[0, 0, 0])), abs(float(fine[0, 0, 0]))))
    (one, two), (half, quarter) = sizes
    assert one / half == pytest.approx(2, rel=0.1)
    assert two / quarter == pytest.approx(4, rel=0.2)
    assert two < 0.05 * one


def test_starts_that_a_window_does_not_show_are_refused():
    for settings, match in (
        ({}, "`scale`"),
        ({"scale": ONE, "horizon": 2}, "`horizon`"),
    ):
        error = PredictionError(fit_starts=True, **settings)
        with pytest.raises(RobooptError, match=match):
            error.residuals(factor(1.0), DOUBLING)
