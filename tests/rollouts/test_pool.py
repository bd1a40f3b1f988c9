"""Many environments in lockstep, and what becomes of those that fail.

Where a worker process is killed, hangs or dies here, it really does.
"""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

import roboopt as ro
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._pool import Pool

# Workers are not to import this module, and JAX with it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

FAULTS = {
    "raise": lambda: [][0],
    "hang": lambda: time.sleep(60),
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: ctypes.string_at(0),
}


class Ramp(gymnasium.Env):
    """(number, elapsed steps, process): the number grows by the action, ends beyond 9.

    Options say where it starts, and at which step what goes wrong.
    """

    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    time_step = 0.5

    def __init__(self, actions=None):
        self.action_space = Box(-2.0, 2.0, (1,), np.float64) if not actions else actions
        self.seen = np.zeros(3)

    def reset(self, *, seed=None, options=None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.options = options or {}
        start = self.options.get("start", self.np_random.uniform())
        self.seen[:] = start, 0.0, os.getpid()
        return self.seen, {}

    def step(self, action):
        fault = self.options.get("fault") if self.seen[1] == 2 else None
        if fault in FAULTS:
            FAULTS[fault]()
        self.seen[:2] += np.sum(action), 1.0
        if fault == "nan":
            self.seen[0] = np.nan
        reward = np.inf if fault == "reward" else float(np.sum(action))
        over = bool(self.seen[0] > 9)
        return self.seen, reward, over, False, {"effort": [1.0, 2.0], "success": over}


def reset(pool, seeds=None, options=None, rows=None):
    """Begin episodes; `options` are for all rows, or for each."""
    rows = range(pool.envs) if rows is None else rows
    seeds = [None] * len(rows) if seeds is None else seeds
    options = options if isinstance(options, list) else [options] * len(rows)
    starts = map(Start, seeds, options)
    return pool.reset(dict(zip(rows, starts, strict=True)))


def step(pool, actions, rows=None):
    return pool.step(
        np.asarray(actions), list(range(pool.envs) if rows is None else rows)
    )


def pids(observations):
    return {int(pid) for pid in observations[:, 2]}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(found):
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(alive(pid) for pid in found)


@pytest.mark.parametrize("envs, processes", [(3, 0), (3, 1), (5, 2), (2, 3)])
def test_a_pool_is_so_many_environments(envs, processes):
    actions = np.random.default_rng(0).integers(0, 2, (6, envs))
    with Pool("CartPole-v1", envs, processes=processes) as pool:
        description = pool.description
        assert description.time_step == 0.02 and description.bounded
        assert description.name == "CartPole-v1"
        assert description.reward_threshold == 475
        seen = [reset(pool, seeds=range(envs))]
        for action in actions:
            observations, rewards, *ends, success, efforts, _ = step(
                pool, action[:, None]
            )
            seen.append(observations)
            np.testing.assert_array_equal(rewards, 1.0)
            assert ends == [[False] * envs] * 2
            assert success == efforts == [None] * envs
    assert seen[0].dtype == np.float32
    for k in range(envs):
        env = gymnasium.make("CartPole-v1")
        alone = [env.reset(seed=k)[0]]
        alone += [env.step(int(a))[0] for a in actions[:, k]]
        np.testing.assert_array_equal(np.stack(seen)[:, k], alone)


@pytest.mark.parametrize("processes", [0, 2])
def test_only_the_rows_that_are_told_take_a_step_or_begin(processes):
    # From 8 and 2 a step leads beyond 9, which ends it, and to 4.
    with Pool(Ramp, 4, processes=processes) as pool:
        starts = [{"start": start} for start in (8.0, 2.0, 2.0, 8.0)]
        first = reset(pool, options=starts)
        actions = np.full((4, 1), 2.0)
        seen, rewards, terminated, _, success, efforts, _ = step(pool, actions, [0, 1])
        np.testing.assert_array_equal(seen[:, 0], [10, 4, 2, 8])
        assert rewards == [2, 2, 0, 0]
        assert terminated == [True, False, False, False]
        assert success[:2] == [True, False]
        np.testing.assert_array_equal(efforts[:2], [[1.0, 2.0], [1.0, 2.0]])
        assert efforts[2:] == [None, None]
        # The first is over, and is not stepped.
        seen, rewards, terminated, *_ = step(pool, actions, [1, 2, 3])
        np.testing.assert_array_equal(seen[:, 0], [10, 6, 4, 10])
        assert rewards == [0, 2, 2, 2]
        assert terminated == [False, False, False, True]
        # Now only the first and third begin anew.
        again = reset(pool, rows=[2, 0], options=[{"start": 1.0}, {"start": 0.0}])
        np.testing.assert_array_equal(again[:, 0], [0, 6, 1, 10])
        np.testing.assert_array_equal(again[:, 1], [0, 2, 0, 1])
        # What was returned is not written over.
        np.testing.assert_array_equal(first[:, 0], [8, 2, 2, 8])


def test_several_choices_are_given_as_they_are():
    with Pool(lambda: Ramp(MultiDiscrete([2, 3])), 2, processes=1) as pool:
        reset(pool, options={"start": 0.0})
        seen = step(pool, [[1, 2], [0, 1]])[0]
        np.testing.assert_array_equal(seen[:, 0], [3, 1])


class Shown(Ramp):
    def __init__(self, space):
        super().__init__()
        self.observation_space = space


def test_finite_numbers_with_infinite_squares_are_no_fault():
    with Pool(Ramp, 2) as pool:
        reset(pool, options={"start": -1e300})
        seen, rewards, *_ = step(pool, np.ones((2, 1)))
    assert (seen[:, 0] == -1e300).all() and rewards == [1, 1]


REFUSED_SPACES = [
    (lambda: Shown(Dict(x=Box(0, 1, (2,)))), "FlattenObservation"),
    (lambda: Shown(Box(0, 255, (8, 8, 3), np.uint8)), "TransformObservation"),
    (lambda: Ramp(Tuple([Discrete(2)])), "TransformAction"),
    (lambda: gymnasium.make_vec("CartPole-v1", 2), "must be one environment"),
]


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("make, match", REFUSED_SPACES)
def test_other_spaces_are_refused_with_advice(make, match, processes):
    with pytest.raises(ValueError, match=match):
        Pool(make, 2, processes=processes)


SAID = {
    "raise": "`step` raised IndexError: list index out of range",
    "nan": r"gave the observation \[ *nan .*\], which is not finite",
    "reward": "gave the reward inf, which is not finite",
    "hang": "did not answer within 0.5 s",
    "exit": "ended its worker process, with exit code 3",
    "kill": "died with its worker process, by SIGKILL",
    "crash": "died with its worker process, by SIGSEGV",
}


@pytest.mark.parametrize(
    "fault, processes",
    [(fault, 2) for fault in SAID]
    + [(fault, 0) for fault in ("raise", "nan", "reward")],
)
def test_a_fault_names_the_environment_and_the_pool_goes_on(fault, processes):
    with Pool(Ramp, 4, processes=processes, timeout=0.5) as pool:
        before = reset(pool, options=[{}, {}, {}, {"fault": fault, "start": 0.0}])
        action = np.array([[0.0], [0.0], [0.0], [1.5]])
        step(pool, action)
        step(pool, action)
        message = f"{SAID[fault]}, at step 2 of its episode, on action .1.5.."
        with pytest.raises(ro.rollouts.EnvError, match=message) as caught:
            step(pool, action)
        assert str(caught.value).startswith("Ramp: environment 3 ")
        assert (caught.value.index, caught.value.step) == (3, 2)
        after = reset(pool, options={"start": 0.0})
        np.testing.assert_array_equal(step(pool, action)[0][:, 0], [0, 0, 0, 1.5])
        if processes:
            # Those beside it went on in their process, and it has another.
            np.testing.assert_array_equal(before[:2, 2], after[:2, 2])
            assert before[3, 2] != after[3, 2] and gone({int(before[3, 2])})


def test_what_is_raised_tells_where():
    with Pool(Ramp, 2, processes=1) as pool:
        reset(pool, options={"fault": "raise"})
        for _ in range(2):
            step(pool, np.zeros((2, 1)))
        with pytest.raises(ro.rollouts.EnvError) as caught:
            step(pool, np.zeros((2, 1)))
        assert "FAULTS[fault]()" in caught.value.__notes__[0]
        with pytest.raises(ro.rollouts.EnvError, match="environment 1 `reset` raised"):
            reset(pool, rows=[1], options={"start": "here"})


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize(
    "answer, match",
    [
        ((np.zeros(3), np.zeros(1), False, False, {}), r"a number as reward.*\[0\.\]"),
        ((np.zeros(2), 0.0, False, False, {}), r"`step`.*shape \(3,\), got \(2,\)"),
        ((np.zeros(3), 0.0, True, {}), r"\(observation, reward.*\) from `step`"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_no_failure_of_step(answer, match, processes):
    class Wrong(Ramp):
        def step(self, action):
            return answer

    with Pool(Wrong, 1, processes=processes) as pool:
        reset(pool)
        with pytest.raises(ro.rollouts.EnvError, match=match) as caught:
            step(pool, np.zeros((1, 1)))
    assert "raised" not in str(caught.value)


SCRIPT = """
import os, sys, time
import gymnasium, numpy as np
from gymnasium.spaces import Box
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._pool import Pool

class Tell(gymnasium.Env):
    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        print("what it prints is not in the way")
        heavy = "jax" in sys.modules, "roboopt" in sys.modules
        return np.array([os.getpid(), *heavy], float), {}

    def step(self, action):
        print("hung", flush=True)
        time.sleep(3600)

gymnasium.register("Tell-v0", Tell)
pool = Pool(MAKE, 2, processes=2, timeout=2.0)
for row in pool.reset({0: Start(), 1: Start()}).astype(int).tolist():
    print("told", *row, flush=True)
print("ready", flush=True)
LAST
"""


@pytest.mark.parametrize(
    "make, last, until, killed",
    [
        ("Tell", "sys.stdin.read()", "ready", True),
        ("'Tell-v0'", "pool.step(np.zeros((2, 1)), [0, 1])", "hung", True),
        ("Tell", "", "ready", False),
    ],
)
@pytest.mark.slow
def test_workers_end_with_a_script_that_has_no_guard(
    tmp_path, make, last, until, killed
):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("MAKE", make).replace("LAST", last))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, path], stdin=pipe, stdout=pipe, text=True
    ) as script:
        assert script.stdout is not None
        lines = []
        while not lines or lines[-1] != f"{until}\n":
            lines.append(script.stdout.readline())
            assert lines[-1], "it ended early"
        told = [line.split()[1:] for line in lines if line.startswith("told")]
        # Neither JAX nor roboopt is there.
        assert [row[1:] for row in told] == [["0", "0"]] * 2
        if killed:
            script.send_signal(signal.SIGKILL)
        assert gone({int(row[0]) for row in told})


class Forks(Ramp):
    """Forks in its second step; the child returns from the step as well."""

    def step(self, action):
        found = super().step(action)
        if self.seen[1] == 2:
            os.fork()
        return found


def test_the_answers_of_a_process_that_forked_are_not_taken_for_later_ones():
    with Pool(Forks, 1, processes=1) as pool:
        worker = pids(reset(pool, options={"start": 0.0}))
        for k in range(1, 8):
            seen = step(pool, np.ones((1, 1)))[0]
            np.testing.assert_array_equal(seen[:, :2], [[k, k]])
            assert pids(seen) == worker
            # A stale answer may be late.
            time.sleep(0.02)


def test_interrupts_are_the_parents():
    def interrupt(*_):
        raise KeyboardInterrupt

    with Pool(Ramp, 2, processes=2) as pool:
        workers = pids(reset(pool))
        for pid in workers:
            os.kill(pid, signal.SIGINT)
        step(pool, np.zeros((2, 1)))
        step(pool, np.zeros((2, 1)))
        reset(pool, rows=[1], options={"fault": "hang"})
        step(pool, np.zeros((2, 1)))
        step(pool, np.zeros((2, 1)))
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with pytest.raises(KeyboardInterrupt):
                step(pool, np.zeros((2, 1)))
        finally:
            signal.signal(signal.SIGALRM, before)
        # An answer that nobody waited for is not taken for the next.
        np.testing.assert_array_equal(reset(pool, options={"start": 5.0})[:, 0], 5.0)


def test_processes_end_when_the_pool_is_closed_or_forgotten():
    pool = Pool(Ramp, 2, processes=2)
    workers = pids(reset(pool))
    assert len(workers) == 2 and all(map(alive, workers))
    pool.close()
    pool.close()
    assert gone(workers)
    with pytest.raises(ValueError, match="`close` was called"):
        reset(pool)
    workers = pids(Pool(Ramp, 1, processes=1).reset({0: Start()}))
    gc.collect()
    assert gone(workers)


def test_large_observations_pass():
    size = 300_000

    class Large(Ramp):
        observation_space = Box(-np.inf, np.inf, (size,), np.float64)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.arange(size) + float(seed or 0), {}

    with Pool(Large, 2, processes=1) as pool:
        seen = reset(pool, seeds=[0, 7])
        np.testing.assert_array_equal(seen[1], np.arange(size) + 7.0)


def failing():
    raise KeyError("no robot")


BAD = [
    (dict(make=3), "`make` must be a Gymnasium id"),
    (dict(make=Ramp, envs=0), "`envs` must be at least 1"),
    (dict(make=Ramp, processes=-1), "`processes` must be at least 0"),
    (dict(make=Ramp, timeout=0.0), "`timeout` must be positive"),
    (dict(make=failing), "`make` must make.*raised KeyError: 'no robot'"),
    (dict(make=failing, processes=1), "`make` must make.*raised KeyError: 'no robot'"),
    (dict(make="None-v0"), "`make` must make.*NameNotFound"),
    (
        dict(make=list),
        r"`make` must make.*it must be a Gymnasium environment, not \[\]",
    ),
]


@pytest.mark.parametrize("arguments, match", BAD)
def test_a_pool_that_cannot_be_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Pool(**arguments)


def test_what_cannot_be_sent_is_refused():
    lock = threading.Lock()
    with pytest.raises(ValueError, match="`make` must be what cloudpickle"):
        Pool(lambda: lock, 1, processes=1)


def test_a_worker_that_dies_at_the_start_is_told():
    with pytest.raises(ro.rollouts.EnvError, match="at its start it ended its worker"):
        Pool(FAULTS["exit"], 1, processes=1)


def test_the_robots_are_known_by_their_names():
    with Pool("roboopt/CartPoleBalance-v0", 1, processes=1) as pool:
        start = np.array([0.1, 0.0, 0.0, 0.0])
        seen = reset(pool, options={"start": start})
        np.testing.assert_array_equal(seen, [start])
        assert pool.description.unchanged
        assert pool.description.task.success is not None
        assert np.shape(step(pool, np.zeros((1, 1)))[5]) == (1, 2)
