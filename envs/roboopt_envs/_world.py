"""The PyBullet world of one environment: a client, a robot, and every setting.

Bullet steps a multibody driven by efforts as

    q̈ = FD(q, q̇, τ)      q̇′ = clip(q̇ + Δt·q̈, ±100)      q′ = q + Δt·q̇′

once the motors that hold every joint, and the damping of every link, are switched off.
Joint damping, friction, armature and joints that follow others are efforts of the
world's own: see `_resistance`. An episode starts by writing the state of the joints:
loading a robot again leaks memory, and restoring a saved state does not undo motors or
masses.
"""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.urdf import (
    EARTH_GRAVITY,
    FIXED,
    Shape,
    UrdfModel,
    bullet_urdf,
    find_meshes,
    reach,
    shown_shapes,
    unusable_shapes,
    without_frames,
    written_meshes,
)
from roboopt.urdf.friction import FrictionLaw

from ._client import Client
from ._resistance import MAX_SPEED, Resistance
from ._silence import captured_messages, import_pybullet_silently

import_pybullet_silently()

import pybullet  # noqa: E402

STAND_INS = "capsules from joint to joint stand in for"
MAX_JOINTS = 127  # PyBullet reports the state of no body with more, fixed ones included
MARKER_RADIUS = 0.03  # of the robot's reach


