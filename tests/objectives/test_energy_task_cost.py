"""Energy plus task cost: by hand, against PyBullet's environment, and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance, CartPoleSwingUp
from roboopt_envs.tasks import Actuators, Balance

import roboopt as ro
from roboopt.objectives import total

TASK = Balance(
    position_scale=1.0,
    angle_scale=1.0,
    speed_scale=1.0,
    angular_speed_scale=1.0,
    force_scale=2.0,
)
# Two steps of 0.5 s: x 0 → 1 → 1, its speed 0 → 2 → 0, forces 4 and −6 N.
TRAJECTORY = ro.Trajectory(
    observations=jnp.array([[0.0, 0, 0, 0], [1.0, 0, 2, 0], [1.0, 0, 0, 0]]),
    actions=jnp.array([[4.0], [-6.0]]),
    time_step=0.5,
    efforts=jnp.array([[4.0, 0.0], [-6.0, 0.0]]),
)


def objective(*, regenerative=False, rollout=None, **weights):
    motors = Actuators((2.0, 2.0), (4.0, 4.0), regenerative)
    return ro.EnergyTaskCost(rollout, TASK, motors, **weights)


def test_terms_by_hand():
    # Task: ((1² + 2² + (4/2)²) + (1² + (6/2)²)) · 0.5 s = (9 + 10)/2 = 9.5 s.
    # Work: the mean speed is 1 m/s in both steps: (|4| + |−6|) · 1 · 0.5 s = 5 J.
    # Heat: (4² + 6²) · 2 Ω / (4 N/A)² · 0.5 s = 3.25 J.
    terms = objective(work_weight=2.0, joule_weight=4.0).measure(TRAJECTORY)
    values = {name: float(term.value) for name, term in terms.items()}
    assert values == {"task_cost": 9.5, "mechanical_work": 5.0, "joule_loss": 3.25}
    assert [t.unit for t in terms.values()] == ["s", "J", "J"]
    assert float(total(terms)) == 9.5 + 2.0 * 5.0 + 4.0 * 3.25


def test_braking_is_free_with_regeneration():
    # The second step brakes: −6 N · 1 m/s · 0.5 s = −3 J is not charged.
    terms = objective(regenerative=True).measure(TRAJECTORY)
    assert float(terms["mechanical_work"].value) == 2.0


def test_joints_add_up_to_the_whole_and_batches_are_means():
    pair = jax.tree.map(lambda x: jnp.stack([x, 3 * x]), TRAJECTORY)
    by_joint = objective().energy_by_joint(pair)
    terms = objective().measure(pair)
    for name, energy in by_joint.items():
        assert energy.shape == (2,) and energy[1] == 0.0
        assert float(terms[name].value) == pytest.approx(float(energy.sum()))
    # Efforts and speeds three times as large: nine times the energy, mean of 1 and 9.
    assert float(terms["joule_loss"].value) == pytest.approx(5 * 3.25)


def test_work_without_friction_is_the_change_of_energy():
    env = CartPoleBalance(duration=1.0)
    twin = ro.Twin.from_env(env)
    plan = ro.policies.OpenLoopSpline(jnp.array([[3.0], [2.0], [4.0]]), 1.0)
    start = jnp.array([[0.0, 3.0, 0.5, 0.0]])
    trajectory = ro.Rollout(twin, env.horizon)(plan, start)
    q, v = jnp.split(trajectory.observations[0], 2, axis=-1)
    energies = [
        twin.robot.kinetic_energy(q[k], v[k]) + twin.robot.potential_energy(q[k])
        for k in (0, -1)
    ]
    # The cart is only ever pushed forwards, so no work is taken back. What is left is
    # the integrator's own error, which falls with the time step.
    work = objective().measure(trajectory)["mechanical_work"].value
    assert float(work) == pytest.approx(float(energies[1] - energies[0]), rel=1e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CartPoleBalance(duration=1.0),
        lambda: CartPoleSwingUp(duration=2.0),
        lambda: ArmReach("two-link", duration=0.5),
        lambda: ArmReach("panda", duration=0.2),
    ],
)
def test_environment_and_objective_give_the_same_numbers(make):
    env = make()
    starts = env.sample_starts(2, seed=3)
    plan = ro.policies.OpenLoopSpline(
        0.3
        * env.effort_limits
        * np.random.default_rng(0).normal(size=(5, env.action_space.shape[0])),
        env.horizon * env.time_step,
    )
    recorded = ro.rollouts.collect(env, plan, starts=starts)
    charged = ro.EnergyTaskCost(None, env.task, env.actuators)
    terms = {k: float(t.value) for k, t in charged.measure(recorded).items()}
    sums = {"task_cost": 0.0, "mechanical_work": 0.0, "joule_loss": 0.0}
    for start, actions in zip(starts, recorded.actions, strict=True):
        _, info = env.reset(options={"start": start})
        for action in actions:
            *_, info = env.step(action)
        for name in sums:
            sums[name] += info[name] / len(starts)
    for name, value in sums.items():
        assert terms[name] == pytest.approx(value, rel=1e-12), name
    assert recorded.rewards is not None
    np.testing.assert_allclose(
        -recorded.rewards.sum(-1).mean(), terms["task_cost"], rtol=1e-12
    )
    env.close()


def test_the_gradient_matches_finite_differences():
    env = CartPoleBalance(duration=0.2)
    charged = ro.EnergyTaskCost(
        ro.Rollout(ro.Twin.from_env(env), env.horizon),
        env.task,
        env.actuators,
        work_weight=0.1,
        joule_weight=0.2,
    )
    starts = jnp.asarray(env.sample_starts(3, seed=0))

    def loss(gains):
        return charged(ro.policies.LinearFeedback(gains), starts)

    gains = jnp.array([[-2.0, -40.0, -4.0, -10.0]])
    assert_derivatives(loss, (gains,), rtol=1e-6)


@pytest.mark.parametrize("name", ["task_weight", "work_weight", "joule_weight"])
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be finite and not negative"):
        ro.EnergyTaskCost(None, TASK, Actuators((1.0,), (1.0,)), **{name: -0.1})


def test_a_trajectory_without_efforts_is_refused():
    bare = ro.Trajectory(TRAJECTORY.observations, TRAJECTORY.actions, 0.5)
    with pytest.raises(ValueError, match="`trajectory` must hold the efforts"):
        objective().measure(bare)
