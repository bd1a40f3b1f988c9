from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import ROBOTS, write_random_robot
from derivatives import assert_derivatives
from hand_robots import joint, link, write, write_pendulum, write_slider

from roboopt import Rollout, Twin, load_urdf
from roboopt.dynamics import ParametricTwin, PositionMotors
from roboopt.dynamics import _log_cholesky as cholesky

CASES = Path(__file__).parents[1] / "cases" / "urdf"
TIME_STEP = 0.1
STATE, ACTION = jnp.array([0.3, 0.8]), jnp.array([1.2])


def pendulum_twin(tmp_path, **settings):
    path = write_pendulum(tmp_path / "pendulum.urdf")
    robot = load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    return Twin(robot, TIME_STEP, **settings)


@pytest.fixture
def pendulum(tmp_path):
    return pendulum_twin(tmp_path)


@pytest.fixture(scope="module")
def two_link():
    return Twin(load_urdf(ROBOTS["two_link"]), TIME_STEP)


step = eqx.filter_jit(lambda model, state, action: model(state, action))
robot_of = eqx.filter_jit(lambda model: model.robot)
inverse_dynamics = eqx.filter_jit(lambda model, *at: model.inverse_dynamics(*at))


def at(model, **values):
    """Return `model` with the coordinates of these names."""
    coordinates = np.array(model.coordinates)
    for name, value in values.items():
        found = [i for i, full in enumerate(model.names) if full.startswith(name)]
        assert found, name
        coordinates[found] = value
    return eqx.tree_at(lambda m: m.coordinates, model, jnp.asarray(coordinates))


def test_one_step_by_hand(pendulum):
    # With 4 kg for 2 the inertia scales too: 2·(0.1 + 2·0.5²) = 1.2 kg·m². At q = 0,
    # q̇ = 2, u = 1.2, gain 2 and offset 0.6, d = 0.5, Coulomb friction of 0.4, rotor
    # 0.3: q̈ = (2·1.2 + 0.6 − 0.5·2 − 0.4 + 4·9.81·0.5)/(1.2 + 0.3) = 21.22/1.5.
    free = ("mass", "damping", "friction", "armature", "effort_*")
    model = at(
        ParametricTwin(pendulum, free),
        mass=np.log(4.0),
        damping=0.5,
        friction=0.4,
        armature=0.3,
        effort_gain=2.0,
        effort_offset=0.6,
    )
    after = step(model, jnp.array([0.0, 2.0]), jnp.array([1.2]))
    speed = 2.0 + 0.1 * 21.22 / 1.5
    np.testing.assert_allclose(after, [0.1 * speed, speed], rtol=1e-13)
    # The effort asked for at that acceleration is the 1.2 N·m commanded.
    asked = inverse_dynamics(
        model, jnp.zeros(1), jnp.array([2.0]), jnp.array([21.22 / 1.5])
    )
    np.testing.assert_allclose(asked, [1.2], rtol=1e-12)
    np.testing.assert_allclose(model.effort(jnp.array([1.2])), [3.0])


def test_the_velocity_scale_of_friction_is_a_parameter_of_each_joint(pendulum):
    # Friction 3 tanh(0.1/0.05) slows 0.6 kg·m² at q = π/2, where gravity does nothing.
    model = ParametricTwin(pendulum, ("friction", "friction_velocity"))
    assert model.names == ("friction[hinge]", "friction_velocity[hinge]")
    assert model.units == ("N·m", "rad/s")
    np.testing.assert_allclose(model.values(), [0.0, 0.01], rtol=1e-14)
    model = at(model, friction=3.0, friction_velocity=np.log(0.05))
    after = step(model, jnp.array([np.pi / 2, 0.1]), jnp.zeros(1))
    change = -0.1 * 3 * np.tanh(2.0) / 0.6
    np.testing.assert_allclose(after[1], 0.1 + change, rtol=1e-13)


def test_it_has_the_sizes_of_its_twin(two_link):
    model = ParametricTwin(Twin(two_link.robot, 0.1, actuated=(1,)), ("mass",))
    assert (model.joints, model.action_size, model.actuated) == (2, 1, (1,))
    assert model.time_step == 0.1
    limited = Twin(two_link.robot, 0.1, effort_limits=3.0)
    np.testing.assert_array_equal(
        ParametricTwin(limited, ("mass",)).clip(jnp.array([5.0, -5.0])), [3.0, -3.0]
    )


