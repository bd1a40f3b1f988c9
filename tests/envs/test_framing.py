"""What pictures have in view: every shape that is shown, and a whole motion."""

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from roboopt_envs._camera import SKY
from roboopt_envs.arm import ArmReach

INERTIAL = """<inertial><mass value="1"/><inertia ixx=".1" iyy=".1" izz=".1" ixy="0"
 ixz="0" iyz="0"/></inertial>"""
SLIDE = """<joint name="{0}" type="prismatic"><parent link="{1}"/><child link="{2}"/>
 <axis xyz="{3}"/><limit lower="-2" upper="2" effort="60"/></joint>"""
GANTRY = f"""<robot name="gantry"><link name="rail"/>
<link name="bridge">{INERTIAL}<visual><geometry>{{bridge}}</geometry></visual></link>
<link name="tool">{INERTIAL}<visual><geometry><cylinder radius=".05" length=".6"/>
</geometry></visual></link>{SLIDE.format("x", "rail", "bridge", "1 0 0")}
{SLIDE.format("y", "bridge", "tool", "0 1 0")}</robot>"""
TETRAHEDRON = "v -.2 -2 0\nv .2 -2 0\nv 0 2 -.1\nv 0 2 .1\n" + "".join(
    f"f {face}\n" for face in ("1 2 3", "1 2 4", "1 3 4", "2 3 4")
)
BRIDGES = {
    "box": '<box size=".1 4 .1"/>',
    "mesh": '<mesh filename="bridge.obj" scale="1 1 2"/>',
}


@pytest.fixture(params=BRIDGES)
def env(request, tmp_path):
    (tmp_path / "bridge.obj").write_text(TETRAHEDRON)
    path = tmp_path / "gantry.urdf"
    path.write_text(GANTRY.format(bridge=BRIDGES[request.param]))
    env = ArmReach(path, render_mode="rgb_array", width=160, height=120)
    yield env
    env.close()


def is_within(picture):
    seen = (picture != SKY).any(axis=-1)
    edges = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    return seen.mean() > 0.003 and not edges.any()


def test_shapes_that_collide_with_nothing_are_within_the_picture(env):
    for seed in range(3):
        env.reset(seed=seed)
        assert is_within(env.render())


def test_a_whole_motion_is_within_its_pictures(env):
    with pytest.raises(ResetNeeded):
        env.pictures(np.zeros((1, 2)))
    start = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.0])
    observed, _ = env.reset(options={"start": start})
    expected = env.render()
    way = np.linspace([-2.0, -2.0], [2.0, 2.0], 5)
    pictures = env.pictures(way)
    assert len(pictures) == 5 and all(map(is_within, pictures))
    assert (pictures[0] != pictures[4]).any()
    # A motion that leaves everything does not make the robot a dot.
    far = env.pictures(np.concatenate([way, [[1e4, 0.0]]]))
    np.testing.assert_array_equal(far[:5], pictures)
    # Neither the robot nor later pictures have changed.
    state = env.physics_client.getJointStates(env.body, env.joint_indices)
    np.testing.assert_array_equal([q for q, *_ in state], observed[:2])
    env.reset(options={"start": start})
    np.testing.assert_array_equal(env.render(), expected)
