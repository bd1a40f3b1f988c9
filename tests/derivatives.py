"""Derivatives against central differences, in one program."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


def assert_derivatives(
    function,
    point,
    directions=None,
    *,
    order=1,
    forward=True,
    eps=1e-5,
    rtol=1e-5,
    atol=1e-5,
):
    """Compare the derivatives of a function, forward and reverse, with differences.

    One program serves all directions and both sides of a difference;
    `jax.test_util.check_grads` compiles four and runs many operations one by one.

    Args:
        function: of the entries of `point`, to an array or a tree of arrays.
        point: the arguments, arrays or trees of arrays.
        directions: changes of the arguments; None for one at random.
        order: 2 to check the derivatives of the gradient as well.
        forward: whether the function has forward derivatives.
        eps: half the distance of the two sides.
        rtol: as in `numpy.testing.assert_allclose`.
        atol: the same.

    Returns:
        The value of the function, as a vector.
    """
    x, unravel = ravel_pytree(jax.tree.map(jnp.asarray, tuple(point)))
    random = np.random.default_rng(0)

    def flat(x):
        return ravel_pytree(function(*unravel(x)))[0]

    weight = random.normal(size=jax.eval_shape(flat, x).shape)

    def gradient(x):
        return jax.vjp(flat, x)[1](jnp.asarray(weight, x.dtype))[0]

    @jax.jit
    def slopes(x, direction):
        pair = jax.jvp(flat, (x,), (direction,)) if forward else (flat(x), None)
        return *pair, gradient(x) @ direction

    if directions is None:
        along = [random.normal(size=x.shape)]
    else:
        along = [ravel_pytree(tuple(direction))[0] for direction in directions]
    value = None
    for direction in along:
        value, slope, by_gradient = slopes(x, direction)
        above, below = (slopes(x + e * direction, direction)[0] for e in (eps, -eps))
        numeric = (np.asarray(above) - np.asarray(below)) / (2 * eps)
        if forward:
            np.testing.assert_allclose(slope, numeric, rtol=rtol, atol=atol)
        np.testing.assert_allclose(by_gradient, weight @ numeric, rtol=rtol, atol=atol)
    if order == 2:
        assert_derivatives(
            gradient,
            (x,),
            [(direction,) for direction in along],
            forward=forward,
            eps=eps,
            rtol=rtol,
            atol=atol,
        )
    return np.asarray(value)
