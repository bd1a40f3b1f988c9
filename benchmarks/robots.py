r"""Every robot of five packages against PyBullet or MuJoCo: is it the same robot?

    pip install --no-deps --target robots example-robot-data rtb-data \
        robosuite dm-control
    python benchmarks/robots.py robots >table.md

reads all their files and those of pybullet_data, one after the other in a process that
may crash, and prints the tables of docs/robots.md; half an hour on two cores. PyBullet
is given each file without its shapes, which have no effect on the dynamics with
URDF_USE_INERTIA_FROM_FILE, and roboopt reads the file by PyBullet's rule for links
without `<inertial>` (`bullet_defaults=True`).

Accelerations are judged by the efforts that they take, since a hand whose mass matrix
is ill-conditioned has accelerations of which no digit is certain: with M, r of the
other program, and a of roboopt, the residual of M a = r is the largest
|M a − r| / (|M| |a| + |r|) of any joint (Oettli and Prager, 1964, Numer. Math. 6).
"""

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import jax
import mujoco as _mujoco
import numpy as np
import pybullet
import pybullet_data

from roboopt import RobooptError, load_urdf
from roboopt.dynamics import Multibody, load_mjcf
from roboopt.urdf import UrdfModel, read_urdf

mujoco: Any = _mujoco  # Its functions are defined in C.
STATES = 50
GRAVITY = 9.81  # m/s²
FRICTION_VELOCITY = 1e-2  # of the smoothed Coulomb friction [rad/s or m/s]
WIDTH = 60  # characters of a cell of the table
TINY = 1e-12  # N·m, N, kg or kg·m²: nothing but rounding
FREE, BALL = 0, 1  # mujoco.mjtJoint
NO_MASS = "this URDF describes no masses"
"""The reader's words for a file that describes shapes and joints alone."""
MENDED = "physically inconsistent inertias"
"""The reader's words for inertias that it mends, and PyBullet sets to zero."""


class Row(NamedTuple):
    """What became of one file."""

    file: str
    joints: int
    """Joints that move, by the other program; 0 if it does not load the file."""
    loaded: bool
    result: str
    """Why the file is refused, or what was mended."""
    differences: tuple[float, ...] = ()
    """Of the mass matrix and the gravity effort, relative, and the residual."""


Equations = Callable[[Any, Any], tuple[Any, Any, Any]]
"""Mass matrix, gravity effort and bias at positions and velocities."""


def compare(robot: Multibody, other: Equations) -> tuple[float, ...]:
    """Return the largest differences and residual at random states."""

    @jax.vmap
    def ours(q, velocity, effort):
        acceleration = robot.forward_dynamics(q, velocity, effort)
        return robot.mass_matrix(q), robot.gravity_effort(q), acceleration

    states = np.random.default_rng(0).normal(size=(3, STATES, len(robot.joint_names)))
    damping, friction = np.asarray(robot.damping), np.asarray(robot.friction)
    found: list[list[float]] = []
    with jax.disable_jit():  # Compilation takes longer, for every robot anew.
        numbers = [np.asarray(x) for x in ours(*states)]
    for matrix, gravity, acceleration, *state in zip(*numbers, *states, strict=True):
        q, velocity, effort = state
        expected, weight, bias = other(q, velocity)
        losses = damping * velocity + friction * np.tanh(velocity / FRICTION_VELOCITY)
        right = effort - bias - losses
        terms = np.abs(expected) @ np.abs(acceleration) + np.abs(right)
        residual = np.abs(expected @ acceleration - right) / np.maximum(terms, TINY)
        differences = relative(matrix, expected), relative(gravity, weight)
        found.append([*differences, residual.max()])
    return tuple(np.max(found, axis=0).tolist())


def relative(ours: Any, theirs: Any) -> float:
    """Return the largest difference over the largest number; 0 if all are tiny."""
    scale = np.abs(theirs).max()
    # A cart has no gravity effort, and rounding leaves 1e-16 of it.
    return float(np.abs(ours - theirs).max() / scale) if scale > TINY else 0.0


