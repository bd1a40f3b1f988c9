"""The result in the folder of a run, and its report."""

import re
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError, argument_called
from roboopt._reading import read_json
from roboopt.cli._flags import flags_named
from roboopt.cli._run_folder import SETTINGS, require_finished


def load_result(path: Path, argument: str, task: str | None) -> Any:
    """Return the result of a run.

    Args:
        path: the folder of the run, or its result.npz.
        argument: the command's name for `path`.
        task: a task of the user's own that the run names, as module:NAME or
            file.py:NAME, whose module is imported.

    Raises:
        RobooptError: if `path` is no run, or names a class that is not known.
    """
    require_finished(path, argument)
    if fault := _fault(path):
        raise RobooptError(
            f"`{argument}` must be the folder of a run, got {path}, which {fault}."
        )
    from roboopt.data import load  # Slow to import.

    allow = _own_classes(task)
    with argument_called("path", argument):
        try:
            return load(path, allow)
        except RobooptError as error:
            if allow or "allow=[" not in str(error):
                raise
            raise RobooptError(f"{error} Here, name it by --task.") from error


def command_of(folder: Path) -> Any:
    """Return the class of the command that left a run, None where Python made it."""
    from roboopt.cli._main import COMMANDS  # which imports all commands' names

    try:
        name = read_json(folder / SETTINGS)["command"]
        module, _, attribute = COMMANDS[name].partition(":")
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return getattr(import_module(module), attribute)


def write_report(result: Any, path: Path, command: Any, *, video: bool) -> None:
    """Write the report of a result, its arguments named as flags of the command.

    Args:
        result: of a verb.
        path: of the page.
        command: the command or its dataclass; None where Python made the result.
        video: whether the report has a video.
    """
    from roboopt.data import atomic_write  # Slow to import.

    result.report(path, video=video)
    if command is None:
        return

    def said(found: re.Match[str]) -> str:
        name = flags_named(f"`{found[1]}`", command).strip("`")
        # A line would break between the dashes.
        whole = ' style="white-space:nowrap"' if name.startswith("-") else ""
        return f"<code{whole}>{name}</code>"

    page = re.sub(r"<code>(\w+)</code>", said, path.read_text("utf-8"))
    with atomic_write(path) as file:
        file.write(page.encode())


def _fault(path: Path) -> str | None:
    """Return what keeps the folder from being a run, before it is read."""
    if not path.exists():
        return "does not exist"
    if path.is_dir() and not (path / "result.npz").exists():
        return "holds no result.npz"
    if path.is_file() and not zipfile.is_zipfile(path):
        return "is broken, or another kind of file"
    return None


def _own_classes(task: str | None) -> list[Any]:
    """Return the classes of the module of the task, which a run may hold."""
    if task is None:
        return []
    from roboopt_envs.tasks import named_task

    module = sys.modules[type(named_task(task)).__module__]
    return [own for own in vars(module).values() if isinstance(own, type)]
