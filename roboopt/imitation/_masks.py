"""The split that the masks of a robomimic file name: what contradicts is told."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from roboopt._errors import RobooptError


def by_masks(
    masks: Mapping[str, Sequence[int]], rest: Sequence[int], source: Any
) -> tuple[Sequence[int], list[int]]:
    """Return the episodes to learn from, and those that the mask `valid` holds out.

    As in robomimic, nothing is learned from an episode that `train` leaves out. One in
    both masks is held out.

    Args:
        masks: the numbers of the episodes in each mask of a file.
        rest: the numbers of those that may be learned from.
        source: the file, for messages.

    Raises:
        RobooptError: if no episode is left to learn from.
    """
    train, aside = (masks.get(name) for name in ("train", "valid"))
    if train is None and not aside:
        return rest, []
    aside = sorted(set(aside or ()))
    chosen = set(rest if train is None else train).intersection(rest)
    kept = sorted(chosen.difference(aside))
    if not kept:
        fault = "the mask `train` of {} names none"
        if chosen:
            fault = "the mask `valid` of {} names all of them"
        raise RobooptError(
            "`demonstrations` must leave episodes to learn from, but "
            f"{fault.format(source)}: give `held_out`."
        )
    told = []
    if train is not None and (both := chosen.intersection(aside)):
        told.append(f"{_listed(both)} in both: held out, and not learned from")
    if not aside:
        told.append("`valid` names no episode: some of `train` are held out")
    if left := set(rest).difference(chosen, aside):
        told.append(f"{_listed(left)} in neither: left out")
    if told:
        said = "; ".join(told)
        warnings.warn(
            f"the masks `train` and `valid` of {source}: {said}.", stacklevel=4
        )
    return kept, aside


def _listed(episodes: set[int]) -> str:
    shown = ", ".join(map(str, sorted(episodes)[:5])) + ", …" * (len(episodes) > 5)
    count = len(episodes)
    return f"episode {shown} is" if count == 1 else f"{count} episodes, {shown}, are"
