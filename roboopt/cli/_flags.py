"""How the commands declare flags, show their help, check and name them in errors."""

import dataclasses
import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from roboopt._errors import RobooptError

METAVARS = {int: "INT", float: "FLOAT", Path: "PATH", bool: "BOOL"}


def flag(
    default: Any,
    text: str,
    words: str = "",
    *,
    shown: str | None = None,
    choices: Sequence[str] = (),
    name: str | None = None,
    positional: bool = False,
) -> Any:
    """Return the field of a flag.

    Args:
        default: what holds where the flag is left out.
        text: help, a noun phrase that says what the value is, with its unit in
            brackets.
        words: the default in words, where its value does not say enough; "none" for
            None and no values.
        shown: the placeholder for the value; the choices or the type where None.
        choices: the only values besides None.
        name: the flag's name, where it differs from the field's.
        positional: whether the value comes without the flag's name.
    """
    shown = shown or ("{" + ",".join(choices) + "}" if choices else None)
    if default in (None, ()):
        words = words or "none"
    told = {"text": text, "words": words, "shown": shown, "choices": tuple(choices)}
    told |= {"name": name, "positional": positional}
    return dataclasses.field(default=default, metadata=told)


class Flags:
    """Base of dataclasses whose fields `flag` makes: annotates them for tyro."""

    def __init_subclass__(cls) -> None:
        for name, hint in list(cls.__annotations__.items()):
            told = getattr(vars(cls).get(name), "metadata", None)
            if not told:
                continue
            kinds = (hint, *get_args(hint))
            shown, words = told["shown"], told["words"]
            if shown is None and hint is not bool:
                shown = next(m for kind, m in METAVARS.items() if kind in kinds)
            argument = tyro.conf.arg(
                metavar=shown,
                help=told["text"],
                help_behavior_hint=f"(default: {words})" if words else None,
                name=told["name"],
            )
            made: Any = Annotated[hint, argument]  # type: ignore
            if told["positional"]:
                made = Annotated[made, tyro.conf.Positional]
            cls.__annotations__[name] = made


@dataclasses.dataclass(frozen=True)
class Output(Flags):
    """Flags of every command that leaves the folder of a run."""

    name: str | None = flag(
        None,
        "Name of the run's folder.",
        "name of the task, numbered if taken",
        shown="NAME",
    )
    runs: Path = flag(Path("runs"), "Folder that holds the folders of runs.")
    overwrite: bool = flag(
        False,
        "Replacement of an earlier run of this name, once the new one has succeeded; "
        "only files of that run are touched.",
    )
    no_video: bool = flag(False, "Report without a video.")
    config: Path | None = flag(
        None, "Settings of a past run, whose flags become defaults."
    )


OUTPUT = tyro.conf.arg(name="", help="")
"""Annotation of the field `output: Annotated[Output, OUTPUT] = Output()`."""


def verb_arguments(command: Any) -> dict[str, Any]:
    """Return the flags that are the verb's parameters, by name."""
    names = [field.name for field in dataclasses.fields(command)]
    return {name: getattr(command, name) for name in names if name != "output"}


def check_choices(command: Any) -> None:
    """Raise a `RobooptError` if a flag has none of its choices."""
    for field in dataclasses.fields(command):
        value, choices = getattr(command, field.name), field.metadata.get("choices")
        if choices and value is not None:
            require_choice(f"`{field.name}`", value, choices)


def require_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise a `RobooptError` that lists `choices` unless `value` is one of them."""
    if value not in choices:
        close = get_close_matches(value, choices, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise RobooptError(
            f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}"
        )


def name_flags(message: str, command: Any) -> str:
    """Return an error's message in one line, with arguments named as flags.

    Args:
        message: names the library's arguments in backticks, such as `work_weight`.
        command: the dataclass of the command; None names no flag.
    """
    fields = {} if command is None else {f.name: f for f in dataclasses.fields(command)}
    if "output" in fields:
        fields |= {field.name: field for field in dataclasses.fields(Output)}

    def flag_of(found: re.Match) -> str:
        name = found[1]
        if name not in fields:
            return found[0]
        positional = fields[name].metadata.get("positional")
        return name if positional else f"--{name.strip('_').replace('_', '-')}"

    return re.sub(r"`(\w+)`", flag_of, " ".join(message.split()))