def test_positions_are_measured_off_by_their_offset(pendulum):
    # A robot at q = 0 reads 0.2, and so it does a step later.
    model = at(ParametricTwin(pendulum, "position_offset"), position_offset=0.2)
    shift = jnp.array([0.2, 0.0])
    np.testing.assert_allclose(
        step(model, STATE + shift, ACTION),
        step(pendulum, STATE, ACTION) + shift,
        rtol=1e-13,
    )
    asked = inverse_dynamics(model, jnp.array([0.2]), jnp.zeros(1), jnp.zeros(1))
    # What holds the weight at q = 0 is −2·9.81·0.5 N·m.
    np.testing.assert_allclose(asked, [-9.81], rtol=1e-14)


def test_gravity_may_be_tilted(pendulum):
    # Without gravity along z, and 3 m/s² along x at q = −π/2, where the arm stands up:
    # the torque about y is z·F_x = 0.5·(2·3) = 3 N·m, over 0.6 kg·m² 5 rad/s².
    model = at(ParametricTwin(pendulum, "gravity"), **{"gravity.z": 0.0})
    model = at(model, **{"gravity.x": 3.0})
    after = step(model, jnp.array([-np.pi / 2, 0.0]), jnp.zeros(1))
    np.testing.assert_allclose(after[1], 0.1 * 5.0, rtol=1e-13)


def test_the_start_is_the_twin_itself(two_link):
    model = ParametricTwin(two_link, ("*",))
    state, action = jnp.array([0.3, -0.4, 0.5, 0.6]), jnp.array([0.7, -0.8])
    np.testing.assert_allclose(
        step(model, state, action), step(two_link, state, action), rtol=1e-12
    )


@pytest.mark.parametrize("name", ["two_link", "iiwa"])
def test_the_start_is_the_robot_itself(name):
    twin = Twin(load_urdf(ROBOTS[name]), 1 / 240)
    both = twin.robot, robot_of(ParametricTwin(twin, ("*",)))
    for field in ("masses", "centers_of_mass", "inertias"):
        before, after = (np.asarray(getattr(robot, field)) for robot in both)
        np.testing.assert_allclose(
            after, before, rtol=1e-12, atol=1e-14 * np.abs(before).max()
        )


def test_what_is_not_free_is_bit_for_bit_the_same(two_link):
    model = at(ParametricTwin(two_link, ("damping[*]",)), damping=0.7)
    given, fitted = two_link.robot, model.robot
    for field in given.__dataclass_fields__:
        before, after = getattr(given, field), getattr(fitted, field)
        if field == "damping":
            np.testing.assert_array_equal(after, 0.7)
        else:
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


