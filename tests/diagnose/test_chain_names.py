"""Names, expressions and values of a chain are those of the real local variables."""

import math
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt.diagnose import chain


def helper(q):
    t = q * q
    return t + 1


@jax.jit
def jitted_helper(z):
    s = jnp.tanh(z * 2)
    return s + 1


def early(q, unused):
    first = jnp.sin(q)
    later = first * 3  # noqa: F841
    return first


class Model:
    def __init__(self, w):
        self.gain = w * 3

    def __call__(self, x):
        z = self.gain * x
        return jnp.tanh(z)

    def twice(self, x):
        once = self(x)
        return self(once)


def calls_a_helper(w, x):
    u = helper(w * x)
    return u * 2


def calls_two_helpers_in_one_line(w, x):
    err = helper(w) - helper(x * w)
    return err**2


def calls_a_helper_that_returns_an_early_value(w, x):
    u = early(w * x, helper(w))
    v = helper(u) + early(u, w)
    return v * u


def calls_a_jitted_helper(w, x):
    h = jitted_helper(w * x + 1)
    g = jitted_helper(h - w)
    return h * g


@jax.jit
def is_jitted(w, x):
    e = (w * x - 3) ** 2
    y = jnp.sqrt(e + w)
    return y * jitted_helper(e)


def maps_a_helper(w, x):
    h = jax.vmap(helper)(w * jnp.arange(3.0))
    n = jax.vmap(jax.jit(jax.vmap(helper)))(w * x * jnp.ones((2, 2)))
    return jnp.sum(h) + jnp.mean(n)


def calls_methods(w, x):
    model = Model(w)
    o = model(x - 1)
    p = model.twice(o)
    return p * w


def assigns_again(w, x):
    y = x
    y += w
    y *= w
    for k in range(3):
        y = helper(y) / (k + 2)
    y, other = (
        y * w,
        jnp.exp(-y),
    )
    return y * other


def assigns_in_an_expression(w, x):
    k = (h := w * x) + 1
    parts = {"a": h * k, "b": jnp.cos(k)}
    parts["c"] = parts["a"] * parts["b"]
    total = sum(v**2 for v in parts.values())
    return total


def differentiates(w, x):
    slope = jax.grad(lambda q: helper(q) * q)(w)
    value, back = jax.vjp(jnp.sin, slope * x)
    (pulled,) = back(value)
    return pulled


def branches(w, x):
    h = jax.lax.cond(w * x > 0, helper, jnp.sin, w)
    g = jitted_helper(h)
    s, rows = jax.lax.scan(lambda s, k: (s * h + k, s), w, jnp.arange(3.0))
    return s * g + jnp.sum(rows)


FUNCTIONS = [
    calls_a_helper,
    calls_two_helpers_in_one_line,
    calls_a_helper_that_returns_an_early_value,
    calls_a_jitted_helper,
    is_jitted,
    maps_a_helper,
    calls_methods,
    assigns_again,
    assigns_in_an_expression,
    differentiates,
    branches,
]


def locals_of(function: Callable[..., Any], *args: Any) -> dict[str, list[np.ndarray]]:
    """Return all that local variables of this file held while a function ran."""
    found: dict[str, list[np.ndarray]] = {}

    def note(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                note(f"{name}[{key!r}]", part)
            return
        if isinstance(value, Model):
            note(f"{name}.gain", getattr(value, "gain", None))
            return
        tracer: Any = jax.core.Tracer  # type: ignore
        while isinstance(value, tracer):  # of vmap or grad
            value = getattr(value, "primal", getattr(value, "val", None))
        if isinstance(value, jax.Array | float):
            found.setdefault(name, []).append(np.asarray(value))

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != __file__:
            return None
        for name, value in frame.f_locals.items():
            note(name, value)
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        with jax.disable_jit():
            function(*args)
    finally:
        sys.settrace(before)
    return found


@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_each_node_has_the_value_of_its_local_variable(function, called_before):
    w, x = 0.7, 2.0
    if called_before:  # JAX then holds the trace of what is jitted.
        jax.clear_caches()
        function(jnp.asarray(w), x)
    found = chain(function, w, x)
    real = locals_of(function, jnp.asarray(w), x)
    names = [node.name for node in found.nodes]
    assert len(set(names)) == len(names) >= 2
    for node in found.nodes[:-1] if names[-1] == "L" else found.nodes:
        assert not node.name.startswith("v1"), "each has a name of the source"
        values = [np.sqrt(np.mean(v**2)) for v in real[node.name.partition("#")[0]]]
        size = abs(node.value)
        assert np.isclose(values, size, rtol=1e-12, atol=0).any(), (node, values)
    expected = float(jax.grad(function)(w, x))
    assert found.parameters["w"] == pytest.approx(expected, rel=1e-12)
    if all(node.factors for node in found.nodes):
        product = math.fsum(path.product for path in found.paths("w"))
        assert product == pytest.approx(expected, rel=1e-12)


def test_the_value_that_a_line_assigns_has_its_name_and_text():
    # u = (0.7·2)² + 1 = 2.96, L = 2u: dL/du = 2.
    found = chain(calls_a_helper, 0.7, 2.0)
    rows = [(n.name, n.expression, n.value, n.derivative) for n in found.nodes]
    assert [row[:2] for row in rows] == [
        ("t", "q * q"),
        ("u", "helper(w * x)"),
        ("L", "u * 2"),
    ]
    np.testing.assert_allclose(
        [row[2:] for row in rows], [[1.96, 2], [2.96, 2], [5.92, 1]], rtol=1e-12
    )
    # h = tanh(2·2.4) + 1, L = h·g.
    found = {n.name: n for n in chain(calls_a_jitted_helper, 0.7, 2.0).nodes}
    assert found["h"].value == pytest.approx(math.tanh(4.8) + 1, rel=1e-12)
    assert (found["h"].expression, found["s"].expression) == (
        "jitted_helper(w * x + 1)",
        "jnp.tanh(z * 2)",
    )


def test_a_trace_function_of_the_user_is_kept():
    before = sys.gettrace()
    chain(calls_a_helper, 0.7, 2.0)
    assert sys.gettrace() is before
    with pytest.raises(ZeroDivisionError):
        chain(lambda w: w / (1 // 0), 0.7)
    assert sys.gettrace() is before


def test_shapes_are_told_from_values_and_lines_fit():
    def loss(w):
        cost = w * jnp.arange(20.0)
        energy = jnp.sum(cost**2) * 1e-3
        wave = jnp.exp(1j * cost)
        return energy + jnp.sum(jnp.abs(wave + 0.5) ** 2) * jnp.sum(w * jnp.ones(3) + w)

    said = str(chain(loss, 0.7))
    assert "[20]" in said and "complex [20]" in said
    assert max(map(len, said.splitlines())) <= 80
    assert "not shown: is" not in said


def test_the_remedy_of_layers_is_not_that_of_a_motion():
    def layers(weights, x):
        y, _ = jax.lax.scan(lambda x, w: (jnp.tanh(w @ x), None), x, weights)
        return jnp.sum(y**2)

    weights = 0.05 * jax.random.normal(jax.random.key(0), (30, 8, 8))
    (deep,) = chain(layers, weights, jnp.ones(8)).findings()
    assert deep.code == "vanishing" and "horizon" not in deep.message
    assert "initial weights" in deep.message

    def motion(a):
        x, _ = jax.lax.scan(lambda x, _: (a * x, None), 1.0, None, length=100)
        return x

    (long,) = chain(motion, 0.5).findings()
    assert "horizon" in long.message
