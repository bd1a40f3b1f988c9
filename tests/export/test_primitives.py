"""Every primitive against JAX, in scalars, arrays and loops, in both precisions."""

import importlib.util

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from roboopt.export import export_numpy


def rows(x):
    return jnp.stack([x, x * 2 + 1, x[::-1]])


def spd(x):
    return jnp.outer(x, x) + 2 * jnp.eye(4, dtype=x.dtype)


def whole(x):
    return jnp.round(x * 3).astype(int)


functions = {
    "idx": lambda x: x[jnp.argmax(x)],
    "take": lambda x: jnp.take(x, jnp.argmax(x)),
    "sortidx": lambda x: x[jnp.argsort(x)[:2]],
    "set": lambda x: x.at[1].set(0.0),
    "setdyn": lambda x: x.at[jnp.argmin(x)].set(9.0),
    "adddup": lambda x: x.at[jnp.array([0, 0, 3])].add(x[:3]),
    "onehot": lambda x: jnp.eye(4)[jnp.argmax(x)] @ x,
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2 + x[i], 0.0),
    "whl": lambda x: lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, x)
    )[1],
    "solve": lambda x: jnp.linalg.solve(
        jnp.diag(x) + 3 * jnp.eye(4, dtype=x.dtype)[::-1], x
    ),
    "cond": lambda x: lax.cond(x[0] > 0, lambda y: y, lambda y: -y, x),
    "switch": lambda x: lax.switch(
        jnp.argmax(x), [lambda y: y, lambda y: -y, lambda y: y * 2, lambda y: y * y], x
    ),
    "norm": lambda x: jnp.linalg.norm(x),
    "softmax": lambda x: jax.nn.softmax(x),
    "gelu": lambda x: jax.nn.gelu(x),
    "gelue": lambda x: jax.nn.gelu(x, approximate=False),
    "interp": lambda x: jnp.interp(x[0], jnp.arange(3.0), jnp.array([0.0, 2.0, 3.0])),
    "roll": lambda x: jnp.roll(x, 1),
    "mod": lambda x: x % 2.0,
    "inv": lambda x: jnp.linalg.inv(jnp.diag(x)) @ x,
    "det": lambda x: jnp.linalg.det(jnp.outer(x, x) + jnp.eye(4)),
    "cumsum": lambda x: jnp.cumsum(x),
    "rev": lambda x: x[::-1],
    "stride": lambda x: x[::2],
    "stride1": lambda x: x[1:4:2],
    "map": lambda x: lax.map(jnp.sin, x),
    "scan": lambda x: lax.scan(
        lambda c, y: ((c[0] + y, c[0]), c[0] * y), (0.0, x[0]), x
    )[1],
    "scanrev": lambda x: lax.scan(lambda c, y: (c * 0.5 + y, c), 0.0, x, reverse=True)[
        1
    ],
    "swap": lambda x: lax.fori_loop(0, 3, lambda i, c: (c[1], c[0]), (x, 2 * x))[0],
    "nested": lambda x: lax.fori_loop(
        0,
        3,
        lambda i, c: lax.fori_loop(
            0, 2, lambda j, d: d + x * j.astype(x.dtype) + i.astype(x.dtype), c
        ),
        x,
    ),
    "whileinner": lambda x: lax.while_loop(
        lambda c: jnp.sum(c) < 100,
        lambda c: (
            lax.scan(lambda k, y: (k + y, k * 2), x, jnp.stack([c, c]))[0]
            + 1
            + jnp.abs(c)
        ),
        x,
    ),
    "ints": lambda x: (jnp.argmax(x) * 3 + 1) // 2,
    "intarr": lambda x: jnp.argsort(x) - 7,
    "floordiv": lambda x: jnp.floor_divide(jnp.round(x * 5).astype(int), 3),
    "bools": lambda x: (x > 0) & (x < 1) | (x < -1),
    "notb": lambda x: ~(x > 0),
    "xor": lambda x: (x > 0) ^ (x < 1),
    "sig": lambda x: jax.nn.sigmoid(x * 100),
    "softplus": lambda x: jax.nn.softplus(x),
    "elu": lambda x: jax.nn.elu(x),
    "relu": lambda x: jax.nn.relu(x),
    "silu": lambda x: jax.nn.silu(x),
    "lrelu": lambda x: jax.nn.leaky_relu(x),
    "mish": lambda x: jax.nn.mish(x),
    "relu6": lambda x: jax.nn.relu6(x),
    "logsumexp": lambda x: jax.scipy.special.logsumexp(x),
    "std": lambda x: jnp.std(x),
    "layernorm": lambda x: eqx.nn.LayerNorm(4)(x),
    "median": lambda x: jnp.median(x),
    "prod": lambda x: jnp.prod(x),
    "maxmin": lambda x: jnp.max(x) - jnp.min(x),
    "anyall": lambda x: jnp.any(x > 0) & jnp.all(x > -1),
    "clip": lambda x: jnp.clip(x, -0.3, 0.4),
    "clips": lambda x: jnp.clip(x[0], -0.3, 0.4),
    "clampb": lambda x: lax.clamp(x - 1, x[::-1], x + 1),
    "ein": lambda x: jnp.einsum("ij,kj->ik", rows(x), rows(x)).sum(0),
    "batch": lambda x: jnp.einsum("bi,bi->b", rows(x), rows(x)),
    "bmm": lambda x: jnp.matmul(jnp.stack([rows(x)] * 2), jnp.stack([rows(x).T] * 2))[
        1, 0
    ],
    "outer": lambda x: jnp.outer(x, x)[1],
    "tr": lambda x: rows(x).T[0],
    "tr3": lambda x: jnp.transpose(rows(x).reshape(3, 2, 2), (2, 0, 1)).ravel(),
    "pad": lambda x: jnp.pad(x, (1, 2)),
    "powr": lambda x: jnp.abs(x) ** 1.7,
    "pow2": lambda x: x**2,
    "pow3": lambda x: x**3,
    "powm": lambda x: x ** (-2),
    "pows": lambda x: x[0] ** 3,
    "rsqrt": lambda x: lax.rsqrt(jnp.abs(x)),
    "rnd": lambda x: jnp.round(x * 3),
    "rnda": lambda x: lax.round(jnp.round(x * 4) / 2),
    "tan2": lambda x: jnp.arctan2(x, x[::-1]),
    "dyn": lambda x: lax.dynamic_slice(x, (jnp.argmax(x),), (2,)),
    "dynup": lambda x: lax.dynamic_update_slice(x, x[:2], (jnp.argmax(x),)),
    "topk": lambda x: lax.top_k(x, 2)[0],
    "topki": lambda x: lax.top_k(whole(x), 3)[1],
    "sort": lambda x: jnp.sort(x),
    "sortd": lambda x: jnp.sort(x)[::-1],
    "g2": lambda x: rows(x)[jnp.argsort(x)[:2] % 3],
    "g2c": lambda x: rows(x)[:, jnp.argsort(x)],
    "gg": lambda x: rows(x)[jnp.array([0, 1]), jnp.argsort(x)[:2]],
    "fill": lambda x: jnp.take(x, jnp.argsort(x) + 2, mode="fill"),
    "wrap": lambda x: jnp.take(x, jnp.argsort(x) + 2, mode="wrap"),
    "tal": lambda x: jnp.take_along_axis(rows(x), jnp.argsort(rows(x), axis=1), axis=1)[
        2
    ],
    "vg": lambda x: jax.vmap(lambda r, i: r[i])(rows(x), jnp.argsort(x)[:3]),
    "vds": lambda x: jax.vmap(lambda r, i: lax.dynamic_slice(r, (i,), (2,)))(
        rows(x), jnp.argsort(x)[:3]
    ).ravel(),
    "diag": lambda x: jnp.diag(jnp.outer(x, x)),
    "triu": lambda x: jnp.triu(jnp.outer(x, x)).sum(0),
    "chol": lambda x: jnp.linalg.cholesky(jnp.outer(x, x) + 2 * jnp.eye(4))[3],
    "cho": lambda x: jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(jnp.outer(x, x) + jnp.eye(4)), x
    ),
    "grad": lambda x: jax.grad(lambda y: jnp.sum(jnp.sin(y) ** 2))(x),
    "jac": lambda x: jax.jacfwd(
        lambda y: jnp.tanh(jnp.arange(12.0).reshape(3, 4).astype(y.dtype) @ y)
    )(x)[0],
    "rem": lambda x: jax.checkpoint(jnp.sin)(x),
    "const": lambda x: jnp.arange(3.0) * 2,
    "ident": lambda x: x,
    "scal": lambda x: jnp.sum(x),
    "cross": lambda x: jnp.cross(x[:3], x[1:]),
    "tril": lambda x: jnp.linalg.solve(jnp.tril(jnp.outer(x, x)) + 3 * jnp.eye(4), x),
    "search": lambda x: jnp.searchsorted(jnp.sort(x), 0.1),
    "inf": lambda x: jnp.where(x > 0, -jnp.inf, x),
    "cat": lambda x: jnp.concatenate([x, jnp.zeros(2, x.dtype), x[:1]]),
    "tile": lambda x: jnp.tile(x, 3),
    "rep": lambda x: jnp.repeat(x, 2),
    "full": lambda x: jnp.broadcast_to(x[:1], (3,)),
    "emptyc": lambda x: x[:0],
    "cummax": lambda x: lax.cummax(x),
    "cumr": lambda x: lax.cumsum(x, reverse=True),
    "cumlse": lambda x: lax.cumlogsumexp(x),
    "logs": lambda x: jax.nn.log_softmax(x)[0],
    "oneh": lambda x: jax.nn.one_hot(jnp.argmax(x), 5),
    "assoc": lambda x: lax.associative_scan(jnp.add, x),
    "rsum": lambda x: lax.dot_general(rows(x), rows(x), (((0,), (0,)), ((1,), (1,)))),
    "rng": lambda x: x + jax.random.normal(jax.random.key(0), (4,)),
    "spread": lambda x: lax.pad(x, jnp.zeros((), x.dtype), [(-1, 2, 1)]),
    "isnan": lambda x: jnp.where(jnp.isnan(x / 0 * 0), 1.0, x),
    "rem_ints": lambda x: lax.rem(whole(x), jnp.full(4, 2)),
    "div": lambda x: lax.div(whole(x), jnp.full(4, 2)),
}


def loaded(exported):
    spec = importlib.util.spec_from_file_location("policy", exported.runner)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Policy()


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("name", functions)
def test_it_agrees_with_jax(name, double, tmp_path):
    function = functions[name]
    with jax.enable_x64(double):
        policy = loaded(export_numpy(function, np.ones(4), tmp_path))
        compiled = jax.jit(function)
        for seen in np.random.default_rng(0).standard_normal((5, 4)):
            expected, action = np.asarray(compiled(jnp.asarray(seen))), policy(seen)
            assert action.dtype == expected.dtype and action.shape == expected.shape
            # Some of these lose a digit or two where they cancel.
            error = 1e-11 if double else 1e-4
            np.testing.assert_allclose(action, expected, rtol=error, atol=error)
