"""Springs at joints that nothing drives, which no URDF holds."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._fitter import effort_windows
from roboopt.sysid._springs import SPRING
from roboopt.sysid._suspicions import suspicion_sentence, suspicions

STEP = 0.004  # s
SUBSTEPS = 4
NOISE = 1e-5  # rad or m
FREE = ("mass", "center_of_mass", "extent", "shear", "damping", "friction")
SLOW = pytest.mark.slow
LINK = """<link name="{0}"><inertial><origin xyz="{1}"/><mass value="{2}"/>
<inertia ixx="{3}" iyy="{3}" izz="{3}" ixy="0" ixz="0" iyz="0"/></inertial></link>"""
JOINT = """<joint name="{0}" type="{1}"><parent link="{2}"/><child link="{3}"/>
<origin xyz="{4}"/><axis xyz="{5}"/>
<limit lower="-9" upper="9" effort="9" velocity="9"/></joint>"""
ROBOTS = {
    # A tail whose tip bends about a vertical axis.
    "tail": (
        LINK.format("root", "0.1 0 0", 0.9, 0.0038),
        LINK.format("tip", "0.11 0 0", 0.35, 0.0018),
        JOINT.format("yaw", "revolute", "base", "root", "0 0 0.3", "0 0 1"),
        JOINT.format("bend", "revolute", "root", "tip", "0.22 0 0", "0 0 1"),
    ),
    # A pendulum at a pendulum, which gravity pulls back as a spring does.
    "pendubot": (
        LINK.format("upper", "0 0 -0.2", 1.2, 0.02),
        LINK.format("lower", "0 0 -0.18", 0.6, 0.009),
        JOINT.format("shoulder", "revolute", "base", "upper", "0 0 0", "0 -1 0"),
        JOINT.format("elbow", "revolute", "upper", "lower", "0 0 -0.4", "0 -1 0"),
    ),
    # A mass on a cart.
    "carts": (
        LINK.format("cart", "0 0 0", 2.0, 0.01),
        LINK.format("bob", "0 0 0", 1.0, 0.01),
        JOINT.format("rail", "prismatic", "base", "cart", "0 0 0", "1 0 0"),
        JOINT.format("slide", "prismatic", "cart", "bob", "0 0 0", "1 0 0"),
    ),
}


def robot(folder, name):
    path = folder / f"{name}.urdf"
    path.write_text(f'<robot name="{name}"><link name="base"/>{"".join(ROBOTS[name])}')
    path.write_text(f"{path.read_text()}</robot>")
    return ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)


def recording(true, stiffness, rest, seconds=16.0):
    """Return a motion whose second joint has a spring, and some friction."""
    random, size = np.random.default_rng(1), float(true.masses.sum())
    twin = ro.Twin(true, STEP / SUBSTEPS, actuated=(0, 1))
    rates, phases = 2 * np.pi * np.array([0.3, 0.7, 1.3]), random.uniform(0, 6, 3)

    def step(state, time):
        sines = jnp.sin(rates * time + phases).sum()
        effort = size * (0.3 * sines - 0.5 * state[0] - 0.1 * state[2])
        for _ in range(SUBSTEPS):
            pulled = stiffness * (rest - state[1]) - 0.01 * state[3]
            state = twin(state, jnp.array([effort, pulled]))
        return state, (state, effort)

    start = jnp.array([0.0, rest, 0.0, 0.0])
    _, (states, efforts) = jax.lax.scan(step, start, STEP * np.arange(seconds // STEP))
    q = np.asarray(states)[:, :2]
    q = q + NOISE * random.normal(size=q.shape)
    observations = np.hstack([q, np.gradient(q, STEP, axis=0)])
    # The effort after a state makes the next one.
    return ro.Trajectory(observations, np.asarray(efforts)[1:, None], STEP)


def suspected(given, run):
    model = ParametricTwin(ro.Twin(given, STEP, actuated=(0,)), FREE)
    error = InverseDynamicsError(scale=np.ones(2), central=True)
    smooth = [ro.data.smooth(run, 10.0)]
    return suspicions(error, model, effort_windows(smooth), passive=[1])


@pytest.mark.parametrize(
    "name, stiffness, rest, joint",
    [
        ("tail", 1.3, -0.1, "bend"),
        pytest.param("pendubot", 1.0, 0.3, "elbow", marks=SLOW),
        pytest.param("carts", 40.0, 0.05, "slide", marks=SLOW),
    ],
)
def test_a_spring_is_named_with_its_rest(tmp_path, name, stiffness, rest, joint):
    true = robot(tmp_path, name)
    change = np.array([1.25, 0.9])
    known = eqx.tree_at(lambda r: r.masses, true, true.masses * change)
    (found,) = suspected(known, recording(true, stiffness, rest))
    told = re.search(rf"about ([\d.]+) N.*/\w+ at {joint}, at rest at ([\d.-]+)", found)
    assert told is not None
    # Its size is as well known as the masses.
    assert float(told[1]) == pytest.approx(stiffness, rel=0.25)
    assert float(told[2]) == pytest.approx(rest, abs=0.02)
    assert suspicion_sentence((found,)) == f"{found}."
    assert "better with gravity: check" in suspicion_sentence(("gravity", found))


@pytest.mark.parametrize(
    "name", ["pendubot", *(pytest.param(x, marks=SLOW) for x in ("tail", "carts"))]
)
def test_no_spring_is_named_where_there_is_none(tmp_path, name):
    true = robot(tmp_path, name)
    assert suspected(true, recording(true, 0.0, 0.0)) == ()


def test_gravity_that_is_tilted_is_no_spring(tmp_path):
    true = robot(tmp_path, "pendubot")
    tilted = 9.81 * jnp.array([np.sin(0.3), 0.0, -np.cos(0.3)])
    leaning = eqx.tree_at(lambda r: r.gravity, true, tilted)
    assert suspected(true, recording(leaning, 0.0, 0.0)) == ()


def test_springs_are_told_before_the_fit(tmp_path):
    true = robot(tmp_path, "tail")
    with pytest.raises(UserWarning, match="pring of about .* at bend"):
        ro.identify(true, recording(true, 1.3, 0.0), actuated=["yaw"])
    assert SPRING.startswith("a spring")
