"""Where the source code assigns what a function computes.

JAX keeps for each equation the calls in which it was traced, with their lines. The
innermost assignment on these lines names the variable.
"""

import ast
import functools
import linecache
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

SKIPPED = ("jax", "jaxlib", "jaxtyping", "beartype")
"""Packages whose lines are no user's code."""
RETURN = ("L",)
"""Name of what a function returns."""
LOOPS = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)
LAMBDAS = ("<lambda>", "<listcomp>", "<genexpr>", "<dictcomp>")
"""Code whose statement around is not evaluated where the code is called."""


class Frame(NamedTuple):
    """A call: where it stands in the source, and in the bytecode."""

    file: str
    line: int
    offset: int


@dataclass(frozen=True)
class Statement:
    """A statement of the source code."""

    line: int
    names: tuple[str, ...]
    """Of the targets; ("L",) of a `return`, none of any other statement."""
    values: tuple[str, ...]
    """The expression for each target, or a single one."""
    looped: bool
    """Whether the statement stands in a loop."""


@dataclass(frozen=True)
class Place:
    """An assignment in the source code, and how far its evaluation has come."""

    file: str
    statement: Statement
    frames: tuple[Frame, ...] = field(compare=False)
    """The calls in which an equation was traced, the innermost first."""
    depth: int = field(compare=False)
    """Which of the frames the statement stands in."""
    looped: bool = field(compare=False)
    """Whether the statement, or a call around it, may be evaluated again."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the targets."""
        return self.statement.names

    def expression(self, name: str) -> str:
        """Return the source that computes one of the targets, or all of them."""
        values = self.statement.values
        if len(values) > 1 and name in self.names:
            return values[self.names.index(name)]
        return ", ".join(values)

    def starts_after(self, last: "Place") -> bool:
        """Return whether the statement is evaluated anew after `last`."""
        own, before = self.frames[self.depth :], last.frames[last.depth :]
        if self != last or own[1:] != before[1:]:
            return True
        return own[0].offset < before[0].offset


def place_of(frames: tuple[Frame, ...]) -> Place | None:
    """Return the innermost assignment that an equation was traced in.

    Without one, the outermost `return` of the traced function stands for "L".
    """
    skipped = [_skipped(frame.file) for frame in frames]
    found = [
        None if skip else _statements(frame.file).get(frame.line)
        for frame, skip in zip(frames, skipped, strict=True)
    ]
    returned = None
    for k, (frame, statement) in enumerate(zip(frames, found, strict=True)):
        if statement is None or not statement.names:
            continue
        # A library may call the function around the statement again and again.
        looped = any(skipped[k:]) or any(s is not None and s.looped for s in found[k:])
        place = Place(frame.file, statement, frames, k, looped)
        if statement.names != RETURN:
            return place
        returned = place
    return returned


def frames_of(traceback: Any, caller: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Return the calls that an equation was traced in, below this package's own."""
    if traceback is None:
        return caller
    found = []
    for code, offset in zip(*traceback.raw_frames(), strict=True):
        if Path(code.co_filename).parent == Path(__file__).parent:
            break
        if code.co_name not in LAMBDAS:
            line = traceback.code_addr2line(code, offset)
            found.append(Frame(code.co_filename, line, offset))
    whole = bool(caller) and caller[-1] in found
    return tuple(found) if whole else (*found, *caller)


def _skipped(file: str) -> bool:
    parts = Path(file).parts
    if "site-packages" not in parts:
        return False
    inside = parts[parts.index("site-packages") + 1 :]
    return inside[0] in SKIPPED or (inside[0] == "equinox" and inside[1] != "nn")


@functools.cache
def _statements(file: str) -> dict[int, Statement]:
    """Return the innermost statement on each line of a file."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    found = {}
    for node, looped in _nodes(tree, False):
        names, values = _assigned(node)
        if not names and isinstance(
            node, ast.NamedExpr | ast.FunctionDef | ast.ClassDef
        ):
            continue
        looped = looped or any(isinstance(inner, LOOPS) for inner in ast.walk(node))
        made = Statement(node.lineno, names, values, looped)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            found[line] = made
    return found


def _nodes(node: ast.AST, looped: bool) -> Iterator[tuple[Any, bool]]:
    """Yield the statements below a node, the outer first, and which are in loops."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.NamedExpr):
            yield child, looped
        inside = looped or isinstance(child, LOOPS)
        yield from _nodes(child, inside and not isinstance(child, ast.FunctionDef))


def _assigned(node: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the targets of a statement, and the expression for each, or for all."""
    if isinstance(node, ast.Return) and node.value is not None:
        return RETURN, (_source(node.value),)
    if isinstance(node, ast.AugAssign):
        value = ast.BinOp(node.target, node.op, node.value)
        return (_source(node.target),), (_source(value),)
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        target = node.target
    else:
        return (), ()
    names, value = tuple(_names(target)), cast(ast.expr, node.value)
    parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    if len(parts) == len(names) > 1:
        return names, tuple(map(_source, parts))
    return names, (_source(value),)


def _source(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Tuple | ast.List):
        return [name for part in target.elts for name in _names(part)]
    return [ast.unparse(target)]
