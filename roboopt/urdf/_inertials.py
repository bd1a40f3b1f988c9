"""The inertials of a URDF, physically inconsistent ones repaired or refused.

A link without `<inertial>` is a massless frame. An inertia is possible if its principal
moments are not negative and none exceeds the sum of the others (the triangle
inequality), that is, if the moments are J_i = p_j + p_k with second moments p ≥ 0. The
nearest possible moments minimize ‖J(p) − J‖ over p ≥ 0. PyBullet sets an impossible
inertia to zero. A link's `<contact><inertia_scaling>`, which is PyBullet's own,
multiplies its inertia as there.
"""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from roboopt.urdf._dynamics import RigidBodies
from roboopt.urdf._elements import number, origin, required, title
from roboopt.urdf._model import Inertial, UrdfModel, composite
from roboopt.urdf._notes import Fault, Notes
from roboopt.urdf._principal_axes import principal_axes

MASSLESS = Inertial(0.0, np.zeros(3), np.zeros((3, 3)))
BULLET_DEFAULT = Inertial(1.0, np.zeros(3), np.eye(3))
ROUNDING, REPAIRABLE = 1e-9, 0.05  # changes of an inertia, relative to its body's
DUST = 1e-12  # relative to the robot's largest moment
SINGULAR, SINGULAR_TRIES = 1e-12, 3  # eigenvalue of M with a diagonal of ones
FROM_SECOND_MOMENTS = np.ones((3, 3)) - np.eye(3)
PRODUCTS = ("ixy", "ixz", "iyz")


class _Found(NamedTuple):
    inertial: Inertial
    """With the nearest possible inertia."""
    moments: np.ndarray
    """The principal moments of the file [kg·m²]."""
    change: float
    """The largest change of a principal moment [kg·m²]."""


def read_inertials(
    model: UrdfModel,
    links: Mapping[str, Element],
    *,
    repair: bool,
    bullet_defaults: bool,
    notes: Notes,
) -> dict[str, Inertial]:
    """Return the inertial of every link that a moving joint carries.

    Args:
        model: the robot, whose inertials are not needed.
        links: each `<link>` by name.
        repair: whether to repair inertias that are far from possible ones.
        bullet_defaults: whether links without `<inertial>` have 1 kg and 1 kg·m².
        notes: repairs are added here.
    """
    default = BULLET_DEFAULT if bullet_defaults else MASSLESS
    found = {
        name: _inertial(links[name], default, notes)
        for name, pose in model.link_poses.items()
        if pose.joint >= 0
    }
    inertials = {name: each.inertial for name, each in found.items()}
    impossible = []
    largest = max(np.abs(each.moments).max() for each in found.values())
    for name, each in found.items():
        scale = max(_body_moment(name, model, inertials), np.abs(each.moments).max())
        if each.change <= max(ROUNDING * scale, DUST * largest):
            continue
        shown = f"{name} {[float(f'{m:.6g}') for m in each.moments]} kg·m²"
        if repair or each.change <= REPAIRABLE * scale:
            kind = "physically inconsistent inertias, replaced by the nearest possible"
            notes.add(kind, shown)
        else:
            impossible.append(f"link {shown}")
    if impossible:
        raise Fault(
            "`inertia` of every moving link must have principal moments that are not "
            "negative and satisfy the triangle inequality (none greater than the sum "
            f"of the other two), got {', '.join(impossible)}. Give `repair=True` to "
            "replace them by the nearest possible ones."
        )
    return inertials


def check_masses(model: UrdfModel) -> None:
    """Refuse coordinates that move no mass, and a singular mass matrix."""
    if not any(_has_inertia(body) for body in model.inertials.values()):
        raise Fault(
            "this URDF describes no masses: an <inertial> must give some link that "
            f"moves a mass, got none for {list(model.inertials)}. "
            "Give `bullet_defaults=True` to take PyBullet's 1 kg and 1 kg·m² for every "
            "link without <inertial>."
        )
    massless: dict[str, list[str]] = {}
    for number_, name in enumerate(model.joint_names):
        joints = np.flatnonzero(model.coupling[0][:, number_])
        links = [x for x in model.inertials if set(model.chain(x)) & set(joints)]
        bodies = [model.inertials[link] for link in links]
        turns = model.revolute[number_] and any(map(_has_inertia, bodies))
        if not turns and not any(body.mass for body in bodies):
            massless[name] = links
    if massless:
        raise Fault(
            "every joint must move a mass, got no mass for any link that these joints "
            f"move, {massless}: lock them by `locked={list(massless)}`, or write an "
            "<inertial>."
        )
    weightless = _singular_joints(model)
    if weightless:
        raise Fault(
            "every joint must move some inertia, got a singular mass matrix at the "
            f"joint(s) {weightless}, such as that of a point mass on a joint's axis: "
            "lock one of them by `locked`, or write an <inertia>."
        )


