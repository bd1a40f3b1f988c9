"""Factors where numbers are selected, used twice or returned, and what is said."""

import math
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.diagnose import chain


def huber(m):
    r = m - 0.2
    near = 0.5 * r**2
    far = jnp.abs(r) - 0.5
    return jnp.where(jnp.abs(r) < 1, near, far)


SELECTIONS = [
    lambda m: jnp.where(m > 0, m * 2, m * 3),
    lambda m: jnp.where(m > 0, m * 2, 0.0),
    lambda m: jnp.where(m > 0, jnp.sin(m), jnp.cos(m)) * 2,
    huber,
    lambda m: jnp.sinc(m),
    lambda m: jnp.arctan2(m, 2.0) * jnp.hypot(m, 1.0),
    lambda m: jnp.heaviside(m, 0.5) * m,
    lambda m: jnp.select([m > 1, m > 0], [m**2, m * 3], 0.0 * m),
    lambda m: jnp.interp(m, jnp.array([0.0, 1, 2]), jnp.array([1.0, 3, -4])),
    lambda m: m.astype(int).astype(float) * m,
]


@pytest.mark.parametrize("function", SELECTIONS)
@pytest.mark.parametrize("m", [-0.6, 0.7, 1.7])
def test_a_selection_of_numbers_has_the_factors_of_the_branch_taken(function, m):
    found = chain(function, m)
    expected = float(jax.grad(function)(m))
    assert found.parameters["m"] == pytest.approx(expected, rel=1e-12)
    total = math.fsum(path.product for path in found.paths("m"))
    assert total == pytest.approx(expected, rel=1e-12)
    assert "/dm" in str(found)


def test_the_branch_not_taken_has_a_factor_of_zero():
    found = chain(huber, 0.7)
    assert found.nodes[-1].factors == {"near": 1.0, "far": 0.0}


def test_one_of_two_results_with_a_name_counts_once():
    # u = sin w and v = cos w are results of one condition, and u alone has a name.
    def combine(u, v):
        a = u
        return a * v

    def loss(w):
        pair = lambda w: (jnp.sin(w), jnp.cos(w))  # noqa: E731
        return combine(*jax.lax.cond(w > 0, pair, pair, w))

    found = chain(loss, 0.7)
    total = math.fsum(path.product for path in found.paths("w"))
    assert total == pytest.approx(math.cos(1.4), rel=1e-12)


def several_ways(w):
    a = jnp.sin(w)
    b = a * w
    c = a + b
    d = b * c
    L = d * a
    return L


def test_a_derivative_that_holds_other_variables_has_a_symbol_of_its_own():
    # L = d·a: ∂L/∂a = d with d held, and dL/da = d + a·dd/da is more.
    found = chain(several_ways, 0.7)
    said = " ".join(str(found).split())
    assert "∂L/∂a · da/dw = 0.4939 · 0.7648" in said
    assert "dL/da" not in said, "the table alone has it"
    assert "dL/dd · dd/dc · ∂c/∂a · da/dw" in said, "a acts on c through b, too"
    assert "∂y/∂x holds the other variables" in said
    # Wherever d is written, the factor is the whole derivative.
    by_name = {node.name: node for node in found.nodes}
    for path in found.paths("w"):
        if not path.partial[0]:
            whole = by_name[path.names[1]].derivative
            assert path.factors[0] == pytest.approx(whole, rel=1e-12)
    direct = {(p.names[-2], p.partial[-1]) for p in found.paths("w")}
    assert direct == {("a", False), ("b", True)}


def test_a_parameter_that_acts_directly_and_through_a_variable():
    said = str(chain(lambda w: jnp.sin(w) ** 2 + w, 0.3))
    assert "∂L/∂w = 1\n" in said and "The sum is dL/dw = 1.565" in said
    assert "\ndL/dw" not in said
    assert "∂" not in str(chain(lambda w: jnp.sin(w) ** 2, 0.3))


def second(weights):
    w1, w2 = weights
    return w2


@pytest.mark.parametrize(
    "function, model, name",
    [
        (lambda m: m, 1.0, "m"),
        (lambda m: m[1], jnp.ones(3), "m[1]"),
        (lambda m: m[0], jnp.ones(1), "m[0]"),
        (second, jnp.ones(2), "w2"),
    ],
)
def test_a_parameter_that_is_returned_is_the_loss(function, model, name):
    found = chain(function, model)
    assert [node.name for node in found.nodes] == ["L"]
    assert found.parameters == {name: 1.0}
    assert f"dL/d{name} = 1" in str(found)


def test_complex_numbers_between_real_ones_are_named_as_such():
    # |e^{im} + m|² = 1 + 2m cos m + m².
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = chain(lambda m: jnp.abs(jnp.exp(1j * m) + m) ** 2, 0.4)
    expected = 2 * math.cos(0.4) - 0.8 * math.sin(0.4) + 0.8
    assert found.parameters["m"] == pytest.approx(expected, rel=1e-12)
    assert "mul(0+1j, " in str(found)
    assert "by all ways through complex numbers together" in str(found)
    with pytest.raises(ro.RobooptError, match="real numbers.*got complex numbers"):
        found.paths("m")


