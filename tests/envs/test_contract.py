"""What every environment promises, whatever the robot."""

import hashlib
import json
import subprocess
import sys
import time
import warnings
from functools import partial
from multiprocessing import set_forkserver_preload
from pathlib import Path

import gymnasium
import numpy as np
import pybullet
import pytest
import roboopt_envs  # noqa: F401  registers the environments
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.passive_env_checker import env_render_passive_checker
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import RescaleAction

from roboopt.urdf import read_urdf

from .conftest import SLOW, SPECS

# Long enough to come from rest to the joints' limits, short enough to be many.
SHORT = 0.2
# The Panda takes longer than all others, and is an arm like the two-link one here.
SMALL_ROBOTS = pytest.mark.parametrize(
    "spec",
    [
        pytest.param(x, marks=[pytest.mark.slow] * (x in {*SLOW, "panda"}))
        for x in SPECS
    ],
    indirect=True,
)


def episode(env, *, seed=None, options=None, actions_seed=1, size=0.5):
    """Return observations, rewards and infos of an episode of random actions."""
    random = np.random.default_rng(actions_seed)
    observation, info = env.reset(seed=seed, options=options)
    observations, rewards, infos, truncated = [observation], [], [info], False
    while not truncated:
        action = size * random.uniform(-1, 1, env.effort_limits.shape)
        step = env.step(action * env.effort_limits)
        observation, reward, terminated, truncated, info = step
        assert not terminated
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    return np.array(observations), np.array(rewards), infos


def fingerprint(env, **kwargs) -> str:
    """Return a hash of every bit of an episode."""
    observations, rewards, infos = episode(env, **kwargs)
    digest = hashlib.sha256(observations.tobytes() + rewards.tobytes())
    for info in infos:
        for key in sorted(info):
            digest.update(np.asarray(info[key]).tobytes())
    return digest.hexdigest()


def warnings_of_check_env(env) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Rendering is checked below: here it would open a window, too.
        check_env(env, skip_render_check=True)
    return [str(warning.message) for warning in caught]


def test_gymnasiums_checker_only_advises_to_normalize_actions(make):
    env = make()
    advice = warnings_of_check_env(env)
    # Gymnasium has no advice for limits below 1, in whatever unit.
    assert len(advice) == (1 if env.effort_limits.max() > 1 else 0)
    for text in advice:
        assert "we recommend using a symmetric and normalized space" in text


def test_gymnasiums_checker_has_nothing_to_say_on_rescaled_actions(make):
    (note,) = warnings_of_check_env(
        RescaleAction(make(), np.float64(-1), np.float64(1))
    )
    assert "is different from the unwrapped version" in note  # what a wrapper is


def test_same_seed_same_bits(make):
    env, other = make(duration=SHORT), make(duration=SHORT)
    first = fingerprint(env, seed=3)
    assert fingerprint(env, seed=4, actions_seed=2) != first
    assert fingerprint(env, seed=3) == first
    assert fingerprint(other, seed=3) == first


def test_same_seed_same_bits_in_another_process(specs):
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import gymnasium;"
        "from envs.test_contract import SHORT, fingerprint;"
        "print(json.dumps([fingerprint(gymnasium.make(name, duration=SHORT, **fixed)"
        ".unwrapped, seed=3) for name, fixed in json.loads(sys.argv[2])]))"
    )
    arguments = [str(Path(__file__).parents[1]), json.dumps(list(specs.values()))]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    here = [
        fingerprint(gymnasium.make(name, duration=SHORT, **fixed).unwrapped, seed=3)
        for name, fixed in specs.values()
    ]
    assert json.loads(done.stdout.splitlines()[-1]) == here


def test_nothing_is_left_of_what_others_did_to_the_world(make):
    env = make(duration=SHORT)
    first = fingerprint(env, seed=3)
    joint = env.joint_indices[0]
    env.physics_client.setJointMotorControl2(
        env.body, joint, pybullet.POSITION_CONTROL, targetPosition=1.0
    )
    env.physics_client.setJointMotorControl2(
        env.body, joint, pybullet.TORQUE_CONTROL, force=5.0
    )
    assert fingerprint(env, seed=3) == first


def test_start_as_asked_for(make):
    env = make(duration=SHORT)
    observations, _, _ = episode(env, seed=3)
    start = env.sample_starts(1, seed=8)[0]
    again, _, _ = episode(env, options={"start": start})
    np.testing.assert_array_equal(again[0], start)
    first, _, _ = episode(env, options={"start": observations[0]})
    np.testing.assert_array_equal(first, observations)


