"""Gradients explained: by parameter, term, step size and time, against other ways."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.diagnose import TimeSplit, explain
from roboopt.diagnose._explanation_figures import line_panel
from roboopt.dynamics import Randomized
from roboopt.objectives import Objective
from roboopt.policies import MLPPolicy, ObservationHistory


def network(weights, sample):
    (w1, w2), (x, y) = weights, sample
    return (w2 * w1 * x - y) ** 2


def test_two_weights_by_hand():
    # L = (0.6 − 3)² = 5.76, dL/dw1 = −4.8·0.8·1.5 = −5.76, dL/dw2 = −4.8·0.75 = −3.6.
    found = explain(network, jnp.array([0.5, 0.8]), (1.5, 3.0))
    assert found.loss == pytest.approx(5.76, rel=1e-12)
    assert found.names == ("weights[0]", "weights[1]")
    np.testing.assert_allclose(found.gradient, [-5.76, -3.6], rtol=1e-12)
    assert [found.direction(k) for k in range(2)] == ["raising it", "raising it"]
    # ŷ is 0.6·(1 ± 0.01) whichever weight changes by 1 %.
    change = [(0.6 * (1 + s) - 3) ** 2 - 5.76 for s in (-0.01, 0.01)]
    np.testing.assert_allclose(found.changes, [change, change], rtol=1e-10)
    square = 5.76**2 + 3.6**2
    np.testing.assert_allclose(
        found.predicted, -square * found.learning_rates, rtol=1e-12
    )
    w = np.array([0.5, 0.8]) + 0.1 * np.array([5.76, 3.6])
    at = list(found.learning_rates).index(0.1)
    assert found.actual[at] == pytest.approx((w[0] * w[1] * 1.5 - 3) ** 2 - 5.76)
    # H = 2 x² [[w2², 2 w1 w2 − y/x], …]: along g its value is gᵀHg/gᵀg.
    g = np.array([-5.76, -3.6])
    mixed = 2 * 1.5 * (2 * 0.6 - 3)
    hessian = np.array([[2 * 1.44, mixed], [mixed, 2 * 0.5625]])
    assert found.curvature == pytest.approx(g @ hessian @ g / (g @ g), rel=1e-3)
    assert "at which the loss rises is 1:" in str(found.summary().sentences)


def network_policy():
    return MLPPolicy.bounded(np.ones(4), [10.0], key=jax.random.key(0), width=16)


class Pull(Objective):
    """(a − 1)² + b² as "task", and (a + 1)²/2 as "energy" [J] with weight 3."""

    def terms(self, model, batch):
        a, b = model["a"], model["b"]
        return {
            "task": ro.Term((a - 1) ** 2 + b**2, 1.0, "1"),
            "energy": ro.Term(0.5 * (a + 1) ** 2, 3.0, "J"),
        }


def test_terms_that_pull_against_each_other_by_hand():
    # At a = 0, b = 2: task has the gradient (−2, 4), 3·energy (3, 0).
    model = {"a": jnp.asarray(0.0), "b": jnp.asarray(2.0)}
    found = explain(Pull(), model, None)
    np.testing.assert_allclose(found.derivatives, [[-2, 3, 1], [4, 0, 4]], rtol=1e-12)
    assert [(t.name, t.unit) for t in found.terms] == [("task", "1"), ("energy", "J")]
    # Per percent of the sizes 1 (of the 0) and 2: (−2, 8) and (3, 0).
    assert found.cosines[0, 1] == pytest.approx(-2 / np.sqrt(68), rel=1e-12)
    # 0 has no percent: L(±0.01) − L(0) = ±0.01 + 2.5·0.01².
    np.testing.assert_allclose(found.changes[0], [-0.00975, 0.01025], rtol=1e-9)
    assert any("pull against each other" in said for said in found.sentences())
    assert [found.direction(k) for k in range(2)] == ["lowering it", "lowering it"]


def test_a_sum_of_objectives_by_hand():
    class Square(Objective):
        def terms(self, model, batch):
            return {"square": ro.Term(jnp.sum((model["a"] - batch) ** 2), 1.0, "m²")}

    model = {"a": jnp.asarray(0.0), "b": jnp.asarray(2.0)}
    found = explain(Pull() + 0.5 * Square(), model, 3.0)
    # 0.5·d/da (a − 3)² = −3.
    np.testing.assert_allclose(found.derivatives[0], [-2, 3, -3, -2], rtol=1e-12)


def test_a_negative_number_is_raised_towards_zero():
    # f = x at x = −2: raised by 1 % of its size to −1.98.
    found = explain(lambda x, _: x, -2.0, None)
    np.testing.assert_allclose(found.changes, [[-0.02, 0.02]], rtol=1e-12)
    assert "Lowering x by 1 % changes the loss by −0.02" in found.sentences()[0]


def line(w, sample):
    x, y = sample
    return (w * x - y) ** 2


def test_a_number_that_is_zero_is_moved_and_not_called_flat():
    # L(±0.01) − L(0) = (±0.015 − 3)² − 9.
    found = explain(line, 0.0, (1.5, 3.0))
    expected = [(s * 0.015 - 3) ** 2 - 9 for s in (-1, 1)]
    np.testing.assert_allclose(found.changes, [expected], rtol=1e-9)
    assert found.sentences()[0] == "Raising w by 0.01 changes the loss by −0.0898."
    assert "0 ± 0.01" in str(found) and found.direction(0) == "raising it"
    # Beside 4, the 0 is moved by 1 % of the array's root mean square √8.
    model = jnp.array([0.0, 4.0])
    found = explain(lambda w, _: jnp.sum((w - 1) ** 2), model, None)
    assert found.scales == pytest.approx((8**0.5, 4.0), rel=1e-12)
    step = 0.01 * 8**0.5
    np.testing.assert_allclose(found.changes[0, 1], (step - 1) ** 2 - 1, rtol=1e-9)
    assert "zero" not in " ".join(explain(sum_of_squares, jnp.zeros(5), 0).sentences())


def sum_of_squares(w, _):
    return jnp.sum((w - 1) ** 2)


def test_a_weak_type_costs_no_second_program():
    traced = []

    def loss(model, batch):
        traced.append(model)
        return (model - batch) ** 2

    counts = []
    for model in (jnp.asarray(0.5), jnp.asarray(0.5, float)):  # The first is weak.
        traced.clear()
        explain(loss, model, 1.0)
        counts.append(len(traced))
        jax.clear_caches()
    assert counts[0] == counts[1] > 0


def test_numpy_and_python_numbers_are_models():
    found = explain(sum_of_squares, np.array([1.5, 2.0]), None)
    np.testing.assert_allclose(found.gradient, [1, 2], rtol=1e-12)
    found = explain(lambda m, _: m["a"] ** 2, {"a": 3.0}, None)
    np.testing.assert_allclose(found.gradient, [6], rtol=1e-12)


def test_no_rise_is_claimed_where_the_loss_stays_the_same():
    # (m − 3)² with m = 1 at η = 1: the step −η·2(m − 3) ends at 5, as high as before.
    found = explain(lambda m, _: (m - 3) ** 2, jnp.float32(1.0), None)
    rises = [said for said in found.sentences() if "the loss rises" in said]
    assert len(rises) == 1 and "the loss rises is 10:" in rises[0]
    still = explain(lambda m, _: (m * 1e-20 - 3e-20) ** 2, 2.0, None)
    assert "None of these steps" in " ".join(still.sentences())
    lost = explain(lambda m, _: jnp.log(m), 1.0, None)
    said = " ".join(lost.sentences())
    assert "From a learning rate of 1 on, the loss is not finite" in said
    assert "the loss rises" not in said


def test_the_curvature_is_that_of_a_parabola_and_not_of_a_kink():
    # d²L/dw² = 2·1.5² = 4.5; (w − η dL/dw) x − y = (1 − 4.5 η)(w x − y).
    found = explain(line, 0.5, (1.5, 3.0))
    assert found.curvature == pytest.approx(4.5, rel=1e-6)
    expected = 2.25**2 * ((1 - 4.5 * found.line_rates) ** 2 - 1)
    np.testing.assert_allclose(found.line, expected, rtol=1e-6, atol=1e-12)
    said = " ".join(found.sentences())
    assert "c = 4.5" in said and "1/c = 0.22, and raises it beyond 2/c = 0.44" in said
    kink = explain(lambda m, _: jnp.abs(m[0]) + m[1] ** 2, jnp.array([1e-5, 1.0]), 0)
    assert "curvature" not in " ".join(kink.sentences())


def test_a_kink_that_rises_one_way_is_flat_the_other():
    # max(m, 1) at 1: JAX says 1/2, lower gains nothing, higher costs 0.01.
    found = explain(lambda m, _: jnp.maximum(m, 1.0), 1.0, None)
    assert found.direction(0) == "flat ± 1 %"
    assert "lowers the loss: lower it changes by 0, higher" in found.sentences()[0]
    said = " ".join(found.sections()[0].blocks[1].paragraphs)  # type: ignore
    assert "lowered by 1 % nor where it is raised" in said


def test_words_along_a_flat_line_stand_apart():
    pytest.importorskip("matplotlib")
    found = explain(lambda m, _: 1e3 * (m - 1.0) ** 4 + m**2, 1.5, None)
    flat = dataclasses.replace(found, line=np.linspace(0, -1e-9, len(found.line)))
    for texts in (line_panel(found).axes.texts, line_panel(flat).axes.texts):
        renderer = texts[0].figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in texts[:2]]
        assert not boxes[0].overlaps(boxes[1])


def test_an_infinite_slope_is_said_to_be_none():
    model = {"a": jnp.asarray(0.0), "b": jnp.asarray(1.0)}
    found = explain(lambda m, _: jnp.sqrt(m["a"]) + m["b"], model, None)
    assert [found.direction(k) for k in range(2)] == ["not finite", "lowering it"]
    assert "to a is not finite" in found.sentences()[0] and str(found)


def test_the_largest_effect_is_claimed_of_one_among_several():
    alone, tied, first = (
        explain(sum_of_squares, jnp.array(values), None).sentences()[0]
        for values in ([2.0], [2.0, 2.0], [2.0, 3.0])
    )
    assert "largest" not in alone and "largest" not in tied
    assert "w[1]" in first and "the largest effect of all parameters" in first


def test_terms_of_arrays_have_the_norm_of_their_sum():
    class Two(Objective):
        def terms(self, model, batch):
            return {
                "one": ro.Term(jnp.sum(model), 1.0, "1"),
                "two": ro.Term(jnp.sum(model**2), 1.0, "1"),
            }

    table = explain(Two(), jnp.ones(30), None).pull_table()
    assert (table.header[0], table.header[-1]) == (
        "norm dL/dp by term",
        "norm of the sum",
    )


def test_the_norm_of_one_number_beside_arrays_has_no_sign():
    class Two(Objective):
        def terms(self, model, batch):
            return {
                "one": ro.Term(-3.0 * model["bias"], 1.0, "1"),
                "two": ro.Term(jnp.sum(model["weight"] ** 2), 1.0, "1"),
            }

    model = {"bias": jnp.asarray(1.0), "weight": jnp.ones(30)}
    rows = {row[0]: row[1:] for row in explain(Two(), model, None).pull_table().rows}
    assert rows["bias"] == ["3", "0", "3"]


def test_the_logarithm_of_a_gain_is_explained_as_the_gain():
    # f = g² at g = e: df/dg = 2e, and g rises by 1 %.
    found = explain(lambda m, _: jnp.exp(m["log_gain"]) ** 2, {"log_gain": 1.0}, None)
    assert found.names == ("gain",)
    assert found.values == pytest.approx((np.e,), rel=1e-12)
    assert found.gradient[0] == pytest.approx(2 * np.e, rel=1e-12)
    np.testing.assert_allclose(found.changes[0, 1], np.e**2 * (1.01**2 - 1), rtol=1e-9)


def test_flat_parameters_and_units():
    model = {"a": jnp.asarray(1.0), "unused": jnp.asarray(5.0)}
    found = explain(
        lambda m, _: m["a"] ** 2, model, None, units={"a": "N/m", "unused": "kg"}
    )
    assert found.direction(1) == "flat here"
    assert found.units == ("N/m", "kg")
    assert "N/m" in str(found) and "flat here" in str(found)


def test_a_rollout_agrees_with_finite_differences_and_its_time_split_adds_up(
    cart_pole_problem,
):
    objective, policy, starts = cart_pole_problem
    found = explain(objective, policy, starts)
    for k in range(4):
        moved = [
            eqx.tree_at(lambda p: p.gains, policy, policy.gains.at[0, k].add(h))
            for h in (1e-4, -1e-4)
        ]
        up, down = (float(objective(p, starts)) for p in moved)
        assert found.gradient[k] == pytest.approx((up - down) / 2e-4, rel=1e-6)
    assert found.time is not None and found.time.shares is not None
    np.testing.assert_allclose(found.time.shares.sum(0), found.gradient, rtol=1e-9)
    np.testing.assert_allclose(
        found.derivatives[:, :-1].sum(1), found.derivatives[:, -1], rtol=1e-9
    )
    early, late = found.time.sensitivity[:5].mean(), found.time.sensitivity[-5:].mean()
    assert early > 3 * late, "an early action changes all that follows"
    assert max(map(len, str(found).splitlines())) <= 80


@pytest.mark.parametrize("noise", [0.0, pytest.param(0.01, marks=pytest.mark.slow)])
def test_the_gradient_of_a_random_robot_is_split_by_time(cart_pole_problem, noise):
    objective, policy, starts = cart_pole_problem
    twin = Randomized(objective.rollout.dynamics, mass=0.3, delay=0.02, noise=noise)
    rollout = ro.rollouts.Rollout(twin, 30, key=jax.random.key(3))
    objective = eqx.tree_at(lambda o: o.rollout, objective, rollout)
    found: Any = explain(objective, policy, starts)
    slope = jax.jit(jax.grad(lambda p: objective(p, starts)))(policy)
    np.testing.assert_allclose(found.gradient, slope.gains[0], rtol=1e-9)
    assert len(found.time.sensitivity) == 30
    # The shares are those of the observations that the policy saw.
    assert (found.time.shares is None) == bool(noise)
    if not noise:
        np.testing.assert_allclose(found.time.shares.sum(0), found.gradient, rtol=1e-9)


@pytest.mark.slow
def test_an_action_of_one_step_changes_the_loss_as_the_time_split_says(
    cart_pole_problem,
):
    objective, policy, starts = cart_pole_problem

    class Pushed(ro.policies.TimeVaryingPolicy):
        push: jax.Array

        def __call__(self, observation, time):
            step = time / objective.rollout.dynamics.time_step
            return policy(observation) + jnp.where(
                jnp.round(step) == 20, self.push, 0.0
            )

    one = starts[:1]
    up, down = (float(objective(Pushed(jnp.asarray(h)), one)) for h in (1e-3, -1e-3))
    found: Any = explain(objective, policy, one)
    assert found.time.sensitivity[20] == pytest.approx(abs(up - down) / 2e-3, rel=1e-5)


@pytest.mark.slow
def test_a_policy_with_memory_has_a_time_split_without_shares(cart_pole_problem):
    objective, policy, starts = cart_pole_problem
    held = ObservationHistory(policy, 1, 4)
    found: Any = explain(objective, held, starts)
    plain: Any = explain(objective, policy, starts)
    assert found.time.shares is None
    np.testing.assert_allclose(found.time.sensitivity, plain.time.sensitivity)


@pytest.mark.slow
def test_large_models_have_a_row_an_array(cart_pole_problem):
    objective, _, starts = cart_pole_problem
    policy = network_policy()
    found = explain(objective, policy, starts)
    assert len(found.names) < 10 and max(found.sizes) > 24
    assert found.time is not None and found.time.shares is not None
    np.testing.assert_allclose(found.time.shares.sum(0), found.gradient, rtol=1e-9)
    gradient = eqx.filter_grad(lambda p: objective(p, starts))(policy)
    arrays = [g for g in jax.tree.leaves(gradient) if jnp.any(g != 0)]
    norms = [float(jnp.linalg.norm(g)) for g in arrays]  # A single number has a sign.
    np.testing.assert_allclose(np.abs(found.gradient), norms, rtol=1e-9)
    assert max(map(len, str(found).splitlines())) <= 80


def test_a_simulator_outside_jax_is_differenced(cart_pole_problem):
    objective, policy, starts = cart_pole_problem
    rollout = ro.GymRollout("roboopt/CartPoleBalance-v0", objective.rollout.horizon)
    outside = ro.EnergyTaskCost(
        rollout, objective.task, objective.actuators,
        work_weight=objective.work_weight, joule_weight=objective.joule_weight,
    )  # fmt: skip
    found = explain(outside, policy, np.asarray(starts))
    inside = explain(objective, policy, starts)
    np.testing.assert_allclose(found.gradient, inside.gradient, rtol=1e-3)
    assert found.time is None
    with pytest.raises(ro.RobooptError, match="64 parameters"):
        explain(outside, network_policy(), starts)


def test_it_is_saved_reported_and_read_back(cart_pole_problem, tmp_path):
    objective, policy, starts = cart_pole_problem
    found = explain(objective, policy, starts)
    found.save(tmp_path / "run")
    again = ro.load(tmp_path / "run")
    assert str(again) == str(found)
    assert (tmp_path / "run" / "gradient.csv").read_text().count("\n") == 5
    again.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") >= 3 and "Decrease of the loss by one step" in page
    assert "<table" in found._repr_html_()


@jax.custom_vjp
def backwards(x):
    return x**2


backwards.defvjp(lambda x: (x**2, x), lambda x, g: (-2 * x * g,))


def chaotic(p, _):  # The logistic map.
    h = 0.3
    for _ in range(200):
        h = 3.9 * p * h * (1 - h)
    return h


DISAGREEING = {
    "wrong sign": (lambda p, _: backwards(p), 1.0),
    "held constant": (lambda p, _: jax.lax.stop_gradient(p) ** 2, 1.3),
    "half of it held": (lambda p, _: jax.lax.stop_gradient(p) * p, 1.3),
    "a kink": (lambda p, _: jnp.abs(p - 1), 1.0),
    "no digits left": (chaotic, 1.0),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", DISAGREEING)
def test_a_derivative_that_the_loss_contradicts_is_named(name, dtype):
    loss, at = DISAGREEING[name]
    if loss is chaotic and dtype == jnp.float32:
        pytest.skip("the derivative is infinite")
    found = explain(loss, jnp.asarray(at, dtype), None)
    assert found.direction(0) == "unclear"
    said = " ".join(found.sentences())
    assert "disagrees with the loss" in said and "check_gradient" in said
    assert "that step is so long" not in said and "the largest at which" not in said
    if dtype == jnp.float64 and at == 1.3:
        assert found.differences[0, 0] == pytest.approx(2.6, rel=1e-6)
    # In a large model each array is scaled as a whole.
    large = explain(lambda m, b: loss(m["p"], b) + jnp.sum(m["w"] ** 2), {
        "p": jnp.asarray(at, dtype), "w": jnp.zeros(30, dtype),
    }, None)  # fmt: skip
    assert "with respect to p disagrees" in large.sentences()[0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "loss, values",
    [
        (lambda w, _: jnp.sum(jnp.sin(3 * w) * jnp.exp(w)), [0.3, -2.0, 0.0, 5.0]),
        (lambda w, _: jnp.sum((w - 1) ** 2), [1.0, 1.0001, 1e3, 0.0]),
        (lambda w, _: 1e3 + jnp.tanh(50 * w[0]) + w[1] ** 4, [0.01, 0.0]),
        (lambda w, _: jnp.log(w[0]) + 1e-4 * w[1], [1e-3, 1e4]),
    ],
)
def test_a_right_derivative_is_not_suspected(loss, values, dtype):
    found = explain(loss, jnp.array(values, dtype), None)
    ways = [found.direction(k) for k in range(len(values))]
    assert "unclear" not in ways, found


def test_a_change_at_zero_is_told_as_a_number():
    # (±10 − 1)² − 1 = 80 or 120.
    found = explain(lambda p, _: (1000 * p - 1) ** 2, 0.0, None)
    np.testing.assert_allclose(found.changes, [[120, 80]], rtol=1e-9)
    assert found.direction(0) == "flat ± 0.01"


def test_single_numbers_and_zeros_of_large_models_are_moved():
    def loss(p, _):
        return sum((x - 1) ** 2 for x in p)

    values = [float(k) - 2 for k in range(30)]
    found = explain(loss, values, None)
    np.testing.assert_allclose(found.gradient, 2 * (np.array(values) - 1), rtol=1e-12)
    assert found.direction(0) == "raising it" and found.direction(29) == "lowering it"
    np.testing.assert_allclose(found.changes[2], [0.0201, -0.0199], rtol=1e-9)
    model = {"w": jnp.ones((6, 5)), "bias": jnp.zeros(6), "gain": jnp.asarray(-2.0)}
    found = explain(lambda m, _: sum_of_squares(m["w"] @ jnp.ones(5) + m["bias"], 0)
                    + m["gain"] ** 2, model, None)  # fmt: skip
    # Each bias is moved by ∓0.01: 6 (4 ∓ 0.01)² − 6·4².
    expected = [6 * ((4 + s) ** 2 - 16) for s in (-0.01, 0.01)]
    np.testing.assert_allclose(found.changes[0], expected, rtol=1e-9)
    row = next(r for r in found.parameter_table().rows if r[0] == "gain")
    assert row[-2:] == ["−0.0796", "+0.0804"], "−2 · 0.99 is nearer to zero"


def test_the_text_and_the_table_agree_on_ten_percent():
    # L = p² at 1: a step of 0.1 keeps 0.9 of what it promises.
    for model in (1.0, jnp.linspace(-1, 1, 25)):
        found = explain(lambda p, _: jnp.sum(p**2), model, None)
        said = " ".join(found.sentences())
        assert "and 100), 0.1 is the largest" in said
        assert found.step_table().rows[2][-1] == "0.9"


def test_a_logarithm_is_announced():
    found = explain(lambda m, _: (m["log_prior"] - 3) ** 2, {"log_prior": -2.0}, None)
    assert "prior is a number of which the model holds the logarithm" in str(found)


def test_extreme_numbers_make_no_noise():
    for scale in (1e300, 1e-300):
        assert "nan" not in str(explain(lambda p, _: scale * p**2, 1.0, None))  # noqa: B023
    half = explain(sum_of_squares, jnp.array([1.5, 2.0], jnp.bfloat16), None)
    assert "no parameter" not in " ".join(half.sentences())
    top = str(explain(lambda p, _: -((p - 1) ** 2), 1.0, None))
    assert "loss of 0" in top and "−0 " not in top and "+0 " not in top


def test_a_maximum_and_a_saddle_point_are_told_from_a_minimum():
    losses = {
        "a maximum": lambda m, _: jnp.cos(m[0]) - m[1] ** 2,
        "a saddle point": lambda m, _: m[0] ** 2 - m[1] ** 2,
        "": sum_of_squares,
    }
    for kind, loss in losses.items():
        said = explain(loss, jnp.zeros(2), None).sentences()[0]
        assert said.startswith("The gradient is zero, and yet") == bool(kind)
        assert f"here is {kind}, which" in said or not kind


def test_it_is_said_where_no_learning_rate_keeps_the_promise():
    found = explain(lambda m, _: 1 / m, 1e-3, None)
    told = "falls by 1000 where the slope promises 1e+09."
    assert any(s.endswith(told) for s in found.sentences())


def test_the_term_that_is_not_finite_is_named():
    class Two(ro.Objective):
        def terms(self, model, batch):
            terms = {"entropy": jnp.log(model), "energy": model}
            return {name: ro.Term(value, 1.0, "1") for name, value in terms.items()}

    with pytest.raises(ro.RobooptError, match="`objective`.*nan in its term 'entropy'"):
        explain(Two(), -1.0, None)


def test_bad_input_is_refused():

    def endless(x, _):
        return jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, x)

    def callback(x, _):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), float), x)

    for loss, match in ((endless, "while_loop"), (callback, "callback")):
        with pytest.raises(ro.RobooptError, match=f"`objective`.*{match}"):
            explain(loss, 1.1, None)
    with pytest.raises(ro.RobooptError, match="`objective`.*one number.*None"):
        explain(lambda m, _: None, 1.0, None)
    with pytest.raises(ro.RobooptError, match="`model`.*size 0"):
        explain(lambda m, _: jnp.sum(m), jnp.zeros((0, 3)), None)
    words = {"scale": 2.0, "name": "words"}
    beside = {"a": jnp.zeros((0, 3)), "b": jnp.asarray(3.0)}
    found = explain(lambda m, b: b["scale"] * m["b"] ** 2, beside, words)
    np.testing.assert_allclose(found.gradient, [12], rtol=1e-12)
    with pytest.raises(ro.RobooptError, match="`objective`"):
        explain(lambda m, _: jnp.log(m), jnp.asarray(-1.0), None)
    with pytest.raises(ro.RobooptError, match="`model`"):
        explain(lambda m, _: jnp.asarray(0.0), {"a": 1}, None)
    with pytest.raises(ro.RobooptError, match="`objective`.*one number"):
        explain(lambda m, _: m**2, jnp.ones(2), None)
    with pytest.raises(ro.RobooptError, match="`objective`.*real.*number"):
        explain(lambda m, _: m * 1j, 1.0, None)
    with pytest.raises(ro.RobooptError, match="`objective`.*lax.cond"):
        explain(lambda m, _: m if m > 0 else -m, 1.0, None)
    with pytest.raises(ro.RobooptError, match="`model`.*complex"):
        explain(lambda m, _: jnp.abs(m), jnp.asarray(1j), None)
    with pytest.raises(ro.RobooptError, match="`units`.*zz"):
        explain(sum_of_squares, jnp.ones(2), None, units={"zz": "m"})
    with pytest.raises(ro.RobooptError, match="`model`.*got 2"):
        explain(sum_of_squares, 2, None)


@pytest.mark.parametrize("x", [0.0, 1e-6, 1e-3, 0.1])
def test_a_conflict_in_a_number_near_zero_is_told(x):
    class Apart(ro.Objective):
        def terms(self, model, batch):
            sides = {"left": model["x"] + 1, "right": model["x"] - 1}
            return {
                name: ro.Term(side**2 + 0.01 * model["y"], 1.0, "1")
                for name, side in sides.items()
            }

    found = explain(Apart(), {"x": jnp.asarray(x), "y": jnp.asarray(1.0)}, None)
    assert found.plain_cosines is not None
    assert found.plain_cosines[0, 1] == pytest.approx(-1, abs=1e-2)
    (told,) = [s for s in found.sentences() if "pull against each other" in s]
    assert "−1.00" in told or "−0.99" in told


@pytest.mark.parametrize("a, b, by", [(1.0, 100.0, 0), (100.0, 1.0, 1)])
def test_a_conflict_is_told_with_the_cosine_that_shows_it(a, b, by):
    # Per unit the gradients are (2, ±0.1) or (0.1, ±2), per percent those times (a, b):
    # cosines of (4 − 0.01)/4.01 = 0.995 and (4 − 100)/104 = −0.923, or the reverse.
    slopes = ((2.0, 0.1), (0.1, 2.0))[by]

    class Apart(ro.Objective):
        def terms(self, model, batch):
            first, second = slopes[0] * model["a"], slopes[1] * model["b"]
            sides = {"left": first + second, "right": first - second}
            return {name: ro.Term(side, 1.0, "1") for name, side in sides.items()}

    found = explain(Apart(), {"a": jnp.asarray(a), "b": jnp.asarray(b)}, None)
    (told,) = [s for s in found.sentences() if "pull against each other" in s]
    numbers = ("−0.92", "1.00"), ("−1.00", "0.92")
    units = ("percent", "unit"), ("unit", "percent")
    against, agree = told.split(". Per ")
    assert f"per {units[by][0]} " in against and f" is {numbers[by][0]}" in against
    assert agree.startswith(units[by][1]) and f" is {numbers[by][1]}" in agree


def test_gradients_that_the_loss_contradicts_pull_nowhere():
    class Wrong(ro.Objective):
        def terms(self, model, batch):
            held = jax.lax.stop_gradient(model)
            terms = {"up": model * held, "down": held**2 * (2 - model)}
            return {name: ro.Term(value, 1.0, "1") for name, value in terms.items()}

    said = " ".join(explain(Wrong(), 3.0, None).sentences())
    assert "disagrees with the loss" in said and "pull against" not in said


def test_a_staircase_is_told_and_no_direction():
    found = explain(lambda x, _: jnp.round(100 * x) ** 2, 1.0, None)
    assert found.direction(0) == "unclear"
    assert "the loss is a staircase" in found.sentences()[0]


def test_rounding_is_no_ratio():
    found = explain(lambda x, _: 0.17 + 1e-3 * (x - 1) ** 2, 1 + 2e-6, None)
    ratios = [row[-1] for row in found.step_table().rows]
    assert ratios[:4] == ["–"] * 4


def test_sentences_on_time_follow_the_table():
    found = explain(sum_of_squares, jnp.array([1.0, 2.0]), None)

    def told(sensitivity):
        split = TimeSplit(0.1, np.asarray(sensitivity, float), None)
        return " ".join(dataclasses.replace(found, time=split).sentences())

    assert "early steps have the larger gradient" in told(np.linspace(8, 1, 40))
    rises = np.concatenate([np.linspace(8, 1, 20), np.linspace(1, 7, 20)])
    assert "early steps" not in told(rises)
    silent = told(np.concatenate([np.linspace(8, 1, 20), np.zeros(20)]))
    assert "No action from 2 s on changes the loss" in silent


def test_of_many_conflicts_the_worst_are_told():
    class Many(ro.Objective):
        def terms(self, model, batch):
            pulls = {f"t{k}": (-1) ** k * model[0] + k * model[1] for k in range(6)}
            return {name: ro.Term(pull, 1.0, "1") for name, pull in pulls.items()}

    found = ro.explain(Many(), jnp.array([1.0, 0.1]), None)
    told = [s for s in found.sentences() if "pull against each other" in s]
    assert len(told) == 3
    opposed = int(np.sum(found.cosines[np.tril_indices(6, -1)] < -0.1))
    assert any(s.startswith(f"{opposed - 3} more pair") for s in found.sentences())
    worst = f"{np.min(found.cosines):.2f}".replace("-", "−")
    assert told[0].endswith(f"{worst}.")


def test_a_parameter_that_is_not_a_number_is_raised_nowhere():
    found = ro.explain(lambda m, b: jnp.nansum(m**2), jnp.array([jnp.nan, 2.0]), None)
    assert [found.direction(k) for k in range(2)] == ["not finite", "lowering it"]


def test_a_partial_function_has_the_names_of_the_model_that_it_holds():
    def apply(params, x):
        return params["w"] * x + params["b"]

    model = jax.tree_util.Partial(apply, {"w": jnp.array([2.0]), "b": jnp.array(1.0)})
    found = ro.explain(lambda m, x: jnp.sum(m(x) ** 2), model, jnp.ones(1))
    assert set(found.names) == {"w[0]", "b"}


def test_a_small_kink_leaves_the_answer_about_learning_rates():
    def loss(m, b):
        return m[0] ** 2 + 1e-3 * jnp.abs(m[1])

    said = " ".join(ro.explain(loss, jnp.array([3.0, 0.0]), None).sentences())
    assert "1/c = 0.5" in said and "is the largest at which" in said

    def kinked(m, b):
        return m[0] ** 2 + 30.0 * jnp.abs(m[1] - 1.0)

    said = " ".join(ro.explain(kinked, jnp.array([3.0, 1.0]), None).sentences())
    assert "largest at which" not in said


@pytest.mark.parametrize("share", [1.0, 1e-3])
def test_an_array_that_contradicts_its_derivative_is_named_among_others(share):
    def loss(model, batch):
        hidden = jax.lax.stop_gradient(model["z"])
        return jnp.sum(model["w"] ** 2) + share * jnp.sum(hidden**2)

    model = {"w": jnp.ones(30), "z": jnp.ones(3)}
    said = explain(loss, model, None).sentences()[0]
    assert "derivative with respect to z disagrees with the loss" in said
    assert "scaled as a whole" in said and "and others" not in said
    right = explain(lambda m, b: loss({**m, "z": 0 * m["z"]}, b), model, None)
    assert "disagrees" not in str(right)


def test_networks_are_told_layer_by_layer():
    # L = ½ |W₂ W₁ x|² with x = (1, 1), W₁ = 1 (2 × 2), W₂ = 1 (2 × 2) and a bias of W₂:
    # h = (2, 2), y = (4, 4); dL/dy = (4, 4), dL/dh = (8, 8), dL/dW₁ = dL/dh xᵀ with the
    # norm 16, dL/dW₂ = dL/dy hᵀ with the norm 16, dL/db = (4, 4) with the norm √32.
    layers = [{"weight": jnp.ones((2, 2))}, {"weight": jnp.ones((2, 2))}]
    layers[1]["bias"] = jnp.zeros(2)
    model = {"layers": layers, "spare": jnp.ones(20)}

    def loss(m, x):
        first, last = m["layers"]
        y = last["weight"] @ (first["weight"] @ x) + last["bias"]
        return 0.5 * jnp.sum(y**2) + 1e-9 * jnp.sum(m["spare"])

    found = explain(loss, model, jnp.ones(2))
    assert list(found.layers()) == ["layers[0].weight", "layers[1]", "spare"]
    norms = [16, (16**2 + 32) ** 0.5, 1e-9 * 20**0.5]
    np.testing.assert_allclose(found.layer_norms()[:, -1], norms, rtol=1e-12)
    assert found.layer_table().rows[1][:2] == ["layers[1]", "6"]
    said = " ".join(found.sentences())
    assert "in spare the gradient all but vanishes" in said
    pytest.importorskip("matplotlib")
    assert "layer by layer" in found.sections()[0].html()
    assert not explain(sum_of_squares, jnp.ones(3), None).layers()


def test_rounding_errors_are_shown_as_zero():
    def loss(model, batch):
        return model["a"] ** 2 + 1e-20 * model["b"]

    found = ro.explain(loss, {"a": jnp.array(3.0), "b": jnp.array(1e-17)}, None)
    a, b = found.parameter_table().rows
    assert a[:3] == ["a", "3", "6"]
    assert b == ["b", "0", "0", "0", "0", "flat here"]