def plain(path: Path) -> bytes:
    """Return a URDF as the file has it, xacro expanded, without its shapes.

    The base loses its inertial frame, too: `calculateInverseDynamics` takes gravity in
    this frame, as the simulation does not.
    """
    if path.suffix == ".xacro":
        root = read_urdf(path, bullet_defaults=True).element
    else:
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError:
            return path.read_bytes()
    children = {child.get("link") for child in root.iter("child")}
    for link in root.iter("link"):
        inertial = link.find("inertial")
        origin = None if inertial is None else inertial.find("origin")
        if inertial is not None and origin is not None:
            if link.get("name") not in children:
                inertial.remove(origin)
        for tag in ("visual", "collision"):
            for shape in link.findall(tag):
                link.remove(shape)
    return ElementTree.tostring(root)


def bullet_body(data: bytes) -> int | None:
    """Load a URDF in a fresh world; None if PyBullet does not."""
    pybullet.resetSimulation()
    pybullet.setGravity(0, 0, -GRAVITY)
    with tempfile.NamedTemporaryFile(suffix=".urdf") as file:
        file.write(data)
        file.flush()
        flags = pybullet.URDF_USE_INERTIA_FROM_FILE
        try:
            return pybullet.loadURDF(file.name, useFixedBase=True, flags=flags)
        except pybullet.error:
            return None


def bullet_equations(body: int, model: UrdfModel) -> Equations:
    """Return PyBullet's equations in the coordinates of a model."""
    coupling, offset = model.coupling
    zero = np.zeros(len(offset)).tolist()

    def equations(q: Any, velocity: Any) -> tuple[Any, Any, Any]:
        at = (coupling @ q + offset).tolist()
        matrix = np.array(pybullet.calculateMassMatrix(body, at))
        weight = pybullet.calculateInverseDynamics(body, at, zero, zero)
        rates = (coupling @ velocity).tolist()
        bias = pybullet.calculateInverseDynamics(body, at, rates, zero)
        return (
            coupling.T @ matrix @ coupling,
            coupling.T @ np.array(weight),
            coupling.T @ np.array(bias),
        )

    return equations