def test_only_the_body_that_is_free_changes(two_link):
    names = two_link.robot.body_names
    model = at(
        ParametricTwin(two_link, (f"mass[{names[-1]}]", f"*[{names[-1]}]")),
        mass=0.3,
        extent=-1.0,
    )
    for field in ("masses", "centers_of_mass", "inertias"):
        before, after = (
            np.asarray(getattr(r, field)) for r in (two_link.robot, model.robot)
        )
        np.testing.assert_array_equal(after[:-1], before[:-1])
    assert model.robot.masses[-1] == pytest.approx(np.exp(0.3), rel=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_every_coordinate_is_a_possible_robot(seed, tmp_path):
    robot = load_urdf(write_random_robot(tmp_path / "robot.urdf", seed))
    model = ParametricTwin(Twin(robot, TIME_STEP), ("mass", "extent", "shear"))
    rng = np.random.default_rng(seed)
    moved = model.coordinates + jnp.asarray(rng.normal(size=len(model.names)))
    fitted = robot_of(eqx.tree_at(lambda m: m.coordinates, model, moved))
    for index in model.massive:
        assert fitted.masses[index] > 0
        moments = np.linalg.eigvalsh(np.asarray(fitted.inertias[index]))
        assert moments[0] > 0
        assert moments[0] + moments[1] > moments[2]


FLAT = {"rod": (0.0, 0.3, 0.3), "plate": (0.1, 0.2, 0.3)}


@pytest.mark.parametrize("shape", FLAT)
def test_a_flat_body_keeps_its_inertia_and_scales_with_its_mass(shape, tmp_path):
    xx, yy, zz = FLAT[shape]
    body = f"""<link name="arm"><inertial><mass value="2"/>
        <inertia ixx="{xx}" iyy="{yy}" izz="{zz}"/></inertial></link>"""
    path = write(
        tmp_path / "flat.urdf",
        link("base"),
        body,
        joint("hinge", "base", "arm", axis="0 0 1"),
    )
    robot = load_urdf(path)
    model = ParametricTwin(Twin(robot, TIME_STEP), ("mass[arm]", "*[arm]"))
    known = np.asarray(robot.inertias[-1])
    np.testing.assert_allclose(known, np.diag([xx, yy, zz]), atol=1e-15)
    np.testing.assert_allclose(model.robot.inertias[-1], known, rtol=0, atol=1e-15)
    heavier = at(model, mass=np.log(6.0))
    np.testing.assert_allclose(
        heavier.robot.inertias[-1], 3 * known, rtol=0, atol=1e-15
    )
    # Without its extents free a mass does the same, rounding apart.
    alone = at(ParametricTwin(Twin(robot, TIME_STEP), "mass"), mass=np.log(6.0))
    np.testing.assert_allclose(alone.robot.inertias[-1], 3 * known, atol=1e-15)


def test_extents_and_centers_by_hand(pendulum):
    # 2 kg and 0.1 kg·m² about each axis are extents of √(0.05/2) m. Twice as long in x
    # Σ_xx is 0.2, so I_yy = I_zz = 0.25; about the joint it is I_yy + 2·0.4² at 0.4 m.
    model = ParametricTwin(pendulum, ("center_of_mass.x", "extent"))
    index = model.names.index("extent.x[arm]")
    np.testing.assert_allclose(model.values()[index], np.sqrt(0.025), rtol=1e-14)
    model = at(
        model,
        **{
            "extent.x": np.log(2 * np.sqrt(0.025)),
            "center_of_mass.x": 0.4,
        },
    )
    np.testing.assert_allclose(
        model.robot.inertias[-1], np.diag([0.1, 0.25, 0.25]), atol=1e-15
    )
    np.testing.assert_allclose(
        jax.jit(model.robot.mass_matrix)(jnp.zeros(1)), [[0.25 + 2 * 0.16]], rtol=1e-14
    )


def test_names_units_values_bounds_and_spans(tmp_path):
    path = write_slider(tmp_path / "slider.urdf")
    twin = Twin(load_urdf(path), TIME_STEP)
    free = ("mass", "center_of_mass.x", "damping", "friction", "armature", "*lag*")
    model = ParametricTwin(twin, free)
    assert dict(zip(model.names, model.units, strict=True)) == {
        "mass[block]": "kg",
        "center_of_mass.x[block]": "m",
        "damping[rail]": "N·s/m",
        "friction[rail]": "N",
        "armature[rail]": "kg",
        "lag[rail]": "s",
    }
    np.testing.assert_allclose(model.values(), [2.0, 0, 0, 0, 0, 0], rtol=1e-15)
    np.testing.assert_array_equal(model.lower(), [-np.inf, -np.inf, 0, 0, 0, 0])
    # The block of 2 kg and 0.1 kg·m² has an extent of √(½ · 0.3/2) m in all; 1 m/s²
    # takes 2 N.
    np.testing.assert_allclose(
        model.spans(), [1.0, np.sqrt(0.075), 2.0, 2.0, 2.0, 0.1], rtol=1e-12
    )
    available = ParametricTwin.available(twin)
    assert available.items() >= dict(zip(model.names, model.units, strict=True)).items()
    assert available["position_offset[rail]"] == "m"
    assert available["effort_gain[rail]"] == "1"
    assert available["effort_offset[rail]"] == "N"
    assert available["delay[rail]"] == "s"
    assert available["gravity.z"] == "m/s²"


def test_spans_of_the_other_quantities(pendulum):
    names = ("effort_gain", "effort_offset", "position_offset", "delay", "gravity.z")
    spans = ParametricTwin(pendulum, names).spans()
    # In the names' order: offset of the position, gain, offset, delay, gravity.
    np.testing.assert_allclose(spans, [0.1, 1.0, 0.6, 0.1, 1.0], rtol=1e-12)


@pytest.mark.parametrize(
    "pattern, count",
    [
        ("damping[joint1]", 1),
        ("damping[joint?]", 2),
        ("center_of_mass", 6),
        ("center_of_mass.*", 6),
        ("center_of_mass.z", 2),
        ("*[link1]", 10),
        ("gravity", 3),
        ("friction", 2),
    ],
)
def test_patterns(pattern, count, tmp_path):
    path = write(
        tmp_path / "chain.urdf",
        '<link name="base"/>',
        link("link1"),
        link("link2"),
        joint("joint1", "base", "link1"),
        joint("joint2", "link1", "link2", origin="1 0 0"),
    )
    model = ParametricTwin(Twin(load_urdf(path), TIME_STEP), (pattern,))
    assert len(model.names) == model.coordinates.size == count


def test_tied_parameters_are_one(two_link):
    masses = [n for n in ParametricTwin.available(two_link) if n.startswith("mass")]
    first, last = masses[0], masses[-1]
    model = ParametricTwin(two_link, ("mass", "damping"), ties=[(last, first)])
    joined = f"{first} = {last}"
    assert model.names[0] == joined and len(model.names) == len(masses) - 1 + 2
    before = np.asarray(two_link.robot.masses)[np.array(model.massive)]
    np.testing.assert_allclose(model.values()[0], before[0], rtol=1e-15)
    # A factor of 1.5 for masses …
    heavier = at(model, **{joined: np.log(1.5 * before[0])})
    after = np.asarray(heavier.robot.masses)[np.array(model.massive)]
    factor = np.ones(len(masses))
    factor[[0, -1]] = 1.5
    np.testing.assert_allclose(after, factor * before, rtol=1e-13)


def test_a_tie_adds_to_each_start(two_link):
    # … and the same added to each damping.
    robot = eqx.tree_at(lambda r: r.damping, two_link.robot, jnp.array([0.1, 0.4]))
    twin = Twin(robot, TIME_STEP)
    names = [f"damping[{name}]" for name in robot.joint_names]
    model = ParametricTwin(twin, "damping", ties=[names])
    moved = at(model, damping=0.3)
    np.testing.assert_allclose(moved.robot.damping, [0.3, 0.6], rtol=1e-14)


def test_gradient_matches_finite_differences(two_link):
    free = ("mass", "center_of_mass", "extent", "shear", "damping", "effort_*")
    model = ParametricTwin(two_link, (*free, "position_offset", "gravity"))
    rng = np.random.default_rng(1)
    size = len(model.names)
    moved = model.coordinates + jnp.asarray(0.1 * rng.normal(size=size))
    state, action = jnp.array([0.3, -0.4, 0.5, 0.6]), jnp.array([0.7, -0.8])

    def after(coordinates):
        return eqx.tree_at(lambda m: m.coordinates, model, coordinates)(state, action)

    assert_derivatives(after, (moved,))


def test_dynamics_and_inverse_dynamics_agree(two_link):
    free = ("mass", "damping", "friction", "armature", "effort_*", "position_offset")
    model = ParametricTwin(two_link, free)
    rng = np.random.default_rng(2)
    size = len(model.names)
    moved = model.coordinates + jnp.asarray(rng.uniform(0, 0.2, size))
    model = eqx.tree_at(lambda m: m.coordinates, model, moved)
    state, action = jnp.array([0.3, -0.4, 0.5, 0.6]), jnp.array([0.7, -0.8])
    after = step(model, state, action)
    acceleration = (after[2:] - state[2:]) / TIME_STEP
    asked = inverse_dynamics(model, state[:2], state[2:], acceleration)
    np.testing.assert_allclose(asked, action, rtol=1e-11)
    np.testing.assert_allclose(model.twin.robot.masses, model.robot.masses)


def test_a_delay_is_straight_between_samples(pendulum):
    # A step and a half late: u(k − 1.5), held at the first sample before it.
    actions = jnp.array([[1.0], [3.0], [2.0], [6.0]])
    model = at(ParametricTwin(pendulum, "delay"), delay=1.5 * TIME_STEP)
    np.testing.assert_allclose(
        model.commanded(actions, TIME_STEP)[:, 0], [1.0, 1.0, 2.0, 2.5], rtol=1e-13
    )
    # At twice the sampling rate the same delay is three samples.
    np.testing.assert_allclose(
        model.commanded(actions, TIME_STEP / 2)[:, 0], [1.0, 1.0, 1.0, 1.0], rtol=1e-13
    )


def test_a_lag_follows_a_step_exponentially(pendulum):
    # T = Δt/ln 2 halves the gap every step. From 0 to 4 at k = 1, where y is 0, 2, 3 at
    # the samples: its mean over a step is 4 − (4 − y) (T/Δt)/2.
    actions = jnp.array([[0.0], [4.0], [4.0], [4.0]])
    model = at(ParametricTwin(pendulum, "lag"), lag=TIME_STEP / np.log(2))
    half = 0.5 / np.log(2)
    np.testing.assert_allclose(
        model.commanded(actions, TIME_STEP)[:, 0],
        [0.0, 4 - 4 * half, 4 - 2 * half, 4 - half],
        rtol=1e-13,
    )


def test_no_delay_and_no_lag_change_nothing(pendulum):
    actions = jnp.array([[1.0], [3.0], [2.0]])
    for free in ("mass", ("lag", "delay")):
        model = ParametricTwin(pendulum, free)
        np.testing.assert_array_equal(model.commanded(actions, TIME_STEP), actions)
    np.testing.assert_array_equal(model.commanded(actions[:1], TIME_STEP), actions[:1])


@pytest.mark.parametrize("name", ["lag", "delay"])
def test_a_time_of_0_has_the_derivative_of_a_longer_one(name, pendulum):
    # Short against a step Δt, either makes a mean over it u_k − (u_k − u_{k−1}) T/Δt.
    actions = jnp.array([[1.0], [3.0], [2.0], [6.0]])
    model = ParametricTwin(pendulum, name)

    @jax.jit
    def passed(time):
        moved = eqx.tree_at(lambda m: m.coordinates, model, time[None])
        return moved.commanded(actions, TIME_STEP)[:, 0]

    slope = jax.jit(jax.jacfwd(passed))(jnp.zeros(()))
    np.testing.assert_allclose(slope, [0.0, -20.0, 10.0, -40.0], rtol=1e-12)
    ahead = (passed(jnp.array(1e-7)) - passed(jnp.array(0.0))) / 1e-7
    np.testing.assert_allclose(ahead, slope, rtol=1e-5, atol=1e-7)


def test_the_coordinates_are_all_that_is_trained(pendulum):
    model = ParametricTwin(pendulum, ("mass", "damping"))
    loss = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum(m(STATE, ACTION))))
    grad = loss(model)
    assert np.all(np.asarray(grad.coordinates) != 0)
    others = eqx.tree_at(lambda m: m.coordinates, grad, jnp.zeros(2))
    assert all(np.all(np.asarray(x) == 0) for x in jax.tree.leaves(others))


