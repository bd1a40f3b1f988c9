"""Whether a gradient led anywhere: what the history of a descent says, in sentences.

A step can fail to improve a policy for reasons that the loss does not show: its
gradient is noise, or zero, or blows up; two estimators of it disagree; the policy moves
farther than what it has seen can tell of, or its value function explains nothing. Each
of these has a number in the history of a `Result`, and here a limit with its reason.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.diagnose._finding import Finding

NOISE = 0.01
"""Of the signal-to-noise ratio |E g|²/E|g − E g|²: it takes the mean of a hundred such
gradients for as much signal as noise, and no descent remembers more."""
SPIKE = 100.0
"""Of a norm over the median: steps so long undo a hundred others, unless clipped."""
SPIKES = 0.01  # of the steps, that are that long, by which a descent is judged
ZERO = 1e-12  # of the largest norm
OPPOSED = 0.75  # of the steps, in which a cosine is negative: of noise it is 0.5
LARGE_KL = 0.05
"""Of the approximate KL divergence [nats]: 0.01 to 0.02 is what proximal policy
optimization is tuned to (Schulman et al., 2017; Achiam, 2018, Spinning Up)."""
CLIPPED = 0.3
"""Of the samples: 0.1 to 0.2 is usual; those that are clipped no longer count."""
EXPLAINED = 0.1
"""Of the returns' variance: below it a constant would have done as well."""
FEWEST = 10  # steps that something can be said of
TITLES = {
    "gradient_norm": "norm of the gradient",
    "gradient_snr": "signal-to-noise ratio of the gradient",
    "gradient_cosine": "cosine between the two gradients",
    "gradient_share": "share of the exact gradient",
    "approximate_kl": "approximate KL divergence",
    "clip_fraction": "fraction clipped",
    "explained_variance": "explained variance of the returns",
}
"""What the history calls it, and what it is."""


def gradient_health(
    history: Mapping[str, Float[AnyArray, "..."]],
    *,
    horizon: int | None = None,
    reused: int = 1,
) -> list[Finding]:
    """Return what was wrong with the gradients of a descent; nothing if all was well.

    Args:
        history: of a `Result`. What is looked at are "gradient_norm", "gradient_snr",
            "gradient_cosine", "approximate_kl", "clip_fraction" and
            "explained_variance", each over the steps; what is missing is left out.
        horizon: the steps of simulation that the gradient went through, where it did.
        reused: steps taken on the same samples, one after the other. The gradient's
            noise is judged on the first of these, for then the samples have told what
            they know; how far the policy moved, on the last.

    Raises:
        RobooptError: if `reused` is less than 1.
    """
    if reused < 1:
        raise RobooptError(f"`reused` must be at least 1, got {reused}.")
    found: list[Finding] = []
    for name, judge in _JUDGES.items():
        values = _judged(history, name, reused)
        if len(values) >= FEWEST and (said := judge(values, horizon)) is not None:
            found.append(Finding(name, said, "warning"))
    return found


def noise_sentence(ratio: float, horizon: int | None, also: str = "") -> str:
    """Return what is said of a gradient that is noise.

    Args:
        ratio: signal to noise.
        horizon: the steps of simulation that the gradient goes through, if it does.
        also: something to add to the facts.
    """
    if horizon is None:
        what, advice = (
            "the gradient is noise",
            "use more samples a step (more environments, steps or pairs), or smaller "
            "steps",
        )
    else:
        what, advice = (
            f"the gradient through {horizon} steps is noise",
            "shorten the window or use --gradient mixed",
        )
    return f"{what}: {advice} (its signal-to-noise ratio is {_short(ratio)}{also})"


def _short(ratio: float) -> str:
    return "below 0.001" if ratio < 0.001 else f"{ratio:.2g}"


def _norm(norms: np.ndarray, horizon: int | None) -> str | None:
    late = norms[-max(1, len(norms) // 4) :]
    if np.median(late) <= ZERO * norms.max():
        return (
            "the gradient is zero: nothing that is tuned changes the reward any more; "
            "see whether all actions are at their limits"
        )
    middle = float(np.median(norms))
    longest = float(np.quantile(norms, 1 - SPIKES))
    if longest <= SPIKE * middle:
        return None
    where = "" if horizon is None else f" through {horizon} steps"
    return (
        f"the gradient{where} explodes now and then: one in a hundred is "
        f"{longest / middle:.2g} times as long as the median; clip it "
        "(optax.clip_by_global_norm) or shorten what it goes through"
    )


def _signal(ratios: np.ndarray, horizon: int | None) -> str | None:
    # Near an optimum every gradient is noise: what counts is the way there.
    middle = float(np.median(ratios[: max(FEWEST, len(ratios) // 2)]))
    return noise_sentence(middle, horizon) if middle < NOISE else None


def _cosine(cosines: np.ndarray, horizon: int | None) -> str | None:
    opposed = float(np.mean(cosines < 0))
    if opposed < OPPOSED:
        return None
    return (
        "the exact gradient and the smoothed one point against each other in "
        f"{100 * opposed:.0f} % of the steps: the model in JAX is not the simulator, "
        "or its gradient is noise; identify the robot, or shorten the window"
    )


def _kl(divergences: np.ndarray, horizon: int | None) -> str | None:
    middle = float(np.median(divergences))
    if middle <= LARGE_KL:
        return None
    return (
        f"the policy moves too far between two looks at the environment: an "
        f"approximate KL divergence of {middle:.2g} nats, where 0.02 is usual; take "
        "smaller steps or fewer epochs"
    )


def _clipped(fractions: np.ndarray, horizon: int | None) -> str | None:
    middle = float(np.median(fractions))
    if middle <= CLIPPED:
        return None
    return (
        f"{100 * middle:.0f} % of the samples are clipped and teach nothing: take "
        "smaller steps or fewer epochs"
    )


def _explained(shares: np.ndarray, horizon: int | None) -> str | None:
    # Where all returns are alike in the end there is nothing to explain.
    best = float(np.quantile(shares, 0.75))
    if best >= EXPLAINED:
        return None
    return (
        "the value function explains next to nothing of the returns (in three quarters "
        f"of the steps less than {max(100 * best, 0):.0f} % of their variance): train "
        "it more, widen it, or see whether the observation says what is to come"
    )


_JUDGES = {
    "gradient_norm": _norm,
    "gradient_snr": _signal,
    "gradient_cosine": _cosine,
    "approximate_kl": _kl,
    "clip_fraction": _clipped,
    "explained_variance": _explained,
}
_FROM = {"gradient_snr": 0, "approximate_kl": -1, "clip_fraction": -1}
"""Which of the steps on the same samples is judged; all of what is not named."""


def _judged(history: Mapping[str, AnyArray], name: str, reused: int) -> np.ndarray:
    """Return the finite values that are judged, in the order of the steps."""
    values = np.asarray(history.get(name, ()), float)
    if name in _FROM and len(values) >= FEWEST * reused:
        values = values[_FROM[name] % reused :: reused]
    values = values.ravel()
    return values[np.isfinite(values)]
