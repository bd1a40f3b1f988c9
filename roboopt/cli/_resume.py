"""`--resume RUN`: a run that goes on from its checkpoint, with its settings."""

import dataclasses
import shlex
from typing import Any

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.cli._config import RESUME as FLAG
from roboopt.cli._config import code_named, defaults_from, needed
from roboopt.cli._flags import Output, all_flags, groups, spelled
from roboopt.cli._run_folder import PARTIAL, SETTINGS, resumable

OF_THE_PROCESS = "resume", "no_video", "figures", "log"
"""Flags of the output that a resumed run may be given."""
COMPLETE = "complete"
"""The entry of settings.json of a run that no signal and no time limit ended."""


def resumed(command: Any, before: Any) -> Any:
    """Return a command that goes on; refuse flags other than those that may be changed.

    The command `before` has the settings of the run alone; its class names the flags
    that may be changed in `endings`.
    """
    own = groups(command)
    parts = {"": (command, before)}
    parts |= {name: (getattr(command, name), getattr(before, name)) for name in own}
    for group, (here, there) in parts.items():
        allowed = OF_THE_PROCESS if own.get(group) is Output else command.endings
        for field in dataclasses.fields(here):
            name = field.name
            if name in own or name in allowed or name == "resume":
                continue
            if getattr(here, name) != getattr(there, name):
                raise RobooptError(
                    f"`{name.rstrip('_')}` must be left out with {FLAG}, which keeps "
                    "the settings"
                )
    return command


def finished(command: Any) -> str:
    """Return a line that says that nothing is left to resume; empty where something is.

    A run is finished that is in its place, and whose settings say that it is complete,
    unless the command changes one of the flags that may be changed.
    """
    path = resumable(command.output.resume)
    settings = read_json(path / SETTINGS)
    if path.name.endswith(PARTIAL) or not settings.get(COMPLETE):
        return ""
    before = defaults_from(path, type(command), FLAG)
    own = groups(command)
    compared = {f.name for f in dataclasses.fields(command)} - {"watch"}
    compared -= {name for name in own if own[name] is Output}
    if any(getattr(command, name) != getattr(before, name) for name in compared):
        return ""
    more = [spelled(name) for name in command.endings if name in compared]
    said = f"{path} is finished, and stays as it is."
    return f"{said} It goes on with another {' or '.join(more)}." if more else said


def how_to_resume(command: Any, path: str, *, learned: bool = False) -> str:
    """Return the line that says how to go on with the run in `path`.

    Where it has `learned` what it was to, only what follows is left.
    """
    words = ["roboopt", type(command).__name__.lower(), FLAG, path]
    for name, value in code_named(command):  # Files alone import none.
        positional = all_flags(command)[name].metadata["positional"]
        words += [value] if positional else [spelled(name), value]
    return f"To {'finish it' if learned else 'continue'}: {shlex.join(words)}"


def how_to_evaluate(command: Any, path: str, result: Any) -> str:
    """Return the line that says how to evaluate what an interrupted run has learned.

    At most the gradient steps on the last block of samples are taken before. Empty
    where the run is not one of `reinforce` that lacks its evaluation.
    """
    taken = getattr(result, "timesteps", None)
    if taken is None or not result.interrupted or result.evaluation is not None:
        return ""
    goes_on = how_to_resume(command, path).partition(": ")[2]
    line = f"{goes_on} {spelled('timesteps')} {taken}"
    return f"To end the learning there and evaluate the policy: {line}"


def how_to_report(command: Any, path: str, result: Any) -> str:
    """Return the line that says how to write the report of the run in `path`.

    The line allows what the user's own command has named.
    """
    words = ["roboopt", "report", path]
    if (formats := command.output.figures) is not None:
        words += [spelled("figures"), formats]
    own = [value for name, value in code_named(command) if name == "task"]
    allowed = [value.partition(":")[0] for value in own] + needed(result)
    words += ["--allow", *allowed] * bool(allowed)
    return f"There is no report yet. To write it: {shlex.join(words)}"
