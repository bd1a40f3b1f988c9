"""Trajectory mismatch: by hand, on a system of one line, and through the twin."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import assert_derivatives
from hand_twins import pendulum_twin

import roboopt as ro


class Doubling(eqx.Module):
    """s' = s + a on `size` coordinates, for `horizon` steps under a = (k − 1) s."""

    horizon: int = eqx.field(static=True)
    time_step: float = eqx.field(static=True, default=0.5)

    def __call__(self, model, starts):
        states = [starts]
        for _ in range(self.horizon):
            states.append(model * states[-1])
        observations = jnp.stack(states, 1)
        return ro.Trajectory(observations, 0 * observations[:, 1:], self.time_step)


def recording(*states, time_step=0.5, times=None):
    states = np.array(states, float)
    states = states[:, None] if states.ndim == 1 else states
    return ro.Trajectory(states, 0 * states[1:], time_step, times=times)


ONE = np.ones(1)
DOUBLED = recording(1, 2, 4)
THREE, TWO = jnp.array(3.0), jnp.array(2.0)


def test_value_and_gradient_by_hand():
    # At k = 3 the motion is 1, 3, 9 and the errors over 2 are ½ and 2.5:
    # L = (¼ + 6.25)/(2·2) = 1.625. They grow by ½ and by 2k/2 = 3 in k, hence
    # dL/dk = (½·½ + 2.5·3)/2 = 3.875.
    objective = ro.objectives.TrajectoryMismatch(Doubling(2), 2 * ONE)
    value, grad = jax.jit(jax.value_and_grad(objective))(THREE, DOUBLED)
    np.testing.assert_allclose([value, grad], [1.625, 3.875], rtol=1e-14)
    terms = objective.terms(THREE, DOUBLED)
    assert {k: t.unit for k, t in terms.items()} == {"trajectory_mismatch": "1"}
    np.testing.assert_array_equal(objective.errors(THREE, DOUBLED), [[[1.0], [5.0]]])


def test_a_shorter_rollout_is_compared_as_far_as_it_goes():
    objective = ro.objectives.TrajectoryMismatch(Doubling(1), ONE)
    assert objective(THREE, DOUBLED) == pytest.approx(1 / 2)


def test_coordinates_add_and_those_of_infinite_scale_do_not_count():
    batch = recording([1, 1, 1], [2, 3, 9])
    # Errors 1, 0, −6.
    objective = ro.objectives.TrajectoryMismatch(Doubling(1), np.array([1.0, 1.0, 3.0]))
    assert objective(THREE, batch) == pytest.approx((1 + 4) / 2)
    objective = ro.objectives.TrajectoryMismatch(
        Doubling(1), np.array([1.0, 1.0, np.inf])
    )
    value, grad = jax.jit(jax.value_and_grad(objective))(THREE, batch)
    np.testing.assert_allclose([value, grad], [1 / 2, 1.0])


def test_angles_count_modulo_a_turn():
    batch = recording([1, 1], [-3, -3])
    objective = ro.objectives.TrajectoryMismatch(Doubling(1), np.ones(2), (True, False))
    errors = objective.errors(THREE, batch)
    np.testing.assert_allclose(errors[0, 0], [6 - 2 * np.pi, 6.0], rtol=1e-14)


def test_a_discount_counts_the_beginning_more():
    # Steps of ½ s at γ = ¼ count ½ and ¼; errors are 1 and 5: (½·1 + ¼·25)/(2·¾).
    objective = ro.objectives.TrajectoryMismatch(Doubling(2), ONE, discount=0.25)
    assert objective(THREE, DOUBLED) == pytest.approx(6.75 / 1.5)


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss": ro.losses.Huber(1.5)}, {"discount": 0.3}, {"loss": ro.losses.L1()}],
)
def test_its_residuals_are_its_value(settings):
    batch = jax.tree.map(lambda x: np.stack([x, 2 * x]), DOUBLED)
    objective = ro.objectives.TrajectoryMismatch(Doubling(2), ONE, **settings)
    residuals = objective.residuals(THREE, batch)
    assert residuals.shape == (2, 2, 1)
    value = objective(THREE, batch)
    np.testing.assert_allclose(0.5 * jnp.mean(residuals**2), value, rtol=1e-14)
    assert_derivatives(lambda k: objective(k, batch), (THREE,), order=2)


def test_a_batch_is_the_mean_of_its_trajectories():
    batch = jax.tree.map(lambda x: np.stack([x, 2 * x]), DOUBLED)
    objective = ro.objectives.TrajectoryMismatch(Doubling(2), ONE)
    alone = objective(THREE, DOUBLED)
    assert objective(THREE, batch) == pytest.approx(float(alone) * (1 + 4) / 2)


# Through the twin.

