"""The padding of a batch of episodes that no array tells.

Steps at the end of an episode in which every array is zero, or NaN, are padding where
the observations jump there. A robot may also come to rest at zero: then nothing tells
one from the other.
"""

from collections.abc import Mapping

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import LIMITS, PER_OBSERVATION, PER_STEP

MIN_TAIL = 2  # steps; a last one may be zero by chance
MIN_JUMP = 2.0  # over the largest change from step to step before


def unpadded_lengths(
    fields: Mapping[str, np.ndarray], more: tuple[str, ...], where: str
) -> np.ndarray | None:
    """Return the steps of each episode of a batch, None where there is no padding.

    Args:
        fields: the arrays by name, among them observations and actions.
        more: further names of arrays with a row for each step.
        where: the file, for errors.

    Raises:
        RobooptError: if the end of an episode may be padding, or not.
    """
    batch = fields["actions"].shape[:2]
    lengths = np.zeros(batch[0], int)
    for name in {*PER_OBSERVATION, *PER_STEP, *more} - {*LIMITS}:
        value = np.nan_to_num(np.asarray(fields.get(name, np.zeros(batch))))
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
