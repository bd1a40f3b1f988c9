"""The customary names of arrays of demonstrations, and arrays that contradict others.

An array that has a meaning is read or refused, and a file that tells something twice
has to tell the same. What is left out, such as images, is named in a note.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import PER_EPISODE, PER_STEP
from roboopt.data.io._boundaries import (
    BOUNDARIES,
    MASKS,
    PADDING,
    TERMINALS,
    as_flags,
    tells_ends,
)
from roboopt.data.io._times import unwrapped

REQUIRED = ("lengths", "time_step", "observations", "actions")
NAMES = (*REQUIRED, "times", *PER_STEP[1:], *PER_EPISODE)
NEXT = "next_observations"
SYNONYMS = {
    **dict.fromkeys(("obs", "observation"), "observations"),
    **dict.fromkeys(("acts", "action"), "actions"),
    **dict.fromkeys(("reward", "rews", "next.reward"), "rewards"),
    **dict.fromkeys(("dt", "timestep", "control_dt", "control_timestep"), "time_step"),
    **dict.fromkeys(("next_obs", "next_observation"), NEXT),
    **dict.fromkeys(("timestamps", "timestamp"), "times"),
}
"""Other names of one meaning, of which a file holds one, or equal arrays."""
OTHER_NAMES = {
    **SYNONYMS,
    **dict.fromkeys(("states", "state", "observation.state"), "observations"),
    **dict.fromkeys(("act", "control", "controls"), "actions"),
    **dict.fromkeys(("next_state", "next_states"), NEXT),
    **dict.fromkeys(("episode", "ep", "ep_id", "demo", "demo_id"), "episode_index"),
    **dict.fromkeys(("traj", "trajectory", "trajectory_id"), "episode_index"),
}
"""Common other names, which are read where the array has no other."""
RATES = (
    *("fps", "fs", "rate", "hz", "frequency", "sampling_rate", "sample_rate"),
    *("control_freq", "control_frequency", "control_rate"),
)
"""Names of the samples a second, where an array or number tells no time step."""
STEPS = ("time_step", *(n for n, own in SYNONYMS.items() if own == "time_step"))
INDICES = "indices"
"""The first row of each episode but the first, as `imitation` saved them."""
MAX_RATIO = 1.25  # of two time steps that do not contradict each other


def renamed(
    arrays: Mapping[str, Any], where: str, *, timed: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return the arrays by the names in `NAMES`, and what is to be said about them.

    Args:
        arrays: by name.
        where: the file, and the place in it.
        timed: whether the user gives the time step, in place of the file's.

    Raises:
        RobooptError: if there are no observations or actions, or two arrays contradict
            each other.
    """
    named = dict(arrays)
    for name in set(OTHER_NAMES.values()) - set(arrays):
        found = [other for other in arrays if OTHER_NAMES.get(other) == name]
        if name == "episode_index":
            rows = [np.shape(arrays[n])[:1] for n in arrays if meaning(n) == "actions"]
            found = [other for other in found if np.shape(arrays[other])[:1] in rows]
        if len(found) == 1:
            named[name] = named.pop(found[0])
    if not {"observations", "actions"} <= named.keys():
        raise RobooptError(_missing(named, where))
    _check_synonyms(named, where)
    if not timed:
        _check_time_steps(arrays, where)
        if not {"time_step", "times"} & named.keys() and (step := told_step(arrays)):
            named["time_step"] = step
    notes = as_flags(named, where)
    ends = [name for name in TERMINALS if name in named and not np.ndim(named[name])]
    if len(ends) == 1:  # of the only episode
        named["terminated"] = named.pop(ends[0])
    named = _split_at_indices(named)
    notes += filter(None, (_unwrap_times(named, where), _split_by_times(named, where)))
    return named, [*notes, *_left_out(named, arrays, where)]


def meaning(name: str) -> str:
    """Return the name of `NAMES` that has the meaning of another, or the other."""
    return OTHER_NAMES.get(name, name)


def told_step(arrays: Mapping[str, Any]) -> float | None:
    """Return the time step [s] that a number tells, as a step or a rate, or None."""
    return next((step for _, step in _told_steps(arrays)), None)


def check_vectors(fields: Mapping[str, np.ndarray], where: str) -> None:
    """Raise a `RobooptError` if observations are images and no vectors."""
    seen, acted = fields["observations"], fields["actions"]
    if seen.ndim > max(acted.ndim, 2):
        raise RobooptError(
            "`path` must hold vectors of observations, one number an axis, but those "
            f"of {where} are of shape {seen.shape}: images are not read. Save features "
            "of them, or the state of the robot, as `observations`."
        )