def test_bodies_without_mass_have_no_parameters(tmp_path):
    path = write(
        tmp_path / "arm.urdf",
        '<link name="base"/>',
        link("arm"),
        link("flange", mass=0.0, inertia=0.0),
        joint("hinge", "base", "arm"),
        joint("bolt", "arm", "flange", kind="fixed"),
    )
    robot = load_urdf(path)
    assert "flange" in robot.link_names
    names = ParametricTwin.available(Twin(robot, TIME_STEP))
    assert [n for n in names if n.startswith("mass")] == ["mass[arm]"]


def test_a_point_mass_can_be_free(tmp_path):
    path = write(
        tmp_path / "point.urdf",
        '<link name="base"/>',
        link("bob", inertia=0.0, center="1 0 0"),
        joint("hinge", "base", "bob"),
    )
    model = ParametricTwin(Twin(load_urdf(path), TIME_STEP), ("mass", "extent"))
    np.testing.assert_allclose(model.robot.inertias[-1], 0.0, atol=1e-20)
    assert np.all(np.isfinite(model.coordinates))


def test_motors_are_refused(pendulum):
    motors = PositionMotors([0.1], [1.0], [10.0])
    twin = Twin(pendulum.robot, TIME_STEP, motors=motors)
    with pytest.raises(ValueError, match="`twin` must be driven by efforts"):
        ParametricTwin(twin, ("mass",))


