"""Tables of a robot for `repr`: joints and masses, with units."""

import dataclasses
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from roboopt._display import display_width, left, wrapped

if TYPE_CHECKING:
    from roboopt.dynamics._multibody import Multibody

HEADER = (
    *("joint", "type", "limits", "effort limit", "damping", "friction"),
    "links it carries",
)
MAX_WIDTH = 78  # columns of a line, which is indented by two


def has_values(module: eqx.Module) -> bool:
    """Return whether no array of a module is traced, or missing as after filtering."""
    fields = [
        f
        for f in dataclasses.fields(module)
        if not f.metadata.get("static") and f.default is not None
    ]
    leaves = jax.tree.leaves([vars(module).get(f.name) for f in fields])
    concrete = [
        isinstance(leaf, jax.Array | np.ndarray | float)
        and not isinstance(leaf, Tracer)
        for leaf in leaves
    ]
    return len(leaves) >= len(fields) and all(concrete)


def _grid(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(display_width, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(left(cell, w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def describe_robot(robot: "Multibody") -> str:
    """Return a table of a robot, or the shapes of its arrays if they have no values."""
    if not has_values(robot) or robot.masses.ndim != 1:
        return eqx.tree_pformat(robot)
    gravity = ", ".join(f"{g:g}" for g in robot.gravity.tolist())
    masses = robot.masses.tolist()
    title = (
        f"Multibody with {len(robot.joint_names)} joint(s), {len(masses)} bodies of "
        f"{sum(masses):.4g} kg, gravity ({gravity}) m/s²"
    )
    carriers = list(robot.body_joints)
    if robot.moving:
        carriers = [robot.moving[joint].follows for joint in carriers]
    bodies = list(zip(carriers, robot.body_names, masses, strict=True))
    rows: list[tuple[str, ...]] = [HEADER]
    for joint, name in enumerate(robot.joint_names):
        turns, limit = robot.revolute[joint], robot.effort_limits[joint]
        kind, angle, effort = (
            ("revolute", "rad", "N·m") if turns else ("prismatic", "m", "N")
        )
        motor = f"{limit:.4g} {effort}" if np.isfinite(limit) else "none"
        lower, upper = float(robot.lower[joint]), float(robot.upper[joint])
        row = (
            name,
            kind,
            f"{lower:.4g} to {upper:.4g} {angle}" if robot.limited[joint] else "none",
            motor if joint in robot.actuated else "passive",
            f"{float(robot.damping[joint]):.4g} {effort}·s/{angle}",
            f"{float(robot.friction[joint]):.4g} {effort}",
            ", ".join(
                f"{body} {mass:.4g} kg" for j, body, mass in bodies if j == joint
            ),
        )
        rows.append(row)
    lines = _grid(rows)
    if max(map(display_width, lines)) > MAX_WIDTH:  # Links go to lines of their own.
        carried = ["", *(f"  carries {row[-1]}" for row in rows[1:])]
        lines = []
        for line, links in zip(_grid([row[:-1] for row in rows]), carried, strict=True):
            lines += [line, *wrapped(links, MAX_WIDTH, indent="    ")]
    own = robot.joint_names
    lines += [
        f"{joint.name} = {joint.multiplier:g} · {own[joint.follows]} + {joint.offset:g}"
        for joint in robot.moving
        if joint.name not in own
    ]
    return "\n  ".join([title, *lines])
