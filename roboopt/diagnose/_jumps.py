"""Observations that jump within an episode, as where nothing tells that it ended.

At a reset positions jump, and most other observations with them. A contact makes
velocities and forces jump, an angle or quaternion that wraps changes its sign or goes
through its whole range: these are no jumps of positions.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from roboopt.data import Trajectory
from roboopt.diagnose._finding import Finding, warning

JUMP = 3.0  # over the step that `USUAL` of the steps do not exceed
USUAL = 0.95
MIN_SHARE = 0.05  # of the range of an axis that a jump takes
MAX_SHARE = 0.9  # of it: more is an angle that wraps
SIGN = 0.1  # of a change, by which one of sign alone may be off
MIN_LEVELS = 3.0  # of the largest step to the least of an axis that mostly rests
MIN_CORRELATION = 0.9  # of the ranks of steps with those of velocities
FITTED = 0.8  # of the steps that a line is fitted to
ROUNDS = 5
MIN_STEPS = 20
MAX_NAMED = 4
JUMPS = "jumping_observations"


def jumping_observations(runs: Sequence[Trajectory]) -> Iterator[Finding]:
    """Find where most observations of an episode jump at once.

    Args:
        runs: episodes of observations of one size.
    """
    found = {k: rows for k, run in enumerate(runs) if len(rows := _jumps(run))}
    if not found:
        return
    count = sum(map(len, found.values()))
    first, rows = next(iter(found.items()))
    named = ", ".join(str(row + 1) for row in rows[:MAX_NAMED])
    rest = f" and {len(rows) - MAX_NAMED} more" * (len(rows) > MAX_NAMED)
    others = f", and in {len(found) - 1} other episodes" * (len(found) > 1)
    yield warning(
        JUMPS,
        f"the observations jump {count} times, at step{'s' * (len(rows) > 1)} {named}"
        f"{rest} of episode {first}{others}, as where an episode ends and another "
        "begins, or samples are missing: tell the ends, by `lengths`, `episode_ends` "
        "or `dones` in the file, a column `episode` of a table, or a list of "
        "trajectories. Otherwise the samples on both sides count as one motion.",
    )


def _jumps(run: Trajectory) -> np.ndarray:
    """Return the numbers of the steps after which an episode goes on elsewhere."""
    seen = np.asarray(run.observations)
    if run.steps < MIN_STEPS or seen.dtype.kind != "f" or not np.isfinite(seen).all():
        return np.zeros(0, int)
    seen = seen.astype(float)
    change, span = np.diff(seen, axis=0), np.ptp(seen, axis=0)
    # A change of sign is none, of an angle at ±π or a quaternion, nor one of all turns.
    size, flipped = np.abs(change), np.abs(seen[1:] + seen[:-1])
    wraps = (flipped < SIGN * size) | (size > MAX_SHARE * span)
    size = np.where(wraps, 0.0, size)
    positions, rest = _positions(seen, change)
    size[:, positions] = np.minimum(size[:, positions], np.abs(rest))
    usual = np.quantile(size, USUAL, axis=0)
    least = np.min(size, axis=0, where=size > 0, initial=np.inf)
    levels = (usual == 0) & (size.max(0) < MIN_LEVELS * least)
    varies = (span > 0) & ~levels
    jumps = varies & (size > np.maximum(JUMP * usual, MIN_SHARE * span))
    moving = varies & (usual > 0)
    together = 2 * jumps.sum(1) > varies.sum()
    if len(positions):
        moved = jumps[:, positions].sum(1)
        together = (together & (moved > 0)) | (2 * moved >= len(positions))
    together &= jumps[:, moving].any(1) & (jumps.sum(1) >= 2)
    return np.flatnonzero(together)


def _positions(seen: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the axes whose steps follow another axis, their velocity, and the rest.

    The rest, (step, position), is what the velocity leaves of each step.
    """
    axes = np.flatnonzero(np.median(np.abs(change), axis=0) > 0)
    rates, steps = (seen[1:, axes] + seen[:-1, axes]) / 2, change[:, axes]
    # Correlations of ranks, which jumps move little.
    ranks = [_ranks(steps), _ranks(rates)]
    norms = [np.linalg.norm(x, axis=0) for x in ranks]
    alike = ranks[0].T @ ranks[1] / np.maximum(np.outer(*norms), 1.0)
    pairs = [(j, int(row.argmax())) for j, row in enumerate(alike)]
    pairs = [(j, i) for j, i in pairs if alike[j, i] > MIN_CORRELATION and i != j]
    left = [_residual(steps[:, j], rates[:, i]) for j, i in pairs]
    return axes[[j for j, _ in pairs]], np.reshape(left, (-1, len(steps))).T


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks in each column less their mean; equal values share one."""
    found = []
    for column in values.T:
        ordered = np.sort(column)
        low, high = (np.searchsorted(ordered, column, s) for s in ("left", "right"))
        found.append((low + high - len(column)) / 2)
    return np.reshape(found, values.T.shape).T


def _residual(steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return what a line leaves of the steps, fitted to those that it fits best."""
    design = np.column_stack([rates, np.ones(len(rates))])
    kept = np.full(len(rates), True)
    left = steps
    for _ in range(ROUNDS):
        line = np.linalg.lstsq(design[kept], steps[kept], rcond=None)[0]
        left = steps - design @ line
        kept = np.abs(left) <= np.quantile(np.abs(left), FITTED)
    return left
