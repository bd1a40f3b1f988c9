"""The command `roboopt`: find the subcommand, parse its flags, run it.

A user's mistake is one line on stderr and exit code 2; Ctrl-C that ends the command is
exit code 130. A traceback is a bug.
"""

import contextlib
import importlib
import io
import shutil
import sys
import textwrap
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from roboopt._errors import RobooptError
from roboopt.cli._config import defaults_from, split_config
from roboopt.cli._flags import check_choices, name_flags, require_choice
from roboopt.cli._process import process_settings

COMMANDS = {
    "tune": "roboopt.cli.tune:Tune",
    "identify": "roboopt.cli.identify:Identify",
    "collect": "roboopt.cli.collect:Collect",
    "clone": "roboopt.cli.clone:Clone",
    "reinforce": "roboopt.cli.reinforce:Reinforce",
    "explain": "roboopt.cli.explain:Explain",
    "export": "roboopt.cli.export:Export",
}
DESCRIPTION = (
    "Robot learning as minimization: tune controllers through a differentiable twin of "
    "PyBullet, identify robots from recordings, clone behavior from demonstrations, "
    "and learn from reward in any Gymnasium environment."
)
EXTRAS = "tyro rich gymnasium pybullet matplotlib imageio_ffmpeg PIL".split()
HELP = ("-h", "--help")
MAX_WIDTH = 80  # columns


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after `roboopt`; by default those of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
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
        with process_settings():
            parsed = _parse(command, *arguments)
            check_choices(parsed)
            return parsed.run()
    except RobooptError as error:
        print(f"roboopt: error: {name_flags(str(error), command)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("roboopt: interrupted", file=sys.stderr)
        return 130


def _overview() -> str:
    lines = [
        _filled(DESCRIPTION),
        "",
        "usage: roboopt COMMAND [FLAGS]",
        "",
        "commands:",
    ]
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
    import tyro

    config, words = split_config(arguments)
    default = {} if config is None else {"default": defaults_from(config, command)}

    def parse() -> Any:
        return tyro.cli(
            command,
            prog=f"roboopt {name}",
            description="",
            args=words,
            config=(tyro.conf.FlagCreatePairsOff,),
            **default,
        )

    if not any(word in HELP for word in words):
        return parse()
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            return parse()
    finally:
        # tyro breaks no line of the description, nor a short usage.
        usage, _, flags = shown.getvalue().partition("\n")
        described = (command.__doc__ or "").split("\n\n")
        print("\n\n".join(_filled(text) for text in (*described, usage)))
        print(flags, end="")


def _filled(text: str) -> str:
    width = min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
    words = " ".join(text.split())
    return textwrap.fill(words, width, break_long_words=False, break_on_hyphens=False)


def _require_extras() -> None:
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if missing:
        raise RobooptError(
            f"the command needs {', '.join(missing)}: pip install 'roboopt[all]'"
        )