def test_sampled_starts_are_those_of_reset(make):
    env = make()
    starts = env.sample_starts(5, seed=11)
    resets = [env.reset(seed=11)[0], *(env.reset()[0] for _ in range(4))]
    np.testing.assert_array_equal(starts, resets)
    np.testing.assert_array_equal(starts, env.sample_starts(5, seed=11))
    assert (starts != env.sample_starts(5, seed=12)).any(axis=1).all()


def test_sampling_starts_leaves_an_episode_alone(make):
    env = make(duration=SHORT)
    observations, _, _ = episode(env, seed=3)
    env.reset(seed=3)
    random = np.random.default_rng(1)
    for expected in observations[1:]:
        env.sample_starts(2, seed=0)
        action = 0.5 * random.uniform(-1, 1, env.effort_limits.shape)
        np.testing.assert_array_equal(env.step(action * env.effort_limits)[0], expected)


def test_randomized_starts_are_those_of_the_nominal_robot(make):
    env = make(randomize=0.5)
    env.reset(seed=0)
    np.testing.assert_array_equal(
        env.sample_starts(3, seed=1), make().sample_starts(3, seed=1)
    )


def test_observations_stay_in_their_space(make):
    env = make()
    observations, _, _ = episode(env, seed=0, size=1.0)
    assert len(observations) == env.horizon + 1
    assert all(env.observation_space.contains(o) for o in observations)
    assert observations.dtype == np.float64
    bounds = np.array([env.observation_space.low, env.observation_space.high])
    assert np.isfinite(bounds).all()


def test_motion_obeys_the_equation_of_motion(make):
    # Kᵀ(M·K·q̈ + h(q, q̇)) = τ − d·q̇′, with M and h at the old state, the moving joints
    # at K q + c, and damping d at the new velocity, where nothing but joints' limits,
    # damping and the motors acts: Bullet's own inverse dynamics of the acceleration
    # that the step made must give the effort back, so no motor or link damping is on.
    env = make()
    random = np.random.default_rng(0)
    n = len(env.joint_names)
    matrix, offset = read_urdf(env.urdf).coupling
    for start in env.sample_starts(10, seed=0):
        velocity = 0.3 * random.uniform(-1, 1, n)
        start[n : 2 * n] = velocity
        env.reset(options={"start": start})
        # So little that no joint is thrown to the velocity clip.
        action = 0.01 * random.uniform(-1, 1, env.effort_limits.shape)
        after, _, _, _, info = env.step(action * env.effort_limits)
        acceleration = (after[n : 2 * n] - velocity) / env.time_step
        effort = env.physics_client.calculateInverseDynamics(
            env.body,
            (matrix @ start[:n] + offset).tolist(),
            (matrix @ velocity).tolist(),
            (matrix @ acceleration).tolist(),
        )
        # The acceleration has the velocities' rounding, 1e-16 over the time step.
        np.testing.assert_allclose(
            matrix.T @ effort,
            info["effort"] - env.damping * after[n : 2 * n],
            rtol=1e-9,
            atol=1e-9,
        )
        moved = env.time_step * after[n : 2 * n]
        np.testing.assert_allclose(after[:n], start[:n] + moved, rtol=0, atol=1e-14)


def test_sums_in_info(make):
    env = make(duration=SHORT)
    observations, rewards, infos = episode(env, seed=5)
    assert infos[0] == {}
    n, last = len(env.joint_names), infos[-1]
    efforts = np.array([info["effort"] for info in infos[1:]])
    velocity = observations[:, n : 2 * n]
    power = np.abs(efforts * (velocity[:-1] + velocity[1:]) / 2)
    # Sums of a few hundred numbers, in whatever order.
    same = partial(np.testing.assert_allclose, rtol=1e-12)
    same([info["mechanical_power"] for info in infos[1:]], power)
    same(last["mechanical_work"], power.sum() * env.time_step)
    joule = sum(info["joule_power"].sum() for info in infos[1:])
    same(last["joule_loss"], joule * env.time_step)
    same(last["task_cost"], -rewards.sum())
    rates = env.task.cost_rate(observations[1:], efforts[:, list(env.actuated)])
    same(-rewards, rates * env.time_step)
    assert not any(info["is_success"] for info in infos[1:-1])
    success = bool(env.task.success(observations, env.time_step))
    assert last["is_success"] is success


def test_a_motor_draws_ten_amperes_at_its_limit(make):
    env = make()
    env.reset(seed=0)
    _, _, _, _, info = env.step(env.effort_limits)
    expected = np.zeros(len(env.joint_names))
    expected[list(env.actuated)] = 100.0  # (10 A)²·1 Ω
    np.testing.assert_allclose(info["joule_power"], expected, rtol=1e-12)


