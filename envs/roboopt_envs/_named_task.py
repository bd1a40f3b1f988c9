"""A task of one's own, from its name: "module:NAME" or "file.py:NAME"."""

import dataclasses
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError, require


def named_task(task: Any) -> Any:
    """Return a task: the object itself, or what a name stands for.

    Args:
        task: an object, or the name of an object or of a dataclass with defaults.

    Raises:
        RobooptError: if the name cannot be resolved, the task lacks `cost_rate` or
            `success`, or its `tolerances` are no intervals.
    """
    found = _resolved(task) if isinstance(task, str) else task
    if isinstance(found, type):
        found = found()
    for name in ("cost_rate", "success"):
        if not callable(getattr(found, name, None)):
            raise RobooptError(
                "`task` must have `cost_rate(observation, action[, time])` and "
                f"`success(observations, time_step)`, got {task!r} without {name}."
            )
    if not _are_intervals(getattr(found, "tolerances", {})):
        raise RobooptError(
            "`task` must have `tolerances` that map observation indices to lists "
            f"of (low, high), got {found.tolerances}."
        )
    valid = not isinstance(task, str) or dataclasses.is_dataclass(found)
    require(valid, "task", "be a dataclass, so that results can be saved", found)
    return found


def _are_intervals(tolerances: Any) -> bool:
    """Return whether tolerances are a mapping of indices to pairs (low, high)."""
    try:
        pairs = [pair for intervals in tolerances.values() for pair in intervals]
        indices = all(isinstance(k, int) and k >= 0 for k in tolerances)
        return indices and all(low <= high for low, high in pairs)
    except (AttributeError, TypeError, ValueError):
        return False


def _resolved(name: str) -> Any:
    module, colon, attribute = name.rpartition(":")
    require(colon, "task", "be an object, module:NAME or file.py:NAME", name)
    try:
        if module.endswith(".py"):
            return getattr(module_from_file(Path(module)), attribute)
        return pkgutil.resolve_name(name)
    except Exception as error:  # A user's module may raise anything.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RobooptError(f"`task` {name} cannot be imported: {reason}.") from error


def module_from_file(path: Path) -> Any:
    """Return the module in a file, under the name of the file."""
    known = sys.modules.get(path.stem)
    file = getattr(known, "__file__", None)
    # A run that was moved names its file where it was; `--allow` says where it is.
    moved = file is not None and Path(file).name == path.name and not path.exists()
    if known is not None and (moved or file == str(path.resolve())):
        return known
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module
