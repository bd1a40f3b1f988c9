"""Robots whose shapes are of every kind, for what draws them."""

from pathlib import Path

import numpy as np

TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
TEXT_STL = "solid a\n{}endsolid a\n".format(
    "".join(
        "facet normal 0 0 1\nouter loop\n"
        + "".join(f"vertex {x} {y} {z}\n" for x, y, z in face)
        + "endloop\nendfacet\n"
        for face in (
            [(0, 0, 0), (0.1, 0, 0), (0, 0.1, 0)],
            [(0, 0, 0), (0, 0.1, 0), (0, 0, 0.2)],
        )
    )
)


def scara(folder: Path) -> Path:
    """Write a SCARA robot with a gripper, and return the path of its URDF.

    It has shapes of every kind, meshes with scale and origin, a prismatic joint, and a
    finger that follows the other.
    """
    (folder / "cover.obj").write_text(TETRAHEDRON)
    (folder / "hand.stl").write_text(TEXT_STL)

    def visual(geometry: str, origin: str, color: str) -> str:
        material = f'<material name="{color}"/>' if color else ""
        shape = f"<geometry>{geometry}</geometry>"
        return f"<visual><origin {origin}/>{shape}{material}</visual>"

    def link(name: str, *visuals: str) -> str:
        mass = '<mass value="1"/>' + '<inertia ixx="0.01" iyy="0.02" izz="0.025"/>'
        origin = '<origin xyz="0.1 0.02 0" rpy="0.1 0.2 0.3"/>'
        inertial = f"<inertial>{origin}{mass}</inertial>"
        return f'<link name="{name}">{inertial}{"".join(visuals)}</link>'

    def joint(name: str, kind: str, ends: str, origin: str, more: str) -> str:
        parent, child = ends.split()
        return f"""<joint name="{name}" type="{kind}"><origin {origin}/>
        <parent link="{parent}"/><child link="{child}"/>{more}</joint>"""

    limit = '<limit lower="-2" upper="2" effort="50"/>'
    short = '<limit lower="-0.3" upper="0.1" effort="80"/>'
    grip = '<limit lower="0" upper="0.04" effort="9"/>'
    parts = [
        '<material name="blue"><color rgba="0.2 0.4 0.9 1"/></material>',
        '<material name="gray"><color rgba="0.5 0.5 0.5 1"/></material>',
        link(
            "base",
            visual('<cylinder radius="0.06" length="0.4"/>', 'xyz="0 0 0.2"', "gray"),
            visual('<box size="0.2 0.3 0.02"/>', 'xyz="0 0 0.01" rpy="0 0 0.4"', ""),
        ),
        link(
            "arm",
            visual('<box size="0.35 0.08 0.05"/>', 'xyz="0.15 0 0"', "blue"),
            visual(
                '<mesh filename="cover.obj" scale="0.1 0.05 -0.02"/>',
                'xyz="0.05 0.02 0.03" rpy="0.3 -0.4 0.5"',
                "gray",
            ),
        ),
        link("wrist", visual('<sphere radius="0.05"/>', 'xyz="0.02 0 0"', "gray")),
        link("rod", visual('<capsule radius="0.02" length="0.4"/>', "", "blue")),
        link(
            "hand",
            visual('<mesh filename="hand.stl"/>', 'rpy="3.1 0 0"', "gray"),
        ),
        link("left", visual('<box size="0.01 0.02 0.08"/>', 'xyz="0 0 -0.04"', "")),
        link("right", visual('<box size="0.01 0.02 0.08"/>', 'xyz="0 0 -0.04"', "")),
        joint(
            "shoulder", "revolute", "base arm", 'xyz="0 0 0.4" rpy="0.1 0 0.2"', limit
        ),
        joint("elbow", "revolute", "arm wrist", 'xyz="0.3 0 0"', limit),
        joint("slide", "prismatic", "wrist rod", 'xyz="0.25 0 0" rpy="0 0.1 0"', short),
        joint("grasp", "fixed", "rod hand", 'xyz="0 0 -0.2" rpy="0 0 1"', ""),
        joint("left", "prismatic", "hand left", "", '<axis xyz="0 1 0"/>' + grip),
        joint(
            "right",
            "prismatic",
            "hand right",
            "",
            '<axis xyz="0 -1 0"/><mimic joint="left" multiplier="0.5" offset="0.01"/>'
            + grip,
        ),
    ]
    text = f'<robot name="scara">{"".join(parts)}</robot>'
    text = text.replace("<parent", '<axis xyz="0 0 1"/><parent', 3)
    path = folder / "scara.urdf"
    path.write_text(text)
    return path


def motion(joints: int, steps: int = 60) -> np.ndarray:
    """Return positions of joints that swing, (steps, joints) [rad or m]."""
    time = np.linspace(0.0, 2.0, steps)[:, None]
    return 0.3 * np.sin(2 * np.pi * (time * 0.5 + np.arange(joints) / joints))
