"""Where the tool is: by hand, and by Bullet."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach
from roboopt_envs.tasks import ToolChain

EYE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
# The z axis of the second frame is the x axis of the first.
X_AXIS = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
CRANE = ToolChain(
    joints=(2, 0),
    revolute=(True, False),
    rotations=(EYE, X_AXIS),
    offsets=((0.0, 0.0, 1.0), (0.5, 0.0, 0.0)),
    tip=(0.0, 0.25, 0.0),
)
ARMS = ["two-link", "iiwa", "panda", "gantry"]


@pytest.fixture(params=ARMS)
def arm(request, specs):
    name, arguments = specs[request.param]
    with gymnasium.make(name, **arguments) as env:
        yield env.unwrapped


def test_position_by_hand():
    # The mast, joint 2, turns about z; the beam, joint 0, slides along x by q0. Its
    # frame's y is the mast's z, so the tip is 0.25 m above: at angle 0 the tool is at
    # (0.5 + q0, 0, 1.25), and the mast turns that.
    q = np.array([0.3, 9.9, np.pi / 2])
    np.testing.assert_allclose(CRANE.position(q), [0.0, 0.8, 1.25], atol=1e-15)
    q = np.array([[0.3, 0.0, 0.0], [-0.1, 0.0, np.pi]])
    expected = [[0.8, 0.0, 1.25], [-0.4, 0.0, 1.25]]
    np.testing.assert_allclose(CRANE.position(q), expected, atol=1e-15)


def test_two_link_by_hand():
    chain = ArmReach().task.chain
    q1, q2 = 0.7, -1.1
    expected = [
        0.4 * np.cos(q1) + 0.3 * np.cos(q1 + q2),
        -0.04,
        0.8 + 0.4 * np.sin(q1) + 0.3 * np.sin(q1 + q2),
    ]
    position = chain.position(np.array([q1, q2]))
    np.testing.assert_allclose(position, expected, atol=1e-14)


def test_every_link_is_where_bullet_has_it(arm):
    client, body = arm.physics_client, arm.body
    infos = [client.getJointInfo(body, i) for i in range(client.getNumJoints(body))]
    model = arm._world.model
    names = [info[12].decode() for info in infos]
    assert names == list(model.link_names[1:])
    carried = {i: name for i, name in enumerate(names) if model.chain(name)}
    for start in arm.sample_starts(20, seed=0):
        arm.reset(options={"start": start})
        q = start[: len(arm.joint_names)]
        for index, link in carried.items():
            state = client.getLinkState(body, index, computeForwardKinematics=True)
            chain = ToolChain.from_urdf(model, link)
            # Bullet gives link frames in float32: 1e-7 of a meter or two.
            np.testing.assert_allclose(chain.position(q), state[4], atol=5e-7)


@pytest.mark.parametrize("name", ["two-link", "panda", "gantry"])
def test_tool_to_the_last_digit(specs, name):
    # These have their center of mass, which Bullet gives in double, at their origin.
    identifier, arguments = specs[name]
    env: Any = gymnasium.make(identifier, **arguments).unwrapped
    client, links = env.physics_client, range(env.physics_client.getNumJoints(env.body))
    names = [client.getJointInfo(env.body, link)[12].decode() for link in links]
    index = names.index(env.tool)
    for start in env.sample_starts(20, seed=0):
        env.reset(options={"start": start})
        state = env.physics_client.getLinkState(
            env.body, index, computeForwardKinematics=True
        )
        q = start[: len(env.joint_names)]
        np.testing.assert_allclose(env.task.chain.position(q), state[0], atol=1e-14)


def test_numpy_and_jax_agree(arm):
    chain, n = arm.task.chain, len(arm.joint_names)
    q = np.random.default_rng(0).normal(size=(4, 5, n))
    positions = jax.jit(lambda c, q: c.position(q), static_argnums=0)(
        chain, jnp.asarray(q)
    )
    np.testing.assert_allclose(positions, chain.position(q), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(chain.position(q[1, 2]), chain.position(q)[1, 2])


def test_zeros_of_aligned_frames_cost_nothing():
    # Four products for a joint's turn, and one for each entry of its frame, which XLA
    # would keep with zeros, too: the gradient of such a chain took minutes to compile.
    count = 14
    turned = ((0.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
    chain = ToolChain(
        joints=tuple(range(count)),
        revolute=(True,) * count,
        rotations=(turned,) * count,
        offsets=((0.0, 0.0, 0.1),) * count,
        tip=(0.0, 0.0, 0.3),
    )
    jaxpr = jax.make_jaxpr(chain.position)(jnp.ones((8, count)))
    products = [each for each in jaxpr.eqns if each.primitive.name == "mul"]
    assert len(products) == 7 * count + 1


def test_a_coordinate_that_nothing_moves_has_the_shape_of_the_others():
    turned = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    chain = ToolChain((0,), (True,), (turned,), ((0.0, 0.0, 0.0),), (0.5, 0.0, 0.3))
    q = np.zeros((4, 5, 1))
    for position in (chain.position(q), chain.position(jnp.asarray(q))):
        np.testing.assert_allclose(position, np.full((4, 5, 3), [0.5, 0.0, 0.3]))


def test_default_tool_is_the_last_of_the_deepest_links(specs):
    tools = {"two-link": "tool", "iiwa": "lbr_iiwa_link_7", "gantry": "probe"}
    tools |= {"panda": "panda_grasptarget"}
    for name, tool in tools.items():
        identifier, arguments = specs[name]
        env: Any = gymnasium.make(identifier, **arguments).unwrapped
        assert env.tool == tool


def test_a_tool_before_the_fingers_leaves_them_out():
    chain = ArmReach("panda", tool="panda_link4").task.chain
    assert chain.joints == (0, 1, 2, 3)
    chain = ArmReach("panda", tool="panda_rightfinger").task.chain
    # The right finger follows the left one, which is joint 7.
    assert chain.joints == (0, 1, 2, 3, 4, 5, 6, 7)
    assert chain.revolute == (True,) * 7 + (False,)


def test_a_point_of_a_link_is_where_bullet_has_it():
    env = ArmReach("panda", tool="panda_link5", tool_offset=[0.1, -0.2, 0.3])
    assert env.tool_point == "the point (0.1, -0.2, 0.3) m of link panda_link5"
    start, _ = env.reset(seed=3)
    index = env._world.model.link_names.index("panda_link5") - 1
    state = env.physics_client.getLinkState(
        env.body, index, computeForwardKinematics=True
    )
    turn = np.reshape(env.physics_client.getMatrixFromQuaternion(state[5]), (3, 3))
    expected = state[4] + turn @ [0.1, -0.2, 0.3]
    q = start[: len(env.joint_names)]
    np.testing.assert_allclose(env.task.chain.position(q), expected, atol=5e-7)


@pytest.mark.parametrize("offset", [(1.0, 2.0), (0.0, 0.0, np.inf), "tip", 3.0])
def test_an_offset_that_is_no_point_is_refused(offset):
    with pytest.raises(ValueError, match="`tool_offset`"):
        ArmReach(tool_offset=offset)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"joints": ()}, "must hold one entry for each of at least one joint"),
        ({"revolute": (True,)}, "must hold one entry"),
        ({"rotations": (EYE,)}, "must hold one entry"),
        ({"offsets": ((0.0, 0.0, 0.0),)}, "must hold one entry"),
        ({"tip": (0.0, float("nan"), 0.0)}, "must be finite"),
        ({"offsets": ((0.0, 0.0, 0.0), (0.0, float("inf"), 0.0))}, "must be finite"),
    ],
)
def test_bad_chains_are_refused(changes, match):
    fields = {name: getattr(CRANE, name) for name in CRANE.__dataclass_fields__}
    with pytest.raises(ValueError, match=match):
        ToolChain(**(fields | changes))


def test_too_few_joints_are_refused():
    with pytest.raises(ValueError, match="`configuration` must hold more than 2"):
        CRANE.position(np.zeros(2))


@pytest.mark.parametrize(
    "tool, match",
    [
        ("hand", r"`tool` must be a link, one of \['upper_arm', 'forearm', 'tool'\]"),
        ("post", "`tool` must be a link"),
    ],
)
def test_unknown_tools_are_refused(tool, match):
    with pytest.raises(ValueError, match=match):
        ArmReach(tool=tool)
