"""Checks: what is wrong with demonstrations, before a policy is learned from them.

What data cannot tell apart is not told. That actions are logged a sample late or early
shows where they follow a linear law of what was seen: then the law fits best at another
shift than none. Of other demonstrators nothing is said.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, single_recordings
from roboopt.diagnose._finding import Finding
from roboopt.diagnose._space_checks import (
    Bounds,
    kind_finding,
    label_findings,
    range_findings,
    scale_finding,
    size_finding,
)

SATURATED = 0.01  # Of the samples.
SHIFTS = range(-3, 4)  # Samples.
ENOUGH = 50  # Samples an unknown, before a fit says anything.
MANY = 20_000  # Samples: more make a fit no surer.
LISTED = 5  # Episodes named in a message.


def check_demonstrations(
    episodes: Sequence[Trajectory] | Trajectory,
    *,
    observation_space: Any = None,
    action_space: Any = None,
) -> list[Finding]:
    """Return what looks wrong in demonstrations, errors first.

    Args:
        episodes: of any lengths; batches are taken apart.
        observation_space: the environment's, a Gymnasium space.
        action_space: likewise.

    Raises:
        RobooptError: if there are no episodes, or a space is not one of vectors.
    """
    runs = single_recordings(episodes)
    if not runs:
        raise RobooptError("`episodes` must hold at least one, got none.")
    spaces = {
        what: None if space is None else Bounds.of(space, f"{what}_space")
        for what, space in (
            ("observation", observation_space),
            ("action", action_space),
        )
    }
    findings = [*_not_finite(runs), *_short(runs), *_duplicates(runs)]
    mixed = [*_mixed(runs, "observation"), *_mixed(runs, "action")]
    if not mixed and any(run.steps for run in runs):
        findings += _whole(runs, spaces["observation"], spaces["action"])
    return sorted(findings + mixed, key=lambda finding: finding.severity)


def _whole(
    runs: list[Trajectory], seen: Bounds | None, acted: Bounds | None
) -> Iterator[Finding]:
    """Yield what shows in all samples together."""
    observations = np.concatenate([run.observations for run in runs])
    actions = np.concatenate([run.actions for run in runs])
    if seen is not None:
        wrong = list(size_finding(observations.shape[1], seen, "observation"))
        yield from wrong
        if not wrong:
            # NumPy's comparisons with NaN are false: those are found already.
            yield from range_findings(_finite(observations), seen, "observation")
    actions = _finite(actions)
    yield from _constant(actions)
    if acted is not None:
        wrong = list(size_finding(actions.shape[1], acted, "action"))
        wrong += kind_finding(actions, acted)
        yield from wrong
        if wrong:
            return
        if acted.choices:
            yield from label_findings(actions, acted)
            return
        wrong = list(range_findings(actions, acted, "action"))
        yield from wrong
        if any(finding.severity == "error" for finding in wrong):
            return  # In another unit, they say nothing of the limits.
        yield from scale_finding(actions, acted)
    if actions.dtype.kind == "f":
        yield from _saturation(actions, acted)
        yield from _misaligned(runs)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values).all(axis=1)]


def _not_finite(runs: list[Trajectory]) -> Iterator[Finding]:
    for k, run in enumerate(runs):
        for name in ("observations", "actions"):
            bad = ~np.isfinite(getattr(run, name))
            if bad.any():
                step, axis = (int(i) for i in np.argwhere(bad)[0])
                yield Finding(
                    "not finite",
                    f"episode {k} holds {name} that are not finite, in "
                    f"{int(bad.any(axis=1).sum())} of {len(bad)} steps, the first at "
                    f"step {step}, axis {axis}: cut the episode there, or drop it.",
                    "error",
                )


def _short(runs: list[Trajectory]) -> Iterator[Finding]:
    short = [k for k, run in enumerate(runs) if run.steps < 2]
    if short:
        yield Finding(
            "short episode",
            f"{_episodes(short)} of fewer than 2 steps: drop what is no demonstration, "
            "or look for where the recording was cut.",
            "warning",
        )


def _mixed(runs: list[Trajectory], what: str) -> Iterator[Finding]:
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for k, run in enumerate(runs):
        array = getattr(run, f"{what}s")
        groups[array.shape[-1], array.dtype.kind in "iub"].append(k)
    if len({size for size, _ in groups}) > 1:
        found = "; ".join(f"{n} in {_episodes(ks)}" for (n, _), ks in groups.items())
        yield Finding(
            "mixed sizes",
            f"the {what}s differ in size: {found}; keep the episodes of one robot and "
            "task.",
            "error",
        )
    elif len(groups) > 1:
        found = "; ".join(
            f"{'whole numbers' if whole else 'numbers'} in {_episodes(ks)}"
            for (_, whole), ks in groups.items()
        )
        yield Finding(
            "mixed kinds",
            f"the {what}s differ in type: {found}; convert them to one type.",
            "error",
        )


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
        yield Finding(
            "duplicate episodes",
            f"{extra} of {len(runs)} episodes repeat another, the first of them "
            f"{_episodes(groups[0])}: drop the copies, which on both sides of a split "
            "make what is held out look learned.",
            "warning",
        )


def _constant(actions: np.ndarray) -> Iterator[Finding]:
    for axis in np.flatnonzero(np.ptp(actions, axis=0) == 0) if len(actions) else ():
        yield Finding(
            "constant action",
            f"action axis {axis} is {actions[0, axis]:g} in every sample: nothing can "
            "be learned of it; make sure that its column was recorded.",
            "warning",
        )


def _saturation(actions: np.ndarray, bounds: Bounds | None) -> Iterator[Finding]:
    for axis in range(actions.shape[1]):
        column = actions[:, axis]
        ends = []
        for name, side in (("low", -1.0), ("high", 1.0)):
            limit = None if bounds is None else getattr(bounds, name)[axis]
            share, at = _held(side * column, None if limit is None else side * limit)
            if share > SATURATED:
                ends.append((name, side * at, share))
        if ends:
            shares = " and ".join(f"{at:g} for {100 * s:.1f} %" for _, at, s in ends)
            told = ", ".join(f"{name}={at:g}" for name, at, _ in ends)
            yield Finding(
                "saturation",
                f"action axis {axis} is at its limit {shares} of the samples, where "
                "the demonstrator may have asked for more: pass "
                f"`{told}` to `demonstrations`, so that more is no error there.",
                "warning",
            )


def _held(column: np.ndarray, limit: float | None) -> tuple[float, float]:
    """Return the share of samples at their upper limit, and where that is."""
    if not len(column) or np.ptp(column) == 0:
        return 0.0, 0.0
    if limit is not None and np.isfinite(limit):
        room = 1e-3 * abs(limit - column.min())
        # What is beyond was not cut off there.
        return float((np.abs(column - limit) <= room).mean()), float(limit)
    top = column.max()
    below = column[column < top]
    held = len(column) - len(below)
    # A value that was cut off is the only one there again and again. Few levels are a
    # switch, and not cut off.
    if len(np.unique(column[:MANY])) <= 8 or held < 4 * (below == below.max()).sum():
        return 0.0, float(top)
    return held / len(column), float(top)


def _misaligned(runs: list[Trajectory]) -> Iterator[Finding]:
    reach = max(SHIFTS)
    runs = [
        run
        for run in runs
        if run.steps > 2 * reach
        and np.isfinite(run.observations).all()
        and np.isfinite(run.actions).all()
    ]
    before = np.cumsum([0] + [run.steps for run in runs])
    runs = [run for run, steps in zip(runs, before, strict=False) if steps < MANY]
    inner = sum(run.steps - 2 * reach for run in runs)
    if not runs or inner < ENOUGH * (runs[0].observations.shape[1] + 1):
        return
    actions = np.concatenate([run.actions[reach : run.steps - reach] for run in runs])
    spread = np.sum((actions - actions.mean(axis=0)) ** 2)
    if not spread:
        return
    left = []
    for shift in SHIFTS:
        seen = np.concatenate(
            [
                run.observations[reach + shift : run.steps - reach + shift]
                for run in runs
            ]
        )
        scaled = (seen - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), 1e-12)
        design = np.column_stack([scaled, np.ones(len(seen))])
        weights = np.linalg.lstsq(design, actions, rcond=None)[0]
        left.append(np.sum((actions - design @ weights) ** 2) / spread)
    shift, best, now = SHIFTS[int(np.argmin(left))], min(left), left[reach]
    # Half as much unexplained is chance or the demonstrator's own; a tenth is not.
    if shift and best < 0.05 and best < 0.1 * now:
        late = "late" if shift < 0 else "early"
        yield Finding(
            "shifted actions",
            f"the actions seem logged too {late}, by {abs(shift)} in samples: a linear "
            f"law of the observations leaves {100 * best:.2g} % of them if shifted "
            f"back, and {100 * now:.2g} % as they are; unless the demonstrator reacts "
            "so late, or observations hold the action before, shift them, as action k "
            "answers observation k.",
            "warning",
        )


def _episodes(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:LISTED]))
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return f"episode{'s' * (len(numbers) > 1)} {named}{more}"