def _singular_joints(model: UrdfModel) -> list[str]:
    """Return the joints that move alone or against each other without inertia."""
    random, bodies = np.random.default_rng(0), RigidBodies(model)
    worst = np.zeros(0)
    for _ in range(SINGULAR_TRIES):
        q = random.uniform(-1, 1, len(model.joint_names))
        matrix = bodies.mass_matrix(q) + np.diag(model.armature)
        scale = np.sqrt(np.diag(matrix).clip(min=0))
        if (scale <= SINGULAR * scale.max()).any():
            worst = (scale <= SINGULAR * scale.max()).astype(float)
            continue
        values, modes = np.linalg.eigh(matrix / np.outer(scale, scale))
        if values[0] > SINGULAR:
            return []
        worst = np.abs(modes[:, 0])
    pairs = zip(model.joint_names, worst, strict=True)
    return [name for name, share in pairs if share > worst.max() / 2]


def _has_inertia(body: Inertial) -> bool:
    return bool(body.mass or body.inertia.any())


def _body_moment(
    link: str, model: UrdfModel, inertials: Mapping[str, Inertial]
) -> float:
    """Return the largest moment [kg·m²] of the links that move with `link` as one."""
    poses = model.link_poses
    together = [
        inertials[name].to_parent(pose.rotation, pose.offset)
        for name, pose in poses.items()
        if pose.joint == poses[link].joint
    ]
    return float(np.linalg.eigvalsh(composite(together).inertia)[-1])


def _inertial(link: Element, default: Inertial, notes: Notes) -> _Found:
    where = title(link)
    element = link.find("inertial")
    if element is None:
        return _Found(default, np.zeros(3), 0.0)
    required(element, "mass", "value", f"<inertial> of {where}")
    if element.find("inertia") is None:
        raise Fault(
            f"<inertial> of {where} must have an <inertia>, got a <mass> alone: write "
            '`<inertia ixx="0" iyy="0" izz="0" ixy="0" ixz="0" iyz="0"/>` for a point '
            "mass."
        )
    mass = number(element.find("mass"), "value", 0.0, where)
    if mass < 0:
        raise Fault(f"`mass` of {where} must not be negative, got {mass} kg.")
    rotation, center = origin(element, where)
    scaling = number(link.find("contact/inertia_scaling"), "value", 1.0, where)
    if scaling < 0:
        raise Fault(
            f"<inertia_scaling> of {where} must not be negative, got {scaling}."
        )
    moments, axes = principal_axes(scaling * _inertia(element, where, notes))
    possible = nearest_moments(moments)
    inertia = axes @ np.diag(possible) @ axes.T
    inertial = Inertial(mass, center, rotation @ inertia @ rotation.T)
    return _Found(inertial, moments, float(np.abs(possible - moments).max()))


def _inertia(inertial: Element, where: str, notes: Notes) -> np.ndarray:
    for name in ("ixx", "iyy", "izz"):
        required(inertial, "inertia", name, f"<inertial> of {where}")
    element = inertial.find("inertia")
    assert element is not None  # `required` has found it
    missing = [name for name in PRODUCTS if not element.get(name)]
    if missing and len(missing) < len(PRODUCTS):
        kind = "inertias with some products missing, which count as 0"
        notes.add(kind, f"{where} without {', '.join(missing)}")
    names = "ixx", "iyy", "izz", *PRODUCTS
    xx, yy, zz, xy, xz, yz = (number(element, name, 0.0, where) for name in names)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def nearest_moments(moments: np.ndarray) -> np.ndarray:
    """Return the principal moments (3,) [kg·m²] of a body nearest to the given ones."""
    if moments.min() >= 0 and 2 * moments.max() <= moments.sum():
        return moments
    candidates = []
    for free in product((False, True), repeat=3):
        columns = FROM_SECOND_MOMENTS[:, list(free)]
        second = np.linalg.lstsq(columns, moments, rcond=None)[0]
        if (second >= 0).all():
            candidates.append(columns @ second)
    best = min(candidates, key=lambda found: float(np.linalg.norm(found - moments)))
    # Rounding must not break the inequality again, which Bullet would answer with 0.
    largest = int(np.argmax(best))
    best[largest] = min(best[largest], np.delete(best, largest).sum())
    return best
