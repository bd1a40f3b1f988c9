import os
import signal
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares as scipy_least_squares

import roboopt as ro
from roboopt import Bound, Frozen, least_squares
from roboopt.objectives import ResidualObjective


class Residuals(ResidualObjective):
    """Residuals given as a function of model and data."""

    function: Callable[[Any, Any], Any] = eqx.field(static=True)

    def residuals(self, model, batch):
        return self.function(model, batch)


class Model(eqx.Module):
    gain: jax.Array
    offsets: jax.Array


RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(20, 3)), RNG.normal(size=20)
NOTHING = np.zeros(1)


def whole(model):
    return model


@Residuals
def linear(model, batch):
    return batch[0] @ model - batch[1]


@Residuals
def rosenbrock(model, batch):
    return jnp.stack([10 * (model[1] - model[0] ** 2), 1 - model[0]])


@Residuals
def stretched(model, batch):
    """√H (x − x*), with x* = (−1, 3) and H = [1 0.99; 0.99 1]."""
    factor = np.linalg.cholesky(np.array([[1.0, 0.99], [0.99, 1.0]])).T
    return jnp.asarray(factor) @ (model - jnp.array([-1.0, 3.0]))


def test_a_linear_problem_by_hand():
    # The mean of 1, 2 and 6 is 3, with a loss of (4 + 1 + 9)/(2·3).
    result = least_squares(
        Residuals(lambda m, batch: m[0] - batch),
        jnp.zeros(1),
        np.array([1.0, 2.0, 6.0]),
    )
    assert result.model[0] == pytest.approx(3.0, rel=1e-9)
    assert result.loss == pytest.approx(14 / 6)
    np.testing.assert_allclose(result.history["loss"][0], (1 + 4 + 36) / 6)
    assert len(result.history["loss"]) == result.steps + 1
    assert result.reason == "tolerance"
    assert result.message == f"no further improvement after {result.steps} steps"


def test_a_linear_problem_takes_a_few_steps():
    # The damping falls from 1e-4 a hundredfold each time: after three steps 1e-4, 1e-6
    # and 1e-8 of one another are left of the error, less than rounding.
    result = least_squares(linear, jnp.ones(3), DATA, tolerance=0.0)
    assert result.steps == 3
    expected = np.linalg.lstsq(*DATA)[0]
    np.testing.assert_allclose(result.model, expected, rtol=1e-12)


def test_rosenbrock():
    result = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), NOTHING)
    np.testing.assert_allclose(result.model, [1.0, 1.0], rtol=1e-9)
    assert result.steps < 40
    assert np.all(np.diff(result.history["loss"]) < 0)


def test_agrees_with_scipy():
    rate, time = np.array([2.0, 0.7, 0.3]), np.linspace(0, 3, 40)
    curve = lambda x, t: x[0] * jnp.exp(-x[1] * t) + x[2]  # noqa: E731
    noise = 0.05 * np.random.default_rng(1).normal(size=40)
    data = time, np.asarray(curve(rate, time)) + noise
    residuals = lambda x, batch: curve(x, batch[0]) - batch[1]  # noqa: E731
    start = np.array([1.0, 1.0, 0.0])
    ours = least_squares(Residuals(residuals), jnp.asarray(start), data)
    theirs = scipy_least_squares(
        lambda x: np.asarray(residuals(x, data)), start, xtol=1e-14, ftol=1e-14
    )
    np.testing.assert_allclose(ours.model, theirs.x, rtol=1e-5)
    assert ours.loss == pytest.approx(theirs.cost / 40, rel=1e-9)


def test_residuals_that_stay_large_take_no_more_steps(tmp_path):
    # Brown and Dennis (Moré, Garbow and Hillstrom, 1981, problem 16); without the
    # curvature of the residuals 100 steps are not enough.
    time = jnp.arange(1, 21) / 5

    @Residuals
    def brown_dennis(x, batch):
        first = x[0] + time * x[1] - jnp.exp(time)
        return first**2 + (x[2] + x[3] * jnp.sin(time) - jnp.cos(time)) ** 2

    start = jnp.array([25.0, 5.0, -5.0, -1.0])
    result = least_squares(brown_dennis, start, NOTHING)
    assert 40 * result.loss == pytest.approx(85822.20162635628, rel=1e-12)
    assert result.steps < 25
    for steps in (8, 100):
        parts = least_squares(
            brown_dennis, start, NOTHING, steps=steps, checkpoint=tmp_path / "fit"
        )
    np.testing.assert_array_equal(parts.history["loss"], result.history["loss"])


def test_scales_do_not_matter():
    scales = jnp.array([1e6, 1e-4])
    scaled = Residuals(lambda m, batch: rosenbrock.residuals(m / scales, batch))
    ours = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, steps=8)
    other = least_squares(scaled, scales * jnp.array([-1.2, 1.0]), NOTHING, steps=8)
    np.testing.assert_allclose(
        other.history["loss"], ours.history["loss"], rtol=1e-6, atol=1e-12
    )


