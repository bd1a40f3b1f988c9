"""Why a descent could not go on: told apart by its losses and steps."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt.optimize._partition import leaf_names

FAILURES = "unbounded", "diverged", "stuck", "non-finite"
UNBOUNDED = 1e30  # times the size of the first loss, below which there is no minimum
DIVERGED = 1e3  # times the size of the first loss, above which a descent has diverged
SMALL = 10.0  # times the root of the tolerance: near a minimum slopes are as roots
ROUNDING = 1e-9  # of the first loss
EPSILONS = 8  # of the loss's type, where they are more
MAX_STARTS_NAMED = 5
TINY_SIZE = 1e-3  # of parameters that are 0


def is_unbounded(first: float, latest: float) -> bool:
    """Return whether a loss has fallen so far that it has no minimum."""
    return latest < -UNBOUNDED * max(abs(first), 1.0)


def reason_to_fail(history: Mapping[str, np.ndarray]) -> str:
    """Return why a descent of one start has met a value that is not finite."""
    losses = np.asarray(history["loss"], float)
    finite = losses[np.isfinite(losses)]
    lowest = float(finite.min(initial=np.inf))
    if losses[-1] == -np.inf or is_unbounded(float(losses[0]), lowest):
        return "unbounded"
    risen = finite.size > 1 and finite[-1] - losses[0] > DIVERGED * max(
        abs(losses[0]), np.finfo(float).tiny
    )
    return "diverged" if risen else "non-finite"


def reason_to_rest(
    history: Mapping[str, np.ndarray], tolerance: float, size: float
) -> str:
    """Return why the loss of one start has not improved any more.

    On a plateau the gradient is small, too, for parameters of this `size`, their norm.
    A descent that is stuck finds no lower loss along a gradient that is not: the
    objective is not smooth, or badly scaled.
    """
    losses = np.asarray(history["loss"], float)
    if len(losses) < 2 or "actual_decrease" not in history:
        return "tolerance"
    if losses[-1] - losses[0] > DIVERGED * abs(losses[0]) > 0:
        return "diverged"
    slope = float(history["gradient_norm"][-1])
    rounding = max(ROUNDING, EPSILONS * float(np.finfo(history["loss"].dtype).eps))
    small = SMALL * math.sqrt(tolerance) * abs(losses[-1]) + rounding * abs(losses[0])
    return "stuck" if slope * max(size, TINY_SIZE) > small else "tolerance"


def without_progress(reason: str, steps: int, history: Mapping[str, np.ndarray]) -> str:
    """Return what a message adds where no step lowered the loss; empty elsewhere."""
    losses = np.asarray(history["loss"])
    lowered = np.any(losses[1:] < losses[:1] - ROUNDING * np.abs(losses[:1]))
    if reason in ("steps", *FAILURES) and steps and not lowered:
        return ", of which none lowered the loss"
    if reason == "tolerance" and not np.any(history.get("gradient_norm", 1.0)):
        return ": the gradient is zero, as at a minimum or where the loss is flat"
    return ""


def failed_starts(descent: Any, losses: np.ndarray) -> str:
    """Name the starts that failed while others went on, and why each did."""
    failed = np.flatnonzero(descent.failed)
    bad_leaves, names = (
        np.asarray(descent.bad_leaves)[failed],
        leaf_names(descent.params),
    )
    reasons = []
    for start, bad in zip(failed, bad_leaves, strict=True):
        wrong = [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
        loss = "finite" if np.isfinite(losses[-1, start]) else "not finite"
        said = f"gradient or its square not finite: {', '.join(wrong)}" if wrong else ""
        reasons.append(f"start {start}: " + (said or f"loss {loss}"))
    shown = "; ".join(reasons[:MAX_STARTS_NAMED])
    more = f"; and {len(reasons) - MAX_STARTS_NAMED} more"
    shown += more if len(reasons) > MAX_STARTS_NAMED else ""
    return f"{len(failed)} of {losses.shape[1]} starts failed ({shown})"
