"""Checks of demonstrations, before a policy is learned from them.

Actions that were logged a sample late or early show where they follow a linear law of
the observations: then the law fits best at another shift than none. Other demonstrators
are not judged.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, single_recordings
from roboopt.diagnose._finding import Finding, error, warning
from roboopt.diagnose._jumps import jumping_observations
from roboopt.diagnose._outlying_samples import outlying_samples
from roboopt.diagnose._space_checks import Bounds, check_space

MIN_SATURATED_SHARE = 0.01
SHIFTS = range(-3, 4)  # [samples]
MIN_SAMPLES_PER_UNKNOWN = 50
MAX_SAMPLES = 20_000  # more make a fit no surer
MAX_EPISODES_NAMED = 5
MIN_SAMPLES = 100  # fewer actions that are all the same may be a trial's


def check_demonstrations(
    episodes: Sequence[Trajectory] | Trajectory,
    *,
    observation_space: Any = None,
    action_space: Any = None,
) -> list[Finding]:
    """Find what looks wrong in demonstrations, errors first.

    Args:
        episodes: demonstrations of any lengths; batches are taken apart.
        observation_space: Gymnasium space of the environment's observations.
        action_space: Gymnasium space of the environment's actions.

    Raises:
        RobooptError: if there are no episodes, or a space is not one of vectors.
    """
    runs = single_recordings(episodes)
    if not runs:
        raise RobooptError("`episodes` must hold at least one, got none.")
    spaces = {"observation": observation_space, "action": action_space}
    bounds = {
        name: None if space is None else Bounds.of(space, f"{name}_space")
        for name, space in spaces.items()
    }
    findings = [*_not_finite(runs), *_short(runs), *_duplicates(runs)]
    mixed = [*_mixed(runs, "observation"), *_mixed(runs, "action")]
    if not mixed and any(run.steps for run in runs):
        seen, acted = bounds["observation"], bounds["action"]
        if seen is not None:
            observations = _finite(np.concatenate([run.observations for run in runs]))
            findings += check_space(observations, seen, "observation")
        actions = _finite(np.concatenate([run.actions for run in runs]))
        beyond = [] if acted is None else check_space(actions, acted, "action")
        findings += [*_constant(actions), *beyond, *jumping_observations(runs)]
        for name in spaces:
            findings += outlying_samples(runs, name)
        # In another unit, actions show nothing about limits.
        wrong = any(finding.severity == "error" for finding in beyond)
        if actions.dtype.kind == "f" and not wrong:
            findings += [*_saturation(actions, acted), *_misaligned(runs)]
    return sorted(findings + mixed, key=lambda finding: finding.severity)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values).all(axis=1)]


def _not_finite(runs: list[Trajectory]) -> Iterator[Finding]:
    for k, run in enumerate(runs):
        for name in ("observations", "actions"):
            bad = ~np.isfinite(getattr(run, name))
            if bad.any():
                step, axis = (int(i) for i in np.argwhere(bad)[0])
                yield error(
                    "not_finite",
                    f"the {name} are not finite in {int(bad.any(axis=1).sum())} of "
                    f"{len(bad)} steps, the first at step {step}, axis {axis}: cut the "
                    "episode there, or drop it.",
                    f"episode {k}",
                )


def _short(runs: list[Trajectory]) -> Iterator[Finding]:
    short = [k for k, run in enumerate(runs) if run.steps < 2]
    if short:
        yield warning(
            "short_episode",
            "the episode has fewer than 2 steps: drop it if it is no demonstration, or "
            "look for where the recording was cut.",
            _episodes(short),
        )


def _mixed(runs: list[Trajectory], name: str) -> Iterator[Finding]:
    """Find episodes whose arrays differ in size, or else in type."""
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for k, run in enumerate(runs):
        array = getattr(run, f"{name}s")
        groups[array.shape[-1], array.dtype.kind in "iub"].append(k)
    if len(groups) == 1:
        return
    sizes = len({size for size, _ in groups}) > 1
    found = "; ".join(
        f"{size if sizes else 'whole numbers' if whole else 'numbers'} in "
        f"{_episodes(episodes)}"
        for (size, whole), episodes in groups.items()
    )
    if sizes:
        advice = "keep the episodes of one robot and task"
        yield error("mixed_sizes", f"the {name}s differ in size: {found}; {advice}.")
    else:
        advice = "convert them to one type"
        yield error("mixed_kinds", f"the {name}s differ in type: {found}; {advice}.")


def _duplicates(runs: list[Trajectory]) -> Iterator[Finding]:
    same: dict[bytes, list[int]] = defaultdict(list)
    for k, run in enumerate(runs):
        digest = hashlib.sha1(usedforsecurity=False)
        for array in (run.observations, run.actions):
            digest.update(str((array.shape, array.dtype)).encode())
            digest.update(np.ascontiguousarray(array).data)
        same[digest.digest()].append(k)
    groups = [group for group in same.values() if len(group) > 1]
    if groups:
        extra = sum(len(group) - 1 for group in groups)
        yield warning(
            "duplicate_episodes",
            f"{extra} of {len(runs)} episodes repeat another: drop the copies, because "
            "copies on both sides of a split make held-out data look learned.",
            _episodes(groups[0]),
        )


def _constant(actions: np.ndarray) -> Iterator[Finding]:
    constant = np.ptp(actions, axis=0) == 0 if len(actions) else np.zeros(0, bool)
    if constant.size and constant.all():
        shown = ", ".join(f"{value:g}" for value in actions[0])
        make = error if len(actions) >= MIN_SAMPLES else warning
        yield make(
            "constant_action",
            f"the action is {shown} in every sample, so that there is nothing to "
            "learn: make sure that the actions were recorded.",
        )
        return
    for axis in np.flatnonzero(constant):
        yield warning(
            "constant_action",
            f"the action is {actions[0, axis]:g} in every sample, which teaches a "
            "policy nothing; make sure that its column was recorded.",
            f"action axis {axis}",
        )


def _saturation(actions: np.ndarray, bounds: Bounds | None) -> Iterator[Finding]:
    for axis, column in enumerate(actions.T):
        ends = []
        for name, side in (("low", -1.0), ("high", 1.0)):
            limit = None if bounds is None else side * getattr(bounds, name)[axis]
            share, at = _held(side * column, limit)
            if share > MIN_SATURATED_SHARE:
                ends.append((name, side * at, share))
        if ends:
            shares = " and ".join(f"{at:g} for {100 * s:.1f} %" for _, at, s in ends)
            limits = ", ".join(f"{name}={at:g}" for name, at, _ in ends)
            yield warning(
                "saturation",
                f"the action is at its limit {shares} of the samples, where the "
                f"demonstrator may have asked for more: pass `{limits}` to the "
                "demonstrations, so that actions beyond are no error there.",
                f"action axis {axis}",
            )


def _held(column: np.ndarray, limit: float | None) -> tuple[float, float]:
    """Return the share of samples at their upper limit, and the limit."""
    if not len(column) or np.ptp(column) == 0:
        return 0.0, 0.0
    if limit is not None and np.isfinite(limit):
        room = 1e-3 * abs(limit - column.min())
        # Values beyond the limit were not cut off there.
        return float((np.abs(column - limit) <= room).mean()), float(limit)
    top = column.max()
    below = column[column < top]
    held = len(column) - len(below)
    # Only a value that was cut off occurs again and again. Few levels are a switch.
    few_levels = len(np.unique(column[:MAX_SAMPLES])) <= 8
    if few_levels or held < 4 * (below == below.max()).sum():
        return 0.0, float(top)
    return held / len(column), float(top)


def _misaligned(runs: list[Trajectory]) -> Iterator[Finding]:
    """Find actions that a linear law of the observations explains best if shifted."""
    reach, count, kept = max(SHIFTS), 0, []
    for run in runs:
        finite = np.isfinite(run.observations).all() and np.isfinite(run.actions).all()
        if run.steps > 2 * reach and finite and count < MAX_SAMPLES:
            kept.append(run)
            count += run.steps
    unknowns = runs[0].observations.shape[1] + 1
    if count - 2 * reach * len(kept) < MIN_SAMPLES_PER_UNKNOWN * unknowns:
        return
    actions = np.concatenate([run.actions[reach : run.steps - reach] for run in kept])
    spread = np.sum((actions - actions.mean(axis=0)) ** 2)
    if not spread:
        return
    left = []
    for shift in SHIFTS:
        seen = np.concatenate(
            [r.observations[reach + shift : r.steps - reach + shift] for r in kept]
        )
        scaled = (seen - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), 1e-12)
        design = np.column_stack([scaled, np.ones(len(seen))])
        weights = np.linalg.lstsq(design, actions, rcond=None)[0]
        left.append(np.sum((actions - design @ weights) ** 2) / spread)
    shift, best, now = SHIFTS[int(np.argmin(left))], min(left), left[reach]
    # Half as much unexplained is chance or the demonstrator's own; a tenth is not.
    if shift and best < 0.05 and best < 0.1 * now:
        yield warning(
            "shifted_actions",
            f"the actions seem logged too {'late' if shift < 0 else 'early'}, by "
            f"{abs(shift)} in samples: a linear law of the observations leaves "
            f"{100 * best:.2g} % of them unexplained if shifted back, and "
            f"{100 * now:.2g} % as they are; unless the demonstrator reacts so late, "
            "or observations hold the action before, shift the actions, as action k "
            "answers observation k.",
        )


def _episodes(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:MAX_EPISODES_NAMED]))
    rest = len(numbers) - MAX_EPISODES_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"episode{'s' * (len(numbers) > 1)} {named}{more}"
