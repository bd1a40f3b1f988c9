"""The twin: a robot stepped as PyBullet steps it, differentiable in everything.

    q̈ = FD(q, q̇, τ),   q̇' = clip(q̇ + Δt q̈, ±v_max),   q' = q + Δt q̇'

This is the semi-implicit Euler step of Bullet's multibodies, with all forces evaluated
at the old state (btMultiBodyDynamicsWorld::solveInternalConstraints). Joint limits and
position motors act between the two updates, on velocities, as described in
`_constraints`.

With `implicit_damping`, joint damping and friction act on the new velocity instead,

    q̇' = q̇ + Δt (M + A + Δt D)⁻¹ (τ − h − D q̇)      D = diag(d + c tanh(q̇/v_s)/q̇)

(armature A), which is the same step with the armature A + Δt D. It is stable at every
Δt, where the explicit step diverges once Δt D exceeds twice the inertia.
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import Jittable, check_shape, compiled
from roboopt._errors import RobooptError, require
from roboopt._programs import filter_jit
from roboopt.dynamics._actuation import (
    checked_actuated,
    checked_effort_limits,
    checked_time_step,
    clipped,
    joint_effort,
)
from roboopt.dynamics._bullet import load_env
from roboopt.dynamics._constraints import PositionMotors, constrained_velocity
from roboopt.dynamics._describe import has_values
from roboopt.dynamics._friction import rubbed
from roboopt.dynamics._held import Path
from roboopt.dynamics._multibody import Multibody
from roboopt.urdf.drive import (
    KD,
    KP,
    AnyDrive,
    Drive,
    Memory,
    as_drive,
    followed,
    has_loop,
    motor_effort,
)

MAX_VELOCITY = 100.0  # Bullet's maxJointVelocity [rad/s or m/s]
PROTOCOL = ("physics_client", "body", "actuated", "time_step", "effort_limits")


class Twin(Jittable):
    """A dynamics `twin(state, action) -> next_state` that steps as PyBullet steps.

    The state is [q, q̇]. The action is the command of the actuated joints, as the
    `interface` says: by default their effort [N·m or N], clipped to `effort_limits`. A
    single call ignores the lag and the delay of a `drive`: a `Rollout`, which follows a
    motion, does not.
    """

    robot: Multibody
    time_step: float = eqx.field(static=True)
    actuated: tuple[int, ...] = eqx.field(static=True)
    effort_limits: Float[Array, " act"]
    joint_limits: bool = eqx.field(static=True)
    motors: PositionMotors | None
    implicit_damping: bool = eqx.field(static=True, default=False)
    interface: str = eqx.field(static=True, default="torque")
    drive: Drive | None = None
    samples: int = eqx.field(static=True, default=0, init=False)
    """Commands that are kept for the delay of the drive; 0 without lag and delay."""

    def __init__(
        self,
        robot: Multibody,
        time_step: float,
        *,
        actuated: tuple[int, ...] | None = None,
        effort_limits: Any = math.inf,
        joint_limits: bool = False,
        motors: PositionMotors | None = None,
        implicit_damping: bool = False,
        interface: str | None = None,
        drive: AnyDrive = None,
    ):
        """Set `robot` in motion.

        Args:
            robot: the robot.
            time_step: length of a step [s].
            actuated: numbers of the joints that an action drives, (0, 2) or the like;
                by default those with a motor, as the robot's file says.
            effort_limits: limit of each actuated joint, or of each joint, or one for
                all [N·m or N]. By default no action is clipped; the limits in the
                robot's file are `effort_limits=robot.effort_limits`.
            joint_limits: whether joints stop at their limits; without them a step is
                several times faster.
            motors: PyBullet's motors, which follow positions or velocities where no
                `drive` has a loop for them; by default with PyBullet's own gains, and
                the effort limits as their forces.
            implicit_damping: whether joint damping and friction act on the velocity
                after the step, as in the environments of roboopt; PyBullet's own joint
                damping acts on the velocity before it.
            interface: what an action is: "torque", for efforts, "position", "velocity",
                or with a DC motor "voltage" or "duty", a share of the supply's; by
                default "torque", or "position" with `motors`.
            drive: the actuators between commands and efforts, or a mapping from the
                names of their numbers.

        Raises:
            RobooptError: if an argument is out of range or does not fit the joints.
        """
        rule = "be a `Multibody`, as `load_urdf` returns"
        require(isinstance(robot, Multibody), "robot", rule, type(robot))
        self.robot = robot
        self.time_step = checked_time_step(time_step)
        actuated = robot.actuated if actuated is None else actuated
        self.actuated = checked_actuated(actuated, len(robot.joint_names))
        count = len(self.actuated)
        joints = len(robot.joint_names)
        if count < joints and np.shape(effort_limits) == (joints,):
            effort_limits = [effort_limits[joint] for joint in self.actuated]
        self.effort_limits = checked_effort_limits(effort_limits, count)
        if interface is None:
            interface = "torque" if motors is None else "position"
        drive = as_drive(drive)
        if not has_loop(interface, drive) and motors is None:
            gains = np.full(count, KP), np.full(count, KD)
            motors = PositionMotors(gains[0], gains[1], self.effort_limits)
        self.interface, self.drive, self.samples = interface, None, 0
        if drive is not None:
            self.drive = drive.arrays(count, jnp)
            self.samples = drive.samples(self.time_step) if drive.remembers else 0
        if motors is not None:
            rule = f"hold one gain for each of the {count} actuated joints"
            require(motors.joints == count, "motors", rule, motors.joints)
        self.joint_limits = joint_limits
        self.motors = motors
        self.implicit_damping = implicit_damping

    @classmethod
    def from_env(cls, env: Any, *, joint_limits: bool = False) -> "Twin":
        """Return the twin of a PyBullet environment, read from the loaded body.

        Args:
            env: any environment whose innermost environment has the attributes
                `physics_client`, `body`, `actuated`, `time_step` [s] and
                `effort_limits` [N·m or N]; also `linear_damping` and `angular_damping`
                of its links [1/s], if they are not PyBullet's defaults. `load_env` says
                what else is read.
            joint_limits: whether joints stop at their limits.

        Raises:
            RobooptError: if an attribute is missing, or the base is not fixed.
        """
        env = env.unwrapped
        missing = [name for name in PROTOCOL if not hasattr(env, name)]
        if missing:
            raise RobooptError(
                f"`env` must have the attributes {PROTOCOL}, got a "
                f"{type(env).__name__} without {missing}."
            )
        robot = load_env(env)
        if not (float(robot.linear_damping) or float(robot.angular_damping)):
            robot = robot.merge_fixed()
        return cls(
            robot,
            env.time_step,
            actuated=tuple(env.actuated),
            effort_limits=env.effort_limits,
            joint_limits=joint_limits,
            implicit_damping=getattr(env, "implicit_damping", False),
            interface=getattr(env, "interface", None),
            drive=getattr(env, "drive", None),
        )

    def __repr__(self) -> str:
        """Return a short description with a table of the robot."""
        if not has_values(self) or self.effort_limits.ndim != 1:
            return eqx.tree_pformat(self)
        limits = self.effort_limits.tolist()
        driven = [
            self.robot.joint_names[joint] + (f" ±{x:.4g}" if math.isfinite(x) else "")
            for joint, x in zip(self.actuated, limits, strict=True)
        ]
        by = "efforts [N·m or N]" if self.interface == "torque" else self.interface
        return (
            f"Twin stepping {self.time_step:.6g} s, driven by {by} on "
            f"{', '.join(driven)}; joint limits {'on' if self.joint_limits else 'off'}"
            f"\n{self.robot!r}"
        )

    @property
    def joints(self) -> int:
        """Return the number of moving joints."""
        return len(self.robot.joint_names)

    @property
    def action_size(self) -> int:
        """Return the number of actuated joints."""
        return len(self.actuated)

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        efforts = self.interface == "torque"
        return clipped(action, self.effort_limits) if efforts else action

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint, 0 on joints not actuated.

        With `motors` or a `drive` the result is None: an action alone does not
        determine the effort, which `path` returns.
        """
        if self.motors is not None or self.drive is not None:
            return None
        return joint_effort(self.clip(action), self.actuated, self.joints)

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later."""
        return self.advance(state, action, self.time_step)

    @compiled
    def advance(
        self,
        state: Float[Array, " state"],
        action: Float[Array, " act"],
        duration: float | Float[Array, ""],
    ) -> Float[Array, " state"]:
        """Return the state after one step of `duration` [s] instead of `time_step`."""
        state, action = jnp.asarray(state), jnp.asarray(action)
        check_shape("state", state.shape, (2 * self.joints,))
        check_shape("action", action.shape, (self.action_size,))
        return self._driven(state, action, duration)[0]

    @property
    def effort_axes(self) -> tuple[int, ...] | None:
        """Return the actuated joints where an action is not their effort, else None."""
        given = self.motors is None and self.drive is None
        return None if given else self.actuated

    def first_memory(self) -> Memory | tuple[()]:
        """Return the memory of a drive that has received no command yet."""
        if not self.samples:
            return ()
        past = jnp.zeros((self.samples, self.action_size))
        return Memory(jnp.zeros(()), past, past[0])

    def path(
        self, state: Float[Array, " state"], action: Float[Array, " act"], memory: Any
    ) -> Path:
        """Return the state and the efforts of one time step, lag and delay included."""
        if self.drive is not None and self.samples:
            memory, action = followed(self.drive, memory, action, self.time_step)
        state, effort = self._driven(state, action, self.time_step)
        return Path(state[None], effort[None], memory)

    def _driven(
        self,
        state: Float[Array, " state"],
        action: Float[Array, " act"],
        duration: float | Float[Array, ""],
    ) -> tuple[Float[Array, " state"], Float[Array, " joint"]]:
        """Return the next state, and the effort on every joint [N·m or N]."""
        q, velocity = jnp.split(state, 2)
        robot, at, back = self.robot, np.array(self.actuated), None
        effort = self.effort(action)
        if effort is None:
            effort = jnp.zeros_like(q)
        if self.drive is not None:
            if self.motors is None:
                given, back = motor_effort(
                    *(self.drive, self.interface, action, q[at], velocity[at]),
                    self.effort_limits.astype(q.dtype),
                )
                effort, back = effort.at[at].set(given), effort.at[at].set(back)
            robot = _with_drive(robot, effort.at[at].set(self.drive.armature), back)
        if robot.friction_law is not None:
            now = effort if back is None else effort - back * velocity
            now = now if self.motors is None else None
            robot = rubbed(robot, q, velocity, now)
        slowed = robot
        if self.implicit_damping:
            slowed = with_implicit_damping(robot, velocity, duration)
        acceleration = slowed.forward_dynamics(q, velocity, effort)
        after = velocity + duration * acceleration
        if back is not None:
            effort = effort - back * (after if self.implicit_damping else velocity)
        if self.motors is not None or self.joint_limits:
            free = jnp.clip(after, -MAX_VELOCITY, MAX_VELOCITY)
            moved = robot if self.motors is None else slowed
            after, pushed = constrained_velocity(self, moved, q, free, action, duration)
            effort = effort if self.motors is None else pushed
        after = jnp.clip(after, -MAX_VELOCITY, MAX_VELOCITY)
        return jnp.concatenate([q + duration * after, after]), effort


def _placed(_: None, values: Any) -> Drive:
    """Return a drive of anything that JAX puts in the place of numbers, unchecked."""
    drive = object.__new__(Drive)
    for field, value in zip(dataclasses.fields(Drive), values, strict=True):
        object.__setattr__(drive, field.name, value)
    return drive


def _named(drive: Drive) -> tuple[list[tuple[Any, Any]], None]:
    names = [field.name for field in dataclasses.fields(Drive)]
    return [(jax.tree_util.GetAttrKey(n), getattr(drive, n)) for n in names], None


jax.tree_util.register_pytree_with_keys(Drive, _named, _placed)


def _with_drive(robot: Multibody, armature: Array, damping: Array | None) -> Multibody:
    """Return the robot with its rotors' inertia, and their back-EMF as damping."""
    damping = robot.damping if damping is None else robot.damping + damping
    return eqx.tree_at(
        lambda r: (r.armature, r.damping), robot, (robot.armature + armature, damping)
    )


