"""A traced function as a list of operations.

A jaxpr's equations apply primitives or call further jaxprs. A `Program` holds the same
equations with calls inlined, constants computed, unused results dropped, loops unrolled
and all branches computed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np

from roboopt._core import scan_counts

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

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(eq=False)
class Operation:
    """A primitive, its inputs and its output."""

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
    uses: Counter[Value]
    """How many operations and results depend on each value."""


def read(closed: Any) -> Program:
    """Return a closed jaxpr as a program."""
    inputs, reader = [_value(var.aval) for var in closed.jaxpr.invars], _Reader([])
    outputs = reader.inline(closed, inputs)
    uses = Counter(outputs)
    for operation in reversed(reader.operations):
        if uses[operation.output]:
            uses.update(operation.inputs)
    kept = [o for o in reader.operations if uses[o.output]]
    return Program(inputs, kept, outputs, uses)


def constant(array: Any) -> Value:
    """Return a value that is known."""
    if not jnp.issubdtype(getattr(array, "dtype", float), jax.dtypes.extended):
        array = np.asarray(array)
    return Value(array.shape, array.dtype, array)


@dataclass
class _Reader:
    """Appends the operations of jaxprs, and returns their results."""

    operations: list[Operation]

    def inline(self, closed: Any, inputs: Sequence[Value]) -> list[Value]:
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
            results = self.apply(equation, [look(var) for var in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [look(var) for var in jaxpr.outvars]

    def append(
        self, primitive: str, inputs: list[Value], like: Value, **params: Any
    ) -> Value:
        """Append an operation, and return its result, shaped and typed as `like`."""
        output = Value(like.shape, like.dtype)
        self.operations.append(Operation(primitive, inputs, output, params))
        return output

    def apply(self, equation: Any, inputs: list[Value]) -> Sequence[Value]:
        name, params = equation.primitive.name, equation.params
        outputs = [_value(var.aval) for var in equation.outvars]
        if name == "cond":
            return self.branch(params["branches"], *inputs)
        loop = name == "scan" and scan_counts(params)[1] == len(outputs)
        if loop and not params["reverse"] and params["length"] <= MAX_UNROLLED_STEPS:
            return self.unroll(params, inputs)
        called = next((params[key] for key in CALLED if key in params), None)
        if called is not None and name not in ("scan", "while"):
            return self.inline(called, inputs)
        kept = name == "convert_element_type" and inputs[0].dtype == outputs[0].dtype
        if name in IDENTITIES or kept:
            return inputs
        if all(value.constant is not None for value in inputs):
            # A constant much larger than what it is computed from stays an operation.
            given, made = (sum(v.size for v in x) for x in (inputs, outputs))
            if made <= max(given, MAX_CONSTANT_SIZE):
                return [constant(x) for x in _bound(equation, inputs)]
        if name in REARRANGEMENTS and all(v.constant is not None for v in inputs[1:]):
            if taken := self.take(equation, *inputs):
                return taken
        if name == "scatter" and inputs[1].constant is not None:
            return [self.put(equation, *inputs)]
        # The writer refuses an operation of several results.
        return [self.append(name, inputs, output, **params) for output in outputs]

    def branch(
        self, branches: Sequence[Any], index: Value, *inputs: Value
    ) -> list[Value]:
        """Compute every branch, and select the results of one."""
        results = self.inline(branches[0], inputs)
        for k, branch in enumerate(branches[1:], start=1):
            number = constant(np.asarray(k, index.dtype))
            later = self.append("ge", [index, number], Value((), np.dtype(bool)))
            others = self.inline(branch, inputs)
            results = [
                self.append("select_n", [later, one, other], one)
                for one, other in zip(results, others, strict=True)
            ]
        return results

    def unroll(self, params: Any, inputs: list[Value]) -> list[Value]:
        """Write the steps of a scan one after the other."""
        first, carried = scan_counts(params)
        last = first + carried
        carry = inputs[first:last]
        for step in range(params["length"]):
            rows = [self.row(value, step) for value in inputs[last:]]
            carry = self.inline(params["jaxpr"], [*inputs[:first], *carry, *rows])
        return carry

    def row(self, value: Value, index: int) -> Value:
        if value.constant is not None:
            return constant(value.constant[index])
        return self.places(value, np.asarray(_numbers(value)[index]))

    def take(self, equation: Any, value: Value, *rest: Value) -> list[Value] | None:
        """Return the results of a rearrangement as elements taken from flat places.

        The primitive itself, applied to the numbers of the elements, says which go
        where.
        """
        changed = {"fill_value": -1} if "fill_value" in equation.params else {}
        made = _bound(equation, [constant(_numbers(value)), *rest], **changed)
        places = [np.asarray(each) for each in made]
        if any((each < 0).any() for each in places):
            return None  # Some would be filled with another number.
        return [self.places(value, each) for each in places]

    def places(self, value: Value, places: np.ndarray) -> Value:
        """Return the elements of `value` at flat `places`."""
        maker = next((o for o in self.operations if o.output is value), None)
        if maker is not None and maker.primitive == "take":
            (value,) = maker.inputs
            places = np.asarray(maker.params["places"].ravel()[places])
        if np.array_equal(places, _numbers(value)):
            return value
        taken = Value(places.shape, value.dtype)
        return self.append("take", [value], taken, places=places)

    def put(self, equation: Any, value: Value, indices: Value, update: Value) -> Value:
        """Return the result of setting elements at known places."""
        numbers = constant(_numbers(value)), indices, constant(-1 - _numbers(update))
        places = np.asarray(_bound(equation, numbers)[0])
        taken = np.maximum(-1 - places, 0)
        return self.append("put", [value, update], value, mask=places < 0, places=taken)


def _bound(equation: Any, inputs: Sequence[Value], **changed: Any) -> Sequence[Any]:
    """Return the results of the primitive of an equation on known inputs."""
    arrays = [x.constant for x in inputs]
    arrays = [jax.device_put(x) if isinstance(x, np.ndarray) else x for x in arrays]
    results = equation.primitive.bind(*arrays, **{**equation.params, **changed})
    return results if equation.primitive.multiple_results else [results]


def _numbers(value: Value) -> np.ndarray:
    """Return the number of each element of `value`, in order."""
    return np.arange(value.size).reshape(value.shape)


def _value(aval: Any) -> Value:
    return Value(tuple(int(n) for n in aval.shape), aval.dtype)
