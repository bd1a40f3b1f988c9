"""The flags of a simulated robot, the same in every command that has one."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.cli._flags import flag, spelled

NONE: tuple[str, ...] = ()  # of the joints, for --actuated
OF_URDF = (
    *("locked", "actuated", "effort_limits", "repair", "bullet_defaults"),
    "xacro_args",
)
"""Flags of reading a URDF, which a robot without simulation has as well."""


@dataclass(frozen=True)
class Simulation:
    """Keywords of an environment's constructor; None and empty for its defaults."""

    tool: str | None = flag(
        None,
        "Link that must reach the goal.",
        "found by its name or place",
        shown="LINK",
    )
    tool_offset: str | None = flag(
        None,
        "Point of that link that must reach the goal, such as a fingertip [m].",
        "its origin",
        shown="X,Y,Z",
    )
    actuated: str | None = flag(
        None,
        "Joints that motors drive; all for every joint, none where nothing drives the "
        "robot.",
        "the file's",
        shown="JOINT,...",
    )
    locked: str | None = flag(
        None,
        "Joints that are held fixed, at 0 or at a position [rad or m].",
        shown="JOINT[=POSITION],...",
    )
    effort_limits: str | None = flag(
        None,
        "Effort limit of each motor, or one for all [N·m or N]; or those of some, by "
        "name.",
        "the file's",
        shown="[JOINT=]LIMIT,...",
    )
    package: tuple[str, ...] = flag(
        (),
        "Folders of ROS packages, for meshes.",
        "searched for around the URDF",
        shown="NAME=PATH",
    )
    repair: bool = flag(
        False, "Replace physically inconsistent inertias by the nearest possible."
    )
    bullet_defaults: bool = flag(
        False, "Give links without <inertial> PyBullet's 1 kg and 1 kg·m²."
    )
    xacro_arg: tuple[str, ...] = flag(
        (), "Argument of a .xacro file.", shown="NAME=VALUE"
    )
    time_step: float | None = flag(
        None, "Time step of the simulation [s].", "1/240, or from the recordings"
    )
    control_period: float | None = flag(
        None,
        "Time for which an action is held [s], a whole number of time steps.",
        "the time step",
    )
    interface: str | None = flag(
        None,
        "Actions: efforts, setpoints of motors, or what a DC motor gets.",
        "torque",
        shown="{torque,position,velocity,voltage,duty}",
    )
    drive: str | None = flag(
        None,
        "Actuators: numbers of roboopt.dynamics.Drive, of each driven joint or all, as "
        "in resistance=2,torque_constant=0.02,gear_ratio=150:120, or a URDF that "
        "identify wrote with a drive.",
        "commands act at once",
        shown="NAME=VALUE[:VALUE...],...",
    )
    randomize: float | None = flag(
        None, "Largest random change of masses, damping and friction, a fraction.", "0"
    )

    def options(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """Return the keywords that are given, of those in `names`."""
        made = self._read()
        return {
            name: value
            for name, value in made.items()
            if (value or value in (0, NONE) and value is not False)
            and (names is None or name in names)
        }

    def _read(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "tool_offset": numbers("tool_offset", self.tool_offset),
            "actuated": self.actuated is not None and _names(self.actuated),
            "locked": self.locked and _locked(self.locked),
            "effort_limits": _effort_limits(self.effort_limits),
            "packages": dict(map(package_folder, self.package)),
            "repair": self.repair,
            "bullet_defaults": self.bullet_defaults,
            "xacro_args": dict(map(_xacro_argument, self.xacro_arg)),
            "time_step": self.time_step,
            "control_period": self.control_period,
            "interface": self.interface,
            "drive": self.drive and _drive(self.drive),
            "randomize": self.randomize,
        }


@dataclass(frozen=True)
class Balancing(Simulation):
    """The flags of a simulated robot that may be told to balance."""

    upright: str | None = flag(
        None,
        "Joint positions to balance at [rad or m].",
        "the highest equilibrium",
        shown="JOINT=POSITION,...",
    )
    start_half_width: str | None = flag(
        None,
        "Half the range of random starts, of each q and then each q̇, or one for all.",
        "chosen for the robot",
        shown="WIDTH,...",
    )

    def _read(self) -> dict[str, Any]:
        widths = numbers("start_half_width", self.start_half_width)
        upright = self.upright and _positions("upright", self.upright)
        return {**super()._read(), "upright": upright, "start_half_width": widths}


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _locked(text: str) -> Any:
    """Return the names, or a mapping from names to positions where any has one."""
    return _positions("locked", text) if "=" in text else _split(text)


def _names(text: str) -> tuple[str, ...] | str:
    """Return the names in --actuated, none of them for "none", or "all"."""
    if text == "all" or text.strip() in ("", "none"):
        return text if text == "all" else NONE
    names = tuple(name for name, _ in _pairs("actuated", text))
    if not names:
        raise RobooptError(f"--actuated must name joints, or be none, got {text!r}")
    return names


def _positions(flag_name: str, text: str) -> dict[str, float]:
    """Return the positions of joints, 0 where none is given."""
    found = {}
    for name, position in _pairs(flag_name, text):
        shown = f"{spelled(flag_name)} {name}"
        found[name] = _number(shown, position or "0")
        if not math.isfinite(found[name]):
            raise RobooptError(f"{shown}: must be a finite number, got {position!r}")
    return found


def _drive(text: str) -> dict[str, Any] | str:
    """Return the numbers of a drive by name, a tuple where there is one a joint.

    A text without any is the path of a URDF that has a drive in the file beside it.
    """
    if "=" not in text:
        return text
    found: dict[str, Any] = {}
    for name, values in _pairs("drive", text):
        numbers = [_number(f"--drive {name}", value) for value in values.split(":")]
        found[name] = numbers[0] if len(numbers) == 1 else tuple(numbers)
    return found


def _effort_limits(text: str | None) -> Any:
    """Return limits by joint where the text names any, or else numbers."""
    if "=" not in (text or ""):
        return numbers("effort_limits", text)
    shown = spelled("effort_limits")
    pairs = _pairs("effort_limits", text or "")
    if bare := [name for name, limit in pairs if not limit]:
        raise RobooptError(
            f"{shown} must be JOINT=LIMIT throughout, or numbers alone, got {bare[0]!r}"
        )
    return {name: _number(f"{shown} {name}", limit) for name, limit in pairs}


def _pairs(flag_name: str, text: str) -> list[tuple[str, str]]:
    """Return names and what follows their equals signs, refused if one comes twice."""
    pairs = [part.partition("=") for part in _split(text)]
    names = [name for name, _, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RobooptError(
            f"{spelled(flag_name)} must hold each name once, got {twice[0]!r} twice"
        )
    return [(name, value) for name, _, value in pairs]


def numbers(flag_name: str, text: str | None) -> Any:
    """Return one number, several in a tuple, or None."""
    if not text:
        return None
    shown = f"{spelled(flag_name)} {text}"
    numbers = tuple(_number(shown, part) for part in _split(text) or ("",))
    return numbers[0] if len(numbers) == 1 else numbers


def _number(said: str, text: str) -> float:
    """Return the number in a part of a flag, which messages repeat as it was said."""
    try:
        return float(text)
    except ValueError:
        raise RobooptError(f"{said}: must be a number, got {text!r}") from None


def _xacro_argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.removesuffix(":")  # ROS writes NAME:=VALUE.
    if not equals or not name:
        raise RobooptError(f"--xacro-arg must be NAME=VALUE, got {text!r}")
    return name, value


def package_folder(text: str) -> tuple[str, str]:
    """Return the name and the folder of a ROS package, of NAME=PATH."""
    name, equals, folder = text.partition("=")
    if not equals or not Path(folder).expanduser().is_dir():
        raise RobooptError(f"--package must be NAME=PATH of a folder, got {text!r}")
    return name, str(Path(folder).expanduser().resolve())
