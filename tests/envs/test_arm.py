"""Arms that reach: sizes, limits, starts and what they can do."""

import numpy as np
import pytest
from roboopt_envs.arm import ArmReach

from .urdfs import INERTIA, LIMIT, one_joint

NO_EFFORT = LIMIT.replace(' effort="20"', "")


@pytest.mark.parametrize(
    "robot, time_step", [("two-link", 1 / 240), ("iiwa", 1 / 480), ("panda", 1 / 240)]
)
def test_time_step_suits_the_damping(robot, time_step):
    env = ArmReach(robot)
    assert env.time_step == time_step
    assert env.horizon == round(3.0 / time_step)


def test_time_step_by_hand(write):
    # The link turns about its own axis: M = 0.02 kg·m², so d = 10 N·m·s/rad is
    # d/M = 500 /s. Within 1.5, and a power of two from 240: 1/480 s. With masses and
    # dampings off by 20 %, 1.2/0.8·500 = 750 /s asks for 1/960 s.
    centerd = f'<inertial><mass value="1"/>{INERTIA}</inertial>'
    text = one_joint(inertial=centerd, more='<dynamics damping="10"/>')
    path = write(text)
    assert ArmReach(path).time_step == 1 / 480
    assert ArmReach(path, randomize=0.2).time_step == 1 / 960
    assert ArmReach(path, time_step=0.0039).time_step == 0.0039
    match = "must be below 0.004 s, or damping of joint 'hinge', 10, makes it diverge"
    with pytest.raises(ValueError, match=f"`time_step` {match}, got 0.004"):
        ArmReach(path, time_step=0.004)
    with pytest.raises(ValueError, match="`time_step` must be below 0.00267 s"):
        ArmReach(path, time_step=0.003, randomize=0.2)


def test_the_iiwa_at_240_hz_is_refused():
    with pytest.raises(ValueError, match="damping of joint 'lbr_iiwa_joint_7', 0.5,"):
        ArmReach("iiwa", time_step=1 / 240)


def test_hopeless_damping_is_refused(write):
    text = one_joint(more='<dynamics damping="1e6"/>')
    with pytest.raises(
        ValueError, match="damping of joint 'hinge', 1e.06, is too larg"
    ):
        ArmReach(write(text))


def test_explicit_damping_is_calm_where_we_say_so(write):
    # Without gravity about its axis a spinning link slows down by 1 − Δt·d/M a step.
    centerd = f'<inertial><mass value="1"/>{INERTIA}</inertial>'
    text = one_joint(
        inertial=centerd,
        kind="continuous",
        limit='<limit effort="20"/>',
        more='<dynamics damping="10"/>',
    )
    env = ArmReach(write(text))
    env.reset(options={"start": [0.0, 8.0, 0.0]})
    factor = 1 - env.time_step * 10 / 0.02
    for k in range(1, 6):
        observation, *_ = env.step([0.0])
        np.testing.assert_allclose(observation[1], 8.0 * factor**k, rtol=1e-12)


def test_efforts_are_assumed_where_missing(write):
    # Lever 0.3 m, 1 kg: gravity takes at most 1·9.81·0.3·cos q = 2.94 N·m, about y from
    # the horizontal, and M = 0.02 + 0.3² = 0.11 kg·m²: 3·2.94 + 10·0.11 = 9.93 N·m,
    # less what 200 random configurations miss of the horizontal one.
    path = write(one_joint(limit=NO_EFFORT))
    match = r"no effort limit for these joints, assumed \[N·m or N\]: {'hinge': 9.9"
    with pytest.warns(UserWarning, match=match):
        env = ArmReach(path)
    np.testing.assert_allclose(env.effort_limits, [9.929], rtol=1e-3)
    env = ArmReach(path, effort_limits=[7.0])
    np.testing.assert_array_equal(env.effort_limits, [7.0])
    assert np.array([7.0]) in env.action_space
    assert np.array([7.1]) not in env.action_space
    assert env.actuators.torque_constant == (0.7,)


@pytest.mark.parametrize(
    "limits", [[1.0], [1.0, 0.0], [1.0, np.inf], [1.0, np.nan], [[1.0, 1.0]]]
)
def test_bad_effort_limits_are_refused(limits):
    with pytest.raises(
        ValueError, match="`effort_limits` must hold a positive, finite"
    ):
        ArmReach(effort_limits=limits)


def test_an_arm_that_cannot_hold_itself_is_refused():
    with pytest.raises(ValueError, match="`effort_limits` must leave configurations"):
        ArmReach("iiwa", effort_limits=[1e-3] * 7)


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


@pytest.mark.parametrize("limit, farthest", [(6.2, 0.6 * 6.2), (6.3, 0.6 * np.pi)])
def test_more_than_a_turn_either_way_counts_as_half_a_turn(write, limit, farthest):
    wide = f'<limit lower="{-limit}" upper="{limit}" effort="20"/>'
    starts = ArmReach(write(one_joint(limit=wide))).sample_starts(500, seed=0)[:, 0]
    assert 0.98 * farthest < np.abs(starts).max() <= farthest


def test_starts_keep_within_joint_limits():
    env = ArmReach("panda")
    lower, upper = env.joint_limits
    starts = env.sample_starts(300, seed=0)
    for configurations in (starts[:, :9], starts[:, 18:]):
        share = (configurations - lower) / (upper - lower)
        assert 0.2 <= share.min() < 0.22 and 0.78 < share.max() <= 0.8


def test_scales_suit_what_moves():
    task = ArmReach("panda").task
    assert task.position_scale == (1.0,) * 7 + (0.02, 0.02)
    np.testing.assert_allclose(task.speed_scale, (5.0,) * 7 + (0.1, 0.1))


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
