"""Controllers: their formulas by hand, and what they are known to do."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleSwingUp

import roboopt as ro


@pytest.fixture(scope="module")
def two_link():
    env = ArmReach("two-link")
    yield env, ro.Twin.from_env(env)
    env.close()


@pytest.fixture(scope="module")
def cart_pole():
    env = CartPoleSwingUp()
    yield env, ro.Twin.from_env(env)
    env.close()


def test_linear_feedback_by_hand():
    # −[1 2 3 4] · ([1 1 1 1] − [0 1 0 0]) = −(1 + 0 + 3 + 4)
    policy = ro.policies.LinearFeedback(
        jnp.array([[1.0, 2.0, 3.0, 4.0]]), jnp.array([0.0, 1.0, 0.0, 0.0])
    )
    assert policy(jnp.ones(4)).tolist() == [-8.0]
    # What follows the state, such as a goal, does not matter to it.
    assert policy(jnp.ones(6)).tolist() == [-8.0]


def test_pd_at_its_goal_holds_against_gravity(two_link):
    env, twin = two_link
    policy = ro.policies.PDGravityCompensation(twin.robot, jnp.ones(2), jnp.ones(2))
    goal = jnp.array([0.3, -0.5])
    effort = policy(jnp.concatenate([goal, jnp.zeros(2), goal]))
    np.testing.assert_allclose(
        twin.robot.forward_dynamics(goal, jnp.zeros(2), effort), 0.0, atol=1e-12
    )


def test_pd_by_hand(two_link):
    _, twin = two_link
    policy = ro.policies.PDGravityCompensation(
        twin.robot, jnp.array([2.0, 3.0]), jnp.array([0.5, 0.25])
    )
    q, velocity, goal = jnp.array([[0.1, 0.2], [1.0, -2.0], [1.1, 0.0]])
    gravity = twin.robot.gravity_effort(q)
    # 2 · 1.0 − 0.5 · 1.0 and 3 · (−0.2) + 0.25 · 2
    expected = gravity + jnp.array([1.5, -0.1])
    observed = policy(jnp.concatenate([q, velocity, goal]))
    np.testing.assert_allclose(observed, expected, rtol=1e-12)


@pytest.mark.parametrize("robot", ["two-link", "iiwa", "panda"])
def test_guessed_gains_are_stable_and_come_near_the_goal(robot):
    env = ArmReach(robot)
    twin = ro.Twin.from_env(env)
    policy = ro.policies.PDGravityCompensation.from_limits(
        twin.robot, env.effort_limits, env.time_step, damping_ratio=1.0
    )
    starts = jnp.asarray(env.sample_starts(2, seed=0))
    end = eqx.filter_jit(ro.Rollout(twin, env.horizon))(policy, starts).observations
    joints = twin.joints
    before, after = (
        np.abs(o[:, :joints] - o[:, 2 * joints :]).max()
        for o in (end[:, 0], end[:, -1])
    )
    assert np.isfinite(end).all() and after < 0.5 * before
    env.close()


FOLDING = """<robot name="folding"><link name="base"/>
<link name="column"><inertial><mass value="0.1"/>
  <inertia ixx="2e-4" iyy="2e-4" izz="2e-4" ixy="0" ixz="0" iyz="0"/></inertial></link>
<link name="arm"><inertial><origin xyz="0.25 0 0"/><mass value="0.2"/>
  <inertia ixx="1e-5" iyy="2e-4" izz="2e-4" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="pan" type="revolute"><parent link="base"/><child link="column"/>
  <axis xyz="0 0 1"/><limit lower="-2" upper="2" effort="10"/></joint>
