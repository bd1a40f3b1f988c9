import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.data import Trajectory
from roboopt.diagnose import gradient_health, mask_constant_returns, norm_by_horizon

STEPS = 40


def codes(history, **settings):
    return [finding.code for finding in gradient_health(history, **settings)]


def healthy():
    rng = np.random.default_rng(0)
    return {
        "loss": rng.normal(size=STEPS),
        "gradient_norm": rng.uniform(0.5, 2.0, STEPS),
        "gradient_snr": rng.uniform(0.1, 9.0, STEPS),
        "gradient_cosine": rng.uniform(-0.1, 0.9, STEPS),
        "approximate_kl": rng.uniform(0.005, 0.02, STEPS),
        "clip_fraction": rng.uniform(0.0, 0.2, STEPS),
        "explained_variance": np.linspace(-0.5, 0.9, STEPS),
    }


def test_nothing_is_said_of_what_is_well():
    assert gradient_health(healthy()) == []
    assert gradient_health({"loss": np.ones(STEPS)}) == []


@pytest.mark.parametrize(
    "name, values, said",
    [
        ("gradient_norm", np.r_[np.ones(30), np.zeros(10)], "the gradient is zero"),
        ("gradient_norm", np.r_[np.ones(38), 1e4, 1e4], "explodes now and then"),
        ("gradient_snr", np.full(STEPS, 0.004), "the gradient is noise.*is 0.004"),
        ("gradient_cosine", np.r_[np.full(35, -0.2), np.ones(5)], "in 88 %"),
        ("approximate_kl", np.full(STEPS, 0.3), "0.3 nats"),
        ("clip_fraction", np.full(STEPS, 0.6), "60 % of the samples"),
        ("explained_variance", np.full(STEPS, -2.0), "it explains nothing"),
    ],
)
def test_what_is_bad_is_said_once(name, values, said):
    (finding,) = gradient_health(healthy() | {name: values})
    assert finding.code == name
    assert finding.severity == "warning"
    assert re.search(said, finding.message), finding.message


def test_noise_through_a_simulation_says_what_to_do():
    (finding,) = gradient_health({"gradient_snr": np.zeros(STEPS)}, horizon=800)
    assert "through 800 steps" in finding.message
    assert "zeroth-order" in finding.message


def test_noise_near_the_end_is_no_fault():
    # At an optimum the signal is gone, and has done its work.
    ratios = np.r_[np.full(25, 5.0), np.zeros(15)]
    assert codes({"gradient_snr": ratios}) == []


def test_returns_that_are_alike_in_the_end_are_no_fault():
    shares = np.r_[np.full(25, 0.8), np.full(15, -3.0)]
    assert codes({"explained_variance": shares}) == []


def test_returns_that_do_not_vary_leave_nothing_to_explain_and_nothing_to_gain():
    # As in CartPole: solved after a fifth of the steps, all later returns are alike.
    steps = 5 * STEPS
    solved = np.arange(steps) >= STEPS
    history = {
        "explained_variance": np.where(solved, -5.0, 0.8),
        "gradient_snr": np.where(solved, 1e-4, 5.0),
    }
    assert codes(history) == ["gradient_snr", "explained_variance"]
    history["return_spread"] = np.where(solved, 0.005, 0.3)
    assert codes(history) == []
    masked = mask_constant_returns(history)
    for name in ("explained_variance", "gradient_snr"):
        np.testing.assert_array_equal(np.isnan(masked[name]), solved)
    # Returns that vary are judged as before.
    assert codes(history | {"return_spread": np.full(steps, 0.3)}) != []


def test_of_samples_used_again_the_first_and_the_last_step_count():
    # Ten times four steps on the same samples: signal at first, and far away at last.
    ratios = np.tile([0.5, 0.0, 0.0, 0.0], 10)
    divergences = np.tile([0.0, 0.01, 0.02, 0.08], 10)
    history = {"gradient_snr": ratios, "approximate_kl": divergences}
    assert codes(history) == ["gradient_snr"]
    assert codes(history, reused=4) == ["approximate_kl"]
    with pytest.raises(ValueError, match="`reused` must be at least 1, got 0"):
        gradient_health(history, reused=0)


