"""The computation graph of a traced function, in the words of its source code.

The equations of a jaxpr are listed with calls inlined. A variable of the graph has the
name of the Python variable that it is assigned to (see `_source`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np

from roboopt.diagnose._source import Assignment, mark_of, watched

CALLS = {
    **{"jit": "jaxpr", "pjit": "jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr"},
    **{"closed_call": "call_jaxpr", "core_call": "call_jaxpr"},
}
"""Primitives that only call a jaxpr, and the parameter that holds it."""
VIEWS = (
    *("convert_element_type", "reshape", "squeeze", "copy", "broadcast_in_dim"),
    *("slice", "dynamic_slice", "gather", "transpose", "rev", "split", "unstack"),
)
"""Primitives that select or arrange elements of their first input."""
MAX_INDEX_SIZE = 64
"""Numbers that an index is computed from."""


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
    """A primitive with its inputs and outputs."""

    primitive: str
    inputs: list[Variable]
    outputs: list[Variable]
    params: dict[str, Any]
    apply: Callable[..., list[Any]]
    """The outputs as a function of the inputs."""


@dataclass(eq=False)
class Graph:
    """The equations of a function, in order."""

    inputs: list[Variable]
    output: Variable
    equations: list[Equation] = field(default_factory=list)
    assigned: dict[Variable, Assignment] = field(default_factory=dict)
    """The variables that a line of the source assigns, and what the line says."""
    returned: dict[Variable, str] = field(default_factory=dict)
    """The expressions of what functions return, the outermost of each variable."""


def trace(function: Callable[..., Any], *args: Any) -> Graph:
    """Return the graph of a function of arrays that returns one array."""
    with watched():
        closed = jax.make_jaxpr(function)(*args)
    inputs = [_variable(var.aval) for var in closed.jaxpr.invars]
    graph = Graph(inputs, inputs[0])
    graph.output = _inline(closed, inputs, graph)[0]
    if graph.output in selections(graph):
        _add_identity(graph)
    return graph


def _add_identity(graph: Graph) -> None:
    """Make the output a variable of its own, where it is an element of an input."""
    given = graph.output
    graph.output = Variable(given.shape, given.dtype)
    one = Equation("identity", [given], [graph.output], {}, lambda value: [value])
    graph.equations.append(one)
    if given in graph.returned:
        graph.returned[graph.output] = graph.returned[given]


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


def _inline(closed: Any, inputs: Sequence[Variable], graph: Graph) -> list[Variable]:
    """Append the equations of a jaxpr to a graph, and return its outputs."""
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
        if (mark := mark_of(eqn)) is not None:
            if mark.name:
                graph.assigned.setdefault(given[0], mark)
            else:
                graph.returned[given[0]] = mark.expression
            made = given
        elif eqn.primitive.name in CALLS:
            made = _inline(eqn.params[CALLS[eqn.primitive.name]], given, graph)
        elif _changes_nothing(eqn):
            made = given
        else:
            made = [_variable(var.aval) for var in eqn.outvars]
            name, apply = eqn.primitive.name, _function(jaxpr, eqn)
            graph.equations.append(Equation(name, given, made, eqn.params, apply))
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
        given = [
            jnp.asarray(v) if isinstance(v, np.ndarray) else v
            for v, fixed in zip(values, literal, strict=True)
            if not fixed
        ]
        known = dict(zip(variables, given, strict=True))
        return function(*known.values())

    return apply


def dependents(graph: Graph) -> set[Variable]:
    """Return the inexact variables that depend on the inputs."""
    found = {v for v in graph.inputs if v.inexact}
    for equation in graph.equations:
        if any(v in found for v in equation.inputs):
            found |= {v for v in equation.outputs if v.inexact}
    return found


def selections(graph: Graph) -> dict[Variable, tuple[Variable, np.ndarray]]:
    """Return the variables that are elements of an input: the input, and which ones."""
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
            every = [places]
            if equation.primitive != "convert_element_type":
                every = equation.apply(jnp.asarray(places, source.dtype), *given[1:])
            for output, numbers in zip(equation.outputs, every, strict=True):
                found[output] = origin, np.asarray(numbers).astype(int)
    return found