<joint name="lift" type="revolute"><parent link="column"/><child link="arm"/>
  <axis xyz="0 1 0"/><limit lower="-1.6" upper="1.6" effort="10"/></joint></robot>"""


def test_guessed_gains_are_stable_where_an_arm_folds_up(tmp_path):
    # Stretched out, the arm has 0.0129 kg·m² about the column, and 0.0002 folded up:
    # damping of half the velocity in a step would there be of 31 times the velocity,
    # and a step is stable up to 2.
    (tmp_path / "folding.urdf").write_text(FOLDING)
    robot, step = ro.load_urdf(tmp_path / "folding.urdf"), 1 / 240
    policy = ro.policies.PDGravityCompensation.from_limits(robot, 10.0, step)
    stiffness, damping = np.diag(policy.stiffness), np.diag(policy.damping)
    for lift in np.linspace(-1.6, 1.6, 65):
        inverse = np.linalg.inv(robot.mass_matrix(jnp.array([0.0, lift])))
        slowed = np.eye(2) - step * inverse @ damping
        pulled = -step * inverse @ stiffness
        along = [np.eye(2) + step * pulled, step * slowed]
        map_ = np.block([along, [pulled, slowed]])
        assert np.abs(np.linalg.eigvals(map_)).max() < 1


def test_gains_stay_positive_whatever_is_tuned(two_link):
    _, twin = two_link
    policy = ro.policies.PDGravityCompensation(twin.robot, jnp.ones(2), jnp.ones(2))
    moved = jax.tree.map(lambda x: x - 50.0, eqx.filter(policy, eqx.is_array))
    assert (moved.stiffness > 0).all() and (moved.damping > 0).all()


def test_the_robot_inside_a_controller_has_no_gradient(two_link):
    _, twin = two_link
    policy = ro.policies.PDGravityCompensation(twin.robot, jnp.ones(2), jnp.ones(2))
    gradient = eqx.filter_grad(lambda p: p(jnp.arange(6.0)).sum())(policy)
    assert all((g == 0).all() for g in jax.tree.leaves(gradient.robot))
    assert (gradient.log_stiffness != 0).all()


@pytest.mark.slow
def test_energy_shaping_drives_the_energy_to_that_of_standing(cart_pole):
    env, twin = cart_pole
    policy = ro.policies.EnergyShapingSwingUp(
        twin.robot,
        jnp.zeros(4),
        energy_gain=60.0,
        position_gain=0.1,
        velocity_gain=0.1,
        blend_angle=0.01,
    )
    start = jnp.array([[0.0, np.pi - 0.3, 0.0, 0.0]])
    rollout = eqx.filter_jit(ro.Rollout(twin, 1200))
    states = rollout(policy, start).observations[0]

    def pole_energy(state):
        q, v = state[:2], state[2:]
        inertia = twin.robot.mass_matrix(q)[1, 1]
        height = twin.robot.potential_energy(q)
        upright = twin.robot.potential_energy(q.at[1].set(0.0))
        return 0.5 * inertia * v[1] ** 2 + height - upright

    energy = jax.jit(jax.vmap(pole_energy))(states)
    # Hanging at rest it lacks 2 m g l cos²: about 0.95 J; near the end almost nothing.
    assert energy[0] < -0.9 and jnp.abs(energy[-100:]).max() < 0.1


def test_near_the_top_linear_feedback_takes_over(cart_pole):
    _, twin = cart_pole
    gains = jnp.array([-9.0, -65.0, -10.0, -14.0])
    policy = ro.policies.EnergyShapingSwingUp(twin.robot, gains, energy_gain=80.0)
    turns = jnp.array([0.1, 0.02 + 2 * np.pi, 0.3, -0.1])
    # Whole turns do not count. The weight of the feedback here is 1 − 2e-3.
    expected = -(gains @ jnp.array([0.1, 0.02, 0.3, -0.1]))
    assert float(policy(turns)[0]) == pytest.approx(float(expected), rel=2e-2)


def test_a_spline_goes_through_its_knots_and_is_smooth():
    knots = jnp.array([[0.0], [1.0], [-2.0], [0.5]])
    plan = ro.policies.OpenLoopSpline(knots, 3.0)
    values = jax.jit(jax.vmap(plan))(jnp.arange(4.0))
    np.testing.assert_allclose(values, knots, atol=1e-14)
    slope = jax.vmap(jax.jacfwd(plan))
    around = jnp.array([1.0 - 1e-9, 1.0 + 1e-9])
    left, right = slope(around)
    # Catmull-Rom: (−2 − 0) / 2 from both sides.
    np.testing.assert_allclose([left, right], [[-1.0], [-1.0]], atol=1e-7)
    # The last knot is held.
    assert plan(jnp.asarray(9.0)) == 0.5


def test_a_spline_reproduces_straight_lines_inside():
    plan = ro.policies.OpenLoopSpline(jnp.arange(5.0)[:, None], 4.0)
    times = jnp.linspace(1.0, 3.0, 17)
    np.testing.assert_allclose(jax.jit(jax.vmap(plan))(times)[:, 0], times, rtol=1e-14)


def test_a_rollout_gives_a_plan_the_time(cart_pole):
    _, twin = cart_pole
    plan = ro.policies.OpenLoopSpline(jnp.array([[0.0], [6.0]]), 2.0)
    start = jnp.array([[0.0, 3.0, 0.0, 0.0]])
    actions = ro.Rollout(twin, 4)(plan, start).actions[0, :, 0]
    expected = [plan(jnp.asarray(k * twin.time_step))[0] for k in range(4)]
    np.testing.assert_allclose(actions, jnp.stack(expected), rtol=1e-12)


BAD = [
    (lambda r: ro.policies.LinearFeedback(jnp.ones(4)), "`gains` must have shape"),
    (
        lambda r: ro.policies.LinearFeedback(jnp.ones((1, 4)), jnp.ones(3)),
        "`target` must have shape",
    ),
    (
        lambda r: ro.policies.PDGravityCompensation(r, jnp.ones(3), jnp.ones(2)),
        "`stiffness` must hold a positive number for each of the 2 joints",
    ),
    (
        lambda r: ro.policies.PDGravityCompensation(r, jnp.ones(2), -jnp.ones(2)),
        "`damping` must hold a positive number",
    ),
    (
        lambda r: ro.policies.PDGravityCompensation.from_limits(r, 5.0, 0.0),
        "`time_step` must be positive",
    ),
    (
        lambda r: ro.policies.EnergyShapingSwingUp(r, jnp.ones(3), energy_gain=1.0),
        "`gains` must be four numbers",
    ),
    (
        lambda r: ro.policies.EnergyShapingSwingUp(r, jnp.ones(4), energy_gain=0.0),
        "`energy_gain` must be positive",
    ),
    (
        lambda r: ro.policies.EnergyShapingSwingUp(
            r, jnp.ones(4), energy_gain=1.0, blend_angle=2.0
        ),
        "`blend_angle` must lie between 0 and π/2, got 2.0",
    ),
    (
        lambda r: ro.policies.OpenLoopSpline(jnp.ones((1, 2)), 1.0),
        "`knots` must have shape",
    ),
    (
        lambda r: ro.policies.OpenLoopSpline(jnp.ones((3, 2)), 0.0),
        "`duration` must be positive",
    ),
]


@pytest.mark.parametrize("make, match", BAD)
def test_bad_input_is_refused(make, match, two_link):
    with pytest.raises(ValueError, match=match):
        make(two_link[1].robot)


def test_swing_up_needs_two_joints():
    env = ArmReach("iiwa")
    with pytest.raises(ValueError, match="`robot` must have two joints, got 7"):
        ro.policies.EnergyShapingSwingUp(
            ro.Twin.from_env(env).robot, jnp.ones(4), energy_gain=1.0
        )
    env.close()