def test_a_bound_that_binds_is_reached_exactly():
    # Over x ≤ 0.5 Rosenbrock's best is (0.5, 0.25).
    bound = Bound(whole, -np.inf, np.array([0.5, np.inf]))
    result = least_squares(
        rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, bounds=[bound], tolerance=1e-14
    )
    assert result.model[0] == 0.5
    assert result.model[1] == pytest.approx(0.25, rel=1e-9)


def test_files_of_settings_may_call_a_bound_inf():
    assert Bound(whole, "-inf", "Infinity").upper == np.inf
    found = [
        least_squares(rosenbrock, np.array([-1.2, 1.0]), NOTHING, bounds=[bound])
        for bound in (Bound(whole, -9.0, "inf"), Bound(whole, -9.0, np.inf))
    ]
    np.testing.assert_array_equal(found[0].model, found[1].model)
    for text in ("1", "nan"):
        with pytest.raises(ro.RobooptError, match=f"`upper` .* numbers, got '{text}'"):
            Bound(whole, 0.0, text)


def test_a_start_on_a_bound_stays_or_leaves():
    # Means of 2 and −2, not below 0, from 0: the first leaves, the second stays.
    objective = Residuals(lambda m, batch: m - batch)
    result = least_squares(
        objective,
        jnp.zeros(2),
        np.array([2.0, -2.0]),
        bounds=[Bound(whole, 0.0, np.inf)],
    )
    assert result.model[0] == pytest.approx(2.0, rel=1e-9)
    assert result.model[1] == 0.0


def test_a_bound_that_does_not_bind_changes_nothing():
    free = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), NOTHING)
    bounds = [Bound(whole, -10.0, np.array([10.0, 9.0]))]
    held = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, bounds=bounds)
    np.testing.assert_array_equal(held.model, free.model)


def test_a_step_cut_short_by_a_bound_does_not_end_the_descent():
    # From (0.1, 1) the whole step is to (−1, 3); cut short at x = 0 it leads uphill, to
    # ½·1, from 0.427. The best over x ≥ 0 is y = 3 − 0.99, where both gradients do not
    # point inside.
    result = least_squares(
        stretched,
        jnp.array([0.1, 1.0]),
        NOTHING,
        bounds=[Bound(whole, np.array([0.0, -np.inf]), np.inf)],
    )
    np.testing.assert_allclose(result.model, [0.0, 2.01], rtol=1e-9, atol=1e-15)
    assert result.model[0] == 0.0


def test_several_leaves_and_what_is_trained():
    # y = g·x + a + b at x = 0, 1, with b held at 1: g = 3 and a = 1 for y = 2 and 5.
    def residuals(model, batch):
        return model.gain * batch[0] + jnp.sum(model.offsets) - batch[1]

    data = np.array([[0.0, 1.0], [2.0, 5.0]])
    start = Model(jnp.array(0.0), jnp.array([0.0]))
    result = least_squares(Residuals(residuals), start, data)
    assert result.model.gain == pytest.approx(3.0)
    np.testing.assert_allclose(result.model.offsets, [2.0])
    only = least_squares(Residuals(residuals), start, data, trainable=lambda m: m.gain)
    assert only.model.gain == pytest.approx(5.0)
    np.testing.assert_array_equal(only.model.offsets, [0.0])
    bounds = [Bound(lambda m: m.gain, -1.0, 1.5)]
    held = least_squares(Residuals(residuals), start, data, bounds=bounds)
    assert held.model.gain == 1.5
    np.testing.assert_allclose(held.model.offsets, [2.75])


def test_what_is_frozen_stays():
    start = (jnp.array(1.0), Frozen(jnp.array(2.0)))
    objective = Residuals(lambda m, batch: m[0] + m[1]() - batch)
    result = least_squares(objective, start, np.array([7.0]))
    assert result.model[0] == pytest.approx(5.0)
    assert result.model[1].value == 2.0


def test_a_parameter_without_effect_is_named_and_stays():
    objective = Residuals(lambda m, batch: m.gain + m.offsets[:1] - batch)
    start = Model(jnp.array(1.0), jnp.array([0.0, 5.0]))
    with pytest.warns(UserWarning, match=r"parameters.*: \.offsets\[1\]\.$"):
        result = least_squares(objective, start, np.array([7.0]))
    assert result.model.offsets[1] == 5.0
    assert result.model.gain + result.model.offsets[0] == pytest.approx(7.0)


def test_a_parameter_seen_through_rounding_alone_stays():
    objective = Residuals(lambda m, batch: jnp.stack([m[0] - 2, 1e-18 * m[1]]))
    with pytest.warns(UserWarning, match=r": \[1\]\.$"):
        result = least_squares(objective, jnp.ones(2), NOTHING)
    np.testing.assert_allclose(result.model, [2.0, 1.0], rtol=1e-9)


