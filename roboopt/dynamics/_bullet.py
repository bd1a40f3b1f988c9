"""A `Multibody` read from a body that PyBullet has loaded.

Bullet stores the center of mass and the principal axes of each link. A robot read from
there is the robot that Bullet integrates, to the last bit of its inertias, whatever
flags the file was loaded with. Frames: a joint's frame has its origin at the joint and
the principal axes of the link after the joint.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._assembly import JointRow, LinkRow, assemble
from roboopt.dynamics._multibody import Multibody
from roboopt.urdf import Inertial, Mimic, Pose, rotation_from_quaternion
from roboopt.urdf.friction import FrictionLaw

FIXED, REVOLUTE, PRISMATIC = 4, 0, 1  # pybullet.JOINT_FIXED and so on
BULLET_DAMPING = float(np.float32(0.04))
"""PyBullet's default damping of every link [1/s]."""


def load_bullet(
    client: Any,
    body: int,
    *,
    linear_damping: float = BULLET_DAMPING,
    angular_damping: float = BULLET_DAMPING,
    damping: Any = None,
    lower: Any = None,
    upper: Any = None,
    friction: Any = None,
    friction_velocity: Any = None,
    friction_law: FrictionLaw | None = None,
    armature: Any = None,
    mimic: Any = None,
) -> Multibody:
    """Load a fixed-base robot from a PyBullet simulation.

    Args:
        client: the `pybullet` module, a `BulletClient`, or the id of a connection.
        body: the body's id, as `loadURDF` returned it.
        linear_damping: the value that `changeDynamics` set on every link [1/s], which
            PyBullet does not report; by default PyBullet's own.
        angular_damping: likewise [1/s].
        damping: damping of the joints [N·m·s/rad or N·s/m], if it was changed after
            loading: PyBullet reports the file's.
        lower: lower limits of the joints [rad or m], if they were changed.
        upper: upper limits of the joints [rad or m], if they were changed.
        friction: Coulomb friction of the joints [N·m or N], of which PyBullet has none.
        friction_velocity: below which this friction is smooth [rad/s or m/s].
        friction_law: the other parts of this friction.
        armature: inertia of the joints' rotors [kg·m² or kg], likewise.
        mimic: a mapping from the names of joints that something outside PyBullet lets
            follow others to `(joint, multiplier, offset)` of q_m = multiplier · q +
            offset. The numbers above are then those of the other joints alone.

    Raises:
        RobooptError: if the base is not fixed, nothing moves, or a joint's type is bad.
    """
    client = _functions(client)
    count = client.getNumJoints(body)
    dynamics = {i: client.getDynamicsInfo(body, i) for i in range(-1, count)}
    if dynamics[-1][0] != 0:
        raise RobooptError(
            "`body` must stand on a fixed base (`useFixedBase=True`), got one whose "
            f"base has a mass of {dynamics[-1][0]} kg."
        )
    infos = [client.getJointInfo(body, i) for i in range(count)]
    position, orientation = client.getBasePositionAndOrientation(body)
    pose = Pose(-1, rotation_from_quaternion(orientation), np.array(position))
    base = LinkRow(client.getBodyInfo(body)[0].decode(), pose, None)
    joints, links = _rows(infos, dynamics, base)
    follows = {name: Mimic(*given) for name, given in (mimic or {}).items()}
    joints = [row._replace(mimic=follows.get(row.name)) for row in joints]
    changed = {"damping": damping, "lower": lower, "upper": upper}
    changed |= {"friction": friction, "friction_velocity": friction_velocity}
    changed |= {"armature": armature}
    for name, given in changed.items():
        if given is not None:
            joints = _with_numbers(joints, name, given)
    physics = client.getPhysicsEngineParameters()
    robot = assemble(
        joints,
        links,
        gravity=[physics[f"gravityAcceleration{axis}"] for axis in "XYZ"],
        linear_damping=linear_damping,
        angular_damping=angular_damping,
    )
    if friction_law is None:
        return robot
    law = FrictionLaw(*map(jnp.asarray, friction_law))
    return eqx.tree_at(
        lambda r: r.friction_law, robot, law, is_leaf=lambda x: x is None
    )


def _with_numbers(joints: list[JointRow], name: str, given: Any) -> list[JointRow]:
    """Return rows with a number of the independent joints, 0 at those that follow."""
    independent = [row.mimic is None for row in joints]
    values = np.zeros(len(joints))
    values[independent] = given
    pairs = zip(joints, values.tolist(), strict=True)
    return [row._replace(**{name: value}) for row, value in pairs]


