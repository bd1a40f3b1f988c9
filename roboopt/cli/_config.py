"""`--config settings.json`: the flags of a past run as the defaults of a new one.

Flags can name code: the module of an environment, a task or a demonstrator. A settings
file that a stranger wrote must not make the command import any, so that such a name
counts only where the command line says it, too.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.cli._flags import KINDS, Output, Parser, a_path, all_flags, groups, spelled
from roboopt.cli._run_folder import SETTINGS

FLAG, RESUME = "--config", "--resume"
CODE = ("env", "environment", "task", "demonstrator", "option")
"""Flags that may name a module, as in my_package:Mine-v0 or task=file.py:NAME."""
OWN = "roboopt_envs:"
ENVIRONMENT = "env"  # of a run, which may import modules and read files
RECORDED = ("log",)
"""Flags of the output that are settings of a run."""


def split_config(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the path that `--config` names, if any, and the other arguments."""
    return _split(arguments, FLAG)


def resume_path(arguments: Sequence[str]) -> Path | None:
    """Return the path that `--resume` names, if any."""
    return _split(arguments, RESUME)[0]


def _split(arguments: Sequence[str], name: str) -> tuple[Path | None, list[str]]:
    parser = Parser("roboopt", add_help=False, allow_abbrev=False)
    parser.add_argument(name, dest="path", type=a_path)
    known, rest = parser.parse_known_args(arguments)
    return known.path, rest


def defaults_from(path: Path, command: Any, flag: str = FLAG) -> Any:
    """Return a command with the flags that a run's folder or settings record."""
    path = path / SETTINGS if path.is_dir() else path
    settings = read_json(path, flag.strip("-"))
    try:
        recorded, flags = settings["command"], dict(settings["flags"])
    except (ValueError, LookupError, TypeError) as error:
        raise RobooptError(f"{flag} {path} holds no settings of a run") from error
    if recorded != command.__name__.lower():
        raise RobooptError(f"{flag} {path} must be of this command, got {recorded}")
    parts = {"": command, **groups(command)}
    made: dict[str, Any] = {}
    for group, kind in reversed(parts.items()):
        hints = get_type_hints(kind)
        values = {
            field.name: _typed(
                name, hints[field.name], flags.pop(name), f"{flag} {path}"
            )
            for field in dataclasses.fields(kind)
            if (name := field.name.rstrip("_")) in flags
            and (kind is not Output or name in RECORDED)
        }
        made[group] = kind(**values, **({} if group else made))
    if flags:
        unknown = ", ".join(sorted(map(str, flags)))
        raise RobooptError(f"{flag} {path} has unknown flags: {unknown}")
    return made[""]


def code_named(command: Any) -> Iterator[tuple[str, str]]:
    """Yield the flags of a command that name code, and their values."""
    for name in set(CODE) & {field.name for field in dataclasses.fields(command)}:
        value = getattr(command, name)
        for text in (value,) if isinstance(value, str) else value or ():
            known = text.removeprefix(f"{name}=").startswith(OWN)
            file = name == "demonstrator" and Path(text).exists()
            if ":" in text and not known and not file:
                yield name, text


def require_consent(command: Any, words: Iterable[str], source: str) -> None:
    """Refuse code that a file names, and not the words of the command line."""
    said = list(words)
    for name, value in code_named(command):
        if not any(value in word for word in said):
            positional = all_flags(command)[name].metadata["positional"]
            flag = value if positional else f"{spelled(name)} {value}"
            raise RobooptError(
                f"{source} names code that would be imported: give {flag} as well if "
                "you trust it"
            )


def needed(result: Any, missing: str = "") -> list[str]:
    """Return what `--allow` needs for the environment and classes of a result."""
    modules = [name.partition(":")[0] for name in missing.split(", ") if name]
    files = ["FILE.py" if name == "__main__" else name for name in modules]
    spec = getattr(result, "env", None)
    harmful = getattr(spec, "is_harmless", True) is False
    return [*dict.fromkeys(files), *([ENVIRONMENT] if harmful else [])]


def _typed(name: str, hint: Any, value: Any, source: str) -> Any:
    """Return a value read from JSON as the type that its flag has."""
    kinds = (hint, *get_args(hint))
    kind = next(kind for kind in kinds if kind in KINDS)
    many = get_origin(hint) is tuple
    if value is None and type(None) in kinds:
        return None
    try:
        if not isinstance(value, list) and not many:
            return _one(kind, value)
        if isinstance(value, list) and many:
            return tuple(_one(kind, each) for each in value)
    except ValueError:
        pass
    rule = f"a list, each {KINDS[kind][1]}" if many else KINDS[kind][1]
    raise RobooptError(f"{source}: {name} must be {rule}, got {value!r:.80}")


def _one(kind: type, value: Any) -> Any:
    """Return one value as its type; raise a `ValueError` where it has another."""
    if kind is float and isinstance(value, str):
        return float(value)  # JSON has no number for infinity.
    written = {Path: str, float: int | float}.get(kind, kind)
    if not isinstance(value, written) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return kind(value)
