"""Covariance of least-squares estimates, robust to the residuals' own noise.

    C = (JᵀJ)⁻¹ Ω (JᵀJ)⁻¹,    Ω = Σ_{|k| ≤ L} (1 − |k|/(L + 1)) Σ_t g_t g_{t−k}ᵀ,

with the scores g_t = J_tᵀ r_t of each instant (Newey and West, 1987). Where residuals
are independent and alike it is s² (JᵀJ)⁻¹; where some outputs are noisier than others,
or noise is smooth in time, as filtered signals have it, that would be too small.
"""

import numpy as np
from jaxtyping import Float

MAX_LAG_SHARE = 0.1  # of the instants
FINE_LAGS = 20
MIN_AUTOCORRELATION = 2.0  # standard errors


def score_covariance(
    residuals: Float[np.ndarray, "time output"],
    scores: Float[np.ndarray, "time parameter"],
) -> Float[np.ndarray, "parameter parameter"]:
    """Return Ω, for residuals and their scores in the order of time.

    Of many lags, the scores of a few instants are summed first.
    """
    lags = correlated_lags(residuals)
    together = max(1, lags // FINE_LAGS)
    scores = np.add.reduceat(scores, np.arange(0, len(scores), together))
    lags = -(-lags // together)
    omega = scores.T @ scores
    for lag in range(1, lags + 1):
        moved = scores[lag:].T @ scores[:-lag]
        omega += (1 - lag / (lags + 1)) * (moved + moved.T)
    count, parameters = residuals.size, scores.shape[-1]
    return omega * count / max(count - parameters, 1)


def correlated_lags(residuals: Float[np.ndarray, "time output"]) -> int:
    """Return over how many instants the noise is correlated, 0 if it is white.

    The number is twice the last lag whose median autocorrelation over the outputs is
    significant.
    """
    count = len(residuals)
    centered = residuals - residuals.mean(0)
    power = np.sum(centered**2, 0)
    alive = power > 1e-28 * max(power.max(initial=0.0), 1e-300)
    if count < 20 or not alive.any():
        return 0
    centered, power = centered[:, alive], power[alive]
    for lag in range(1, int(MAX_LAG_SHARE * count)):
        related = np.abs(np.sum(centered[lag:] * centered[:-lag], 0)) / power
        if np.median(related) < MIN_AUTOCORRELATION / np.sqrt(count):
            return 2 * (lag - 1)
    return int(MAX_LAG_SHARE * count)
