"""Action mismatch: by hand, its laws, its losses, and anyone's kind of policy."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import assert_derivatives
from hand_twins import pendulum_twin

import roboopt as ro

Partial = jax.tree_util.Partial

# Observation x has the demonstrated action (2x, 8x), with x = 1 and then 2.
DEMOS = ro.data.Demonstrations(
    np.array([[1.0], [2.0]]), np.array([[2.0, 8.0], [4.0, 16.0]])
)
SCALE = (1.0, 2.0)


def gain(k):
    """Return the policy a = k (x, 2x)."""
    return Partial(lambda k, o: k * o * jnp.array([1.0, 2.0]), jnp.asarray(k))


def single(actions, **settings):
    """Return demonstrations of one axis, on observations that are 1."""
    actions = np.array(actions, float)[:, None]
    return ro.data.Demonstrations(np.ones_like(actions), actions, **settings)


def constant(k):
    """Return the policy of one axis that does k on the observation 1."""
    return Partial(lambda k, o: k * o, jnp.asarray(k, float))


def test_value_and_gradient_by_hand():
    # At k = 5 the scaled errors on x = 1 are (5 − 2)/1 = 3 and (10 − 8)/2 = 1, on x = 2
    # twice that: L = (9 + 1 + 36 + 4)/(2·2) = 12.5. They grow by x in k, hence
    # dL/dk = (3 + 1 + 2·6 + 2·2)/2 = 10.
    objective = ro.ActionMismatch(SCALE)
    value, grad = jax.jit(jax.value_and_grad(objective))(gain(5.0), DEMOS)
    np.testing.assert_allclose([value, grad.args[0]], [12.5, 10.0], rtol=1e-14)
    terms = objective.terms(gain(5.0), DEMOS)
    assert {k: t.unit for k, t in terms.items()} == {"action_mismatch": "1"}
    errors = objective.errors(gain(5.0), DEMOS)
    np.testing.assert_array_equal(errors, [[3.0, 2.0], [6.0, 4.0]])


def test_one_scale_serves_all_axes():
    # (9 + 4 + 36 + 16)/2² / (2·2)
    assert ro.ActionMismatch(2)(gain(5.0), DEMOS) == pytest.approx(65 / 16)


def test_weights_by_hand():
    # The squares of the samples sum to 10 and 40: (3·10 + 1·40)/(2·4) = 8.75.
    demos = ro.data.Demonstrations(
        DEMOS.observations, DEMOS.actions, np.array([3.0, 1.0])
    )
    objective = ro.ActionMismatch(SCALE)
    assert objective(gain(5.0), demos) == pytest.approx(8.75)
    residuals = objective.residuals(gain(5.0), demos)
    assert 0.5 * jnp.mean(residuals**2) == pytest.approx(8.75)


def test_where_nothing_weighs_anything_there_is_nothing_to_learn():
    demos = ro.data.Demonstrations(DEMOS.observations, DEMOS.actions, np.zeros(2))
    value, grad = jax.jit(jax.value_and_grad(ro.ActionMismatch(SCALE)))(
        gain(5.0), demos
    )
    assert (float(value), float(grad.args[0])) == (0.0, 0.0)


@pytest.mark.parametrize("loss", [ro.losses.L2(), ro.losses.Huber(1.0), ro.losses.L1()])
def test_its_residuals_are_its_value(loss):
    objective = ro.ActionMismatch(SCALE, loss)
    residuals = objective.residuals(gain(5.0), DEMOS)
    value = objective(gain(5.0), DEMOS)
    assert residuals.shape == DEMOS.actions.shape
    np.testing.assert_allclose(0.5 * jnp.mean(residuals**2), value, rtol=1e-14)


def test_absolute_errors_by_hand():
    # |3| + |1| and |6| + |2|, of which d/dk is 1 + 1 and 2 + 2.
    objective = ro.ActionMismatch(SCALE, ro.losses.L1())
    value, grad = jax.jit(jax.value_and_grad(objective))(gain(5.0), DEMOS)
    np.testing.assert_allclose([value, grad.args[0]], [6.0, 3.0], rtol=1e-14)


@pytest.mark.parametrize("loss", [ro.losses.L2(), ro.losses.Huber(1.0), ro.losses.L1()])
def test_gradient_matches_finite_differences(loss):
    objective = ro.ActionMismatch(SCALE, loss)
    assert_derivatives(lambda k: objective(gain(k), DEMOS), (0.7,), order=2)


def test_a_trajectory_is_its_samples_without_the_last_observation():
    rng = np.random.default_rng(0)
    observations, actions = rng.normal(size=(2, 3, 6, 1)), rng.normal(size=(2, 3, 5, 2))
    runs = ro.Trajectory(observations, actions, 0.1)
    objective = ro.ActionMismatch(SCALE)
    laid = ro.data.Demonstrations.from_trajectories(runs)
    assert len(laid) == 30
    expected = objective(gain(0.3), laid)
    np.testing.assert_allclose(objective(gain(0.3), runs), expected, rtol=1e-14)


def test_the_demonstrator_itself_has_no_error():
    gains = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    policy = ro.policies.LinearFeedback(gains)
    observations = np.random.default_rng(0).normal(size=(20, 2))
    demos = ro.data.Demonstrations(observations, np.asarray(-observations @ gains.T))
    objective = ro.ActionMismatch(SCALE)
    assert objective(policy, demos) < 1e-30
    start = ro.policies.LinearFeedback(jnp.zeros((2, 2)))
    fitted = ro.least_squares(objective, start, demos).model
    np.testing.assert_allclose(fitted.gains, gains, rtol=1e-9)


# Chunks.


def chunk(k):
    """Return a policy that plans (k x, k x, k x)."""
    return Partial(lambda k, o: jnp.full((3, 1), k * o[0]), jnp.asarray(k, float))


@pytest.mark.parametrize(
    "weights, expected",
    [
        # Squares of 1 less 1, 2, 4 are 0, 1, 9, and of 2 less 2, 3, 4 are 0, 1, 4.
        (None, 15 / (2 * 6)),
        # Of the second only the first step was within its episode.
        ([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], 10 / (2 * 4)),
        # A weight of a sample is that of each of its steps.
        ([3.0, 1.0], (3 * 10 + 5) / (2 * 12)),
    ],
)
def test_chunks_by_hand(weights, expected):
    weights = None if weights is None else np.array(weights)
    actions = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 4.0]])[..., None]
    demos = ro.data.Demonstrations(np.array([[1.0], [2.0]]), actions, weights)
    objective = ro.ActionMismatch()
    assert objective(chunk(1.0), demos) == pytest.approx(expected)
    residuals = objective.residuals(chunk(1.0), demos)
    assert 0.5 * jnp.mean(residuals**2) == pytest.approx(expected)


# Clipped actuators.


@pytest.mark.parametrize(
    "demonstrated, action, error",
    [
        (3.0, 2.0, -1.0),  # between: the difference
        (5.0, 4.0, -1.0),  # at the upper limit, too low
        (5.0, 7.0, 0.0),  # at the upper limit, and cut off there as well
        (5.5, 4.0, -1.0),  # beyond: what acted was the limit
        (-4.0, -3.0, 1.0),
        (-4.0, -9.0, 0.0),
        (-4.5, -3.0, 1.0),
        (5.0 * (1 - 1e-7), 7.0, 0.0),  # a limit that was rounded on its way
        (5.0 * (1 - 1e-5), 7.0, 7.0 - 5.0 * (1 - 1e-5)),
    ],
)
def test_an_action_at_its_limit_counts_on_one_side(demonstrated, action, error):
    demos = single([demonstrated])
    demos = single(
        [demonstrated], low=0 * demos.actions - 4.0, high=0 * demos.actions + 5.0
    )
    found = ro.ActionMismatch().errors(constant(action), demos)
    np.testing.assert_allclose(found, [[error]], rtol=1e-14)
    slope = jax.jit(jax.grad(ro.ActionMismatch()))(constant(action), demos).args[0]
    assert slope == pytest.approx(error)


def test_limits_may_be_infinite_zero_equal_or_on_one_side_only():
    errors = ro.ActionMismatch().errors
    limit = lambda value: np.full((1, 1), float(value))  # noqa: E731
    free = single([1e300], low=limit(-np.inf), high=limit(np.inf))
    assert float(errors(constant(0.0), free)[0, 0]) == -1e300
    # A gripper of 0 to 1, shut, with 0 met to a rounding of 1.
    shut = single([1e-8], low=limit(0), high=limit(1))
    assert float(errors(constant(-3.0), shut)[0, 0]) == 0.0
    assert float(errors(constant(0.5), shut)[0, 0]) == 0.5
    # An axis that cannot move tells nothing.
    stuck = single([2.0], low=limit(2), high=limit(2))
    assert [float(errors(constant(k), stuck)[0, 0]) for k in (1.0, 3.0)] == [0.0, 0.0]
    upper = single([2.0], high=limit(2))
    assert [float(errors(constant(k), upper)[0, 0]) for k in (1.0, 3.0)] == [-1.0, 0.0]


def test_a_controller_is_found_though_most_of_its_actions_were_clipped():
    rng = np.random.default_rng(0)
    gains = np.array([[40.0, -25.0, 10.0]])
    observations = rng.normal(size=(2000, 3))
    limit = 3.0
    wanted = -observations @ gains.T
    clipped = np.clip(wanted, -limit, limit)
    assert np.mean(np.abs(wanted) > limit) > 0.95
    limits = {
        "low": np.full_like(clipped, -limit),
        "high": np.full_like(clipped, limit),
    }
    start = ro.policies.LinearFeedback(jnp.zeros((1, 3)))

    def recovered(demos):
        result = ro.least_squares(ro.ActionMismatch(), start, demos, tolerance=1e-14)
        return np.asarray(result.model.gains)

    tobit = recovered(ro.data.Demonstrations(observations, clipped, **limits))
    np.testing.assert_allclose(tobit, gains, rtol=1e-6)
    plain = recovered(ro.data.Demonstrations(observations, clipped))
    assert np.all(np.abs(plain / gains - 1) > 0.3)


def test_censored_squares_are_convex_and_never_dead_on_the_wrong_side():
    # The demonstrator pushed up to its limit of 1. Along gains of a linear policy the
    # loss never bends down, and from any wrong one it slopes towards the right ones.
    demos = single([1.0, 1.0, 0.5], high=np.ones((3, 1)), low=-np.ones((3, 1)))
    loss = jax.vmap(lambda k: ro.ActionMismatch()(constant(k), demos))
    values = loss(jnp.linspace(-50.0, 50.0, 1001))
    assert np.diff(values, 2).min() > -1e-9
    slope = jax.jit(jax.grad(ro.ActionMismatch()))(constant(-50.0), demos).args[0]
    assert slope == pytest.approx(-(51 + 51 + 50.5) / 3)


# Likelihoods.


class Bell(eqx.Module):
    """A normal distribution of standard deviation σ about k x."""

    k: jax.Array
    sigma: jax.Array

    def __call__(self, observation):
        return self.k * observation

    def log_prob(self, observation, action):
        return jax.scipy.stats.norm.logpdf(action, self(observation), self.sigma).sum()


class Coin(eqx.Module):
    """Chooses 0 or 1 by logits."""

    logits: jax.Array

    def log_prob(self, observation, action):
        return jax.nn.log_softmax(self.logits)[action[0]]


def test_the_likelihood_of_a_bell_by_hand():
    # Errors of −1 and 2 at σ = 2: ½(1 + 4)/4/2 + log 2 + ½ log 2π, and d/dk of it is
    # (−1·1 + 2·1)/4/2.
    demos = single([4.0, 1.0])
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    bell = Bell(jnp.array(3.0), jnp.array(2.0))
    value, grad = jax.jit(jax.value_and_grad(objective))(bell, demos)
    expected = 5 / 16 + np.log(2) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose([value, grad.k], [expected, 1 / 8], rtol=1e-14)
    terms = objective.terms(bell, demos)
    assert {k: t.unit for k, t in terms.items()} == {"negative_log_likelihood": "1"}
    value = lambda s: objective(Bell(jnp.array(3.0), s), demos)  # noqa: E731
    assert_derivatives(value, (0.7,), order=2)


def test_the_likelihood_of_choices_is_the_cross_entropy():
    # The odds are 3 : 1, and of three choices two were the first; the last weighs 2.
    coin = Coin(jnp.log(jnp.array([3.0, 1.0])))
    demos = ro.data.Demonstrations(
        np.zeros((3, 1)), np.array([[0], [0], [1]]), np.array([1.0, 1.0, 2.0])
    )
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    value, grad = jax.jit(jax.value_and_grad(objective))(coin, demos)
    assert value == pytest.approx(-(2 * np.log(3 / 4) + 2 * np.log(1 / 4)) / 4)
    # Of cross-entropy that is the probabilities less the frequencies.
    np.testing.assert_allclose(grad.logits, [3 / 4 - 1 / 2, 1 / 4 - 1 / 2], rtol=1e-14)


def test_likelihoods_of_choices_are_learned():
    demos = ro.data.Demonstrations(np.zeros((4, 1)), np.array([[0], [0], [1], [0]]))
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    result = ro.minimize(objective, Coin(jnp.zeros(2)), demos, steps=50)
    odds = jax.nn.softmax(result.model.logits)
    np.testing.assert_allclose(odds, [3 / 4, 1 / 4], atol=1e-4)


class Steps(eqx.Module):
    """The density of a chunk, of each step or of the whole."""

    whole: bool = eqx.field(static=True)

    def log_prob(self, observation, action):
        return -jnp.sum(action) if self.whole else -action[:, 0]


def test_chunks_have_likelihoods_step_by_step_or_as_a_whole():
    actions = np.array([[1.0, 2.0], [4.0, 4.0]])[..., None]
    demos = ro.data.Demonstrations(
        np.zeros((2, 1)), actions, np.array([[1.0, 1], [1, 0]])
    )
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    # Step by step the last does not count; as a whole the second chunk does not.
    assert objective(Steps(False), demos) == pytest.approx((1 + 2 + 4) / 3)
    assert objective(Steps(True), demos) == pytest.approx(1 + 2)


# Flow matching.


class Flow(eqx.Module):
    """The velocity k x + t: its error in a straight path's."""

    k: jax.Array

    def flow_error(self, observation, action, noise, level):
        along = (1 - level) * noise + level * action
        return self.k * along + level - (action - noise)


