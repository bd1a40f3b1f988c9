"""Messages about arguments, which the commands show with the names of their flags."""

import ast
import dataclasses
import re
from typing import Any

from roboopt.cli._flags import all_flags, spelled

ARGUMENT = re.compile(r"((?:^|by |ive |ith )?)`(\w+)(?:=([^`]*))?`")
TAKEN = re.compile(r"(?<=, which takes )\w+(, \w+)*")
OTHER_NAMES = {
    "packages": "package",
    "xacro_args": "xacro_arg",
    "options": "option",
    "address": "ray",
    "workers": "ray",
}
"""Arguments whose flags have another name."""
OF_OTHERS = {
    *("model", "task", "tool", "time", "time_step", "target", "error"),
    *("positions", "velocities", "efforts", "joints", "actuated", "effort_limits"),
}
"""Flags whose names are those of arrays, fields and attributes, too."""


def flags_named(sentence: str, command: Any) -> str:
    """Return a sentence about a result with its arguments named as flags."""
    known = all_flags(command)

    def said(found: re.Match[str]) -> str:
        name = OTHER_NAMES.get(found[1], found[1])
        flagged = name in known and not known[name].metadata["positional"]
        value = _as_words(found[2]) if found[2] else ""
        return f"`{spelled(name)}{value}`" if flagged else found[0]

    return re.sub(r"`(\w+)(?:=([^`]*))?`", said, sentence)


def name_flag(message: str, command: Any) -> str:
    """Return a message in one line, its arguments named as flags of a command, if any.

    An argument is a name in backticks; one of `OF_OTHERS` only where it begins the
    message, follows "by", "give" or "with", or has a value, as in `repair=True`. A
    list after "which takes" becomes that of its flags.
    """
    line = " ".join(message.split())
    if command is None:
        return line
    flags = all_flags(command)
    grouped = flags.keys() - {f.name.rstrip("_") for f in dataclasses.fields(command)}

    def said(found: re.Match[str]) -> str:
        before, given, value = found.groups()
        name = OTHER_NAMES.get(given, given)
        if name == "robot" and _reads_urdf(command):
            name = "urdf"
        if name == "robot" and name not in flags and "option" in flags:
            return f"{before}{spelled('option')} robot"
        sure = not found.start() or before or value is not None
        if name not in flags or (name in OF_OTHERS and not sure):
            return found[0]
        if flags[name].metadata["positional"]:  # as the usage names it
            shown = flags[name].metadata["shown"].partition(".")[0]
            return before + (shown if shown.isalpha() else name)
        return before + spelled(name) + ("" if value is None else _as_words(value))

    def taken(found: re.Match[str]) -> str:
        names = [OTHER_NAMES.get(name, name) for name in found[0].split(", ")]
        return ", ".join(spelled(n) for n in names if n in grouped) or found[0]

    return TAKEN.sub(taken, ARGUMENT.sub(said, line))


def _as_words(value: str) -> str:
    """Return the words after a flag for a value in Python; none for a value unsaid."""
    try:
        value = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return ""
    if isinstance(value, tuple | list):
        return f" {','.join(map(str, value)) or 'none'}"
    return "" if value is True else f" {value}"


def _reads_urdf(command: Any) -> bool:
    """Return whether the robot of a parsed command is that of --urdf."""
    urdf, robot = (getattr(command, name, None) for name in ("urdf", "robot"))
    return urdf is not None and robot is None