@pytest.mark.parametrize(
    "free, ties, match",
    [
        ((), (), "`free` must name at least one parameter, got none"),
        (("weight",), (), "`free` must name parameters, got 'weight'"),
        (("mass[leg]",), (), "such as 'mass"),
        (
            ("damping",),
            [("damping[a]", "damping[z]")],
            r"`ties` must each hold two or more names that are free, .*\['damping\[z\]",
        ),
        (("damping",), [("damping[a]",)], "two or more names"),
        (
            ("damping", "friction"),
            [("damping[a]", "friction[a]")],
            "`ties` must each be of one quantity",
        ),
        (("damping",), [("damping[a]", "damping[rail]")], "of one quantity"),
        (
            ("damping",),
            [("damping[a]", "damping[b]"), ("damping[c]", "damping[b]")],
            "`ties` must name a parameter once",
        ),
        (("damping",), [("damping[a]", "damping[a]")], "must name a parameter once"),
    ],
)
def test_bad_input_is_refused(free, ties, match, tmp_path):
    path = write(
        tmp_path / "chain.urdf",
        '<link name="base"/>',
        *(link(f"l{i}") for i in range(4)),
        joint("a", "base", "l0"),
        joint("b", "l0", "l1"),
        joint("c", "l1", "l2"),
        joint(
            "rail", "l2", "l3", kind="prismatic", more='<limit lower="-1" upper="1"/>'
        ),
    )
    twin = Twin(load_urdf(path), TIME_STEP)
    with pytest.raises(ValueError, match=match):
        ParametricTwin(twin, free, ties=ties)


