"""Digests tell programs apart, wherever in them JAX keeps the difference."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt._digest import digest

X = jnp.arange(3.0)


def ruled(function):
    rule = jax.custom_jvp(function)
    rule.defjvp(lambda x, v: (rule(*x), v[0]))
    return rule


def reversed_rule(function):
    rule = jax.custom_vjp(function)
    rule.defvjp(lambda x: (rule(x), None), lambda _, g: (g,))
    return rule


def scanned(function):
    return lambda x: jax.lax.scan(lambda c, _: (function(c), None), x, length=2)[0]


WRAPPERS = {
    "itself": lambda f: f,
    "jit": jax.jit,
    "filter_jit": eqx.filter_jit,
    "scan": scanned,
    "fori_loop": lambda f: lambda x: jax.lax.fori_loop(0, 2, lambda _, c: f(c), x),
    "while": lambda f: lambda x: jax.lax.while_loop(lambda c: c[0] < 0, f, x),
    "cond": lambda f: lambda x: jax.lax.cond(x[0] < 0, lambda y: y, f, x),
    "checkpoint": jax.checkpoint,
    "custom_jvp": ruled,
    "custom_vjp": reversed_rule,
    "vmap": jax.vmap,
    "grad": lambda f: jax.grad(lambda x: f(x).sum()),
    "map": lambda f: lambda x: jax.lax.map(f, x),
    "root": lambda f: (
        lambda x: jax.lax.custom_root(
            lambda y: y - f(x), x, lambda g, y: g(y), lambda g, y: y / g(jnp.ones(3))
        )
    ),
}


def program(wrap, function):
    return digest(jax.make_jaxpr(wrap(function))(X))


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_change_is_seen_within(name):
    wrap, table = WRAPPERS[name], np.linspace(0.0, 1.0, 3)

    def scaled(gain):
        return lambda x: gain * jnp.sin(x) * x

    def constant(values):
        return lambda x: x * x * jnp.asarray(values)

    same = [program(wrap, make(v)) for make, v in ((scaled, 2.0), (constant, table))]
    again = [program(wrap, make(v)) for make, v in ((scaled, 2.0), (constant, table))]
    other = [program(wrap, make(v)) for make, v in ((scaled, 3.0), (constant, -table))]
    assert same == again
    assert same[0] != other[0] and same[1] != other[1]


def test_values_differ_by_their_type_and_not_by_addresses():
    values = ["1", 1, 1.0, True, b"1", None, 0.0, -0.0, 0, False]
    assert len({digest(value) for value in values}) == len(values)
    assert len({digest([value]) for value in values}) == len(values)
    assert digest("f at 0x7f01") == digest("f at 0x7f02")