def _told_steps(arrays: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    names = [name for name in arrays if name in STEPS]
    for name in [*names, *(n for n in RATES if n in arrays)]:
        value = np.asarray(arrays[name])
        if value.size == 1 and value.dtype.kind in "fiu" and value.reshape(-1)[0] > 0:
            number = float(value.reshape(-1)[0])
            yield name, 1 / number if name in RATES else number


def _check_synonyms(named: Mapping[str, Any], where: str) -> None:
    for other, name in SYNONYMS.items():
        if name not in named or other not in named or name == "time_step":
            continue
        one, two = np.asarray(named[name]), np.asarray(named[other])
        if one.shape == two.shape and not np.array_equal(one, two):
            raise RobooptError(
                f"`path` must hold arrays that agree, but `{name}` and `{other}` of "
                f"{where} differ: leave one of them out."
            )


def _check_time_steps(arrays: Mapping[str, Any], where: str) -> None:
    """Refuse a file whose step, rate and times are of other time steps."""
    told = [(name, step, step) for name, step in _told_steps(arrays)]
    for name in ("times", *(n for n, own in OTHER_NAMES.items() if own == "times")):
        times = np.asarray(arrays.get(name, ()))
        if times.ndim == 1 and times.dtype.kind in "fiu" and len(times) > 2:
            steps = np.diff(times.astype(float))
            steps = steps[steps > 0]
            told += [(name, steps.min(), steps.max())] if len(steps) else []
    for name, least, greatest in told[1:]:
        first, step, _ = told[0]
        if not least / MAX_RATIO <= step <= greatest * MAX_RATIO:
            steps = f"{least:.4g} s"
            steps += f" to {greatest:.4g} s" if greatest > least * MAX_RATIO else ""
            raise RobooptError(
                f"`path` must tell one time step, but in {where} `{first}` says "
                f"{step:.4g} s and `{name}` {steps}: leave one of them out, or give "
                "`time_step`."
            )


def _split_at_indices(named: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays with lengths, where `imitation` laid episodes end to end."""
    if INDICES not in named or tells_ends({**named, "terminal": 0}):
        return named
    indices, rows = np.asarray(named[INDICES]), len(np.atleast_1d(named["actions"]))
    held = len(np.atleast_1d(named["observations"]))
    lengths = np.diff(np.concatenate([[0], indices.reshape(-1), [rows]]))
    if indices.ndim != 1 or held != rows + len(lengths) or not (lengths > 0).all():
        return named
    made = {n: v for n, v in named.items() if n not in (INDICES, "terminal")}
    if np.shape(named.get("terminal", 0)) == lengths.shape:
        made["terminated"] = np.asarray(named["terminal"])
    return {**made, "lengths": lengths.astype(int)}


def _unwrap_times(named: dict[str, Any], where: str) -> str:
    """Let times of a counter that began anew go on; return a note."""
    times = np.asarray(named.get("times", ()))
    if times.ndim != 1 or times.dtype.kind not in "fiu" or len(times) < 2:
        return ""
    going_on, said = unwrapped(times.astype(float))
    if not said:
        return ""
    named["times"] = going_on
    return f"`times` of {where} {said}"


def _split_by_times(named: dict[str, Any], where: str) -> str:
    """Begin an episode where times go back and nothing else tells; return a note."""
    times, rows = np.asarray(named.get("times", ())), np.shape(named["actions"])[:1]
    if tells_ends(named) or times.shape != rows or times.dtype.kind not in "fiu":
        return ""
    back = np.append(True, np.diff(times.astype(float)) < 0)
    if len(np.atleast_1d(named["observations"])) != rows[0] or back.sum() < 2:
        return ""
    named["episode_starts"] = back
    return (
        f"{where} does not tell where episodes end: {back.sum()} begin where the times "
        f"go back, the second at row {np.flatnonzero(back)[1]}."
    )


def _left_out(
    named: Mapping[str, Any], arrays: Mapping[str, Any], where: str
) -> Iterator[str]:
    """Yield what to say of arrays of numbers that are not read."""
    known = {
        *NAMES,
        NEXT,
        *BOUNDARIES,
        *MASKS,
        *PADDING,
        *RATES,
        *SYNONYMS,
        "episode_returns",
    }
    rest = [
        name
        for name, value in named.items()
        if name not in known
        and np.ndim(value)
        and np.asarray(value).dtype.kind in "fiub"
    ]
    axes = max(np.ndim(named["actions"]), 2)
    images = [name for name in rest if np.ndim(named[name]) > axes]
    if images:
        yield f"{where}: {', '.join(images)} left out: images or groups, no vectors."
    if others := [name for name in rest if name not in images]:
        own = [n for n in arrays if "observations" in (n, OTHER_NAMES.get(n))]
        read = "observations" if "observations" in own else own[0]
        yield (
            f"{where}: {', '.join(others)} left out: the observations are `{read}` "
            "alone."
        )


def _missing(arrays: Mapping[str, Any], where: str) -> str:
    lacks = [name for name in ("observations", "actions") if name not in arrays]
    known: dict[str, list[str]] = {}
    for name in arrays:
        if name in OTHER_NAMES:
            known.setdefault(OTHER_NAMES[name], []).append(f"`{name}`")
    hints = [f"{' or '.join(names)} to `{own}`" for own, names in known.items()]
    return (
        "`path` must hold arrays named `observations`, `actions`, `time_step` [s] and, "
        "for several episodes, `lengths`, the number of actions of each, or flags such "
        f"as `dones`; {where} lacks {', '.join(lacks)} and holds "
        f"{', '.join(sorted(arrays)) or 'nothing'}."
        + (f" Rename {', '.join(hints)}." if hints else "")
    )
