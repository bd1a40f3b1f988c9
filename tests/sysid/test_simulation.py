"""Simulations of whole recordings are compared with them as by hand."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from test_forecast import Pushed, recording

from roboopt import Trajectory
from roboopt.sysid import _simulation
from roboopt.sysid._simulation import simulations
from roboopt.sysid._simulation_tables import simulation_sentence


class Falling(eqx.Module):
    """An inverted pendulum near its top, q̈ = 25 q: errors grow as exp(5 t)."""

    bias: float = 0.0
    time_step: float = eqx.field(static=True, default=0.1)
    joints: int = eqx.field(static=True, default=1)

    def __call__(self, state, action):
        q, speed = state[:1], state[1:]
        speed = speed + self.time_step * (25.0 * q + self.bias)
        return jnp.concatenate([q + self.time_step * speed, speed])


class Turning(eqx.Module):
    """A wheel of constant speed [rad/s]."""

    speed: float
    time_step: float = eqx.field(static=True, default=0.1)
    joints: int = eqx.field(static=True, default=1)

    def __call__(self, state, action):
        return state + jnp.array([self.time_step * self.speed, 0.0])


def simulated(models, training, held_out=()):
    return simulations(models, training, held_out, (True,))


def test_errors_and_the_times_of_leaving_by_hand():
    # With pushes of a share g the error is (1 − g) q, q = 0.01 k (k + 1)/2 from 0.
    run = recording(20)
    made = simulated({"fitted": Pushed(0.9), "URDF": Pushed(0.0)}, [run])
    q = 0.01 * np.arange(21) * np.arange(1, 22) / 2
    np.testing.assert_allclose(made.motion, [[q.std()]])
    rmse = np.sqrt(np.mean(q[1:] ** 2))
    np.testing.assert_allclose(made.rmse["URDF"], [[rmse]])
    np.testing.assert_allclose(made.rmse["fitted"], [[0.1 * rmse]])
    np.testing.assert_allclose(made.share("fitted"), 0.1 * rmse / q.std())
    left = 0.1 * np.flatnonzero(q > q.std())[0]
    np.testing.assert_allclose(made.left["URDF"], [[left]])
    assert np.isinf(made.left["fitted"]) and np.isinf(made.unstable)
    assert made.followed("URDF") == pytest.approx(left)
    assert made.followed("fitted") == pytest.approx(2.0)
    time, recorded, curves = made.shown
    np.testing.assert_allclose(time, 0.1 * np.arange(21))
    np.testing.assert_allclose(recorded[:, 0], q)
    np.testing.assert_allclose(curves["fitted"][:, 0], 0.9 * q, atol=1e-15)
    assert "to their ends" in simulation_sentence(made)


def test_recordings_of_other_lengths_change_nothing():
    short, long = recording(12, push=2.0), recording(30)
    models = {"fitted": Pushed(0.8), "URDF": Pushed(0.0)}
    alone = [simulated(models, [run]) for run in (short, long)]
    both = simulated(models, [short], [long])
    for name in models:
        for row in (0, 1):
            for quantity in ("rmse", "left"):
                ours, theirs = (getattr(m, quantity)[name] for m in (both, alone[row]))
                np.testing.assert_allclose(ours[row], theirs[0])
    # What was held out judges, and is drawn.
    assert both.share("fitted") == pytest.approx(alone[1].share("fitted"))
    assert len(both.shown[0]) == 31


def test_an_unstable_motion_is_told_from_a_wrong_model():
    q = [0.001, 0.0]
    states = [np.array(q)]
    for _ in range(30):
        states.append(np.asarray(Falling()(jnp.asarray(states[-1]), jnp.zeros(1))))
    run = Trajectory(np.stack(states), np.zeros((30, 1)), 0.1)
    made = simulated({"fitted": Falling(0.01), "URDF": Falling(1.0)}, [run])
    # Eigenvalue of a step: x² − (2 + 0.25) x + 1 = 0, x = 1.64, and both modes share.
    assert made.unstable[0] == pytest.approx(np.log(20) / np.log(1.64) * 0.1, abs=0.11)
    assert np.isfinite(made.left["fitted"])
    assert "motion is unstable" in simulation_sentence(made)
    slow = simulated({"fitted": Pushed(0.1), "URDF": Pushed(0.0)}, [recording(20)])
    assert np.isfinite(slow.left["fitted"])
    assert "unstable" not in simulation_sentence(slow)


def test_what_a_simulation_lost_is_no_number_that_is_not():
    class Lost(Pushed):
        def __call__(self, state, action):
            return (state + 1.0) * 1e200

    made = simulated({"fitted": Lost(), "URDF": Pushed()}, [recording(20)])
    assert np.all(np.isinf(made.rmse["fitted"])) and made.share("fitted") == np.inf
    assert np.all(np.isfinite(made.left["fitted"]))
    assert "nan" not in simulation_sentence(made)


def test_a_joint_that_rests_is_not_off_by_its_noise():
    # A mass that moves beside one whose position has rounding alone.
    run = recording(20)
    q, speed = np.asarray(run.observations).T
    noise = 1e-9 * np.resize([1.0, -1.0], 21)
    states = np.stack([q, noise, speed, 0 * noise], 1)
    rests = Trajectory(states, np.hstack([run.actions, 0 * run.actions]), 0.1)

    class Two(eqx.Module):
        time_step: float = eqx.field(static=True, default=0.1)
        joints: int = eqx.field(static=True, default=2)

        def __call__(self, state, action):
            speed = state[2:] + self.time_step * action
            return jnp.concatenate([state[:2] + self.time_step * speed, speed])

    made = simulations({"fitted": Two(), "URDF": Two()}, [rests], [], (True, True))
    assert np.all(np.isinf(made.left["fitted"]))


def test_a_joint_that_alone_rests_tells_no_time_of_leaving():
    # One model leaves a mass at rest, the other pushes it.
    rest = Trajectory(np.zeros((21, 2)), np.full((20, 1), 1.0), 0.1)
    made = simulated({"fitted": Pushed(0.0), "URDF": Pushed(1.0)}, [rest])
    assert made.rmse["URDF"] > 0.1 and np.isinf(made.left["URDF"])
    assert made.followed("URDF") == pytest.approx(2.0) and np.isnan(made.share("URDF"))
    assert simulation_sentence(made).endswith("ends, but no joint moves there.")


def test_what_is_too_long_is_simulated_so_far_alone(monkeypatch):
    monkeypatch.setattr(_simulation, "MAX_STEPS_IN_ALL", 40)
    runs = [recording(30), recording(12)]
    made = simulated({"fitted": Pushed(), "URDF": Pushed(0.0)}, runs)
    np.testing.assert_allclose(made.seconds, [2.0, 1.2])
    whole = simulated({"fitted": Pushed(), "URDF": Pushed(0.0)}, [recording(20)])
    np.testing.assert_allclose(made.rmse["URDF"][0], whole.rmse["URDF"][0])


def test_a_joint_that_makes_turns_is_off_by_a_part_of_one():
    # 20 rad/s for 5 s, with a standard deviation of 29 rad: off by π/√3 = 1.81 rad is
    # lost, which a speed of 90 % is after 0.91 s.
    q = 0.1 * 20.0 * np.arange(51)
    run = Trajectory(np.stack([q, np.full(51, 20.0)], 1), np.zeros((50, 1)), 0.1)
    models = {"fitted": Turning(20.0), "URDF": Turning(18.0)}
    made = simulated(models, [run])
    np.testing.assert_allclose(made.motion, [[np.pi / np.sqrt(3)]])
    np.testing.assert_allclose(made.left["URDF"], [[1.0]])
    assert np.isinf(made.left["fitted"])
    straight = simulations(models, [run], (), (False,))
    np.testing.assert_allclose(straight.motion, [[q.std()]])
