"""`load_mjcf` against MuJoCo's own mass matrix and inverse dynamics."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import load_mjcf

mujoco: Any = pytest.importorskip("mujoco")

TREE = """
<mujoco>
  <compiler angle="radian"/>
  <option gravity="1 2 -9"/>
  <worldbody>
    <geom type="plane" size="1 1 .1"/>
    <body name="stand" pos=".1 .2 .3" quat=".8 .1 -.3 .5">
      <geom size=".1"/>
      <body name="shoulder" pos="0 .1 .2" euler=".3 .2 -.1">
        <joint name="pan" axis="1 2 3" pos=".1 0 -.1" ref=".4" damping="1.5"
          range="-1 2" armature=".3" frictionloss=".2"/>
        <joint name="lift" type="slide" axis="0 1 1" pos=".2 .1 0" ref="-.1"/>
        <joint axis="0 1 0" pos="0 0 .1"/>
        <inertial pos=".1 0 .05" mass="2" quat=".9 .1 .2 .3"
          diaginertia=".03 .04 .05"/>
        <body name="forearm" pos=".3 0 0" euler="0 .4 .2">
          <joint name="elbow" axis="0 0 1" ref="-.3" damping=".1"/>
          <geom type="capsule" fromto="0 0 0 .2 0 .1" size=".03"/>
          <geom type="box" pos="0 .1 0" euler=".1 .2 .3" size=".03 .05 .02"/>
          <body name="tool" pos=".2 0 0" euler=".2 0 0"><geom size=".02"/></body>
        </body>
        <body pos="0 0 .2"><joint type="slide" axis="1 0 0"/><geom size=".04"/></body>
      </body>
    </body>
    <body name="second"><joint name="spin" axis="0 0 1"/><geom size=".1"/></body>
  </worldbody>
  <actuator>
    <motor joint="pan" gear="-3" ctrlrange="-1 2"/>
    <position joint="elbow" kp="5" forcerange="-4 3" gear="2"/>
    <velocity joint="lift" kv="5"/>
  </actuator>
