"""The computation graph of a traced function, in the words of its source code.

The equations of a jaxpr are listed with calls inlined. A variable of the graph has the
name of the Python variable that it is assigned to: JAX keeps the lines of source for
each equation, and the line says `h = w1 * x`. What no statement assigns is numbered v1,
v2, ….
"""

import ast
import functools
import linecache
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np

CALLS = {
    **{"jit": "jaxpr", "pjit": "jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr"},
    **{"closed_call": "call_jaxpr", "core_call": "call_jaxpr"},
}
"""Primitives that only call a jaxpr, and the parameter that holds it."""
VIEWS = (
    *("convert_element_type", "reshape", "squeeze", "copy", "broadcast_in_dim"),
    *("slice", "dynamic_slice", "gather", "transpose", "rev"),
)
"""Primitives that select or arrange elements of their first input."""
MAX_INDEX_SIZE = 64
"""Numbers that an index is computed from."""
SKIPPED = ("jax", "jaxlib", "jaxtyping", "beartype")
"""Packages whose lines are no user's code."""
RETURN = ("L",)
"""Name of what a function returns."""


@dataclass(eq=False)
class Variable:
    """An array that the function computes, or is given."""

    shape: tuple[int, ...]
    dtype: Any
    constant: Any = None

    @property
    def inexact(self) -> bool:
        """Whether derivatives by the array exist."""
        return jnp.issubdtype(self.dtype, jnp.inexact)


@dataclass(eq=False)
class Equation:
    """A primitive with its inputs and outputs, and where the source assigns it."""

    primitive: str
    inputs: list[Variable]
    outputs: list[Variable]
    params: dict[str, Any]
    apply: Callable[..., list[Any]]
    """The outputs as a function of the inputs."""
    place: "Place | None"


@dataclass(frozen=True)
class Place:
    """An assignment in the source code, and how far its evaluation has come."""

    file: str
    line: int
    names: tuple[str, ...]
    offset: int = field(compare=False)


@dataclass(eq=False)
class Graph:
    """The equations of a function, in order."""

    inputs: list[Variable]
    equations: list[Equation]
    output: Variable


def trace(function: Callable[..., Any], *args: Any) -> Graph:
    """Return the graph of a function of arrays that returns one array."""
    closed = jax.make_jaxpr(function)(*args)
    inputs = [_variable(var.aval) for var in closed.jaxpr.invars]
    equations: list[Equation] = []
    outputs = _inline(closed, inputs, equations)
    if all(e.place is None or e.place.names == RETURN for e in equations):
        for equation in equations:  # one expression, of which each operation counts
            equation.place = None
    return Graph(inputs, equations, outputs[0])


def _changes_nothing(eqn: Any) -> bool:
    """Return whether an equation only strengthens a weak type."""
    if eqn.primitive.name not in ("convert_element_type", "copy", "copy_p"):
        return False
    before, after = eqn.invars[0].aval, eqn.outvars[0].aval
    return (before.shape, before.dtype) == (after.shape, after.dtype)


def _variable(aval: Any) -> Variable:
    return Variable(tuple(aval.shape), aval.dtype)


def _constant(value: Any) -> Variable:
    return Variable(tuple(np.shape(value)), jnp.result_type(value), value)