def urdf_row(path: Path, name: str) -> Row | None:
    """Return the row of a URDF or xacro file; None for what has no joint that moves."""
    if not pybullet.isConnected():
        pybullet.connect(pybullet.DIRECT)
        jax.config.update("jax_enable_x64", True)
    joints, body = 0, None
    try:
        body = bullet_body(plain(path))
    except RobooptError as error:  # a xacro file that is no robot
        if re.search("at least one <link>|moves, got", str(error)):
            return None
    if body is not None:
        kinds = [
            pybullet.getJointInfo(body, joint)[2]
            for joint in range(pybullet.getNumJoints(body))
        ]
        joints = sum(kind != pybullet.JOINT_FIXED for kind in kinds)
        if not joints:
            return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read_urdf(path)
        except RobooptError as error:
            return Row(name, joints, False, reason(error, path))
    said = "; ".join(reason(each.message, path) for each in caught)
    if body is None:
        return Row(name, joints, True, said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = read_urdf(path, bullet_defaults=True)
        robot = load_urdf(
            path, bullet_defaults=True, linear_damping=0.0, angular_damping=0.0
        )
    try:
        differences = compare(robot, bullet_equations(body, model))
    except SystemError:
        said = f"PyBullet cannot compute its mass matrix or bias; {said}"
        return Row(name, joints, True, said.removesuffix("; "))
    return Row(name, joints, True, said, differences)


def mujoco_equations(model: Any, robot: Multibody) -> Equations:
    """Return MuJoCo's equations in a robot's joints, without what it leaves out."""
    zeroed = "jnt_stiffness body_gravcomp tendon_stiffness tendon_damping"
    for name in (*zeroed.split(), "tendon_armature", "dof_damping", "actuator_damping"):
        if hasattr(model, name):
            getattr(model, name)[:] = 0
    model.opt.density = model.opt.viscosity = 0
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
    data = mujoco.MjData(model)
    names = [model.joint(j).name or f"joint {j}" for j in range(model.njnt)]
    moving = robot.moving or [
        (name, None, k, 1.0, 0.0) for k, name in enumerate(robot.joint_names)
    ]
    numbers = [names.index(joint[0]) for joint in moving]
    coupling, offset = robot.coupling, np.array([joint[4] for joint in moving])
    places, dofs = model.jnt_qposadr[numbers], model.jnt_dofadr[numbers]
    held = [j for j in range(model.njnt) if j not in numbers]
    scalar = [j for j in held if model.jnt_type[j] not in (FREE, BALL)]

    def equations(q: Any, velocity: Any) -> tuple[Any, Any, Any]:
        data.qpos[:], data.qvel[:], data.qacc[:] = model.qpos0, 0, 0
        data.qpos[places] = coupling @ q + offset
        mujoco.mj_inverse(model, data)
        weight = coupling.T @ data.qfrc_inverse[dofs]
        full = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, full)
        matrix = coupling.T @ full[np.ix_(dofs, dofs)] @ coupling
        data.qvel[dofs] = coupling @ velocity
        mujoco.mj_inverse(model, data)
        return matrix, weight, coupling.T @ data.qfrc_inverse[dofs]

    if scalar:  # held by an equality constraint, not at its reference
        raise RobooptError(f"joints {[names[j] for j in scalar]} are held.")
    return equations


def mjcf_row(path: Path, name: str) -> Row | None:
    """Return the row of an MJCF file; None for what has no joint that moves."""
    jax.config.update("jax_enable_x64", True)
    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        return None if "Schema" in str(error) else Row(name, 0, False, reason(error))
    if not model.njnt:
        return None
    loose = [j for j in range(model.njnt) if model.jnt_type[j] in (FREE, BALL)]
    locked = [model.joint(j).name or f"joint {j}" for j in loose]
    joints = model.njnt - len(loose)
    if not joints:
        return Row(name, 0, False, "only free and ball joints")
    said = [f"with {', '.join(locked)} locked"] if locked else []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            robot = load_mjcf(path, locked=locked)
        except RobooptError as error:
            return Row(name, joints, False, reason(error))
    said += [reason(each.message) for each in caught]
    differences = compare(robot, mujoco_equations(model, robot))
    return Row(name, joints, True, "; ".join(said), differences)


SHORT = {
    r"this URDF describes no masses.*": NO_MASS,
    r"`type` of joint '([^']*)' .*got '([^']*)'.*": r"joint \1 is \2",
    r"`inertia` of every moving link .*": f"{MENDED}",
    r"every joint must move a mass,.*?\{'([^']*)'.*": r"no mass behind joint \1",
    r"`joint` of <mimic> in joint '([^']*)' .*": r"<mimic> of \1 names no joint",
    r"`\w+` of <(\w+)> in (?:joint|link) '([^']*)' must be .*got '(.*?)'.*": (
        r"<\1> of \2 has '\3'"
    ),
    r"a joint must follow one other joint at most.*by which '([^']*)'.*": (
        r"joint \1 follows two others"
    ),
    r"a Multibody has no place for .*?, which are (left out: .*)": r"\1",
    r"( of (?:joints|tendons)| no single joint) [^;]*": r"\1",
}
"""Patterns of messages, and what the table says instead."""


