"""Efforts that stand in for what Bullet's joints lack, exact at the end of a step.

In the robot's coordinates, with the moving joints at K q + c, a step is to be

    q̇′ = q̇ + Δt·(KᵀMK + A + Δt·D)⁻¹·(τ − Kᵀh − D·q̇)      D = diag(d + f·tanh(q̇/v_s)/q̇)

with damping d, Coulomb friction f, smooth below v_s, and armature A: damping and
friction act on the velocity after the step, so that no Δt is too long for them. M and h
are those of all moving joints at the old state. Bullet, which steps by M alone, then
needs at the joints that follow others the effort e = M·a + h of the acceleration
a = K·q̈ that keeps them there, and at the coordinates τ − D·q̇′ − A·q̈ − Kᵀe. If their
rounding errors ask for a further acceleration x, a is K·q̈ + x, and KᵀM·x is added.
Limits and motors that change q̇′ by v add v/Δt to q̈, and KᵀMK·v/Δt to the effort.
"""

import math
from typing import Any

import numpy as np

from roboopt.urdf import RigidBodies, UrdfModel
from roboopt.urdf.friction import FrictionLaw, amplitude

from ._joint_limits import JointLimits
from ._silence import captured_messages

MAX_SPEED = 100.0  # rad/s or m/s: Bullet's limit on every joint's velocity
AGREEMENT = 1e-9  # of PyBullet's M and h with our own, relative to the largest entry