def test_flow_matching_by_hand():
    # Halfway from noise (1, 0) to action (3, 2), x = (2, 1): k x + ½ − (2, 2) is
    # (½, −½) at k = 1, so L = (¼ + ¼)/2, and dL/dk = ½·2 − ½·1.
    demos = ro.data.Demonstrations(np.zeros((1, 1)), np.array([[3.0, 2.0]]))
    batch = ro.losses.FlowBatch(demos, np.array([[1.0, 0.0]]), np.array([0.5]))
    objective = ro.ActionMismatch(loss=ro.losses.FlowMatching())
    value, grad = jax.jit(jax.value_and_grad(objective))(Flow(jnp.array(1.0)), batch)
    np.testing.assert_allclose([value, grad.k], [0.25, 0.5], rtol=1e-14)
    assert list(objective.terms(Flow(jnp.array(1.0)), batch)) == ["flow_matching"]
    residuals = objective.residuals(Flow(jnp.array(1.0)), batch)
    assert 0.5 * jnp.mean(residuals**2) == pytest.approx(0.25)


def test_noise_is_drawn_anew_with_the_samples():
    demos = single(np.arange(5.0), weights=np.arange(5.0))
    source = ro.losses.flow_batches(demos, 2000)
    batch = jax.jit(source)(None, jax.random.key(0))
    assert isinstance(batch, ro.losses.FlowBatch)
    drawn = batch.demonstrations
    np.testing.assert_array_equal(drawn.actions[:, 0], drawn.weights)
    assert np.array_equal(np.unique(drawn.actions), np.arange(5.0))
    # Means of 2000: five standard deviations are 0.11, and of the level 0.03.
    assert abs(float(jnp.mean(batch.noise))) < 0.11
    assert float(jnp.std(batch.noise)) == pytest.approx(1.0, abs=0.08)
    assert float(jnp.mean(batch.level)) == pytest.approx(0.5, abs=0.03)
    assert 0 <= float(jnp.min(batch.level)) <= float(jnp.max(batch.level)) <= 1
    other = source(None, jax.random.key(1))
    assert not np.array_equal(other.noise, batch.noise)


