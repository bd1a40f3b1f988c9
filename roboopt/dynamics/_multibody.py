"""A fixed-base robot as a tree of rigid bodies; every physical number is a leaf.

    M(q) q̈ + h(q, q̇) + d q̇ + F(q̇) = τ,    F = c tanh(q̇ / v_s)

with the mass matrix M, the bias h (Coriolis, centrifugal, gravity, and Bullet's damping
of the bodies), viscous damping d, dry friction F, by default Coulomb's c smoothed below
v_s, and the effort τ, [N·m] at a revolute and [N] at a prismatic joint. PyBullet's
joints have neither friction nor armature: both are zero in a robot that shall match
PyBullet.

Joints that follow others (`<mimic>`) reduce the coordinates by a constant matrix:
with the moving joints at K q + c, M = Kᵀ M_moving K and h = Kᵀ h_moving(K q + c, K q̇).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Jittable, compiled
from roboopt._errors import RobooptError, require
from roboopt.dynamics import _rigid_bodies as rigid
from roboopt.dynamics._describe import describe_robot
from roboopt.dynamics._effort_derivatives import effort_along, effort_by_matrices
from roboopt.dynamics._friction import resisted, rubbed
from roboopt.urdf import FRICTION_VELOCITY
from roboopt.urdf.friction import FrictionLaw


class MovingJoint(NamedTuple):
    """A joint of the tree, at multiplier · q + offset of the joint that it follows."""

    name: str
    revolute: bool
    follows: int
    """Number of the joint that it follows, or that it is."""
    multiplier: float
    offset: float
    """[rad or m]"""


class Multibody(Jittable):
    """A tree of rigid bodies on a fixed base, joined by revolute and prismatic joints.

    A joint's frame has its origin at the joint and moves with the link after the joint.
    A link is any named frame, and a body is a link with inertia; fixed joints put
    several of them on one joint's frame. Joint −1 is the world, to which links may be
    fixed, too. Joints are those that move independently; the tree's moving joints are
    these and the joints that follow them.
    """

    joint_names: tuple[str, ...] = eqx.field(static=True)
    parents: tuple[int, ...] = eqx.field(static=True)
    """For each moving joint its parent, −1 for the world."""
    revolute: tuple[bool, ...] = eqx.field(static=True)
    limited: tuple[bool, ...] = eqx.field(static=True)
    """Whether the joint stops at `lower` and `upper`."""
    effort_limits: tuple[float, ...] = eqx.field(static=True)
    """Largest effort of each joint's motor [N·m or N]; infinite if not stated. The
    equations of motion do not use it."""
    body_names: tuple[str, ...] = eqx.field(static=True)
    body_joints: tuple[int, ...] = eqx.field(static=True)
    link_names: tuple[str, ...] = eqx.field(static=True)
    link_joints: tuple[int, ...] = eqx.field(static=True)

    joint_rotations: Float[Array, "moving 3 3"]
    """Orientation of each moving joint's frame at zero in its parent's frame."""
    joint_offsets: Float[Array, "moving 3"]
    """Origin [m] of each moving joint's frame at zero in its parent's frame."""
    axes: Float[Array, "moving 3"]
    """Unit axis of motion, in the moving joint's frame."""
    link_rotations: Float[Array, "link 3 3"]
    link_offsets: Float[Array, "link 3"]
    """Pose of each link's frame in its moving joint's frame; offsets [m]."""
    masses: Float[Array, " body"]
    """[kg]"""
    centers_of_mass: Float[Array, "body 3"]
    """[m], in the joint's frame."""
    inertias: Float[Array, "body 3 3"]
    """[kg·m²] about the center of mass, in the axes of the joint's frame."""
    damping: Float[Array, " joint"]
    """Viscous, [N·m·s/rad] or [N·s/m]."""
    friction: Float[Array, " joint"]
    """Coulomb, [N·m] or [N]."""
    armature: Float[Array, " joint"]
    """Inertia of the rotor, reflected to the joint, [kg·m²] or [kg]."""
    lower: Float[Array, " joint"]
    upper: Float[Array, " joint"]
    """Joint limits [rad or m]."""
    gravity: Float[Array, "3"]
    """[m/s²]"""
    linear_damping: Float[Array, ""]
    angular_damping: Float[Array, ""]
    """Bullet's damping of each body, [1/s] at low speed."""
    moving: tuple[MovingJoint, ...] = eqx.field(static=True, default=())
    """The moving joints, if some of them follow others; empty if none does."""
    driven: tuple[bool, ...] = eqx.field(static=True, default=())
    """Whether a motor drives the joint; empty if all are driven. The equations of
    motion do not use it."""
    friction_velocity: Float[Array, " joint"] | float = FRICTION_VELOCITY
    """v_s, below which Coulomb friction is smooth, [rad/s] or [m/s]."""
    friction_law: FrictionLaw | None = None
    """The other parts of dry friction; None where there are none."""
    shares_derivatives: bool = eqx.field(static=True, default=False)
    """Whether derivatives of `forward_dynamics` are matrices, made once for all
    directions: fast by many numbers, slow by few. Without Bullet's damping only."""

    def __repr__(self) -> str:
        """Return a table of joints and masses."""
        return describe_robot(self)

    @property
    def actuated(self) -> tuple[int, ...]:
        """Return the numbers of the joints that a motor drives."""
        driven = self.driven or (True,) * len(self.joint_names)
        return tuple(joint for joint, motor in enumerate(driven) if motor)

    @property
    def tree(self) -> rigid.Tree:
        """Return the structure of the tree, as the algorithms take it."""
        turns = tuple(joint.revolute for joint in self.moving) or self.revolute
        return rigid.Tree(self.parents, turns, self.body_joints)

    @property
    def coupling(self) -> Float[np.ndarray, "moving joint"]:
        """Return K, the constant derivative of the moving joints by the joints."""
        count = len(self.joint_names)
        matrix = (
            np.eye(count) if not self.moving else np.zeros((len(self.moving), count))
        )
        for row, joint in zip(matrix, self.moving, strict=False):
            row[joint.follows] = joint.multiplier
        return matrix

    @compiled
    def frames(
        self, q: Float[Array, " joint"]
    ) -> tuple[Float[Array, "moving 3 3"], Float[Array, "moving 3"]]:
        """Return rotation and origin [m] of the moving joints' frames at `q`."""
        poses = self.joint_rotations, self.joint_offsets
        return rigid.joint_frames(self.tree, *poses, self.axes, self._positions(q))

    def _positions(self, q: Array) -> Array:
        """Return K q + c."""
        if not self.moving:
            return q
        offset = jnp.array([joint.offset for joint in self.moving], q.dtype)
        return self._rates(q) + offset

    def _rates(self, velocity: Array) -> Array:
        """Return K q̇, or K q̈."""
        if not self.moving:
            return velocity
        factors = jnp.array([joint.multiplier for joint in self.moving], velocity.dtype)
        return factors * velocity[np.array([joint.follows for joint in self.moving])]

    def _reduced(self, of_moving: Array) -> Array:
        """Return Kᵀ x, without a dot that an accelerator may round."""
        if not self.moving:
            return of_moving
        matrix = self.coupling.astype(of_moving.dtype)
        shape = matrix.shape + (1,) * (of_moving.ndim - 1)
        return (matrix.reshape(shape) * of_moving[:, None]).sum(0)

    def _motion(self, q: Array, velocity: Array) -> rigid.Motion:
        return rigid.motion(self, self._positions(q), self._rates(velocity))

    def _inertia(self, bodies: rigid.Motion) -> Array:
        """Return the mass matrix, armature included."""
        matrix = rigid.joint_space_inertia(bodies, self.masses)
        if self.moving:
            matrix = self._reduced(self._reduced(matrix).T)
        return matrix + jnp.diag(self.armature)

    @compiled
    def mass_matrix(self, q: Float[Array, " joint"]) -> Float[Array, "joint joint"]:
        """Return M(q), armature included."""
        return self._inertia(self._motion(q, jnp.zeros_like(q)))

    @compiled
    def bias(
        self, q: Float[Array, " joint"], velocity: Float[Array, " joint"]
    ) -> Float[Array, " joint"]:
        """Return h(q, q̇), the effort at zero acceleration without joint friction."""
        return self._reduced(rigid.generalized_force(self, self._motion(q, velocity)))

    def gravity_effort(self, q: Float[Array, " joint"]) -> Float[Array, " joint"]:
        """Return the effort that holds the robot still at `q`."""
        return self.bias(q, jnp.zeros_like(q))

    @compiled
    def forward_dynamics(
        self,
        q: Float[Array, " joint"],
        velocity: Float[Array, " joint"],
        effort: Float[Array, " joint"],
    ) -> Float[Array, " joint"]:
        """Return the joints' acceleration [rad/s² or m/s²] under `effort`."""
        robot = rubbed(self, q, velocity, effort)
        return _forward_dynamics(robot, q, velocity, effort)

    @compiled
    def inverse_dynamics(
        self,
        q: Float[Array, " joint"],
        velocity: Float[Array, " joint"],
        acceleration: Float[Array, " joint"],
    ) -> Float[Array, " joint"]:
        """Return the effort that gives the joints `acceleration`, friction included."""
        bodies = self._motion(q, velocity)
        effort = rigid.generalized_force(self, bodies, self._rates(acceleration))
        effort = self._reduced(effort) + self.armature * acceleration
        return resisted(self, q, velocity, effort)

    @compiled
    def kinetic_energy(
        self, q: Float[Array, " joint"], velocity: Float[Array, " joint"]
    ) -> Float[Array, ""]:
        """Return ½ q̇ᵀ M q̇ [J]."""
        bodies = self._motion(q, velocity)
        v, omega = bodies.linear_velocity, bodies.angular_velocity
        linear = (self.masses * (v * v).sum(-1)).sum()
        angular = (omega * rigid.apply(bodies.inertia, omega)).sum()
        return 0.5 * (linear + angular + (self.armature * velocity**2).sum())

    @compiled
    def potential_energy(self, q: Float[Array, " joint"]) -> Float[Array, ""]:
        """Return −Σ m gᵀ c [J], zero where every center of mass is at the origin."""
        rotations, origins = self.frames(q)
        carrier = np.array(self.body_joints)
        arm = rigid.apply(rotations[carrier], self.centers_of_mass)
        center = origins[carrier] + arm
        return -(self.masses * (center @ self.gravity)).sum()

    def forward_kinematics(
        self, q: Float[Array, " joint"], link: str | None = None
    ) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
        """Return the rotation and origin [m] of `link`'s frame in the world.

        Args:
            q: joint positions [rad or m].
            link: name of the link; by default the last link of the robot.

        Raises:
            RobooptError: if the robot has no such link.
        """
        index = self._link(link)
        joint = self.link_joints[index]
        rotation, offset = self.link_rotations[index], self.link_offsets[index]
        if joint < 0:
            return rotation, offset
        rotations, origins = self.frames(q)
        return (
            rigid.matmul(rotations[joint], rotation),
            origins[joint] + rigid.apply(rotations[joint], offset),
        )

    @compiled
    def jacobian(
        self, q: Float[Array, " joint"], link: str | None = None
    ) -> Float[Array, "6 joint"]:
        """Return d(linear, angular velocity of `link`'s frame)/dq̇, in world axes.

        Args:
            q: joint positions [rad or m].
            link: name of the link; by default the last link of the robot.

        Raises:
            RobooptError: if the robot has no such link.
        """
        _, point = self.forward_kinematics(q, link)
        rotations, origins = self.frames(q)
        angular, linear = rigid.jacobian(
            self.tree,
            rigid.apply(rotations, self.axes),
            origins,
            point[None],
            (self.link_joints[self._link(link)],),
        )
        both = jnp.concatenate([linear[0], angular[0]], axis=-1)
        return self._reduced(both).T

    def _link(self, link: str | None) -> int:
        if link is None:
            return len(self.link_names) - 1
        require(link in self.link_names, "link", f"be one of {self.link_names}", link)
        return self.link_names.index(link)

    def merge_fixed(self) -> "Multibody":
        """Return the robot with the bodies on each joint's frame merged into one.

        The motion is the same if Bullet's damping of the bodies is zero: this damping
        is not additive. The merged body has the name of the joint's first body, and
        bodies without mass contribute their inertia.

        Raises:
            RobooptError: if `linear_damping` or `angular_damping` is not zero.
        """
        if float(self.linear_damping) or float(self.angular_damping):
            damping = float(self.linear_damping), float(self.angular_damping)
            raise RobooptError(
                "merging bodies needs `linear_damping` and `angular_damping` to be 0, "
                f"got {damping}."
            )
        return self.merged()

    def merged(self) -> "Multibody":
        """Return what `merge_fixed` does, where Bullet's damping is known to be 0."""
        groups = {j: [] for j in sorted(set(self.body_joints))}
        for body, joint in enumerate(self.body_joints):
            groups[joint].append(body)
        merged = [_composite(self, np.array(bodies)) for bodies in groups.values()]
        masses, centers, inertias = zip(*merged, strict=True)
        return Multibody(
            **{
                **{f: getattr(self, f) for f in self.__dataclass_fields__},
                "body_names": tuple(self.body_names[b[0]] for b in groups.values()),
                "body_joints": tuple(groups),
                "masses": jnp.stack(masses),
                "centers_of_mass": jnp.stack(centers),
                "inertias": jnp.stack(inertias),
            }
        )


