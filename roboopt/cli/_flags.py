"""How the commands declare flags, show their help, and name them in errors."""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import tyro


def shown_as(metavar: str, default: str = "") -> Any:
    """Return what makes tyro show an argument as `metavar`, and its default in words.

    Args:
        metavar: what the user puts there.
        default: what holds where it is left out.
    """
    hint = f"(default: {default})" if default else None
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)


def flag(metavar: str, text: str, default: str = "", *, name: str | None = None) -> Any:
    """Return the annotation of a flag: what its help shows.

    Args:
        metavar: the placeholder for the value, or the choices in braces.
        text: a noun phrase that says what the value is, with its unit in brackets.
        default: the default in words, where its value does not say enough.
        name: the flag's name, where it differs from the field's.
    """
    hint = f"(default: {default})" if default else None
    return tyro.conf.arg(metavar=metavar, help=text, help_behavior_hint=hint, name=name)


@dataclasses.dataclass(frozen=True)
class Output:
    """Flags of every command that leaves the folder of a run."""

    name: Annotated[
        str | None,
        flag(
            "NAME", "Name of the run's folder.", "name of the task, numbered if taken"
        ),
    ] = None
    runs: Annotated[Path, flag("PATH", "Folder that holds the folders of runs.")] = (
        Path("runs")
    )
    overwrite: Annotated[
        bool,
        tyro.conf.arg(
            help="Replacement of an earlier run of this name, once the new one has "
            "succeeded; only files of that run are touched."
        ),
    ] = False
    no_video: Annotated[bool, tyro.conf.arg(help="Report without a video.")] = False
    config: Annotated[
        Path | None,
        flag("PATH", "Settings of a past run, whose flags become defaults.", "none"),
    ] = None


OUTPUT = tyro.conf.arg(name="", help="")
"""Annotation of the field `output: Annotated[Output, OUTPUT] = Output()`."""


def verb_arguments(command: Any) -> dict[str, Any]:
    """Return the flags that are the verb's parameters, by name."""
    return {
        field.name: getattr(command, field.name)
        for field in dataclasses.fields(command)
        if field.name != "output"
    }


def name_flags(message: str, command: Any) -> str:
    """Return an error's message in one line, with arguments named as flags.

    Args:
        message: names the library's arguments in backticks, such as `work_weight`.
        command: the dataclass of the command; None names no flag.
    """
    fields = [] if command is None else [f.name for f in dataclasses.fields(command)]
    hints = get_type_hints(command, include_extras=True) if fields else {}
    positional = [n for n in fields if tyro.conf.Positional in get_args(hints[n])]
    if "output" in fields:
        fields += [field.name for field in dataclasses.fields(Output)]

    def flag_of(found: re.Match) -> str:
        name = found[1]
        if name not in fields:
            return found[0]
        return name if name in positional else f"--{name.strip('_').replace('_', '-')}"

    return re.sub(r"`(\w+)`", flag_of, " ".join(message.split()))