def test_a_flow_is_learned_from_a_source_of_noise():
    # Where every action is 0, x = (1 − t) ε and the error is k (1 − t) ε + t + ε, its
    # mean square least at k = −E(1 − t)/E(1 − t)² = −3/2.
    source = ro.losses.flow_batches(single([0.0, 0.0]), 256)
    objective = ro.ActionMismatch(loss=ro.losses.FlowMatching())
    start, adam = Flow(jnp.array(0.0)), optax.adam(optax.linear_schedule(0.1, 0, 200))
    result = ro.minimize(objective, start, source, steps=200, optimizer=adam)
    # The last steps average over some ten batches of 256.
    assert float(result.model.k) == pytest.approx(-1.5, abs=0.1)


# Sums, and other people's networks.


class Holding:
    """Keep a pendulum at 0."""

    def cost_rate(self, observation, action):
        return observation[..., 0] ** 2

    def success(self, observations, time_step):
        return abs(observations[..., -1, 0]) < 0.1


class Motor:
    """Its work counts, and its heat."""

    def mechanical_power(self, effort, velocity, next_velocity):
        return jnp.abs(effort * (velocity + next_velocity) / 2)

    def joule_power(self, effort):
        return 0.01 * effort**2


@pytest.mark.slow
def test_it_adds_to_the_energy_of_the_motions_from_the_same_starts():
    rollout = ro.Rollout(pendulum_twin(), 4)
    energy = ro.EnergyTaskCost(rollout, Holding(), Motor(), work_weight=0.1)
    starts = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (6, 2)))
    demos = rollout(ro.policies.LinearFeedback(jnp.array([[30.0, 5.0]])), starts)
    policy = ro.policies.LinearFeedback(jnp.array([[20.0, 2.0]]))
    both = ro.ActionMismatch(5.0) + 0.5 * energy
    parts = ro.ActionMismatch(5.0)(policy, demos) + 0.5 * energy(policy, starts)
    np.testing.assert_allclose(both(policy, demos), parts, rtol=1e-13)
    terms = ["action_mismatch", "task_cost", "mechanical_work", "joule_loss"]
    assert list(both.terms(policy, demos)) == terms
    # One trajectory is one start, and any leading axes are flattened.
    one = jax.tree.map(lambda x: x[0], demos)
    np.testing.assert_allclose(energy(policy, one), energy(policy, starts[:1]))
    deep = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), demos)
    np.testing.assert_allclose(both(policy, deep), parts, rtol=1e-13)
    result = ro.minimize(both, policy, demos, steps=10, batch_size=3)
    assert result.loss < float(parts)


