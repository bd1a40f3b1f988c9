"""Kinematics and dynamics of a tree of rigid bodies, from its bodies' Jacobians.

    M(q) = Σ_b  m_b J_vᵀ J_v + J_ωᵀ I J_ω  + diag(armature)
    h(q, q̇) = Σ_b  J_vᵀ m (a_b − g) + J_ωᵀ (I α_b + ω × I ω) + the bodies' damping

with J_v, J_ω the Jacobians of body b's center of mass and a_b, α_b its accelerations
at q̈ = 0 (Siciliano et al., Robotics, 2009, §7.2). All Jacobians are formed in
a few batched operations: more arithmetic than a recursion over the joints, but two to
three times as fast when compiled by XLA, for one rollout and for many.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Joints up to which the elimination is unrolled; with 12 it takes four times as long as
# LAPACK, and with 60 minutes to compile.
MAX_UNROLLED = 9


class Tree(NamedTuple):
    """For each joint its parent joint and type, and for each body its joint."""

    parents: tuple[int, ...]
    revolute: tuple[bool, ...]
    body_joints: tuple[int, ...]

    def ancestors(self) -> np.ndarray:
        """Return (joint, joint) booleans: joint j lies on the path from base to i."""
        count = len(self.parents)
        result = np.zeros((count, count), bool)
        for i, parent in enumerate(self.parents):
            if parent >= 0:
                result[i] = result[parent]
            result[i, i] = True
        return result


class Motion(NamedTuple):
    """Positions and motion of the bodies at (q, q̇), in the world's axes."""

    angular_jacobian: Array  # (body, joint, 3)
    linear_jacobian: Array  # (body, joint, 3), of the center of mass
    center: Array  # (body, 3) [m]
    inertia: Array  # (body, 3, 3) [kg·m²] about the center of mass
    angular_velocity: Array  # (body, 3) [rad/s]
    linear_velocity: Array  # (body, 3) [m/s]
    angular_bias: Array  # (body, 3) [rad/s²], the acceleration at q̈ = 0
    linear_bias: Array  # (body, 3) [m/s²]


def cross(a: Array, b: Array) -> Array:
    """Return a × b over the last axis, which fuses as jnp.cross does not."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return jnp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def matmul(a: Array, b: Array) -> Array:
    """Return the 3×3 product a b in products and sums, which fuse as a dot does not."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def apply(matrix: Array, vector: Array) -> Array:
    """Return matrix · vector for 3×3 matrices, batched."""
    return (matrix * vector[..., None, :]).sum(-1)