class PybulletWorld:
    """A fixed-base robot alone in a PyBullet client of its own.

    Args:
        model: the robot.
        urdf: path of the robot's URDF, where its meshes are looked for.
        packages: folders of ROS packages, by name.
        gui: open Bullet's window.

    Attributes:
        model: the robot's `roboopt.urdf.UrdfModel`; its joints and PyBullet's have the
            same order.
        meshes, own_shapes: the files of its meshes, and whether its shapes are shown.
        gravity: (3,) [m/s²].
        client, body, joint_indices, damping, friction, friction_velocity, friction_law,
            armature, linear_damping, angular_damping: as those of `FixedBaseEnv`.

    Raises:
        RobooptError: if PyBullet cannot load the robot.
        RuntimeError: if a window is asked for and there is no display.

    Warns:
        UserWarning: if capsules stand in for shapes that cannot be used.
    """

    def __init__(
        self,
        model: UrdfModel,
        urdf: str | Path,
        *,
        packages: Mapping[str, str | os.PathLike] | None = None,
        gui: bool = False,
    ):
        """Connect to PyBullet and load the robot."""
        if gui and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            # PyBullet would end the process.
            raise RuntimeError('`render_mode="human"` needs a display, got no DISPLAY.')
        self.urdf = Path(urdf)
        self.meshes = find_meshes(model, self.urdf.parent, packages)
        self.own_shapes = True
        self.shape_fault = unusable_shapes(model, self.meshes)
        if self.shape_fault:
            _warn(self.shape_fault)
        self.client = Client(pybullet.GUI if gui else pybullet.DIRECT)
        self.time_step = 1 / 240
        self._load(model, "robot")
        gravity = EARTH_GRAVITY if model.gravity is None else model.gravity
        friction = model.friction, model.friction_velocity, model.friction_law
        numbers = model.damping, *friction, model.armature
        self._set_physics(*numbers, np.array(gravity), 0.0, 0.0)
        self._marker: int | None = None

    def _load(self, model: UrdfModel, argument: str) -> None:
        """Load the file that is written from `model`, with capsules if shapes fail."""
        client = self.client
        if len(model.joints) > MAX_JOINTS:
            model = without_frames(model)
        if len(model.joints) > MAX_JOINTS:
            raise RobooptError(
                f"`{argument}`: PyBullet simulates at most {MAX_JOINTS} joints, fixed "
                f"ones included, got {len(model.joints)} in {self.urdf}."
            )
        body, said = self._load_file(model)
        if body is None and self.own_shapes:
            self.own_shapes = False
            body, again = self._load_file(model)
            if body is not None:
                _warn(
                    f"PyBullet cannot load the shapes of the robot ({said}): "
                    f"{STAND_INS} all of them."
                )
            said = again
        if body is None:
            raise RobooptError(
                f"`{argument}`: PyBullet cannot load {self.urdf}: {said}."
            )
        self.body, self.model = body, model
        client.changeDynamics(body, -1, maxJointVelocity=MAX_SPEED)
        self._links = range(len(model.joints))
        self._moving = [i for i, j in enumerate(model.joints) if j.kind != FIXED]
        self.joint_indices = tuple(self._moving[i] for i in model.coordinates)
        self._coupling, self._offset = model.coupling
        self._coordinates = list(model.coordinates)
        self._independent = len(self._coordinates) == len(self._moving)
        self._nominal: dict[int, tuple[float, Any]] = {}
        for link, joint in enumerate(model.joints):
            dynamics = client.getDynamicsInfo(body, link)
            if dynamics[0] > 0:
                self._nominal[link] = dynamics[0], dynamics[2]
            inertial = model.inertials.get(joint.child)
            if inertial is not None and inertial.inertia.any() and not any(dynamics[2]):
                raise AssertionError(f"PyBullet dropped the inertia of {joint.child}")
        # `BulletClient` looks a function up at each call; every step calls these.
        self._set_motors = client.setJointMotorControlArray
        self._step = client.stepSimulation
        self._get_states = client.getJointStates

    def _load_file(self, model: UrdfModel) -> tuple[int | None, str]:
        """Return the loaded body, None if PyBullet refuses, and what PyBullet says."""
        body, failure = None, ""
        folders = tempfile.TemporaryDirectory()
        with folders as folder, captured_messages() as messages:
            path, meshes = Path(folder) / "robot.urdf", self.meshes
            meshes = written_meshes(meshes, folder) if self.own_shapes else meshes
            path.write_bytes(bullet_urdf(model, meshes, shapes=self.own_shapes))
            try:
                body = self.client.loadURDF(
                    str(path),
                    useFixedBase=True,
                    flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
                )
            except pybullet.error as error:
                failure = str(error)
        return body, " ".join(messages) or failure

    def _set_physics(
        self,
        damping: np.ndarray,
        friction: np.ndarray,
        friction_velocity: np.ndarray,
        friction_law: FrictionLaw | None,
        armature: np.ndarray,
        gravity: np.ndarray,
        linear: float,
        angular: float,
    ) -> None:
        self.damping, self.friction, self.armature = damping, friction, armature
        self.friction_velocity, self.friction_law = friction_velocity, friction_law
        self.gravity = gravity
        self.linear_damping, self.angular_damping = linear, angular
        self.client.setGravity(*gravity.tolist())
        for link in (-1, *self._links):
            # One kind of setting a call: beside others, some go to the wrong link.
            self.client.changeDynamics(
                self.body, link, linearDamping=linear, angularDamping=angular
            )
        self.set_drives(np.zeros(len(damping)), None)

    def set_drives(self, rotors: np.ndarray, motors: Any) -> None:
        """Add the inertia of `rotors` (n,) to the joints, and motors, as `Resistance`.

        A robot that replaces another has none before this is called again.
        """
        self._drives = rotors, motors
        self._as_loaded = self._resisted(self.damping, None)
        self._resistance = self._as_loaded

    def _resisted(
        self, damping: np.ndarray, masses: dict[str, float] | None, rubs: Any = 1.0
    ) -> Resistance:
        return Resistance(
            self.model,
            (self.client, self.body),
            damping=damping,
            friction=self.friction * rubs,
            friction_velocity=self.friction_velocity,
            friction_law=self.friction_law,
            armature=self.armature + self._drives[0],
            motors=self._drives[1],
            gravity=self.gravity,
            air=(self.linear_damping, self.angular_damping),
            mass_factors=masses,
        )

    @contextlib.contextmanager
    def replaced(self, model: UrdfModel, robot: Any) -> Iterator[None]:
        """Replace the robot by a fitted one: `model`, with the numbers of `robot`.

        If PyBullet cannot simulate it, or the block raises an error, everything stays
        as it was. Joints are at 0 afterwards.
        """
        law = getattr(robot, "friction_law", None)
        law = None if law is None else FrictionLaw(*map(np.asarray, law))
        before = vars(self).copy()
        try:
            self._load(model, "model")
            self._set_physics(
                np.array(robot.damping, np.float64),
                np.array(robot.friction, np.float64),
                np.full(len(robot.joint_names), robot.friction_velocity, np.float64),
                law,
                np.array(robot.armature, np.float64),
                np.array(robot.gravity, np.float64),
                float(robot.linear_damping),
                float(robot.angular_damping),
            )
            yield
        except BaseException:
            if self.body != before["body"]:
                self.client.removeBody(self.body)
            vars(self).update(before)
            self.client.setGravity(*self.gravity.tolist())
            raise
        self.client.removeBody(before["body"])

    def set_time_step(self, time_step: float) -> None:
        """Let `advance` take `time_step` [s]."""
        self.time_step = time_step
        self.client.setTimeStep(time_step)

    def place(self, q: np.ndarray, velocity: np.ndarray) -> None:
        """Put the joints at `q` [rad or m] and `velocity`, and reset the motors."""
        # A torque that somebody has applied acts at the next step, whatever is reset.
        self._step()
        self.move(q, velocity)
        self._set_motors(
            self.body,
            self._moving,
            pybullet.VELOCITY_CONTROL,
            forces=[0.0] * len(self._moving),
        )

    def move(self, q: np.ndarray, velocity: np.ndarray | None = None) -> None:
        """Write the positions [rad or m] and velocities of all joints."""
        if not self._independent:
            q = self._coupling @ q + self._offset
            velocity = None if velocity is None else self._coupling @ velocity
        speeds = [0.0] * len(q) if velocity is None else velocity.tolist()
        states = zip(self._moving, q.tolist(), speeds, strict=True)
        for joint, position, speed in states:
            self.client.resetJointState(self.body, joint, position, speed)

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Put all joints back, after the block, to where they were before it."""
        states = self._get_states(self.body, self._moving)
        try:
            yield
        finally:
            for joint, state in zip(self._moving, states, strict=True):
                self.client.resetJointState(self.body, joint, state[0], state[1])

    def advance(
        self,
        efforts: np.ndarray,
        *,
        damping: np.ndarray | None = None,
        targets: np.ndarray | None = None,
    ) -> tuple[list[float], list[float], np.ndarray]:
        """Step once; return q, q̇ and the efforts that the motors applied [N·m or N].

        The `damping` of the motors, by their back-EMF, is added to the joints', and
        `targets` are those of the motors of `set_drives`.
        """
        forces = efforts.tolist()
        if self._resistance.acts or damping is not None or targets is not None:
            states = self._get_states(self.body, self._moving)
            forces, efforts = self._resistance.efforts(
                efforts, states, self.time_step, damping=damping, targets=targets
            )
        self._set_motors(
            self.body, self._moving, pybullet.TORQUE_CONTROL, forces=forces
        )
        self._step()
        states = self._get_states(self.body, self.joint_indices)
        return [state[0] for state in states], [state[1] for state in states], efforts

    def gravity_effort(self, q: np.ndarray) -> np.ndarray:
        """Return the efforts that hold the loaded robot still at q, (n,) [N·m or N]."""
        return self._as_loaded.holding_effort(q)

    @property
    def massive_links(self) -> tuple[int, ...]:
        """PyBullet's indices of the links that have mass."""
        return tuple(self._nominal)

    @property
    def massive_names(self) -> list[str]:
        """Names of the links that have mass."""
        return [self.model.joints[link].child for link in self._nominal]

    def scale_dynamics(self, mass: Any, damping: Any, friction: Any) -> None:
        """Multiply masses with their inertias, and the joints' damping and friction."""
        change = self.client.changeDynamics
        factors: dict[str, float] = {}
        links = zip(self._nominal.items(), mass.tolist(), strict=True)
        for (link, (kilograms, inertia)), factor in links:
            # Mass alone would replace the inertia by that of the collision shape.
            scaled, now = [moment * factor for moment in inertia], kilograms * factor
            change(self.body, link, mass=now, localInertiaDiagonal=scaled)
            factors[self.model.joints[link].child] = factor
        self._resistance = self._resisted(self.damping * damping, factors, friction)

    def sampling_range(self, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the central `fraction` of every joint's range, two of (n,) [rad or m].

        A joint without limits, or with more than one turn or 100 m to either side,
        counts as having ±π rad, or ±1 m.
        """
        (lower, upper), revolute = self.model.position_limits, self.model.revolute
        wide = np.where(revolute, np.pi, 1.0)
        free = np.maximum(-lower, upper) > np.where(revolute, 2 * np.pi, 100.0)
        lower, upper = np.where(free, -wide, lower), np.where(free, wide, upper)
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        return middle - fraction * half, middle + fraction * half

    def shapes(self) -> list[Shape]:
        """Return the shapes that the robot shows, each in its link's frame."""
        return shown_shapes(self.model, self.meshes, shapes=self.own_shapes)

    def mark(self, position: np.ndarray) -> None:
        """Show a ball at `position` (3,) [m], which collides with nothing."""
        point, upright = position.tolist(), [0, 0, 0, 1]
        if self._marker is None:
            radius = MARKER_RADIUS * reach(self.model)
            ball = self.client.createVisualShape(
                pybullet.GEOM_SPHERE, radius=radius, rgbaColor=[0.1, 0.65, 0.3, 1]
            )
            self._marker = self.client.createMultiBody(
                baseVisualShapeIndex=ball, basePosition=point
            )
        self.client.resetBasePositionAndOrientation(self._marker, point, upright)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.client._client < 0

    def close(self) -> None:
        """Disconnect; closing twice is fine."""
        self.client.disconnect()


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
