"""The command `roboopt`: find the subcommand, parse its flags, run it.

A user's mistake, or a disk that fails, is one line on stderr and exit code 2. A
traceback is a bug.
"""

import importlib
import sys
from contextlib import nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from roboopt._errors import RobooptError, is_of_disk, is_of_memory
from roboopt._interrupt import leaves
from roboopt.cli._config import (
    FLAG,
    RESUME,
    code_named,
    defaults_from,
    require_consent,
    resume_path,
    split_config,
)
from roboopt.cli._flag_names import name_flag
from roboopt.cli._flags import (
    HELP,
    all_flags,
    check_choices,
    filled,
    parse,
    require_choice,
)
from roboopt.cli._heartbeat import heartbeat
from roboopt.cli._process import find_own_modules, process_settings
from roboopt.cli._resume import resumed
from roboopt.cli._run_folder import resumable

COMMANDS = {
    "tune": "roboopt.cli.tune:Tune",
    "identify": "roboopt.cli.identify:Identify",
    "collect": "roboopt.cli.collect:Collect",
    "clone": "roboopt.cli.clone:Clone",
    "reinforce": "roboopt.cli.reinforce:Reinforce",
    "explain": "roboopt.cli.explain:Explain",
    "report": "roboopt.cli.report:Report",
    "view": "roboopt.cli.view:View",
    "compare": "roboopt.cli.compare:Compare",
    "export": "roboopt.cli.export:Export",
}
DESCRIPTION = (
    "Robot learning as minimization: tune controllers through a differentiable twin of "
    "PyBullet, identify robots from recordings, clone behavior from demonstrations, "
    "and learn from reward in any Gymnasium environment."
)
FULL = "memory is full: ask for fewer or shorter episodes, starts or samples"
EXTRAS = "rich gymnasium pybullet matplotlib imageio_ffmpeg PIL".split()


def execute(arguments: list[str]) -> int:
    """Run the command of the words after `roboopt`, and return its exit code."""
    if arguments == ["--version"]:
        print(f"roboopt {version('roboopt')}")
        return 0
    if not arguments or arguments[0] in HELP:
        print(_overview())
        return 0 if arguments else 2
    command: Any = None
    try:
        command = _command_class(arguments[0])
        _require_extras()
        alive = nullcontext() if getattr(command, "serves", False) else heartbeat()
        with process_settings(lambda text: name_flag(text, command)), alive:
            command = _parse(command, *arguments)
            check_choices(command)
            if any(code_named(command)):
                find_own_modules()
            if not hasattr(command, "output"):
                leaves("")  # Only a run says what is left of it.
            return command.run()
    except RobooptError as error:
        print(f"roboopt: error: {name_flag(str(error), command)}", file=sys.stderr)
        return 2
    except OSError as error:
        if not is_of_disk(error):
            raise
        print(f"roboopt: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        print(f"roboopt: error: {FULL} ({reason})", file=sys.stderr)
        return 2


def _overview() -> str:
    lines = [filled(DESCRIPTION), "", "usage: roboopt COMMAND [FLAGS]", "", "commands:"]
    width = max(map(len, COMMANDS))
    for name in COMMANDS:
        summary = (_command_class(name).__doc__ or "").partition("\n")[0]
        lines.append(f"  {name:{width}}  {summary.removesuffix('.')}")
    lines += ["", "`roboopt COMMAND --help` lists the flags of a command,"]
    return "\n".join([*lines, "`roboopt --version` prints the version."])


def _command_class(name: str) -> Any:
    require_choice("the command", name, COMMANDS)
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _parse(command: Any, name: str, *arguments: str) -> Any:
    config, words = split_config(arguments)
    resume = resume_path(words) if "resume" in all_flags(command) else None
    if resume is not None and config is not None:
        raise RobooptError("--config must be left out with --resume")
    default = None
    if config is not None:
        default = defaults_from(config, command)
        require_consent(default, words, f"{FLAG} {config}")
    if resume is not None:
        default = defaults_from(resumable(resume), command, RESUME)
        require_consent(default, words, f"{RESUME} {resume}")
    parsed = parse(command, f"roboopt {name}", words, default)
    return parsed if resume is None else resumed(parsed, default)


def _require_extras() -> None:
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if missing:
        raise RobooptError(
            f"the command needs {', '.join(missing)}: pip install 'roboopt[all]'"
        )
