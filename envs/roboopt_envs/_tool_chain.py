"""Position of a robot's tool: forward kinematics of the serial chain base → tool.

Every joint frame is turned so that its joint rotates about, or slides along, its own z
axis (as Denavit and Hartenberg choose theirs), which reduces Rodrigues' formula to

    p_{i-1} = o_i + R_i·(Rot_z(q_i)·p_i)        p_{i-1} = o_i + R_i·(p_i + q_i·z)

for a revolute and a prismatic joint, from the tool's point in the last frame down to
the base. In components, without a matrix product, the formula fuses into one loop under
XLA, ten times as fast as products of small matrices, and no accelerator rounds it to a
shorter float. `roboopt.dynamics.Multibody` has forward kinematics in JAX; a `ToolChain`
is a hashable constant of a task that runs in NumPy and JAX alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.urdf import PRISMATIC, UrdfModel, rotation_from_rpy

Array = Any  # an array of NumPy, JAX or any library with `__array_namespace__`
Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


@dataclass(frozen=True)
class ToolChain:
    """The joints that carry a tool, from the base outwards.

    Args:
        joints: position of each joint, or of the joint that it follows, in the
            robot's joint vector.
        revolute: whether each joint turns about the z axis of its frame, or slides
            along it.
        rotations: orientation of each joint's frame at q = 0 in the frame of the joint
            before it, or in the world.
        offsets: origin of each joint's frame there [m].
        tip: the tool's point in the last joint's frame [m].
        multipliers: positions of the chain's joints over those of `joints`, which
            differ where a joint follows another; empty if all are 1.

    Raises:
        RobooptError: if there is no joint, the four tuples differ in length, or a
            number is not finite.
    """

    joints: tuple[int, ...]
    revolute: tuple[bool, ...]
    rotations: tuple[Matrix, ...]
    offsets: tuple[Vector, ...]
    tip: Vector
    multipliers: tuple[float, ...] = ()

    def __post_init__(self):
        """Check lengths and numbers."""
        fields = self.joints, self.revolute, self.rotations, self.offsets
        lengths = [len(field) for field in fields]
        lengths += [len(self.multipliers)] if self.multipliers else []
        if lengths[0] == 0 or len(set(lengths)) > 1:
            raise RobooptError(
                "`joints`, `revolute`, `rotations`, `offsets` and `multipliers` must "
                "hold one entry for each of at least one joint, got "
                f"{lengths}."
            )
        rows = [row for rotation in self.rotations for row in rotation]
        numbers = [x for row in (*rows, *self.offsets, self.tip) for x in row]
        numbers += self.multipliers
        if not all(map(math.isfinite, numbers)):
            raise RobooptError(
                "`rotations`, `offsets`, `tip` and `multipliers` must be finite, got "
                f"{self.rotations}, {self.offsets}, {self.tip} and {self.multipliers}."
            )

    def check_scales(
        self, position_scale: tuple[float, ...], speed_scale: tuple[float, ...]
    ) -> None:
        """Refuse a task's scales that are not one for each joint of the robot.

        Raises:
            RobooptError: if they differ in length or do not reach the last joint.
        """
        counts, last = (len(position_scale), len(speed_scale)), max(self.joints)
        if counts[0] != counts[1] or counts[0] <= last:
            raise RobooptError(
                "`position_scale` and `speed_scale` must hold one value for each "
                f"joint, more than {last}, got {counts[0]} and {counts[1]}."
            )

    @classmethod
    def from_urdf(
        cls, model: UrdfModel, link: str, offset: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> "ToolChain":
        """Return the chain from the base to a point of a link.

        Args:
            model: the robot.
            link: a link that moves.
            offset: x, y and z of the point in the frame of the link [m].

        Raises:
            RobooptError: if there is no such link, or no moving joint carries it.
        """
        if link not in model.link_names or not model.chain(link):
            moving = [name for name in model.link_names if model.chain(name)]
            raise RobooptError(f"`link` must be one of {moving}, got {link!r}.")
        chain, (coupling, shifts) = model.chain(link), model.coupling
        rotations, offsets = [], []
        turn = np.eye(3)  # from the joint's own frame to the one with the axis along z
        for joint in chain:
            pose, along_z = model.joint_poses[joint], _frame(model.moving[joint].axis)
            zero, shift = turn @ pose.rotation @ along_z, turn @ pose.offset
            if model.moving[joint].kind == PRISMATIC:
                shift = shift + zero @ np.array([0.0, 0.0, shifts[joint]])
            elif shifts[joint]:
                zero = zero @ rotation_from_rpy([0.0, 0.0, shifts[joint]])
            x, y, z = zero
            rotations.append((_vector(x), _vector(y), _vector(z)))
            offsets.append(_vector(shift))
            turn = along_z.T
        rows, place = coupling[list(chain)], model.link_poses[link]
        factors = tuple(row[row != 0].item() for row in rows)
        return cls(
            joints=tuple(np.argmax(rows != 0, axis=1).tolist()),
            revolute=tuple(model.moving[j].kind != PRISMATIC for j in chain),
            rotations=tuple(rotations),
            offsets=tuple(offsets),
            tip=_vector(turn @ (place.offset + place.rotation @ np.array(offset))),
            multipliers=() if set(factors) == {1.0} else factors,
        )

    def coordinates(self, configuration: Array) -> tuple[Array, Array, Array]:
        """Return the tool's x, y and z in the world, each (...) [m].

        Args:
            configuration: positions of all joints of the robot (..., n) [rad or m].

        Raises:
            RobooptError: if `configuration` does not reach up to the last joint.
        """
        if configuration.shape[-1] <= max(self.joints):
            raise RobooptError(
                f"`configuration` must hold more than {max(self.joints)} joints on its "
                f"last axis, got shape {configuration.shape}."
            )
        xp = configuration.__array_namespace__()
        own = self.multipliers or (1.0,) * len(self.joints)
        q, cosines, sines = map(
            _columns, (configuration, xp.cos(configuration), xp.sin(configuration))
        )
        none = 0.0 * q[self.joints[-1]]  # gives all three the shape of q
        x, y, z = (number + none for number in self.tip)
        fields = self.joints, self.revolute, self.rotations, self.offsets, own
        for joint, revolute, rotation, offset, factor in reversed(
            list(zip(*fields, strict=True))
        ):
            if not revolute:
                z = z + factor * q[joint]
            else:
                c, s = cosines[joint], sines[joint]
                if factor != 1:
                    angle = factor * q[joint]
                    c, s = xp.cos(angle), xp.sin(angle)
                x, y = c * x - s * y, s * x + c * y
            x, y, z = (
                _affine(row, (x, y, z), shift)
                for row, shift in zip(rotation, offset, strict=True)
            )
        return x, y, z

    def position(self, configuration: Array) -> Array:
        """Return the tool's position (..., 3) [m]; arguments as of `coordinates`."""
        xp = configuration.__array_namespace__()
        return xp.stack(self.coordinates(configuration), axis=-1)


def _affine(row: Vector, point: tuple[Array, Array, Array], shift: float) -> Array:
    """Return row · point + shift without the terms that are zero.

    XLA keeps a product with zero, and takes minutes to fuse a batch of long chains of
    them.
    """
    terms = [factor * x for factor, x in zip(row, point, strict=True) if factor]
    return sum(terms, shift)


def _columns(values: Array) -> list[Any]:
    """Return the entries on the last axis; plain numbers of NumPy's are faster."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values.tolist()
    return [values[..., i] for i in range(values.shape[-1])]


def _frame(axis: np.ndarray) -> np.ndarray:
    """Return a rotation that takes z to `axis`."""
    z = axis / np.linalg.norm(axis)
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _vector(numbers: np.ndarray) -> Vector:
    x, y, z = numbers.tolist()
    return x, y, z
