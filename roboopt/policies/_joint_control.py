"""Control of the joints: at a posture, and along a motion.

    τ = g(q) + K_p (q* − q) + K_d (q̇* − q̇),  q̇* = 0

makes q* a globally attractive equilibrium for any positive gains in continuous time
(Takegaki and Arimoto, 1981, A new feedback method for dynamic control of manipulators).

    u = M(q_d) q̈_d + h(q_d, q̇_d) + D q̇_d + K_p (q_d − q) + K_d (q̇_d − q̇)

follows a motion q_d. The robot, its joint damping D included, is computed at the
desired motion only, so that model errors act as a disturbance and cannot destabilize
(Kelly and Salgado, 1994, PD control with computed feedforward of robot manipulators).
In steps of Δt either holds while max eig(M⁻¹ (D + K_d)) Δt < 2: so the gains that are
guessed here are sized by the joints' inertias.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, compiled, per_joint
from roboopt._errors import RobooptError, require_positive
from roboopt._programs import filter_jit
from roboopt._readable import Readable, readable
from roboopt.dynamics import Multibody
from roboopt.policies._fourier import FourierReference
from roboopt.policies._linear import leading
from roboopt.policies._protocol import TimeVaryingPolicy

MAX_STEP_ANGLE = 0.2  # ω Δt of a joint's own oscillation [rad]
MAX_STEP_DAMPING = 0.5  # d Δt / m: share of the velocity damped in a step
WORST_STEP_ANGLE, WORST_STEP_DAMPING = 0.7, 0.8  # where the inertia is smallest
CONFIGURATIONS = 50  # at which inertias are computed, the middle of the ranges first
STABILITY_BOUND = 2.0  # of max eig(M⁻¹ (D + K_d)) Δt
INSTANTS = 50  # of a motion's period, at which the mass matrix is computed


class Aim(NamedTuple):
    """Where the joints are, and where they are to be, out of one observation."""

    q: Array
    velocity: Array
    desired: Array
    desired_velocity: Array
    desired_acceleration: Array

    @classmethod
    def of(cls, observation: Float[AnyArray, " obs"], joints: int) -> "Aim":
        """Return the parts of (q, q̇, r, ṙ, r̈), or of (q, q̇, q*) with 0 = ṙ = r̈."""
        observation = jnp.asarray(observation)
        if observation.shape[0] == 5 * joints:
            return cls(*jnp.split(observation, 5))
        q, velocity, goal = jnp.split(leading(observation, 3 * joints), 3)
        still = jnp.zeros_like(q)
        return cls(q, velocity, goal, still, still)

    @property
    def errors(self) -> tuple[Array, Array]:
        """Return r − q and ṙ − q̇."""
        return self.desired - self.q, self.desired_velocity - self.velocity


class GainsPerJoint(Readable, eqx.Module):
    """Prints gains by joint, with their units; they are kept as logarithms."""

    robot: eqx.AbstractVar[Frozen[Multibody]]

    @property
    @abstractmethod
    def gain_units(self) -> dict[str, tuple[str, ...]]:
        """The unit of each number of each gain, by the gain's name."""

    def _shown(self) -> dict[str, Any]:
        names, texts = self.robot.value.joint_names, {}
        gains = [
            (jnp.exp(getattr(self, f"log_{name}")), units)
            for name, units in self.gain_units.items()
        ]
        for k, joint in enumerate(names):
            shown = (f"{readable(gain[k])} {units[k]}" for gain, units in gains)
            texts[joint] = ", ".join(shown)
        return {"gains": texts}


def effort_units(robot: Multibody, suffix: str = "") -> tuple[str, ...]:
    """Return [N·m/rad] or [N/m] of each joint, with a `suffix` after the effort."""
    return tuple(
        f"N·m{suffix}/rad" if turns else f"N{suffix}/m" for turns in robot.revolute
    )


