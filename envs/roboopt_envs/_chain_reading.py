"""The chain to a tool, read back from the robot that Bullet has loaded."""

import numpy as np

from ._bullet import VectorEnv
from ._tool_chain import ToolChain, Vector


def read_tool_chain(world: VectorEnv, tool: str | None) -> tuple[str, ToolChain]:
    """Return a link's name, the deepest and last without `tool`, and its chain.

    Raises:
        ValueError: if there is no such link, or no moving joint carries it.
    """
    parents = [info[16] for info in world.joint_infos]
    depths: list[int] = []
    for parent in parents:
        depths.append(1 if parent < 0 else depths[parent] + 1)
    if tool is None:
        link = max(range(len(depths)), key=lambda i: (depths[i], i))
    elif tool in world.link_names:
        link = world.link_names.index(tool)
    else:
        raise ValueError(
            f"`tool` must be a link, one of {list(world.link_names)}, got {tool!r}."
        )
    path = [link]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    if not set(path) & set(world.joint_indices):
        raise ValueError(
            f"`tool` must be on a moving link, got {world.link_names[link]!r}."
        )
    return world.link_names[link], _chain(world, path[::-1])


def _chain(world: VectorEnv, path: list[int]) -> ToolChain:
    """Return the chain through the links of `path`, from the base outwards."""
    # A link's frame here has its origin at its joint and Bullet's principal axes. Along
    # these Bullet tells where the next joint is from the center of mass.
    position, orientation = world.client.getBasePositionAndOrientation(world.body)
    turn, shift = _rotation(orientation), np.array(position)
    center = np.zeros(3)
    joints, rotations, offsets = [], [], []
    for link in path:
        info = world.joint_infos[link]
        shift = shift + turn @ (center + info[14])
        turn = turn @ _rotation(info[15]).T
        dynamics = world.client.getDynamicsInfo(world.body, link)
        center = _rotation(dynamics[4]).T @ dynamics[3]
        if link in world.joint_indices:
            along_z = _frame(np.array(info[13]))
            x, y, z = turn @ along_z
            joints.append(world.joint_indices.index(link))
            rotations.append((_triple(x), _triple(y), _triple(z)))
            offsets.append(_triple(shift))
            turn, shift = along_z.T, np.zeros(3)
    return ToolChain(
        joints=tuple(joints),
        revolute=tuple(bool(world.revolute[joint]) for joint in joints),
        rotations=tuple(rotations),
        offsets=tuple(offsets),
        tip=_triple(shift),
    )


def _rotation(quaternion: tuple[float, ...]) -> np.ndarray:
    """Return the matrix of a quaternion (x, y, z, w)."""
    x, y, z, w = quaternion
    s = 2 / (x * x + y * y + z * z + w * w)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def _frame(axis: np.ndarray) -> np.ndarray:
    """Return a rotation that takes z to `axis`."""
    z = axis / np.linalg.norm(axis)
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _triple(vector: np.ndarray) -> Vector:
    x, y, z = vector.tolist()
    return x, y, z