def test_randomized_dynamics_are_what_reset_says(make):
    env = make(randomize=0.3, duration=SHORT)
    first = fingerprint(env, seed=3)
    client, links = env.physics_client, range(env.physics_client.getNumJoints(env.body))
    other = make()
    nominal = [other.physics_client.getDynamicsInfo(other.body, k) for k in links]
    for _ in range(5):
        _, info = env.reset()
        mass, damping = info["mass_factors"], info["damping_factors"]
        assert (np.abs(mass - 1) <= 0.3).all() and (np.abs(damping - 1) <= 0.3).all()
        massive = [link for link in links if nominal[link][0] > 0]
        assert len(mass) == len(massive) and len(damping) == len(env.joint_names)
        for link, factor in zip(massive, mass, strict=True):
            now = client.getDynamicsInfo(env.body, link)
            np.testing.assert_allclose(now[0], factor * nominal[link][0], rtol=1e-15)
            inertia = factor * np.array(nominal[link][2])
            np.testing.assert_allclose(now[2], inertia, rtol=1e-15)
        for link in set(links) - set(massive):
            assert client.getDynamicsInfo(env.body, link)[:3] == nominal[link][:3]
    assert fingerprint(env, seed=3) == first


@SMALL_ROBOTS
def test_resets_leak_nothing(make):
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("resident memory is read from /proc")
    env = make(randomize=0.1)

    def resident_kib() -> float:
        return int(statm.read_text().split()[1]) * 4

    for _ in range(200):
        env.reset()
    before = resident_kib()
    for _ in range(1000):
        env.reset()
    # A robot loaded, or a state saved, at each of them would be 180 MiB at least; the
    # allocator's own ups and downs are below 1 MiB.
    assert resident_kib() - before < 4096


@SMALL_ROBOTS
def test_vectorized_as_one_by_one(spec):
    name, fixed = spec
    # So a process that starts afresh imports what registers it.
    one = partial(gymnasium.make, f"roboopt_envs:{name}", duration=SHORT, **fixed)
    singles = [one().unwrapped for _ in range(2)]
    # JAX, which other tests import, does not survive a fork: the server lacks it.
    set_forkserver_preload(["gymnasium", "numpy", "pybullet"])
    for batch in (
        SyncVectorEnv([one, one]),
        AsyncVectorEnv([one, one], context="forkserver"),
    ):
        observations, _ = batch.reset(seed=[4, 5])
        for single, seed, row in zip(singles, (4, 5), observations, strict=True):
            np.testing.assert_array_equal(single.reset(seed=seed)[0], row)
        batch.action_space.seed(0)
        for _ in range(10):
            actions = batch.action_space.sample()
            observations, rewards, _, _, infos = batch.step(actions)
            for i, single in enumerate(singles):
                observation, reward, _, _, info = single.step(actions[i])
                np.testing.assert_array_equal(observations[i], observation)
                assert rewards[i] == reward
                assert infos["mechanical_work"][i] == info["mechanical_work"]
        batch.close()


def test_pictures(make):
    env, blind = make(render_mode="rgb_array", duration=SHORT), make(duration=SHORT)
    assert fingerprint(env, seed=3) == fingerprint(blind, seed=3)
    env.reset(seed=3)
    picture = env.render()
    env_render_passive_checker(env)
    assert picture.shape == (360, 480, 3) and picture.dtype == np.uint8
    assert env.metadata["render_fps"] == round(1 / env.time_step)
    # The robot is seen: at least 1 % of the picture is not sky, and the sky surrounds
    # it, unless it stands on something.
    seen = (picture != picture[0, 0]).any(axis=-1)
    assert seen.mean() > 0.01
    assert not seen[0].any() and not seen[:, 0].any() and not seen[:, -1].any()
    # Pictures disturb nothing.
    env.reset(seed=3)
    blind.reset(seed=3)
    for _ in range(5):
        env.render()
        np.testing.assert_array_equal(
            env.step(0.1 * env.effort_limits)[0], blind.step(0.1 * env.effort_limits)[0]
        )


def test_picture_from_tuples(make, monkeypatch):
    # So a PyBullet built without NumPy returns them.
    env = make(render_mode="rgb_array", width=40, height=30)
    env.reset(seed=0)
    expected = env.render()
    camera_image = env.physics_client.getCameraImage

    def tuples(*args, **kwargs):
        width, height, *buffers = camera_image(*args, **kwargs)
        return width, height, *(tuple(b.ravel().tolist()) for b in buffers)

    monkeypatch.setattr(env.physics_client, "getCameraImage", tuples, raising=False)
    np.testing.assert_array_equal(env.render(), expected)


