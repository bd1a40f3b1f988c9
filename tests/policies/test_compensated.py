import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demonstrators import KEY, check_saving, samples
from roboopt_envs.arm import ArmReach

import roboopt as ro


@pytest.fixture(scope="module")
def robot():
    env = ArmReach("two-link")
    yield ro.Twin.from_env(env).robot
    env.close()


@pytest.fixture(scope="module")
def demonstrated(robot):
    """A controller that holds against gravity, over all postures, and its samples."""
    controller = ro.policies.PDGravityCompensation(
        robot, np.array([3.0, 2.0]), np.ones(2)
    )
    o = np.random.default_rng(0).uniform(-3, 3, size=(300, 6))
    return controller, ro.data.Demonstrations(
        o, np.asarray(jax.jit(jax.vmap(controller))(o))
    )


def worst(policy, batch):
    error = jax.jit(jax.vmap(policy))(batch.observations) - batch.actions
    return float(jnp.abs(error).max() / batch.actions.std())


def test_what_is_left_of_a_controller_is_linear(robot, demonstrated):
    _, batch = demonstrated
    compensated = ro.policies.GravityCompensated.of(batch, robot, key=KEY)
    assert worst(compensated, batch) < 0.02
    assert worst(ro.policies.MLPPolicy.of(batch, key=KEY), batch) > 0.3


def test_adds_the_effort_of_gravity_by_hand(robot):
    policy = ro.policies.GravityCompensated(
        ro.policies.LinearFeedback(np.ones((2, 6))), robot, first=2
    )
    o = jnp.arange(6.0)
    expected = robot.gravity_effort(o[2:4]) - 15
    np.testing.assert_allclose(policy(o), expected, rtol=1e-12)


def test_the_robot_is_not_tuned(robot, demonstrated):
    _, batch = demonstrated
    start = ro.policies.GravityCompensated.of(batch, robot, key=KEY, width=8)

    def loss(p, b):
        return jnp.mean((jax.vmap(p)(b.observations) - b.actions) ** 2)

    result = ro.minimize(loss, start, batch, batch_size=100, steps=300)
    assert worst(result.model, batch) < 0.5 * worst(start, batch)
    assert eqx.tree_equal(result.model.robot, start.robot)


def test_densities_and_samples_are_shifted(robot, demonstrated):
    _, batch = demonstrated
    policy = ro.policies.GravityCompensated.of(
        batch, robot, ro.policies.GMMPolicy.of, key=KEY, components=2
    )
    o, a = batch.observations[0], batch.actions[0]
    gravity = robot.gravity_effort(jnp.asarray(o[:2]))
    np.testing.assert_allclose(
        policy.log_prob(o, a), policy.policy.log_prob(o, a - gravity), rtol=1e-12
    )
    np.testing.assert_allclose(
        policy.sample(o, KEY), policy.policy.sample(o, KEY) + gravity, rtol=1e-12
    )
    flow = ro.policies.GravityCompensated.of(
        batch, robot, ro.policies.FlowPolicy.of, key=KEY, steps=2
    )
    noise, level = np.ones(2), np.array(0.5)
    np.testing.assert_allclose(
        flow.flow_error(o, a, noise, level),
        flow.policy.flow_error(o, a - gravity, noise, level),
        rtol=1e-12,
    )


def test_has_what_the_policy_inside_has(robot, demonstrated):
    plain = ro.policies.GravityCompensated.of(demonstrated[1], robot, key=KEY)
    gaussian = ro.policies.GravityCompensated.of(
        demonstrated[1], robot, ro.policies.GaussianPolicy.of, key=KEY
    )
    has = [
        [hasattr(p, n) for n in ("sample", "log_prob", "flow_error")]
        for p in (plain, gaussian)
    ]
    assert has == [[False] * 3, [True, True, False]]


def test_limits_are_on_the_whole_effort(robot, demonstrated):
    _, batch = demonstrated
    limited = ro.data.Demonstrations(
        batch.observations,
        batch.actions,
        low=np.full((300, 2), -1.0),
        high=np.full((300, 2), 1.0),
    )
    with pytest.raises(ValueError, match="`low` must be given"):
        ro.policies.GravityCompensated.of(
            limited, robot, ro.policies.TanhGaussianPolicy.of, key=KEY
        )


def test_is_saved_and_jitted(tmp_path, robot, demonstrated):
    policy = ro.policies.GravityCompensated.of(
        demonstrated[1], robot, ro.policies.GaussianPolicy.of, key=KEY
    )
    check_saving(policy, tmp_path, demonstrated[1].observations[0])


def test_bad_input_is_refused(robot, demonstrated):
    _, batch = demonstrated
    chunk = ro.data.Demonstrations(batch.observations, np.stack([batch.actions] * 3, 1))
    with pytest.raises(ValueError, match=r"`actions` must have shape \(2,\), got \(3"):
        ro.policies.GravityCompensated.of(chunk, robot, key=KEY)
    with pytest.raises(ValueError, match="`first` must be at least 0, got -1"):
        ro.policies.GravityCompensated.of(batch, robot, key=KEY, first=-1)
    with pytest.raises(ValueError, match="`observation` must have q at axes 5 to 6"):
        ro.policies.GravityCompensated.of(batch, robot, key=KEY, first=5)
    whole = ro.policies.GravityCompensated(
        ro.policies.MLPPolicy.of(chunk, key=KEY), robot
    )
    with pytest.raises(ValueError, match=r"`policy\(observation\)` must have shape"):
        whole(batch.observations[0])
    policy = ro.policies.GravityCompensated(
        ro.policies.GaussianPolicy.of(batch, key=KEY), robot
    )
    with pytest.raises(ValueError, match=r"`action` must have shape \(2,\)"):
        policy.log_prob(batch.observations[0], np.ones(1))


def test_works_on_recordings_of_three_axes(robot):
    with pytest.raises(ValueError, match=r"got \(1,\)"):
        ro.policies.GravityCompensated.of(
            samples(lambda o, rng: o[:, :1]), robot, key=KEY
        )
