from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recordings import cart_pole, record

import roboopt as ro
from roboopt.dynamics import (
    Ensemble,
    Gaussian,
    GaussianNetworkDynamics,
    NetworkDynamics,
    ResidualDynamics,
)
from roboopt.rollouts import Rollout

KEY = jax.random.key(0)
STATE, ACTION = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([2.0])


class Shift(eqx.Module):
    """s' = s + by; with a deviation, a Gaussian around it."""

    by: Any
    deviation: Any = None
    time_step: float = 0.1

    def __call__(self, state, action):
        after = state + self.by
        if self.deviation is None:
            return after
        return Gaussian(after, jnp.full(state.shape, self.deviation**2))


@pytest.fixture(scope="module")
def runs():
    return record(cart_pole(), episodes=4, steps=40, seed=0)


@pytest.fixture(scope="module")
def make(runs):
    options = {"actuated": (0,), "effort_limits": 10.0, "width": 8}
    return lambda key: NetworkDynamics.of(runs, key=key, **options)


@pytest.fixture(scope="module")
def ensemble(make):
    return Ensemble.of(make, 3, KEY)


def test_mean_and_disagreement_by_hand():
    # Shifts of 1, 2 and 6: mean 3, deviations −2, −1 and 3, whose mean square is 14/3.
    shifts = Ensemble([Shift(jnp.array(x)) for x in (1.0, 2.0, 6.0)])
    np.testing.assert_allclose(shifts(STATE, ACTION), STATE + 3, rtol=1e-15)
    said = shifts.disagreement(STATE, ACTION)
    np.testing.assert_allclose(said, np.full(4, np.sqrt(14 / 3)), rtol=1e-14)


def test_mixture_of_gaussians_by_hand():
    # Means 1 and 5, so 3 and a variance of 4 between them; their own variances 1 and 9
    # are 5 in the mean: 9 together.
    members = [Shift(jnp.array(m), jnp.array(d)) for m, d in ((1.0, 1.0), (5.0, 3.0))]
    shifts = Ensemble(members)
    said = shifts(jnp.zeros(2), ACTION)
    assert isinstance(said, Gaussian)
    np.testing.assert_allclose(said.mean, [3.0, 3.0], rtol=1e-15)
    np.testing.assert_allclose(said.variance, [9.0, 9.0], rtol=1e-15)
    np.testing.assert_allclose(shifts.disagreement(jnp.zeros(2), ACTION), [2.0, 2.0])


def test_members_are_the_dynamics_with_keys_of_their_own(ensemble, make):
    said = ensemble.predictions(STATE, ACTION)
    for number, key in enumerate(jax.random.split(KEY, 3)):
        expected = make(key)(STATE, ACTION)
        # The vectorized product adds in another order.
        np.testing.assert_allclose(said[number], expected, rtol=1e-12)
        member = ensemble.member(number)
        np.testing.assert_array_equal(member(STATE, ACTION), expected)
    assert np.all(ensemble.disagreement(STATE, ACTION) > 0)


def test_disagrees_more_where_there_are_no_data(ensemble, runs):
    near = jax.vmap(ensemble.disagreement)(runs.observations[0, :-1], runs.actions[0])
    far = ensemble.disagreement(100 * STATE, ACTION)
    assert np.all(far > np.mean(near, 0))


def test_a_drawn_member_is_one_of_them_and_every_one_is_drawn(ensemble):
    said = np.asarray(ensemble.predictions(STATE, ACTION))
    draw = jax.jit(lambda key: ensemble.sample(key)(STATE, ACTION))
    drawn = np.array([draw(key) for key in jax.random.split(KEY, 30)])
    nearest = np.abs(drawn[:, None] - said).max(-1).argmin(1)
    np.testing.assert_allclose(drawn, said[nearest], rtol=1e-12)
    # That one of three is missed in thirty: 3 (2/3)³⁰ < 2e-5.
    assert set(nearest) == {0, 1, 2}


def test_has_what_a_twin_has_and_runs_in_a_rollout(ensemble):
    twin = cart_pole()
    for name in ("time_step", "joints", "action_size"):
        assert getattr(ensemble, name) == getattr(twin, name)
    np.testing.assert_array_equal(ensemble.clip(jnp.array([50.0])), [10.0])
    np.testing.assert_array_equal(ensemble.effort(ACTION), [2.0, 0.0])
    assert ensemble.mean_dynamics is ensemble
    policy = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    trajectory = Rollout(ensemble, 3)(policy, STATE[None])
    after = ensemble(STATE, trajectory.actions[0, 0])
    np.testing.assert_allclose(trajectory.observations[0, 1], after, rtol=1e-12)


def test_an_ensemble_of_gaussians_is_run_by_its_mean(ensemble, make, runs):
    gaussian = Ensemble.of(
        lambda key: GaussianNetworkDynamics.of(make(key), runs, key=key, width=4),
        3,
        KEY,
    )
    said, mean = gaussian(STATE, ACTION), gaussian.mean_dynamics
    assert isinstance(said, Gaussian) and mean.count == 3
    np.testing.assert_allclose(mean(STATE, ACTION), said.mean, rtol=1e-12)
    np.testing.assert_allclose(mean(STATE, ACTION), ensemble(STATE, ACTION), rtol=1e-12)


def test_residuals_make_an_ensemble_too(runs):
    twin = cart_pole()
    of = lambda key: ResidualDynamics.of(twin, runs, key=key, width=4)  # noqa: E731
    ensemble = Ensemble.of(of, 2, KEY)
    # They start as the twin, all of them.
    expected = twin(STATE, ACTION)
    np.testing.assert_allclose(ensemble(STATE, ACTION), expected, rtol=1e-14)
    np.testing.assert_allclose(ensemble.disagreement(STATE, ACTION), 0, atol=1e-15)


def test_survives_a_file(ensemble, tmp_path):
    ro.save(tmp_path / "e.npz", ensemble)
    loaded = ro.load(tmp_path / "e.npz")
    assert loaded.count == 3
    np.testing.assert_array_equal(loaded(STATE, ACTION), ensemble(STATE, ACTION))


def test_what_makes_no_ensemble_is_refused():
    one = Shift(jnp.array(1.0))
    with pytest.raises(ValueError, match="`members` must be at least 2, got 1"):
        Ensemble([one])
    for other in (
        Shift(jnp.array([1.0])),
        Shift(jnp.array(1.0), time_step=0.2),
        Shift(jnp.array(1.0), jnp.array(2.0)),
    ):
        match = "`members` must be alike in all but their numbers, got member 1 unlike"
        with pytest.raises(ValueError, match=match):
            Ensemble([one, other])
