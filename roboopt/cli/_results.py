"""The result in the folder of a run, and its report."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

from roboopt._errors import RobooptError, argument_called
from roboopt._reading import read_json
from roboopt.cli._config import ENVIRONMENT, needed
from roboopt.cli._flag_names import flags_named
from roboopt.cli._run_folder import SETTINGS, require_finished


def load_result(path: Path, argument: str, allow: Sequence[str]) -> Any:
    """Return the result of a run, of which `argument` is the command's name."""
    result, missing = load_shown(path, argument, allow)
    if missing:
        raise RobooptError(f"{lack(path, missing)}.")
    return result


def load_shown(path: Path, argument: str, allow: Sequence[str] = ()) -> tuple[Any, str]:
    """Return the result of a run for its tables, figures and motions.

    Also which classes of the user's own it lacks; empty for none.
    """
    require_finished(path, argument)
    if fault := _fault(path):
        raise RobooptError(
            f"`{argument}` must be the folder of a run, got {path}, which {fault}."
        )
    from roboopt.data import load_to_show  # Slow to import.

    with argument_called("path", argument):
        return load_to_show(path, _own(allow))


def lack(path: Path, missing: str) -> str:
    """Return what says how to give the classes that a result lacks."""
    flags = " ".join(f"--allow {name}" for name in needed(None, missing))
    return f"{path} names {missing}, which is your own code: give {flags}"


def command_of(folder: Path) -> Any:
    """Return the class of the command that left a run, None where Python made it."""
    from roboopt.cli._main import COMMANDS  # which imports all commands' names

    try:
        name = read_json(folder / SETTINGS)["command"]
        module, _, attribute = COMMANDS[name].partition(":")
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return getattr(import_module(module), attribute)


def write_report(
    result: Any, path: Path, command: Any, *, video: bool, advice: str = ""
) -> None:
    """Write the report of a result, its arguments named as flags of the command.

    The command, or its dataclass, is None where Python made the result. The advice, if
    any, ends what the report says first.
    """
    from roboopt import report  # Slow to import.

    if command is None:
        result.report(path, video=video)
        return

    def named(texts: Sequence[str]) -> list[str]:
        return [flags_named(text, command) for text in texts]

    said, sections = result.summary(), []
    for section in result.sections(video=video):
        blocks = []
        for block in section.blocks:
            if isinstance(block, report.Notes):
                block = report.Notes(named(block.paragraphs))
            elif isinstance(block, report.Replay):
                block = replace(block, caption=flags_named(block.caption, command))
            blocks.append(block)
        sections.append(report.Section(section.title, blocks))
    verdict = [*named(said.sentences), *([advice] if advice else [])]
    report.write_report(path, title=said.title, verdict=verdict, sections=sections)


def _fault(path: Path) -> str | None:
    """Return what keeps the folder from being a run, before it is read."""
    if not path.exists():
        return "does not exist"
    if path.is_dir() and not (path / "result.npz").exists():
        return "holds no result.npz"
    if path.is_file() and not zipfile.is_zipfile(path):
        return "is broken, or another kind of file"
    return None


def _own(allow: Sequence[str]) -> list[Any]:
    """Return the classes and functions in modules or files, which a run may hold."""
    if not allow:
        return []
    from roboopt_envs.tasks import module_from_file

    found: list[Any] = []
    for name in allow:
        if name == ENVIRONMENT:
            from roboopt.rollouts import EnvSpec

            found.append(EnvSpec)
            continue
        module, _, _ = name.partition(":")
        try:
            if module.endswith(".py"):
                own = module_from_file(Path(module))
            else:
                own = import_module(module)
        except Exception as error:  # A user's module may raise anything.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RobooptError(
                f"--allow {name} cannot be imported: {reason}"
            ) from error
        kinds = type, FunctionType
        found += [thing for thing in vars(own).values() if isinstance(thing, kinds)]
    return found
