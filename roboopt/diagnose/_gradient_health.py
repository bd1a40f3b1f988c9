"""Diagnosis of an optimizer's gradients from its history.

A step can fail to improve a policy for reasons that the loss does not show: the
gradient is noise, zero, or explodes; two estimators of it disagree; the policy moves
farther than its samples are valid; or the value function explains nothing. The history
of a `Result` holds a number for each of these, and this module a limit.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
from roboopt._errors import require
from roboopt.diagnose._finding import Finding, warning

MIN_SNR = 0.01
"""Least signal-to-noise ratio |E g|²/E|g − E g|²: below, as much signal as noise takes
the mean of a hundred gradients, and no optimizer remembers more."""
SPIKE_RATIO = 100.0
"""Norm over the median norm: a step so long undoes a hundred others, unless clipped."""
SPIKE_SHARE = 0.01  # of the steps, by which spikes are judged
ZERO_RATIO = 1e-12  # of the largest norm
MAX_OPPOSED_SHARE = 0.75  # of the steps with a negative cosine; 0.5 for noise
MAX_KL_NATS = 0.05
"""Proximal policy optimization is tuned to 0.01 to 0.02 (Schulman et al., 2017; Achiam,
2018, Spinning Up)."""
MAX_CLIPPED_SHARE = 0.3
"""Share of the samples: 0.1 to 0.2 is usual; clipped samples have no gradient."""
MIN_EXPLAINED_VARIANCE = 0.1
"""Share of the returns' variance: below, a constant value would do as well."""
MIN_RETURN_SPREAD = 0.02
"""Least standard deviation of the returns over their root mean square: below, as in a
solved CartPole whose episodes all last to the time limit, there is nothing to explain
and nothing to gain."""
RETURN_DIAGNOSTICS = {"explained_variance", "gradient_snr"}
"""Entries of a history that mean nothing where the returns do not vary."""
MIN_STEPS = 10
HISTORY_TITLES = {
    "relative_gradient_norm": "norm of the relative gradient",
    "gradient_snr": "signal-to-noise ratio of the gradient",
    "gradient_cosine": "cosine between the two gradients",
    "gradient_share": "share of the automatic gradient",
    "approximate_kl": "approximate KL divergence",
    "clip_fraction": "fraction clipped",
    "explained_variance": "explained variance of the returns",
    "return_spread": "standard deviation of the returns over their root mean square",
}
"""Titles of the entries of a history."""


def gradient_health(
    history: Mapping[str, Float[AnyArray, "..."]],
    *,
    horizon: int | None = None,
    reused: int = 1,
) -> list[Finding]:
    """Find what is wrong with the gradients of an optimization.

    Args:
        history: history of a `Result`. The checks look at "relative_gradient_norm" (or
            without it at "gradient_norm"), "gradient_snr", "gradient_cosine",
            "approximate_kl", "clip_fraction" and "explained_variance" over the steps,
            where they are present; at steps where the returns do not vary by
            "return_spread", see `mask_constant_returns`.
        horizon: steps of simulation that the gradient goes through, if it does.
        reused: consecutive steps on the same samples. The gradient's noise is judged on
            the first of these steps, the distance that the policy moved on the last.

    Returns:
        Warnings, each with the history's name as `code`; none if all is well.

    Raises:
        RobooptError: if `reused` is less than 1.
    """
    require(reused >= 1, "reused", "be at least 1", reused)
    history = mask_constant_returns(history)
    found = []
    for name, (check, step) in CHECKS.items():
        if name == "gradient_norm" and "relative_gradient_norm" in history:
            continue
        values = np.asarray(history.get(name, ()), float)
        if step is not None and len(values) >= MIN_STEPS * reused:
            values = values[step % reused :: reused]
        values = values[np.isfinite(values)].ravel()
        if len(values) >= MIN_STEPS and (message := check(values, horizon)):
            found.append(warning(name, message))
    return found