class JointGains(GainsPerJoint):
    """Stiffness and damping of each joint of a robot.

    The parameters are the logarithms of the gains, which therefore stay positive.
    """

    log_stiffness: Float[Array, " joint"]
    log_damping: Float[Array, " joint"]
    robot: Frozen[Multibody]

    def __init__(self, robot: Multibody, stiffness: AnyArray, damping: AnyArray):
        """Set positive gains, K_p [N·m/rad or N/m] and K_d [N·m·s/rad or N·s/m]."""
        joints = len(robot.joint_names)
        stiffness = per_joint("stiffness", stiffness, joints)
        damping = per_joint("damping", damping, joints)
        self.log_stiffness = jnp.log(jnp.asarray(stiffness, float))
        self.log_damping = jnp.log(jnp.asarray(damping, float))
        self.robot = Frozen(robot)

    @property
    def stiffness(self) -> Float[Array, " joint"]:
        """K_p [N·m/rad or N/m]."""
        return jnp.exp(self.log_stiffness)

    @property
    def damping(self) -> Float[Array, " joint"]:
        """K_d [N·m·s/rad or N·s/m]."""
        return jnp.exp(self.log_damping)

    @property
    def gain_units(self) -> dict[str, tuple[str, ...]]:
        """The unit of each number of each gain, by the gain's name."""
        robot = self.robot.value
        return {"stiffness": effort_units(robot), "damping": effort_units(robot, "·s")}


class PDGravityCompensation(JointGains, Jittable):
    """τ = g(q) + K_p (r − q) + K_d (ṙ − q̇), on [q, q̇, r, ṙ, r̈] or a goal [q, q̇, r]."""

    __init__ = JointGains.__init__

    @classmethod
    def from_limits(
        cls,
        robot: Multibody,
        effort_limits: Any,
        time_step: float,
        *,
        saturation: float = 0.25,
        damping_ratio: float = 0.6,
        implicit_damping: bool = False,
    ) -> "PDGravityCompensation":
        """Guess gains from the motors' limits: a start for tuning any robot.

        K_p gives full effort at an error of `saturation` times half the joint's range,
        and K_d = 2 ζ √(K_p m), with m = 1 / (M⁻¹)_jj the inertia that the joint feels
        at the middle of its range while the others are free. Gains of light joints are
        reduced: in a step of Δt a joint's own oscillation turns by at most 0.2 rad, and
        damping takes at most half of its velocity; and by at most 0.7 rad and 0.8 of
        the velocity where the inertia is smallest, at 50 random configurations, as
        when an arm folds up.

        Args:
            robot: the robot.
            effort_limits: of every joint [N·m or N].
            time_step: Δt [s].
            saturation: a fraction; smaller values give stiffer gains.
            damping_ratio: ζ; 1 is critical for a joint that moves alone.
            implicit_damping: whether the joints' own damping d acts on the velocity
                after a step, as in `Twin(implicit_damping=True)`: in steps of Δt a
                joint then has the inertia m + Δt d.
        """
        require_positive(effort_limits=effort_limits)
        require_positive(time_step=time_step)
        require_positive(saturation=saturation)
        require_positive(damping_ratio=damping_ratio)
        gains = _guessed_gains(
            robot, effort_limits, time_step, saturation, damping_ratio, implicit_damping
        )
        return cls(robot, *gains)

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        aim = Aim.of(observation, self.log_stiffness.shape[0])
        error, rate = aim.errors
        feedback = self.stiffness * error + self.damping * rate
        return self.robot().gravity_effort(aim.q) + feedback


@filter_jit
def _guessed_gains(
    robot: Multibody,
    effort_limits: Any,
    time_step: float,
    saturation: float,
    damping_ratio: float,
    implicit_damping: bool,
) -> tuple[Array, Array]:
    """Return the stiffness and the damping of `from_limits`, of every joint."""
    span = robot.upper - robot.lower
    limited = (span >= 0) & (span < 4 * np.pi)
    half = jnp.where(limited & (span > 0), span / 2, np.pi)
    middle = jnp.where(limited, robot.lower + span / 2, 0.0)
    away = np.random.default_rng(0).uniform(-1, 1, (CONFIGURATIONS, len(half)))
    away[0] = 0
    away = half[None] * jnp.asarray(away, half.dtype)
    matrices = jax.vmap(robot.mass_matrix)(middle[None] + away)
    matrices += time_step * jnp.diag(implicit_damping * robot.damping)[None]
    inertias = 1 / jnp.diagonal(jnp.linalg.inv(matrices), axis1=1, axis2=2)
    inertia, least = inertias[0], inertias.min(axis=0)
    turning = jnp.minimum(MAX_STEP_ANGLE**2 * inertia, WORST_STEP_ANGLE**2 * least)
    slowing = jnp.minimum(MAX_STEP_DAMPING * inertia, WORST_STEP_DAMPING * least)
    stiffness = jnp.minimum(
        jnp.asarray(effort_limits) / (saturation * half), turning / time_step**2
    )
    damping = jnp.minimum(
        2 * damping_ratio * jnp.sqrt(stiffness * inertia), slowing / time_step
    )
    return stiffness, damping


