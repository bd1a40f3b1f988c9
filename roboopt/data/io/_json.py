"""JSON: an object of arrays, a list of rows, a list of recordings, or a row a line.

A row may be a message of ROS.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import read_as
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._columns import is_time
from roboopt.data.io._named_arrays import are_episodes, are_named, read_arrays
from roboopt.data.io._steps import STEPS, with_steps

MESSAGES = ("data", "message", "msg")


def read_json(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the recordings or episodes of a file, by the names of its arrays."""
    with read_as("be JSON", path):
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            held = json.loads(text)
        else:
            held = [json.loads(line) for line in text.splitlines() if line.strip()]
    held = _with_episodes(_of_one_topic(held, path, options))
    arrays: dict[str, np.ndarray] = {}
    left_out: list[str] = []
    for name, value in _named(held):
        try:
            array = np.asarray(value)
        except ValueError as error:  # lists of different lengths
            own = name.split(".")[-1]
            if are_named([own], options.joints) or is_time(own):
                raise RobooptError(
                    f"`path` must hold lists of one length, but those in {name} of "
                    f"{path} have several."
                ) from error
            array = np.asarray(None)
        if array.dtype.kind == "O" and array.size > 1:
            with contextlib.suppress(TypeError, ValueError):
                array = array.astype(float)  # null is NaN
        if array.dtype.kind in "fiubU" and array.size:
            arrays[name] = array
        else:
            left_out.append(name)
    recordings = _recordings(arrays, str(path), options)
    return read_arrays(recordings, str(path), options, left_out)


def _of_one_topic(held: Any, path: Path, options: ReadOptions) -> Any:
    """Return the joint states among messages of ROS, as `mcap cat --json` prints them.

    Each message has a `topic`, and what was said there in `data`.

    Raises:
        RobooptError: if joint states come from several topics.
    """
    topics: dict[str, list[Mapping[str, Any]]] = {}
    for one in held if isinstance(held, list) else ():
        place = [n for n in MESSAGES if isinstance(one, Mapping) and n in one]
        if not place or "topic" not in one or not isinstance(one[place[0]], Mapping):
            return held
        topics.setdefault(str(one["topic"]), []).append(one[place[0]])
    states = [n for n, own in topics.items() if {"name", "position"} <= {*own[0]}]
    if len(states) > 1:
        raise RobooptError(
            "`path` must hold joint states of one topic, but those in "
            f"{path} come from {', '.join(states)}: write one file for each."
        )
    if not states:
        return held
    if others := [name for name in topics if name not in states]:
        options.note(f"{path.name}: {', '.join(others)} left out: no joint states.")
    return topics[states[0]]


def _with_episodes(held: Any) -> Any:
    """Return episodes of steps as arrays by number, and what else there is.

    They are lists in a list, or in `steps` of the objects of one.
    """
    if isinstance(held, Mapping):
        if STEPS in held:
            return held
        beside = {n: x for n, x in held.items() if not isinstance(x, list | Mapping)}
        every = [made for x in held.values() if (made := _with_episodes(x)) is not x]
        if len(every) != 1:
            return held
        return {number: {**beside, **one} for number, one in every[0].items()}
    if not isinstance(held, list) or not held:
        return held
    if not all(
        isinstance(x, list) or isinstance(x, Mapping) and STEPS in x for x in held
    ):
        return held
    made = with_steps(held)
    if not all(isinstance(one, Mapping) and STEPS not in one for one in made):
        return held
    return {str(number): one for number, one in enumerate(made)}


def _named(held: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield arrays and their names, `group.name` in an object or a list of them."""
    dot = place and f"{place}."
    if isinstance(held, Mapping):
        for name, value in held.items():
            yield from _named(value, dot + str(name).replace(".", "_"))
    elif not isinstance(held, list) or not held or not isinstance(held[0], dict):
        yield place or "data", held
    elif _are_rows(held):
        for name in dict.fromkeys(name for row in held for name in row):
            parts = [row.get(name, np.nan) for row in held]
            if isinstance(first := held[0].get(name), Mapping):
                empty = dict.fromkeys(first)
                parts = [part if isinstance(part, Mapping) else empty for part in parts]
                yield from _named(parts, dot + name)
            else:
                yield dot + name, [np.nan if part is None else part for part in parts]
    else:
        for number, one in enumerate(held):
            yield from _named(one, f"{dot}{number}")


def _are_rows(held: Sequence[Any]) -> bool:
    """Return whether objects are a row each, and no recordings: they hold numbers.

    A row may hold short lists, such as the positions of all joints.
    """
    lists = [len(value) for value in held[0].values() if isinstance(value, list)]
    return all(isinstance(row, Mapping) for row in held) and (
        max(lists, default=0) < len(held)
    )


def _recordings(
    arrays: dict[str, np.ndarray], where: str, options: ReadOptions
) -> dict[str, np.ndarray]:
    """Return the arrays of recordings and times, without settings beside them."""
    inside: dict[str, set[str]] = {}
    for name in arrays:
        steps = name.split(".")
        for depth, step in enumerate(steps):
            inside.setdefault(".".join(steps[:depth]), set()).add(step)
    if any(map(are_episodes, inside.values())):
        return arrays
    parts = {name: name.rpartition(".")[::2] for name in arrays}
    groups: dict[str, list[str]] = {}
    for place, own in parts.values():
        groups.setdefault(place, []).append(own)
    held = {place for place, own in groups.items() if are_named(own, options.joints)}
    if not held or "" in held:
        return arrays
    beside = [
        name
        for name, (place, own) in parts.items()
        if place not in held and not (is_time(own) and arrays[name].ndim)
    ]
    if beside:
        options.note(f"{where}: {', '.join(beside)} left out: beside the recordings.")
    return {name: value for name, value in arrays.items() if name not in beside}
