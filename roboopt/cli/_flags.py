"""How the commands declare flags, parse and check them."""

import argparse
import dataclasses
import re
import shutil
import textwrap
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from roboopt._errors import RobooptError, require
from roboopt.loggers import LOGGERS

KINDS: dict[type, tuple[str, str]] = {
    bool: ("BOOL", "True or False"),
    int: ("INT", "a whole number"),
    float: ("FLOAT", "a number"),
    Path: ("PATH", "a path"),
    str: ("TEXT", "text"),
}
"""The placeholder and the rule of each type of a value."""
HELP = ("-h", "--help")
MAX_WIDTH = 80  # columns
MAX_INT = 2**31 - 1
MAX_COUNTS = {
    "timesteps": 2**53,
    **dict.fromkeys(("starts", "episodes", "envs", "draws", "pairs"), 10**6),
    **dict.fromkeys(("horizon", "history", "chunk", "observation_size"), 10**6),
    **dict.fromkeys(("epochs", "minibatches", "updates", "width"), 10**5),
    **dict.fromkeys(("depth", "dagger", "processes"), 1000),
}
"""The largest values of flags that take memory or a whole day; else `MAX_INT`."""
FROM_ZERO = {
    *("past_actions", "processes", "episodes", "validation", "held_out", "prior"),
    *("randomize", "discount", "gae_lambda", "value_weight", "entropy_weight"),
    *("work_weight", "joule_weight"),
}
"""Numbers that may be 0, like those that are by default; others are positive."""
OF_ANY_SIGN = {"target"}


def flag(
    default: Any,
    text: str,
    words: str = "",
    *,
    shown: str | None = None,
    choices: Sequence[str] = (),
    positional: bool = False,
    alone: Any = None,
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
        positional: whether the value comes without the flag's name.
        alone: the value of a flag that is given without one; None where it needs one.
    """
    shown = shown or ("{" + ",".join(choices) + "}" if choices else None)
    if default in (None, ()):
        words = words or "none"
    elif not isinstance(default, bool):
        many = isinstance(default, tuple)
        words = words or (" ".join(default) if many else str(default))
    if default is dataclasses.MISSING:
        words = ""
    told = {"text": text, "words": words, "shown": shown, "choices": tuple(choices)}
    told |= {"positional": positional, "alone": alone}
    return dataclasses.field(default=default, metadata=told)


def figures_flag() -> Any:
    """Return the field of the formats in which figures are written to files."""
    return flag(
        None,
        "Formats in which each figure is also written to figures/ in the run's folder: "
        "pdf, svg, png, eps, or csv for the curves.",
        shown="FORMAT[,FORMAT]",
    )


def allow_flag() -> Any:
    """Return the field of the modules of the user's own that a run names."""
    return flag(
        (),
        "Modules of your own whose classes the run names, such as a task's or a "
        "controller's, or their files, which are imported; or env, the environment of "
        "the run, with the modules and files that it names.",
        shown="MODULE",
    )


@dataclasses.dataclass(frozen=True)
class Output:
    """Flags of every command that leaves the folder of a run."""

    name: str | None = flag(
        None,
        "Name of the run's folder.",
        "after the task, with a number if that is taken",
        shown="NAME",
    )
    runs: Path = flag(Path("runs"), "Parent folder of all runs.")
    overwrite: bool = flag(
        False,
        "Replace the earlier run of this name once the new run has succeeded; only "
        "files of that run are touched.",
    )
    no_video: bool = flag(False, "Write the report without a video.")
    figures: str | None = figures_flag()
    log: str | None = flag(
        None,
        "Where every step's numbers go while it runs: event files or log.jsonl in the "
        f"run's folder, or the service; of {', '.join(LOGGERS)}.",
        shown="LOGGER[,LOGGER]",
    )
    resume: Path | None = flag(
        None,
        "Folder of a run that was interrupted or killed, to continue from its "
        "checkpoint, with its settings.",
        shown="RUN",
    )
    config: Path | None = flag(
        None, "Folder or settings.json of a past run, whose flags become defaults."
    )


def groups(command: Any) -> dict[str, Any]:
    """Return the fields of a command that are groups of flags, and their classes."""
    hints = get_type_hints(command if isinstance(command, type) else type(command))
    fields = dataclasses.fields(command)
    kinds = {field.name: hints[field.name] for field in fields}
    return {
        name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind)
    }


def all_flags(command: Any) -> dict[str, Any]:
    """Return the fields of a command and of its groups, by the flag's name."""
    own = groups(command)
    fields = [f for f in dataclasses.fields(command) if f.name not in own]
    fields += [f for kind in own.values() for f in dataclasses.fields(kind)]
    return {field.name.rstrip("_"): field for field in fields}


