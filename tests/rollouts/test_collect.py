"""Recording episodes of any environment, of any length, by anyone who acts."""

import types
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro
from roboopt.rollouts import _collect

PLANE = Box(-np.inf, np.inf, (2,), np.float64)


class Drift(gymnasium.Env):
    """(position, elapsed steps): an action moves; ends beyond 2, or at its length."""

    metadata = {"render_fps": None}

    def __init__(self, actions=None, observations=PLANE, length=None, **attributes):
        self.action_space = Box(-1.0, 1.0, (1,)) if actions is None else actions
        self.observation_space = observations
        self.length = length
        self.seen = np.zeros(2)
        self.taken = []
        vars(self).update(attributes)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        start = (options or {}).get("start", [self.np_random.uniform(), 0.0])
        self.seen[:] = start
        return self.seen, {}

    def step(self, action):
        self.taken.append(action)
        self.seen += [float(np.sum(action)), 1.0]
        ended = bool(self.seen[0] > 2)
        info = {"success": ended, "effort": np.array([0.5])}
        return self.seen, 1.0, ended, self.seen[1] == self.length, info


def episodes(*arguments, **options):
    """Return single episodes."""
    return ro.rollouts.collect(*arguments, **options).episodes()


def ahead(observation):
    return np.ones(1)


