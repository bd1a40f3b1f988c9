"""Robots small enough to be worked out by hand."""

from pathlib import Path

LINK = """<link name="{name}"><inertial><origin xyz="{center}"/><mass value="{mass}"/>
    <inertia ixx="{inertia}" iyy="{inertia}" izz="{inertia}"/></inertial></link>"""
JOINT = """<joint name="{name}" type="{kind}"><parent link="{parent}"/>
    <child link="{child}"/><axis xyz="{axis}"/><origin xyz="{origin}"/>{more}</joint>"""


def link(name, mass: float = 1.0, inertia: float = 0.1, center="0 0 0") -> str:
    return LINK.format(name=name, mass=mass, inertia=inertia, center=center)


def joint(
    name, parent, child, *, kind="continuous", axis="0 1 0", origin="0 0 0", more=""
) -> str:
    return JOINT.format(
        name=name,
        kind=kind,
        parent=parent,
        child=child,
        axis=axis,
        origin=origin,
        more=more,
    )


def write(path: Path, *parts: str) -> Path:
    path.write_text(f"<robot name='hand'>{''.join(parts)}</robot>")
    return path


def write_pendulum(path: Path, *, kind="continuous", more="") -> Path:
    """Write a body of 2 kg and 0.1 kg·m², 0.5 m out along x from its joint about y.

    About the joint its inertia is 0.1 + 2·0.5² = 0.6 kg·m², and positive q lowers it:
    z = −0.5 sin q.
    """
    return write(
        path,
        '<link name="base"/>',
        link("arm", mass=2.0, center="0.5 0 0"),
        joint("hinge", "base", "arm", kind=kind, more=more),
    )


def write_slider(path: Path, *, more='<limit lower="-1" upper="1"/>') -> Path:
    """Write a body of 2 kg that slides along x."""
    return write(
        path,
        '<link name="base"/>',
        link("block", mass=2.0),
        joint("rail", "base", "block", kind="prismatic", axis="1 0 0", more=more),
    )