def test_a_parameter_may_come_to_matter():
    # x y = 1 and x = 2 from (0, 1): y is without effect at x = 0, and ends at ½.
    objective = Residuals(lambda m, batch: jnp.stack([m[0] * m[1] - 1, m[0] - 2]))
    with pytest.warns(UserWarning, match=r": \[1\]\.$"):
        result = least_squares(objective, jnp.array([0.0, 1.0]), NOTHING)
    np.testing.assert_allclose(result.model, [2.0, 0.5], rtol=1e-8)


@pytest.mark.parametrize(
    "stop, reason, steps",
    [
        ({"steps": 3}, "steps", 3),
        ({"callback": lambda status: status.step == 2}, "callback", 2),
        ({"seconds": 1e-9}, "seconds", 1),
    ],
)
def test_it_stops_when_told(stop, reason, steps):
    result = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, **stop)
    assert (result.reason, result.steps) == (reason, steps)
    assert str(steps) in result.message
    assert result.loss == result.history["loss"][-1]
    assert result.loss < result.history["loss"][0]


def test_ctrl_c_keeps_the_best():
    def interrupt(status):
        if status.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    result = least_squares(
        rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, callback=interrupt
    )
    assert (result.reason, result.steps) == ("interrupted", 2)
    assert result.message == "interrupted after 2 steps"
    at_two = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, steps=2)
    np.testing.assert_array_equal(result.model, at_two.model)


def test_a_callback_sees_each_step():
    seen = []
    result = least_squares(
        rosenbrock, jnp.array([-1.2, 1.0]), NOTHING, callback=seen.append
    )
    assert [s.step for s in seen] == list(range(1, result.steps + 1))
    np.testing.assert_array_equal([s.loss for s in seen], result.history["loss"][1:])
    np.testing.assert_array_equal(seen[-1].model, result.model)


def test_a_region_where_residuals_are_not_finite_is_stepped_around():
    # From 100 the step of Gauss and Newton to log x = log 4 is far below 0.
    objective = Residuals(lambda m, batch: jnp.log(m) - jnp.log(4.0))
    result = least_squares(objective, jnp.array([100.0]), NOTHING)
    np.testing.assert_allclose(result.model, [4.0], rtol=1e-9)


def test_single_precision_stays_single():
    start = jnp.ones(3, jnp.float32)
    result = least_squares(
        Residuals(lambda m, b: b[0] @ m - b[1]),
        start,
        jax.tree.map(jnp.float32, DATA),
        tolerance=1e-6,
    )
    assert result.model.dtype == jnp.float32
    np.testing.assert_allclose(result.model, np.linalg.lstsq(*DATA)[0], rtol=1e-4)


def test_derivatives_that_are_not_finite_are_named():
    objective = Residuals(
        lambda m, batch: jnp.stack([jnp.sqrt(m.gain), m.offsets[0] - 1])
    )
    start = Model(jnp.array(0.0), jnp.array([3.0]))
    with pytest.raises(ValueError, match=r"finite residuals.*not finite: \.gain\.$"):
        least_squares(objective, start, NOTHING)


def test_derivatives_that_stop_being_finite_end_the_fit_where_it_is():
    objective = Residuals(lambda m, batch: jnp.append(jnp.sqrt(jnp.maximum(m, 0)), 0.1))
    with pytest.warns(UserWarning, match=r"not finite where the fit has come to"):
        result = least_squares(objective, jnp.array([1.0]), NOTHING)
    assert result.steps == 1 and float(result.model[0]) <= 0
    assert result.loss == pytest.approx(0.1**2 / 4)


def test_residuals_that_are_not_finite_are_refused():
    objective = Residuals(lambda m, batch: m / batch)
    with pytest.raises(ValueError, match="finite residuals and derivatives"):
        least_squares(objective, jnp.ones(1), NOTHING)


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"objective": lambda m, b: m}, "`residuals.*function has none: use `minimize"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"tolerance": -1.0}, "`tolerance` must be finite and not negative"),
        ({"seconds": 0.0}, "`seconds` must be positive, got 0"),
        ({"data": np.array([np.nan])}, "`data` must be finite"),
        ({"data": lambda model, key: 1}, "`data` must hold arrays.*function"),
        ({"model": 1.0}, "`model` must have a floating-point array"),
        (
            {"bounds": [Bound(whole, 0.0, 9.0)]},
            r"within its `bounds`: \[0\] is -1.2, not within 0.0 to 9.0",
        ),
    ],
)
def test_bad_input_is_refused(settings, match):
    given = {
        "objective": rosenbrock,
        "model": jnp.array([-1.2, 1.0]),
        "data": NOTHING,
        **settings,
    }
    with pytest.raises(ValueError, match=match):
        least_squares(
            given.pop("objective"), given.pop("model"), given.pop("data"), **given
        )


def test_bounds_of_what_is_not_trained_are_refused():
    start = Model(jnp.array(0.0), jnp.array([3.0]))
    objective = Residuals(lambda m, batch: m.gain - batch)
    with pytest.raises(ValueError, match="`bounds` must select trainable arrays"):
        least_squares(
            objective,
            start,
            NOTHING,
            trainable=lambda m: m.gain,
            bounds=[Bound(lambda m: m.offsets, 0.0, 9.0)],
        )
