"""Twins of wrapped environments: rewards equal those of stepping the environment."""

import functools
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import wrappers
from roboopt_envs.cart_pole import CartPoleBalance, CartPoleSwingUp

import roboopt as ro
from roboopt.rollouts import EnvSpec, register_twin, twin_rollout

LIMIT = CartPoleBalance(duration=0.05).effort_limits[0]
GAIN = jnp.array([[0.4, 3.0, 0.1, 0.2]])


def policy(observation):
    # Beyond the limits on both sides within a few steps, in newtons or in ±1.
    return 2.0 * jnp.sin(40.0 * GAIN @ observation[:4] + 1.0)


def make(**options) -> Any:
    return gymnasium.make("roboopt_envs:roboopt/CartPoleBalance-v0", **options)


def stepped(env: Any, start):
    """Return the rewards of stepping `env` itself, actions within its space."""
    observation, _ = env.reset(options={"start": start})
    rewards, over = [], False
    while not over:
        action = np.clip(policy(jnp.asarray(observation)), *bounds(env.action_space))
        observation, reward, terminated, truncated, _ = env.step(np.asarray(action))
        rewards.append(reward)
        over = terminated or truncated
    return rewards


def bounds(space):
    return space.low, space.high


def rescaled(env, low: Any = -1.0, high: Any = 1.0) -> Any:
    return wrappers.RescaleAction(env, low, high)


WRAPPED: dict[str, Any] = {
    "none": lambda env: env,
    "rescaled": rescaled,
    "clipped": wrappers.ClipAction,
    "rescaled and clipped": lambda env: wrappers.ClipAction(rescaled(env, -0.5, 0.75)),
    "rescaled twice": lambda env: rescaled(rescaled(env), -2.0, 0.5),
    "short": lambda env: wrappers.TimeLimit(env, 7),
    "counted": wrappers.RecordEpisodeStatistics,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_rewards_are_those_of_stepping_the_wrapped_environment(name):
    env = WRAPPED[name](make(duration=0.05))
    match = twin_rollout(env)
    assert match.rollout is not None and match.reason == ""
    assert match.rollout.horizon == (7 if name == "short" else 12)
    starts = env.unwrapped.sample_starts(2, seed=0)
    rewards: Any = match.rollout(policy, starts).rewards
    expected = np.stack([stepped(env, start) for start in starts])
    np.testing.assert_allclose(rewards, expected, rtol=1e-9)
    env.close()


def test_efforts_and_success_are_the_innermost_environments():
    env = rescaled(make(duration=0.05))
    rollout = twin_rollout(env).rollout
    assert rollout is not None
    run = rollout(policy, env.unwrapped.sample_starts(1, seed=0))
    assert run.efforts is not None
    np.testing.assert_allclose(run.efforts[..., 0], LIMIT * run.actions[..., 0])
    assert float(np.abs(run.actions).max()) == 1.0
    seen = np.asarray(run.observations)
    np.testing.assert_array_equal(
        rollout.reward.success(seen, rollout.dynamics.time_step),
        env.unwrapped.task.success(seen, env.unwrapped.time_step),
    )
    env.close()


class Doubled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * float(reward)


class Unknown(gymnasium.Wrapper):
    pass


class Longer(wrappers.TimeLimit):
    """A subclass of a known wrapper may do anything."""


PLANE = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
REFUSED: dict[str, Any] = {
    "Doubled": Doubled,
    "TransformReward": lambda env: wrappers.TransformReward(env, lambda r: -float(r)),
    "NormalizeReward": wrappers.NormalizeReward,
    "TransformObservation": lambda env: wrappers.TransformObservation(
        env, lambda o: o + 1, PLANE
    ),
    "NormalizeObservation": wrappers.NormalizeObservation,
    "TransformAction": lambda env: wrappers.TransformAction(
        env, lambda a: -a, env.action_space
    ),
    "Unknown": Unknown,
    "Longer": lambda env: Longer(env, 5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrapper_that_changes_what_is_met_rules_the_twin_out(name):
    env = rescaled(REFUSED[name](make(duration=0.05)))
    match = twin_rollout(env)
    assert match.rollout is None and name in match.reason
    env.close()


def test_an_environment_outside_the_protocol_has_no_twin_unless_registered():
    match = twin_rollout("CartPole-v1")
    with pytest.raises(ro.RobooptError, match="CartPole-v1"):
        match.require()
    assert "CartPole-v1" in match.reason and "`physics_client`" in match.reason

    class Slide(gymnasium.Env):
        observation_space = PLANE
        action_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float64)

    twin = ro.Twin.from_env(CartPoleBalance(duration=0.05))
    register_twin(Slide, lambda env: ro.Rollout(twin, 4, lambda o, a, after: a[0]))
    rollout = twin_rollout(rescaled(Slide())).rollout
    assert rollout is not None
    # Half of ±9 N, as a reward: the function sees the innermost action.
    rewards: Any = rollout(lambda o: 0.5 * jnp.ones(1), np.zeros((1, 4))).rewards
    np.testing.assert_allclose(rewards, 4.5)
    assert twin_rollout(functools.partial(make, duration=0.05)).rollout is not None


class Weaker(CartPoleBalance):
    """Acts and rewards otherwise than its parent."""

    def step(self, action):
        half = 0.5 * np.asarray(action)
        observation, reward, terminated, truncated, info = super().step(half)
        return observation, 10 * reward, terminated, truncated, info


class SameAgain(CartPoleBalance):
    """Declares that its steps are still those of PyBullet."""

    has_twin = True

    def step(self, action):
        return super().step(action)


class OtherStarts(CartPoleBalance):
    def _draw_start(self, random):
        return np.zeros(4)


class OtherReset(CartPoleBalance):
    def reset(self, **how):
        observation, info = super().reset(**how)
        return 2 * observation, info


class Renounced(CartPoleBalance):
    has_twin = False


@pytest.mark.parametrize(
    "kind, reason",
    [
        (SameAgain, None),
        (OtherStarts, None),
        (Weaker, "Weaker replaces `step`"),
        (OtherReset, "OtherReset replaces `reset`"),
        (Renounced, "has_twin"),
    ],
)
def test_a_subclass_that_replaces_a_method_has_no_twin(kind, reason):
    env = kind(duration=0.05)
    match = twin_rollout(env)
    if reason is None:
        assert match.rollout is not None
    else:
        assert match.rollout is None and reason in match.reason
        with pytest.raises(ro.RobooptError, match="replaces|has_twin"):
            ro.tune(env, steps=1)
    env.close()


def test_an_object_whose_step_was_replaced_has_no_twin():
    env = CartPoleBalance(duration=0.05)
    vars(env)["step"] = lambda action: CartPoleBalance.step(env, -action)
    assert "`step`" in twin_rollout(env).reason
    env.close()


def test_a_subclass_of_a_registered_class_that_replaces_a_method_has_no_twin():
    class Registered(gymnasium.Env):
        observation_space = PLANE
        action_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float64)

        def step(self, action):
            return np.zeros(4), 0.0, False, False, {}

    class Inherits(Registered):
        def render(self):
            return None

    class Replaces(Registered):
        def step(self, action):
            return np.zeros(4), 1.0, False, False, {}

    twin = ro.Twin.from_env(CartPoleBalance(duration=0.05))
    register_twin(Registered, lambda env: ro.Rollout(twin, 4))
    assert twin_rollout(Inherits()).rollout is not None
    assert "Replaces" in twin_rollout(Replaces()).reason


def test_a_registered_twin_whose_state_the_observations_lack_is_none():
    class Tanks(gymnasium.Env):
        """Levels of two tanks, and a set point: three numbers, and no velocities."""

        observation_space = gymnasium.spaces.Box(0.0, 1.0, (3,), np.float64)
        action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float64)

    class Levels:
        time_step, joints, action_size = 0.1, 2, 1

        def clip(self, action):
            return action

        effort = clip

        def __call__(self, state, action):
            return state

    levels = Levels()
    register_twin(Tanks, lambda env: ro.Rollout(levels, 4, lambda o, a, after: a[0]))
    match = twin_rollout(Tanks())
    assert match.rollout is None and "2 joints" in match.reason
    assert "4 numbers, got 3" in match.reason
    levels.joints = 1  # (h₁, h₂), and the set point
    assert twin_rollout(Tanks()).rollout is not None
    levels.action_size = 2
    assert "2 numbers as an action" in twin_rollout(Tanks()).reason


