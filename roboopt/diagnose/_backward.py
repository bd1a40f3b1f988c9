"""The values of a graph's variables, and the derivatives of its output by them.

The derivatives are found from the output backwards, equation by equation, and through a
scan step by step, so that those in between are known too.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp

from roboopt._core import scan_counts
from roboopt.diagnose._graph import Equation, Graph, Variable, dependents


def values_and_cotangents(
    graph: Graph, inputs: Sequence[Any]
) -> tuple[dict[Variable, Any], dict[Variable, Any], dict[Equation, dict[str, Any]]]:
    """Evaluate every variable, and the derivative of the output by it.

    Returns:
        The values, the derivatives of the (scalar) output, and for each scan the norms
        of the derivatives by its carry, step by step.
    """
    values = dict(zip(graph.inputs, inputs, strict=True))
    read = lambda v: values[v] if v.constant is None else v.constant  # noqa: E731
    for equation in graph.equations:
        made = equation.apply(*map(read, equation.inputs))
        values.update(zip(equation.outputs, made, strict=True))
    dependent = dependents(graph)
    cotangents: dict[Variable, Any] = {
        graph.output: jnp.ones_like(values[graph.output])
    }
    scans = {}
    for equation in reversed(graph.equations):
        wanted = [k for k, v in enumerate(equation.inputs) if v in dependent]
        if not wanted or not any(v in cotangents for v in equation.outputs):
            continue
        given = [read(v) for v in equation.inputs]
        above = [
            cotangents.get(v, jnp.zeros_like(values[v])) if v.inexact else None
            for v in equation.outputs
        ]
        if equation.primitive == "scan":
            found, scans[equation] = scan_cotangents(
                equation, given, above, set(wanted)
            )
            found = [found[k] for k in wanted]
        else:
            found = pull_back(equation, given, wanted, above)
        for k, slope in zip(wanted, found, strict=True):
            variable = equation.inputs[k]
            before = cotangents.get(variable)
            cotangents[variable] = slope if before is None else before + slope
    return values, cotangents, scans


def pull_back(
    equation: Equation, given: Sequence[Any], wanted: Sequence[int], above: Any
) -> Sequence[Any]:
    """Return the derivatives by the wanted inputs from those by the outputs."""

    def outputs(*chosen):
        full = list(given)
        for k, value in zip(wanted, chosen, strict=True):
            full[k] = value
        made = equation.apply(*full)
        return [m for m, slope in zip(made, above, strict=True) if slope is not None]

    _, back = jax.vjp(outputs, *(given[k] for k in wanted))
    return back([slope for slope in above if slope is not None])


def scan_cotangents(
    equation: Equation, given: Sequence[Any], above: Sequence[Any], wanted: set[int]
) -> tuple[list[Any], dict[str, Any]]:
    """Differentiate a scan, and keep the norm of the derivatives in every step.

    Args:
        equation: the scan.
        given: the inputs.
        above: the derivatives by the outputs.
        wanted: which of the inputs depend on the parameters.

    Returns:
        The derivatives by the inputs (None for integers); "carry", the norms of the
        derivatives by the carry before each step and after the last; "sizes", the norms
        of the carry itself; and "entering", those of what each step adds to the
        derivatives by the parameters: through the constants, or through its rows.
    """
    params = equation.params
    first, count = scan_counts(params)
    body = jex.core.jaxpr_as_fun(params["jaxpr"])
    turn = (lambda x: x[::-1]) if params["reverse"] else (lambda x: x)
    consts, init = list(given[:first]), list(given[first : first + count])
    rows = [turn(x) for x in given[first + count :]]

    def forward(carry, row):
        return body(*consts, *carry, *row)[:count], carry

    last, carries = jax.lax.scan(forward, init, rows, length=params["length"])
    slopes_last = above[:count]
    slopes_rows = [None if s is None else turn(s) for s in above[count:]]
    inputs = [*consts, *init, *rows]
    inexact = [jnp.issubdtype(x.dtype, jnp.inexact) for x in inputs]

    def backward(carry, row):
        slopes, total = carry
        before, x, slopes_y = row
        here = [*consts, *before, *x]
        free = [v for v, ok in zip(here, inexact, strict=True) if ok]

        def outputs(*chosen):
            left = iter(chosen)
            full = [
                next(left) if ok else v for v, ok in zip(here, inexact, strict=True)
            ]
            made = body(*full)
            own = [*slopes, *slopes_y]
            return [m for m, s in zip(made, own, strict=True) if s is not None]

        _, back = jax.vjp(outputs, *free)
        left = iter(back([s for s in [*slopes, *slopes_y] if s is not None]))
        found = [next(left) if ok else None for ok in inexact]
        added, slopes = found[:first], found[first : first + count]
        slopes = [
            None if above_one is None else (jnp.zeros_like(v) if s is None else s)
            for s, v, above_one in zip(slopes, before, slopes_last, strict=True)
        ]
        total = [
            None if t is None else t + a for t, a in zip(total, added, strict=True)
        ]
        carried = range(first, first + count)
        entering = [f for k, f in enumerate(found) if k in wanted and k not in carried]
        record = found[first + count :], global_norm(slopes), global_norm(entering)
        return (slopes, total), record

    start = [
        jnp.zeros_like(c) if ok else None
        for c, ok in zip(consts, inexact[:first], strict=True)
    ]
    (slopes, total), (slopes_x, norms, entering) = jax.lax.scan(
        backward, (slopes_last, start), (carries, rows, slopes_rows), reverse=True
    )
    slopes_x = [None if s is None else turn(s) for s in slopes_x]
    moving = inexact[first : first + count]
    every = [x for x, ok in zip(carries, moving, strict=True) if ok]
    ends = [x for x, ok in zip(last, moving, strict=True) if ok]
    lengths = jax.vmap(global_norm)(every) if every else jnp.zeros_like(norms)
    steps = {
        "carry": jnp.append(norms, global_norm(slopes_last)),
        "sizes": jnp.append(lengths, global_norm(ends)),
        "entering": entering,
    }
    return [*total, *slopes, *slopes_x], steps


def global_norm(parts: Sequence[Any]) -> Any:
    """Return the Euclidean norm of all arrays together, None left out."""
    squares = [jnp.sum(jnp.abs(part) ** 2) for part in parts if part is not None]
    return jnp.sqrt(sum(squares, jnp.zeros(())))
