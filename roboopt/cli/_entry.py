"""The entry of the command `roboopt`, which hears signals before anything is loaded."""

import gc
import os
import sys
from collections.abc import Sequence

from roboopt._interrupt import end_process, ending, exit_code, interrupted, interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Ctrl-C ends a command with exit code 130, and SIGTERM with 143, at the end of what
    XLA is computing; the best so far is kept. A second signal ends it at once.

    Args:
        arguments: the words after `roboopt`; by default those of the process.
    """
    owner = arguments is None
    if owner:
        gc.set_threshold(50_000)  # Tracing makes many objects, few of them in cycles.
    words = sys.argv[1:] if arguments is None else list(arguments)
    code, told = 0, False
    try:
        with interrupts(command=True, owner=owner):
            try:
                from roboopt.cli._main import execute

                code = execute(words)
                sys.stdout.flush()
            except (KeyboardInterrupt, RuntimeError) as error:
                # Python 3.11 wraps what is raised while a class names its attributes.
                raised = error, error.__cause__
                if not any(isinstance(x, KeyboardInterrupt) for x in raised):
                    raise
                print(f"roboopt: {interrupted()}", file=sys.stderr)
                code = exit_code()
            except BrokenPipeError:  # as of `roboopt compare runs | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = 141  # of a process that SIGPIPE ends
            finally:
                told = ending()
    except KeyboardInterrupt:  # at the very end
        print("roboopt: interrupted", file=sys.stderr)
        code, told = code or 130, True
    if owner:
        from roboopt._deadline import abandoned

        if told or abandoned():
            # XLA aborts a process that ends while it compiles, or makes it wait.
            end_process(code)
        gc.freeze()  # As it ends, Python collects several times, for some 0.3 s.
    return code