def test_any_pybullet_environment_that_declares_the_protocol_has_a_twin():
    class Mine(gymnasium.Env):
        """Shares nothing with `roboopt_envs` but the names of its attributes."""

        has_twin = True

        def __init__(self):
            inner = CartPoleSwingUp(duration=0.1)
            self.physics_client = inner.physics_client._client
            for name in ("body", "actuated", "time_step", "effort_limits", "task"):
                setattr(self, name, getattr(inner, name))
            self.linear_damping = self.angular_damping = 0.0
            self.observation_space = inner.observation_space
            self.action_space = inner.action_space
            self.inner = inner

    class Undeclared(Mine):
        has_twin = False  # as if nothing were said

    assert "has_twin" in twin_rollout(wrappers.TimeLimit(Undeclared(), 5)).reason
    env = Mine()
    assert "max_steps" in twin_rollout(env).reason
    match = twin_rollout(wrappers.TimeLimit(env, 5))
    assert match.rollout is not None and match.rollout.horizon == 5
    start = env.inner.sample_starts(1, seed=0)
    expected = twin_rollout(env.inner).rollout
    assert expected is not None
    np.testing.assert_allclose(
        match.rollout(policy, start).observations,
        expected(policy, start).observations[:, :6],
        rtol=1e-12,
    )


def test_a_spec_makes_the_environment_again():
    env = make(duration=0.05, render_mode="rgb_array", max_episode_steps=3)
    spec = EnvSpec.of(env)
    assert spec is not None and spec.id == "roboopt_envs:roboopt/CartPoleBalance-v0"
    assert spec.options == {"duration": 0.05, "max_episode_steps": 3}
    again = spec.make(render_mode="rgb_array")
    assert again.unwrapped.horizon == 12 and again.spec.max_episode_steps == 3
    assert EnvSpec.of(spec) == spec and str(spec) == "roboopt/CartPoleBalance-v0"
    assert EnvSpec.of("CartPole-v1") == EnvSpec.of(gymnasium.make("CartPole-v1"))
    for unknown in (make, rescaled(env), CartPoleBalance(duration=0.05)):
        assert EnvSpec.of(unknown) is None
    for made in (env, again):
        made.close()