def test_coordinates_know_the_shape_they_came_from(pendulum):
    model = ParametricTwin(pendulum, ("mass", "extent", "shear"))
    mass = float(pendulum.robot.masses[-1])
    logs, shears = cholesky.shape_coordinates(
        mass, np.asarray(pendulum.robot.inertias[-1])
    )
    np.testing.assert_array_equal(model.coordinates, [np.log(mass), *logs, *shears])


def test_a_drive_in_a_rollout_has_efforts_and_a_memory(tmp_path):
    drive = {"resistance": 2.0, "torque_constant": 0.1, "gear_ratio": 10.0}
    drive |= {"supply_voltage": 12.0, "position_gain": 5.0, "delay": 0.15}
    settings = {"interface": "position", "implicit_damping": True}
    twin = pendulum_twin(tmp_path, drive=drive, **settings)
    free = ("torque_constant", "position_gain", "delay", "damping")
    model, starts = ParametricTwin(twin, free), jnp.array([[0.3, 0.8]])

    @eqx.filter_jit
    def run(dynamics) -> Any:
        policy = lambda observation: 0.4 - 0.1 * observation[1:]  # noqa: E731
        return Rollout(dynamics, 12)(policy, starts)

    expected, found = run(twin), run(model)
    assert np.abs(expected.efforts).max() > 0.1
    np.testing.assert_allclose(found.efforts, expected.efforts, rtol=1e-12)
    np.testing.assert_allclose(found.observations, expected.observations, rtol=1e-12)
    late = run(at(model, delay=0.05))
    assert np.abs(late.efforts - expected.efforts).max() > 1e-3


@pytest.mark.parametrize(
    "name, implicit",
    [
        pytest.param("u3_mimic_gripper", True, marks=pytest.mark.slow),
        pytest.param("r7_arm_with_gripper_joint", True, marks=pytest.mark.slow),
        ("two_link", False),
        pytest.param("u3_mimic_gripper", False, marks=pytest.mark.slow),
        pytest.param("r7_arm_with_gripper_joint", False, marks=pytest.mark.slow),
        pytest.param("two_link", True, marks=pytest.mark.slow),
    ],
)
def test_shared_derivatives_are_those_of_each_direction(name, implicit):
    path = ROBOTS.get(name, CASES / f"{name}.urdf")
    robot = load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    twin = Twin(robot, TIME_STEP, implicit_damping=implicit)
    free = ("mass", "center_of_mass.*", "extent.*", "shear.*", "damping", "friction")
    free += ("friction_velocity", "armature", "effort_offset")
    model, rng = ParametricTwin(twin, free), np.random.default_rng(0)
    assert model.shares_derivatives
    state = jnp.asarray(rng.normal(size=2 * model.joints))
    action = jnp.asarray(rng.normal(size=len(model.actuated)))
    point = model.coordinates + 0.1 * rng.random(len(model.names))

    def slope(differentiate, shares):
        object.__setattr__(model, "shares_derivatives", shares)

        def after(coordinates):
            moved = eqx.tree_at(lambda m: m.coordinates, model, coordinates)
            step = lambda at, _: (moved(at, action), None)  # noqa: E731
            return jax.lax.scan(step, state, length=2)[0]

        return jax.jit(differentiate(after))(point)

    each = slope(jax.jacfwd, shares=False)
    assert np.linalg.matrix_rank(each) == 2 * model.joints
    for differentiate in (jax.jacfwd, jax.jacrev):
        shared = slope(differentiate, shares=True)
        scale = abs(each).max()
        np.testing.assert_allclose(shared, each, rtol=1e-9, atol=1e-12 * scale)


def test_directions_are_not_shared_with_few_parameters_or_damped_bodies(pendulum):
    assert ParametricTwin(pendulum, ("mass", "damping", "friction")).shares_derivatives
    assert not ParametricTwin(pendulum, ("mass", "damping")).shares_derivatives
    damped = Twin(load_urdf(ROBOTS["two_link"]), TIME_STEP)
    assert not ParametricTwin(damped, ("mass", "extent.*")).shares_derivatives
