"""Episodes on a Ray cluster: those of one process, whatever fails on the way."""

import os
import signal
import threading
import time
import warnings
from typing import Any

import equinox as eqx
import gymnasium
import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.rollouts import EnvError, GymRollout, Ray, collect

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")

WORKERS = Ray(workers=2)


class Walk(gymnasium.Env):
    """A random walk; what `trouble` says happens at its third step, if it may."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)
    time_step = 0.1

    def __init__(self, trouble="", folder=None, step_s=0.0):
        self.trouble, self.folder, self.step_s = trouble, folder, step_s

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.count = self.np_random.normal(size=2), 0
        self.long = int(self.np_random.integers(4, 9))
        return self.at.copy(), {}

    def step(self, action):
        self.at = self.at + action + 0.1 * self.np_random.normal(size=2)
        self.count += 1
        if self.count == 3 and self.at[0] > 0 and self.may():
            if self.trouble == "raise":
                raise ValueError("the gripper is stuck")
            if self.trouble == "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.trouble == "hang":
                time.sleep(1000)
        time.sleep(self.step_s)
        over = self.count == self.long
        info = {"is_success": bool(over and self.at[1] > 0), "effort": action}
        return self.at.copy(), -float(self.at @ self.at), over, False, info

    def may(self):
        """Return whether trouble is due: always, or once in a folder."""
        if self.folder is None or not self.trouble:
            return bool(self.trouble)
        try:
            os.close(os.open(os.path.join(self.folder, "once"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def home(observation):
    return -0.1 * observation[:1]


def equal(one, other, atol=0.0):
    for name in ("observations", "actions", "rewards", "efforts", "terminated"):
        pair = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(*pair, rtol=0, atol=atol)
    np.testing.assert_array_equal(one.success, other.success)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    assert one.time_step == other.time_step


@pytest.fixture(scope="module", autouse=True)
def end():
    """End the cluster that the first test starts."""
    yield
    ray.shutdown()


def test_seeds_give_the_episodes_of_one_process():
    counts = []
    settings: dict[str, Any] = {"episodes": 21, "seed": 4}
    found = collect(Walk, home, workers=WORKERS, progress=counts.append, **settings)
    equal(found, collect(Walk, home, **settings))
    assert counts == list(range(1, 22))
    # A policy with randomness of its own, and another that labels.
    noisy = ro.policies.ActionNoise(ro.policies.LinearFeedback(np.ones((1, 2))), 0.1)
    settings |= {"label": home, "max_steps": 6}
    found = collect(Walk, noisy, workers=WORKERS, **settings)
    # JAX rounds otherwise where it computes other numbers of actions at once.
    equal(found, collect(Walk, noisy, **settings), atol=1e-12)


@pytest.mark.slow
def test_many_policies_run_as_in_one_process():
    gains = np.random.default_rng(0).normal(size=(3, 1, 2))
    one = ro.policies.LinearFeedback(np.zeros((1, 2)))
    policies = jax.tree.map(lambda x: np.stack([x] * 3), one)
    policies = eqx.tree_at(lambda p: p.gains, policies, gains)
    starts = np.arange(5)
    with GymRollout(Walk, 7, envs=4, workers=WORKERS) as cluster:
        with GymRollout(Walk, 7, envs=2) as here:
            pairs = [
                (r.many(policies, starts), r(one, starts)) for r in (cluster, here)
            ]
            for found, expected in zip(*pairs, strict=True):
                equal(found, expected, atol=1e-12)
            assert cluster.steps_made == here.steps_made
            assert cluster.time_step == here.time_step == 0.1
    with pytest.raises(ro.RobooptError, match="closed"):
        cluster(one, np.arange(5))


@pytest.mark.parametrize(
    "trouble, told",
    [
        pytest.param(
            *("raise", "raised ValueError: the gripper is stuck"),
            marks=pytest.mark.slow,
        ),
        ("die", "died with its worker process, by SIGSEGV"),
        pytest.param(*("hang", "did not answer within 2 s"), marks=pytest.mark.slow),
    ],
)
def test_what_fails_once_is_named_and_runs_again(tmp_path, trouble, told):
    def make():
        return Walk(trouble, str(tmp_path))

    with GymRollout(Walk, 9) as here:
        expected = here(home, np.arange(12))
    with GymRollout(make, 9, envs=4, workers=WORKERS, timeout=2.0) as cluster:
        with pytest.warns(UserWarning, match="Run again elsewhere") as warned:
            found = cluster(home, np.arange(12))
    assert (tmp_path / "once").exists()
    text = str(warned[0].message)
    assert told in text and "node" in text and "step 2 of its episode" in text
    number = int(text.split()[1])
    assert found.observations[number, 3, 0] > 0
    equal(found, expected)


@pytest.mark.slow
def test_what_always_fails_is_an_error_with_its_episode():
    with GymRollout(lambda: Walk("die"), 9, envs=4, workers=WORKERS) as cluster:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(EnvError, match=r"episode \d+ .*SIGSEGV.*Attempts: 3"):
                cluster(home, np.arange(12))
        again = [str(w.message) for w in warned if "Run again" in str(w.message)]
        assert len(again) >= 2
        # As elsewhere, the next call begins anew.
        with pytest.raises(EnvError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cluster(home, np.arange(12))


def test_other_use_is_refused():
    with pytest.raises(
        ro.RobooptError, match="`policy` must return finite .*episode 0"
    ):
        collect(Walk, lambda o: o[:1] * np.nan, episodes=1, seed=0, workers=WORKERS)
    with pytest.raises(ro.RobooptError, match="`env` must make an environment"):
        collect(lambda: 3, home, episodes=2, workers=WORKERS)
    with pytest.raises(ro.RobooptError, match="`processes` must be 0"):
        collect(Walk, home, episodes=2, processes=2, workers=WORKERS)
    with pytest.raises(ro.RobooptError, match="`workers` must be at least 1"):
        Ray(workers=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")  # Ray begins the nodes' processes so.
def test_a_node_that_is_lost_on_the_way_costs_nothing(tmp_path):
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    ray.shutdown()
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    settings: dict[str, Any] = {"episodes": 240, "seed": 1}
    counts: list[int] = []

    class Marked(Walk):
        def reset(self, **settings):
            # The process that started the worker which started this one is the node's.
            told = open(f"/proc/{os.getppid()}/stat").read()
            (tmp_path / told.rpartition(")")[2].split()[1]).touch()
            return super().reset(**settings)

    def make():
        return Marked(step_s=0.02)

    def kill():
        """End a node whose episodes have begun: each takes some seconds."""
        node = nodes[1].all_processes["raylet"][0].process
        while not (tmp_path / str(node.pid)).exists():
            time.sleep(0.1)
        time.sleep(0.5)
        cluster.remove_node(nodes[1], allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        with pytest.warns(UserWarning, match="lost with its worker on node"):
            found = collect(
                make,
                home,
                workers=Ray(cluster.address),
                progress=counts.append,
                **settings,
            )
    finally:
        ray.shutdown()
        cluster.shutdown()
    killer.join()
    assert len(list(tmp_path.iterdir())) == 3
    assert counts == list(range(1, 241))
    equal(found, collect(Walk, home, **settings))
