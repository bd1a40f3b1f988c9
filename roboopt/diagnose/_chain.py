"""The chain rule read off the jaxpr of any function; see `Chain`.

The variables of the graph are grouped by the statement of the source that assigns them,
so that `h = jnp.tanh(w1 * x)` is one variable with one factor dh/dw1.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.diagnose._backward import pull_back, values_and_cotangents
from roboopt.diagnose._chain_result import Chain, ChainNode, ScanNorms
from roboopt.diagnose._graph import (
    Equation,
    Graph,
    Variable,
    dependents,
    runs,
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
from roboopt.diagnose._source import RETURN
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
        RobooptError: if `function` does not return one real number, does not depend on
            the first argument, cannot be traced or differentiated, or nothing of the
            first argument can be differentiated by.
    """
    if not args:
        raise RobooptError("`args` must hold the parameters, got none.")
    params, fixed, static = parameters_of(args[0])
    leaves, structure = jax.tree.flatten(params)
    join = Joined(fixed, static)

    def loss(*leaves: Any) -> Any:
        model = join(jax.tree.unflatten(structure, leaves))
        return jnp.asarray(function(model, *args[1:]))

    require_scalar("function", loss, *leaves)
    graph = trace(loss, *leaves)
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
    held: dict[str, Any] = {}

    @jax.jit
    def evaluate(*leaves):
        values, slopes, scans = values_and_cotangents(graph, leaves)
        held["keys"] = list(values), list(slopes), list(scans)
        return list(values.values()), list(slopes.values()), list(scans.values())

    got = evaluate(*leaves)
    values, slopes, scans = (
        dict(zip(keys, part, strict=True))
        for keys, part in zip(held["keys"], got, strict=True)
    )
    names = leaf_names(params, function)
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
        self.names = dict(zip(graph.inputs, names, strict=True))
        self.taken = set(names)
        self.roots: dict[str, tuple[Variable, int | None]] = {
            name: (variable, None) for variable, name in self.names.items()
        }
        """For each parameter its array, and which element where it is one."""
        self.targets: dict[Variable, str] = {}
        """The names in the source, which a loop uses again."""
        self.numbers = itertools.count(1)

    def chain(self) -> Chain:
        """Return the named variables with their values, derivatives and factors."""
        groups = runs(self.graph.equations)
        self.name_elements(groups)
        users: dict[Variable, set[int]] = {}
        for k, group in enumerate(groups):
            for variable in (v for e in group for v in e.inputs):
                users.setdefault(variable, set()).add(k)
        nodes: dict[str, ChainNode] = {}
        for k, group in enumerate(groups):
            outputs = [
                v
                for v in (v for e in group for v in e.outputs)
                if v in self.slopes
                and v in self.dependent
                and v not in self.names
                and (v is self.graph.output or users.get(v, set()) - {k})
            ]
            self.name_outputs(group, outputs)
            for variable in outputs:
                node = self.node(group, variable, nodes)
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

    def name_elements(self, groups: list[list[Equation]]) -> None:
        """Name the single elements that are selected from the parameters.

        The targets of `w1, w2 = weights` are the names; otherwise "weights[0]".
        """
        selected = selections(self.graph)
        known: dict[tuple[Variable, int], str] = {}
        for group in groups:
            made: dict[tuple[Variable, int], list[Variable]] = {}
            for variable in (v for e in group for v in e.outputs):
                origin, places = selected.get(variable, (None, np.empty(0)))
                if origin in self.dependent and origin.shape and places.size == 1:
                    element = origin, int(places.ravel()[0])
                    made.setdefault(element, []).append(variable)
            place = group[-1].place
            own = () if place is None else place.names
            only = all(v in selected for e in group for v in e.outputs)
            for k, ((origin, index), variables) in enumerate(made.items()):
                where = tuple(np.unravel_index(index, origin.shape))
                name = element_name(self.names[origin], where)
                name = own[k] if only and len(own) == len(made) else name
                if (origin, index) not in known:
                    known[origin, index] = self.unique(name)
                    self.roots[known[origin, index]] = origin, index
                self.names |= dict.fromkeys(variables, known[origin, index])

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

    def name_outputs(self, group: list[Equation], outputs: list[Variable]) -> None:
        """Name what a group computes for others, by its assignment."""
        place, last = group[-1].place, group[-1].outputs
        targets = () if place is None or place.names == RETURN else place.names
        targets = [name for name in targets if name != "_"]
        for k, variable in enumerate(outputs):
            if variable in last and len(last) == len(targets):
                name = targets[last.index(variable)]
            elif len(outputs) == len(targets):
                name = targets[k]
                self.targets[variable] = name
            elif len(targets) == 1:
                name = f"{targets[0]}[{k}]"
            elif variable is self.graph.output:
                name = "L"
            else:
                name = f"v{next(self.numbers)}"
            self.names[variable] = self.unique(name)

    def unique(self, name: str) -> str:
        """Return the name, with a number where it was taken before, as in a loop."""
        numbered = (f"{name}#{k}" for k in itertools.count(2))
        found = next(
            n for n in itertools.chain([name], numbered) if n not in self.taken
        )
        self.taken.add(found)
        return found

    def node(
        self, group: list[Equation], variable: Variable, nodes: dict[str, ChainNode]
    ) -> ChainNode:
        """Return a named variable with its factors."""
        sources = self.sources(group, variable)
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
            expression=self.expression(group, variable),
            shape=() if single else variable.shape,
            value=float(value.item() if single else np.sqrt(np.mean(value**2))),
            is_complex=is_complex,
            derivative=_number(self.slopes[variable]),
            parameters=tuple(
                dict.fromkeys(n for n in self.names.values() if n in above)
            ),
            factors=self.factors(group, variable, sources) if numbers else {},
        )

    def sources(self, group: list[Equation], variable: Variable) -> list[Variable]:
        """Return the named variables that the group computes `variable` from."""
        makers = {v: e for e in group for v in e.outputs}
        found, stack = {}, list(makers[variable].inputs)
        while stack:
            one = stack.pop()
            if one in self.names and one in self.dependent:
                found[one] = None
            elif one in makers:
                stack += makers[one].inputs
        return [v for v in self.names if v in found]

    def factors(
        self, group: list[Equation], variable: Variable, sources: list[Variable]
    ) -> dict[str, float]:
        """Return the derivatives of a number by those that it is computed from."""
        slopes: dict[Variable, Any] = {variable: jnp.ones_like(self.values[variable])}
        for equation in reversed(group):
            given = [
                self.values[v] if v.constant is None else v.constant
                for v in equation.inputs
            ]
            wanted = [k for k, v in enumerate(equation.inputs) if v in self.dependent]
            inside = [v for v in equation.outputs if v in slopes and v not in sources]
            if not wanted or not inside:
                continue
            above = [
                slopes.get(v, jnp.zeros_like(self.values[v])) if v.inexact else None
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

    def expression(self, group: list[Equation], variable: Variable) -> str:
        """Return the source that computes a variable, or the operation."""
        equation = next(e for e in group if variable in e.outputs)
        if equation.place is not None:
            return equation.place.expression(self.targets.get(variable, ""))
        parts = [
            number(float(np.asarray(v.constant).ravel()[0]))
            if v.constant is not None and math.prod(v.shape) == 1
            else self.names.get(v, "·")
            for v in equation.inputs
        ]
        return f"{equation.primitive}({', '.join(parts)})"

    def steps(self, equation: Equation) -> ScanNorms:
        """Return the norms in a scan, named for its first result that has a name."""
        found = self.scans[equation]
        names = [self.names[v] for v in equation.outputs if v in self.names]
        name = names[0] if names else f"scan of {equation.params['length']} steps"
        carry = np.asarray(found["carry"], float)
        return ScanNorms(name, carry, np.asarray(found["entering"], float))


def _number(value: Any) -> float:
    """Return a number, or the norm of an array."""
    array = np.asarray(value)
    if array.size == 1 and not np.iscomplexobj(array):
        return float(array.item())
    return float(np.linalg.norm(array.astype(complex)))