def reason(error: Any, path: Path | None = None) -> str:
    """Return an error or a warning in few words, without path and names."""
    said = " ".join(str(error).split()).removeprefix("`path`: ").replace("|", "/")
    said = said.partition(" The file also has ")[0]
    if path is not None:
        said = said.replace(str(path), "").strip().removeprefix("has ")
    notes = re.findall(r"(?:^|; )([^;,(]*)[^;]*? \((\d+)\): ", said)
    if notes:
        return "; ".join(f"{count} {kind.strip()}" for kind, count in notes)
    for pattern, words in SHORT.items():
        said = re.sub(pattern, words, said)
    return said if len(said) <= WIDTH else f"{said[: WIDTH - 1]}…"


def files(site: Path) -> Iterator[tuple[str, list[Path], Any]]:
    """Yield each package's name, its files, and the function that makes a row."""
    bullet = Path(pybullet_data.getDataPath())
    data = sorted(bullet.rglob("*.urdf"))
    yield "pybullet_data", [f for f in data if "random_urdfs" not in f.parts], urdf_row
    robots = site / "cmeel.prefix" / "share" / "example-robot-data" / "robots"
    yield "example-robot-data", sorted(robots.rglob("*.urdf")), urdf_row
    data = site / "rtbdata"
    kinds = sorted([*data.rglob("*.urdf"), *data.rglob("*.xacro")])
    yield "rtb-data", [f for f in kinds if "macro" not in f.name], urdf_row
    assets = site / "robosuite" / "models" / "assets"
    yield "robosuite", sorted(assets.rglob("*.xml")), mjcf_row
    yield "dm-control", sorted((site / "dm_control").rglob("*.xml")), mjcf_row


def quiet() -> None:
    """Drop what PyBullet prints about each link."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def rows_of(paths: list[Path], make: Any) -> Iterator[Row]:
    """Yield the rows of files, each made in a process that may crash."""
    pool = None
    for path in paths:
        if path.name == "package.xml":
            continue
        pool = pool or ProcessPoolExecutor(1, get_context("spawn"), initializer=quiet)
        name = f"{path.parent.name}/{path.name}"
        print(name, file=sys.stderr, flush=True)
        try:
            row = pool.submit(make, path, name).result()
        except BrokenProcessPool:
            row, pool = Row(name, 0, False, "the other program crashes"), None
        if row is not None:
            yield row
    if pool is not None:
        pool.shutdown()


def table(package: str, rows: list[Row]) -> str:
    """Return a package's rows as Markdown, and their count."""
    other = "MuJoCo" if package in ("robosuite", "dm-control") else "PyBullet"
    theirs = [row for row in rows if row.joints]
    massless = [row for row in theirs if NO_MASS in row.result]
    ours = [row for row in theirs if row.loaded]
    mended = [row for row in theirs if row.loaded and MENDED in row.result]
    same = [row.differences for row in theirs if row.differences and row not in mended]
    worst = np.nanmax(same, axis=0)
    bare = f", and {len(massless)} describe no masses" if massless else ""
    aside = f", {len(mended)} that the two read differently aside" if mended else ""
    lines = [
        f"### {package}",
        "",
        f"{other} loads {len(theirs)} files with joints that move; roboopt loads "
        f"{len(ours)} of them{bare}. Largest "
        f"difference{aside}: mass matrix {worst[0]:.0e}, gravity {worst[1]:.0e}, "
        f"residual {worst[2]:.0e}.",
        "",
        "| file | joints | | mass matrix | gravity | residual | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if not (row.joints or row.loaded):
            continue
        found = row.differences or [np.nan] * 3
        numbers = ["—" if np.isnan(x) else f"{x:.0e}" for x in found]
        mark = "loads" if row.loaded else "refused"
        said = re.sub(r"<\w+>", r"`\g<0>`", row.result)  # Markdown drops elements.
        cells = row.file, str(row.joints or "—"), mark, *numbers, said
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    for package, paths, make in files(Path(sys.argv[1])):
        if package in sys.argv[2:] or not sys.argv[2:]:
            print(table(package, list(rows_of(paths, make))), flush=True)
