"""Arms that reach: sizes, limits, starts and what they can do."""

import numpy as np
import pytest
from roboopt_envs._camera import SKY
from roboopt_envs.arm import ArmReach

from .urdfs import INERTIA, LIMIT, one_joint

NO_EFFORT = LIMIT.replace(' effort="20"', "")


@pytest.mark.parametrize("robot", ["two-link", "iiwa", "panda"])
def test_time_step_is_one_for_all_robots(robot):
    env = ArmReach(robot)
    assert env.time_step == 1 / 240 and env.horizon == 720
    assert ArmReach(robot, time_step=1 / 5000).horizon == 15000
    match = r"`time_step` must be at least 0.0002 s \(5 kHz\), got 0.0001 s"
    with pytest.raises(ValueError, match=match):
        ArmReach(robot, time_step=1e-4)
    match = r"`time_step` must be at most 0.1 s \(10 Hz\), got 1 s: an effort is held"
    with pytest.raises(ValueError, match=match):
        ArmReach(robot, time_step=1)


@pytest.mark.parametrize(
    "length, tolerance", [(0.4, 0.01), (0.04, 0.005), (0.002, 0.0002)]
)
def test_a_small_robot_must_reach_more_precisely(write, length, tolerance):
    # Within ±0.6 rad the tool moves in a box of L (1 − cos 0.6) by 2 L sin 0.6, and
    # the tolerance is a tenth of its diagonal 1.14 L, in one digit, or 1 cm.
    tip = f"""<link name="tip"/><joint name="end" type="fixed">
      <parent link="arm"/><child link="tip"/><origin xyz="{length} 0 0"/></joint>"""
    env = ArmReach(write(one_joint(elements=tip)))
    assert env.task.tool_tolerance == tolerance
    assert env.task.tool_scale == 2 * tolerance
    assert "never moves" not in env.tool_choice


def test_a_tool_on_every_axis_is_said_to_stand_still(write):
    env = ArmReach(write(one_joint()))
    assert env.task.tool_tolerance == 0.01
    assert "moved by 1 of 1 joints, on the axes of all joints" in env.tool_choice


@pytest.mark.parametrize("size", [0.01, 1.0, 10.0])
def test_a_robot_of_any_size_and_its_goal_are_within_the_picture(write, size):
    links, length = '<link name="l0"/>', size / 3
    for k in range(1, 4):
        links += f"""<link name="l{k}"><inertial><origin xyz="0 0 {length / 2}"/>
          <mass value="{size**3}"/><inertia ixx="{size**5}" iyy="{size**5}"
          izz="{size**5}" ixy="0" ixz="0" iyz="0"/></inertial></link>
          <joint name="j{k}" type="revolute"><parent link="l{k - 1}"/>
          <child link="l{k}"/><origin xyz="0 0 {length}"/>
          <axis xyz="0 {k % 2} {(k + 1) % 2}"/><limit lower="-2" upper="2"
          effort="{60 * size**4}"/></joint>"""
    arm = write(f'<robot name="arm">{links}</robot>')
    env = ArmReach(arm, render_mode="rgb_array", width=160, height=120)
    seen = 0
    for seed in range(4):
        env.reset(seed=seed)
        picture = np.array(env.render()).astype(int)
        shown = (picture != SKY).any(axis=-1)
        assert 0.01 < shown.mean() < 0.6
        edges = shown[0], shown[-1], shown[:, 0], shown[:, -1]
        assert not np.any(np.concatenate(edges))
        green = picture[..., 1] > picture[..., 0] + 20
        seen += int((shown & green).sum() > 10)
    assert seen >= 2  # The robot may stand before its goal.


def test_too_short_an_episode_is_said(write):
    # Starts and goals are in ±6 m. Half of that way, 6 m, takes 1 kg under 20 N
    # 2 √(6 · 1/20) = 1.1 s at least.
    limit = '<limit lower="-10" upper="10" effort="20"/>'
    path = write(one_joint(kind="prismatic", limit=limit))
    assert ArmReach(path).too_short == ""
    said = ArmReach(path, duration=1.0).too_short
    assert said.startswith("1 s, and joint hinge takes about 1.1 s at full effort")