def mask_constant_returns(
    history: Mapping[str, Float[AnyArray, "..."]],
) -> dict[str, Float[AnyArray, "..."]]:
    """Return a history without the diagnostics of steps whose returns do not vary.

    The explained variance and the signal-to-noise ratio become NaN at steps where
    "return_spread" is less than `MIN_RETURN_SPREAD`.

    Args:
        history: history of a `Result`, as for `gradient_health`.
    """
    masked = dict(history)
    if "return_spread" in masked:
        constant = np.asarray(masked["return_spread"]) < MIN_RETURN_SPREAD
        for name in RETURN_DIAGNOSTICS & masked.keys():
            masked[name] = np.where(constant, np.nan, masked[name])
    return masked


def noise_message(ratio: float, horizon: int | None, detail: str = "") -> str:
    """Return the sentence on a gradient of this signal-to-noise ratio."""
    said = "below 0.001" if ratio < 0.001 else f"{ratio:.2g}"
    through, advice = "", "use more samples a step, or smaller steps"
    if horizon is not None:
        through = f" through {horizon} steps"
        advice = "shorten the horizon or mix in zeroth-order gradients"
    return (
        f"the gradient{through} is noise: {advice} (its signal-to-noise ratio is "
        f"{said}{detail})"
    )


def _norm(norms: np.ndarray, horizon: int | None) -> str | None:
    late = norms[-max(1, len(norms) // 4) :]
    if np.median(late) <= ZERO_RATIO * norms.max():
        return (
            "the gradient is zero: no parameter changes the objective any more; see "
            "whether all actions are at their limits"
        )
    spike = float(np.quantile(norms, 1 - SPIKE_SHARE)) / float(np.median(norms))
    if spike <= SPIKE_RATIO:
        return None
    where = "" if horizon is None else f" through {horizon} steps"
    return (
        f"the gradient{where} explodes now and then: one in a hundred is {spike:.2g} "
        "times as long as the median; clip it (optax.clip_by_global_norm) or shorten "
        "the horizon"
    )


def _snr(ratios: np.ndarray, horizon: int | None) -> str | None:
    # Near an optimum every gradient is noise: the way there counts.
    middle = float(np.median(ratios[: max(MIN_STEPS, len(ratios) // 2)]))
    return noise_message(middle, horizon) if middle < MIN_SNR else None


def _cosine(cosines: np.ndarray, horizon: int | None) -> str | None:
    opposed = float(np.mean(cosines < 0))
    said = (
        "the automatic and the zeroth-order gradient point against each other in "
        f"{100 * opposed:.0f} % of the steps: the model in JAX is not the simulator, "
        "or its gradient is noise; identify the robot, or shorten the horizon"
    )
    return said if opposed >= MAX_OPPOSED_SHARE else None


def _kl(divergences: np.ndarray, horizon: int | None) -> str | None:
    middle = float(np.median(divergences))
    said = (
        "the policy moves too far between two rollouts: the approximate KL divergence "
        f"is {middle:.2g} nats, where 0.02 is usual; take smaller steps or fewer epochs"
    )
    return said if middle > MAX_KL_NATS else None


def _clipped(fractions: np.ndarray, horizon: int | None) -> str | None:
    middle = float(np.median(fractions))
    said = (
        f"{100 * middle:.0f} % of the samples are clipped and have no gradient: take "
        "smaller steps or fewer epochs"
    )
    return said if middle > MAX_CLIPPED_SHARE else None


def _explained(shares: np.ndarray, horizon: int | None) -> str | None:
    # Where all returns are alike in the end there is nothing to explain.
    best = float(np.quantile(shares, 0.75))
    little = f"at most {100 * best:.0f} % of their variance" if best > 0 else "nothing"
    said = (
        "the value function hardly predicts the returns (in three quarters of the "
        f"steps it explains {little}): train it more, widen it, or see whether the "
        "observation determines the return"
    )
    return said if best < MIN_EXPLAINED_VARIANCE else None


CHECKS: dict[str, tuple[Callable, int | None]] = {
    "relative_gradient_norm": (_norm, None),
    "gradient_norm": (_norm, None),
    "gradient_snr": (_snr, 0),
    "gradient_cosine": (_cosine, None),
    "approximate_kl": (_kl, -1),
    "clip_fraction": (_clipped, -1),
    "explained_variance": (_explained, None),
}
"""For each history its check, and which of the steps on the same samples it judges."""