class TrackingController(JointGains, TimeVaryingPolicy):
    """Follows `reference(time) -> (q, q̇, q̈)`, for observations [q, q̇, ...]."""

    reference: Frozen[Any]

    def __init__(
        self, robot: Multibody, reference: Any, stiffness: AnyArray, damping: AnyArray
    ):
        """Follow `reference` with a gain of each kind for each joint of `robot`.

        Args:
            robot: as far as it is known; actuated at every joint.
            reference: `reference(time) -> (q, q̇, q̈)`, such as a `FourierReference`.
            stiffness: K_p [N·m/rad or N/m].
            damping: K_d [N·m·s/rad or N·s/m].
        """
        super().__init__(robot, stiffness, damping)
        self.reference = Frozen(reference)

    @classmethod
    def from_limits(
        cls,
        robot: Multibody,
        reference: FourierReference,
        effort_limits: Any,
        time_step: float,
        *,
        implicit_damping: bool = False,
    ) -> "TrackingController":
        """Choose gains that track as stiffly as motors and time step allow.

        The gains begin as those of `PDGravityCompensation.from_limits`. At 50 instants
        of the motion, with the joints coupled, K_p may then turn the fastest mode by
        0.2 rad in a step, and K_d take half of its velocity, or half of what the
        joints' own damping leaves up to the bound of stability, where that is less.

        Args:
            robot: as far as it is known.
            reference: the motion, over its period.
            effort_limits: of every joint [N·m or N].
            time_step: Δt of the control [s].
            implicit_damping: as of `PDGravityCompensation.from_limits`; the joints'
                own damping then leaves all room to K_d.
        """
        guess = PDGravityCompensation.from_limits(
            robot,
            effort_limits,
            time_step,
            saturation=0.05,
            damping_ratio=1.0,
            implicit_damping=implicit_damping,
        )
        times = jnp.linspace(0.0, reference.period, INSTANTS, endpoint=False)
        q, _, _ = jax.jit(jax.vmap(reference))(times)
        matrices = np.array(jax.jit(jax.vmap(robot.mass_matrix))(q))
        if implicit_damping:
            matrices += time_step * np.diag(robot.damping)
        own = 0.0 if implicit_damping else _fastest(matrices, robot.damping) * time_step
        if own >= STABILITY_BOUND:
            raise RobooptError(
                "`time_step` must be short enough for the joints' damping, of which a "
                f"step may take less than {STABILITY_BOUND:g} times the velocity, got "
                f"{time_step}, with which it takes {own:.3g}."
            )
        stiff = _fastest(matrices, guess.stiffness) * time_step**2
        damped = _fastest(matrices, guess.damping) * time_step
        room = min(MAX_STEP_DAMPING, (STABILITY_BOUND - own) / 2)
        return cls(
            robot,
            reference,
            guess.stiffness * min(1.0, MAX_STEP_ANGLE**2 / stiff),
            guess.damping * min(1.0, room / damped),
        )

    def __call__(
        self, observation: Float[AnyArray, " obs"], time: float | Float[Array, ""]
    ) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint at `time` [s]."""
        joints = self.log_stiffness.shape[0]
        q, velocity = jnp.split(leading(observation, 2 * joints), 2)
        desired, speed, acceleration = self.reference()(time)
        forward = self.robot().inverse_dynamics(desired, speed, acceleration)
        feedback = self.stiffness * (desired - q) + self.damping * (speed - velocity)
        return forward + feedback


def _fastest(matrices: np.ndarray, gains: Any) -> float:
    """Return the largest eigenvalue of M⁻¹ diag(gains) over all M."""
    root = np.sqrt(np.asarray(gains, float))
    inverse = np.linalg.inv(matrices)
    return float(np.linalg.eigvalsh(root[:, None] * inverse * root).max())
