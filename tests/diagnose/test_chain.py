"""The chain rule: factors worked out by hand, and whole gradients by `jax.grad`."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt._core import scan_counts
from roboopt._errors import RobooptError
from roboopt.diagnose import chain


def network(weights, sample):
    w1, w2 = weights
    x, y = sample
    h = w1 * x
    yhat = w2 * h
    return (yhat - y) ** 2


def test_two_weights_by_hand():
    # h = 0.5·1.5 = 0.75, ŷ = 0.8·0.75 = 0.6, L = (0.6 − 3)² = 5.76;
    # dL/dŷ = 2·(0.6 − 3) = −4.8, dŷ/dh = w2 = 0.8, dh/dw1 = x = 1.5, dŷ/dw2 = h.
    found = chain(network, jnp.array([0.5, 0.8]), (1.5, 3.0))
    (first,), (second,) = found.paths("w1"), found.paths("w2")
    assert first.names == ("L", "yhat", "h", "w1")
    np.testing.assert_allclose(first.factors, [-4.8, 0.8, 1.5], rtol=1e-12)
    assert second.names == ("L", "yhat", "w2")
    np.testing.assert_allclose(second.factors, [-4.8, 0.75], rtol=1e-12)
    assert found.parameters == pytest.approx({"w1": -5.76, "w2": -3.6}, rel=1e-12)
    by_name = {node.name: node for node in found.nodes}
    assert by_name["h"].parameters == ("w1",), "h does not depend on w2"
    assert by_name["h"].expression == "w1 * x"
    assert by_name["yhat"].parameters == ("w1", "w2")
    assert by_name["L"].value == pytest.approx(5.76, rel=1e-12)
    assert "dL/dyhat · dyhat/dh · dh/dw1 = −4.8 · 0.8 · 1.5 = −5.76" in str(found)


def test_one_expression_has_a_factor_for_each_operation():
    found = chain(
        lambda w, x: (w[1] * (w[0] * x) - 3.0) ** 2, jnp.array([0.5, 0.8]), 1.5
    )
    (path,) = found.paths("w[0]")
    np.testing.assert_allclose(path.factors, [-4.8, 1.0, 0.8, 1.5], rtol=1e-12)
    assert path.product == pytest.approx(-5.76, rel=1e-12)


def deep(weights, x):
    for w in weights:
        x = jnp.sin(w * x)
    return x


def test_a_deeper_chain_by_hand():
    # x_k = sin(w_k x_{k−1}): dx_k/dx_{k−1} = w_k cos(w_k x_{k−1}), and by w_k
    # x_{k−1} cos(w_k x_{k−1}).
    weights, x, states = [0.9, 0.7, 1.3, 0.5], 0.8, [0.8]
    for w in weights:
        states.append(math.sin(w * states[-1]))
    gains = [w * math.cos(w * s) for w, s in zip(weights, states, strict=False)]
    found = chain(deep, weights, x)
    for k in range(4):
        (path,) = found.paths(f"weights[{k}]")
        own = states[k] * math.cos(weights[k] * states[k])
        expected = [*gains[:k:-1], own]
        np.testing.assert_allclose(path.factors, expected, rtol=1e-12)
    assert [node.name for node in found.nodes] == ["x", "x#2", "x#3", "x#4"]


def branch(p, x):
    h = p["a"] * x
    u = h * p["b"]
    v = jnp.exp(h)
    return u * v


def test_branches_that_join_add_up():
    # dL/da = (v·b + u·eʰ)·x with h = a·x, u = h·b, v = eʰ.
    a, b, x = 0.3, 0.7, 1.5
    h = a * x
    found = chain(branch, {"a": a, "b": b}, x)
    paths = found.paths("a")
    assert [path.names for path in paths] == [
        ("L", "u", "h", "a"),
        ("L", "v", "h", "a"),
    ]
    np.testing.assert_allclose(
        [path.product for path in paths],
        [math.exp(h) * b * x, h * b * math.exp(h) * x],
        rtol=1e-12,
    )
    assert found.parameters["a"] == pytest.approx(
        sum(path.product for path in paths), rel=1e-12
    )


def test_a_loop_of_one_operation_has_a_variable_each_time():
    # x₅ = 1.5⁵ p s: dx₅/dx_k = 1.5^(5−k).
    def power(p, s):
        x = p * s
        for _ in range(5):
            x = x * 1.5
        return x

    found = chain(power, 0.7, 1.0)
    assert [n.name for n in found.nodes] == ["x", *(f"x#{k}" for k in range(2, 7))]
    slopes = [node.derivative for node in found.nodes]
    np.testing.assert_allclose(slopes, 1.5 ** np.arange(5, -1, -1), rtol=1e-12)
    (path,) = found.paths("p")
    np.testing.assert_allclose(path.factors, [1.5] * 5 + [1.0], rtol=1e-12)

    def layers(ws, x):
        for w in ws:
            x = w @ x
        return jnp.sum(x**2)

    keys = jax.random.split(jax.random.key(0), 6)
    ws = [0.5 * jax.random.normal(key, (4, 4)) for key in keys]
    found = chain(layers, ws, jnp.ones(4))
    assert len(found.nodes) == 7
    for k, node in enumerate(found.nodes[:-1]):
        after = jax.grad(lambda x: layers(ws[k + 1 :], x))  # noqa: B023
        x = jnp.ones(4)
        for w in ws[: k + 1]:
            x = w @ x
        expected = float(jnp.linalg.norm(after(x)))
        assert node.derivative == pytest.approx(expected, rel=1e-12)


def test_calls_of_a_jitted_function_keep_the_names_of_the_caller():
    @jax.jit
    def inner(w):
        u = w * 2
        return u + 1

    def loss(w):
        h = inner(w)
        g = inner(h)
        return g**2

    # h = 2w + 1 = 2.4, g = 2h + 1 = 5.8: dL/dw = 2·5.8·2·2 = 46.4.
    found = chain(loss, 0.7)
    assert [n.name for n in found.nodes] == ["u", "h", "u#2", "g", "L"]
    assert found.paths("w")[0].product == pytest.approx(46.4, rel=1e-12)


def test_statements_show_what_they_compute():
    def loss(w, s):
        a, b = jnp.sin(w), jnp.cos(w)
        a += s
        a *= b
        return a

    found = chain(loss, 0.7, 0.4)
    assert {n.name: n.expression for n in found.nodes} == {
        **{"a": "jnp.sin(w)", "b": "jnp.cos(w)"},
        **{"a#2": "a + s", "a#3": "a * b"},
    }


def test_complex_numbers_on_the_way():
    # z = w (1 + 2j), L = (Im z)² = 4w²: dL/dw = 8w, and by the parts of z (0, 2·2w).
    def loss(w, _):
        z = w * (1 + 2j)
        return jnp.imag(z) ** 2

    found = chain(loss, 0.7, None)
    assert found.parameters["w"] == pytest.approx(5.6, rel=1e-12)
    z = found.nodes[0]
    assert (z.value, z.derivative) == pytest.approx((0.7 * 5**0.5, 2.8), rel=1e-12)
    assert z.is_complex and z.factors == {} and "dL/dw = 5.6" in str(found)


def test_paths_that_are_not_shown_are_counted():
    def loss(h):
        for _ in range(12):
            a = jnp.sin(h)
            b = jnp.cos(h)
            h = a + b
        return h

    found = chain(loss, 0.7)
    assert "16 of 4096 products" in " ".join(str(found).split())
    total = math.fsum(path.product for path in found.paths("h"))
    assert total == pytest.approx(found.parameters["h"], rel=1e-9)


def test_parameters_without_a_path_and_scalars_through_arrays_are_named():
    def loss(m):
        h = jnp.array([1.0, 2.0]) * m["a"]
        return jnp.sum(jnp.array([-1.0, -3.0]) * h)

    found = chain(loss, {"a": 1.0, "b": 2.0})
    assert found.unused == ("b",)
    assert "dL/da = −7, by all ways through arrays" in str(
        found
    ) and "dL/db = 0" in str(found)


def test_a_scan_over_weights_counts_each_steps_own():
    # x₃ = w₁w₂w₃s: step k adds dL/dw_k = x₃/w_k.
    w, s = np.array([0.1, 0.2, 0.3]), 0.4

    def loss(w, rows):
        x, _ = jax.lax.scan(lambda x, k: (k[0] * x + 0 * k[1], None), s, (w, rows))
        return x

    found = chain(loss, w, jnp.ones(3))
    np.testing.assert_allclose(found.steps[0].shares, 0.006 * s / w, rtol=1e-12)


def test_an_integrator_of_jax_is_differentiated():
    def loss(w, s):
        from jax.experimental.ode import odeint

        y = odeint(lambda y, t: -w * y, s, jnp.array([0.0, 1.0]))
        return y[-1] ** 2

    expected = float(jax.grad(loss)(0.7, 0.4))
    assert chain(loss, 0.7, 0.4).parameters["w"] == pytest.approx(expected, rel=1e-9)


def test_a_variable_that_comes_twice_counts_twice():
    # d(x·x)/dx = 2x.
    found = chain(lambda w: w * w, 3.0)
    assert found.parameters["w"] == pytest.approx(6.0, rel=1e-12)
    assert found.paths("w")[0].product == pytest.approx(6.0, rel=1e-12)


def test_a_scan_step_by_step_by_hand():
    # x_{t+1} = a·x_t, L = x_5: dL/dx_t = a^(5−t), and step t adds x_t·a^(4−t) = a⁴.
    def repeated(a):
        x, _ = jax.lax.scan(lambda x, _: (a * x, None), 1.0, None, length=5)
        return x

    found = chain(repeated, 0.9)
    (steps,) = found.steps
    assert steps.name == "x"
    np.testing.assert_allclose(steps.norms, 0.9 ** np.arange(5, -1, -1.0), rtol=1e-12)
    np.testing.assert_allclose(steps.shares, np.full(5, 0.9**4), rtol=1e-12)
    assert found.parameters["a"] == pytest.approx(5 * 0.9**4, rel=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_gradient_through_any_scan_is_that_of_jax(reverse):
    def loss(w, rows):
        def step(carry, row):
            x, count = carry
            x = jnp.tanh(w["a"] @ x + row)
            return (x, count + 1), x * count

        (x, _), found = jax.lax.scan(step, (jnp.ones(3), 0), rows, reverse=reverse)
        return jnp.sum(x**2) + jnp.sum(found**2) + jnp.sum(w["b"] * x)

    key = jax.random.key(0)
    w = {"a": jax.random.normal(key, (3, 3)), "b": jnp.arange(3.0)}
    rows = jax.random.normal(key, (7, 3))
    expected = jax.grad(loss)(w, rows)
    found = chain(loss, w, rows)
    for name in w:
        norm = float(jnp.linalg.norm(expected[name]))
        assert found.parameters[name] == pytest.approx(norm, rel=1e-12)
    assert len(found.steps[0].norms) == 8


def test_custom_derivatives_and_branches_of_control_are_respected():
    def loss(w, x):
        h = jax.nn.relu(w * x)
        u = jax.lax.cond(x > 0, jnp.sin, jnp.cos, h)
        return jax.checkpoint(lambda u: u**3)(u)

    found = chain(loss, 0.7, 1.2)
    expected = jax.grad(loss)(0.7, 1.2)
    assert found.parameters["w"] == pytest.approx(float(expected), rel=1e-12)
    assert found.paths("w")[0].product == pytest.approx(float(expected), rel=1e-12)


def test_layers_of_a_network_have_norms():
    model = eqx.nn.MLP(3, 1, 8, 2, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 3))

    def loss(model, x):
        return jnp.mean(jax.vmap(model)(x) ** 2)

    expected = eqx.filter_grad(loss)(model, x)
    found = chain(loss, model, x)
    for k, layer in enumerate(expected.layers[:2]):
        name = f"layers[{k}].weight"
        norm = float(jnp.linalg.norm(layer.weight))
        assert found.parameters[name] == pytest.approx(norm, rel=1e-12)
    with pytest.raises(ro.RobooptError, match="array"):
        found.paths("layers[0].weight")
    assert max(map(len, str(found).splitlines())) <= 80


def test_gradients_that_vanish_explode_or_round_off_are_found():
    def power(a, length):
        x, _ = jax.lax.scan(lambda x, _: (a * x, None), 1.0, None, length=length)
        return x

    def codes(a, length):
        return [f.code for f in chain(power, a, length).findings()]

    assert codes(0.99, 100) == []
    assert codes(0.5, 100) == ["vanishing"]
    assert codes(1.5, 50) == ["exploding"]
    assert codes(3.0, 100) == ["exploding"]  # 3¹⁰⁰ has all its digits


@pytest.mark.slow
def test_an_objective_and_a_policy(cart_pole_problem):
    objective, policy, starts = cart_pole_problem
    found = chain(objective, policy, starts)
    gradient = jax.grad(lambda p: objective(p, starts))(policy)
    norm = float(jnp.linalg.norm(gradient.gains))
    assert found.parameters["gains"] == pytest.approx(norm, rel=1e-12)
    assert len(found.steps[0].norms) == objective.rollout.horizon + 1


def test_bad_input_is_refused():
    with pytest.raises(ro.RobooptError, match="`function`"):
        chain(lambda w: w, jnp.ones(3))
    with pytest.raises(ro.RobooptError, match="`function`.*depend"):
        chain(lambda w, s: (s - 1) ** 2, 0.7, 2.0)
    with pytest.raises(ro.RobooptError, match="`function`.*lax.cond"):
        chain(lambda w: w if w > 0 else -w, 0.7)
    with pytest.raises(ro.RobooptError, match="`function`.*while_loop"):
        chain(lambda w: jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, w), 0.7)
    with pytest.raises(ro.RobooptError, match="`function`.*complex"):
        chain(lambda w: w * 1j, 0.7)
    for bad in (lambda w: None, lambda w: (w**2, {"aux": 1.0}), lambda w: "text"):
        with pytest.raises(ro.RobooptError, match="`function`.*one real number"):
            chain(bad, 0.7)
    with pytest.raises(ro.RobooptError, match="`function`.*callback"):
        kind = jax.ShapeDtypeStruct((), float)
        chain(lambda w: jax.pure_callback(np.sin, kind, w), 0.7)
    with pytest.raises(ro.RobooptError, match="`model`.*size 0"):
        chain(lambda w: jnp.sum(w), jnp.zeros((0, 3)))
    with pytest.raises(ro.RobooptError, match="`args`"):
        chain(lambda: 1.0)
    with pytest.raises(ro.RobooptError, match="`model`"):
        chain(lambda w: jnp.asarray(1.0), 3)
    with pytest.raises(ro.RobooptError, match="`parameter`"):
        chain(network, jnp.array([0.5, 0.8]), (1.5, 3.0)).paths("w3")


@pytest.mark.parametrize("layers, code", [(30, "exploding"), (60, "exploding")])
def test_growth_of_signal_and_gradient_alike_is_no_rounding_error(layers, code):
    # Each layer of a linear network makes the signal and the derivative 4 times as
    # large, to the last digit: d out/d w = 4³⁰ = 1.15e18 has all its digits.
    def linear(w, x):
        return jax.lax.scan(lambda h, own: (own * h, None), x, w)[0]

    found = chain(linear, jnp.full(layers, 4.0), 1.0)
    assert [finding.code for finding in found.findings()] == [code]

    def chaotic(w, x):  # The logistic map: the signal stays below 1.
        return jax.lax.scan(lambda h, own: (own * h * (1 - h), None), x, w)[0]

    found = chain(chaotic, jnp.full(200, 3.9), 0.3)
    assert [finding.code for finding in found.findings()] == ["rounding"]


def test_a_loop_is_read_as_each_jax_describes_it():
    class Groups:  # JAX 0.11 has constants, carry and rows in groups.
        def unpack(self):
            return (None,) * 3, (None,) * 2, (None,)

    assert scan_counts({"num_consts": 3, "num_carry": 2}) == (3, 2)
    assert scan_counts({"ft_in": Groups(), "length": 3}) == (3, 2)


def test_a_loop_that_another_jax_describes_is_refused():
    with pytest.raises(RobooptError, match="JAX must be of a version.*got"):
        scan_counts({"jaxpr": None, "length": 3})
