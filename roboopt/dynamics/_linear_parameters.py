"""The parameters in which the efforts of a motion are linear, and their matrix.

Each body gives its mass m, its first moments h = m c and its inertia about the joint
frame's origin, I + m (|c|² 1 − c cᵀ); each joint its damping, Coulomb friction,
armature and effort offset. In the axes of its frame, which has the angular velocity ω,
and whose origin has the acceleration a less gravity, a body needs force and moment

    f = m a + ω̇ × h + ω × (ω × h)        n = h × a + I ω̇ + ω × I ω

(Atkeson, An and Hollerbach, 1986). Bullet's damping of bodies is not among them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import compiled
from roboopt.dynamics._friction import PARTS
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._parameters import quantity
from roboopt.dynamics._parametric_twin import ParametricTwin

UPPER = np.triu_indices(3)
NOT_LINEAR = (
    *("position_offset", "effort_gain", "lag", "delay", "gravity"),
    *("friction_velocity", *PARTS),
)


def efforts_are_linear(model: ParametricTwin) -> bool:
    """Return whether the free parameters act through `linear_parameters` alone."""
    names = [name for joined in model.names for name in joined.split(" = ")]
    inner = model.inner
    plain = inner.robot.friction_law is None and inner.drive is None
    return plain and not any(quantity(name).startswith(NOT_LINEAR) for name in names)


@compiled
def linear_parameters(model: ParametricTwin) -> Float[Array, " number"]:
    """Return the numbers of all bodies with mass, then of all joints, in SI units."""
    robot, massive = model.robot, np.array(model.massive, int)

    def of_body(m: Array, c: Array, inertia: Array) -> Array:
        shift = m * (c @ c * jnp.eye(3) - jnp.outer(c, c))
        return jnp.concatenate([m[None], m * c, (inertia + shift)[UPPER]])

    bodies = robot.masses, robot.centers_of_mass, robot.inertias
    of_bodies = jax.vmap(of_body)(*(x[massive] for x in bodies))
    offset = model.effort(jnp.zeros(len(model.actuated)))
    assert offset is not None  # A twin that is fitted has no motors.
    of_joints = robot.damping, robot.friction, robot.armature, offset
    return jnp.concatenate([of_bodies.ravel(), *of_joints])


def effort_matrix(
    model: ParametricTwin,
    q: Float[Array, " joint"],
    velocity: Float[Array, " joint"],
    acceleration: Float[Array, " joint"],
    duration: float | Float[Array, ""] = 0.0,
) -> Float[Array, "joint number"]:
    """Return Y, with which Y φ are the commanded efforts of a motion.

    Its arguments are those of `ParametricTwin.inverse_dynamics`, and φ are the
    `linear_parameters`.
    """
    robot, massive = model.inner.robot, np.array(model.massive, int)
    rotations, origins = robot.frames(q)
    turn, accelerated = _frame_motions(robot, q, velocity, acceleration)
    axes = jnp.einsum("jab,jb->ja", rotations, robot.axes)
    turns, parents = np.array(robot.tree.revolute), np.array(robot.parents)
    moving = np.zeros((len(parents), len(massive)))
    columns = []
    for k, body in enumerate(massive):
        frame = robot.body_joints[body]
        if frame < 0:
            columns.append(jnp.zeros((len(parents), 10)))
            continue
        joint = frame
        while joint >= 0:
            moving[joint, k] = 1.0
            joint = parents[joint]
        force, moment = _wrench(
            rotations[frame], turn[0][frame], turn[1][frame], accelerated[frame]
        )
        arms = origins[frame][None] - origins
        about = moment[None] + jnp.cross(arms[:, None], force.T[None]).swapaxes(1, 2)
        turning = jnp.einsum("ja,jan->jn", axes, about)
        sliding = axes @ force
        along = jnp.where(turns[:, None], turning, sliding)
        columns.append(moving[:, k, None] * along)
    bodies = robot.coupling.T @ jnp.concatenate(columns, 1)
    slow = robot.friction_velocity
    damped, rubbed = velocity, jnp.tanh(velocity / slow)
    if model.implicit_damping:
        x = velocity / slow
        safe = jnp.where(jnp.abs(x) < 1e-4, 1.0, x)
        ratio = jnp.where(jnp.abs(x) < 1e-4, 1 - x**2 / 3, jnp.tanh(safe) / safe)
        damped = damped + duration * acceleration
        rubbed = rubbed + duration * acceleration * ratio / slow
    diagonals = damped, rubbed, acceleration, -jnp.ones_like(q)
    return jnp.concatenate([bodies, *map(jnp.diag, diagonals)], 1)


def _frame_motions(
    robot: Multibody, q: Array, velocity: Array, acceleration: Array
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
