"""Results keep their robot and show its motions, loaded or not."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs
from gymnasium import make

import roboopt as ro
from roboopt.dynamics import load_urdf
from roboopt.policies import LinearFeedback
from roboopt.rollouts import collect
from roboopt.sysid._robot import KnownRobot, known_scene

GAINS = LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
SHORT: dict[str, Any] = {"duration": 0.25}


def check_replay(result, labels, tmp_path, rows):
    """Check the motions of a result, and that a loaded one has and shows the same."""
    motions = result.robot_motions()
    assert list(motions.runs) == labels
    for label, expected in rows.items():
        shown = motions.runs[label]
        assert len(shown) == len(expected)
        for found, own in zip(shown, expected, strict=True):
            np.testing.assert_array_equal(found, own[:, : found.shape[1]])
    result.save(tmp_path)
    again = ro.load(tmp_path)
    titles = [section.title for section in again.sections(video=False)]
    assert "Replay in 3D" in titles
    for label, runs in again.robot_motions().runs.items():
        np.testing.assert_allclose(runs[0], motions.runs[label][0], atol=1e-12)


def episodes(evaluation):
    found = evaluation.trajectories.episodes()
    return [np.asarray(each.observations) for each in found]


@pytest.mark.slow
def test_a_clone_beside_its_demonstrator(tmp_path):
    shown = collect(
        make("roboopt/CartPoleBalance-v0", **SHORT), GAINS, episodes=4, seed=0
    )
    result = ro.clone(
        shown,
        "roboopt/CartPoleBalance-v0",
        options=SHORT,
        demonstrator=GAINS,
        policy="linear",
        steps=2,
        episodes=2,
    )
    rows = {name: episodes(found) for name, found in result.evaluations.items()}
    check_replay(result, ["demonstrator", "clone"], tmp_path, rows)


def test_environments_without_a_robot_have_no_replay():
    observations = np.linspace(-1, 1, 40).reshape(2, 20, 1) * np.ones(4)
    data = [
        ro.Trajectory(rows, (rows[:-1, 0] > 0).astype(int)[:, None], 0.02)
        for rows in observations
    ]
    small: dict[str, Any] = {"steps": 2, "width": 4, "depth": 1}
    result = ro.clone(data, "CartPole-v1", episodes=2, **small)
    assert result.robot_motions() is None
    titles = [section.title for section in result.sections(video=False)]
    assert "Motions" in titles and "Replay in 3D" not in titles


@pytest.mark.slow
def test_a_learned_policy_beside_its_start(tmp_path):
    result = ro.reinforce(
        "roboopt/CartPoleBalance-v0",
        options=SHORT,
        policy=GAINS,
        gradient="analytic",
        timesteps=16 * 60 * 2,
        episodes=2,
    )
    rows = {name: episodes(found) for name, found in result.evaluations.items()}
    check_replay(result, ["started from", "learned"], tmp_path, rows)


@pytest.mark.parametrize("kind", ["ArmReach", "CartPoleSwingUp"])
def test_a_robot_that_is_excited_in_an_environment_is_known_by_its_scene(kind):
    with make(f"roboopt/{kind}-v0") as env:
        known = KnownRobot.of(env, ("mass",))
        scene = known_scene(known, known, None)  # as of `Excitation.known`
        assert scene is not None and scene.robot.joint_names == known.joint_names


@pytest.mark.slow
def test_a_recording_beside_its_predictions(tmp_path):
    urdf = Path(roboopt_envs.__file__).parent / "assets" / "two_link.urdf"
    robot = load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    twin = ro.Twin(robot, 1 / 240)
    time = np.arange(480)[:, None] / 240
    efforts = np.sin(2 * time + [0, 1]) * [2.0, 0.5] + np.sin(7 * time) * [1.0, 0.2]

    def advance(state, effort):
        after = twin(state, effort)
        return after, after

    start = jnp.array([-1.5, 0.2, 0.0, 0.0])
    states = jax.jit(lambda u: jax.lax.scan(advance, start, u)[1])(jnp.asarray(efforts))
    states = np.vstack([start[None], states])
    known = ro.Trajectory(states[:241], efforts[:240], 1 / 240)
    recorded = ro.Trajectory(states[240:], efforts[240:], 1 / 240)
    result = ro.identify(urdf, [known], free=["damping"], held_out=[recorded])
    motions = result.robot_motions()
    assert motions is not None and motions.colors["fitted"] != motions.colors["URDF"]
    check_replay(result, ["URDF", "fitted", "measured"], tmp_path, {})
    measured, fitted = (motions.runs[name][0] for name in ("measured", "fitted"))
    np.testing.assert_array_equal(measured, recorded.observations[: len(measured), :2])
    np.testing.assert_allclose(fitted, measured, atol=0.02)
