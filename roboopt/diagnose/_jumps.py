"""Observations that jump within an episode, as where nothing tells that it ended.

At a reset positions jump, and some other observations with them; one position whose
velocity does not explain the jump is enough. A contact makes velocities and forces
jump, an angle or quaternion that wraps changes its sign or goes through its whole
range, and an outlier is over soon: these are no jumps of positions.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from roboopt.data import Trajectory
from roboopt.diagnose._finding import Finding, warning

JUMP = 3.0  # over the step that `USUAL` of the steps do not exceed
USUAL = 0.95
MIN_SHARE = 0.05  # of the range of an axis that a jump takes
SURE = 10.0  # as `JUMP`: one position that jumps so is enough
SURE_SHARE = 0.1  # as `MIN_SHARE`, likewise
TURNS = 2 * np.pi, 360.0  # by which angles wrap
MAX_RATIO = 3.0  # of the steps before and after an angle wraps
OUTLIER = 3  # steps after which an outlier is over
MIN_LEVELS = 3.0  # of the largest step to the least of an axis that mostly rests
MIN_CORRELATION = 0.9  # of the steps of positions with velocities
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
    size = np.where(_wraps(seen, change), 0.0, np.abs(change))
    positions, rest = _positions(seen, change)
    size[:, positions] = np.minimum(size[:, positions], np.abs(rest))
    usual = np.quantile(size, USUAL, axis=0)
    least = np.min(size, axis=0, where=size > 0, initial=np.inf)
    levels = (usual == 0) & (size.max(0) < MIN_LEVELS * least)
    varies = (span > 0) & ~levels
    jumps = varies & (size > np.maximum(JUMP * usual, MIN_SHARE * span))
    # An axis that mostly rests, such as a setpoint, does not tell a reset alone.
    moving, several = varies & (usual > 0), jumps.sum(1) >= 2
    together = several & (2 * jumps[:, moving].sum(1) > moving.sum())
    if len(positions):
        moved = jumps[:, positions].sum(1)
        sure = size > np.maximum(SURE * usual, SURE_SHARE * span)
        sure &= np.abs(change) > 2 * np.quantile(np.abs(change), USUAL, axis=0)
        sure &= _stays(seen, change)
        together &= moved > 0
        together |= several & (2 * moved >= len(positions))
        together |= sure[:, positions].any(1)
    return np.flatnonzero(together)


def _wraps(seen: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return which changes, (step, axis), are those of an angle or of a sign alone.

    The motion goes on through them: an angle at ±π and a quaternion change the sign,
    and any angle goes from one end of its range to the other, against its motion,
    by no more or less than its steps before and after.
    """
    size, still = np.abs(change), np.zeros((1, seen.shape[1]))
    before, after = np.vstack([still, change[:-1]]), np.vstack([change[1:], still])
    near = np.maximum(np.abs(before), np.abs(after))
    flips = np.abs(seen[1:] + seen[:-1]) <= 2 * near
    left = np.ptp(seen, axis=0) - size
    against = (before * change < 0) & (after * change < 0)
    least = np.minimum(np.abs(before), np.abs(after))
    ends = against & (left <= 2 * least) & (near <= MAX_RATIO * least)
    for turn in TURNS:
        ends |= np.abs(size - turn) <= 2 * np.minimum(near, 0.05 * turn)
    return (size > 2 * near) & (flips | ends)


def _stays(seen: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return which changes, (step, axis), are not undone soon after, as an outlier."""
    back = np.zeros(change.shape, bool)
    for later in range(1, OUTLIER + 1):
        gone = np.abs(seen[1 + later :] - seen[: -1 - later])
        back[: len(gone)] |= gone < np.abs(change[: len(gone)]) / 2
        # The way back of an outlier that came before.
        back[later:] |= gone < np.abs(change[later:]) / 2
    return ~back


def _positions(seen: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the axes whose steps follow another axis, their velocity, and the rest.

    A step follows the velocity before it, after it, or their mean, as the integrator
    has it. The rest, (step, position), is what both leave of each step.
    """
    axes = np.flatnonzero(np.median(np.abs(change), axis=0) > 0)
    rates, steps = seen[:, axes], change[:, axes]

    def centered(values: np.ndarray) -> np.ndarray:
        ends = np.quantile(values, [1 - USUAL, USUAL], axis=0)
        values = np.clip(values, *ends)  # Jumps would set the correlation.
        values = values - values.mean(axis=0)
        return values / np.maximum(np.linalg.norm(values, axis=0), 1e-30)

    ways = rates[:-1], rates[1:], (rates[1:] + rates[:-1]) / 2
    alike = np.max([centered(steps).T @ centered(way) for way in ways], axis=0)
    pairs = [(j, int(row.argmax())) for j, row in enumerate(alike)]
    pairs = [(j, i) for j, i in pairs if alike[j, i] > MIN_CORRELATION and i != j]
    left = [_residual(steps[:, j], rates[:, i]) for j, i in pairs]
    return axes[[j for j, _ in pairs]], np.reshape(left, (-1, len(steps))).T


def _residual(steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return what a line leaves of the steps, fitted to those that it fits best."""
    design = np.column_stack([rates[:-1], rates[1:], np.ones(len(steps))])
    kept = np.full(len(steps), True)
    left = steps
    for _ in range(ROUNDS):
        line = np.linalg.lstsq(design[kept], steps[kept], rcond=None)[0]
        left = steps - design @ line
        kept = np.abs(left) <= np.quantile(np.abs(left), FITTED)
    return left
