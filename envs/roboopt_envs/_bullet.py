"""The PyBullet world of one environment: a client, a robot, and every setting.

Bullet steps a torque-driven multibody as

    q̈ = FD(q, q̇, τ − d·q̇)      q̇′ = clip(q̇ + Δt·q̈, ±100)      q′ = q + Δt·q̇′

once its motors, which hold every joint by default, and its damping of every link, which
is not in the URDF, are switched off. The world is built once, and put back by writing
the state of its joints: loading a robot again leaks memory, and restoring a saved state
does not undo motors or masses. Coulomb friction, which Bullet does not know, is an
effort −c·tanh(q̇/v_s) on top of the others, at the velocity before the step.
"""

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

try:
    import pybullet
    from pybullet_utils.bullet_client import BulletClient
except ImportError as error:
    raise ImportError(
        "The environments need PyBullet: pip install 'roboopt[envs]'."
    ) from error

from ._fitted_robot import FittedRobot, write_fitted_robot
from ._urdf_checks import check_urdf

GRAVITY = 9.81  # m/s²
MAX_SPEED = 100.0  # rad/s or m/s: Bullet clips every joint's velocity there
FRICTION_VELOCITY = 1e-2  # rad/s or m/s: v_s, below which friction fades


class VectorEnv:
    """A fixed-base robot alone in a PyBullet client of its own.

    Args:
        path: the robot's URDF.
        mimic: accept `<mimic>`, which Bullet ignores.
        gui: open Bullet's window.

    Attributes:
        client: the connection, with PyBullet's functions as methods.
        body: the robot's id there.
        joint_names: of the joints that move, depth first.
        joint_indices: what Bullet calls them.
        revolute: whether each turns, (n,).
        lower, upper: limits of each, infinite where it has none, (n,) [rad or m].
        damping: of each as loaded, (n,) [N·m·s/rad or N·s/m].
        friction: Coulomb's of each, 0 unless fitted, (n,) [N·m or N].
        gravity: (3,) [m/s²].
        linear_damping: of every link [1/s], off unless fitted.
        angular_damping: likewise.
        link_names: of every joint's child, fixed ones too; Bullet's link indices.
        joint_infos: what Bullet's `getJointInfo` says of each.
        urdf: path of the robot's URDF.
        urdf_efforts: effort limit of each in the URDF, 0 if missing, (n,) [N·m or N].

    Raises:
        ValueError: if the URDF is refused by `check_urdf`, or PyBullet cannot load it.
        RuntimeError: if a window is asked for where there is no display.
    """

    def __init__(self, path: str | Path, *, mimic: bool = False, gui: bool = False):
        path = Path(path)
        extended = check_urdf(path, mimic=mimic)
        if gui and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            # PyBullet would end the process.
            raise RuntimeError('`render_mode="human"` needs a display, got no DISPLAY.')
        self.client = _Client(pybullet.GUI if gui else pybullet.DIRECT)
        self.urdf = path
        self._load(path)
        self._set_physics(np.array([0.0, 0.0, -GRAVITY]), 0.0, 0.0)
        self._check_inertias(extended)
        self._marker: int | None = None

    def _load(self, path: Path):
        client = self.client
        try:
            self.body = client.loadURDF(
                str(path),
                useFixedBase=True,
                flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
            )
        except pybullet.error as error:
            raise ValueError(
                f"`robot`: PyBullet cannot load {path}, often for want of a mesh; it "
                "has printed why."
            ) from error
        links = range(client.getNumJoints(self.body))
        client.changeDynamics(self.body, -1, maxJointVelocity=MAX_SPEED)
        infos = [client.getJointInfo(self.body, link) for link in links]
        moving = [info for info in infos if info[2] != pybullet.JOINT_FIXED]
        self.joint_names = tuple(info[1].decode() for info in moving)
        self.joint_indices = tuple(int(info[0]) for info in moving)
        self.revolute = np.array(
            [info[2] == pybullet.JOINT_REVOLUTE for info in moving]
        )
        self.damping = np.array([info[6] for info in moving])
        self.friction = np.zeros(len(moving))
        self._rubbing: list[float] = []
        self.urdf_efforts = np.array([info[10] for info in moving])
        limits = np.array([info[8:10] for info in moving])
        limits[limits[:, 0] >= limits[:, 1]] = -np.inf, np.inf  # how Bullet marks none
        self.lower, self.upper = limits.T
        self.link_names = tuple(info[12].decode() for info in infos)
        self.joint_infos = infos
        self._bind()
        self._nominal = {
            link: (dynamics[0], dynamics[2])
            for link in links
            if (dynamics := client.getDynamicsInfo(self.body, link))[0] > 0
        }

    def _set_physics(self, gravity: np.ndarray, linear: float, angular: float):
        self.gravity = gravity
        self.linear_damping, self.angular_damping = linear, angular
        self.client.setGravity(*gravity.tolist())
        for link in range(-1, len(self.joint_infos)):
            # One kind of setting a call: beside others, some go to the wrong link.
            self.client.changeDynamics(
                self.body, link, linearDamping=linear, angularDamping=angular
            )

    @contextlib.contextmanager
    def replaced(self, robot: FittedRobot) -> Iterator[None]:
        """Put a fitted robot in the place of the one there is, and see if it will do.

        An error, here or in the block, leaves all as it was. Joints are at 0 then, and
        1.5 MB of memory gone for good with a robot of the size of the iiwa.

        Raises:
            ValueError: if Bullet cannot simulate it.
        """
        before = vars(self).copy()
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / self.urdf.name
                write_fitted_robot(robot, self.urdf, path)
                extended = check_urdf(path, mimic=True)
                self._load(path)
            self._set_physics(
                robot.gravity, robot.linear_damping, robot.angular_damping
            )
            self.friction = robot.friction
            self._rubbing = robot.friction.tolist() if robot.friction.any() else []
            self._check_inertias(extended)
            yield
        except BaseException:
            if self.body != before["body"]:
                self.client.removeBody(self.body)
            vars(self).update(before)
            self.client.setGravity(*self.gravity.tolist())
            raise
        self.client.removeBody(before["body"])

    def _check_inertias(self, extended: set[str]):
        """Refuse what Bullet set to zero: a flat body's inertia, off by rounding."""
        for link, name in enumerate(self.link_names):
            moments = self.client.getDynamicsInfo(self.body, link)[2]
            if name in extended and not any(moments):
                raise ValueError(
                    f"`robot`: the moments of inertia of link {name!r} must satisfy "
                    "the triangle inequality, which they miss by rounding: Bullet set "
                    "them to 0. Make the largest a little smaller."
                )

    def _bind(self):
        """Look up once what every step calls: BulletClient does it at each call."""
        self._set_motors = self.client.setJointMotorControlArray
        self._step = self.client.stepSimulation
        self._get_states = self.client.getJointStates

    def set_time_step(self, time_step: float):
        """Let `advance` last `time_step` [s]."""
        self.client.setTimeStep(time_step)

    def place(self, q: np.ndarray, velocity: np.ndarray):
        """Put the joints at q [rad or m] and velocity; nothing is left of the past."""
        # A torque that somebody applied lasts until the next step, whatever is reset.
        self._step()
        for joint, position, speed in zip(
            self.joint_indices, q.tolist(), velocity.tolist(), strict=True
        ):
            self.client.resetJointState(self.body, joint, position, speed)
        self._set_motors(
            self.body,
            self.joint_indices,
            pybullet.VELOCITY_CONTROL,
            forces=[0.0] * len(self.joint_indices),
        )

    def advance(self, efforts: list[float]) -> tuple[list[float], list[float]]:
        """Step once under `efforts` of all joints [N·m or N]; return q and q̇.

        Friction comes on top of these.
        """
        if self._rubbing:
            states = self._get_states(self.body, self.joint_indices)
            efforts = [
                effort - friction * math.tanh(state[1] / FRICTION_VELOCITY)
                for effort, friction, state in zip(
                    efforts, self._rubbing, states, strict=True
                )
            ]
        self._set_motors(
            self.body, self.joint_indices, pybullet.TORQUE_CONTROL, forces=efforts
        )
        self._step()
        states = self._get_states(self.body, self.joint_indices)
        return [state[0] for state in states], [state[1] for state in states]

    def gravity_effort(self, q: np.ndarray) -> np.ndarray:
        """Return the efforts that hold the robot still at q, (n,) [N·m or N].

        It is the robot as loaded, whatever `scale_dynamics` did since: PyBullet keeps
        the model that it made when first asked, for this or `mass_matrix`.
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
        """Bullet's indices of the links that have mass."""
        return tuple(self._nominal)

    def scale_dynamics(self, mass: np.ndarray, damping: np.ndarray):
        """Multiply what the URDF says of every massive link, and of every joint.

        Args:
            mass: factor of the mass and inertia of each massive link.
            damping: factor of the damping of each joint.
        """
        change = self.client.changeDynamics
        for (link, (kilograms, inertia)), factor in zip(
            self._nominal.items(), mass.tolist(), strict=True
        ):
            # Mass alone would replace the inertia by that of the collision shape.
            change(
                self.body,
                link,
                mass=kilograms * factor,
                localInertiaDiagonal=[moment * factor for moment in inertia],
            )
        damped = (self.damping * damping).tolist()
        for joint, value in zip(self.joint_indices, damped, strict=True):
            change(self.body, joint, jointDamping=value)

    def sampling_range(self, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the central `fraction` of every joint's range [rad or m].

        A joint without limits, or that may turn more than once either way, counts as
        having ±π rad, or ±1 m.
        """
        wide = np.where(self.revolute, np.pi, 1.0)
        free = np.isinf(self.lower) | (
            self.revolute & (np.maximum(-self.lower, self.upper) > 2 * np.pi)
        )
        lower, upper = (
            np.where(free, -wide, self.lower),
            np.where(free, wide, self.upper),
        )
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        return middle - fraction * half, middle + fraction * half

    def extent(self) -> np.ndarray:
        """Return corners of boxes around where the robot may be, (k, 3) [m].

        Leaves the joints somewhere else.
        """
        corners = []
        lower, upper = self.sampling_range(0.8)
        random = np.random.default_rng(0).uniform(lower, upper, (64, len(lower)))
        for q in (lower, upper, 0 * lower, *random):
            self.place(q, 0 * q)
            for link in range(-1, len(self.joint_infos)):
                corners += self.client.getAABB(self.body, link)
        return np.array(corners)

    def mark(self, position: np.ndarray):
        """Show a ball at `position` (3,) [m], which nothing collides with."""
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

    def close(self):
        """Disconnect; closing twice is fine."""
        if not self.closed:
            self.client.disconnect()


class _Client(BulletClient):
    """A client that connects without printing its (empty) options."""

    def __init__(self, mode: int):
        self._shapes = {}
        self._pid = os.getpid()
        self._client = pybullet.connect(mode)
