"""A controller slower than the simulation: actions held, sums over all time steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance
from scipy.linalg import solve_discrete_are

import roboopt as ro
from roboopt.dynamics import Held, linearize
from roboopt.policies import LinearFeedback, StatefulPolicy
from roboopt.rollouts import collect, twin_rollout

PERIOD = 1 / 60


class Integral(StatefulPolicy):
    """Damping, and a push that grows with the number of actions so far."""

    push: jax.Array

    def init(self, key=None):
        return jnp.zeros(())

    def __call__(self, carry, observation, time):
        tick = carry + 1.0
        return tick, self.push * tick - 0.1 * observation[2:4] + 0.01 * time


@pytest.fixture(scope="module")
def arm():
    env = ArmReach("two-link", duration=3.0, control_period=PERIOD)
    yield env
    env.close()


@pytest.fixture(scope="module")
def motions(arm):
    """Return the same motions in the environment and in its twin."""
    policy = Integral(jnp.array([4e-3, -1e-3]))
    starts = arm.sample_starts(2, seed=0)
    rollout = twin_rollout(arm).require()
    made = eqx.filter_jit(rollout)(policy, jnp.asarray(starts))
    return collect(arm, policy, starts=starts), made, rollout


def test_the_twin_holds_actions_as_the_environment_does(arm, motions):
    there, here, rollout = motions
    assert there.time_step == here.time_step == rollout.dynamics.time_step == PERIOD
    assert there.steps == here.steps == arm.horizon == rollout.horizon == 180
    names = ("observations", "actions", "rewards", "efforts")
    for name in (*names, "substep_observations", "substep_efforts"):
        gap = np.abs(np.asarray(getattr(here, name)) - getattr(there, name)).max()
        assert gap < 1e-9, (name, gap)
    # The integral of the policy has counted its actions, and not the time steps.
    assert np.ptp(there.observations[..., 0]) > 0.1
    speed, time = there.observations[:, :-1, 2:4], np.arange(180) / 60
    push = np.array([4e-3, -1e-3]) * np.arange(1, 181)[:, None]
    expected = push - 0.1 * speed + 0.01 * time[:, None]
    np.testing.assert_allclose(there.actions, expected, rtol=1e-9, atol=1e-12)


def test_costs_and_energies_are_those_of_all_time_steps(arm, motions):
    there, here, rollout = motions
    fine = there.simulated
    assert fine.steps == 720 and fine.time_step == pytest.approx(1 / 240)
    np.testing.assert_array_equal(fine.observations[:, ::4], there.observations)
    objective = ro.EnergyTaskCost(rollout, arm.task, arm.actuators)
    rate = arm.task.cost_rate(fine.observations[:, 1:], fine.actions)
    cost = rate.reshape(2, 180, 4).sum(-1) / 240
    np.testing.assert_allclose(there.rewards, -cost, rtol=1e-9)
    for motion in (there, here):
        terms = objective.measure(motion)
        total = terms["task_cost"].value
        np.testing.assert_allclose(total, cost.sum(-1).mean(), rtol=1e-9)
    arm.reset(options={"start": there.observations[0, 0]})
    info = [arm.step(action)[-1] for action in there.actions[0]][-1]
    one = objective.measure(jax.tree.map(lambda x: x[:1], there))
    for name in ("mechanical_work", "joule_loss", "task_cost"):
        np.testing.assert_allclose(one[name].value, info[name], rtol=1e-9)


def test_a_period_of_no_whole_number_of_steps_is_refused():
    with pytest.raises(ro.RobooptError, match="`control_period`.*0.02 s.*`time_step`"):
        CartPoleBalance(control_period=0.02)
    env = CartPoleBalance()
    twin = ro.Twin.from_env(env)
    env.close()
    for bad in (0.02, 1 / 480, -1.0):
        with pytest.raises(ro.RobooptError, match="`control_period`"):
            ro.Rollout(twin, 3, control_period=bad)
    assert ro.Rollout(twin, 3, control_period=1 / 240).dynamics.time_step == 1 / 240


@pytest.mark.slow
def test_the_regulator_is_the_optimum_of_the_held_system():
    # Σ_k Σ_i c(x_i, u_k) over the time steps i of each period, by A_i = Aⁱ and
    # B_i = Σ_j<i Aʲ B.
    env = CartPoleBalance()
    twin, task = ro.Twin.from_env(env), env.task
    env.close()
    a, b = map(np.asarray, linearize(twin, jnp.zeros(4), jnp.zeros(1)))
    scales = task.position_scale, task.angle_scale
    scales += task.speed_scale, task.angular_speed_scale
    weight = np.diag(np.append(1 / np.square(scales), 1 / task.force_scale**2))
    both, total = np.eye(5), np.zeros((5, 5))
    for _ in range(4):
        both = np.vstack([np.hstack([a, b]) @ both, np.eye(5)[4:]])
        total += both.T @ weight @ both / 4
    a, b = both[:4, :4], both[:4, 4:]
    q, s, r = total[:4, :4], total[:4, 4:], total[4:, 4:]
    p = solve_discrete_are(a, b, q, r, s=s)
    gains = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a + s.T)
    held = Held(twin, PERIOD)
    found = LinearFeedback.regulator(held, task.cost_rate, np.zeros(4)).gains
    np.testing.assert_allclose(found, gains, rtol=1e-8)


def test_what_happens_within_a_control_period_is_kept_in_files(motions, tmp_path):
    there, _, _ = motions
    for name in ("run.npz", "folder"):
        ro.data.save_episodes(tmp_path / name, there)
        for one, two in zip(
            ro.data.load_episodes(tmp_path / name), there.episodes(), strict=True
        ):
            np.testing.assert_array_equal(one.substep_efforts, two.substep_efforts)
            np.testing.assert_array_equal(
                one.simulated.observations, two.simulated.observations
            )
