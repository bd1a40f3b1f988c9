"""The demonstrator that a flag names: a saved policy, or a function of the user."""

import importlib
from pathlib import Path
from typing import Any

import roboopt as ro
from roboopt._errors import RobooptError
from roboopt.cli._run_folder import ACTORS, actor_file


def demonstrator(env: Any, given: str | None) -> tuple[Any, str]:
    """Return the demonstrator, and its name in words.

    Args:
        env: the environment.
        given: a file of `roboopt.save`, the folder of a run, or `module:name` of a
            function; the library's own controller for the task where None.

    Raises:
        RobooptError: if there is no demonstrator, or it cannot be loaded.
    """
    if given is None:
        try:
            return ro.imitation.demonstrator(env)
        except ro.RobooptError as error:
            raise RobooptError(f"--demonstrator must be given: {error}") from error
    if Path(given).exists():
        return saved("--demonstrator", given)
    module, colon, name = given.partition(":")
    if not colon:
        raise RobooptError(
            "--demonstrator must be a saved policy, the folder of a run, or "
            f"module:function, got {given!r}"
        )
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise RobooptError(
            f"--demonstrator {given} cannot be imported: {error}"
        ) from error
    if not callable(found) and not isinstance(found, ro.policies.StatefulPolicy):
        raise RobooptError(f"--demonstrator {given} must be callable, got {found!r}")
    return found, given


def saved(flag: str, given: str) -> tuple[Any, str]:
    """Return the policy in a file or the folder of a run, and its name in words.

    Raises:
        RobooptError: if there is none, or it cannot be loaded.
    """
    path = Path(given)
    if path.is_dir():
        found = actor_file(path)
        if found is None:
            raise RobooptError(f"{flag} {given} holds no {' or '.join(ACTORS)}")
        path = found
    try:
        return ro.load(path), f"the policy in {path}"
    except ro.RobooptError as error:
        raise RobooptError(f"{flag} {given}: {error}") from error