def skew(v: Array) -> Array:
    """Return the matrix of v ×."""
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    o = jnp.zeros_like(x)
    rows = [[o, -z, y], [z, o, -x], [-y, x, o]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


@eqx.filter_custom_jvp
def joint_frames(
    tree: Tree,
    joint_rotations: Float[Array, "joint 3 3"],
    joint_offsets: Float[Array, "joint 3"],
    axes: Float[Array, "joint 3"],
    q: Float[Array, " joint"],
) -> tuple[Float[Array, "joint 3 3"], Float[Array, "joint 3"]]:
    """Return the rotation and origin [m] of each joint's moving frame in the world."""
    return _chained_frames(tree, joint_rotations, joint_offsets, axes, q)


def _chained_frames(
    tree: Tree, joint_rotations: Array, joint_offsets: Array, axes: Array, q: Array
) -> tuple[Array, Array]:
    turns = np.array(tree.revolute)
    angle = jnp.where(turns, q, 0.0)[:, None, None]
    screw = skew(axes)
    turned = jnp.sin(angle) * screw + (1 - jnp.cos(angle)) * matmul(screw, screw)
    local_rotation = joint_rotations + matmul(joint_rotations, turned)
    slide = jnp.where(turns, 0.0, q)[:, None]
    local_offset = joint_offsets + apply(joint_rotations, axes) * slide
    rotations: list[Array] = []
    origins: list[Array] = []
    for i, parent in enumerate(tree.parents):
        if parent < 0:
            rotations.append(local_rotation[i])
            origins.append(local_offset[i])
        else:
            rotations.append(matmul(rotations[parent], local_rotation[i]))
            origins.append(origins[parent] + apply(rotations[parent], local_offset[i]))
    return jnp.stack(rotations), jnp.stack(origins)


@joint_frames.def_jvp
def _joint_frames_jvp(primals, tangents):
    """Differentiate all frames at once if only q has a tangent, without the chain.

    δR_i = [Σ_j z_j δq_j]× R_i and δo_i = Σ_j z_j × (o_i − o_j) δq_j over the revolute
    joints j from base to i; prismatic joints add z_j δq_j to δo_i.
    """
    tree, *numbers = primals
    _, *numbers_tangents = tangents
    *others, q_tangent = numbers_tangents
    if q_tangent is None or any(tangent is not None for tangent in others):
        chain = partial(_chained_frames, tree)
        return eqx.filter_jvp(chain, tuple(numbers), tuple(numbers_tangents))
    frames = joint_frames(*primals)
    _, _, axes, _ = numbers
    rotations, origins = frames
    angular, linear = jacobian(
        tree, apply(rotations, axes), origins, origins, tuple(range(len(tree.parents)))
    )
    turn = (angular * q_tangent[None, :, None]).sum(1)
    shift = (linear * q_tangent[None, :, None]).sum(1)
    return frames, (matmul(skew(turn), rotations), shift)


def jacobian(
    tree: Tree,
    directions: Float[Array, "joint 3"],
    origins: Float[Array, "joint 3"],
    points: Float[Array, "point 3"],
    point_joints: tuple[int, ...],
) -> tuple[Float[Array, "point joint 3"], Float[Array, "point joint 3"]]:
    """Return the angular and linear Jacobians of points fixed in joints' frames."""
    turns = np.array(tree.revolute)[:, None]
    # Joint −1 is the world, which no joint moves.
    above = np.vstack([tree.ancestors(), np.zeros(len(tree.parents), bool)])
    moves = jnp.asarray(above[np.array(point_joints)][..., None], directions.dtype)
    spin = jnp.where(turns, directions, 0.0)
    slide = jnp.where(turns, 0.0, directions)
    arm = points[:, None] - origins[None]
    linear = cross(jnp.broadcast_to(spin, arm.shape), arm) + slide[None]
    return moves * spin[None], moves * linear


def motion(
    robot: Any, q: Float[Array, " joint"], velocity: Float[Array, " joint"]
) -> Motion:
    """Return Jacobians, velocities and bias accelerations of a `Multibody`'s bodies.

    Here and below "joint" counts the moving joints, those that follow others included.
    """
    tree, poses = robot.tree, (robot.joint_rotations, robot.joint_offsets)
    rotations, origins = joint_frames(tree, *poses, robot.axes, q)
    turns = np.array(tree.revolute)[:, None]
    carrier = np.array(tree.body_joints)
    ancestors = tree.ancestors()
    dtype = rotations.dtype
    moves = jnp.asarray(ancestors[carrier][..., None], dtype)
    strictly = jnp.asarray(ancestors & ~np.eye(len(ancestors), dtype=bool), dtype)

    directions = apply(rotations, robot.axes)
    spin = jnp.where(turns, directions, 0.0)
    body_rotations, body_origins = rotations, origins
    if tree.body_joints != tuple(range(len(ancestors))):
        body_rotations, body_origins = rotations[carrier], origins[carrier]
    center = body_origins + apply(body_rotations, robot.centers_of_mass)
    turned_inertia = matmul(body_rotations, robot.inertias)
    inertia = matmul(turned_inertia, jnp.swapaxes(body_rotations, -1, -2))
    j_angular, j_linear = jacobian(tree, directions, origins, center, tree.body_joints)
    omega = jnp.einsum("bji,j->bi", j_angular, velocity)
    speed = jnp.einsum("bji,j->bi", j_linear, velocity)

    # d/dt of the Jacobians, times q̇: an axis turns with the link before its joint, and
    # a point's arm about a revolute joint changes by their difference in velocity.
    rate = velocity[:, None]
    turned = cross(strictly @ (spin * rate), directions)
    arm = origins[:, None] - origins[None]
    slide = jnp.where(turns, 0.0, directions)
    j_origin = cross(jnp.broadcast_to(spin, arm.shape), arm) + slide[None]
    origin_speed = jnp.einsum("kj,kji,j->ki", strictly, j_origin, velocity)
    origin_speed = origin_speed + slide * rate
    arm = center[:, None] - origins[None]
    arm_rate = speed[:, None] - origin_speed[None]
    spin_rate = jnp.where(turns, turned, 0.0)
    d_linear = (
        cross(jnp.broadcast_to(spin_rate, arm.shape), arm)
        + cross(jnp.broadcast_to(spin, arm.shape), arm_rate)
        + jnp.where(turns, 0.0, turned)[None]
    )
    return Motion(
        angular_jacobian=j_angular,
        linear_jacobian=j_linear,
        center=center,
        inertia=inertia,
        angular_velocity=omega,
        linear_velocity=speed,
        angular_bias=jnp.einsum("bji,j->bi", moves * spin_rate[None], velocity),
        linear_bias=jnp.einsum("bji,j->bi", moves * d_linear, velocity),
    )


def safe_norm(v: Array) -> Array:
    """Return ‖v‖ over the last axis, which is kept, with derivative 0 at v = 0."""
    square = (v * v).sum(-1, keepdims=True)
    moving = square > 0
    return jnp.where(moving, jnp.sqrt(jnp.where(moving, square, 1.0)), 0.0)


def generalized_force(
    robot: Any, bodies: Motion, acceleration: Float[Array, " joint"] | None = None
) -> Float[Array, " joint"]:
    """Return the joint efforts for an acceleration; None stands for zero.

    Bullet slows each body by a force m v (k + k‖v‖) and a torque I ω (k + k‖ω‖)
    (btMultiBody::computeAccelerationsArticulatedBodyAlgorithmMultiDof).
    """
    linear, angular = bodies.linear_bias - robot.gravity[None], bodies.angular_bias
    if acceleration is not None:
        linear += jnp.einsum("bji,j->bi", bodies.linear_jacobian, acceleration)
        angular += jnp.einsum("bji,j->bi", bodies.angular_jacobian, acceleration)
    v, omega = bodies.linear_velocity, bodies.angular_velocity
    momentum = apply(bodies.inertia, omega)
    force = linear + v * (robot.linear_damping * (1 + safe_norm(v)))
    force = robot.masses[:, None] * force
    torque = apply(bodies.inertia, angular) + cross(omega, momentum)
    torque += momentum * (robot.angular_damping * (1 + safe_norm(omega)))
    return jnp.einsum("bji,bi->j", bodies.linear_jacobian, force) + jnp.einsum(
        "bji,bi->j", bodies.angular_jacobian, torque
    )


def joint_space_inertia(
    bodies: Motion, masses: Float[Array, " body"]
) -> Float[Array, "joint joint"]:
    """Return Σ_b m J_vᵀ J_v + J_ωᵀ I J_ω."""
    j_linear, j_angular = bodies.linear_jacobian, bodies.angular_jacobian
    turned = jnp.einsum("bil,bjl->bji", bodies.inertia, j_angular)
    return jnp.einsum(
        "bji,bki->jk", masses[:, None, None] * j_linear, j_linear
    ) + jnp.einsum("bji,bki->jk", j_angular, turned)


def solve_positive_definite(
    matrix: Float[Array, "joint joint"], vector: Float[Array, " joint"]
) -> Float[Array, " joint"]:
    """Return matrix⁻¹ vector; see `_eliminate` for few joints."""
    if vector.shape[0] > MAX_UNROLLED:
        return _solve_in_loops(matrix, vector[:, None])[:, 0]
    return _eliminate(matrix, vector)[1]


def invert_positive_definite(
    matrix: Float[Array, "joint joint"],
) -> Float[Array, "joint joint"]:
    """Return matrix⁻¹; see `_eliminate` for few joints."""
    if matrix.shape[0] > MAX_UNROLLED:
        return _solve_in_loops(matrix, jnp.eye(len(matrix), dtype=matrix.dtype))
    return _eliminate(matrix, jnp.zeros_like(matrix[0]))[0]


def _eliminate(matrix: Array, vector: Array) -> tuple[Array, Array]:
    """Return matrix⁻¹ and matrix⁻¹ vector by Gauss-Jordan elimination in place.

    Each joint takes one elementwise operation on the whole matrix, which, unlike a
    LAPACK call, fuses and vectorizes under vmap. Positive definite matrices need no
    pivoting (Higham, Accuracy and Stability of Numerical Algorithms, §14.4).
    """
    for i, here in enumerate(np.eye(vector.shape[0], dtype=bool)):
        column = matrix[:, i]
        scale = 1 / matrix[i, i]
        row = jnp.where(here, scale, matrix[i] * scale)
        rest = jnp.where(here[None], 0.0, matrix) - column[:, None] * row[None]
        matrix = jnp.where(here[:, None], row[None], rest)
        known = vector[i] * scale
        vector = jnp.where(here, known, vector - column * known)
    return matrix, vector


def _solve_in_loops(matrix: Array, right: Array) -> Array:
    """Return matrix⁻¹ right by L D Lᵀ, with the derivative of a linear equation.

    LAPACK calls of a batch share their work among the threads that call them: two at
    once on two processors wait for each other forever (jaxlib 0.10.2).
    """
    order = np.arange(len(matrix))

    def eliminate(j, rest):
        below = jnp.where(order > j, rest[:, j] / rest[j, j], 0.0)
        return rest - rest[j, j] * jnp.outer(below, below)

    rest = jax.lax.stop_gradient(matrix)
    rest = jax.lax.fori_loop(0, len(order), eliminate, rest)
    pivots = jnp.diagonal(rest)
    lower = jnp.tril(rest, -1) / pivots[None]

    def solve(_, known):
        def forth(j, x):
            return x - jnp.outer(lower[:, j], x[j])

        def back(k, x):
            return x - jnp.outer(lower[-1 - k], x[-1 - k])

        x = jax.lax.fori_loop(0, len(order), forth, known) / pivots[:, None]
        return jax.lax.fori_loop(0, len(order), back, x)

    return jax.lax.custom_linear_solve(
        lambda x: matrix @ x, right, solve, symmetric=True
    )