@pytest.mark.parametrize("damping", [0.0, 10.0, 1e4, 1e9])
def test_damping_is_implicit(write, damping):
    # Without gravity about its axis a spinning link of M = 0.02 kg·m² slows down by
    # 1/(1 + Δt·d/M) a step: at 1e4 N·m·s/rad by 1/2084, where the explicit step of
    # Bullet would grow 2082-fold.
    centerd = f'<inertial><mass value="1"/>{INERTIA}</inertial>'
    text = one_joint(
        inertial=centerd,
        kind="continuous",
        limit='<limit effort="20"/>',
        more=f'<dynamics damping="{damping}"/>',
    )
    env = ArmReach(write(text))
    env.reset(options={"start": [0.0, 8.0, 0.0]})
    factor = 1 / (1 + env.time_step * damping / 0.02)
    for k in range(1, 6):
        observation, *_ = env.step([0.0])
        np.testing.assert_allclose(
            observation[1], 8.0 * factor**k, rtol=1e-12, atol=1e-14
        )


def test_friction_holds_a_link_still(write):
    # Gravity takes at most 2.94 N·m, and friction holds 4: the link creeps at
    # v_s·atanh(2.94/4) = 0.0094 rad/s at most, whatever Δt·f/(v_s·M) = 15.
    text = one_joint(more='<dynamics friction="4"/>')
    env = ArmReach(write(text))
    assert env.friction == [4.0]
    env.reset(options={"start": [0.0, 0.5, 0.0]})
    speeds = np.array([env.step([0.0])[0][1] for _ in range(240)])
    # The friction decelerates from 0.5 rad/s, never across 0, and then creeping is
    # steady: gravity about y pulls towards positive angles.
    assert (speeds > 0).all() and (np.diff(speeds) < 0).mean() > 0.9
    q = env.step([0.0])[0][0]
    creep = 1e-2 * np.arctanh(9.81 * 0.3 * np.cos(q) / 4)
    np.testing.assert_allclose(speeds[-1], creep, rtol=0.02)


def test_efforts_are_assumed_where_missing(write):
    # Lever 0.3 m, 1 kg: gravity takes at most 1·9.81·0.3·cos q = 2.94 N·m, about y from
    # the horizontal, and M = 0.02 + 0.3² = 0.11 kg·m²: 3·2.94 + 10·0.11 = 9.93 N·m,
    # less what 200 random configurations miss of the horizontal one.
    path = write(one_joint(limit=NO_EFFORT))
    match = r"no effort limit for these joints, assumed \[N·m or N\]: {'hinge': 9.9"
    with pytest.warns(UserWarning, match=match):
        env = ArmReach(path)
    np.testing.assert_allclose(env.effort_limits, [9.929], rtol=1e-3)
    for limits in ([7.0], {"hinge": 7.0}):
        env = ArmReach(path, effort_limits=limits)
        np.testing.assert_array_equal(env.effort_limits, [7.0])
    assert np.array([7.0]) in env.action_space
    assert np.array([7.1]) not in env.action_space
    assert env.actuators.torque_constant == (0.7,)


@pytest.mark.parametrize(
    "limits", [[1.0] * 3, [1.0, 0.0], [1.0, np.inf], [1.0, np.nan], [[1.0, 1.0]]]
)
def test_bad_effort_limits_are_refused(limits):
    with pytest.raises(ValueError, match="`effort_limits` must (hold|be finite)"):
        ArmReach(effort_limits=limits)


def test_one_effort_limit_serves_all_joints():
    np.testing.assert_array_equal(ArmReach(effort_limits=9.0).effort_limits, [9.0, 9.0])


def test_an_arm_that_cannot_hold_itself_is_refused():
    said = "`effort_limits` must leave configurations"
    with pytest.raises(ValueError, match=said):
        ArmReach("iiwa", effort_limits=[1e-3] * 7)
    # The second joint alone carries the arm, and gravity takes some 70 N·m of it.
    limits = [300.0, 0.02, *[300.0] * 5]
    weak = r"weak \[N·m or N\]: lbr_iiwa_joint_2 \(limit 0.02, gravity [^)]*\)\. Give"
    with pytest.raises(ValueError, match=f"{said}.*{weak}"):
        ArmReach("iiwa", effort_limits=limits)


def test_unknown_robots_are_refused(tmp_path):
    match = r"`robot` must be one of \['two-link', 'iiwa', 'panda'\] or the path"
    with pytest.raises(ValueError, match=f"{match} of a URDF, got 'kuka'"):
        ArmReach("kuka")
    with pytest.raises(ValueError, match=match):
        ArmReach(tmp_path)


