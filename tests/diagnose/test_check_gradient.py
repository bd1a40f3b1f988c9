"""Derivatives that are right, wrong, at a kink, or lost in rounding are told apart."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.diagnose import check_gradient


def verdicts(check):
    return {slope.name: slope.verdict for slope in check.slopes}


@jax.custom_jvp
def slightly_wrong(x):
    return jnp.sin(x)


@slightly_wrong.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return jnp.sin(x), 1.001 * jnp.cos(x) * dx


def everything(m, batch):
    smooth = jnp.sum(jnp.sin(m["a"]) * batch)
    return smooth + slightly_wrong(m["wrong"]) + jnp.abs(m["kink"]) + 0 * m["flat"]


MODEL = {
    "a": jnp.linspace(0.3, 3.0, 4),
    "wrong": jnp.asarray(0.7),
    "kink": jnp.asarray(0.0),
    "flat": jnp.asarray(2.0),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_each_kind_is_told_apart_in_either_precision(dtype):
    model = jax.tree.map(lambda x: x.astype(dtype), MODEL)
    if dtype == jnp.float32:
        model["wrong"] = jnp.asarray(0.7, dtype)
    found = check_gradient(everything, model, jnp.arange(1.0, 5.0, dtype=dtype))
    expected = {f"a[{k}]": "agrees" for k in range(4)}
    expected |= {"wrong": "wrong", "kink": "kink", "flat": "agrees"}
    if dtype == jnp.float32:  # An error of 0.1 % is within single precision's.
        expected.pop("wrong")
    assert {n: v for n, v in verdicts(found).items() if n in expected} == expected
    assert not found.ok
    kink = next(s for s in found.slopes if s.name == "kink")
    assert (kink.below, kink.above) == pytest.approx((-1.0, 1.0), rel=1e-3)
    codes = {(f.where, f.code) for f in found.findings()}
    assert ("kink", "kink") in codes
    assert dtype == jnp.float32 or ("wrong", "wrong_derivative") in codes


def test_the_uncertainty_covers_the_error():
    # f = Σ sin(3 x_i)·exp(x_i): the derivative is known.
    x = jnp.linspace(-1.0, 1.0, 9)
    found = check_gradient(lambda x, _: jnp.sum(jnp.sin(3 * x) * jnp.exp(x)), x, None)
    exact = (3 * np.cos(3 * x) + np.sin(3 * x)) * np.exp(x)
    for slope, true in zip(found.slopes, exact, strict=True):
        assert abs(slope.difference - true) <= slope.uncertainty
        assert slope.uncertainty < 1e-8 * max(1.0, abs(true))
    assert found.ok


def test_a_jump_and_digits_lost_are_undecided():
    jump = check_gradient(lambda x, _: jnp.floor(100 * x) + x, jnp.asarray(0.5), None)
    assert verdicts(jump) == {"x": "undecided"}
    lost = check_gradient(
        lambda x, _: jnp.sum(x**2) + 1e6, jnp.ones(2, jnp.float32), None
    )
    assert set(verdicts(lost).values()) == {"undecided"}
    edge = check_gradient(lambda x, _: jnp.sqrt(x), jnp.asarray(0.0), None)
    assert verdicts(edge) == {"x": "not finite"}


SHARP = {
    "a mass beside an inertia": (
        lambda m, _: jnp.tanh(1 / (m[1] * 1e4)) + m[0] ** 2,
        [10.0, 1e-4],
    ),
    "a stiffness beside a damping": (
        lambda m, t: jnp.sum((m[0] * t * 1e-5 + jnp.exp(-m[1] * t) - 1) ** 2),
        [5000.0, 0.02],
    ),
    "a sine beside a bowl": (
        lambda m, _: jnp.sin(1e3 * m[1]) + (m[0] / 1e3) ** 2,
        [1e3, 1e-3],
    ),
    "a bump": (lambda m, _: jnp.exp(-(((m[0] - 1) * 1e4) ** 2)), [1.00005]),
    "a step": (lambda m, _: jnp.tanh(1e4 * (m[0] - 1)), [1.00001]),
    "a tiny number": (lambda m, _: (m[0] * 1e20 - 3) ** 2, [1e-20]),
    "fast at zero": (lambda m, _: jnp.sin(1e6 * m[0]), [0.0]),
}


@pytest.mark.parametrize("name", SHARP)
def test_the_step_is_that_of_each_number(name):
    loss, values = SHARP[name]
    model, times = jnp.array(values), jnp.linspace(0.0, 100.0, 5)
    found = check_gradient(loss, model, times)
    assert found.ok, found
    exact = jax.grad(loss)(model, times)
    for slope, true in zip(found.slopes, np.asarray(exact), strict=True):
        assert slope.difference == pytest.approx(true, rel=1e-6)

    def off(m, batch):  # One percent of each slope is missing.
        return 0.99 * loss(m, batch) + 0.01 * jax.lax.stop_gradient(loss(m, batch))

    assert set(verdicts(check_gradient(off, model, times)).values()) == {"wrong"}


def test_a_loss_in_lower_precision_than_its_parameters_is_not_called_wrong():
    def loss(m, _):
        return (m.astype(jnp.float32) ** 2).astype(jnp.float64)

    found = check_gradient(loss, jnp.asarray(1.0), None)
    assert verdicts(found) == {"m": "agrees"}


@jax.custom_vjp
def backwards(x):
    return x


backwards.defvjp(lambda x: (x, None), lambda _, g: (-g,))


@pytest.mark.parametrize(
    "dtype, factor, expected",
    [
        (jnp.float64, 1e3, "wrong"),
        (jnp.float64, 1e13, "undecided"),
        (jnp.float32, 1e2, "wrong"),
        (jnp.float32, 1e4, "undecided"),
        (jnp.float32, 1e5, "undecided"),
        (jnp.float32, 1e6, "undecided"),
    ],
)
def test_a_wrong_derivative_beside_a_large_one_never_agrees(dtype, factor, expected):
    def loss(m, _):
        return factor * m["large"] ** 2 + backwards(m["small"])

    model = {name: jnp.asarray(1.0, dtype) for name in ("large", "small")}
    found = check_gradient(loss, model, None)
    assert verdicts(found) == {"large": "agrees", "small": expected}


MINIMA = {
    "a parabola": (lambda x, _: (x - 1) ** 2, 1.0),
    "above zero": (lambda x, _: 3 + (x - 1) ** 2, 1.0),
    "a cosine": (lambda x, _: jnp.cos(x), np.pi),
    "x|x|": (lambda x, _: x * jnp.abs(x), 0.0),
    "of fourth order": (lambda x, _: (x - 1) ** 4, 1.0),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", MINIMA)
def test_a_derivative_of_zero_agrees(name, dtype):
    loss, at = MINIMA[name]
    found = check_gradient(loss, jnp.asarray(at, dtype), None)
    assert found.ok, found

    def off(x, batch):  # A slope of 0.1 that JAX does not see.
        return loss(x, batch) + 0.1 * jax.lax.stop_gradient(x)

    assert not check_gradient(off, jnp.asarray(at, dtype), None).ok


def attention(seed):
    """Return a loss of softmax attention in float32, whose key bias moves nothing."""
    rng = np.random.default_rng(seed)
    x, y = (jnp.asarray(rng.normal(size=(64, 8, 16)), jnp.float32) for _ in range(2))
    weights = {n: rng.normal(size=(16, 16)) / 4 for n in ("query", "key", "value")}
    weights |= {"query_bias": 0.1 * rng.normal(size=16), "key_bias": np.zeros(16)}

    def loss(w, batch):
        query = x @ w["query"] + w["query_bias"][None, None]
        key = x @ w["key"] + w["key_bias"][None, None]
        shares = jax.nn.softmax(query @ key.swapaxes(1, 2) / 4)
        return jnp.mean((shares @ (x @ w["value"]) - y) ** 2)

    return loss, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), weights)


@pytest.mark.parametrize("seed", range(3))
def test_a_derivative_of_zero_by_symmetry_agrees_in_single_precision(seed):
    loss, weights = attention(seed)
    found = verdicts(check_gradient(loss, weights, None))
    # Keys that shift together leave each softmax as it is: the terms cancel.
    assert {v for n, v in found.items() if n.startswith("key_bias")} == {"agrees"}
    assert list(found.values()).count("undecided") <= 2

    def hidden(w, batch):  # The key's derivative is not zero; JAX is told that it is.
        return loss(w, batch) + 0.02 * jnp.sum(jax.lax.stop_gradient(w["key_bias"]))

    found = verdicts(check_gradient(hidden, weights, None))
    assert found["key_bias[0]"] == "wrong"


def test_the_optimum_of_least_squares_agrees():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(50, 3)))
    y = x @ jnp.arange(1.0, 4.0) + 0.1 * jnp.asarray(rng.normal(size=50))
    best = jnp.linalg.lstsq(x, y)[0]
    found = check_gradient(lambda w, b: jnp.mean((b[0] @ w - b[1]) ** 2), best, (x, y))
    assert found.ok, found


def test_a_staircase_and_a_gradient_of_rounding_errors_are_not_called_wrong():
    stairs = check_gradient(
        lambda p, _: jnp.round(1e3 * p) ** 2, jnp.asarray(0.7), None
    )
    assert verdicts(stairs) == {"p": "undecided"}

    def loss(p, _):  # The logistic map: its derivative is 1e60, its loss below 1.
        h = 0.3
        for _ in range(300):
            h = 3.99 * p * h * (1 - h)
        return 1e-3 * h + p**2

    assert (
        "wrong" not in verdicts(check_gradient(loss, jnp.asarray(1.0), None)).values()
    )


def test_numbers_that_are_not_finite_or_tiny_and_python_numbers():
    for bad in (np.nan, np.inf):
        with pytest.raises(ro.RobooptError, match="`model` must be finite.* of b"):
            check_gradient(lambda m, _: jnp.sum(m["b"]), {"b": jnp.array([1, bad])}, 0)
    assert check_gradient(lambda p, _: 3 * p, jnp.asarray(1e-300), None).ok
    model = {"w": jnp.ones(2), "gain": 3.0}
    found = check_gradient(lambda m, _: m["gain"] * jnp.sum(m["w"]), model, None)
    assert found.constants == ("gain",)
    assert "gain is a Python number beside arrays" in str(found)


@pytest.mark.slow
def test_a_gradient_that_decays_on_purpose_is_not_blamed_on_a_rule(cart_pole_problem):
    objective, policy, starts = cart_pole_problem
    rollout = dataclasses.replace(objective.rollout, gradient_decay_time=0.05)
    objective = dataclasses.replace(objective, rollout=rollout)
    said = str(check_gradient(objective, policy, starts))
    assert "`gradient_decay_time` of 0.05 s" in said and "custom_vjp" not in said


@pytest.mark.slow
def test_a_gradient_that_decays_on_purpose_is_explained(cart_pole_problem):
    objective, policy, starts = cart_pole_problem
    rollout = dataclasses.replace(objective.rollout, gradient_decay_time=0.05)
    objective = dataclasses.replace(objective, rollout=rollout)
    said = " ".join(ro.explain(objective, policy, starts).sentences())
    assert "`gradient_decay_time` of 0.05 s" in said and "custom" not in said


def test_digits_lost_in_a_loop_are_not_called_wrong():
    def loss(p, _):  # The logistic map, which is chaotic.
        h = 0.3
        for _ in range(200):
            h = 3.9 * p * h * (1 - h)
        return h

    found = check_gradient(loss, jnp.asarray(1.0), None)
    assert verdicts(found) == {"p": "undecided"}
    assert "roboopt.chain" in str(found) and "custom_jvp" not in str(found)


def test_the_element_that_is_not_finite_is_named_alone():
    def loss(p, _):
        return jnp.sum(jnp.where(p > 0, jnp.sqrt(p), 0.0))

    found = check_gradient(loss, jnp.array([1.0, 0.0]), None)
    assert verdicts(found) == {"p[0]": "agrees", "p[1]": "not finite"}


def test_what_is_undecided_alike_is_said_once():
    def loss(x, _):
        return jnp.sum(x**2) + 1e6

    said = check_gradient(loss, jnp.ones(9, jnp.float32), None).summary().sentences
    assert len(said) == 1 and "x[0]" in said[0] and "and 3 more" in said[0]


def test_a_large_array_is_checked_in_its_largest_elements_and_random_directions():
    weights = jnp.ones((20, 3))
    x = jnp.arange(3.0)
    found = check_gradient(lambda w, x: jnp.sum(jnp.tanh(0.1 * w @ x)), weights, x)
    names = [slope.name for slope in found.slopes]
    assert found.ok and "w, random direction 2" in names
    assert 8 <= len(names) <= 12


def test_a_small_kink_beside_steep_slopes_is_a_kink_in_random_directions_too():
    # At 0 the loss has the slopes ±1e-3 in the fourth number, and up to 4 in others.
    x = jnp.linspace(0.5, 2.0, 14).at[3].set(0.0)

    def loss(w, b):
        return jnp.sum(w**2) + 1e-3 * jnp.abs(w[3])

    checked = ro.check_gradient(loss, x, None)
    kinds = {s.name: s.verdict for s in checked.slopes}
    assert "wrong" not in kinds.values()
    assert {n for n, v in kinds.items() if v == "kink"} <= {
        *("[3]", "model[3]", "w[3]"),
        *(n for n in kinds if "random" in n),
    }

    @jax.custom_jvp
    def wrong(w):
        return jnp.sum(w**2)

    wrong.defjvp(lambda w, d: (wrong(w[0]), 2.002 * w[0] @ d[0]))
    other = ro.check_gradient(lambda w, b: wrong(w) + 1e-3 * jnp.abs(w[3]), x, None)
    assert "wrong" in {s.verdict for s in other.slopes}


def test_the_gradient_of_a_rollout(cart_pole_problem):
    objective, policy, starts = cart_pole_problem
    found = check_gradient(objective, policy, starts)
    assert found.ok and len(found.slopes) == 4
    assert max(map(len, str(found).splitlines())) <= 80


def endless(x, _):
    return jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, x)


def test_bad_input_is_refused():
    with pytest.raises(ro.RobooptError, match="`model`"):
        check_gradient(lambda m, b: jnp.asarray(0.0), {"a": 1}, None)
    with pytest.raises(ro.RobooptError, match="`model`.*complex128 in m"):
        check_gradient(lambda m, b: jnp.abs(m["m"]), {"m": jnp.asarray(1j)}, None)
    with pytest.raises(ro.RobooptError, match="`objective`.*while_loop"):
        check_gradient(endless, 1.1, None)
    with pytest.raises(ro.RobooptError, match="`model`.*size 0"):
        check_gradient(lambda m, b: jnp.sum(m), jnp.zeros((0, 3)), None)
    beside = {"a": jnp.zeros((0, 3)), "b": jnp.asarray(2.0)}
    words = {"scale": 2.0, "name": "words"}
    found = check_gradient(lambda m, b: b["scale"] * m["b"] ** 2, beside, words)
    assert verdicts(found) == {"b": "agrees"}
    with pytest.raises(ro.RobooptError, match="`objective`.*complex128"):
        check_gradient(lambda m, b: m * 1j, 1.0, None)
