"""The chain rule read off the jaxpr of any function; see `Chain`.

The variables that the source code assigns are the nodes, so that `h = jnp.tanh(w1 * x)`
is one variable with one factor dh/dw1: the derivative of h with respect to w1 where all
other named variables are held. Where a function assigns nothing, each operation is a
node. Whichever variables are named, the products of the factors add up to the
derivative of the loss.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._core import scan_counts
from roboopt._errors import RobooptError, require
from roboopt.diagnose._backward import pull_back, values_and_cotangents
from roboopt.diagnose._chain_result import Chain, ChainNode, ScanNorms
from roboopt.diagnose._graph import (
    Equation,
    Graph,
    Variable,
    dependents,
    selections,
    trace,
)
from roboopt.diagnose._parameters import (
    Joined,
    element_name,
    leaf_names,
    parameters_of,
    require_scalar,
)
from roboopt.gradients import differentiating
from roboopt.report import number


def chain(function: Callable[..., Any], *args: Any) -> Chain:
    """Return the factors of the chain rule from the loss to each parameter.

    Args:
        function: any function in JAX that returns a scalar, such as a loss
            `function(weights, sample)` or an `Objective`.
        args: its arguments. The derivatives are by the floating-point arrays of the
            first one, except in `Frozen`; or by its numbers, if it has no arrays.

    `function` is traced as in `jax.jit`, and differentiated from its end: conditions on
    its numbers need `jnp.where` or `lax.cond`, and loops a known number of steps.

    Raises:
        RobooptError: if `function` does not return one finite real number, does not
            depend on the first argument, cannot be traced or differentiated, or nothing
            of the first argument can be differentiated by.
    """
    if not args:
        raise RobooptError("`args` must hold the parameters, got none.")
    params, fixed, static = parameters_of(args[0])
    leaves, structure = jax.tree.flatten(params)
    join = Joined(fixed, static)

    def loss(*leaves: Any) -> Any:
        model = join(jax.tree.unflatten(structure, leaves))
        return function(model, *args[1:])

    require_scalar("function", loss, *leaves)
    graph = trace(lambda *leaves: jnp.asarray(loss(*leaves)), *leaves)
    dependent = dependents(graph)
    if graph.output not in dependent:
        raise RobooptError(
            "`function` must depend on its first argument, got one whose value no "
            "parameter changes."
        )
    loops = [e for e in graph.equations if e.primitive == "while"]
    if any(v in dependent for loop in loops for v in loop.inputs):
        raise RobooptError(
            "`function` must be differentiable from its end, which a `while_loop` is "
            "not: use `lax.scan`, or `lax.fori_loop` with a known number of steps."
        )
    # XLA takes quadratic time to compile a long chain of numbers in one piece.
    with differentiating("function"):
        values, slopes, scans = values_and_cotangents(graph, leaves)
    output = float(values[graph.output])
    require(math.isfinite(output), "function", "be finite at its arguments", output)
    names = [
        element_name(name, (0,) * leaf.ndim if leaf.size == 1 else ())
        for name, leaf in zip(leaf_names(params, function), leaves, strict=True)
    ]
    return _Reader(graph, names, values, slopes, scans).chain()


class _Reader:
    """Names the variables of an evaluated graph, and finds the factors between them."""

    def __init__(
        self,
        graph: Graph,
        names: Sequence[str],
        values: dict[Variable, Any],
        slopes: dict[Variable, Any],
        scans: dict[Equation, dict[str, Any]],
    ):
        self.graph, self.values, self.slopes, self.scans = graph, values, slopes, scans
        self.dependent = dependents(graph)
        self.makers = {v: e for e in graph.equations for v in e.outputs}
        self.order = {e: k for k, e in enumerate(graph.equations)}
        self.names = dict(zip(graph.inputs, names, strict=True))
        self.taken = set(names)
        self.roots: dict[str, tuple[Variable, int | None]] = {
            name: (variable, None) for variable, name in self.names.items()
        }
        """For each parameter its array, and which element where it is one."""

    def chain(self) -> Chain:
        """Return the named variables with their values, derivatives and factors."""
        self.name_elements()
        shown = self.name_nodes()
        nodes: dict[str, ChainNode] = {}
        for variable in shown:
            node = self.node(variable, nodes)
            nodes[node.name] = node
        on_way = {p for node in nodes.values() for p in node.parameters}
        output = self.values[self.graph.output]
        return Chain(
            loss=float(output),
            parameters={
                name: self.derivative(*self.roots[name])
                for name in self.root_order()
                if name in on_way
            },
            sizes={
                name: 1 if index is not None else math.prod(array.shape)
                for name, (array, index) in self.roots.items()
                if name in on_way
            },
            unused=self.unused(on_way),
            nodes=tuple(nodes.values()),
            steps=tuple(map(self.steps, reversed(self.scans))),
            rounding=float(jnp.finfo(output.dtype).eps),
        )

    def name_elements(self) -> None:
        """Name the single elements that are selected from the parameters.

        The targets of `w1, w2 = weights` are the names; otherwise "weights[0]". An
        array of one element keeps its own name, however it is arranged.
        """
        made: dict[tuple[Variable, int], list[Variable]] = {}
        for variable, (origin, places) in selections(self.graph).items():
            single = origin in self.dependent and origin.shape and places.size == 1
            if single and variable is not origin:
                element = origin, int(np.ravel(places)[0])
                made.setdefault(element, []).append(variable)
        for (origin, index), variables in made.items():
            if math.prod(origin.shape) == 1:
                self.names |= dict.fromkeys(variables, self.names[origin])
                continue
            where = tuple(np.unravel_index(index, origin.shape))
            marks = [self.graph.assigned.get(v) for v in variables]
            own = [mark.name for mark in marks if mark is not None]
            name = self.unique([*own, element_name(self.names[origin], where)][0])
            self.roots[name] = origin, index
            self.names |= dict.fromkeys(variables, name)

    def name_nodes(self) -> list[Variable]:
        """Name the variables that are assigned, or else all; return them in order."""
        found = [
            v
            for equation in self.graph.equations
            for v in equation.outputs
            if v in self.slopes and v in self.dependent and v not in self.names
        ]
        assigned, output = self.graph.assigned, self.graph.output
        if any(v in assigned for v in found):
            found = [v for v in found if v in assigned or v is output]
        else:
            self.graph.returned.clear()
        numbers = itertools.count(1)
        for variable in found:
            if variable in assigned:
                name = assigned[variable].name
            else:
                name = "L" if variable is output else f"v{next(numbers)}"
            self.names[variable] = self.unique(name)
        return found

    def root_order(self) -> list[str]:
        """Return the names of the parameters, elements in the order of their arrays."""
        arrays = {v: k for k, v in enumerate(self.graph.inputs)}
        place = lambda name: (arrays[self.roots[name][0]], self.roots[name][1] or 0)  # noqa: E731
        return sorted(self.roots, key=place)

    def unused(self, on_way: set[str]) -> tuple[str, ...]:
        """Return the names of the arrays from which nothing leads to the loss."""
        used = {self.roots[name][0] for name in on_way}
        return tuple(
            name
            for name in self.root_order()
            if self.roots[name][0] not in used and self.roots[name][1] is None
        )

    def derivative(self, array: Variable, index: int | None) -> float:
        """Return the loss by a parameter; by an array, the norm."""
        slope = np.asarray(self.slopes[array])
        return _number(slope if index is None else slope.ravel()[index])

    def unique(self, name: str) -> str:
        """Return the name, with a number where it was taken before, as in a loop."""
        numbered = (f"{name}#{k}" for k in itertools.count(2))
        found = next(
            n for n in itertools.chain([name], numbered) if n not in self.taken
        )
        self.taken.add(found)
        return found

    def node(self, variable: Variable, nodes: dict[str, ChainNode]) -> ChainNode:
        """Return a named variable with its factors."""
        between, sources = self.between(variable)
        names = dict.fromkeys(self.names[v] for v in sources)
        above = {
            p for n in names for p in (nodes[n].parameters if n in nodes else (n,))
        }
        # A complex number has no one slope: it counts as an array of two numbers.
        numbers = all(
            math.prod(v.shape) == 1 and jnp.issubdtype(v.dtype, jnp.floating)
            for v in [variable, *sources]
        )
        value = np.asarray(self.values[variable])
        single, is_complex = value.size == 1, np.iscomplexobj(value)
        value = np.abs(value) if is_complex else value
        return ChainNode(
            name=self.names[variable],
            expression=self.expression(variable),
            shape=() if single else variable.shape,
            value=float(value.item() if single else np.sqrt(np.mean(value**2))),
            is_complex=is_complex,
            derivative=_number(self.slopes[variable]),
            parameters=tuple(
                dict.fromkeys(n for n in self.names.values() if n in above)
            ),
            factors=self.factors(between, variable, sources) if numbers else {},
        )

    def between(self, variable: Variable) -> tuple[list[Equation], list[Variable]]:
        """Return the named variables before one, and the equations from them to it."""
        found: dict[Variable, None] = {}
        equations: dict[Equation, None] = {}
        stack = [self.makers[variable]]
        while stack:
            equation = stack.pop()
            if equation in equations:
                continue
            equations[equation] = None
            for one in equation.inputs:
                if one in self.names and one in self.dependent:
                    found[one] = None
                elif one in self.makers and one in self.dependent:
                    stack.append(self.makers[one])
        inside = sorted(equations, key=self.order.__getitem__)
        return inside, [v for v in self.names if v in found]

    def factors(
        self, between: list[Equation], variable: Variable, sources: list[Variable]
    ) -> dict[str, float]:
        """Return the derivatives of a number by those that it is computed from."""
        slopes: dict[Variable, Any] = {variable: jnp.ones_like(self.values[variable])}
        for equation in reversed(between):
            given = [
                self.values[v] if v.constant is None else v.constant
                for v in equation.inputs
            ]
            wanted = [k for k, v in enumerate(equation.inputs) if v in self.dependent]
            inside = [v for v in equation.outputs if v in slopes and v not in sources]
            if not wanted or not inside:
                continue
            above = [
                (slopes[v] if v in inside else jnp.zeros_like(self.values[v]))
                if v.inexact
                else None
                for v in equation.outputs
            ]
            for k, slope in zip(
                wanted, pull_back(equation, given, wanted, above), strict=True
            ):
                source = equation.inputs[k]
                slopes[source] = slope + slopes.get(source, jnp.zeros_like(slope))
        found: dict[str, float] = {}
        for source in sources:
            name = self.names[source]
            found[name] = found.get(name, 0.0) + _number(slopes[source])
        return found

    def expression(self, variable: Variable) -> str:
        """Return the source that computes a variable, or the operation."""
        if variable in self.graph.assigned:
            return self.graph.assigned[variable].expression
        if variable in self.graph.returned:
            return self.graph.returned[variable]
        equation = self.makers[variable]
        parts = [
            _constant(v.constant)
            if v.constant is not None and math.prod(v.shape) == 1
            else self.names.get(v, "·")
            for v in equation.inputs
        ]
        if equation.primitive == "integer_pow":
            parts.append(str(equation.params["y"]))
        return f"{equation.primitive}({', '.join(parts)})"

    def steps(self, equation: Equation) -> ScanNorms:
        """Return the norms in a scan, named for its first result that has a name."""
        found = self.scans[equation]
        names = [self.names[v] for v in equation.outputs if v in self.names]
        name = names[0] if names else f"scan of {equation.params['length']} steps"
        carry = np.asarray(found["carry"], float)
        entering = np.asarray(found["entering"], float)
        first = sum(scan_counts(equation.params))
        layered = any(v in self.dependent for v in equation.inputs[first:])
        sizes = np.asarray(found["sizes"], float)
        return ScanNorms(name, carry, entering, sizes, layered)


def _constant(value: Any) -> str:
    """Return the text of a constant of one element."""
    one = np.asarray(value).item()
    return f"{one:.4g}" if isinstance(one, complex) else number(float(one))


def _number(value: Any) -> float:
    """Return a number, or the norm of an array."""
    array = np.asarray(value)
    if array.size == 1 and not np.iscomplexobj(array):
        return float(array.item())
    return float(np.linalg.norm(array.astype(complex)))
