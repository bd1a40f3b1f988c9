"""The PyBullet world of one environment: a client, a robot, and every setting.

Bullet steps a torque-driven multibody as

    q̈ = FD(q, q̇, τ − d·q̇)      q̇′ = clip(q̇ + Δt·q̈, ±100)      q′ = q + Δt·q̇′

once the motors that hold every joint, and the damping of every link, are switched off.
An episode starts by writing the state of the joints: loading a robot again leaks
memory, and restoring a saved state does not undo motors or masses. Coulomb friction,
which Bullet lacks, is added to the efforts as −c·tanh(q̇/v_s), with q̇ before the step.
"""

import contextlib
import math
import os
import sys
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.urdf import FIXED, UrdfModel, edit_urdf, read_urdf

from ._silence import captured_messages, import_pybullet_silently

import_pybullet_silently()

import pybullet  # noqa: E402
from pybullet_utils.bullet_client import BulletClient  # noqa: E402

GRAVITY = 9.81  # m/s²
MAX_SPEED = 100.0  # rad/s or m/s: Bullet's limit on every joint's velocity
FRICTION_VELOCITY = 1e-2  # rad/s or m/s: v_s


class PybulletWorld:
    """A fixed-base robot alone in a PyBullet client of its own.

    Args:
        urdf: path of the robot's URDF.
        mimic: accept `<mimic>`, which PyBullet ignores.
        gui: open Bullet's window.

    Attributes:
        model: the robot's `roboopt.urdf.UrdfModel`; its joints and PyBullet's have the
            same order.
        gravity: (3,) [m/s²].
        client, body, joint_indices, damping, friction, linear_damping, angular_damping:
            as those of `FixedBaseEnv`.

    Raises:
        RobooptError: if the URDF is refused, or PyBullet cannot load it.
        RuntimeError: if a window is asked for and there is no display.
    """

    def __init__(self, urdf: str | Path, *, mimic: bool = False, gui: bool = False):
        """Connect to PyBullet and load the robot."""
        # Given broken input PyBullet ends the process: the file is checked before.
        self.model = _read(urdf, "robot", mimic=mimic)
        if gui and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            # PyBullet would end the process.
            raise RuntimeError('`render_mode="human"` needs a display, got no DISPLAY.')
        self.urdf = Path(urdf)
        self.client = _Client(pybullet.GUI if gui else pybullet.DIRECT)
        self.friction = np.zeros(len(self.model.moving))
        self._load(self.urdf, "robot")
        self._set_physics(np.array([0.0, 0.0, -GRAVITY]), 0.0, 0.0)
        self._marker: int | None = None

    def _load(self, path: Path, argument: str) -> None:
        client, model = self.client, self.model
        failure = None
        with captured_messages() as messages:
            try:
                self.body = client.loadURDF(
                    str(path),
                    useFixedBase=True,
                    flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
                )
            except pybullet.error as error:
                failure = error
        said = " ".join(messages)
        if failure is not None:
            raise RobooptError(
                f"`{argument}`: PyBullet cannot load {path}: {said or failure}."
            ) from failure
        if said:
            warnings.warn(f"PyBullet says of {path}: {said}", stacklevel=3)
        client.changeDynamics(self.body, -1, maxJointVelocity=MAX_SPEED)
        joints = enumerate(model.joints)
        self.joint_indices = tuple(i for i, j in joints if j.kind != FIXED)
        self.damping = model.damping
        self._links = range(len(model.joints))
        self._nominal: dict[int, tuple[float, Any]] = {}
        for link, joint in enumerate(model.joints):
            dynamics = client.getDynamicsInfo(self.body, link)
            if dynamics[0] > 0:
                self._nominal[link] = dynamics[0], dynamics[2]
            inertial = model.inertials.get(joint.child)
            if inertial is not None and inertial.inertia.any() and not any(dynamics[2]):
                raise RobooptError(
                    f"`{argument}`: the moments of inertia of link {joint.child!r} must"
                    " satisfy the triangle inequality, which they miss by rounding: "
                    "PyBullet set them to 0. Make the largest a little smaller."
                )
        # `BulletClient` looks a function up at each call; every step calls these.
        self._set_motors = client.setJointMotorControlArray
        self._step = client.stepSimulation
        self._get_states = client.getJointStates

    def _set_physics(self, gravity: np.ndarray, linear: float, angular: float) -> None:
        self.gravity = gravity
        self.linear_damping, self.angular_damping = linear, angular
        self.client.setGravity(*gravity.tolist())
        for link in (-1, *self._links):
            # One kind of setting a call: beside others, some go to the wrong link.
            self.client.changeDynamics(
                self.body, link, linearDamping=linear, angularDamping=angular
            )

    @contextlib.contextmanager
    def replaced(self, robot: Any) -> Iterator[None]:
        """Replace the robot by one with the numbers of a fitted robot.

        If PyBullet cannot simulate `robot`, or the block raises an error, everything
        stays as it was. Joints are at 0 afterwards.
        """
        before = vars(self).copy()
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / self.urdf.name
                path.write_bytes(edit_urdf(robot, self.urdf, None, argument="model"))
                self.model = _read(path, "model", mimic=True)
                self._load(path, "model")
            self.friction = np.asarray(robot.friction, np.float64)
            dampings = float(robot.linear_damping), float(robot.angular_damping)
            self._set_physics(np.asarray(robot.gravity, np.float64), *dampings)
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
        self.client.setTimeStep(time_step)

    def place(self, q: np.ndarray, velocity: np.ndarray) -> None:
        """Put the joints at `q` [rad or m] and `velocity`, and reset the motors."""
        # A torque that somebody has applied acts at the next step, whatever is reset.
        self._step()
        states = zip(self.joint_indices, q.tolist(), velocity.tolist(), strict=True)
        for joint, position, speed in states:
            self.client.resetJointState(self.body, joint, position, speed)
        self._set_motors(
            self.body,
            self.joint_indices,
            pybullet.VELOCITY_CONTROL,
            forces=[0.0] * len(self.joint_indices),
        )
        self._friction = self.friction.tolist() if self.friction.any() else []

    def advance(self, efforts: list[float]) -> tuple[list[float], list[float]]:
        """Step once under all joints' efforts [N·m or N], and friction; return q, q̇."""
        if self._friction:
            states = self._get_states(self.body, self.joint_indices)
            joints = zip(efforts, self._friction, states, strict=True)
            efforts = [
                effort - friction * math.tanh(state[1] / FRICTION_VELOCITY)
                for effort, friction, state in joints
            ]
        self._set_motors(
            self.body, self.joint_indices, pybullet.TORQUE_CONTROL, forces=efforts
        )
        self._step()
        states = self._get_states(self.body, self.joint_indices)
        return [state[0] for state in states], [state[1] for state in states]

    def gravity_effort(self, q: np.ndarray) -> np.ndarray:
        """Return the efforts that hold the robot still at q, (n,) [N·m or N].

        PyBullet answers for the robot as loaded, before any `scale_dynamics`.
        """
        zero = [0.0] * len(self.joint_indices)
        return np.array(
            self.client.calculateInverseDynamics(self.body, q.tolist(), zero, zero)
        )

    def mass_matrix(self, q: np.ndarray) -> np.ndarray:
        """Return M(q), (n, n) [kg·m², kg·m or kg]."""
        return np.array(self.client.calculateMassMatrix(self.body, q.tolist()))

    @property
    def massive_links(self) -> tuple[int, ...]:
        """PyBullet's indices of the links that have mass."""
        return tuple(self._nominal)

    def scale_dynamics(self, mass: np.ndarray, damping: np.ndarray) -> None:
        """Multiply mass and inertia of each massive link, and each joint's damping."""
        change = self.client.changeDynamics
        links = zip(self._nominal.items(), mass.tolist(), strict=True)
        for (link, (kilograms, inertia)), factor in links:
            # Mass alone would replace the inertia by that of the collision shape.
            scaled = [moment * factor for moment in inertia]
            mass_now = kilograms * factor
            change(self.body, link, mass=mass_now, localInertiaDiagonal=scaled)
        damped = (self.damping * damping).tolist()
        for joint, value in zip(self.joint_indices, damped, strict=True):
            change(self.body, joint, jointDamping=value)

    def sampling_range(self, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the central `fraction` of every joint's range, two of (n,) [rad or m].

        A joint without limits, or with more than one turn to either side, counts as
        having ±π rad, or ±1 m.
        """
        (lower, upper), revolute = self.model.position_limits, self.model.revolute
        wide = np.where(revolute, np.pi, 1.0)
        free = np.isinf(lower) | (revolute & (np.maximum(-lower, upper) > 2 * np.pi))
        lower, upper = np.where(free, -wide, lower), np.where(free, wide, upper)
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        return middle - fraction * half, middle + fraction * half

    def extent(self) -> np.ndarray:
        """Return corners of boxes around positions the robot can reach, (k, 3) [m].

        The joints are left at another configuration.
        """
        corners = []
        lower, upper = self.sampling_range(0.8)
        random = np.random.default_rng(0).uniform(lower, upper, (64, len(lower)))
        for q in (lower, upper, 0 * lower, *random):
            self.place(q, 0 * q)
            for link in (-1, *self._links):
                corners += self.client.getAABB(self.body, link)
        return np.array(corners)

    def mark(self, position: np.ndarray) -> None:
        """Show a ball at `position` (3,) [m], which collides with nothing."""
        point, upright = position.tolist(), [0, 0, 0, 1]
        if self._marker is None:
            ball = self.client.createVisualShape(
                pybullet.GEOM_SPHERE, radius=0.03, rgbaColor=[0.1, 0.65, 0.3, 1]
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


def _read(path: str | Path, argument: str, *, mimic: bool) -> UrdfModel:
    """Return the model of a robot whose joints all move independently."""
    model = read_urdf(path, bullet_defaults=True, argument=argument)
    joints = []
    for joint in model.joints:
        if joint.mimic is not None and not mimic:
            raise RobooptError(
                f"`{argument}`: joint {joint.name!r} must not mimic another: PyBullet "
                "ignores <mimic>."
            )
        joints.append(joint._replace(mimic=None))
    for link in model.element.findall("link"):
        if link.get("name") in model.inertials and link.find("inertial") is None:
            warnings.warn(
                f"link {link.get('name')!r} has no <inertial>: PyBullet gives it 1 kg "
                "and 1 kg·m².",
                UserWarning,
                stacklevel=4,
            )
    return replace(model, joints=tuple(joints))


class _Client(BulletClient):
    """A client that connects without printing its (empty) options.

    A client that is still open at the end of the program is closed before PyBullet is
    unloaded; `BulletClient.__del__` would call it afterwards.
    """

    def __init__(self, mode: int):
        self._shapes = {}
        self._client = pybullet.connect(mode)
        self._close = weakref.finalize(self, _disconnect, self._client, os.getpid())

    def disconnect(self) -> None:
        self._client = -1
        self._close()

    def __del__(self) -> None:
        pass


def _disconnect(client: int, process: int) -> None:
    """Close a client of this process; a fork does not own its parent's."""
    if process == os.getpid():
        with contextlib.suppress(pybullet.error):
            pybullet.disconnect(physicsClientId=client)
