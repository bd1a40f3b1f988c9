"""The result in the folder of a run, for the commands that take one."""

import sys
import zipfile
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError, argument_called
from roboopt.cli._run_folder import require_finished


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
