"""The policy that a flag names: in a file, in the folder of a run, or in a module."""

import pkgutil
from pathlib import Path
from typing import Any

import roboopt as ro
from roboopt._errors import RobooptError, argument_called
from roboopt.cli._run_folder import policy_file


def saved(flag: str, path: Path) -> Any:
    """Return the policy in a file or in the folder of a run."""
    if not path.exists():
        raise RobooptError(f"{flag} {path} must be a saved policy, or a run's folder")
    try:
        file = policy_file(path)
    except RobooptError as error:
        raise RobooptError(f"{flag} must be a policy, but {error}") from error
    with argument_called("path", flag.removeprefix("--")):
        return ro.load(file)


def demonstrator(env: Any, given: str | None) -> tuple[Any, str]:
    """Return the demonstrator, and its name in words.

    It is `given` by a file of `roboopt.save`, the folder of a run, or `module:name` of
    a function; None for the library's own controller of the task of `env`.
    """
    if given is None:
        try:
            return ro.imitation.demonstrator(env)
        except RobooptError as error:
            raise RobooptError(f"--demonstrator must be given: {error}") from error
    if Path(given).exists():
        policy = saved("--demonstrator", Path(given))
        return policy, f"the policy in {policy_file(Path(given))}"
    if ":" not in given:
        raise RobooptError(
            "--demonstrator must be a saved policy, the folder of a run, or "
            f"module:function, got {given!r}"
        )
    try:
        found = pkgutil.resolve_name(given)
    except (ImportError, AttributeError, ValueError) as error:
        raise RobooptError(
            f"--demonstrator {given} cannot be imported: {error}"
        ) from error
    acts = callable(found) or isinstance(found, ro.policies.StatefulPolicy)
    if not acts or isinstance(found, type):
        raise RobooptError(f"--demonstrator {given} must be callable, got {found!r}")
    return found, given
