"""The expansion of xacro files, kept from running programs and from growing endlessly.

xacro evaluates `${...}` as Python without builtins, and refuses names that begin with
two underscores, but not those within a lambda or a generator: from there every class of
the process can be reached, and so a shell. `$(eval ...)` it evaluates with all
builtins. Here both are refused, as are the attributes that lead out of an expression.
Numbers, texts, lists, the document and the files that it includes have a largest size,
so that a short file cannot fill the memory or keep the processor busy.
"""

import ast
import contextlib
import glob
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.dom import minidom

from roboopt._reading import parse_xml, read_bytes

MAX_LENGTH = 10_000  # of a text or list that an expression makes, and of the expression
MAX_TEXT = 10**6  # characters of an attribute
MAX_NODES = 10**5  # of the document, over all passes; robots have some 10⁴
MAX_CALLS = 5000  # of macros
MAX_FILE = 2**22  # bytes
MAX_EXPONENT = 100
# Ways from an object to its class, the frame that runs it, or a name made at run time;
# and methods whose result is longer than their object.
REFUSED_ATTRIBUTES = {
    *("format", "format_map", "mro"),
    *("gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await"),
    *("ag_frame", "ag_code", "tb_frame", "tb_next"),
    *("f_back", "f_builtins", "f_code", "f_globals", "f_locals"),
    *("ljust", "rjust", "center", "zfill", "expandtabs", "translate"),
    *("factorial", "comb", "perm"),
}
REFUSED_FUNCTIONS = "type", "vars"  # of the namespace `python`
REFUSED_NAMES = "factorial", "comb", "perm"
REFUSED_NODES = {
    ast.Lambda: "lambda",
    ast.GeneratorExp: "a generator",
    ast.NamedExpr: ":=",
    ast.LShift: "<<",
    ast.FormattedValue: "an f-string",
}
REPLACED = (
    *("safe_eval", "eval_text", "eval_all", "handle_macro_call", "eval_extension"),
    *("parse", "glob", "_global_symbols"),
)
"""What is replaced of the module xacro, by its name there."""
COMPREHENSIONS = ast.ListComp, ast.SetComp, ast.DictComp
SIZED = str | bytes | list | tuple | dict | set | frozenset


@contextlib.contextmanager
def harmless_expressions() -> Iterator[None]:
    """Let xacro refuse, in the block, what could run a program or grow endlessly."""
    import xacro

    before = {name: getattr(xacro, name) for name in REPLACED}
    symbols = xacro.create_global_symbols()  # An expression can change its namespaces.
    python, nodes, calls = symbols["python"], 0, 0
    for name in REFUSED_FUNCTIONS:
        python.pop(name, None)
    for table in (symbols, python):
        table.update(range=_bounded_range)
    refused = xacro.XacroException

    def evaluated(expression: str, symbols: Any, local: Any = None) -> Any:
        try:
            return _evaluated(expression, symbols, local)
        except _Refused as error:
            raise refused(str(error)) from None

    def text(written: str, symbols: Any) -> Any:
        found = before["eval_text"](written, symbols)
        if isinstance(found, str) and len(found) > MAX_TEXT:
            raise refused(f"a text of more than {MAX_TEXT} characters is made")
        return found

    def expanded(node: Any, macros: Any, symbols: Any) -> None:
        nonlocal nodes
        nodes += 1 + len(node.childNodes)
        if nodes > MAX_NODES:
            raise refused(f"it expands to more than {MAX_NODES} elements")
        before["eval_all"](node, macros, symbols)

    def called(node: Any, macros: Any, symbols: Any) -> Any:
        nonlocal calls
        calls += node.tagName.startswith("xacro:")
        if calls > MAX_CALLS:
            raise refused(f"it calls more than {MAX_CALLS} macros")
        return before["handle_macro_call"](node, macros, symbols)

    def parsed(text: Any, filename: Any = None) -> Any:
        if text is None and not Path(filename).exists():
            return before["parse"](text, filename)  # which may be optional
        if text is None:
            text = read_bytes(filename, limit=MAX_FILE)
        parse_xml(text.encode() if isinstance(text, str) else text)
        return minidom.parseString(text)

    def extension(written: str) -> Any:
        if written.startswith("$(eval"):
            raise refused("`$(eval ...)` may not be used: write ${...}")
        return before["eval_extension"](written)

    def opened(path: Any) -> Any:
        read_bytes(path, limit=MAX_FILE)
        return open(path, encoding="utf-8")

    places = SimpleNamespace(glob=_in_one_folder)
    by_place = evaluated, text, expanded, called, extension, parsed, places, symbols
    try:
        for name, value in zip(REPLACED, by_place, strict=True):
            setattr(xacro, name, value)
        setattr(xacro, "open", opened)  # noqa: B010  in place of the builtin
        yield
    finally:
        xacro.__dict__.pop("open", None)
        for name, value in before.items():
            setattr(xacro, name, value)