def test_episodes_keep_their_lengths_and_how_they_ended():
    # From 0, 1.5 and 1.9 a step of 1 passes 2 after 3, 1 and 1 steps; the length is 2.
    env = Drift(length=2)
    starts = np.array([[0.0, 0.0], [1.5, 0.0], [1.9, 0.0]])
    done = []
    runs = episodes(env, ahead, starts=starts, progress=done.append)
    assert [run.steps for run in runs] == [2, 1, 1] and done == [1, 2, 3]
    assert [bool(run.terminated) for run in runs] == [False, True, True]
    assert [bool(run.success) for run in runs] == [False, True, True]
    # The environment writes its observations over the last: these are copies.
    np.testing.assert_array_equal(runs[0].observations, [[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(runs[0].actions, [[1.0], [1.0]])
    np.testing.assert_array_equal(runs[0].rewards, [1.0, 1.0])
    np.testing.assert_array_equal(runs[0].efforts, [[0.5], [0.5]])
    assert runs[0].actions.dtype == np.float32


@pytest.mark.parametrize(
    "attributes, step",
    [
        ({}, 1.0),
        ({"metadata": {"render_fps": 0}}, 1.0),
        ({"metadata": {"render_fps": 50}}, 0.02),
        ({"metadata": {"render_fps": 50}, "time_step": 0.1}, 0.1),
        # A count of steps, by its looks, is not a duration.
        ({"metadata": {"render_fps": 50}, "time_step": 7}, 0.02),
        ({"metadata": {}, "time_step": 0.0}, 1.0),
        # Names that environments of Gymnasium have, such as Pendulum and CartPole.
        ({"metadata": {"render_fps": 50}, "dt": 0.05}, 0.05),
        ({"metadata": {"render_fps": 50}, "tau": 0.05}, 0.05),
    ],
)
def test_the_time_step_is_the_environments_or_else_a_second(attributes, step):
    env = Drift(length=1, **attributes)
    (run,) = episodes(env, ahead, episodes=1)
    assert run.time_step == pytest.approx(step)


def test_without_an_end_max_steps_ends_it():
    (run,) = episodes(Drift(), lambda o: np.zeros(1), episodes=1, max_steps=3)
    assert run.steps == 3 and not run.terminated


def test_success_is_what_the_task_says_of_what_it_sees():
    task = types.SimpleNamespace(success=lambda seen, step: seen[-1, 0] == 3 * step)
    env = Drift(length=3, task=task)
    start = np.zeros((1, 2))
    arguments = {"starts": start, "max_steps": 3}
    assert episodes(env, ahead, **arguments)[0].success
    # Of other observations than its own it knows nothing: the info's word counts.
    env = Drift(length=3, task=types.SimpleNamespace(success=lambda *_: 1 / 0))
    moved = gymnasium.wrappers.TransformObservation(env, lambda o: o + 1, PLANE)
    assert episodes(moved, ahead, **arguments)[0].success
    silent = gymnasium.make("Pendulum-v1", max_episode_steps=2)
    (run,) = episodes(silent, lambda o: np.zeros(1), episodes=1, seed=0)
    assert run.success is None and run.efforts is None


def test_episodes_begin_alike_whoever_acts_and_whatever_was_before():
    env = gymnasium.make("CartPole-v1")
    left = episodes(env, lambda o: 0, episodes=3, seed=5)
    sign = episodes(env, lambda o: int(o[2] > 0), episodes=3, seed=5)
    assert {run.steps for run in left} != {run.steps for run in sign}
    for a, b in zip(left, sign, strict=True):
        np.testing.assert_array_equal(a.observations[0], b.observations[0])
    firsts = {tuple(run.observations[0]) for run in left}
    others = episodes(env, lambda o: 0, episodes=3, seed=6)
    assert len(firsts | {tuple(run.observations[0]) for run in others}) == 6


@pytest.mark.parametrize(
    "space, action, recorded, taken",
    [
        (Discrete(3, start=2), 4, [4], 4),
        (Discrete(3), np.array([1.0]), [1], 1),
        (Discrete(2), np.array(True), [1], 1),
        (MultiDiscrete([2, 3]), np.array([1, 2]), [1, 2], np.array([1, 2])),
        (Box(-1, 2, (2,)), np.array([-1e300, 5]), [-1, 2], np.array([-1, 2])),
        (PLANE, [3, 4], [3, 4], np.array([3, 4])),
    ],
)
def test_actions_are_what_the_space_takes(space, action, recorded, taken):
    env = Drift(space, length=1)
    (run,) = episodes(env, lambda o: action, episodes=1)
    np.testing.assert_array_equal(run.actions, [recorded])
    np.testing.assert_array_equal(env.taken[0], taken)
    assert isinstance(env.taken[0], type(taken))
    kind = "f" if isinstance(space, Box) else "i"
    assert run.actions.dtype.kind == kind


@pytest.mark.parametrize(
    "space, action, match",
    [
        (None, np.zeros(2), r"numbers of shape \(1,\), got float64 of shape \(2,\)"),
        (None, 0.0, r"must return numbers of shape \(1,\), got float64 of shape \(\)"),
        (None, None, "must return numbers"),
        (None, [np.nan], r"finite actions, got \[nan\], at step 0 of episode 0 on obs"),
        (PLANE, [0.0, np.inf], "must return finite actions"),
        (Discrete(2), 0.5, "must choose an integer from 0 to 1, got 0.5"),
        (Discrete(2), np.nan, "must choose an integer from 0 to 1, got nan"),
        (Discrete(2, start=1), 0, "must choose an integer from 1 to 2, got 0"),
        (Discrete(2), [0, 1], r"must return an integer, got int64 of shape \(2,\)"),
        (MultiDiscrete([2, 2]), [0, 2], "must choose integers from"),
        (MultiDiscrete([2, 2]), [0, 0.5], "must choose integers from"),
        (MultiDiscrete([2, 2]), 1, r"must return integers of shape \(2,\)"),
    ],
)
def test_what_is_no_action_is_refused(space, action, match):
    with pytest.raises(ValueError, match=f"`policy` .*{match}"):
        episodes(Drift(space), lambda o: action, episodes=1)


def test_a_refusal_says_where_it_happened():
    def failing(observation):
        return observation[:1] * (np.nan if observation[1] == 1 else 0)

    with pytest.raises(ValueError, match=r"at step 1 of episode 1 on .*\[0.5 1. \]"):
        episodes(
            Drift(length=2),
            lambda o: ahead(o) if o[0] >= 0.9 else failing(o),
            starts=np.array([[1.0, 0.0], [0.5, 0.0]]),
        )
    with pytest.raises(ValueError, match="`label` must return finite actions"):
        episodes(Drift(), ahead, label=lambda o: [np.nan], episodes=1)


@pytest.mark.parametrize(
    "space, advice",
    [
        (Dict(a=PLANE), "FlattenObservation"),
        (Tuple([PLANE, PLANE]), "FlattenObservation"),
        (Discrete(4), "FlattenObservation"),
        (MultiBinary(4), "FlattenObservation"),
        (Box(0, 255, (8, 8, 3), np.uint8), "FlattenObservation.*TransformObservation"),
        (gymnasium.spaces.Text(3), "TransformObservation"),
    ],
)
def test_observations_that_are_no_vectors_are_refused(space, advice):
    with pytest.raises(ValueError, match=f"(?s)Box of one axis, got .*{advice}"):
        episodes(Drift(observations=space), ahead, episodes=1)


@pytest.mark.parametrize(
    "space",
    [
        Dict(a=PLANE),
        Tuple([PLANE]),
        MultiBinary(2),
        Box(-1, 1, (2, 2)),
        Box(0, 9, (1,), np.int64),
        MultiDiscrete(np.full((1, 2), 2)),
    ],
)
def test_actions_that_are_no_vectors_or_choices_are_refused(space):
    with pytest.raises(ValueError, match="`env` must have actions in a Box"):
        episodes(Drift(space), ahead, episodes=1)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({}, "either `starts` or `episodes` must be given, got neither"),
        ({"episodes": 1, "starts": np.zeros((1, 2))}, "either .* got both"),
        ({"episodes": 0}, "`episodes` must be at least 1, got 0"),
        ({"starts": np.zeros((0, 2))}, "`episodes` must be at least 1, got 0"),
        ({"episodes": 1, "seed": -1}, "`seed` must be at least 0, got -1"),
        ({"episodes": 1, "max_steps": 0}, "`max_steps` must be at least 1, got 0"),
        ({"episodes": 1, "label": 3}, "`label` must be callable.*got 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        episodes(Drift(), ahead, **arguments)


def test_what_does_not_act_or_begin_as_told_is_refused():
    with pytest.raises(ValueError, match="`policy` must be callable.*got None"):
        episodes(Drift(), None, episodes=1)
    deaf = gymnasium.make("CartPole-v1")
    with pytest.raises(ValueError, match="`env` must begin where `reset` is told"):
        episodes(deaf, lambda o: 0, starts=np.full((1, 4), 0.2))
    many = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(ValueError, match="must be one environment"):
        episodes(many, lambda o: 0, episodes=1)
    many.close()


def test_whole_numbers_are_observed_as_real_ones():
    bytes_ = Box(0, 255, (2,), np.uint8)
    env = gymnasium.wrappers.TransformObservation(
        Drift(length=1), lambda o: o.astype(np.uint8), bytes_
    )
    kinds = []
    episodes(env, lambda o: kinds.append(o.dtype.kind) or [0], episodes=1)
    assert kinds == ["f"]


class Integrator:
    """A controller of NumPy that remembers, and asks with `if`."""

    def __init__(self):
        self.total, self.calls = 0.0, 0

    def __call__(self, observation):
        self.calls += 1
        if observation[0] > -1:
            self.total += 1.0
        return np.array([self.total / 10])


def test_rules_of_numpy_are_called_once_a_step_and_as_they_stand():
    rule, random = Integrator(), np.random.default_rng(0)
    (run,) = episodes(Drift(length=4), rule, episodes=1)
    assert rule.calls == 4
    np.testing.assert_allclose(run.actions[:, 0], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    (run,) = episodes(Drift(length=4), lambda o: random.uniform(size=1), episodes=1)
    assert len(set(run.actions[:, 0])) == 4


class Asking(eqx.Module):
    """A module that JAX cannot trace."""

    gain: jax.Array

    def __call__(self, observation):
        return self.gain if observation[0] > 0.5 else -self.gain


def test_functions_of_jax_are_compiled_where_they_can_be():
    calls = []

    def pure(observation):
        calls.append(observation)
        return jnp.tanh(observation[:1])

    episodes(Drift(length=5), pure, episodes=2)
    assert len(calls) == 2  # As it stands, and traced.

    def asks(observation):
        return jnp.ones(1) if observation[0] > 0.5 else -jnp.ones(1)

    for policy in (
        asks,
        Asking(jnp.ones(1)),
        ro.policies.ActionNoise(Asking(jnp.ones(1)), 0.0),
    ):
        (run,) = episodes(Drift(length=3), policy, starts=np.array([[0.75, 0.0]]))
        np.testing.assert_array_equal(run.actions[:, 0], [1.0, 1.0][: run.steps])


class Clock(ro.policies.OpenLoop):
    def __call__(self, time):
        return jnp.sin(time)[None]


class Leash(ro.policies.TimeVaryingPolicy):
    def __call__(self, observation, time):
        return 0.5 * (time - observation[:1])


class Counter(ro.policies.StatefulPolicy):
    """Counts in its carry; the actions show the key."""

    def init(self, key):
        assert key is not None
        return jnp.zeros(()), 0.1 * jax.random.uniform(key)

    def __call__(self, carry, observation, time):
        count, drawn = carry
        return (count + 1, drawn), (drawn + count / 10)[None]


def test_plans_trackers_and_actors_act():
    env = Drift(length=3, time_step=0.5)
    (run,) = episodes(env, Clock(), episodes=1)
    np.testing.assert_allclose(run.actions[:, 0], np.sin([0, 0.5, 1]), rtol=1e-6)
    (run,) = episodes(env, Leash(), starts=np.array([[0.2, 0.0]]))
    np.testing.assert_allclose(
        run.actions[:, 0],
        0.5 * (np.array([0, 0.5, 1]) - run.observations[:-1, 0]),
        rtol=1e-6,
    )
    counted = np.array([0, 0.1, 0.2])
    runs = episodes(env, Counter(), episodes=2, seed=2**40 + 3)
    for k, run in enumerate(runs):
        key = jax.random.fold_in(jax.random.key(3), k)
        drawn = 0.1 * float(jax.random.uniform(key))
        np.testing.assert_allclose(run.actions[:, 0], drawn + counted, rtol=1e-5)


def test_a_label_is_recorded_while_the_policy_acts():
    env = Drift(length=2)
    (run,) = episodes(
        env, ahead, label=lambda o: -5 * o[:1], starts=np.array([[0.1, 0.0]])
    )
    np.testing.assert_allclose(run.observations[:, 0], [0.1, 1.1, 2.1])
    # Cut off at −1, as its own actuators would.
    np.testing.assert_allclose(run.actions[:, 0], [-0.5, -1.0])
    # The same actor draws from another stream when it labels.
    one, two = (
        episodes(Drift(length=2), Counter(), episodes=1, seed=0, label=who)
        for who in (None, Counter())
    )
    gaps = two[0].actions - one[0].actions
    assert gaps[0] != 0
    np.testing.assert_allclose(gaps, np.broadcast_to(gaps[0], gaps.shape), atol=1e-7)


def test_episodes_of_equal_length_stack():
    trajectory = ro.rollouts.collect(
        Drift(length=2), lambda o: [0.1], episodes=3, seed=0
    )
    assert trajectory.actions.shape == (3, 2, 1) and trajectory.lengths is None
    for name in ("terminated", "success"):
        np.testing.assert_array_equal(getattr(trajectory, name), [False] * 3)


def test_collecting_starts_where_it_is_told_and_clips_as_motors_do():
    env = CartPoleBalance(duration=0.05)
    starts = env.sample_starts(2, seed=0)
    strong = ro.policies.LinearFeedback(jnp.array([[-1e6, 0.0, 0.0, 0.0]]))
    trajectory = ro.rollouts.collect(env, strong, starts=starts)
    np.testing.assert_array_equal(trajectory.observations[:, 0], starts)
    limit = env.effort_limits[0]
    assert set(np.abs(trajectory.actions).ravel()) == {limit}
    assert trajectory.efforts is not None
    np.testing.assert_array_equal(
        trajectory.efforts[..., 0], trajectory.actions[..., 0]
    )
    env.close()


def test_twin_and_pybullet_make_the_same_trajectory():
    env = ArmReach("two-link", duration=0.5)
    twin = ro.Twin.from_env(env)
    policy = ro.policies.PDGravityCompensation.from_limits(
        twin.robot, env.effort_limits, env.time_step
    )
    starts = env.sample_starts(2, seed=5)
    recorded = ro.rollouts.collect(env, policy, starts=starts)
    simulated = eqx.filter_jit(ro.Rollout(twin, env.horizon))(policy, starts)
    for name in ("observations", "actions", "efforts"):
        np.testing.assert_allclose(
            getattr(recorded, name), getattr(simulated, name), atol=1e-9
        )
    env.close()


def test_collecting_from_somebody_elses_environment():
    env = gymnasium.make("Pendulum-v1", max_episode_steps=20)

    def policy(observation):
        return -observation[2:] * 0.1

    trajectory = ro.rollouts.collect(env, policy, episodes=3, seed=1)
    again = ro.rollouts.collect(env, policy, episodes=3, seed=1)
    assert trajectory.observations.shape == (3, 21, 3)
    assert trajectory.efforts is None
    assert trajectory.time_step == 0.05  # its `dt`; it is drawn thirty times a second
    np.testing.assert_array_equal(trajectory.rewards, again.rewards)


def test_collecting_needs_starts_or_episodes():
    env = CartPoleBalance(duration=0.05)
    policy = ro.policies.LinearFeedback(jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match="either `starts` or `episodes`.*neither"):
        ro.rollouts.collect(env, policy)
    with pytest.raises(ValueError, match="either `starts` or `episodes`.*both"):
        ro.rollouts.collect(env, policy, starts=np.zeros((1, 4)), episodes=1)
    with pytest.raises(ValueError, match="`episodes` must be at least 1, got 0"):
        ro.rollouts.collect(env, policy, episodes=0)
    env.close()


def test_episodes_of_different_lengths_are_padded():
    env = gymnasium.make("CartPole-v1")
    run = ro.rollouts.collect(env, lambda o: int(o[2] > 0), episodes=5, seed=0)
    assert run.lengths is not None and len(set(run.lengths.tolist())) > 1
    assert run.steps == run.lengths.max() and run.observations.shape[1] == run.steps + 1
    np.testing.assert_array_equal(run.returns, run.lengths)
    for k, single in enumerate(run.episodes()):
        assert single.steps == run.lengths[k] and single.lengths is None
        late = run.observations[k, single.steps :]
        np.testing.assert_array_equal(late, np.broadcast_to(late[0], late.shape))
    again = ro.Trajectory.from_episodes(run.episodes())
    assert eqx.tree_equal(again, run)


class Endless(Drift):
    def step(self, action):
        return self.seen, 0.0, False, False, {}


def test_episodes_that_nothing_ends_are_refused(monkeypatch):
    from roboopt.rollouts import _episodes

    monkeypatch.setattr(_episodes, "MAX_UNBOUNDED_STEPS", 50)
    for run in (ro.rollouts.collect, ro.evaluate):
        with pytest.raises(
            ro.RobooptError, match="nothing ends .*Endless.*`max_steps`"
        ):
            run(Endless(), ahead, episodes=1)
    assert ro.rollouts.collect(Endless(), ahead, episodes=1, max_steps=60).steps == 60
    # A time limit ends them, however late.
    limited = gymnasium.wrappers.TimeLimit(Endless(), 60)
    assert ro.rollouts.collect(limited, ahead, episodes=1).steps == 60


@pytest.mark.parametrize("processes", [1, 2])
def test_what_an_episode_draws_does_not_depend_on_how_many_run(processes):
    policy = ro.policies.ActionNoise(Leash(), 0.3)
    spec = "roboopt/CartPoleBalance-v0"
    done = []
    options: Any = {"episodes": 3, "seed": 4, "max_steps": 5}
    alone = ro.rollouts.collect(gymnasium.make(spec), policy, **options)
    run = ro.rollouts.collect(
        spec, policy, processes=processes, progress=done.append, **options
    )
    assert done == [1, 2, 3]
    np.testing.assert_allclose(run.observations, alone.observations, rtol=1e-12)
    first = ro.rollouts.collect(spec, policy, **{**options, "episodes": 1})
    np.testing.assert_allclose(first.actions[0], run.actions[0], rtol=1e-12)
    judged = ro.evaluate(spec, policy, processes=processes, **options)
    np.testing.assert_allclose(judged.returns, alone.returns, rtol=1e-12)


def test_environments_that_stay_open_are_made_once():
    made = []

    def make():
        made.append(Drift(length=9))
        return made[-1]

    options: Any = {"episodes": 5, "seed": 3}
    with ro.rollouts.open_environments(make, 5) as opened:
        first = ro.rollouts.collect(opened, ahead, **options)
        again = ro.evaluate(opened, ahead, **options).trajectories
        for name, value in {"processes": 2, "checkpoint": "c"}.items():
            with pytest.raises(ro.RobooptError, match=f"`{name}` must be .*open"):
                ro.rollouts.collect(opened, ahead, **options, **{name: value})
    assert len(made) == 1
    alone = ro.rollouts.collect(make, ahead, **options)
    np.testing.assert_array_equal(first.observations, alone.observations)
    np.testing.assert_array_equal(again.observations, alone.observations)
    with pytest.raises(ro.RobooptError, match="`close` was called"):
        ro.rollouts.collect(opened, ahead, **options)


def test_processes_need_an_environment_that_can_be_made_again():
    with pytest.raises(ro.RobooptError, match="`env` must be a Gymnasium id"):
        ro.rollouts.collect(Drift(), ahead, episodes=1, processes=1)


def drifting(**changed):
    """Record eight episodes of unequal lengths, with what `changed` says."""
    arguments = {"policy": ahead, "episodes": 8, "seed": 3, "max_steps": 9, **changed}
    made = ro.rollouts.collect(Drift(), **arguments)
    return {name: x for name, x in vars(made).items() if x is not None}


def test_a_recording_that_is_interrupted_goes_on_to_the_same_bits(
    tmp_path, monkeypatch
):
    folder, whole = tmp_path / "parts", drifting()
    calls = []

    def interrupted(observation):
        calls.append(observation)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return np.ones(1)

    # The policies have one digest: the interruption is no part of the recording.
    monkeypatch.setattr(_collect, "_described", lambda policy: "the same")
    with pytest.raises(KeyboardInterrupt):
        drifting(policy=interrupted, checkpoint=folder)
    assert len(list(folder.glob("part-*.npz"))) == 1
    done = []
    again = drifting(checkpoint=folder, progress=done.append)
    assert done == list(range(1, 9)) and len(list(folder.glob("part-*"))) == 2
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)
    # More episodes, and a part that is damaged and one that was never finished.
    (folder / "part-000001.npz").write_bytes(b"half")
    (folder / ".part-000002.npz.999999999").write_bytes(b"half")
    with pytest.warns(UserWarning, match="part-000001.*are run again"):
        more = drifting(checkpoint=folder, episodes=10)
    np.testing.assert_array_equal(more["observations"][:8], whole["observations"])
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "changed, named",
    [({"seed": 4}, "seed .3, here 4."), ({"max_steps": 8}, "max_steps")],
)
def test_parts_of_another_recording_are_refused(tmp_path, changed, named):
    drifting(checkpoint=tmp_path / "parts")
    with pytest.raises(ro.RobooptError, match=f"`checkpoint`.*differs in {named}"):
        drifting(checkpoint=tmp_path / "parts", **changed)
    with pytest.raises(ro.RobooptError, match="differs in policy"):
        drifting(checkpoint=tmp_path / "parts", policy=lambda seen: np.zeros(1))


def test_parts_need_a_seed_and_a_folder(tmp_path):
    with pytest.raises(ro.RobooptError, match="`seed` must be given"):
        drifting(checkpoint=tmp_path / "parts", seed=None)
    with pytest.raises(ro.RobooptError, match="`checkpoint` must be a folder"):
        drifting(checkpoint=tmp_path / "none" / "parts")