@eqx.filter_custom_jvp
def _forward_dynamics(
    robot: Multibody, q: Array, velocity: Array, effort: Array
) -> Array:
    matrix, net = _equations_of_motion(robot, q, velocity, effort)
    return rigid.solve_positive_definite(matrix, net)


@_forward_dynamics.def_jvp
def _forward_dynamics_jvp(primals, tangents):
    """Differentiate τ = ID(q, q̇, q̈) instead: δq̈ = M⁻¹ (δτ − δID) at constant q̈.

    The derivatives of the mass matrix and of its factors are then never formed.
    """
    robot, q, velocity, effort = primals
    *along, effort_tangent = tangents
    acceleration = _forward_dynamics(robot, q, velocity, effort)
    derivative = effort_by_matrices if robot.shares_derivatives else effort_along
    change = derivative(robot, q, velocity, acceleration, along)
    # None stands for a tangent that is zero.
    zero = jnp.zeros_like(acceleration)
    change, pushed = (zero if x is None else x for x in (change, effort_tangent))
    matrix, _ = _equations_of_motion(robot, q, velocity, effort)
    return acceleration, rigid.invert_positive_definite(matrix) @ (pushed - change)


def _equations_of_motion(
    robot: Multibody, q: Array, velocity: Array, effort: Array
) -> tuple[Array, Array]:
    """Return M(q) and M(q) q̈."""
    bodies = robot._motion(q, velocity)
    net = effort - resisted(robot, q, velocity, jnp.zeros_like(velocity))
    net -= robot._reduced(rigid.generalized_force(robot, bodies))
    return robot._inertia(bodies), net


@compiled
def _composite(robot: Multibody, bodies: AnyArray) -> tuple[Array, Array, Array]:
    """Return mass, center and inertia of a composite body (parallel axes)."""
    masses, centers = robot.masses[bodies], robot.centers_of_mass[bodies]
    mass = masses.sum()
    center = (masses[:, None] * centers).sum(0) / jnp.where(mass > 0, mass, 1.0)
    arms = centers - center[None]
    squares = jax.vmap(lambda r: r @ r * jnp.eye(3, dtype=r.dtype) - jnp.outer(r, r))
    inertia = robot.inertias[bodies] + masses[:, None, None] * squares(arms)
    return mass, center, inertia.sum(0)
