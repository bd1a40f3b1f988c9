"""The twin: a robot stepped as PyBullet steps it, differentiable in everything.

    q̈ = FD(q, q̇, τ),   q̇' = clip(q̇ + Δt q̈, ±v_max),   q' = q + Δt q̇'

the semi-implicit Euler of Bullet's multibodies, all forces taken at the old state
(btMultiBodyDynamicsWorld::solveInternalConstraints). Joint limits and position motors
act between the two lines, on velocities, as `_constraints` describes.
"""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import Jittable
from roboopt._errors import RobooptError
from roboopt.dynamics._bullet import load_bullet
from roboopt.dynamics._constraints import PositionMotors, constrained_velocity
from roboopt.dynamics._multibody import Multibody

MAX_VELOCITY = 100.0  # Bullet's maxJointVelocity [rad/s or m/s]


class Twin(Jittable):
    """A dynamics `twin(state, action) -> next_state`, as PyBullet steps it.

    The state is [q, q̇]. The action is the effort [N·m or N] on the actuated joints,
    held within `effort_limits`; with `motors` it is their target positions [rad or m].
    """

    robot: Multibody
    time_step: float = eqx.field(static=True)
    """[s]"""
    actuated: tuple[int, ...] = eqx.field(static=True)
    """The joints that an action drives, in its order."""
    effort_limits: Float[Array, " act"]
    """[N·m or N]; infinite where there is none."""
    joint_limits: bool = eqx.field(static=True)
    """Whether joints stop at their limits; off, a step is several times faster."""
    motors: PositionMotors | None

    def __init__(
        self,
        robot: Multibody,
        time_step: float,
        *,
        actuated: tuple[int, ...] | None = None,
        effort_limits: Any = math.inf,
        joint_limits: bool = False,
        motors: PositionMotors | None = None,
    ):
        """Set `robot` in motion; all its joints are actuated where none are named.

        Raises:
            RobooptError: if `time_step` is not positive and finite, an actuated joint
                does not exist, or an effort limit is not positive.
        """
        joints = len(robot.joint_names)
        if not 0 < time_step < math.inf:
            raise RobooptError(
                f"`time_step` must be positive and finite, got {time_step}."
            )
        actuated = tuple(range(joints)) if actuated is None else tuple(actuated)
        if len(set(actuated)) < len(actuated) or not set(actuated) <= set(
            range(joints)
        ):
            raise RobooptError(
                f"`actuated` must name joints of 0 to {joints - 1} once each, got "
                f"{actuated}."
            )
        limits = np.asarray(effort_limits, float)
        if limits.shape not in ((), (len(actuated),)) or not np.all(limits > 0):
            raise RobooptError(
                f"`effort_limits` must be one positive number or {len(actuated)} of "
                f"them, got {effort_limits}."
            )
        if motors is not None and motors.joints != len(actuated):
            raise RobooptError(
                f"`motors` must hold one gain for each of the {len(actuated)} actuated "
                f"joints, got {motors.joints}."
            )
        self.robot = robot
        self.time_step = float(time_step)
        self.actuated = actuated
        self.effort_limits = jnp.asarray(np.broadcast_to(limits, (len(actuated),)))
        self.joint_limits = joint_limits
        self.motors = motors

    @classmethod
    def from_env(cls, env: Any, *, joint_limits: bool = False) -> "Twin":
        """Read the twin of the innermost PyBullet environment of `env`.

        Args:
            env: an environment with `client` or `physics_client` (PyBullet's), `body`,
                `actuated`, `time_step` and `effort_limits`; with `linear_damping`,
                `angular_damping` and Coulomb's `friction` where these are not Bullet's.
            joint_limits: whether joints stop at their limits.
        """
        world = env.unwrapped
        names = ("linear_damping", "angular_damping")
        damping = {n: getattr(world, n) for n in names if hasattr(world, n)}
        robot = load_bullet(_client(world), world.body, **damping)
        # PyBullet's joints have no Coulomb friction: the environment adds it.
        friction = getattr(world, "friction", None)
        if friction is not None:
            robot = eqx.tree_at(lambda r: r.friction, robot, jnp.asarray(friction))
        if len(damping) == len(names) and not any(damping.values()):
            robot = robot.merge_fixed()
        return cls(
            robot,
            world.time_step,
            actuated=tuple(world.actuated),
            effort_limits=world.effort_limits,
            joint_limits=joint_limits,
        )

    @property
    def joints(self) -> int:
        """Return how many joints move."""
        return len(self.robot.joint_names)

    @property
    def action_size(self) -> int:
        """Return how many joints an action drives."""
        return len(self.actuated)

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        if self.motors is not None:
            return action
        limits = self.effort_limits.astype(action.dtype)
        return jnp.clip(action, -limits, limits)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint, 0 where none is actuated.

        With `motors` None: an action does not say what force it takes to follow it.
        """
        if self.motors is not None:
            return None
        applied = self.clip(action)
        if self.actuated == tuple(range(self.joints)):
            return applied
        zero = jnp.zeros(self.joints, applied.dtype)
        return zero.at[np.array(self.actuated)].set(applied)

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later."""
        return self.advance(state, action, self.time_step)

    def advance(
        self,
        state: Float[Array, " state"],
        action: Float[Array, " act"],
        duration: float | Float[Array, ""],
    ) -> Float[Array, " state"]:
        """Return the state after one step of `duration` [s] in place of `time_step`."""
        q, velocity = jnp.split(state, 2)
        effort = self.effort(action)
        if effort is None:
            effort = jnp.zeros_like(q)
        if self.motors is None and not self.joint_limits:
            acceleration = self.robot.forward_dynamics(q, velocity, effort)
            velocity = velocity + duration * acceleration
        else:
            velocity = constrained_velocity(
                self.robot,
                q,
                velocity,
                effort,
                duration,
                max_velocity=MAX_VELOCITY,
                joint_limits=self.joint_limits,
                motors=self.motors,
                actuated=self.actuated,
                targets=action,
            )
        velocity = jnp.clip(velocity, -MAX_VELOCITY, MAX_VELOCITY)
        return jnp.concatenate([q + duration * velocity, velocity])


def _client(env: Any) -> Any:
    """Return PyBullet's functions as methods, for the client of an environment."""
    client = getattr(env, "client", None)
    if client is None:
        client = env.physics_client
    if not isinstance(client, int):
        return client
    import pybullet

    class Client:
        def __getattr__(self, name: str) -> Any:
            return functools.partial(getattr(pybullet, name), physicsClientId=client)

    return Client()


def linearize(
    dynamics: Any, state: Float[Array, " state"], action: Float[Array, " act"]
) -> tuple[Float[Array, "state state"], Float[Array, "state act"]]:
    """Return (A, B) of δs' = A δs + B δa about one state and action."""
    return jax.jacfwd(dynamics, argnums=(0, 1))(state, action)
