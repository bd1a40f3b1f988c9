"""Signals as Simulink logs them: structures with time, and objects of MATLAB.

A block To Workspace or a scope writes a structure with `time` and `signals`, each of
which has `values` and a `label`. Its other formats, `timeseries` and `Dataset`, are
objects, which only MATLAB reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._columns import holds_motion

DATASET = "Simulink.SimulationData.Dataset"
SAVED = "save('run.mat', '-struct', 'run')"
TO_TEXT = {"table": "writetable", "timetable": "writetimetable"}


def flat_signals(
    values: Mapping[str, Any], joints: Sequence[str] | None, where: str
) -> dict[str, Any]:
    """Return the values of nested structures by `structure.field`.

    Each of Simulink's signals has the name of its label, of its structure or of its
    block, whichever names the motion of joints. Structures with signals of the same
    names are a recording each.

    Raises:
        RobooptError: if the signals that are needed have different times.
    """
    found: dict[str, Any] = {}
    logged: list[tuple[str, np.ndarray, dict[str, Any]]] = []
    for place, value in _nested(values):
        if not isinstance(value, Mapping):
            found[place] = value
            continue
        named: dict[str, Any] = {}
        for signal in _signals(value):
            name = _name(place, signal, str(value.get("blockName", "")), joints)
            named[name if name not in named else f"{name} {len(named)}"] = signal[
                "values"
            ]
        if any(holds_motion(name, joints or ()) for name in named):
            logged.append((place, np.atleast_1d(value["time"]), named))
    names = [name for _, _, named in logged for name in named]
    if len(names) > len(set(names)):
        for place, time, named in logged:
            found |= {f"{place}.{name}": array for name, array in named.items()}
            found |= {f"{place}.time": time} if time.size else {}
        return found
    for _, _, named in logged:
        found |= named
    times = [(place, time) for place, time, _ in logged if time.size]
    if len({time.tobytes() for _, time in times}) > 1:
        raise RobooptError(
            f"`path` must hold signals of the same times, but those of "
            f"{', '.join(place for place, _ in times)} in {where} differ: give their "
            "blocks one sample time."
        )
    if times:
        found.pop("tout", None)  # of the solver
        found["time"] = times[0][1]
    return found


def require_readable(
    objects: Mapping[str, str], names: Sequence[str], where: str
) -> None:
    """Raise a `RobooptError` if data are in objects, which only MATLAB reads.

    Args:
        objects: the class of each by its name.
        names: of the arrays that are no objects.
        where: the file.
    """
    lines = [*_lines(objects)]
    if lines:
        held = ", ".join(f"`{name}` of class {kind}" for name, kind in objects.items())
        beside = f", beside {', '.join(names)}" if names else ""
        raise RobooptError(
            "`path` must hold arrays or structures with time, but "
            f"{where} holds {held}, which only MATLAB reads{beside}. These lines of "
            f"MATLAB write a file to read: {' '.join(lines)}"
        )


def _lines(objects: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of MATLAB that write data as arrays."""
    series = [name for name, kind in objects.items() if kind == "timeseries"]
    if series:
        data = "; ".join(f"run.{name} = squeeze({name}.Data)" for name in series)
        yield f"run.t = {series[0]}.Time; {data}; {SAVED}"
    for name, kind in objects.items():
        if kind in (DATASET, "Simulink.SimulationOutput"):
            every = name if kind == DATASET else f"{name}.logsout"
            yield (
                f"d = {every}; for k = 1:d.numElements, s = d{{k}}; run.t = "
                "s.Values.Time; run.(matlab.lang.makeValidName(s.Name)) = "
                f"squeeze(s.Values.Data); end; {SAVED}"
            )
        elif kind in TO_TEXT:
            yield f"{TO_TEXT[kind]}({name}, 'run.csv')"


def _nested(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of structures, and whole structures of Simulink."""
    for name, value in values.items():
        if isinstance(value, Mapping) and not _is_logged(value):
            yield from _nested(value, f"{prefix}{name}.")
        elif not name.startswith("__"):
            yield prefix + name, value


def _is_logged(value: Mapping[str, Any]) -> bool:
    signals = _signals(value) if {"time", "signals"} <= value.keys() else []
    known = [isinstance(one, Mapping) and "values" in one for one in signals]
    return bool(known) and all(known)


def _signals(value: Mapping[str, Any]) -> list[Any]:
    signals = value["signals"]
    return [signals] if isinstance(signals, Mapping) else [*np.ravel(signals)]


def _name(
    place: str, signal: Mapping[str, Any], block: str, joints: Sequence[str] | None
) -> str:
    label = str(signal.get("label", "")) if np.size(signal.get("label", "")) else ""
    names = [label, place.split(".")[-1], block.split("/")[-1]]
    fits = [name for name in names if holds_motion(name, joints or ())]
    return (fits or [label or place])[0]