</mujoco>
"""


def mjcf(body: str, rest: str = "") -> Any:
    return mujoco.MjModel.from_xml_string(
        f"<mujoco><compiler angle='radian'/><worldbody>{body}</worldbody>{rest}"
        "</mujoco>"
    )


def two_joints(rest: str, joint: str = "") -> Any:
    inner = f"<body name='b' pos='.1 0 0'><joint name='q2' axis='0 1 0' {joint}/>"
    return mjcf(
        "<body name='a'><joint name='q1' axis='0 1 0'/><geom size='.1' pos='.1 0 0'/>"
        f"{inner}<geom size='.05' pos='.1 0 0'/></body></body>",
        rest,
    )


def assert_same_robot(robot, model, held=None, follow=None, states=50):
    """Compare with MuJoCo at random states.

    Args:
        robot: the robot that was read.
        model: the model in MuJoCo.
        held: positions of joints that stand still.
        follow: for joints that follow another, its name, k and c of q = k q_other + c.
        states: number of states.
    """
    held, follow = held or {}, follow or {}
    data, random = mujoco.MjData(model), np.random.default_rng(0)
    # Friction loss, limits and equalities are constraints in MuJoCo.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
    names = [model.joint(j).name or f"joint {j}" for j in range(model.njnt)]
    moving = [j for j, name in enumerate(names) if name not in held]
    places, dofs = model.jnt_qposadr[moving], model.jnt_dofadr[moving]
    data.qpos[:] = model.qpos0
    for name, position in held.items():
        data.joint(name).qpos[:] = position
    matrix, inverse = jax.jit(robot.mass_matrix), jax.jit(robot.inverse_dynamics)
    coupling = np.zeros((len(moving), len(robot.joint_names)))
    shift = np.zeros(len(moving))
    for row, joint in enumerate(moving):
        leader, factor, shift[row] = follow.get(names[joint], (names[joint], 1.0, 0.0))
        coupling[row, robot.joint_names.index(leader)] = factor
    for _ in range(states):
        q, velocity, acceleration = random.normal(size=(3, len(robot.joint_names)))
        data.qpos[places] = coupling @ q + shift
        data.qvel[dofs], data.qacc[dofs] = coupling @ velocity, coupling @ acceleration
        mujoco.mj_inverse(model, data)
        full = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, full)
        expected = coupling.T @ full[np.ix_(dofs, dofs)] @ coupling
        np.testing.assert_allclose(
            matrix(q), expected, rtol=0, atol=1e-10 * np.abs(expected).max()
        )
        effort = inverse(q, velocity, acceleration)
        effort -= robot.friction * np.tanh(velocity / 1e-2)
        expected = coupling.T @ data.qfrc_inverse[dofs]
        np.testing.assert_allclose(
            effort, expected, rtol=0, atol=1e-10 * np.abs(expected).max()
        )


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "tree.xml"
    path.write_text(TREE)
    return path


def test_a_tree_has_the_dynamics_of_mujoco(tree):
    robot, model = load_mjcf(tree), mujoco.MjModel.from_xml_path(str(tree))
    assert robot.joint_names == ("pan", "lift", "joint 2", "elbow", "joint 4", "spin")
    assert_same_robot(robot, model)


def test_the_frames_are_those_of_mujoco(tree):
    robot, model = load_mjcf(tree), mujoco.MjModel.from_xml_path(str(tree))
    data = mujoco.MjData(model)
    data.qpos[:] = q = np.linspace(-1, 1.5, 6)
    mujoco.mj_kinematics(model, data)
    for link in ("world", "stand", "shoulder", "forearm", "tool", "second"):
        rotation, origin = robot.forward_kinematics(jnp.asarray(q), link)
        np.testing.assert_allclose(origin, data.body(link).xpos, atol=1e-12)
        expected = data.body(link).xmat.reshape(3, 3)
        np.testing.assert_allclose(rotation, expected, atol=1e-12)


def test_joints_keep_their_numbers(tree):
    robot = load_mjcf(tree)
    assert robot.revolute == (True, False, True, True, False, True)
    assert robot.limited == (True, *[False] * 5)
    assert (robot.lower[0], robot.upper[0]) == (-1, 2)
    np.testing.assert_allclose(robot.damping, [1.5, 0, 0, 0.1, 0, 0])
    np.testing.assert_allclose(robot.friction, [0.2, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(robot.armature, [0.3, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(robot.gravity, [1, 2, -9])
    # |gear| times the largest control of a motor, and the largest force of a servo.
    assert robot.effort_limits == (6, np.inf, np.inf, 8, np.inf, np.inf)


def test_the_robot_of_a_model_in_memory_steps(tree):
    robot = load_mjcf(mujoco.MjModel.from_xml_path(str(tree)))
    state = ro.Twin(robot, 1e-3)(jnp.zeros(12), jnp.ones(6))
    np.testing.assert_allclose(state[:6], 1e-3 * state[6:])
    assert np.isfinite(state).all() and np.any(state[6:] != 0)


def test_locked_joints_stand_at_their_reference_or_where_they_are_told(tree):
    model = mujoco.MjModel.from_xml_path(str(tree))
    locked = load_mjcf(tree, locked=["pan", "lift"])
    assert_same_robot(locked, model, {"pan": 0.4, "lift": -0.1})
    assert load_mjcf(tree, locked="pan").joint_names == (
        load_mjcf(tree, locked=["pan"]).joint_names
    )
    held = {"pan": 1.1, "elbow": -0.7, "lift": 0.2}
    assert_same_robot(load_mjcf(tree, locked=held), model, held)


def test_a_free_and_a_ball_joint_must_be_locked():
    model = mjcf(
        "<body name='trunk' pos='1 2 3' quat='.5 .5 .5 .5'><freejoint name='root'/>"
        "<geom size='.1'/><body><joint name='neck' type='ball'/><geom size='.1'/>"
        "<body pos='.1 0 0'><joint name='nod' axis='0 1 0' pos='.1 .2 0'/>"
        "<geom size='.1'/></body></body></body>"
    )
    with pytest.raises(ro.RobooptError, match=r"`path`.*\['root', 'neck'\].*`locked`"):
        load_mjcf(model)
    robot = load_mjcf(model, locked=("root", "neck"))
    assert_same_robot(
        robot, model, {"root": [1, 2, 3, *[0.5] * 4], "neck": [1, 0, 0, 0]}
    )
    with pytest.raises(ro.RobooptError, match="`locked` .*'neck'"):
        load_mjcf(model, locked={"neck": 0.1})


@pytest.mark.parametrize("gear", [1.0, -3.0])
def test_rotors_and_friction_of_actuators_count_at_the_joint(gear):
    model = two_joints(
        f"<actuator><motor joint='q2' gear='{gear}' armature='.2' damping='.5'/>"
        "</actuator>"
    )
    robot = load_mjcf(model)
    np.testing.assert_allclose(robot.armature, [0, 0.2 * gear**2])
    np.testing.assert_allclose(robot.damping, [0, 0.5 * gear**2])
    assert_same_robot(robot, model)


def test_the_limit_of_a_joint_bounds_its_actuators():
    actuators = "<motor joint='q2' ctrlrange='-3 3'/>" * 2
    model = two_joints(f"<actuator>{actuators}</actuator>")
    assert load_mjcf(model).effort_limits == (np.inf, 6)
    model = two_joints(f"<actuator>{actuators}</actuator>", "actuatorfrcrange='-4 4'")
    assert load_mjcf(model).effort_limits == (np.inf, 4)


def test_forces_without_a_place_are_named_in_one_warning():
    model = two_joints(
        "<tendon><fixed name='t' stiffness='2'><joint joint='q1' coef='1'/>"
        "<joint joint='q2' coef='2'/></fixed></tendon>"
        "<actuator><motor name='pull' tendon='t'/></actuator>"
        "<option density='1000'/>",
        "stiffness='3'",
    )
    with pytest.warns(UserWarning, match="q2.*tendons t.*pull.*medium") as caught:
        load_mjcf(model)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_mjcf(two_joints(""))


def test_a_constraint_of_one_joint_holds_it():
    model = two_joints(
        "<equality><joint joint1='q2' polycoef='.3 0 0 0 0'/></equality>"
    )
    assert_same_robot(load_mjcf(model), model, {"q2": 0.3})


def test_a_joint_follows_another_exactly():
    constraint = "<joint joint1='q2' joint2='q1' polycoef='.2 -1.5 0 0 0'/>"
    model = two_joints(
        f"<equality>{constraint}</equality>",
        "ref='.3' damping='.2' armature='.1' frictionloss='.4' range='-2 1'",
    )
    robot = load_mjcf(model)
    # Both count from their reference: q2 − 0.3 = 0.2 − 1.5 q1, between −2 and 1.
    assert robot.joint_names == ("q1",) and robot.limited == (True,)
    np.testing.assert_allclose(
        [robot.lower[0], robot.upper[0]], [-0.5 / 1.5, 2.5 / 1.5]
    )
    np.testing.assert_allclose(robot.damping, 1.5**2 * 0.2)
    np.testing.assert_allclose(robot.friction, 1.5 * 0.4)
    np.testing.assert_allclose(robot.armature, 1.5**2 * 0.1)
    assert_same_robot(robot, model, follow={"q2": ("q1", -1.5, 0.5)})
    with pytest.raises(ro.RobooptError, match="cannot move"):
        load_mjcf(model, locked=["q1"])


def test_the_joint_with_the_motor_leads():
    rest = (
        "<tendon><fixed name='t'><joint joint='q1' coef='2'/>"
        "<joint joint='q2' coef='-4'/></fixed></tendon>"
        "<equality><tendon tendon1='t'/></equality>"
        "<actuator><motor joint='{}'/></actuator>"
    )
    model = two_joints(rest.format("q1"))
    assert_same_robot(load_mjcf(model), model, follow={"q2": ("q1", 0.5, 0.0)})
    model = two_joints(rest.format("q2"))
    assert_same_robot(load_mjcf(model), model, follow={"q1": ("q2", 2.0, 0.0)})


def test_a_joint_that_would_follow_two_others_is_refused():
    model = mjcf(
        "<body><joint name='q1'/><joint name='q2' axis='0 1 0'/>"
        "<joint name='q3' axis='1 0 0'/><geom size='.1'/></body>",
        "<tendon><fixed name='t'><joint joint='q1' coef='1'/><joint joint='q2' "
        "coef='1'/><joint joint='q3' coef='1'/></fixed></tendon>"
        "<equality><tendon tendon1='t'/></equality>",
    )
    with pytest.raises(ro.RobooptError, match=r"`path`.*'q3' follows \['q1', 'q2'\]"):
        load_mjcf(model)
    follow = {"q3": ("q2", -1.0, -0.5)}
    assert_same_robot(load_mjcf(model, locked={"q1": 0.5}), model, {"q1": 0.5}, follow)


@pytest.mark.parametrize("kind", ["connect", "weld"])
def test_a_loop_is_refused_unless_its_joints_are_locked(kind):
    anchor = "anchor='0 0 0'" if kind == "connect" else ""
    constraint = f"<{kind} name='loop' body1='a' body2='b' {anchor}/>"
    model = two_joints(f"<equality>{constraint}</equality>")
    with pytest.raises(ro.RobooptError, match="`path`.*'loop'.*`locked`"):
        load_mjcf(model)
    assert_same_robot(load_mjcf(model, locked=["q2"]), model, {"q2": 0.0})


def test_an_inactive_constraint_does_not_count():
    model = two_joints(
        "<equality><weld body1='a' body2='b' active='false'/></equality>"
    )
    assert_same_robot(load_mjcf(model), model)


@pytest.mark.parametrize(
    "rest, match",
    [
        ("<joint joint1='q1' joint2='q2' polycoef='0 1 2 0 0'/>", "`path`.*linear"),
        ("<joint joint1='q2' polycoef='.3 0 0 0 0'/>", "`locked`"),
    ],
)
def test_constraints_that_cannot_be_kept_are_refused(rest, match):
    model = two_joints(f"<equality>{rest}</equality>")
    with pytest.raises(ro.RobooptError, match=match):
        load_mjcf(model, locked=["q2"])


def test_what_is_no_robot_is_refused(tmp_path):
    with pytest.raises(ro.RobooptError, match="`path`.*none.xml"):
        load_mjcf(tmp_path / "none.xml")
    (tmp_path / "bad.xml").write_text(
        "<mujoco><worldbody><sphere/></worldbody></mujoco>"
    )
    with pytest.raises(ro.RobooptError, match="`path`.*sphere"):
        load_mjcf(tmp_path / "bad.xml")
    with pytest.raises(ro.RobooptError, match="`locked`.*'q3'"):
        load_mjcf(two_joints(""), locked=["q3"])
    with pytest.raises(ro.RobooptError, match="cannot move"):
        load_mjcf(two_joints(""), locked=["q1", "q2"])


def test_a_missing_package_is_named(monkeypatch, tree):
    monkeypatch.setitem(__import__("sys").modules, "mujoco", None)
    with pytest.raises(ro.RobooptError, match=r"roboopt\[mujoco\]"):
        load_mjcf(tree)


BOMBS = {
    "copies": "<worldbody><replicate count='1000000000'><geom size='1'/></replicate>"
    "</worldbody>",
    "copies of copies": "<worldbody><replicate count='3000'><replicate count='3000'>"
    "<geom size='1'/></replicate></replicate></worldbody>",
    "a flex": "<worldbody><body><flexcomp name='f' count='1000 1000 1000'/></body>"
    "</worldbody>",
    "a field": "<asset><hfield name='h' nrow='100000' ncol='100000' size='1 1 1 1'/>"
    "</asset>",
    "pixels": "<asset><texture name='t' type='2d' builtin='flat' width='100000' "
    "height='100000'/></asset>",
    "keys": "<size nkey='2000000000'/>",
    "user data": "<size nuser_geom='2000000000'/>",
    "itself": "<include file='bomb.xml'/>",
    "itself attached": "<asset><model name='x' file='bomb.xml'/></asset><worldbody>"
    "<attach model='x' prefix='p'/></worldbody>",
    "depth": "<worldbody>" + "<body>" * 5000 + "</body>" * 5000 + "</worldbody>",
    "a plugin": "<extension><plugin plugin='evil.so'/></extension>",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_claims_too_much_is_refused(name, tmp_path):
    path = tmp_path / "bomb.xml"
    path.write_text(f"<mujoco>{BOMBS[name]}</mujoco>")
    with pytest.raises(ro.RobooptError, match="`path`"):
        ro.dynamics.load_mjcf(path)


def test_entities_of_xml_are_not_expanded(tmp_path):
    path = tmp_path / "bomb.xml"
    declared = "<!DOCTYPE m [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
    path.write_text(f"{declared}<mujoco model='m'>&a;</mujoco>")
    with pytest.raises(ro.RobooptError, match="must declare no entities"):
        ro.dynamics.load_mjcf(path)