def with_implicit_damping(
    robot: Multibody, velocity: Array, duration: float | Array
) -> Multibody:
    """Return the robot whose acceleration is the mean over a step of `duration` [s].

    Resistance r q̇′ to the new velocity q̇′ = q̇ + Δt q̈ is resistance to q̇ and Δt r more
    armature.
    """
    added = duration * _resistance_coefficients(robot, velocity)
    return eqx.tree_at(lambda r: r.armature, robot, robot.armature + added)


def _resistance_coefficients(robot: Multibody, velocity: Array) -> Array:
    """Return d + c tanh(q̇/v_s)/q̇, the damping of each joint and its friction."""
    scaled = velocity / robot.friction_velocity
    small = jnp.abs(scaled) < 1e-4
    x = jnp.where(small, 1.0, scaled)  # A safe value where the series is taken.
    ratio = jnp.where(small, 1 - scaled**2 / 3, jnp.tanh(x) / x)
    return robot.damping + robot.friction / robot.friction_velocity * ratio


@filter_jit
def linearize(
    dynamics: Any, state: Float[Array, " state"], action: Float[Array, " act"]
) -> tuple[Float[Array, "state state"], Float[Array, "state act"]]:
    """Return (A, B) of δs' = A δs + B δa about one state and action."""
    return jax.jacfwd(dynamics, argnums=(0, 1))(state, action)
