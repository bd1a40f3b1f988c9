"""The padding of episodes that no array tells.

Steps at the end of an episode in which every array is zero, or NaN, are padding where
the observations jump there. A robot may also come to rest at zero: then nothing tells
one from the other. So are steps that repeat the last one exactly, where the motion
stops at once in most episodes that end so: one that comes to rest slows down before.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import (
    LIMITS,
    PER_OBSERVATION,
    PER_STEP,
    Trajectory,
)

MIN_TAIL = 2  # steps; a last one may be zero by chance
MIN_JUMP = 2.0  # over the largest change from step to step before
MIN_HELD = 2  # episodes that end in steps that repeat the last one
ROUNDING = 0.01  # of a step of an encoder
MIN_LAST_CHANGE = 0.01  # of the largest, before a motion that stops at once


def unpadded_lengths(
    fields: Mapping[str, np.ndarray], more: tuple[str, ...], where: str
) -> tuple[np.ndarray | None, str]:
    """Return the steps of each episode of a batch, None for no padding, and a note.

    Args:
        fields: the arrays by name, among them observations and actions.
        more: further names of arrays with a row for each step.
        where: the file, for errors and the note.

    Raises:
        RobooptError: if the end of an episode may be padding, or not.
    """
    batch = fields["actions"].shape[:2]
    names = {*PER_OBSERVATION, *PER_STEP, *more} - {*LIMITS}
    kept = {name: np.nan_to_num(fields[name]) for name in names if name in fields}
    if (lengths := _without_zeros(fields, kept, where)) is None:
        return None, ""
    return lengths, (
        f"{where}: all arrays of {(lengths < batch[1]).sum()} of the {batch[0]} "
        "episodes are zero at the end, which is left out as padding: `lengths` would "
        "tell it."
    )


class HeldEnd(NamedTuple):
    """How an episode ends."""

    steps: int
    kept: int
    """Steps up to those that repeat the last one."""
    stops_at_once: bool
    """Whether the motion before them does not slow down."""


def held_end(run: Trajectory) -> HeldEnd:
    """Return how an episode ends."""
    stop = _moves_until(run)
    kept = _steps_until(run, stop)
    moved = np.asarray(run.observations)[: stop + 1]
    return HeldEnd(run.steps, kept, kept < run.steps and _stops_at_once(moved))


def without_held(
    runs: Sequence[Trajectory], where: str
) -> tuple[list[Trajectory], str]:
    """Return episodes without the steps that hold the last one, and a note.

    Episodes are padded to one length: those of several lengths are returned as they
    are.

    Args:
        runs: all episodes of a file, or of a folder with a file for each.
        where: the file or folder, for the note.
    """
    steps = runs[0].steps if runs else 0
    if len(runs) < MIN_HELD or any(run.steps != steps for run in runs):
        return [*runs], ""
    lengths, note = unheld_lengths([*map(held_end, runs)], where)
    if lengths is None:
        return [*runs], note
    return [_shortened(*one) for one in zip(runs, lengths.tolist(), strict=True)], note


def unheld_lengths(
    ends: Sequence[HeldEnd], where: str
) -> tuple[np.ndarray | None, str]:
    """Return the steps of episodes of one length, None for no padding, and a note."""
    steps, lengths = ends[0].steps, np.array([one.kept for one in ends])
    tails = np.flatnonzero(lengths < steps).tolist()
    left_out = steps - lengths
    if len(tails) < MIN_HELD or left_out.max() < MIN_TAIL:
        return None, ""
    said = (
        f"{where}: the last steps of {len(tails)} of the {len(ends)} episodes, "
        f"{left_out.sum()} in all and up to {left_out.max()} of {steps}, repeat the "
        "one before exactly"
    )
    if 2 * sum(ends[k].stops_at_once for k in tails) > len(tails):
        note = f"{said}, which is left out as padding: `lengths` would tell it."
        return lengths, note
    return None, (
        f"{said}: they are read as a robot that has come to rest; `lengths` would tell "
        "where the episodes end."
    )


def _moves_until(run: Trajectory) -> int:
    """Return the first observation of those at the end that are all the same."""
    seen = np.asarray(run.observations)
    return min(_held_from(seen), len(seen) - 1)


def _steps_until(run: Trajectory, stop: int) -> int:
    """Return the steps of an episode up to those that repeat the last one.

    A file without the observation after the last action of an episode has lost it, so
    that an action that is held from the step after `stop` on may be padding's.
    """
    seen = np.asarray(run.observations)
    if not stop:  # The robot never moves.
        return run.steps
    held, zero = [stop], not seen[-1].any()
    for name in {*PER_STEP} - {*LIMITS}:
        if (value := getattr(run, name)) is None:
            continue
        value = np.asarray(value)
        if zero and value[-1].any():
            return run.steps  # as a robot that rests at zero, and is rewarded
        if name == "rewards" and run.steps > 1 and value[-1] == 2 * value[-2]:
            value = value[:-1]  # That of an action that was dropped is added.
        held.append(min(_held_from(value), len(value)))
    last = max(held[1:])
    if last > stop + 1:
        return min(last, run.steps)
    # A step to observations that are zero leads to padding's.
    return max(stop - zero, 1)


def _shortened(run: Trajectory, steps: int) -> Trajectory:
    """Return the first steps of an episode."""
    ends = dict.fromkeys(PER_STEP, steps) | dict.fromkeys(PER_OBSERVATION, steps + 1)
    told = {name: getattr(run, name) for name in ends}
    cut = {n: x[: ends[n]] for n, x in told.items() if x is not None}
    return eqx.tree_at(lambda r: [getattr(r, n) for n in cut], run, [*cut.values()])


def _held_from(value: np.ndarray) -> int:
    """Return from which row on an array stays the same, or is zero."""
    rows, value = len(value), value.reshape(len(value), -1)
    same = (value == value[-1]).all(-1)
    first = 0 if same.all() else rows - int(same[::-1].argmin())
    return rows if first == rows - 1 and value[-1].any() else first


def _stops_at_once(observations: np.ndarray) -> bool:
    """Return whether the last change of a motion is not small beside its largest.

    A change by one step of an encoder is small, since no smaller one can be seen.
    """
    changes = np.abs(np.diff(observations.astype(float), axis=0))
    if not len(changes):
        return False
    least = np.min(changes, axis=0, where=changes > 0, initial=np.inf)
    parts = changes / least
    counted = (np.abs(parts - np.round(parts)) < ROUNDING).all(0)
    small = np.where(counted, 1.5 * least, MIN_LAST_CHANGE * changes.max(0))
    return bool((changes[-1] > small).any())


def _without_zeros(
    fields: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray], where: str
) -> np.ndarray | None:
    """Return the steps of each episode up to those of zeros, None where none are."""
    batch = fields["actions"].shape[:2]
    lengths = np.zeros(batch[0], int)
    for value in kept.values():
        held = (value != 0).reshape(*value.shape[:2], -1).any(-1)
        last = value.shape[1] - held[:, ::-1].argmax(1)
        counts = np.where(held.any(1), last, 0) - (value.shape[1] - batch[1])
        lengths = np.maximum(lengths, counts)
    if (batch[1] - lengths).max() < MIN_TAIL or not lengths.any():
        return None
    if not lengths.all():
        raise RobooptError(
            f"`path` must hold episodes of at least one step, but in {where} all "
            f"arrays of episode {int(lengths.argmin())} are zero."
        )
    observations = np.asarray(fields["observations"], float)
    tails = np.flatnonzero(lengths < batch[1])
    if not any(_jumps(observations[k], int(lengths[k]), batch[1]) for k in tails):
        raise RobooptError(
            f"`path` must tell where episodes end, but in {where} all arrays of "
            f"{len(tails)} of the {batch[0]} episodes are zero at the end, of episode "
            f"{tails[0]} from step {lengths[tails[0]]} on: that is padding, or a robot "
            "that has come to rest at zero. Add `lengths`, the number of actions of "
            "each episode."
        )
    return lengths


def _jumps(observations: np.ndarray, length: int, steps: int) -> bool:
    """Return whether an episode does not come to zero as it moved before."""
    seen = length + len(observations) - steps
    if seen == len(observations) or np.isnan(observations[seen]).any():
        return seen < len(observations)
    changes = np.abs(np.diff(observations[:seen], axis=0)).max(0, initial=0.0)
    return bool((np.abs(observations[seen - 1]) > MIN_JUMP * changes).any())
