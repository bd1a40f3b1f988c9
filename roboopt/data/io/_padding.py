"""The padding of a batch of episodes that no array tells.

Steps at the end of an episode in which every array is zero, or NaN, are padding where
the observations jump there. A robot may also come to rest at zero: then nothing tells
one from the other. So are steps that repeat the last one exactly, where the motion
stops at once in most episodes that end so: one that comes to rest slows down before.
"""

from collections.abc import Mapping

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import LIMITS, PER_OBSERVATION, PER_STEP

MIN_TAIL = 2  # steps; a last one may be zero by chance
MIN_JUMP = 2.0  # over the largest change from step to step before
MIN_HELD = 2  # episodes that end in steps that repeat the last one
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
        return _without_held(kept, where)
    return lengths, (
        f"{where}: all arrays of {(lengths < batch[1]).sum()} of the {batch[0]} "
        "episodes are zero at the end, which is left out as padding: `lengths` would "
        "tell it."
    )


def _without_held(
    kept: Mapping[str, np.ndarray], where: str
) -> tuple[np.ndarray | None, str]:
    """Return the steps of each episode up to those that repeat the last, and a note."""
    seen, (count, steps) = kept["observations"], kept["actions"].shape[:2]
    more = seen.shape[1] - steps
    stops = _held_from(seen)
    lengths = stops + 1 - more
    for name, value in kept.items():
        if name not in PER_OBSERVATION:  # times may go on
            lengths = np.maximum(lengths, _held_from(value))
    # Of observations that are zero, `_without_zeros` has decided.
    lengths = np.where(seen[:, -1].any(-1), np.clip(lengths, 1, steps), steps)
    tails = np.flatnonzero(lengths < steps)
    if len(tails) < MIN_HELD or (steps - lengths).max() < MIN_TAIL:
        return None, ""
    said = (
        f"{where}: the last steps of {len(tails)} of the {count} episodes, "
        f"{(steps - lengths).sum()} in all and up to {(steps - lengths).max()} of "
        f"{steps}, repeat the one before exactly"
    )
    if 2 * sum(_stops_at_once(seen[k, : stops[k] + 1]) for k in tails) > len(tails):
        return (
            lengths,
            f"{said}, which is left out as padding: `lengths` would tell it.",
        )
    return None, (
        f"{said}: they are read as a robot that has come to rest; `lengths` would tell "
        "where the episodes end."
    )


def _held_from(value: np.ndarray) -> np.ndarray:
    """Return from which row on each episode of an array stays the same, or is zero."""
    rows, value = value.shape[1], value.reshape(*value.shape[:2], -1)
    same = (value == value[:, -1:]).all(-1)
    first = np.where(same.all(1), 0, rows - same[:, ::-1].argmin(1))
    return np.where((first == rows - 1) & value[:, -1].any(-1), rows, first)


def _stops_at_once(observations: np.ndarray) -> bool:
    """Return whether the last change of a motion is not small beside its largest."""
    changes = np.abs(np.diff(observations.astype(float), axis=0))
    if not len(changes):
        return False
    return bool((changes[-1] > MIN_LAST_CHANGE * changes.max(0)).any())


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