class Resistance:
    """Damping, friction, armature and followers of one robot in PyBullet.

    The limits of a robot with followers, armature or motors are solved here, too.

    Attributes:
        acts: whether a step needs any effort beside the motors'.
    """

    def __init__(
        self,
        model: UrdfModel,
        loaded: tuple[Any, int],
        *,
        damping: np.ndarray,
        friction: np.ndarray,
        friction_velocity: np.ndarray,
        friction_law: FrictionLaw | None,
        armature: np.ndarray,
        motors: tuple[list[int], np.ndarray, bool] | None,
        gravity: np.ndarray,
        air: tuple[float, float],
        mass_factors: dict[str, float] | None,
    ):
        """Prepare for the body `loaded[1]` of the client `loaded[0]`, in SI units.

        The `motors` are their joints, largest efforts, and whether they follow
        velocities and not positions. `air` is Bullet's damping of the links' linear and
        angular velocities, and masses of links were changed after loading by
        `mass_factors`.
        """
        matrix, self._shift = model.coupling
        self._coordinates = list(model.coordinates)
        self._followers = [
            i for i, joint in enumerate(model.moving) if joint.mimic is not None
        ]
        self._coupling = matrix
        self._follow = matrix[self._followers]
        lower, upper = model.position_limits
        self._limits = JointLimits(lower, upper, motors)
        self._damping, self._friction, self._armature = damping, friction, armature
        self._rubs = bool(friction.any()) or friction_law is not None
        self._gravity, self._law = gravity, friction_law
        self._slow = friction_velocity.tolist()
        self._rotor = bool(armature.any())
        numbers = damping, friction, armature
        self.acts = any(x.any() for x in numbers) or bool(self._followers)
        self.acts |= self._rubs
        self._body, self._bodies = loaded[1], None
        self._air = air
        self._mass_matrix = loaded[0].calculateMassMatrix
        self._bias = loaded[0].calculateInverseDynamics
        self._rest = [0.0] * len(model.moving)
        bodies = RigidBodies(model, mass_factors)
        if mass_factors is not None or any(air) or not self._agrees(bodies):
            self._bodies = bodies

    def _agrees(self, bodies: RigidBodies) -> bool:
        """Return whether PyBullet's answers are about the robot that it simulates.

        PyBullet keeps its own copy of a body for them, by the body's address: after a
        change of masses, or when a new body lies where a removed one lay, the copy is
        another robot's.
        """
        random = np.random.default_rng(0)
        q, velocity = random.uniform(-1, 1, (2, len(self._rest)))
        try:
            with captured_messages():
                theirs = self._ask(q.tolist(), velocity.tolist())
        except (SystemError, ValueError):  # PyBullet refuses some robots.
            return False
        ours = bodies.equations_of_motion(q, velocity, self._gravity)
        return all(
            a.shape == b.shape and np.abs(a - b).max() <= AGREEMENT * np.abs(b).max()
            for a, b in zip(theirs, ours, strict=True)
        )

    def _ask(self, q: list[float], v: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return PyBullet's M and h."""
        matrix = np.array(self._mass_matrix(self._body, q))
        return matrix, np.array(self._bias(self._body, q, v, self._rest))

    def holding_effort(self, q: np.ndarray) -> np.ndarray:
        """Return the efforts that hold the robot still at `q`, (n,) [N·m or N]."""
        _, bias = self._equations(
            (self._coupling @ q + self._shift).tolist(), self._rest
        )
        return self._coupling.T @ bias

    def _equations(
        self, q: list[float], v: list[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return M and h of all moving joints."""
        if self._bodies is None:
            return self._ask(q, v)
        return self._bodies.equations_of_motion(q, v, self._gravity, self._air)

    def efforts(
        self,
        driven: np.ndarray,
        states: Any,
        time_step: float,
        *,
        damping: np.ndarray | None = None,
        targets: np.ndarray | None = None,
    ) -> tuple[list[float], np.ndarray]:
        """Return the efforts of all moving joints in Bullet, and those of the motors.

        The `states` of the moving joints are PyBullet's. Motors apply `driven`, of
        which the `damping` is a part, or follow `targets`.
        """
        q, v = [state[0] for state in states], [state[1] for state in states]
        matrix, bias = self._equations(q, v)
        effort, velocity = np.array(driven), np.array(v)
        here = [v[k] for k in self._coordinates] if self._followers else v
        friction = self._friction
        if self._law is not None:
            now, load = np.array(here), self._coupling.T @ bias
            if targets is None:
                motor = effort if damping is None else effort - damping * now
                load = 0.5 * (motor + load)
            slow = np.array(self._slow)
            friction = amplitude(friction, slow, self._law, now, load)
        resistance = self._coefficients(here, friction)
        if damping is not None:
            resistance = resistance + damping
        motion = np.array(q), velocity, matrix, bias
        if self._followers:
            return self._coupled(
                effort, motion, time_step, resistance, damping, targets
            )
        inertia = matrix
        if self._rotor:
            inertia = matrix + np.diag(self._armature)
        # By the new velocity itself: beside a large D, q̇ + Δt·q̈ is too rough.
        momentum = inertia @ velocity + time_step * (effort - bias)
        implicit = inertia.copy()
        _diagonal(implicit)[:] += time_step * resistance
        after = np.linalg.solve(implicit, momentum)
        motors = driven if damping is None else driven - damping * after
        effort -= resistance * after
        if self._rotor:
            effort -= self._armature * (after - velocity) / time_step
        if self._rotor or targets is not None:
            free = _bounded(after)
            against = inertia if targets is None else implicit
            stopped, pushed = self._limits.velocity(
                motion[0], free, against, time_step, targets
            )
            if stopped is not free:
                effort += matrix @ (_bounded(stopped) - after) / time_step
            motors = motors if targets is None else pushed
        return effort.tolist(), motors

    def _coupled(
        self,
        effort: np.ndarray,
        motion: tuple[np.ndarray, ...],
        time_step: float,
        resistance: np.ndarray,
        damping: np.ndarray | None,
        targets: np.ndarray | None,
    ) -> tuple[list[float], np.ndarray]:
        """Return the efforts of a robot with joints that follow others."""
        coupling, followers = self._coupling, self._followers
        q, v, matrix, bias = motion
        here, motors = v[self._coordinates], effort.copy()
        own = coupling.T @ matrix @ coupling
        inertia = own.copy()
        _diagonal(inertia)[:] += self._armature
        pushed = effort - coupling.T @ bias
        momentum = inertia @ here + time_step * pushed
        implicit = inertia.copy()
        _diagonal(implicit)[:] += time_step * resistance
        right = np.empty((len(here), 2))
        right[:, 0], right[:, 1] = pushed - resistance * here, momentum
        acceleration, after = np.linalg.solve(implicit, right).T
        if damping is not None:
            motors -= damping * after
        effort -= resistance * after + self._armature * acceleration
        free = _bounded(after)
        against = inertia if targets is None else implicit
        stopped, pushed = self._limits.velocity(
            q[self._coordinates], free, against, time_step, targets
        )
        motors = motors if targets is None else pushed
        if stopped is not free:
            change = _bounded(stopped) - after
            acceleration = acceleration + change / time_step
            effort += own @ change / time_step
        # Rounding errors of followers' positions and velocities are undone in one step.
        drift = q - coupling @ q[self._coordinates] - self._shift
        undone = (coupling @ here - v - drift / time_step) / time_step
        effort += coupling.T @ (matrix @ undone)
        needed = coupling @ acceleration + undone
        following = matrix[followers] @ needed + bias[followers]
        full = np.empty(len(q))
        full[followers] = following
        full[self._coordinates] = effort - self._follow.T @ following
        return full.tolist(), motors

    def _coefficients(self, velocity: list[float], friction: np.ndarray) -> np.ndarray:
        """Return D: damping, and friction over velocity."""
        if not self._rubs:
            return self._damping
        ratios = [
            math.tanh(v / slow) / v
            if abs(v) > 1e-4 * slow
            else (1 - (v / slow) ** 2 / 3) / slow
            for v, slow in zip(velocity, self._slow, strict=True)
        ]
        return self._damping + friction * np.array(ratios)


def _bounded(velocity: np.ndarray) -> np.ndarray:
    """Return velocities within ±MAX_SPEED; np.clip takes three times as long."""
    return np.minimum(np.maximum(velocity, -MAX_SPEED), MAX_SPEED)


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return a view of the diagonal, faster than an index of it."""
    return np.einsum("ii->i", matrix)