def load_env(
    env: Any,
    *,
    linear_damping: float | None = None,
    angular_damping: float | None = None,
) -> Multibody:
    """Load the robot of a PyBullet environment, with each of its links.

    Args:
        env: an environment with the attributes `physics_client` (or `client`) and
            `body`; also with `linear_damping` and `angular_damping` of its links [1/s],
            if they are not PyBullet's defaults. If its `implicit_damping` is True, the
            environment applies `damping`, `friction` and `armature` of the joints, and
            lets the joints of `mimic` follow others, by itself, and with such joints
            keeps the `joint_limits` as well; otherwise, damping is PyBullet's, and
            `friction` [N·m or N], if there is one, is added to the efforts.
            `friction_velocity` [rad/s or m/s] and `friction_law` go with `friction`.
        linear_damping: of the links, instead of the environment's [1/s].
        angular_damping: likewise [1/s].

    Raises:
        RobooptError: if the base is not fixed, nothing moves, or a joint's type is bad.
    """
    env = env.unwrapped
    client = getattr(env, "physics_client", None)
    given = {"linear_damping": linear_damping, "angular_damping": angular_damping}
    numbers: dict[str, Any] = {
        name: float(getattr(env, name, BULLET_DAMPING)) if value is None else value
        for name, value in given.items()
    }
    names = ("friction", "friction_velocity", "friction_law")
    if getattr(env, "implicit_damping", False):
        names += ("damping", "armature", "mimic")
    numbers |= {name: getattr(env, name, None) for name in names}
    if numbers.get("mimic"):
        # The environment, too, stops joints that follow each other, and not PyBullet.
        lower, upper = env.joint_limits
        free = np.isinf(lower)
        numbers["lower"] = np.where(free, 0.0, lower)
        numbers["upper"] = np.where(free, -1.0, upper)
    client = env.client if client is None else client
    return load_bullet(client, env.body, **numbers)


def _functions(client: Any) -> Any:
    """Return an object with PyBullet's functions, for one of the three clients."""
    if not isinstance(client, int):
        return client
    import pybullet

    class Client:
        def __getattr__(self, name: str) -> Any:
            return partial(getattr(pybullet, name), physicsClientId=client)

    return Client()


def _rows(
    infos: list[Any], dynamics: dict[int, Any], base: LinkRow
) -> tuple[list[JointRow], list[LinkRow]]:
    """Return the rows of joints and links; `base` stands at its principal axes."""
    axes = rotation_from_quaternion(dynamics[-1][4])
    rotation = base.pose.rotation @ axes.T
    offset = base.pose.offset - rotation @ np.array(dynamics[-1][3])
    joints: list[JointRow] = []
    links = [base._replace(pose=Pose(-1, rotation, offset))]
    # For each link the pose, in its joint's frame, of the frame at the link's pivot
    # that has the link's principal axes.
    pivots = {-1: base.pose}
    for info in infos:
        index, kind, parent = info[0], info[2], info[16]
        if kind not in (FIXED, REVOLUTE, PRISMATIC):
            raise RobooptError(
                f"`body`: joint {info[1].decode()!r} must be revolute, prismatic or "
                f"fixed, got PyBullet's type {kind}."
            )
        joint, rotation, offset = pivots[parent]
        # Bullet gives the pivot from the parent's center of mass, in principal axes.
        before = np.zeros(3) if parent < 0 else _center(dynamics[parent])
        offset = offset + rotation @ (np.array(info[14]) + before)
        rotation = rotation @ rotation_from_quaternion(info[15]).T
        if kind != FIXED:
            axis = np.array(info[13])
            row = JointRow(
                name=info[1].decode(),
                revolute=kind == REVOLUTE,
                pose=Pose(joint, rotation, offset),
                axis=axis / np.linalg.norm(axis),
                damping=info[6],
                lower=info[8],
                upper=info[9],
                effort_limit=info[10] if info[10] > 0 else np.inf,
            )
            joints.append(row)
            joint, rotation, offset = len(joints) - 1, np.eye(3), np.zeros(3)
        pivots[index] = Pose(joint, rotation, offset)
        mass, moments = dynamics[index][0], dynamics[index][2]
        axes = rotation_from_quaternion(dynamics[index][4])
        inertial = Inertial(mass, _center(dynamics[index]), np.diag(moments))
        pose = Pose(joint, rotation @ axes.T, offset)
        inertial = inertial.to_parent(rotation, offset)
        links.append(LinkRow(info[12].decode(), pose, inertial))
    return joints, links


def _center(dynamics: Any) -> np.ndarray:
    """Return a link's center of mass from its pivot, in its principal axes."""
    return rotation_from_quaternion(dynamics[4]).T @ np.array(dynamics[3])
