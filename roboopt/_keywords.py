"""Keywords of the verbs: those of a robot, and what is said of wrong ones."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypedDict, TypeVar, cast

from roboopt._errors import RobooptError

F = TypeVar("F", bound=Callable[..., Any])
FLAGS = {
    **{"package": "packages", "xacro_arg": "xacro_args", "ray": "workers"},
    **{"option": "options", "test": "held_out", "from": "policy", "from_": "policy"},
    "resume": "checkpoint",
    **dict.fromkeys(("urdf", "env"), "robot"),
    **dict.fromkeys(("positions", "velocities", "efforts", "joints"), "columns"),
    **{"time": "columns", "figures": "result.save_figures(folder)"},
    **dict.fromkeys(("name", "runs", "overwrite", "config"), "result.save(folder)"),
    "no_video": "result.report(path, video=False)",
}
"""What is in Python, where it is not of the same name, by the name of a flag."""

OF_EXCITATION = (
    *("collect", "duration", "seed", "tool", "tool_offset", "control_period"),
    "randomize",
)


class ReadingOptions(TypedDict, total=False):
    """Keywords of reading a robot's file, as in `load_urdf`."""

    locked: Any
    """Joints that are held fixed, by name, or a mapping to positions [rad or m]."""
    effort_limits: Any
    """[N·m or N], one for all, one for each motor, or by joint."""
    packages: Mapping[str, Any]
    """Folders of ROS packages by name."""
    repair: bool
    """Whether inconsistent inertias are replaced by the nearest possible."""
    bullet_defaults: bool
    """Whether links without <inertial> get PyBullet's."""
    xacro_args: Mapping[str, str]
    """Arguments of a .xacro file."""


class RobotOptions(ReadingOptions, total=False):
    """Keywords of the constructor of a simulated robot."""

    tool: str
    """The link that must reach the goal."""
    tool_offset: Any
    """Its point that must, x, y and z in its frame [m]."""
    actuated: Any
    """Joints that motors drive, by name, or "all"."""
    time_step: float
    """Of the simulation [s]."""
    control_period: float
    """For which an action is held [s]."""
    interface: str
    """"torque", "position", "velocity", "voltage" or "duty"."""
    drive: Any
    """A `Drive`, its numbers by name, or a URDF with one."""
    randomize: float
    """The largest random change of masses, damping and friction, a fraction."""
    upright: Mapping[str, float]
    """Joint positions to balance at [rad or m]."""
    start_half_width: Any
    """Half the range of random starts."""


def known_keywords(*more: type, alone: Collection[str] = ()) -> Callable[[F], F]:
    """Return a decorator that refuses keywords that a verb does not take.

    Args:
        *more: typed dictionaries of keywords besides the parameters.
        alone: keywords that the verb itself says something about.
    """

    def decorate(function: F) -> F:
        parameters = inspect.signature(function).parameters.values()
        known = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        for kind in more:
            known += [name for name in kind.__annotations__ if name not in known]

        @functools.wraps(function)
        def call(*arguments: Any, **given: Any) -> Any:
            for name in given:
                if name not in known and name not in alone:
                    raise unknown_keyword(function.__name__, name, known)
            return function(*arguments, **given)

        vars(call)["keywords"] = known
        return cast(F, call)

    return decorate


def unknown_keyword(verb: str, name: str, known: Collection[str]) -> RobooptError:
    """Return the error that names the keyword that is nearest to a wrong one."""
    said = f"it takes {', '.join(known)}"
    if close := get_close_matches(name, known, n=1):
        said = f"did you mean `{close[0]}`?"
    elsewhere = {**dict.fromkeys(RobotOptions.__annotations__, "options"), **FLAGS}
    if verb == "identify":
        elsewhere |= dict.fromkeys(OF_EXCITATION, "ro.sysid.excite")
    if name in elsewhere:
        said = f"in Python it is `{elsewhere[name]}`."
    return RobooptError(f"`{name}` is no argument of `{verb}`; {said}")


def with_options(
    options: Mapping[str, Any] | None, given: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return the keywords of a robot that come in `options`, and by themselves.

    Raises:
        RobooptError: if one comes in both.
    """
    for name in given:
        if name in (options or {}):
            raise RobooptError(f"`{name}` must be given once, got it in `options` too.")
    return {**(options or {}), **given} if given else options