def _inline(
    closed: Any, inputs: Sequence[Variable], equations: list[Equation]
) -> list[Variable]:
    jaxpr = getattr(closed, "jaxpr", closed)
    known = dict(zip(jaxpr.invars, inputs, strict=True))
    consts = getattr(closed, "consts", ())
    known |= {v: _constant(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}

    def look(atom: Any) -> Variable:
        if isinstance(atom, jex.core.Literal):
            return _constant(np.asarray(atom.val, atom.aval.dtype))  # pyright: ignore
        return known[atom]

    for eqn in jaxpr.eqns:
        given = [look(atom) for atom in eqn.invars]
        if eqn.primitive.name in CALLS:
            made = _inline(eqn.params[CALLS[eqn.primitive.name]], given, equations)
        elif _changes_nothing(eqn):
            made = given
        else:
            made = [_variable(var.aval) for var in eqn.outvars]
            equations.append(
                Equation(
                    eqn.primitive.name,
                    given,
                    made,
                    eqn.params,
                    _function(jaxpr, eqn),
                    _place(eqn.source_info.traceback),
                )
            )
        known.update(zip(eqn.outvars, made, strict=True))
    return [look(atom) for atom in jaxpr.outvars]


def _function(jaxpr: Any, eqn: Any) -> Callable[..., list[Any]]:
    """Return the outputs of one equation as a function of its inputs."""
    literal = [isinstance(atom, jex.core.Literal) for atom in eqn.invars]
    variables = [v for v, fixed in zip(eqn.invars, literal, strict=True) if not fixed]
    unique = list(dict.fromkeys(variables))
    alone = jaxpr.replace(
        constvars=[], invars=unique, outvars=list(eqn.outvars), eqns=[eqn]
    )
    function = jex.core.jaxpr_as_fun(jex.core.ClosedJaxpr(alone, []))

    def apply(*values: Any) -> list[Any]:
        # The derivative by a variable that comes twice is that of its last place.
        given = [v for v, fixed in zip(values, literal, strict=True) if not fixed]
        known = dict(zip(variables, given, strict=True))
        return function(*known.values())

    return apply


def _place(traceback: Any) -> Place | None:
    """Return the innermost assignment that an equation was traced in.

    Without one, the outermost `return` of the traced function stands for "L".
    """
    returned = None
    for file, line, offset in _frames(traceback):  # from the innermost call outwards
        if Path(file).parent == Path(__file__).parent:
            break  # The call of this package.
        found = None if _skipped(file) else _statements(file).get(line)
        if found is None:
            continue
        place = Place(file, *found, offset=offset)
        if place.names != RETURN:
            return place
        returned = place
    return returned


def _frames(traceback: Any) -> Iterator[tuple[str, int, int]]:
    """Yield file, line and bytecode offset of each frame, the innermost first."""
    if traceback is None:
        return
    for code, offset in zip(*traceback.raw_frames(), strict=True):
        # The statement around a lambda is not evaluated where the lambda is called.
        if code.co_name not in ("<lambda>", "<listcomp>", "<genexpr>", "<dictcomp>"):
            yield code.co_filename, traceback.code_addr2line(code, offset), offset


def _skipped(file: str) -> bool:
    parts = Path(file).parts
    if "site-packages" not in parts:
        return False
    inside = parts[parts.index("site-packages") + 1 :]
    return inside[0] in SKIPPED or (inside[0] == "equinox" and inside[1] != "nn")


@functools.cache
def _statements(file: str) -> dict[int, tuple[int, tuple[str, ...]]]:
    """Return for each line of a file its assignment or return: first line, names."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Return):
            names = RETURN
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            names = tuple(_names(node.targets[0]))
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            names = tuple(_names(node.target))
        else:
            continue
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            found[line] = (node.lineno, names)
    return found


def _names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Tuple | ast.List):
        return [name for part in target.elts for name in _names(part)]
    return [ast.unparse(target)]


def right_hand_side(place: Place) -> str:
    """Return the expression of an assignment or a `return`."""
    for node in ast.walk(ast.parse("".join(linecache.getlines(place.file)))):
        value = getattr(node, "value", None)
        statement = isinstance(node, ast.stmt | ast.NamedExpr)
        if statement and node.lineno == place.line and value is not None:
            return " ".join(ast.unparse(value).split())
    return ""


def runs(equations: Sequence[Equation]) -> list[list[Equation]]:
    """Return the equations in runs that one statement computes at one time.

    An equation outside of any assignment is a run of its own. A loop comes to the same
    statement again: its bytecode then starts from a lower offset.
    """
    found: list[list[Equation]] = []
    for equation in equations:
        place = equation.place
        last = found[-1][-1].place if found else None
        if place is None or last is None or place != last or place.offset < last.offset:
            found.append([])
        found[-1].append(equation)
    return found


def dependents(graph: Graph) -> set[Variable]:
    """Return the inexact variables that depend on the inputs."""
    found = {v for v in graph.inputs if v.inexact}
    for equation in graph.equations:
        if any(v in found for v in equation.inputs):
            found |= {v for v in equation.outputs if v.inexact}
    return found


def selections(graph: Graph) -> dict[Variable, tuple[Variable, np.ndarray]]:
    """Return the variables that are elements of an input: the input, and which ones.

    Each primitive that selects elements is applied to the numbers of the elements.
    """
    found = {
        v: (v, np.arange(math.prod(v.shape)).reshape(v.shape)) for v in graph.inputs
    }
    known: dict[
        Variable, Any
    ] = {}  # Variables that depend on no input, such as indices.

    def value(variable: Variable) -> Any:
        return known.get(variable) if variable.constant is None else variable.constant

    for equation in graph.equations:
        given = [value(v) for v in equation.inputs]
        source = equation.inputs[0] if equation.inputs else None
        if all(v is not None for v in given):
            small = sum(map(np.size, given)) <= MAX_INDEX_SIZE
            if small and equation.primitive not in ("scan", "while"):
                known.update(zip(equation.outputs, equation.apply(*given), strict=True))
        elif source in found and equation.primitive in VIEWS:
            if any(v is None for v in given[1:]):
                continue
            origin, places = found[source]
            if equation.primitive != "convert_element_type":
                numbers = jnp.asarray(places, source.dtype)
                places = np.asarray(equation.apply(numbers, *given[1:])[0]).astype(int)
            found[equation.outputs[0]] = origin, places
    return found
