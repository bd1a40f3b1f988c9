"""`--config settings.json`: the flags of a past run as the defaults of a new one."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from roboopt._errors import RobooptError
from roboopt.cli._flags import Output, groups
from roboopt.cli._run_folder import SETTINGS

FLAG, RESUME = "--config", "--resume"


def split_config(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the path that `--config` names, if any, and the other arguments."""
    return _split(arguments, FLAG)


def resume_path(arguments: Sequence[str]) -> Path | None:
    """Return the path that `--resume` names, if any."""
    return _split(arguments, RESUME)[0]


def _split(arguments: Sequence[str], name: str) -> tuple[Path | None, list[str]]:
    parser = _Parser("roboopt", add_help=False, allow_abbrev=False)
    parser.add_argument(name, dest="path", type=Path)
    known, rest = parser.parse_known_args(arguments)
    return known.path, rest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise RobooptError(message)


def defaults_from(path: Path, command: Any) -> Any:
    """Return the command with the flags that a run's folder or its settings record."""
    path = path / SETTINGS if path.is_dir() else path
    try:
        settings = json.loads(path.read_text("utf-8"))
        recorded, flags = settings["command"], dict(settings["flags"])
    except OSError as error:
        raise RobooptError(f"{FLAG} {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RobooptError(f"{FLAG} {path} holds no settings of a run") from error
    if recorded != command.__name__.lower():
        raise RobooptError(f"{FLAG} {path} must be of this command, got {recorded}")
    parts = {
        "": command,
        **{n: k for n, k in groups(command).items() if k is not Output},
    }
    made: dict[str, Any] = {}
    for group, kind in reversed(parts.items()):
        hints = get_type_hints(kind)
        values = {
            field.name: _typed(hints[field.name], flags.pop(field.name.rstrip("_")))
            for field in dataclasses.fields(kind)
            if field.name.rstrip("_") in flags
        }
        made[group] = kind(**values, **({} if group else made))
    if flags:
        unknown = ", ".join(sorted(flags))
        raise RobooptError(f"{FLAG} {path} has unknown flags: {unknown}")
    return made[""]


def _typed(hint: Any, value: Any) -> Any:
    """Return a value read from JSON as the type that its flag has."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str):  # JSON has no number for infinity.
        kinds = (hint, *get_args(hint))
        return next((kind(value) for kind in (Path, float) if kind in kinds), value)
    return value
