"""Commands other than efforts, through motors and drives: the twin does the same."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance
from roboopt_envs.robot import RobotTask

import roboopt as ro
from roboopt.dynamics import Drive, Multibody
from roboopt.policies import TimeVaryingPolicy
from roboopt.rollouts import collect, twin_rollout
from roboopt.urdf.drive import Memory, followed

DC = {
    "resistance": (2.0, 4.0),
    "torque_constant": 0.02,
    "gear_ratio": (150.0, 120.0),
    "rotor_inertia": 1e-6,
    "supply_voltage": 12.0,
}
CASES = {
    "Bullet's position motors": ("position", None),
    "Bullet's velocity motors": ("velocity", None),
    "torque limited by speed": ("torque", Drive(no_load_speed=3.0)),
    "torque with lag and delay": ("torque", Drive(lag=0.02, delay=(0.01, 0.0))),
    "position loop of a source": (
        "position",
        Drive(position_gain=30.0, velocity_gain=1.0, lag=0.01),
    ),
    "velocity loop": ("velocity", Drive(velocity_gain=5.0, delay=0.009)),
    "DC voltage": ("voltage", Drive(**DC)),
    "DC duty": ("duty", Drive(**DC, lag=0.004)),
    "DC current": ("torque", Drive(**DC)),
    "servo": ("position", Drive(**DC, position_gain=40.0, delay=0.02)),
}


class Waves(TimeVaryingPolicy):
    """Sines within the range of the actions."""

    middle: jax.Array
    half: jax.Array

    def __call__(self, observation, time):
        return self.middle + self.half * jnp.sin(jnp.array([3.0, 5.0]) * time + 0.4)


def bounds(env):
    """Return the lowest and the highest action."""
    assert isinstance(env.action_space, Box)
    return env.action_space.low, env.action_space.high


def rough(robot: Multibody) -> Multibody:
    """Return the robot with friction, damping and rotors of its own."""
    return eqx.tree_at(
        lambda r: (r.friction, r.damping, r.armature),
        robot,
        (jnp.array([0.1, 0.05]), jnp.array([0.02, 0.01]), jnp.array([1e-3, 2e-3])),
    )


@pytest.fixture(scope="module")
def model():
    with ArmReach("two-link") as env:
        return rough(ro.dynamics.load_env(env))


@pytest.mark.parametrize("case", CASES)
def test_the_twin_follows_commands_as_the_environment_does(case, model):
    interface, drive = CASES[case]
    env = ArmReach(
        "two-link",
        model=model,
        duration=3.0,
        control_period=1 / 60,
        interface=interface,
        drive=drive,
    )
    low, high = bounds(env)
    share = 0.1 if interface == "velocity" and drive is None else 0.4
    half = np.minimum(share * (high - low), 3.0 if interface == "velocity" else np.inf)
    policy = Waves(jnp.asarray((low + high) / 2), jnp.asarray(half / 2))
    starts = env.sample_starts(1, seed=0)
    rollout = twin_rollout(env, joint_limits=True).require()
    there = collect(env, policy, starts=starts)
    here = eqx.filter_jit(rollout)(policy, jnp.asarray(starts))
    for name in ("substep_observations", "substep_efforts", "rewards"):
        gap = np.abs(np.asarray(getattr(here, name)) - getattr(there, name)).max()
        assert gap < 1e-9, (name, gap)
    assert np.ptp(there.observations[..., :2], axis=1).max() > 0.05
    objective = ro.EnergyTaskCost(rollout, env.task, env.actuators)
    for name, term in objective.measure(there).items():
        value = objective.measure(here)[name].value
        np.testing.assert_allclose(term.value, value, rtol=1e-8)
        assert term.value > 0
    env.close()


def test_a_command_is_within_the_limits_of_its_kind():
    with ArmReach("two-link", interface="position") as env:  # without joint limits
        np.testing.assert_array_equal(bounds(env)[1], [np.pi, np.pi])
    with CartPoleBalance(interface="position") as env:
        assert bounds(env) == (-2.4, 2.4)
        env.reset(seed=0)
        with pytest.raises(ro.RobooptError, match="`action` on joint .* within ±2.4"):
            env.step([2.5])
    drive = Drive(**DC)
    speed = 12 / (np.array([150, 120]) * 0.02)
    highs = {"velocity": speed, "voltage": [12, 12], "duty": [1, 1]}
    for interface, high in highs.items():
        given = Drive(**DC, velocity_gain=1.0) if interface == "velocity" else drive
        with ArmReach("two-link", interface=interface, drive=given) as env:
            np.testing.assert_allclose(bounds(env)[1], high, rtol=1e-15)
            np.testing.assert_allclose(env.actuators.torque_constant, [3.0, 2.4])


def test_the_cost_of_a_task_is_of_the_efforts():
    with CartPoleBalance(interface="position", duration=0.1) as env:
        env.reset(options={"start": np.array([0.0, 0.0, 0.0, 0.0])})
        seen, reward, *_, info = env.step([0.3])
        force = info["effort"][0]
        assert force == 10.0  # all that the motor has, to get there at once
        expected = env.task.cost_rate(seen, np.array([force])) / 240
        np.testing.assert_allclose(-reward, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "interface, drive, match",
    [
        ("force", None, "`interface` must be one of torque, position"),
        ("voltage", None, "`drive` must have a `resistance`"),
        ("position", Drive(**DC), "`drive` must have a `position_gain`"),
        ("duty", Drive(resistance=1.0, torque_constant=1.0), "a `supply_voltage`"),
        ("torque", Drive(lag=(0.1, 0.1, 0.1)), "`drive` must have one `lag`"),
        ("position", Drive(position_gain=9.0, supply_voltage=5.0), "with a `resist"),
        ("torque", Drive(torque_constant=0.02), "with a `resistance`"),
        ("torque", Drive(gear_ratio=(9.0, 1.0)), "`gear_ratio` with a `resistance`"),
        ("torque", Drive(**DC, no_load_speed=5.0), "without a `resistance`"),
    ],
)
def test_a_drive_that_cannot_follow_is_refused(interface, drive, match, model):
    with pytest.raises(ro.RobooptError, match=match):
        ArmReach("two-link", interface=interface, drive=drive)
    with pytest.raises(ro.RobooptError, match=match):
        ro.Twin(model, 0.01, interface=interface, drive=drive)


@pytest.mark.parametrize(
    "bad", [{"lag": -1.0}, {"gear_ratio": 0.0}, {"resistance": 1}, {"lag": "10 ms"}]
)
def test_impossible_drives_are_refused(bad):
    with pytest.raises(ro.RobooptError, match="`(lag|gear_ratio|torque_constant)`"):
        Drive(**bad)


def test_lag_and_delay_are_those_that_are_fitted(model):
    # `ParametricTwin.commanded` filters a recorded sequence, the drive step by step.
    twin = ro.Twin(model, 0.01, drive=Drive(lag=(0.03, 0.0), delay=(0.0, 0.025)))
    actions = jnp.asarray(np.random.default_rng(0).normal(size=(20, 2)))
    memory, felt = twin.first_memory(), []
    assert twin.drive is not None and isinstance(memory, Memory)
    for action in actions:
        memory, now = followed(twin.drive, memory, action, 0.01)
        felt.append(now)
    plain = ro.dynamics.ParametricTwin(ro.Twin(model, 0.01), ("lag", "delay"))
    fitted = eqx.tree_at(
        lambda m: m.coordinates, plain, jnp.array([0.03, 0.0, 0.0, 0.025])
    )
    np.testing.assert_allclose(felt, fitted.commanded(actions, 0.01), rtol=1e-12)


def test_the_numbers_of_a_drive_have_derivatives(model):
    def speed(drive):
        twin = ro.Twin(model, 1 / 240, interface="position", drive=drive)
        after = twin(jnp.array([0.3, -0.2, 0.5, -0.4]), jnp.array([0.5, 0.1]))
        return after[2]

    drive = Drive(**DC, position_gain=40.0).arrays(2, jnp)
    slope = jax.grad(speed)(drive)
    assert slope.lag is None
    for name in ("resistance", "position_gain", "gear_ratio", "rotor_inertia"):
        value = getattr(drive, name)
        nudge = value[0] * 1e-5 * jnp.array([1.0, 0.0])
        ends = [
            speed(dataclasses.replace(drive, **{name: value + sign * nudge}))
            for sign in (-1, 1)
        ]
        difference = (ends[1] - ends[0]) / (2 * nudge[0])
        np.testing.assert_allclose(getattr(slope, name)[0], difference, rtol=1e-5)


def test_a_drive_is_saved_and_loaded(tmp_path: Path):
    drive = Drive(**DC, lag=0.01)
    ro.save(tmp_path / "drive.npz", drive)
    assert ro.load(tmp_path / "drive.npz") == drive


GRIPPER = """<robot name="gripper"><link name="base"/>{links}
<joint name="hinge" type="revolute"><parent link="base"/><child link="a"/>
<axis xyz="0 1 0"/><limit lower="-0.4" upper="0.3" effort="6" velocity="9"/>
<dynamics damping="0.05" friction="0.1"/></joint>
<joint name="left" type="prismatic"><origin xyz="0 0 0.3"/><parent link="a"/>
<child link="b"/><axis xyz="0 1 0"/><limit lower="0" upper="0.04" effort="20"
velocity="1"/><dynamics damping="2" friction="0.5"/></joint>
<joint name="right" type="prismatic"><origin xyz="0 0 0.3"/><parent link="a"/>
<child link="c"/><axis xyz="0 -1 0"/><limit lower="0" upper="0.04" effort="20"
velocity="1"/><mimic joint="left" multiplier="1" offset="0"/></joint></robot>"""
LINK = """<link name="{}"><inertial><origin xyz="0 0 0.1"/><mass value="0.4"/>
<inertia ixx="0.002" iyy="0.002" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial>
</link>"""
FINGERS = {**DC, "gear_ratio": (150.0, 900.0)}


@pytest.mark.parametrize(
    "interface, drive", [("position", None), ("duty", FINGERS)], ids=str
)
def test_limits_and_followers_are_those_of_the_twin(interface, drive, tmp_path):
    path = tmp_path / "gripper.urdf"
    path.write_text(GRIPPER.format(links="".join(map(LINK.format, "abc"))))
    upright = {"hinge": 0.0, "left": 0.02}
    settings = {"interface": interface, "drive": drive, "duration": 1.5}
    env = RobotTask(path, upright=upright, start_half_width=0.0, **settings)
    low, high = bounds(env)
    policy = Waves(jnp.asarray((low + high) / 2), jnp.asarray((high - low) / 2))
    start = env.sample_starts(1, seed=0)
    there = collect(env, policy, starts=start)
    rollout = twin_rollout(env, joint_limits=True).require()
    here = eqx.filter_jit(rollout)(policy, jnp.asarray(start))
    q = there.observations[0, :, :2]
    assert (q.max(0) > env.joint_limits[1] - 1e-3).any()
    for name in ("observations", "efforts"):
        gap = np.abs(np.asarray(getattr(here, name)) - getattr(there, name)).max()
        assert gap < 1e-9, (name, gap)
    env.close()