def plain_function():
    keys = jax.random.split(jax.random.key(0))
    weights = {
        "in": jax.random.normal(keys[0], (8, 2)),
        "out": 0.1 * jax.random.normal(keys[1], (1, 8)),
    }
    return Partial(lambda p, o: p["out"] @ jnp.tanh(p["in"] @ o), weights)


def equinox_module():
    return eqx.nn.MLP(2, 1, 8, 1, jnp.tanh, key=jax.random.key(0))


def flax_module():
    nn = pytest.importorskip("flax.linen")
    network = nn.Sequential([nn.Dense(8, param_dtype=float), nn.tanh, nn.Dense(1)])
    return Partial(network.apply, network.init(jax.random.key(0), jnp.zeros(2)))


def haiku_module():
    hk = pytest.importorskip("haiku")
    network = hk.without_apply_rng(
        hk.transform(lambda o: hk.nets.MLP([8, 1], activation=jnp.tanh)(o))
    )
    return Partial(network.apply, network.init(jax.random.key(0), jnp.zeros(2)))


@pytest.mark.parametrize(
    "make", [plain_function, equinox_module, flax_module, haiku_module]
)
def test_anyones_network_learns(make):
    observations = np.random.default_rng(0).uniform(-1, 1, (64, 2))
    demos = ro.data.Demonstrations(
        observations, np.sin(observations.sum(1, keepdims=True))
    )
    result = ro.minimize(ro.ActionMismatch(0.5), make(), demos, steps=60)
    assert result.loss < 0.01 * result.history["loss"][0]


