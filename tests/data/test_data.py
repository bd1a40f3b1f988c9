"""Trajectories, and saving and loading them and what was learned."""

import dataclasses
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach

import roboopt as ro


def test_a_return_is_the_sum_of_the_rewards():
    run = ro.Trajectory(np.zeros((2, 3, 1)), np.zeros((2, 2, 1)), 0.1)
    with pytest.raises(ValueError, match="`rewards` must be there"):
        _ = run.returns
    rewarded = dataclasses.replace(run, rewards=np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(rewarded.returns, [3.0, 7.0])


def test_a_trajectory_saves_and_loads(tmp_path):
    trajectory = ro.Trajectory(
        np.arange(12.0).reshape(2, 3, 2),
        np.ones((2, 2, 1), int),
        0.25,
        np.zeros((2, 2)),
        terminated=np.array([True, False]),
        success=np.array([False, True]),
    )
    trajectory.save(tmp_path / "t.npz")
    loaded = ro.Trajectory.load(tmp_path / "t.npz")
    assert eqx.tree_equal(trajectory, loaded) and loaded.efforts is None
    assert loaded.time_step == 0.25 and loaded.steps == 2


def test_times_are_kept_with_what_is_not_evenly_spaced(tmp_path):
    times = np.array([[0.0, 0.1, 0.4], [0.0, 0.2, 0.3]])
    trajectory = ro.Trajectory(
        np.zeros((2, 3, 2)), np.zeros((2, 2, 1)), 0.175, times=times
    )
    trajectory.save(tmp_path / "t.npz")
    loaded = ro.Trajectory.load(tmp_path / "t.npz")
    assert eqx.tree_equal(trajectory, loaded)
    second = jax.tree.map(lambda leaf: leaf[1], loaded)
    np.testing.assert_array_equal(second.times, times[1])


@pytest.mark.parametrize(
    "observations, actions, extra, match",
    [
        ((3, 2), (3, 1), {}, "`observations` must hold one more step than `actions`"),
        ((2, 4, 2), (3, 1), {}, "`observations` must hold one more step"),
        ((4, 2), (3, 1), {"time_step": 0.0}, "`time_step` must be positive"),
        ((4, 2), (3, 1), {"rewards": np.ones(4)}, "`rewards` must hold one step"),
        ((4, 2), (3, 1), {"efforts": np.ones((2, 2))}, "`efforts` must hold one step"),
        ((4, 2), (3, 1), {"times": np.ones(3)}, "`times` must hold one for each obs"),
        ((2, 4, 2), (2, 3, 1), {"times": np.ones(4)}, "`times` must hold one for each"),
        ((4, 2), (3, 1), {"success": np.ones(1, bool)}, "`success` must hold one a tr"),
        (
            (2, 4, 2),
            (2, 3, 1),
            {"terminated": np.array(True)},
            "`terminated` must hold",
        ),
    ],
)
def test_bad_trajectories_are_refused(observations, actions, extra, match):
    arguments = {"time_step": 0.1, **extra}
    with pytest.raises(ValueError, match=match):
        ro.Trajectory(np.ones(observations), np.ones(actions), **arguments)


def test_a_file_without_a_trajectory_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", observations=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"lacks \['actions', 'time_step'\]"):
        ro.Trajectory.load(tmp_path / "x.npz")


def test_a_controller_comes_back_in_one_line_in_another_process(tmp_path):
    env = ArmReach("two-link")
    twin = ro.Twin.from_env(env)
    controller = ro.policies.PDGravityCompensation.from_limits(
        twin.robot, env.effort_limits, env.time_step
    )
    path = tmp_path / "controller.npz"
    ro.save(path, controller)
    observation = env.sample_starts(1, seed=0)[0]
    program = (
        "import jax; jax.config.update('jax_enable_x64', True); import sys, numpy\n"
        "import roboopt\n"
        "controller = roboopt.load(sys.argv[1])\n"
        "print(*[float(x).hex() for x in controller(numpy.array(eval(sys.argv[2])))])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(path), str(observation.tolist())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    np.testing.assert_allclose(
        [float.fromhex(x) for x in said],
        controller(jnp.asarray(observation)),
        rtol=1e-14,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["controller.npz"]
    env.close()


def test_trees_of_everything_survive(tmp_path):
    network = ro.policies.MLPPolicy.bounded(
        np.ones(3), np.ones(1), key=jax.random.key(0), width=4
    )
    tree = {
        "network": network,
        "list": [1, 2.5, None, True, "text", (np.float32(3.0), jnp.arange(3))],
        "infinite": float("inf"),
        "function": jax.nn.relu,
    }
    ro.save(tmp_path / "tree.npz", tree)
    loaded = ro.load(tmp_path / "tree.npz")
    assert eqx.tree_equal(loaded["network"], network)
    np.testing.assert_array_equal(loaded["network"](jnp.ones(3)), network(jnp.ones(3)))
    assert loaded["list"][:5] == tree["list"][:5] and loaded["infinite"] == float("inf")
    assert isinstance(loaded["list"][5], tuple)
    assert loaded["function"] is jax.nn.relu


def test_what_cannot_be_found_again_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"tree\['f'\] is .*<lambda>"):
        ro.save(tmp_path / "x.npz", {"f": lambda x: x})
    with pytest.raises(ValueError, match=r"tree\[0\] is a set"):
        ro.save(tmp_path / "x.npz", [{1}])
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"`path` must be a file of `roboopt.save`"):
        ro.load(tmp_path / "x.npz")
    for structure in ('{"module": "os:system", "fields": {}}', '{"function": "os:no"}'):
        np.savez(tmp_path / "y.npz", structure=np.array(structure))
        with pytest.raises(ValueError, match="`path` (must )?name"):
            ro.load(tmp_path / "y.npz")