def test_what_is_not_finite_and_what_is_short_is_left_out():
    values = np.full(STEPS, 5.0)
    values[3:20] = np.nan
    assert codes({"gradient_snr": values}) == []
    assert codes({"gradient_snr": np.zeros(5)}) == []


class Chain:
    """s' = a s with s_0 the start and r_t = −k s_t: every number is known by hand."""

    horizon = 4

    def __call__(self, k, starts):
        factors = 10.0 ** jnp.arange(self.horizon)[None]
        rewards = -k * starts[:, :1] * factors
        return Trajectory(
            observations=jnp.zeros((len(starts), 5, 1)),
            actions=jnp.zeros((len(starts), 4, 1)),
            time_step=1.0,
            rewards=rewards,
        )


def test_norms_and_ratios_by_hand():
    # dL_h/dk = mean(s) · (1 + 10 + … + 10^(h−1)) over starts s of 1 and 3: the mean
    # gradient is 2, 22, 2222, its standard error likewise √2/√2 = 1 times 1, 11, 1111,
    # so that the ratio is (2² − 1)/1 throughout.
    objective = ro.NegativeReward(Chain())
    found = norm_by_horizon(objective, jnp.array(1.0), np.array([[1.0], [3.0]]))
    np.testing.assert_array_equal(found.horizons, [1, 2, 4])
    np.testing.assert_allclose(found.norms, [2.0, 22.0, 2222.0], rtol=1e-12)
    np.testing.assert_allclose(found.signal_to_noise, 3.0, rtol=1e-9)
    assert found.longest == 4
    assert found.sentence is None


def test_a_discount_counts():
    objective = ro.NegativeReward(Chain(), discount=0.1)
    found = norm_by_horizon(
        objective, jnp.array(1.0), np.array([[1.0], [3.0]]), horizons=[3]
    )
    np.testing.assert_allclose(found.norms, [6.0], rtol=1e-12)


def test_what_overflows_is_noise():
    class Exploding(Chain):
        def __call__(self, k, starts):
            found = super().__call__(k, starts)
            return jax.tree.map(lambda x: x * 1e300 * 1e300, found)

    objective = ro.NegativeReward(Exploding())
    found = norm_by_horizon(objective, jnp.array(1.0), np.ones((2, 1)))
    assert found.longest is None
    assert found.sentence is not None and "through 4 steps" in found.sentence


@pytest.mark.parametrize(
    "objective, starts, horizons, match",
    [
        (ro.NegativeReward(None), np.ones((2, 1)), None, "`objective` must be"),
        (ro.NegativeReward(Chain()), np.ones((1, 1)), None, "`starts` must be"),
        (ro.NegativeReward(Chain()), np.ones((2, 1)), [5], "`horizons` must be from 1"),
        (ro.NegativeReward(Chain()), np.ones((2, 1)), [], "`horizons` must be from 1"),
    ],
)
def test_bad_arguments_are_refused(objective, starts, horizons, match):
    with pytest.raises(ValueError, match=match):
        norm_by_horizon(objective, jnp.array(1.0), starts, horizons)


@pytest.mark.slow
def test_the_swing_up_is_chaotic_over_an_episode_and_not_over_a_window():
    from roboopt_envs.cart_pole import CartPoleSwingUp

    env = CartPoleSwingUp()
    rollout = ro.Rollout(ro.Twin.from_env(env), env.horizon, reward=env.task)
    policy = ro.policies.MLPPolicy.bounded(
        [1.0, 1.0, 2.0, 5.0], [10.0], key=jax.random.key(0), width=8
    )
    # Amid a swing, not hanging still.
    starts = env.sample_starts(16, seed=0) * [1.0, 0.3, 1.0, 1.0]
    env.close()
    found = norm_by_horizon(
        ro.NegativeReward(rollout), policy, starts, horizons=[8, 32, 1440]
    )
    assert found.longest == 32
    assert found.signal_to_noise[1] > 10
    assert found.norms[2] > 1e3 * found.norms[1]
    assert found.sentence is not None
    assert "the gradient through 1440 steps is noise" in found.sentence
    assert "through 32 it is" in found.sentence