# What is refused.


@pytest.mark.parametrize(
    "scale, loss, match",
    [
        (0.0, ro.losses.L2(), "`scale` must hold one positive number"),
        ((1.0, -2.0), ro.losses.L2(), "`scale` must hold one positive number"),
        (float("inf"), ro.losses.L2(), "`scale` must hold one positive number"),
        (float("nan"), ro.losses.Huber(), "`scale` must hold one positive number"),
        (np.ones((1, 2)), ro.losses.L2(), "`scale` must hold one positive number"),
        (
            1.0,
            ro.losses.NegativeLogLikelihood(),
            "`scale` must be None with NegativeLogLikelihood",
        ),
        (1.0, ro.losses.FlowMatching(), "`scale` must be None with FlowMatching"),
    ],
)
def test_bad_settings_are_refused(scale, loss, match):
    with pytest.raises(ValueError, match=match):
        ro.ActionMismatch(scale, loss)


CHOICES = ro.data.Demonstrations(np.ones((2, 1)), np.ones((2, 1), int))
ONE = single([1.0, 2.0])


@pytest.mark.parametrize(
    "settings, model, batch, match",
    [
        ({}, gain(1.0), DEMOS, "`scale` must be given .* 2 axes.* got None"),
        (
            {"scale": (1.0,)},
            gain(1.0),
            DEMOS,
            r"`scale` must hold one number or \(2,\), .* got shape \(1,\)",
        ),
        (
            {"scale": 1.0},
            constant(1.0),
            DEMOS,
            r"`model` must return actions like .* \(2,\), got \(1,\)",
        ),
        (
            {},
            Partial(lambda o: o[0]),
            ONE,
            r"`model` must return actions like .* \(1,\), got \(\)",
        ),
        (
            {},
            Partial(lambda o: jnp.ones(1, int)),
            ONE,
            "`model` must return floating-point actions",
        ),
        ({}, chunk(1.0), ONE, r"`model` must return .* \(1,\), got \(3, 1\)"),
        (
            {},
            ro.policies.OpenLoopSpline(jnp.zeros((2, 1)), 1.0),
            ONE,
            "`model` must be a policy, .* got OpenLoopSpline",
        ),
        ({}, 3.0, ONE, "`model` must be a policy, .* got float"),
        (
            {},
            constant(1.0),
            jax.tree.map(lambda x: x[:0], ONE),
            "`batch` must hold at least one demonstration, got 0",
        ),
        (
            {},
            constant(1.0),
            (ONE.observations, ONE.actions, ONE.actions),
            "`batch` must be a `Demonstrations`.*equally many rows.*got a tuple of 3",
        ),
        (
            {},
            constant(1.0),
            CHOICES,
            "`batch` must have real-valued actions, got int64",
        ),
        (
            {"loss": ro.losses.NegativeLogLikelihood()},
            constant(1.0),
            ONE,
            r"`model` must have `log_prob\(observation, action\)`",
        ),
        (
            {"loss": ro.losses.FlowMatching()},
            constant(1.0),
            ONE,
            "`batch` must be a `FlowBatch` .* got Demonstrations",
        ),
        (
            {"loss": ro.losses.FlowMatching()},
            constant(1.0),
            ro.losses.FlowBatch(ONE, np.ones((2, 1)), np.ones(2)),
            r"`model` must have `flow_error\(",
        ),
        (
            {},
            constant(1.0),
            ro.losses.FlowBatch(ONE, np.ones((2, 1)), np.ones(2)),
            "`batch` must be a `Demonstrations`.*got FlowBatch",
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings, model, batch, match):
    with pytest.raises(ValueError, match=match):
        ro.ActionMismatch(**settings)(model, batch)


class Wrong(eqx.Module):
    """Returns what is not one number, and not like an action."""

    def log_prob(self, observation, action):
        return -(action**2)

    def flow_error(self, observation, action, noise, level):
        return level


@pytest.mark.parametrize(
    "loss, batch, match",
    [
        (
            ro.losses.NegativeLogLikelihood(),
            ONE,
            r"`model.log_prob` must return a number, .* got shape \(1,\)",
        ),
        (
            ro.losses.FlowMatching(),
            ro.losses.FlowBatch(ONE, np.ones((2, 1)), np.ones(2)),
            r"`model.flow_error` must return the shape of an action, \(1,\), got \(\)",
        ),
    ],
)
def test_densities_and_flows_of_a_wrong_shape_are_refused(loss, batch, match):
    with pytest.raises(ValueError, match=match):
        ro.ActionMismatch(loss=loss)(Wrong(), batch)


def test_a_likelihood_is_no_sum_of_squares():
    bell = Bell(jnp.array(1.0), jnp.array(1.0))
    with pytest.raises(ValueError, match="`loss` must be of errors for a sum of squar"):
        ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood()).residuals(bell, ONE)


@pytest.mark.parametrize(
    "make, match",
    [
        (
            partial(ro.losses.flow_batches, CHOICES, 1),
            "`demonstrations` must have real-valued actions",
        ),
        (
            partial(ro.losses.flow_batches, ONE, 0),
            "`batch_size` must be at least 1, got 0",
        ),
        (
            partial(ro.losses.FlowBatch, ONE, np.ones(2), np.ones(2)),
            r"`noise` and `level` must have shapes \(2, 1\) and \(2,\)",
        ),
        (
            partial(ro.losses.FlowBatch, ONE, np.ones((2, 1)), np.ones(3)),
            "`noise` and `level` must have shapes",
        ),
    ],
)
def test_bad_noise_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    "loss, expected",
    # The scaled errors of k = 5 are 3, 1, 6 and 2.
    [
        ("l2", 12.5),
        ("l1", 6.0),
        # Errors above 1.345 cost 1.345 (|e| − 1.345/2): those of 3, 6 and 2.
        ("huber", (1.345 * (3 + 6 + 2 - 3 * 1.345 / 2) + 0.5) / 2),
        (optax.l2_loss, 12.5),
        (lambda e: jnp.abs(e), 6.0),
    ],
)
def test_losses_may_be_names_and_functions(loss, expected):
    objective = ro.ActionMismatch(SCALE, loss=loss)
    assert float(objective(gain(5.0), DEMOS)) == pytest.approx(expected, rel=1e-12)


