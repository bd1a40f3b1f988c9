"""A traced function as a list of operations: calls inlined, constants computed.

JAX traces a function to a jaxpr, whose equations apply primitives or call further
jaxprs. A `Program` holds the same equations without calls, without those that depend on
no input, and without those whose results nothing uses. Loops are unrolled, and all
branches are computed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np

IDENTITIES = ("stop_gradient", "copy", "copy_p", "optimization_barrier", "device_put")
REARRANGEMENTS = (
    *("slice", "squeeze", "reshape", "rev", "transpose", "split", "tile", "gather"),
)
CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
MAX_UNROLLED_STEPS = 64
MAX_CONSTANT_SIZE = 10_000  # elements, unless the inputs are larger


@dataclass(eq=False)
class Value:
    """An array: an input, the result of an operation, or a constant."""

    shape: tuple[int, ...]
    dtype: Any
    constant: Any = None


@dataclass(eq=False)
class Operation:
    """A primitive and what it is applied to."""

    primitive: str
    inputs: list[Value]
    output: Value
    params: dict[str, Any]


@dataclass(eq=False)
class Program:
    """Operations in order, their inputs and their results."""

    inputs: list[Value]
    operations: list[Operation]
    outputs: list[Value]

    def reads(self) -> set[Value]:
        """Return the values that its operations and results depend on."""
        read = [value for operation in self.operations for value in operation.inputs]
        return {*read, *self.outputs}


def read(closed: Any) -> Program:
    """Return a closed jaxpr as a program."""
    inputs = [_value(var.aval) for var in closed.jaxpr.invars]
    operations: list[Operation] = []
    outputs = _inline(closed, inputs, operations)
    needed, kept = set(outputs), []
    for operation in reversed(operations):
        if operation.output in needed:
            needed.update(operation.inputs)
            kept.append(operation)
    return Program(inputs, kept[::-1], outputs)


def constant(array: Any) -> Value:
    """Return a value that is known."""
    if not jnp.issubdtype(getattr(array, "dtype", float), jax.dtypes.extended):
        array = np.asarray(array)
    return Value(array.shape, array.dtype, array)


def _inline(
    closed: Any, inputs: Sequence[Value], operations: list[Operation]
) -> list[Value]:
    """Append the operations of a jaxpr, and return its results."""
    jaxpr = getattr(closed, "jaxpr", closed)
    consts = [constant(array) for array in getattr(closed, "consts", ())]
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def look(var: Any) -> Value:
        if isinstance(var, jex.core.Literal):
            aval: Any = var.aval
            return constant(np.asarray(var.val, aval.dtype))
        return known[var]

    for equation in jaxpr.eqns:
        arguments = [look(var) for var in equation.invars]
        results = _apply(equation, arguments, operations)
        known.update(zip(equation.outvars, results, strict=True))
    return [look(var) for var in jaxpr.outvars]


def _apply(
    equation: Any, inputs: list[Value], operations: list[Operation]
) -> Sequence[Value]:
    """Append the operations of an equation, and return its results."""
    name, params = equation.primitive.name, equation.params
    outputs = [_value(var.aval) for var in equation.outvars]
    if name == "cond":
        return _branch(params["branches"], inputs, operations)
    if name == "scan" and params["num_carry"] == len(outputs) and not params["reverse"]:
        if params["length"] <= MAX_UNROLLED_STEPS:
            return _unroll(params, inputs, operations)
    called = next((params[key] for key in CALLED if key in params), None)
    if called is not None and name not in ("scan", "while"):
        return _inline(called, inputs, operations)
    kept = name == "convert_element_type" and inputs[0].dtype == outputs[0].dtype
    if name in IDENTITIES or kept:
        return inputs
    if all(value.constant is not None for value in inputs):
        if computed := _computed(equation, inputs):
            return computed
    if name in REARRANGEMENTS and all(v.constant is not None for v in inputs[1:]):
        if taken := _take(equation, inputs, operations):
            return taken
    if name == "scatter" and inputs[1].constant is not None:
        return [_put(equation, inputs, operations)]
    # The writer refuses an operation of several results.
    for output in outputs:
        operations.append(Operation(name, inputs, output, dict(params)))
    return outputs


def _branch(
    branches: Sequence[Any], inputs: list[Value], operations: list[Operation]
) -> list[Value]:
    """Compute every branch, and select the results of one."""
    index, *rest = inputs
    results = _inline(branches[0], rest, operations)
    for k, branch in enumerate(branches[1:], start=1):
        chosen = Value((), np.dtype(bool))
        number = constant(np.asarray(k, index.dtype))
        operations.append(Operation("ge", [index, number], chosen, {}))
        others = _inline(branch, rest, operations)
        for i, (one, other) in enumerate(zip(results, others, strict=True)):
            results[i] = Value(one.shape, one.dtype)
            cases = [chosen, one, other]
            operations.append(Operation("select_n", cases, results[i], {}))
    return results


def _unroll(
    params: Any, inputs: list[Value], operations: list[Operation]
) -> list[Value]:
    """Write the steps of a scan one after the other."""
    first, carried = params["num_consts"], params["num_carry"]
    consts, rows = inputs[:first], inputs[first + carried :]
    carry = inputs[first : first + carried]
    for step in range(params["length"]):
        each = []
        for value in rows:
            if value.constant is not None:
                each.append(constant(value.constant[step]))
            else:
                each.append(_places(value, _numbers(value)[step], operations))
        carry = _inline(params["jaxpr"], [*consts, *carry, *each], operations)
    return carry


def _computed(equation: Any, inputs: list[Value]) -> list[Value] | None:
    """Return the results of known inputs; None where they would be too large."""
    given = sum(math.prod(value.shape) for value in inputs)
    made = sum(math.prod(var.aval.shape) for var in equation.outvars)
    if made > max(given, MAX_CONSTANT_SIZE):
        return None
    arrays = [
        jnp.asarray(v.constant) if isinstance(v.constant, np.ndarray) else v.constant
        for v in inputs
    ]
    results = equation.primitive.bind(*arrays, **equation.params)
    results = results if equation.primitive.multiple_results else [results]
    return [constant(array) for array in results]


def _take(
    equation: Any, inputs: list[Value], operations: list[Operation]
) -> list[Value] | None:
    """Return the results of a rearrangement as elements taken from flat places.

    The primitive itself, applied to the numbers of the elements, says which go where.
    """
    value, *rest = inputs
    params = dict(equation.params)
    if "fill_value" in params:
        params["fill_value"] = -1
    arrays = [jnp.asarray(v.constant) for v in rest]
    made = equation.primitive.bind(jnp.asarray(_numbers(value)), *arrays, **params)
    made = made if equation.primitive.multiple_results else [made]
    places = [np.asarray(each) for each in made]
    if any((each < 0).any() for each in places):
        return None  # Some would be filled with another number.
    return [_places(value, each, operations) for each in places]


def _places(value: Value, places: Any, operations: list[Operation]) -> Value:
    """Return the elements of `value` at flat `places`."""
    maker = next((o for o in operations if o.output is value), None)
    if maker is not None and maker.primitive == "take":
        (value,), places = maker.inputs, maker.params["places"].ravel()[places]
    places = np.asarray(places)
    if np.array_equal(places, _numbers(value)):
        return value
    taken = Value(places.shape, value.dtype)
    operations.append(Operation("take", [value], taken, {"places": places}))
    return taken


def _put(equation: Any, inputs: list[Value], operations: list[Operation]) -> Value:
    """Return the result of setting elements at known places."""
    value, indices, update = inputs
    arrays = _numbers(value), np.asarray(indices.constant), -1 - _numbers(update)
    made = equation.primitive.bind(*map(jnp.asarray, arrays), **equation.params)
    places, output = np.asarray(made), Value(value.shape, value.dtype)
    params = {"mask": places < 0, "places": np.maximum(-1 - places, 0)}
    operations.append(Operation("put", [value, update], output, params))
    return output


def _numbers(value: Value) -> np.ndarray:
    """Return the number of each element of `value`, in order."""
    return np.arange(math.prod(value.shape)).reshape(value.shape)


def _value(aval: Any) -> Value:
    return Value(tuple(int(n) for n in aval.shape), aval.dtype)