def test_render_mode_none_and_others(make, monkeypatch):
    env = make()
    with pytest.raises(ResetNeeded, match="`render` needs a `reset`"):
        env.render()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None
    with (
        pytest.warns(UserWarning, match="not in the possible render_modes"),
        pytest.raises(ValueError, match="`render_mode` must be None or one of"),
    ):
        make(render_mode="ascii")
    with pytest.raises(ValueError, match="`width` and `height` must be at least 1"):
        make(render_mode="rgb_array", width=0)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(RuntimeError, match="needs a display"):
        make(render_mode="human")


def test_a_window_shows_real_time(make, monkeypatch):
    # The window itself needs a display; what waits for it does not.
    env = make()
    waited = []
    monkeypatch.setattr(time, "monotonic", lambda: sum(waited))
    monkeypatch.setattr(time, "sleep", waited.append)
    env.render_mode = "human"
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.zeros(len(env.effort_limits)))
    np.testing.assert_allclose(waited, env.time_step, rtol=1e-12)
    assert env.render() is None


def test_bad_actions_are_refused(make):
    env = make()
    env.reset(seed=0)
    good = np.zeros(len(env.effort_limits))
    name = env.joint_names[env.actuated[-1]]
    for bad in (1.01 * env.effort_limits[-1], -np.inf, np.nan):
        action = good.copy()
        action[-1] = bad
        with pytest.raises(ValueError, match=f"`action` on joint '{name}' must be wit"):
            env.step(action)
    for shape in ((len(good) + 1,), (1, len(good)), ()):
        with pytest.raises(ValueError, match="`action` must have shape"):
            env.step(np.zeros(shape))
    env.step(good)


def test_bad_options_are_refused(make):
    env = make()
    start = env.sample_starts(1, seed=0)[0]
    with pytest.raises(ValueError, match=r"`options` may hold 'start', got \['strat'"):
        env.reset(options={"strat": start})
    with pytest.raises(ValueError, match="must have shape"):
        env.reset(options={"start": start[:-1]})
    for bad in (np.nan, np.inf, 100.5):
        start[2 * len(env.joint_names) - 1] = bad
        with pytest.raises(ValueError, match="must be within `observation_space`"):
            env.reset(options={"start": start})
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        env.sample_starts(0, seed=0)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"duration": 0.0}, "`duration` must be finite and at least one time step"),
        ({"duration": -1.0}, "`duration` must be finite"),
        ({"duration": np.inf}, "`duration` must be finite"),
        ({"duration": np.nan}, "`duration` must be finite"),
        ({"time_step": 0.0}, "`time_step` must be positive and finite, got 0.0"),
        ({"time_step": np.nan}, "`time_step` must be positive and finite"),
        ({"randomize": 1.0}, r"`randomize` must be in \[0, 1\), got 1.0"),
        ({"randomize": -0.1}, "`randomize` must be in"),
        ({"randomize": np.nan}, "`randomize` must be in"),
    ],
)
def test_bad_arguments_are_refused(make, arguments, match):
    with pytest.raises(ValueError, match=match):
        make(**arguments)


def test_actuators_are_taken_and_counted(make):
    env = make()
    n = len(env.joint_names)
    given = type(env.actuators)((2.0,) * n, (3.0,) * n, regenerative=True)
    assert make(actuators=given).actuators is given
    more = type(env.actuators)((2.0,) * (n + 1), (3.0,) * (n + 1))
    with pytest.raises(ValueError, match="`actuators` must describe the joints"):
        make(actuators=more)


def test_steps_only_within_an_episode(make):
    env = make(duration=SHORT)
    with pytest.raises(ResetNeeded, match="`step` needs a `reset`"):
        env.step(np.zeros(len(env.effort_limits)))
    episode(env, seed=0)
    with pytest.raises(ResetNeeded, match="`step` needs a `reset`"):
        env.step(np.zeros(len(env.effort_limits)))


def test_nothing_after_close(make):
    env = make()
    env.reset(seed=0)
    env.close()
    env.close()
    for call in (
        env.reset,
        env.render,
        partial(env.step, np.zeros(len(env.effort_limits))),
        partial(env.sample_starts, 1, seed=0),
    ):
        with pytest.raises(ClosedEnvironmentError, match="was called after `close`"):
            call()


LEFT_OPEN = """
import atexit, sys, gymnasium

def unload():
    for name in ("disconnect", "error"):
        setattr(sys.modules["pybullet"], name, None)

atexit.register(unload)  # the first, and so the last to run
env = gymnasium.make("roboopt_envs:roboopt/CartPoleBalance-v0")
"""


def test_an_environment_left_open_ends_with_the_program_in_silence():
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, check=True
    )
    assert not done.stderr