def test_the_likelihood_may_be_named():
    named = ro.ActionMismatch(loss="nll").loss
    assert isinstance(named, ro.losses.NegativeLogLikelihood)
    for loss in ("l3", 3.0):
        with pytest.raises(ro.RobooptError, match="`loss` must be one of.*'nll'"):
            ro.ActionMismatch(loss=loss)


def test_tuples_and_dicts_are_batches():
    objective = ro.ActionMismatch(SCALE)
    expected = objective(gain(5.0), DEMOS)
    arrays = DEMOS.observations, DEMOS.actions
    named = {"obs": jnp.asarray(arrays[0]), "action": jnp.asarray(arrays[1])}
    for batch in (arrays, named):
        assert jax.jit(objective)(gain(5.0), batch) == expected
    source = ro.losses.flow_batches(arrays, 4)
    assert source(None, jax.random.key(0)).noise.shape == (4, 2)


@pytest.mark.parametrize(
    "policy",
    [
        ro.policies.LinearFeedback(np.ones((1, 3))),
        ro.policies.MLPPolicy.bounded(np.ones(3), np.ones(1), key=jax.random.key(0)),
        eqx.nn.Linear(3, 1, key=jax.random.key(0)),
        ro.policies.GaussianExploration(
            ro.policies.LinearFeedback(np.ones((1, 3))), 1.0
        ),
    ],
)
@pytest.mark.parametrize("loss", ["l2", "nll"])
def test_a_policy_of_another_input_size_is_named_as_such(policy, loss):
    if loss == "nll" and not hasattr(policy, "log_prob"):
        pytest.skip("has no likelihood")
    batch = np.ones((5, 2)), np.ones((5, 1))
    match = "`model` expects 3 inputs, the observations of `batch` have 2"
    with pytest.raises(ro.RobooptError, match=match):
        jax.jit(ro.ActionMismatch(loss=loss))(policy, batch)


def test_other_failures_of_a_policy_are_its_own():
    def broken(observation):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ro.ActionMismatch()(broken, (np.ones((5, 2)), np.ones((5, 1))))


def test_jax_and_optax_take_the_policies_as_they_stand():
    policy: Any = ro.policies.MLPPolicy.of(DEMOS, key=jax.random.key(0), width=4)
    mismatch, optimizer = ro.ActionMismatch(SCALE), optax.lbfgs()

    @jax.jit
    def step(policy):
        value, slope = jax.value_and_grad(mismatch)(policy, DEMOS)
        updates, _ = optimizer.update(
            slope,
            optimizer.init(policy),
            policy,
            value=value,
            grad=slope,
            value_fn=lambda p: mismatch(p, DEMOS),
        )
        return value, optax.apply_updates(policy, updates)

    value, better = step(policy)
    assert jax.jit(mismatch)(better, DEMOS) < value
