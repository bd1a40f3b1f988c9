"""Trajectories through any environment, of one model and of many."""

import sys

import cloudpickle
import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from jaxtyping import Array, Float
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro

# Workers are not to import this module, and JAX with it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Drift(gymnasium.Env):
    """(position, elapsed steps): an action moves, a wind too; ends beyond 2."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float64)
    time_step = 0.5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wind = self.np_random.uniform(0.0, 0.1)
        self.seen = np.array((options or {}).get("start", [self.wind, 0.0]), float)
        return self.seen.copy(), {}

    def step(self, action):
        if action[0] == -1.0:
            raise OSError("against the wall")
        self.seen += [float(action[0]) + self.wind, 1.0]
        over = bool(self.seen[0] > 2)
        return self.seen.copy(), 1.0 + self.wind, over, False, {"success": over}


class Push(eqx.Module):
    """A constant action, whatever is observed."""

    force: Float[Array, ""] | Float[Array, " model"]

    def __call__(self, observation):
        return jnp.clip(self.force, -0.9, 0.9)[None]


class Ticking(ro.policies.TimeVaryingPolicy):
    def __call__(self, observation, time):
        return jnp.array([0.1]) * time + 0.01 * observation[:1]


class Counting(ro.policies.StatefulPolicy):
    """Acts by what it has seen, and by chance."""

    gain: Float[Array, ""] | Float[Array, " model"]

    def init(self, key):
        return jnp.zeros(()), key

    def __call__(self, carry, observation, time):
        total, key = carry
        total = total + observation[0]
        key, own = jax.random.split(key)
        action = self.gain * total + 0.1 * jax.random.normal(own)
        return (total, key), action[None]


STARTS = np.array([[0.0, 0.0], [1.5, 0.0], [1.95, 0.0]])


@pytest.fixture(scope="module")
def drift():
    with ro.GymRollout(Drift, 4, envs=2) as simulation:
        yield simulation


def test_what_ends_early_stays_where_it_ended(drift):
    # The wind w depends on the start alone. A push of 0.4 leads from 0 to 1.6 + 4 w in
    # 4 steps and not beyond 2, from 1.5 in 2 steps (1.9 + w does not, or does in 1) and
    # from 1.95 in 1.
    before = drift.steps_made
    run = drift(Push(jnp.array(0.4)), STARTS)
    assert run.time_step == 0.5 and run.observations.shape == (3, 5, 2)
    wind = run.rewards[:, 0] - 1
    assert len(set(wind)) == 3 and np.all((wind >= 0) & (wind < 0.1))
    steps = np.array([4, 1 if 1.9 + wind[1] > 2 else 2, 1])
    assert drift.steps_made - before == steps.sum()
    for k in range(3):
        n = np.minimum(np.arange(5), steps[k])
        where = STARTS[k, 0] + n * (0.4 + wind[k])
        np.testing.assert_allclose(run.observations[k, :, 0], where, atol=1e-12)
        np.testing.assert_array_equal(run.observations[k, :, 1], n)
        acted = np.arange(4) < steps[k]
        np.testing.assert_allclose(run.rewards[k], acted * (1 + wind[k]))
        np.testing.assert_allclose(run.actions[k, :, 0], acted * 0.4)
    np.testing.assert_array_equal(run.terminated, [False, True, True])
    np.testing.assert_array_equal(run.success, [False, True, True])
    assert run.efforts is None
    # The same start meets the same wind wherever it is.
    again = drift(Push(jnp.array(0.4)), STARTS[::-1])
    np.testing.assert_array_equal(again.observations, run.observations[::-1])


def test_seeds_begin_what_cannot_be_told_where(drift):
    run = drift(Push(jnp.array(0.1)), np.array([3, 3, 5]))
    np.testing.assert_array_equal(run.observations[0], run.observations[1])
    assert (run.observations[0] != run.observations[2]).any()
    env = Drift()
    np.testing.assert_array_equal(run.observations[2, 0], env.reset(seed=5)[0])


def one(models, k):
    return jax.tree.map(lambda leaf: leaf[k] if eqx.is_array(leaf) else leaf, models)


@pytest.mark.parametrize("envs, processes", [(1, 0), (4, 0), (5, 2), (30, 0)])
def test_many_models_do_what_each_does(envs, processes):
    models = Push(jnp.array([0.1, 0.5, 0.9, -0.2]))
    with ro.GymRollout(Drift, 4, envs=envs, processes=processes) as simulation:
        runs = simulation.many(models, STARTS)
        assert np.asarray(runs.rewards).shape == (4, 3, 4)
        assert np.asarray(runs.success).shape == (4, 3)
        for k in range(4):
            alone = simulation(one(models, k), STARTS)
            for name in ("observations", "actions", "rewards", "terminated", "success"):
                np.testing.assert_array_equal(
                    getattr(runs, name)[k], getattr(alone, name)
                )


@pytest.mark.parametrize("envs, processes", [(1, 0), (2, 2), (30, 0)])
def test_each_model_has_a_start_of_its_own(envs, processes):
    models = Push(jnp.array([0.1, 0.5, 0.9]))
    with ro.GymRollout(Drift, 4, envs=envs, processes=processes) as simulation:
        runs = simulation.many(models, STARTS, paired=True)
        assert np.asarray(runs.rewards).shape == (3, 4)
        for k in range(3):
            alone = simulation(one(models, k), STARTS[k : k + 1])
            for name in ("observations", "actions", "rewards", "terminated", "success"):
                np.testing.assert_array_equal(
                    getattr(runs, name)[k], getattr(alone, name)[0]
                )


def test_memories_and_chance_are_each_episodes_own(drift):
    key = jax.random.key(0)
    models = Counting(jnp.array([0.1, -0.2]))
    runs = drift.many(models, STARTS, key)
    for k in range(2):
        model = one(models, k)
        for s in range(3):
            carry = model.init(jax.random.fold_in(key, s))
            for t in range(4 if not runs.terminated[k, s] else 1):
                seen = jnp.asarray(runs.observations[k, s, t])
                carry, action = model(carry, seen, t * 0.5)
                expected = np.clip(action, -1, 1)
                np.testing.assert_allclose(runs.actions[k, s, t], expected, rtol=1e-12)


def test_plans_and_trackers_know_the_time(drift):
    run = drift(Ticking(), STARTS[:1])
    expected = 0.05 * np.arange(4) + 0.01 * run.observations[0, :4, 0]
    np.testing.assert_allclose(run.actions[0, :, 0], expected)


def test_other_models_of_one_structure_do_not_compile_again(drift):
    traced = []

    class Traced(Push):
        def __call__(self, observation):
            traced.append(observation.shape)
            return super().__call__(observation)

    for scale in (0.1, 0.2, 0.3):
        drift.many(Traced(jnp.array([scale, 0.2])), STARTS)
        drift.many(Traced(jnp.array([scale, 0.2, 0.3])), STARTS[:2])
    assert len(traced) == 1
    drift(Traced(jnp.array(0.1)), STARTS)
    drift(Traced(jnp.array(0.2)), STARTS)
    assert len(traced) == 2


def test_rules_without_jax_are_asked_one_by_one(drift):
    def rule(observation):
        assert isinstance(observation, np.ndarray) and observation.shape == (2,)
        return np.array([0.5 if observation[0] < 0.2 else 0.25])

    run = drift(rule, STARTS)
    seen = run.observations[0, :4, 0]
    np.testing.assert_array_equal(run.actions[0, :, 0], np.where(seen < 0.2, 0.5, 0.25))

    class Rule(Push):
        def __call__(self, observation):
            return jnp.array([float(self.force)])

    runs = drift.many(Rule(jnp.array([0.25, 0.5])), STARTS)
    np.testing.assert_array_equal(runs.actions[:, 0], [[[0.25]] * 4, [[0.5]] * 4])
    # A function of JAX is compiled once it has shown that it is one.
    calls = []

    def function(observation):
        calls.append(type(observation))
        return 0.1 * jnp.ones(1)

    drift(function, STARTS)
    assert len(calls) == 3  # the first steps of two, and its trace


def test_choices_are_recorded_as_such():
    with ro.GymRollout("CartPole-v1", 30, envs=3) as simulation:
        run = simulation(lambda observation: 1, np.array([0, 1]))
    assert run.actions.shape == (2, 30, 1) and run.actions.dtype.kind == "i"
    assert np.all(run.terminated) and run.success is None
    # Pushed to one side it falls in some ten steps.
    assert (run.returns > 5).all() and (run.returns < 15).all()
    assert run.time_step == 0.02


def test_energy_and_task_are_those_of_the_environment():
    env = CartPoleBalance(duration=0.1)
    starts = env.sample_starts(2, seed=0)
    policy = Push(jnp.array(0.9))
    with ro.GymRollout(
        lambda: CartPoleBalance(duration=0.1), env.horizon
    ) as simulation:
        cost = ro.EnergyTaskCost(simulation, env.task, env.actuators, 1.0, 2.0, 3.0)
        terms = cost.terms(policy, starts)
        run = simulation(policy, starts)
    collected = ro.rollouts.collect(env, policy, starts=starts)
    for name in ("observations", "actions", "rewards", "efforts", "success"):
        np.testing.assert_array_equal(getattr(run, name), getattr(collected, name))
    totals = []
    for start in starts:
        info = env.reset(options={"start": start})[1]
        for _ in range(env.horizon):
            info = env.step(np.array([0.9]))[4]
        totals.append(info)
    for name, term in terms.items():
        mean = np.mean([info[name] for info in totals])
        np.testing.assert_allclose(term.value, mean, rtol=1e-9)


def test_a_failure_is_told_and_the_next_call_begins_anew(drift):
    push = Push(jnp.array(0.3))
    with pytest.raises(ro.rollouts.EnvError, match="against the wall"):
        drift(lambda observation: np.array([-1.0]), STARTS)
    assert np.asarray(drift(push, STARTS).rewards).shape == (3, 4)
    with pytest.raises(ValueError, match="finite"):
        drift(Push(jnp.array(np.nan)), STARTS)
    assert np.asarray(drift(push, STARTS).rewards).shape == (3, 4)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: jax.grad(f),
        lambda f: jax.jit(f),
        lambda f: jax.jit(lambda _: f(jnp.array(0.1))),
        lambda f: lambda x: jax.vmap(f)(x[None]),
    ],
)
def test_it_is_not_to_be_traced(drift, transform):
    def loss(force):
        return jnp.sum(jnp.asarray(drift(Push(force), STARTS).rewards))

    with pytest.raises(
        ValueError, match=r"give `minimize` gradient=roboopt.gradients.ZerothOrder"
    ):
        transform(loss)(jnp.array(0.1))


class Deaf(Drift):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


BAD = [
    (lambda s: s(3, STARTS), "`policy` must be callable"),
    (lambda s: s(Push(jnp.array(0.1)), STARTS[:, :1]), "`starts` must hold .* size 2"),
    (lambda s: s(Push(jnp.array(0.1)), STARTS[0]), "`starts` must be observations"),
    (lambda s: s(Push(jnp.array(0.1)), STARTS[:0]), "at least one"),
    (lambda s: s(Push(jnp.array(0.1)), np.array([-1])), "`starts` must be seeds of at"),
    (lambda s: s.many(Push(jnp.array(0.1)), STARTS), "`policies` must hold arrays"),
    (
        lambda s: s.many(Push(jnp.ones(2)), STARTS, paired=True),
        "`starts` must hold one for each",
    ),
    (lambda s: s.many(lambda o: o, STARTS), "`policies` must hold arrays"),
    (lambda s: s(lambda o: np.zeros(2), STARTS), "must return numbers of shape"),
]


@pytest.mark.parametrize("call, match", BAD)
def test_what_cannot_be_run_is_refused(drift, call, match):
    with pytest.raises(ValueError, match=match):
        call(drift)


def test_an_environment_that_begins_elsewhere_is_refused():
    with pytest.raises(ValueError, match="`horizon` must be at least 1"):
        ro.GymRollout(Deaf, 0)
    with ro.GymRollout(Deaf, 2) as deaf:
        with pytest.raises(ValueError, match="`env` must begin where `reset`"):
            deaf(Push(jnp.array(0.1)), STARTS)
        run = deaf(Push(jnp.array(0.1)), np.array([0]))
    assert np.asarray(run.rewards).shape == (1, 2)


def test_a_wrapped_environment_shows_what_its_wrapper_makes():
    def make():
        space = Box(-np.inf, np.inf, (1,), np.float64)
        return gymnasium.wrappers.TransformObservation(Drift(), lambda o: o[:1], space)

    with ro.GymRollout(make, 2) as simulation:
        run = simulation(Push(jnp.array(0.1)), STARTS)
    np.testing.assert_array_equal(run.observations[:, 0], STARTS[:, :1])


def test_choices_may_be_of_any_first_number():
    class Named(Drift):
        action_space = Discrete(2, start=5)

        def step(self, action):
            return super().step([0.1 * (action - 5)])

    with ro.GymRollout(Named, 2) as simulation:
        run = simulation(lambda observation: 6, STARTS[:1])
    np.testing.assert_array_equal(run.actions, [[[6], [6]]])