def spelled(name: str) -> str:
    """Return how the command line spells the flag of a field."""
    return f"--{name.rstrip('_').replace('_', '-')}"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `RobooptError`s."""

    def error(self, message: str) -> Any:
        raise RobooptError(message)


class Joined(argparse.Action):
    """A list of words with commas between, which a flag that is given again extends."""

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: Any = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def a_path(text: str) -> Path:
    """Return a path, refused where no file can have the name."""
    try:
        Path(text).exists()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{error.strerror}: {text:.40}…") from None
    return Path(text)


def parse(command: Any, prog: str, words: Sequence[str], default: Any = None) -> Any:
    """Return the command with the fields that the words of the command line set.

    The words before these are `prog`. A `default` is an instance whose fields are the
    defaults. Words may ask for help, which is printed and ends the process.
    """
    width = min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
    hints, fields = get_type_hints(command), dataclasses.fields(command)
    names = [f.metadata["shown"] for f in fields if f.metadata.get("positional")]
    parser = Parser(
        usage=" ".join([prog, "[-h]", "[FLAGS]", *names]),
        add_help=False,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=width),
    )
    # argparse takes -1e-3 and -inf for flags otherwise.
    parser._negative_number_matcher = re.compile(r"-[\d.]|-inf$")  # type: ignore
    parser.add_argument(*HELP, action="store_true", help="Show this help and exit.")
    own = groups(command)
    for field in fields:
        if field.name not in own:
            _add(parser, field, hints[field.name], required=default is None)
    for kind in own.values():
        for field in dataclasses.fields(kind):
            _add(parser, field, get_type_hints(kind)[field.name])
    if set(words) & set(HELP):
        described = (command.__doc__ or "").split("\n\n")
        print("\n\n".join(filled(text) for text in described), end="\n\n")
        print(parser.format_help(), end="")
        parser.exit()
    parsed, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        known = [option for a in parser._actions for option in a.option_strings]
        other = unknown[0].partition("=")[0]
        if instead := getattr(command, "lacking", {}).get(other):
            raise RobooptError(f"{prog} has no {other}: {instead}")
        require_choice("the flag", other, known, shown=False)
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in vars(parsed).items()
    }
    for group, kind in own.items():
        names = {f.name for f in dataclasses.fields(kind)} & given.keys()
        before = kind() if default is None else getattr(default, group)
        of_group = {name: given.pop(name) for name in names}
        given[group] = dataclasses.replace(before, **of_group)
    return (
        command(**given) if default is None else dataclasses.replace(default, **given)
    )


def _add(
    parser: argparse.ArgumentParser, field: Any, hint: Any, required: bool = False
) -> None:
    """Add the flag of a field to the parser."""
    told = field.metadata
    kind = next(k for k in (hint, *get_args(hint)) if k in KINDS)
    placeholder, rule = KINDS[kind]
    needed = field.default is dataclasses.MISSING
    words = "required" if needed else f"default: {told['words']}"
    silent = told["positional"] and told["words"] == "none"
    shown = needed or (told["words"] and not silent)
    text = f"{told['text']} ({words})" if shown else told["text"]
    options: dict[str, Any] = {"help": text.replace("%", "%%")}
    if hint is bool:
        options["action"] = "store_true"
    else:

        def read(text: str) -> Any:
            try:
                if kind in (Path, str):
                    path = a_path(text)
                    return path if kind is Path else text
                return (
                    {"True": True, "False": False}[text] if kind is bool else kind(text)
                )
            except (ValueError, KeyError):
                raise argparse.ArgumentTypeError(
                    f"must be {rule}, got {text!r}"
                ) from None

        options |= {"type": read, "metavar": told["shown"] or placeholder}
    if get_origin(hint) is tuple:
        options["nargs"] = "+" if needed and required else "*"
        if not told["positional"]:
            options["action"] = "extend"  # A flag may be given again.
    elif kind is str and re.search(r"^[^{]*,", told["shown"] or ""):
        options["action"] = Joined
    elif told["alone"] is not None:
        options |= {"nargs": "?", "const": told["alone"]}
    elif told["positional"] and not (needed and required):
        options["nargs"] = "?"
    if told["positional"]:
        parser.add_argument(field.name, **options)
    else:
        parser.add_argument(spelled(field.name), dest=field.name, **options)


def filled(text: str) -> str:
    """Return a paragraph in lines of the terminal's width, at most 80 columns."""
    width = min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
    words = " ".join(text.split())
    return textwrap.fill(words, width, break_long_words=False, break_on_hyphens=False)


def verb_arguments(command: Any) -> dict[str, Any]:
    """Return the flags that are the verb's parameters, by name."""
    names = [field.name for field in dataclasses.fields(command)]
    own = groups(command)
    return {name: getattr(command, name) for name in names if name not in own}


def check_choices(command: Any) -> None:
    """Raise a `RobooptError` if a flag has none of its choices, or is out of range."""
    for name in groups(command):
        check_choices(getattr(command, name))
    for field in dataclasses.fields(command):
        value: Any = getattr(command, field.name)
        choices = field.metadata.get("choices")
        most = MAX_COUNTS.get(field.name, MAX_INT)
        for number in value if isinstance(value, tuple) else (value,):
            huge = isinstance(number, int) and abs(number) > most
            require(not huge, field.name, f"be at most {most}", number)
            if type(number) in (int, float) and field.name not in OF_ANY_SIGN:
                zero = field.default in (0, ()) or field.name in FROM_ZERO
                rule = "be positive" if isinstance(number, float) else "be at least 1"
                rule = "be at least 0" if zero else rule
                require(number > 0 or zero and number == 0, field.name, rule, number)
        if choices and value is not None:
            require_choice(f"`{field.name}`", str(value), choices)


def require_choice(
    name: str, value: str, choices: Collection[str], *, shown: bool = True
) -> None:
    """Raise a `RobooptError` that lists `choices` unless `value` is one of them."""
    if value not in choices:
        close = get_close_matches(value, choices, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        listed = f"one of {', '.join(choices)}" if shown else "one that --help lists"
        raise RobooptError(f"{name} must be {listed}, got {value!r}{hint}")
