"""PyBullet's side of the comparisons: robots loaded, described, random, and stepped."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pybullet
import pybullet_data
from numpy.typing import ArrayLike
from pybullet_utils.bullet_client import BulletClient

DATA = Path(pybullet_data.getDataPath())
OWN = Path(__file__).parents[2] / "envs" / "roboopt_envs" / "assets"
ROBOTS = {
    "cart_pole": OWN / "cart_pole.urdf",
    "two_link": OWN / "two_link.urdf",
    "iiwa": DATA / "kuka_iiwa" / "model.urdf",
    "panda": DATA / "franka_panda" / "panda.urdf",
}


class Body:
    """A robot in a world of its own, torque-driven: motors off, no collisions."""

    def __init__(
        self,
        path: Path,
        *,
        time_step: float = 1 / 240,
        position: tuple = (0, 0, 0),
        euler: tuple = (0, 0, 0),
        bodies_damping: float | None = None,
        joint_damping: float | None = None,
        joint_limits: bool = False,
    ):
        self.client: Any = BulletClient(pybullet.DIRECT)
        self.client.setPhysicsEngineParameter(enableFileCaching=0)
        self.client.setGravity(0, 0, -9.81)
        self.client.setTimeStep(time_step)
        self.body = self.client.loadURDF(
            str(path),
            position,
            self.client.getQuaternionFromEuler(euler),
            useFixedBase=True,
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
        )
        count = self.client.getNumJoints(self.body)
        # The clip of velocities counts only where it is set on the base.
        self.client.changeDynamics(self.body, -1, maxJointVelocity=100.0)
        for link in range(-1, count):
            self.client.setCollisionFilterGroupMask(self.body, link, 0, 0)
            if bodies_damping is not None:
                self.client.changeDynamics(
                    self.body,
                    link,
                    linearDamping=bodies_damping,
                    angularDamping=bodies_damping,
                )
            if joint_damping is not None and link >= 0:
                self.client.changeDynamics(self.body, link, jointDamping=joint_damping)
            if not joint_limits and link >= 0:
                self.client.changeDynamics(
                    self.body, link, jointLowerLimit=-1e9, jointUpperLimit=1e9
                )
        self.joints = [
            i
            for i in range(count)
            if self.client.getJointInfo(self.body, i)[2] != pybullet.JOINT_FIXED
        ]
        self.names = [
            self.client.getJointInfo(self.body, i)[1].decode() for i in self.joints
        ]
        for joint in self.joints:
            self.client.setJointMotorControl2(
                self.body, joint, pybullet.VELOCITY_CONTROL, force=0
            )

    def set_state(self, q: ArrayLike, velocity: ArrayLike) -> None:
        for joint, position, speed in zip(
            self.joints, np.asarray(q), np.asarray(velocity), strict=True
        ):
            self.client.resetJointState(self.body, joint, position, speed)

    def state(self) -> np.ndarray:
        states = self.client.getJointStates(self.body, self.joints)
        return np.array([s[0] for s in states] + [s[1] for s in states])

    def step(self, effort: ArrayLike) -> np.ndarray:
        self.client.setJointMotorControlArray(
            self.body,
            self.joints,
            pybullet.TORQUE_CONTROL,
            forces=list(np.asarray(effort)),
        )
        self.client.stepSimulation()
        return self.state()

    def acceleration(
        self, q: ArrayLike, velocity: ArrayLike, effort: ArrayLike
    ) -> np.ndarray:
        """Return q̈, the difference of velocities over one step of 1 s."""
        before = self.client.getPhysicsEngineParameters()["fixedTimeStep"]
        self.client.setTimeStep(1.0)
        self.client.changeDynamics(self.body, -1, maxJointVelocity=1e12)
        self.set_state(q, velocity)
        after = self.step(effort)[len(self.joints) :]
        self.client.changeDynamics(self.body, -1, maxJointVelocity=100.0)
        self.client.setTimeStep(before)
        return after - np.asarray(velocity)


def random_state(
    rng: np.random.Generator, joints: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return q, q̇ and effort."""
    q, velocity = rng.uniform(-2, 2, joints), rng.normal(size=joints)
    effort = 10 * rng.normal(size=joints)
    return jnp.asarray(q), jnp.asarray(velocity), jnp.asarray(effort)


def smooth_efforts(
    rng: np.random.Generator, steps: int, joints: int, scale: float, time_step: float
) -> np.ndarray:
    """Return (steps, joints): three sines a joint, slower than 2 Hz."""
    time = np.arange(steps)[:, None, None] * time_step
    rate, phase = rng.uniform(0.5, 12, (3, joints)), rng.uniform(0, 6, (3, joints))
    return scale * np.sin(rate * time + phase).sum(1) / 3


def random_inertia(rng: np.random.Generator, *, diagonal: bool) -> str:
    # Any cloud of points has an inertia that a body can have.
    points = rng.normal(size=(4, 3)) * 0.1
    inertia = np.zeros((3, 3))
    for r in points:
        inertia += r @ r * np.eye(3) - np.outer(r, r)
    names = {"ixx": (0, 0), "iyy": (1, 1), "izz": (2, 2)}
    if not diagonal:
        names |= {"ixy": (0, 1), "ixz": (0, 2), "iyz": (1, 2)}
    else:
        inertia = np.diag(np.linalg.eigvalsh(inertia))
    return " ".join(f'{n}="{float(inertia[i])!r}"' for n, i in names.items())


def _triple(numbers: np.ndarray) -> str:
    return " ".join(repr(float(x)) for x in numbers)


def _origin(rng: np.random.Generator, size: float) -> str:
    xyz, rpy = rng.normal(size=3) * size, rng.uniform(-3, 3, 3)
    return f'<origin xyz="{_triple(xyz)}" rpy="{_triple(rpy)}"/>'


def write_random_robot(
    path: Path, seed: int, links: int = 7, *, diagonal: bool = False
) -> Path:
    """Write a tree with branches, of revolute, prismatic, continuous and fixed joints.

    Origins, axes and inertias are in general position; the links are not in the order
    of the tree.
    """
    rng = np.random.default_rng(seed)
    kinds = ["continuous", "prismatic", "revolute", "fixed"]
    parts = []
    for i in range(links):
        body = f"""<inertial>{_origin(rng, 0.1)}<mass value="{rng.uniform(0.5, 3)!r}"/>
            <inertia {random_inertia(rng, diagonal=diagonal)}/></inertial>"""
        parts.append(f'<link name="link{i}">{body}</link>')
    for i in range(1, links):
        kind = kinds[(i + seed) % 4] if i > 1 else "revolute"
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        limits = "" if kind == "continuous" else 'lower="-2.5" upper="2.5"'
        parts.append(
            f"""<joint name="joint{i}" type="{kind}">{_origin(rng, 0.3)}
            <parent link="link{rng.integers(max(0, i - 3), i)}"/>
            <child link="link{i}"/><axis xyz="{_triple(axis)}"/>
            <dynamics damping="{rng.uniform(0, 0.3)!r}"/>
            <limit {limits} effort="1" velocity="1"/></joint>"""
        )
    order = rng.permutation(len(parts))
    path.write_text(f"<robot name='r'>{''.join(parts[i] for i in order)}</robot>")
    return path
