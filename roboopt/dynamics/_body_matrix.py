"""The numbers of bodies in which the efforts of a motion are linear, and their matrix.

Each body gives its mass m, its first moments h = m c and its inertia about the joint
frame's origin, I + m (|c|² 1 − c cᵀ). In the axes of its frame, which has the angular
velocity ω, and whose origin has the acceleration a less gravity, it needs force and
moment

    f = m a + ω̇ × h + ω × (ω × h)        n = h × a + I ω̇ + ω × I ω

(Atkeson, An and Hollerbach, 1986).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

UPPER = np.triu_indices(3)


def body_numbers(
    masses: Float[Array, " body"],
    centers: Float[Array, "body 3"],
    inertias: Float[Array, "body 3 3"],
) -> Float[Array, "body 10"]:
    """Return the ten numbers of each body, in SI units."""

    def of_body(m: Array, c: Array, inertia: Array) -> Array:
        shift = m * ((c * c).sum() * jnp.eye(3, dtype=c.dtype) - c[:, None] * c[None])
        return jnp.concatenate([m[None], m * c, (inertia + shift)[UPPER]])

    return jax.vmap(of_body)(masses, centers, inertias)


def body_matrix(
    robot: Any,
    bodies: Sequence[int],
    q: Float[Array, " joint"],
    velocity: Float[Array, " joint"],
    acceleration: Float[Array, " joint"],
) -> Float[Array, "joint number"]:
    """Return Y, with which Y φ are the efforts that `bodies` with numbers φ need."""
    rotations, origins = robot.frames(q)
    turn, accelerated = _frame_motions(robot, q, velocity, acceleration)
    axes = jnp.einsum("jab,jb->ja", rotations, robot.axes)
    turns = np.array(robot.tree.revolute)
    # Joint −1 is the world, which no joint moves.
    above = np.vstack([robot.tree.ancestors(), np.zeros(len(turns), bool)])
    columns = []
    for body in bodies:
        frame = robot.body_joints[body]
        force, moment = _wrench(
            rotations[frame], turn[0][frame], turn[1][frame], accelerated[frame]
        )
        arms = origins[frame][None] - origins
        about = moment[None] + jnp.cross(arms[:, None], force.T[None]).swapaxes(1, 2)
        turning = jnp.einsum("ja,jan->jn", axes, about)
        along = jnp.where(turns[:, None], turning, axes @ force)
        columns.append(above[frame][:, None] * along)
    return robot.coupling.T @ jnp.concatenate(columns, 1)


def _frame_motions(
    robot: Any, q: Array, velocity: Array, acceleration: Array
) -> tuple[tuple[Array, Array], Array]:
    """Return ω and ω̇ of the joints' frames, and a less gravity, in the world's axes."""

    def once(f: Callable, at: Array, rate: Array) -> tuple:
        return jax.jvp(f, (at,), (rate,))

    def moved(at: Array) -> tuple:
        return once(robot.frames, at, velocity)[1]

    (rotations, _), (first, _) = once(robot.frames, q, velocity)
    second, origins = once(moved, q, velocity)[1]
    more, along = once(robot.frames, q, acceleration)[1]
    back = jnp.swapaxes(rotations, 1, 2)
    spin, change = first @ back, (second + more) @ back

    def vector(matrices: Array) -> Array:
        skew = matrices - jnp.swapaxes(matrices, 1, 2)
        return 0.5 * jnp.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1)

    return (vector(spin), vector(change)), origins + along - robot.gravity[None]


def _wrench(
    rotation: Array, turn: Array, change: Array, accelerated: Array
) -> tuple[Array, Array]:
    """Return the matrices of a body's force and moment, (3, 10), in world axes."""
    w, dw, a = (rotation.T @ x for x in (turn, change, accelerated))
    twice = _cross(dw) + _cross(w) @ _cross(w)
    zeros = jnp.zeros((3, 6))
    force = jnp.concatenate([a[:, None], twice, zeros], 1)
    inertia = _times(dw) + _cross(w) @ _times(w)
    moment = jnp.concatenate([jnp.zeros((3, 1)), -_cross(a), inertia], 1)
    return rotation @ force, rotation @ moment


def _cross(x: Array) -> Array:
    """Return the matrix of x × ·."""
    zero = jnp.zeros(())
    return jnp.array([[zero, -x[2], x[1]], [x[2], zero, -x[0]], [-x[1], x[0], zero]])


def _times(x: Array) -> Array:
    """Return the matrix, (3, 6), of I x by the upper triangle of I."""
    zero = jnp.zeros(())
    return jnp.array(
        [
            [x[0], x[1], x[2], zero, zero, zero],
            [zero, x[0], zero, x[1], x[2], zero],
            [zero, zero, x[0], zero, x[1], x[2]],
        ]
    )
