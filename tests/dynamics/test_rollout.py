import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import ROBOTS
from derivatives import assert_derivatives
from roboopt_envs.cart_pole import CartPoleSwingUp

from roboopt.dynamics import PositionMotors, Twin, load_urdf
from roboopt.policies import ActionNoise, ObservationHistory, StatefulPolicy
from roboopt.rollouts import Rollout, collect, twin_rollout


class Gain(eqx.Module):
    """Pulls the cart towards the goal."""

    k: jax.Array

    def __call__(self, observation):
        return self.k * (observation[4:] - observation[:1])


@pytest.fixture(scope="module")
def twin():
    return Twin(load_urdf(ROBOTS["cart_pole"]), 1 / 240, actuated=(0,), effort_limits=9)


STARTS = jnp.array([[0.1, 0.2, 0.0, 0.0, 0.5], [0.0, -0.1, 0.3, 0.1, -9.0]])


def test_is_the_twin_step_by_step(twin):
    trajectory = Rollout(twin, 5)(Gain(jnp.array(2.0)), STARTS)
    assert trajectory.observations.shape == (2, 6, 5)
    assert trajectory.actions.shape == (2, 5, 1)
    assert trajectory.time_step == twin.time_step
    np.testing.assert_array_equal(trajectory.observations[:, 0], STARTS)
    assert trajectory.efforts is not None
    for observations, actions, efforts in zip(
        trajectory.observations, trajectory.actions, trajectory.efforts, strict=True
    ):
        goals = np.broadcast_to(observations[0, 4:], (6, 1))
        np.testing.assert_array_equal(observations[:, 4:], goals)
        for k in range(5):
            wanted = jnp.clip(2.0 * (goals[k] - observations[k, :1]), -9, 9)
            np.testing.assert_allclose(actions[k], wanted, rtol=1e-14)
            np.testing.assert_allclose(efforts[k], [actions[k, 0], 0.0])
            after = twin(observations[k, :4], actions[k])
            np.testing.assert_allclose(observations[k + 1, :4], after, rtol=1e-13)
    assert float(trajectory.actions[1, 0, 0]) == -9.0


def test_gradient_matches_finite_differences(twin):
    def end(k, starts):
        return Rollout(twin, 20)(Gain(k), starts).observations[:, -1, :4]

    assert_derivatives(end, (2.0, STARTS), rtol=1e-6, atol=1e-6)


