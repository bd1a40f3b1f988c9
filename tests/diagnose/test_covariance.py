import numpy as np
import pytest

from roboopt.diagnose._covariance import correlated_lags, score_covariance


def omega_of(residuals, slopes):
    return score_covariance(residuals, np.einsum("toi,to->ti", slopes, residuals))


def smoothed(noise, weight=0.8):
    """Return noise with y_t = w y_{t−1} + e_t."""
    result = np.array(noise)
    for t in range(1, len(result)):
        result[t] += weight * result[t - 1]
    return result


def test_white_by_hand():
    # Scores are 1·2 + 2·1 = 4 and 3·1 + 0·2 = 3 of one parameter, at two instants of
    # two outputs each: Ω = (16 + 9)·4/(4 − 1).
    residuals = np.array([[2.0, 1.0], [1.0, 2.0]])
    slopes = np.array([[[1.0], [2.0]], [[3.0], [0.0]]])
    np.testing.assert_allclose(omega_of(residuals, slopes), [[100 / 3]])


def test_alike_and_independent_it_is_the_textbooks():
    # Residuals of ±2: Ω = s² JᵀJ with s² = 4 n/(n − p).
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(10, 1, 3))
    residuals = 2.0 * rng.choice([-1.0, 1.0], (10, 1))
    expected = 4 * 10 / 7 * slopes[:, 0].T @ slopes[:, 0]
    np.testing.assert_allclose(omega_of(residuals, slopes), expected)


def test_smooth_noise_by_hand():
    # With slopes of 1 the scores are the residuals, and Ω is Σ r² + 2 Σ_k w_k c_k with
    # Bartlett's weights up to the lag that the noise says.
    residuals = smoothed(np.random.default_rng(0).normal(size=(400, 1)))
    lags = correlated_lags(residuals)
    assert 8 <= lags <= 40
    r = residuals[:, 0]
    expected = r @ r
    for k in range(1, lags + 1):
        expected += 2 * (1 - k / (lags + 1)) * (r[k:] @ r[:-k])
    omega = omega_of(residuals, np.ones((400, 1, 1)))
    np.testing.assert_allclose(omega, [[expected * 400 / 399]], rtol=1e-12)
    # The sum of 400 such values varies (1/(1 − 0.8))² = 25-fold, about 9 times more
    # than by their own variance 1/(1 − 0.8²).
    assert 3 * 400 / 0.36 < omega[0, 0] < 40 * 400


def test_it_is_positive_semidefinite():
    rng = np.random.default_rng(1)
    residuals = smoothed(rng.normal(size=(200, 2)))
    slopes = smoothed(rng.normal(size=(200, 2, 4)))
    omega = omega_of(residuals, slopes)
    np.testing.assert_allclose(omega, omega.T, rtol=1e-12)
    assert np.linalg.eigvalsh(omega)[0] > 0


def test_white_noise_has_no_lags():
    rng = np.random.default_rng(2)
    lags = [correlated_lags(rng.normal(size=(500, 1))) for _ in range(40)]
    # Two standard errors are passed by chance once in 20.
    assert np.mean(np.array(lags) == 0) > 0.85


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_residuals_that_do_not_vary_have_no_lags(constant):
    assert correlated_lags(np.full((100, 2), constant)) == 0


def test_few_residuals_have_no_lags():
    assert correlated_lags(np.linspace(-1, 1, 19)[:, None]) == 0


def test_a_drift_is_taken_as_far_as_allowed():
    assert correlated_lags(np.linspace(-1, 1, 200)[:, None]) == 20