def _in_one_folder(pattern: str) -> list[str]:
    """Return the files of a pattern, which must name their folder."""
    if glob.has_magic(str(Path(pattern).parent)):
        raise _Refused("only the names of included files may hold *, ? and [")
    return glob.glob(pattern)


class _Refused(Exception):
    """What an expression may not do."""


def _evaluated(expression: str, symbols: Any, local: Any) -> Any:
    if len(expression) > MAX_LENGTH:
        raise _Refused(f"an expression has more than {MAX_LENGTH} characters")
    tree = ast.parse(expression.strip(), mode="eval")
    if found := _refused(tree):
        raise _Refused(f"`{found}` may not be used in an expression")
    tree = ast.fix_missing_locations(_Bounded().visit(tree))
    symbols.update(__builtins__=dict(OPERATIONS))
    found = eval(compile(tree, "<expression>", "eval"), symbols, local)
    _require_small(found)
    return found


def _refused(tree: ast.AST) -> str | None:
    """Return the first name or construct that leads out of an expression."""
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Attribute):
            if node.attr.startswith("_") or node.attr in REFUSED_ATTRIBUTES:
                return node.attr
        elif isinstance(node, ast.Name):
            if node.id.startswith("__") or node.id in REFUSED_NAMES:
                return node.id
    for node in nodes:
        if type(node) in REFUSED_NODES:
            return REFUSED_NODES[type(node)]
        if isinstance(node, COMPREHENSIONS):
            inner = [n for n in ast.walk(node) if isinstance(n, COMPREHENSIONS)]
            if len(node.generators) > 1 or len(inner) > 1:
                return "a loop in a loop"
    return None


class _Bounded(ast.NodeTransformer):
    """Replaces operators whose results can be large by functions that refuse those."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:  # noqa: N802
        """Return the call of a function of `OPERATIONS`."""
        self.generic_visit(node)
        name = f"__{type(node.op).__name__}"
        if name not in OPERATIONS:
            return node
        return ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], [])


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > MAX_EXPONENT:
        return float(base) ** exponent
    return base**exponent


def _times(left: Any, right: Any) -> Any:
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, SIZED) and len(sequence) * count > MAX_LENGTH:
            raise _Refused(f"a sequence of more than {MAX_LENGTH} is made")
    return left * right


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, str) and re.search(r"%[^a-zA-Z%]*(\d{4}|\*)", left):
        raise _Refused("a text is padded to 1000 or more")
    return left % right


OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "__Pow": _power,
    "__Mult": _times,
    "__Mod": _remainder,
    "__Add": lambda left, right: _require_small(operator.add(left, right)),
}


def _bounded_range(*limits: int) -> range:
    found = range(*limits)
    if len(found) > MAX_LENGTH:
        raise _Refused(f"a range of more than {MAX_LENGTH} is made")
    return found


def _require_small(value: Any) -> Any:
    """Return a value, refused if it has many parts, also where one is held twice."""
    if isinstance(value, int) and abs(value) > 10**300:
        raise _Refused("a number of more than 300 digits is made")
    if not isinstance(value, SIZED):
        return value
    waiting, parts = [value], 0
    while waiting:
        part = waiting.pop()
        parts += len(part)
        if parts > MAX_LENGTH:
            raise _Refused(f"more than {MAX_LENGTH} parts are made")
        if isinstance(part, dict):
            waiting += [x for pair in part.items() for x in pair if _is_sized(x)]
        elif not isinstance(part, str | bytes):
            waiting += [x for x in part if _is_sized(x)]
    return value


def _is_sized(value: Any) -> bool:
    return isinstance(value, SIZED) and len(value) > 0