def test_starts_and_goals_are_central_at_rest_and_can_be_held():
    # Weak motors, so that most configurations are rejected.
    env = ArmReach(effort_limits=[4.0, 1.0])
    starts = env.sample_starts(300, seed=0)
    q, velocity, goal = starts[:, :2], starts[:, 2:4], starts[:, 4:]
    assert (velocity == 0).all()
    for configurations in (q, goal):
        assert 1.7 < np.abs(configurations).max() <= 0.6 * np.pi
        # τ2 = 9.81·(0.6·0.15 + 0.05·0.3)·cos(q1 + q2), and the shoulder bears
        # 9.81·(1·0.2 + 0.65·0.4)·cos q1 more.
        elbow = 9.81 * 0.105 * np.cos(configurations.sum(axis=1))
        shoulder = 9.81 * 0.46 * np.cos(configurations[:, 0]) + elbow
        assert (np.abs(shoulder) <= 2.4 + 1e-9).all()
        assert (np.abs(elbow) <= 0.6 + 1e-9).all()
        assert np.abs(shoulder).max() > 2.3 and np.abs(elbow).max() > 0.58


def test_bullet_clips_velocities_where_the_observation_space_ends():
    # 300 N·m on the iiwa's last joint, of 0.001 kg·m², throw it there in a step.
    env = ArmReach("iiwa")
    env.reset(seed=0)
    observation, *_ = env.step([0.0] * 6 + [300.0])
    assert observation[13] == 100.0 == env.observation_space.high[13]  # type: ignore


@pytest.mark.parametrize(
    "kind, limit, farthest",
    [
        ("revolute", 6.2, 0.6 * 6.2),
        ("revolute", 6.3, 0.6 * np.pi),
        ("prismatic", 99.0, 0.6 * 99.0),
        ("prismatic", 999999.0, 0.6 * 1.0),
    ],
)
def test_limits_out_of_sight_count_as_none(write, kind, limit, farthest):
    wide = f'<limit lower="{-limit}" upper="{limit}" effort="20"/>'
    robot = write(one_joint(limit=wide, kind=kind))
    starts = ArmReach(robot).sample_starts(500, seed=0)[:, 0]
    assert 0.98 * farthest < np.abs(starts).max() <= farthest


def test_starts_keep_within_joint_limits():
    env = ArmReach("panda")
    lower, upper = env.joint_limits
    starts = env.sample_starts(300, seed=0)
    for configurations in (starts[:, :8], starts[:, 16:]):
        share = (configurations - lower) / (upper - lower)
        assert 0.2 <= share.min() < 0.22 and 0.78 < share.max() <= 0.8


def test_scales_suit_what_moves():
    task = ArmReach("panda").task
    # The second finger follows the first.
    assert task.position_scale == (1.0,) * 7 + (0.02,)
    np.testing.assert_allclose(task.speed_scale, (5.0,) * 7 + (0.1,))


@pytest.mark.parametrize("robot", ["two-link", "iiwa"])
def test_computed_torque_reaches_the_goal(robot):
    env = ArmReach(robot)
    n = len(env.joint_names)
    damping = env.damping
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        truncated, info = False, {}
        while not truncated:
            q, velocity, goal = np.split(observation, 3)
            wanted = 64.0 * (goal - q) - 16.0 * velocity
            effort = env.physics_client.calculateInverseDynamics(
                env.body, q.tolist(), velocity.tolist(), wanted.tolist()
            )
            effort = np.array(effort) + damping * velocity
            observation, _, _, truncated, info = env.step(
                np.clip(effort, -env.effort_limits, env.effort_limits)
            )
        assert info["is_success"]
        assert np.linalg.norm(observation[:n] - observation[2 * n :]) < 1e-2


def test_randomized_arm_is_the_arm_of_another_file(write):
    def arm(mass, damping):
        inertia = "".join(
            f'i{k}{k}="{mass * m!r}" ' for k, m in zip("xyz", (1, 2, 2.5), strict=True)
        )
        inertial = (
            f'<inertial><origin xyz="0.3 0 0"/><mass value="{mass!r}"/>'
            f"<inertia {inertia}/></inertial>"
        )
        more = f'<dynamics damping="{damping!r}"/>'
        return one_joint(inertial=inertial, more=more)

    randomized = ArmReach(write(arm(1.0, 0.4)), randomize=0.4)
    start, info = randomized.reset(seed=3)
    (mass,) = info["mass_factors"].tolist()
    (damping,) = info["damping_factors"].tolist()
    assert abs(mass - 1) > 0.05 and abs(damping - 1) > 0.05
    other = ArmReach(write(arm(mass, 0.4 * damping)), time_step=randomized.time_step)
    other.reset(options={"start": start})
    for k in range(100):
        action = [3.0 * np.sin(0.1 * k)]
        here, there = randomized.step(action)[0], other.step(action)[0]
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-13)
