"""The expressions of xacro files, kept from running programs.

xacro evaluates `${...}` as Python without builtins, and refuses names that begin with
two underscores, but not those within a lambda or a generator: from there every class of
the process can be reached, and so a shell. Here such an expression is refused.
"""

import ast
import contextlib
from collections.abc import Iterator
from typing import Any

# Ways from an object to its class, the frame that runs it, or a name made at run time.
REFUSED_ATTRIBUTES = {
    *("format", "format_map", "mro"),
    *("gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await"),
    *("ag_frame", "ag_code", "tb_frame", "tb_next"),
    *("f_back", "f_builtins", "f_code", "f_globals", "f_locals"),
}
REFUSED_FUNCTIONS = "type", "vars"  # of the namespace `python`


@contextlib.contextmanager
def harmless_expressions() -> Iterator[None]:
    """Let xacro refuse, in the block, expressions that could run a program."""
    import xacro

    evaluate, functions = xacro.safe_eval, xacro._global_symbols["python"]
    taken = {name: functions.pop(name, None) for name in REFUSED_FUNCTIONS}

    def checked(expression: str, *symbols: Any) -> Any:
        if found := _refused(expression):
            raise xacro.XacroException(f"`{found}` may not be used in an expression")
        return evaluate(expression, *symbols)

    xacro.safe_eval = checked
    try:
        yield
    finally:
        xacro.safe_eval = evaluate
        functions.update(taken)


def _refused(expression: str) -> str | None:
    """Return the first name in an expression that leads out of it."""
    for node in ast.walk(ast.parse(expression.strip(), mode="eval")):
        if isinstance(node, ast.Attribute):
            if node.attr.startswith("_") or node.attr in REFUSED_ATTRIBUTES:
                return node.attr
        elif isinstance(node, ast.Name) and node.id.startswith("__"):
            return node.id
    return None
