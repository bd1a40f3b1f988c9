"""Derivatives of a robot's inverse dynamics along tangents, in two ways.

Along one direction it is that of the formula. Along many, as in the Jacobian of a fit,
the matrices ∂ID/∂q, ∂ID/∂q̇ and Y are made once, and each direction is a product:

    δID = ∂ID/∂q δq + ∂ID/∂q̇ δq̇ + Y δφ + …
"""

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from roboopt.dynamics._body_matrix import body_matrix, body_numbers


def effort_along(
    robot: Any, q: Array, velocity: Array, acceleration: Array, along: Any
) -> Array | None:
    """Return δID along tangents of robot, q and q̇, of which None is a zero."""

    def inverse(robot, q, velocity):
        return robot.inverse_dynamics(q, velocity, acceleration)

    return eqx.filter_jvp(inverse, (robot, q, velocity), tuple(along))[1]


def effort_by_matrices(
    robot: Any, q: Array, velocity: Array, acceleration: Array, along: Any
) -> Array | None:
    """Return δID along tangents as products of matrices, which all tangents share.

    Bodies count by the numbers in which their efforts are linear, without Bullet's
    damping.
    """
    turned, *state = along
    bodies = robot.masses, robot.centers_of_mass, robot.inertias
    moved = turned.masses, turned.centers_of_mass, turned.inertias
    change = jnp.zeros_like(acceleration)
    if any(x is not None for x in moved):
        _, numbers = eqx.filter_jvp(body_numbers, bodies, moved)
        every = range(len(robot.body_joints))
        matrix = body_matrix(robot, every, q, velocity, acceleration)
        change += matrix @ numbers.ravel()
        turned = dataclasses.replace(
            turned, masses=None, centers_of_mass=None, inertias=None
        )
    if any(x is not None for x in state):
        inverse = partial(robot.inverse_dynamics, acceleration=acceleration)
        slopes = jax.jacfwd(inverse, (0, 1))(q, velocity)
        for slope, x in zip(slopes, state, strict=True):
            change += 0.0 if x is None else slope @ x
    if any(x is not None for x in jax.tree.leaves(turned)):
        rest = effort_along(robot, q, velocity, acceleration, (turned, None, None))
        change += 0.0 if rest is None else rest
    return change
