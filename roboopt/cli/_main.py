"""`roboopt`: one command a thing to do, and how each of them fails.

What a user got wrong is one line on stderr and exit code 2, before any work; Ctrl-C
that ends the command is exit code 130. A traceback is a bug of ours.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

from roboopt.cli._usage import UsageError

DESCRIPTION = (
    "Identify robots from recordings, tune controllers by gradient descent through a "
    "differentiable twin of PyBullet, clone behavior from demonstrations, and learn "
    "from reward in any Gymnasium environment. "
    "`roboopt COMMAND --help` tells what a command takes, `roboopt --version` the "
    "version."
)
EXTRAS = (
    "tyro",
    "rich",
    "gymnasium",
    "pybullet",
    "matplotlib",
    "imageio_ffmpeg",
    "PIL",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: by default those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"roboopt {version('roboopt')}")
        return 0
    warnings.showwarning = _show_warning
    try:
        _require_extras()
        import tyro

        from roboopt.cli._clone import Clone
        from roboopt.cli._collect import Collect
        from roboopt.cli._export import Export
        from roboopt.cli._identify import Identify
        from roboopt.cli._reinforce import Reinforce
        from roboopt.cli._tune import Tune

        command = tyro.extras.subcommand_cli_from_dict(
            {
                "clone": Clone,
                "collect": Collect,
                "export": Export,
                "identify": Identify,
                "reinforce": Reinforce,
                "tune": Tune,
            },
            prog="roboopt",
            description=DESCRIPTION,
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        return command.run()
    except UsageError as error:
        print(f"roboopt: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("roboopt: interrupted", file=sys.stderr)
        return 130


def _require_extras() -> None:
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if missing:
        raise UsageError(f"this needs {', '.join(missing)}: pip install 'roboopt[all]'")


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"roboopt: warning: {message}", file=sys.stderr)