TWIN = pendulum_twin()
SCALE = np.array([0.1, 0.5])
GAINS = jnp.array([[30.0, 5.0]])
OTHERS = jnp.array([[20.0, 2.0]])


def demonstrated(steps=12):
    starts = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 2)))
    return ro.Rollout(TWIN, steps)(ro.policies.LinearFeedback(GAINS), starts)


def test_the_demonstrator_itself_has_no_error():
    objective = ro.objectives.TrajectoryMismatch(ro.Rollout(TWIN, 12), SCALE)
    assert objective(ro.policies.LinearFeedback(GAINS), demonstrated()) < 1e-26
    assert objective(ro.policies.LinearFeedback(OTHERS), demonstrated()) > 0.1


def test_the_demonstrators_gains_are_found_from_its_motions():
    objective = ro.objectives.TrajectoryMismatch(ro.Rollout(TWIN, 10), SCALE)
    result = ro.least_squares(
        objective, ro.policies.LinearFeedback(OTHERS), demonstrated()
    )
    np.testing.assert_allclose(result.model.gains, GAINS, rtol=1e-9)


class Assisted(eqx.Module):
    """Feedback and a network beside it."""

    feedback: ro.policies.LinearFeedback
    network: eqx.nn.MLP

    def __call__(self, observation):
        return self.feedback(observation) + self.network(observation)


def test_gains_and_a_network_are_fitted_together():
    network = eqx.nn.MLP(2, 1, 4, 1, jnp.tanh, key=jax.random.key(0))
    start = Assisted(ro.policies.LinearFeedback(OTHERS), network)
    objective = ro.objectives.TrajectoryMismatch(ro.Rollout(TWIN, 5), SCALE)
    result = ro.minimize(
        objective, start, demonstrated(5), steps=40, optimizer=optax.adam(0.3)
    )
    assert result.loss < 0.1 * result.history["loss"][0]
    assert not np.array_equal(result.model.feedback.gains, OTHERS)
    assert not eqx.tree_equal(result.model.network, network)


def test_gradient_through_the_twin_matches_finite_differences():
    batch = demonstrated(5)
    objective = ro.objectives.TrajectoryMismatch(
        ro.Rollout(TWIN, 5), SCALE, discount=0.5
    )
    loss = lambda gains: objective(ro.policies.LinearFeedback(gains), batch)  # noqa: E731
    assert_derivatives(loss, (OTHERS,))


def test_what_follows_the_state_is_not_compared():
    # A goal after [q, q̇], which the rollout hands through.
    batch = demonstrated(3)
    goals = jnp.ones((*batch.observations.shape[:-1], 1))
    seen = ro.Trajectory(
        jnp.concatenate([batch.observations, goals], -1), batch.actions, 0.1
    )
    objective = ro.objectives.TrajectoryMismatch(ro.Rollout(TWIN, 3), SCALE)
    policy = ro.policies.LinearFeedback(OTHERS)
    np.testing.assert_allclose(objective(policy, seen), objective(policy, batch))


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"scale": np.array([1.0, 0.0])}, "`scale` must hold one positive number"),
        ({"scale": np.array([np.inf])}, "one of them finite"),
        ({"scale": np.array([np.nan])}, "`scale` must hold one positive number"),
        ({"discount": 0.0}, "`discount` must be above 0 and at most 1, got 0.0"),
        ({"discount": 1.1}, "`discount` must be above 0 and at most 1, got 1.1"),
    ],
)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        ro.objectives.TrajectoryMismatch(
            **{"rollout": Doubling(1), "scale": ONE, **settings}
        )


@pytest.mark.parametrize(
    "settings, batch, match",
    [
        ({"rollout": Doubling(3)}, DOUBLED, "`rollout` must be at .* 2 steps, got 3"),
        (
            {"rollout": Doubling(1, 0.25)},
            DOUBLED,
            "`batch` must have the time step of the rollout, 0.25 s, got 0.5 s",
        ),
        (
            {},
            recording(1, 2, times=np.array([0.0, 0.5])),
            "`batch` must have even time steps, got `times`",
        ),
        ({"scale": np.ones(2)}, DOUBLED, r"`scale` must .* 1 axes, .*\(2,\)"),
        ({"wraps": (True, True)}, DOUBLED, "`wraps` must hold one for .* got 2"),
        (
            {},
            jax.tree.map(lambda x: x[None, None], DOUBLED),
            "`batch` must be one trajectory or a batch of them",
        ),
        (
            {},
            jax.tree.map(lambda x: x[None][:0], DOUBLED),
            "`batch` must be one trajectory or a batch of them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings, batch, match):
    objective = ro.objectives.TrajectoryMismatch(
        **{"rollout": Doubling(1), "scale": ONE, **settings}
    )
    with pytest.raises(ValueError, match=match):
        objective(TWO, batch)
