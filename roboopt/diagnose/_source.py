"""Which variables of the source code a traced function assigns its values to.

While JAX traces a function, Python runs its lines. After a line that assigns, the value
of its target is marked: an equation in the jaxpr, which changes nothing, holds the name
of the target and the expression that the line assigns to it. So a variable has the name
that its function gives it, however many helpers, jitted functions and methods computed
it on the way.
"""

import ast
import functools
import json
import linecache
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

SKIPPED = ("jax", "jaxlib", "jaxtyping", "beartype")
"""Packages whose lines are no user's code."""
FLAX_WRAPPERS = ("module.py", "transforms.py", "lift.py", "scope.py", "summary.py")
"""Files of flax that call a user's methods, and compute nothing."""
MARK = "roboopt:"
MAX_LEAVES = 32  # of an assigned tuple, dictionary or module that are named


class Assignment(NamedTuple):
    """What a line assigns: the name of its target, and the expression."""

    name: str
    """Empty for what a function returns."""
    expression: str


class Target(NamedTuple):
    """One target of a statement."""

    node: ast.expr
    assignment: Assignment


def mark_of(equation: Any) -> Assignment | None:
    """Return the assignment that an equation marks, None for any other equation."""
    said = equation.params.get("name") if equation.primitive.name == "name" else None
    if not isinstance(said, str) or not said.startswith(MARK):
        return None
    return Assignment(*json.loads(said.removeprefix(MARK)))


@contextmanager
def watched() -> Iterator[None]:
    """Mark what the lines assign that Python runs in this context.

    A function under `jax.jit` that was traced before is traced anew, with its marks.
    """
    before = sys.gettrace()
    with _apart():
        sys.settrace(_on_call)
        try:
            yield
        finally:
            sys.settrace(before)


@functools.cache
def _context() -> Any:
    made = getattr(jax, "make_user_context", None)  # Since JAX 0.8.
    return None if made is None else made(False)


def _apart() -> AbstractContextManager:
    """Return a context in which JAX does not take traces from its usual caches."""
    context = _context()
    return nullcontext() if context is None else context(True)


def _on_call(frame: FrameType, event: str, value: Any) -> Any:
    """Watch the lines of a function, unless they are a library's."""
    file = frame.f_code.co_filename
    if event != "call" or _skipped(file) or not (lines := _lines(file)):
        return None
    assigned, returned = lines
    held: dict[Assignment, Any] = {}
    pending: tuple[Target, ...] = ()

    def on_line(frame: FrameType, event: str, value: Any) -> Any:
        nonlocal pending
        if event not in ("line", "return"):
            return on_line
        for target in pending:
            new = _value(target.node, frame)
            if new is not held.get(target.assignment):
                held[target.assignment] = new
                _mark(new, target.assignment)
        if event == "return":
            if frame.f_lineno in returned and _is_outermost(frame):
                _mark(value, Assignment("", returned[frame.f_lineno]))
            return on_line
        pending = assigned.get(frame.f_lineno, ())
        for target in pending:
            held[target.assignment] = _value(target.node, frame)
        return on_line

    return on_line


def _is_outermost(frame: FrameType) -> bool:
    """Return whether a library, or this package's `chain`, called the function."""
    caller = frame.f_back
    return caller is None or _skipped(caller.f_code.co_filename)


def _value(node: ast.expr, frame: FrameType) -> Any:
    """Return the value of a target, None where it has none or is not a plain one."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), "__dict__", {}).get(node.attr)
    if isinstance(node, ast.Subscript):
        holder, key = _value(node.value, frame), node.slice
        key = key.value if isinstance(key, ast.Constant) else _value(key, frame)
        plain = isinstance(holder, dict | list) and isinstance(key, str | int)
        known = plain and (key in holder if isinstance(holder, dict) else True)
        return holder[key] if known else None  # pyright: ignore
    return None


def _mark(value: Any, assignment: Assignment) -> None:
    """Mark the traced numbers in a value; of a tuple or a module each array."""
    leaves = [((), value)]
    if isinstance(value, tuple | list | dict | eqx.Module):
        leaves = jax.tree_util.tree_leaves_with_path(value)
    for path, leaf in leaves[:MAX_LEAVES]:
        if not isinstance(leaf, jax.core.Tracer):
            continue
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            name = assignment.name and assignment.name + jax.tree_util.keystr(path)
            checkpoint_name(leaf, MARK + json.dumps([name, assignment.expression]))


@functools.cache
def _skipped(file: str) -> bool:
    """Return whether a file is that of a library, or of this package."""
    path, parts = Path(file), Path(file).parts
    if path.parent == Path(__file__).parent:
        return True
    if "site-packages" not in parts:
        return Path(sysconfig.get_path("stdlib")) in path.parents
    inside = parts[parts.index("site-packages") + 1 :]
    if inside[0] == "equinox":
        return inside[1] != "nn"
    wraps = inside[0] == "flax" and inside[-1] in FLAX_WRAPPERS
    return inside[0] in SKIPPED or wraps


def _lines(file: str) -> tuple[dict[int, tuple[Target, ...]], dict[int, str]]:
    """Return the targets that are assigned on each line, and what is returned."""
    return _parsed("".join(linecache.getlines(file)))


@functools.lru_cache(maxsize=256)
def _parsed(source: str) -> tuple[dict[int, tuple[Target, ...]], dict[int, str]]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}, {}
    assigned: dict[int, tuple[Target, ...]] = {}
    returned: dict[int, str] = {}
    for node in ast.walk(tree):
        targets = tuple(_targets(node))
        if isinstance(node, ast.Return) and node.value is not None:
            expression = _source(node.value)
            returned |= dict.fromkeys(_span(node), expression)
        elif targets:
            for line in _span(node):
                assigned[line] = (*assigned.get(line, ()), *targets)
    return assigned, returned


def _span(node: Any) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _targets(node: Any) -> Iterator[Target]:
    """Yield the targets of a statement, with the expression for each, or for all."""
    if isinstance(node, ast.AugAssign):
        whole = ast.BinOp(node.target, node.op, node.value)
        yield _target(node.target, whole)
        return
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        targets = [node.target]
    else:
        return
    value = cast(ast.expr, node.value)
    for target in targets:
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        names = list(_names(target))
        if len(parts) != len(names) or len(names) == 1:
            parts = [value] * len(names)
        yield from map(_target, names, parts)


def _target(node: ast.expr, value: ast.expr) -> Target:
    return Target(node, Assignment(_source(node), _source(value)))


def _source(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _names(target: ast.expr) -> Iterator[ast.expr]:
    """Yield the single targets in a target."""
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _names(part)
    else:
        yield target.value if isinstance(target, ast.Starred) else target
