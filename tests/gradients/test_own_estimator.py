"""Gradient estimators of the user, and objectives evaluated on many models."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import roboopt as ro

TARGET = jnp.array([1.0, -2.0])


def squared(model, batch):
    return jnp.sum((model - batch) ** 2)


def forward_differences(loss_fn, params, batch, key):
    flat, unravel = ravel_pytree(params)
    loss = loss_fn(params, batch)
    moved = flat[None] + 1e-6 * jnp.eye(flat.size)
    losses = jax.vmap(lambda x: loss_fn(unravel(x), batch))(moved)
    gradient = (losses - loss) / 1e-6
    return loss, unravel(gradient), {"largest": jnp.max(jnp.abs(gradient))}


@pytest.mark.parametrize("bounded", [False, True])
def test_a_function_is_an_estimator(bounded):
    bounds = [ro.Bound(lambda m: m, -5.0, 5.0)] if bounded else []
    result = ro.minimize(
        squared,
        jnp.zeros(2),
        TARGET,
        gradient=forward_differences,
        optimizer=optax.adam(0.1),
        steps=200,
        bounds=bounds,
    )
    np.testing.assert_allclose(result.model, TARGET, atol=1e-3)
    # The first gradient is 2 (0 − b), times 10/4 by the slope of 10 σ(0).
    slope = 2.5 if bounded else 1.0
    assert result.history["largest"][0] == pytest.approx(4.0 * slope, rel=1e-5)


def test_the_values_of_an_estimator_follow_from_its_arguments():
    # Half a mean square: 1.5²/2 and 0.5²/2 of two groups, whose gradients are ∓.
    loss_fn = ro.gradients.LossFn(
        lambda m, b: 0.5 * jnp.mean((m - b) ** 2), lambda p: p
    )
    loss, gradient, info = ro.gradients.Automatic(groups=2)(
        loss_fn, jnp.array(1.0), jnp.array([2.5, 0.5]), jax.random.key(0)
    )
    np.testing.assert_allclose([loss, gradient], [0.625, -0.5])
    np.testing.assert_allclose(info["gradient_error"], 1.0)


def test_mixed_with_an_estimator_that_reports_no_error():
    exact = ro.gradients.FunctionEstimator(forward_differences)
    wrong = ro.gradients.Automatic(lambda m, b: -squared(m, b))
    result = ro.minimize(
        squared,
        jnp.zeros(2),
        TARGET,
        gradient=ro.gradients.Mixed(wrong, exact),
        optimizer=optax.adam(0.1),
        steps=200,
    )
    np.testing.assert_allclose(result.model, TARGET, atol=1e-3)
    np.testing.assert_allclose(result.history["gradient_share"], 0.0, atol=1e-6)


class HostRollout:
    """x ← x + a for two steps in NumPy, with reward −x²; counts its calls."""

    differentiable = False

    def __init__(self):
        self.calls = 0

    def __call__(self, model, starts, keys=None):
        assert not isinstance(model.gain, jax.core.Tracer)  # pyright: ignore
        many = jax.tree.map(lambda x: x[None], model)
        made = self.many(many, starts)
        return jax.tree.map(lambda x: x[0], made)

    def many(self, models, starts, keys=None):
        self.calls += 1
        gains = np.asarray(models.gain)[:, None, None]
        states = [np.broadcast_to(starts, (len(gains), *np.shape(starts)))]
        for _ in range(2):
            states.append(states[-1] + gains * states[-1])
        observations = np.stack(states, -2)
        actions = gains[..., None] * observations[..., :-1, :]
        rewards = -(observations[..., 1:, 0] ** 2)
        return ro.Trajectory(observations, actions, 0.1, rewards=rewards)


class Gain(eqx.Module):
    gain: jax.Array

    def __call__(self, observation):
        return self.gain * observation


def test_a_sum_evaluates_many_models_outside_jax():
    # From x = 2 with a gain k: 2 (1 + k) and 2 (1 + k)².
    rollout, starts = HostRollout(), np.array([[2.0]])
    reward = ro.NegativeReward(rollout)
    demonstrated = ro.Trajectory(np.array([[2.0], [1.0], [0.5]]), np.zeros((2, 1)), 0.1)
    mismatch = ro.objectives.TrajectoryMismatch(rollout, np.ones(1))
    both = reward + 0.5 * mismatch
    assert not both.differentiable and not mismatch.differentiable
    gains = np.array([-0.5, 0.0])
    terms = both.evaluate_many(Gain(jnp.asarray(gains)), demonstrated)
    assert rollout.calls == 2
    first, second = 2 * (1 + gains), 2 * (1 + gains) ** 2
    np.testing.assert_allclose(terms["negative_reward"].value, first**2 + second**2)
    errors = (first - 1.0) ** 2 + (second - 0.5) ** 2
    np.testing.assert_allclose(terms["trajectory_mismatch"].value, errors / 4)
    one = both.terms(Gain(jnp.asarray(-0.5)), demonstrated)
    for name, term in one.items():
        np.testing.assert_allclose(terms[name].value[0], term.value)
    # The reward is largest at k = −1, where all later states are 0.
    result = ro.minimize(
        reward,
        Gain(jnp.asarray(-0.3)),
        starts,
        gradient=ro.gradients.ZerothOrder(),
        steps=40,
    )
    assert float(result.model.gain) == pytest.approx(-1.0, abs=0.02)


def test_evaluate_many_is_terms_of_each():
    class Distance(ro.Objective):
        def terms(self, model, batch):
            return {"distance": ro.Term(squared(model, batch), 2.0, "m")}

    models = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    terms = Distance().evaluate_many(models, TARGET)
    np.testing.assert_allclose(terms["distance"].value, [4.0, 5.0])


def test_a_rollout_objective_in_jax_is_differentiable():
    def rollout(model, starts):
        observations = jnp.stack([starts, model * starts], 1)
        rewards = -jnp.sum(observations[:, 1:] ** 2, -1)
        return ro.Trajectory(observations, observations[:, 1:], 0.1, rewards=rewards)

    objective = ro.NegativeReward(rollout)
    assert objective.differentiable
    terms = objective.evaluate_many(jnp.array([1.0, 3.0]), jnp.array([[2.0]]))
    np.testing.assert_allclose(terms["negative_reward"].value, [4.0, 36.0])