def test_with_motors_an_action_is_a_target_and_efforts_are_theirs(twin):
    motors = PositionMotors([0.1], [1.0], [1e4])
    driven = Twin(twin.robot, 1 / 240, actuated=(0,), motors=motors)
    policy = lambda observation: observation[4:]  # noqa: E731
    starts = jnp.zeros((1, 5)).at[0, 4].set(0.5)
    trajectory = Rollout(driven, 2)(policy, starts)
    assert driven.effort(jnp.zeros(1)) is None
    # The efforts are those of the motion by the equation of motion.
    q, speed = jnp.split(trajectory.observations[0, :, :4], 2, -1)
    acceleration = 240 * jnp.diff(speed, axis=0)
    needed = jax.jit(jax.vmap(driven.robot.inverse_dynamics))(
        q[:-1], speed[:-1], acceleration
    )
    assert trajectory.efforts is not None
    np.testing.assert_allclose(trajectory.efforts[0], needed, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(trajectory.actions[0], [[0.5], [0.5]])
    # A tenth of what is left, each step.
    np.testing.assert_allclose(trajectory.observations[0, 1:, 0], [0.05, 0.095])


def test_works_in_single_precision(twin):
    single = jax.tree.map(lambda x: x.astype(jnp.float32), twin)
    policy = Gain(jnp.array(2.0, jnp.float32))
    trajectory = Rollout(single, 3)(policy, STARTS.astype(jnp.float32))
    assert trajectory.observations.dtype == jnp.float32
    assert trajectory.actions.dtype == jnp.float32


def test_starts_meet_the_precision_of_the_dynamics(twin):
    rounded = np.asarray(STARTS, np.float32)
    made = Rollout(twin, 3)(Gain(jnp.array(2.0)), rounded)
    expected = Rollout(twin, 3)(Gain(jnp.array(2.0)), rounded.astype(float))
    assert made.observations.dtype == jnp.float64
    np.testing.assert_array_equal(made.observations, expected.observations)


def test_bad_input_is_refused(twin):
    with pytest.raises(ValueError, match="`horizon` must be at least 1, got 0"):
        Rollout(twin, 0)
    rollout = Rollout(twin, 3)
    for starts in (jnp.zeros((0, 4)), jnp.zeros((2, 3))):
        with pytest.raises(ValueError, match="`starts` must have shape"):
            rollout(Gain(jnp.array(1.0)), starts)
    with pytest.raises(
        ValueError, match=r"`policy` must return actions of shape \(1,\)"
    ):
        rollout(lambda observation: observation[:2], STARTS)


class Winding(StatefulPolicy):
    """Integrates what it sees: its memory is the sum of the cart's positions."""

    k: jax.Array

    def init(self, key):
        return jnp.zeros(1)

    def __call__(self, carry, observation, time):
        carry = carry + observation[:1]
        return carry, self.k * carry


@pytest.mark.slow
def test_an_actors_memory_is_handed_on(twin):
    trajectory = Rollout(twin, 4)(Winding(jnp.array(2.0)), STARTS)
    sums = np.cumsum(trajectory.observations[:, :-1, :1], axis=1)
    np.testing.assert_allclose(trajectory.actions, 2.0 * sums, rtol=1e-13)

    def end(k):
        return Rollout(twin, 3)(Winding(k), STARTS).observations[:, -1, :4]

    assert_derivatives(end, (2.0,), rtol=1e-6, atol=1e-6)


def test_a_history_of_one_and_noise_of_zero_change_nothing(twin):
    policy, rollout = Gain(jnp.array(2.0)), Rollout(twin, 4)
    wrapped = rollout(
        ActionNoise(ObservationHistory(policy, 1, 5), 0.0), STARTS, jax.random.key(0)
    )
    np.testing.assert_allclose(
        wrapped.observations, rollout(policy, STARTS).observations, rtol=1e-13
    )


def test_each_start_has_a_key_of_its_own(twin):
    noisy, key = ActionNoise(Gain(jnp.array(0.0)), 1.0), jax.random.key(0)
    rollout = Rollout(twin, 4)
    both = rollout(noisy, STARTS[:1].repeat(2, 0), key)
    assert len(np.unique(both.actions)) == 8
    # The first start draws the same, however many there are.
    one = rollout(noisy, STARTS[:1], key)
    np.testing.assert_allclose(one.actions[0], both.actions[0], rtol=1e-13)
    with pytest.raises(
        ValueError, match="`key` must be given: ActionNoise is stochastic"
    ):
        rollout(noisy, STARTS)


def test_many_policies_do_what_each_does(twin):
    gains, rollout = Gain(jnp.array([0.5, 2.0])), Rollout(twin, 4, Clock())
    assert rollout.differentiable
    many, each = rollout.many(gains, STARTS), rollout.many(gains, STARTS, paired=True)
    assert many.observations.shape == (2, 2, 5, 5)
    for k in range(2):
        alone = rollout(Gain(gains.k[k]), STARTS)
        for name in ("observations", "actions", "rewards"):
            made, found = getattr(alone, name), getattr(many, name)
            np.testing.assert_allclose(found[k], made, rtol=1e-13)
            np.testing.assert_allclose(getattr(each, name)[k], made[k], rtol=1e-13)


class Clock:
    """A task whose cost is where the cart is, and the force."""

    def cost_rate(self, observation, action):
        return observation[..., 0] ** 2 + action[..., 0]


def test_rewards_are_the_tasks_cost_as_time_passes(twin):
    trajectory = Rollout(twin, 3, Clock())(Gain(jnp.array(2.0)), STARTS)
    assert trajectory.rewards is not None
    after, actions = trajectory.observations[:, 1:, 0], trajectory.actions[..., 0]
    np.testing.assert_allclose(
        trajectory.rewards, -(after**2 + actions) / 240, rtol=1e-13
    )
    assert Rollout(twin, 3)(Gain(jnp.array(2.0)), STARTS).rewards is None


def test_a_function_rewards_single_steps(twin):
    def reward(observation, action, after):
        return after[0] - observation[0] + 10 * action[0]

    trajectory = Rollout(twin, 3, reward)(Gain(jnp.array(2.0)), STARTS)
    assert trajectory.rewards is not None
    moved = np.diff(trajectory.observations[..., 0], axis=1)
    wanted = moved + 10 * np.asarray(trajectory.actions[..., 0])
    np.testing.assert_allclose(trajectory.rewards, wanted, rtol=1e-12)


def test_an_environments_episodes():
    env = CartPoleSwingUp(duration=0.1)
    starts = env.sample_starts(2, seed=0)
    rollout = twin_rollout(env).require()
    assert rollout.horizon == 24
    starts[:, 0] = 0.3
    policy = lambda observation: -30.0 * observation[:1]  # noqa: E731
    made, recorded = rollout(policy, starts), collect(env, policy, starts=starts)
    assert made.rewards is not None and recorded.rewards is not None
    np.testing.assert_allclose(made.rewards, recorded.rewards, rtol=1e-9)
    env.close()


def test_a_bad_reward_is_refused(twin):
    with pytest.raises(ValueError, match="`reward` must have a `cost_rate`"):
        Rollout(twin, 3, 1.0)
    with pytest.raises(ValueError, match="`reward` must be given for rewards"):
        Rollout(twin, 3).rewards(STARTS, STARTS[:, :1], STARTS[:, None])
    with pytest.raises(ValueError, match=r"one number a step, got shape \(5,\)"):
        Rollout(twin, 3, lambda o, a, after: after)(Gain(jnp.array(1.0)), STARTS)


class Slide:
    """A mass on a line whose action is its velocity, of at most 9 m/s."""

    time_step, joints, action_size = 1 / 240, 1, 1

    def __call__(self, state, action):
        return jnp.stack([state[0] + action[0] / 240, action[0]])

    def clip(self, action):
        return jnp.clip(action, -9.0, 9.0)

    def effort(self, action):
        return action


class Constant(eqx.Module):
    k: jax.Array

    def __call__(self, observation):
        return self.k * jnp.ones_like(observation[:1])


@pytest.mark.parametrize("halving, wanted, restored", [(1, 4.25, 4.25), (0, 6.0, 0.0)])
def test_foresight_fades_gradients_and_changes_no_value(halving, wanted, restored):
    # The mass moves by a/240 in each of three steps, and pays with its position after
    # each: the first action three times, the next two times. If gradients are halved
    # by every step back, it is 1 + 1/2 + 1/4, 1 + 1/2 and 1.
    gradient_decay_time = 1 / 240 / np.log(2.0) if halving else np.inf
    rollout = Rollout(
        Slide(),
        3,
        lambda before, action, after: -after[0],
        gradient_decay_time=gradient_decay_time,
    )

    def loss(k):
        rewards = rollout(Constant(k), jnp.zeros((1, 2))).rewards
        assert rewards is not None
        return -240 * rewards.sum()

    value, slope = jax.jit(jax.value_and_grad(loss))(jnp.array(2.0))
    np.testing.assert_allclose([value, slope], [12.0, wanted])
    # Beyond the limit at 9 a descent leads back to it; beyond −9 it would lead away.
    slopes = [jax.jit(jax.grad(loss))(jnp.array(k)) for k in (10.0, -10.0)]
    np.testing.assert_allclose(slopes, [restored, 0.0])


def test_a_foresight_of_nothing_is_refused(twin):
    with pytest.raises(
        ValueError, match="`gradient_decay_time` must be positive, got 0"
    ):
        Rollout(twin, 3, gradient_decay_time=0.0)