def test_an_array_of_one_element_keeps_its_path():
    def loss(p):
        bias = p["a"].astype(jnp.float32)
        other = jnp.reshape(p["b"], (1, 1))
        third = p["c"][0]
        return jnp.sum(bias**2) + jnp.sum(other) * third + jnp.sum(p["c"])

    model = {"a": jnp.ones(1), "b": jnp.ones((1, 1)), "c": 2 * jnp.ones(1)}
    found = chain(loss, model)
    # d/da a² = 2, d/db b·c = 2, d/dc (b·c + c) = 2.
    assert found.parameters == {"a[0]": 2.0, "b[0, 0]": 2.0, "c[0]": 2.0}
    explained = str(ro.explain(lambda p, _: loss(p), model, None))
    assert all(f"\n{name} " in explained for name in found.parameters)


def linear(p):
    return jax.lax.scan(
        lambda x, _: (p["a"] * x + p["c"], None), p["x"], None, length=200
    )[0]


def test_a_stable_motion_whose_parameters_learn_is_healthy():
    # x = c/(1 − a) in the end: dx/dc = 10, dx/da = 30, and dx/dx₀ = 0.9²⁰⁰ = 7e-10.
    found = chain(linear, {"a": 0.9, "c": 0.3, "x": 1.0})
    assert found.parameters["a"] == pytest.approx(30, rel=1e-3)
    assert found.steps[0].norms[0] == pytest.approx(0.9**200, rel=1e-9)
    assert found.findings() == []


def test_a_remedy_does_not_make_the_fault_worse():
    def last(a):
        return jax.lax.scan(lambda x, _: (a * x, None), 1.0, None, length=100)[0]

    (vanishing,) = chain(last, 0.5).findings()
    assert vanishing.code == "vanishing"
    assert "gradient_decay_time" not in vanishing.message
    assert "let the loss count every step" in vanishing.message
    (exploding,) = chain(last, 1.5).findings()
    assert "gradient_decay_time" in exploding.message


def test_an_exploding_scan_is_told_from_a_step_with_a_gradient():
    def rows(a):
        _, found = jax.lax.scan(lambda x, _: (a * x, x), 1.0, None, length=200)
        return jnp.sum(found**2)

    found = chain(rows, 1.2)
    (finding,) = found.findings()
    norms = found.steps[0].norms
    assert finding.code == "exploding" and norms[-1] == 0
    step = 200 - 20 + 1 + int(np.argmax(norms[-20:]))
    assert f"from step {step} to step 0 (norm {norms[step]:.2g}," in finding.message


@pytest.mark.parametrize(
    "function, model, where",
    [
        (lambda m: jnp.sqrt(jnp.sum(m**2)), jnp.zeros(2), "v2"),
        (lambda m: jnp.where(m > 0, jnp.sqrt(m), 0.0), 0.0, "m"),
    ],
)
def test_a_gradient_that_is_not_finite_is_said_to_be(function, model, where):
    (finding,) = chain(function, model).findings()
    assert (finding.code, finding.where) == ("not_finite", where)
    assert "explodes" not in str(finding) and "`jnp.where`" in finding.message


def test_a_chain_of_negative_derivatives_vanishes_too():
    def shrink(x):
        for _ in range(12):
            x = jnp.sin(0.1 * x)
        return -x

    (finding,) = chain(shrink, 1.0).findings()
    assert finding.code == "vanishing"


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(ro.RobooptError, match="`function`.*finite.*got nan"):
        chain(lambda m: jnp.log(m), -1.0)
    with pytest.raises(ro.RobooptError, match="`function`.*finite.*got inf"):
        chain(lambda m: jnp.exp(m), 1e3)


def test_a_long_chain_shows_both_ends_and_compiles_in_time():
    # In one piece, XLA takes more than a minute to compile the chain.
    def halves(x):
        for _ in range(300):
            x = jnp.sin(x) * 0.5
        return x

    start = time.process_time()
    found = chain(halves, 0.5)
    assert time.process_time() - start < 30
    expected = float(jax.grad(halves)(0.5))
    assert found.parameters["x"] == pytest.approx(expected, rel=1e-9)
    first = {line.split()[0] for line in str(found).splitlines() if line.split()}
    assert {"x#2", "x#21", "…", "x#282", "x#301"} <= first
    assert not {"x#22", "x#281"} & first
    assert "260 variables in the middle (…) are not shown" in str(found)
    assert "vanishes on the way from x#300 to x#2" in " ".join(str(found).split())


def test_a_chain_longer_than_the_stack_of_python_has_its_path():
    def turns(x):
        for _ in range(1200):
            x = -x
        return x

    found = chain(turns, 0.5)
    (path,) = found.paths("x")
    assert len(path.factors) == 1200 and path.product == 1.0
    assert "dx#1201/dx#1200" in str(found)


def test_a_scan_without_a_carry_is_differentiated():
    def loss(w, xs):
        y = jax.lax.map(lambda x: jnp.tanh(w * x), xs)
        return jnp.sum(y**2)

    found = ro.chain(loss, 0.7, jnp.arange(4.0))
    slope = jax.grad(loss)(0.7, jnp.arange(4.0))
    assert found.parameters["w"] == pytest.approx(float(slope), rel=1e-12)


def test_a_root_at_zero_in_a_scan_is_no_matter_of_its_length():
    def loss(p, _):
        h, _ = jax.lax.scan(lambda h, _: (jnp.sqrt(h) * p, None), 0.0, None, length=5)
        return h

    said = str(ro.chain(loss, 1.0, 0))
    assert "a root, a logarithm or a division" in " ".join(said.split())
    assert "horizon" not in said
