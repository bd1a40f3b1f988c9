"""Joints that a file names otherwise than the robot does, such as `left/joint_1`."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from os.path import commonprefix
from pathlib import Path

from roboopt._errors import RobooptError
from roboopt.data.io._columns import (
    ALIASES,
    COMMANDED,
    MEASURED,
    PREFIXES,
    found_positions,
    split_name,
)
from roboopt.data.io._units import unit_of

Words = tuple[str, ...]
QUANTITIES = {"dot", *MEASURED, *COMMANDED}.union(*ALIASES.values())
"""Words of a column's name that are no part of its joint's."""


def recorded_names(
    recorded: Iterable[str],
    joints: Sequence[str],
    given: Sequence[str] | None,
    where: str,
) -> dict[str, str] | None:
    """Return the joints' names in the file by the robot's, None if they do not fit.

    They fit in any case, and where all names have the same words more than the robot's,
    before or behind, or lack words that all of the robot's have, or have others in
    their place.

    Args:
        recorded: the names in the file.
        joints: the robot's, in its order.
        given: the names in the file, in that order, where the user gives them.
        where: the file, for errors.

    Raises:
        RobooptError: if the joints of several robots fit.
    """
    names = list(recorded)
    if given is not None:
        known = set(given) <= set(names)
        return dict(zip(joints, given, strict=True)) if known else None
    if set(joints) <= set(names):
        return dict(zip(joints, joints, strict=True))
    words = {tuple(split_name(name)): name for name in names}
    found = _one(words, [tuple(split_name(joint)) for joint in joints], where)
    if found is None:
        return None
    return {j: words[one] for j, one in zip(joints, found, strict=True)}


def other_names(where: str, recorded: Sequence[str], joints: Sequence[str]) -> str:
    """Return the note that the joints have other names in a file."""
    return (
        f"{Path(where).name}: the joints {', '.join(recorded)} are read as the robot's "
        f"{', '.join(joints)}."
    )


def with_robot_names(
    header: Sequence[str],
    joints: Sequence[str],
    given: Sequence[str] | None,
    where: str,
) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of columns with the robot's joints in them.

    Args:
        header: the names of all columns.
        joints: the robot's.
        given: the names in the file, in that order, where the user gives them.
        where: the file, for errors.

    Returns:
        The names, and those of the joints in the file where they are others.

    Raises:
        RobooptError: if the joints of several robots fit, or none those that are given.
    """
    found = found_positions(header, joints)
    if given is None and (set(joints) <= found or len(found) == len(joints)):
        return tuple(header), []
    moved = {}
    for name in header:
        words = split_name(name)
        if set(words) & QUANTITIES:
            moved[name] = _bare(w for w in words if w not in QUANTITIES)
    if given is None:
        # Efforts have the names of positions: others are of references.
        held = [
            {moved[n]: None for n in moved if ALIASES[q] & set(split_name(n))}
            for q in ("positions", "efforts")
        ]
        robot = [_bare(split_name(joint)) for joint in joints]
        recorded = _one(held[0], robot, where)
        if recorded is None or not held[1].keys() & set(recorded):
            return tuple(header), []
    else:
        recorded = [_bare(split_name(name)) for name in given]
        if not set(recorded) <= set(moved.values()):
            raise RobooptError(
                f"`path` must hold the joints {', '.join(given)}, as you name them, "
                f"but {where} has the columns {', '.join(header)}."
            )
    by_words = dict(zip(recorded, joints, strict=True))
    renamed = []
    for name in header:
        joint = by_words.get(moved.get(name, ()))
        if joint is not None:
            said = [word for word in split_name(name) if word in QUANTITIES]
            unit = f" [{unit}]" if (unit := unit_of(name)) else ""
            name = f"{' '.join(said)} {joint}{unit}"
        renamed.append(name)
    return tuple(renamed), [" ".join(one) for one in recorded]


def _bare(words: Iterable[str]) -> Words:
    return tuple(word for word in words if word not in PREFIXES)


def _one(
    recorded: Iterable[Words], joints: Sequence[Words], where: str
) -> list[Words] | None:
    """Return the recorded names of the joints in their order, None if none fit."""
    recorded = [*recorded]
    found = (
        [*_longer(recorded, joints)]
        or [*_shorter(recorded, joints)]
        or _exchanged(recorded, joints)
    )
    if len(found) > 1:
        every = " or ".join(", ".join(map(" ".join, one)) for one in found)
        raise RobooptError(
            f"`path` must hold the joints of one robot, but those of {where} may be "
            f"{every}: name one robot's by `--joints`, or `Columns(joints=...)`."
        )
    return found[0] if found else None


def _longer(
    recorded: Iterable[Words], joints: Sequence[Words]
) -> Iterable[list[Words]]:
    """Yield names that are the robot's with the same words before and behind."""
    found: dict[tuple[Words, Words], dict[Words, Words]] = defaultdict(dict)
    for name in recorded:
        for joint in joints:
            for k in range(len(name) - len(joint) + 1):
                if joint and name[k : k + len(joint)] == joint:
                    found[name[:k], name[k + len(joint) :]][joint] = name
    for one in found.values():
        if len(one) == len(set(joints)) == len(joints):
            yield [one[joint] for joint in joints]


def _shorter(
    recorded: Iterable[Words], joints: Sequence[Words]
) -> Iterable[list[Words]]:
    """Yield names that are the robot's without the words that all of these have."""
    before, behind = _shared(joints)
    known = set(recorded)
    for first, last in ((before, 0), (0, behind), (before, behind)):
        short = _without(joints, first, last)
        if (first or last) and set(short) <= known:
            yield short
            return


def _exchanged(recorded: Sequence[Words], joints: Sequence[Words]) -> list[list[Words]]:
    """Return names with others of the words that all of the robot's joints have.

    As `fer_joint1` of `panda_joint1`.
    """
    before, behind = _shared(joints)
    for first, last in itertools.product(range(before + 1), range(behind + 1)):
        short = _without(joints, first, last)
        if short and (found := [*_longer(recorded, short)]):
            return found
    return []


def _shared(joints: Sequence[Words]) -> tuple[int, int]:
    """Return how many words all joints have before, and behind."""
    if len(joints) < 2:
        return 0, 0
    ends = [joint[::-1] for joint in joints]
    return len(commonprefix([*joints])), len(commonprefix(ends))


def _without(joints: Sequence[Words], first: int, last: int) -> list[Words]:
    """Return joints without their outer words, none if they are not told apart then."""
    short = [joint[first : len(joint) - last] for joint in joints]
    return short if all(short) and len(set(short)) == len(short) else []
