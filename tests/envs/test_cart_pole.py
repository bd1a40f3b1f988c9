"""Cart-poles: starts, physics by hand, and that their tasks can be done."""

import dataclasses

import numpy as np
import pytest
from roboopt_envs.cart_pole import CartPoleBalance, CartPoleSwingUp
from roboopt_envs.tasks import Balance

# F = K·s by LQR, for the default scales of `Balance`.
GAINS = np.array([20.0, 115.8, 21.3, 27.5])


def test_starts():
    balance = CartPoleBalance().sample_starts(2000, seed=0)
    assert (np.abs(balance) <= [0.5, 0.2, 0.2, 0.2]).all()
    assert (np.abs(balance).max(axis=0) > [0.49, 0.19, 0.19, 0.19]).all()
    swing_up = CartPoleSwingUp().sample_starts(2000, seed=0) - [0, np.pi, 0, 0]
    assert (np.abs(swing_up) <= [0.1, 0.1, 0.05, 0.05]).all()


def test_horizons():
    balance, swing_up = CartPoleBalance(), CartPoleSwingUp()
    assert (balance.horizon, swing_up.horizon) == (960, 1440)
    assert CartPoleBalance(duration=1.0, time_step=0.01).horizon == 100


def test_first_step_by_hand():
    # With M = 1 kg, m = 0.1 kg, l = 0.5 m and I = m·(3·0.025² + 1²)/12 at θ = 0.3:
    #   (M+m)·ẍ + m·l·cos θ·θ̈ = F + m·l·sin θ·θ̇²
    #   m·l·cos θ·ẍ + (I + m·l²)·θ̈ = m·g·l·sin θ
    angle, rate, force, g = 0.3, -0.7, 4.0, 9.81
    coupling = 0.05 * np.cos(angle)
    inertia = 0.1 * (3 * 0.025**2 + 1) / 12 + 0.025
    matrix = np.array([[1.1, coupling], [coupling, inertia]])
    right = [force + 0.05 * np.sin(angle) * rate**2, 0.05 * g * np.sin(angle)]
    velocity = [0.2, rate] + np.linalg.solve(matrix, right) / 240
    env = CartPoleBalance()
    env.reset(options={"start": [0.1, angle, 0.2, rate]})
    observation, *_ = env.step([force])
    expected = [*([0.1, angle] + velocity / 240), *velocity]
    np.testing.assert_allclose(observation, expected, rtol=1e-12)


def test_the_rail_ends():
    env = CartPoleBalance(duration=2.0)
    observation, _ = env.reset(options={"start": [2.0, 0.0, 2.0, 0.0]})
    farthest, truncated = 0.0, False
    while not truncated:
        observation, _, _, truncated, _ = env.step([10.0])
        farthest = max(farthest, observation[0])
    assert 2.4 < farthest < 2.45


def test_energy_is_what_the_motor_gave():
    # What the motor gives, counted with its sign, is the change of mechanical energy up
    # to the integrator's own error, below 1 % of it here.
    env = CartPoleSwingUp(duration=1.0)
    env.reset(options={"start": [0.0, np.pi, 0.0, 0.0]})

    def energy(observation):
        _, angle, speed, rate = observation
        coupling = 0.05 * np.cos(angle) * speed * rate
        inertia = 0.1 * (3 * 0.025**2 + 1) / 12 + 0.025
        kinetic = 0.55 * speed**2 + coupling + 0.5 * inertia * rate**2
        return kinetic + 0.05 * 9.81 * np.cos(angle)

    before, truncated, observation, k = energy([0, np.pi, 0, 0]), False, np.zeros(4), 0
    work, old = 0.0, 0.0
    while not truncated:
        force = 5.0 * np.sin(2 * np.pi * k / 240)
        observation, _, _, truncated, _ = env.step([force])
        work += force * (old + observation[2]) / 2 / 240
        old, k = observation[2], k + 1
    np.testing.assert_allclose(work, energy(observation) - before, rtol=1e-2)


def feedback(observation):
    return np.clip([GAINS @ observation], -10, 10)


def test_linear_feedback_balances():
    env = CartPoleBalance()
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        truncated, info = False, {}
        while not truncated:
            step = env.step(feedback(observation))
            observation, _, _, truncated, info = step
        assert info["is_success"]


def test_doing_nothing_does_not_balance():
    env = CartPoleBalance()
    _, info = env.reset(seed=0)
    for _ in range(env.horizon):
        *_, info = env.step([0.0])
    assert not info["is_success"]


def test_energy_shaping_swings_up():
    # Åström and Furuta (2000): accelerate the cart by E·θ̇·cos θ until the pole's energy
    # E, 0 upright at rest, is there; catch it with linear feedback.
    env = CartPoleSwingUp()
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        truncated, info = False, {}
        while not truncated:
            x, angle, speed, rate = observation
            off = np.remainder(angle + np.pi, 2 * np.pi) - np.pi
            energy = 0.5 * 0.0333 * rate**2 + 0.05 * 9.81 * (np.cos(angle) - 1)
            pump = 10 * energy * rate * np.cos(angle) - 2 * x - speed
            force = np.clip([1.1 * pump], -10, 10)
            if abs(off) < 0.5 and abs(rate) < 4:
                force = feedback(np.array([x, off, speed, rate]))
            observation, _, _, truncated, info = env.step(force)
        assert info["is_success"]


def test_a_task_of_ones_own():
    task = Balance(force_scale=3.0)
    env = CartPoleBalance(task=task)
    env.reset(options={"start": np.zeros(4)})
    observation, reward, *_ = env.step([6.0])
    assert env.task is task
    rate = dataclasses.replace(task, force_scale=1e9).cost_rate(observation, np.ones(1))
    np.testing.assert_allclose(reward, -(4.0 + rate) / 240, rtol=1e-12)


@pytest.mark.parametrize("kind", [CartPoleBalance, CartPoleSwingUp])
def test_the_pole_is_not_driven(kind):
    env = kind()
    assert env.joint_names == ("cart", "pole") and env.actuated == (0,)
    np.testing.assert_array_equal(env.effort_limits, [10.0])
    assert env.actuators.torque_constant == (1.0, 1.0)
    env.reset(seed=0)
    *_, info = env.step([3.0])
    np.testing.assert_array_equal(info["effort"], [3.0, 0.0])
