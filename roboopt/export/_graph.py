"""A traced function, boiled down: calls inlined, constants computed, dead code gone.

What JAX traces is a jaxpr: primitives applied in order, some of them calls of further
jaxprs. Here it becomes blocks of operations on nodes, where a node that depends on no
input is a constant with its value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np

ALIASES = {
    *("stop_gradient", "copy", "copy_p", "optimization_barrier", "name", "pvary"),
    *("sharding_constraint", "device_put", "mesh_cast"),
}
NEUTRAL = ("convert_element_type", "reshape", "squeeze", "transpose")
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
LOOPS = ("scan", "while", "cond")
LARGEST_CONSTANT = 10_000  # elements that a constant is computed beyond its inputs


@dataclass(eq=False)
class Node:
    """An array that an operation makes, an input, or a constant.

    What is told of a constant, and said of any other while it is written, may be of a
    shape that broadcasts to `shape`: NumPy broadcasts by itself where JAX does not.
    """

    shape: tuple[int, ...]
    dtype: Any
    value: Any = None
    """Of a constant, of a shape that broadcasts to `shape`."""
    name: str | None = None
    """Where in the policy a constant comes from."""
    text: str = ""
    level: int = 0
    have: tuple[int, ...] = ()

    @property
    def constant(self) -> bool:
        """Return whether its value is known."""
        return self.value is not None


@dataclass(eq=False)
class Block:
    """Operations in order, and what comes in and out."""

    inputs: list[Node]
    operations: list["Operation"] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)


@dataclass(eq=False)
class Operation:
    """A primitive applied; loops and branches hold blocks."""

    primitive: str
    inputs: list[Node]
    outputs: list[Node]
    params: dict[str, Any]
    blocks: list[Block] = field(default_factory=list)

    def reads(self) -> list[Node]:
        """Return all it depends on, those that its blocks read included."""
        found = list(self.inputs)
        for block in self.blocks:
            found += block.outputs
            for operation in block.operations:
                found += operation.reads()
        return found


def read(closed: Any, names: Mapping[str, Any], constants: list[Node]) -> Block:
    """Return a closed jaxpr as a block.

    Args:
        closed: what `jax.make_jaxpr` returned.
        names: the arrays of the policy, by where they are in it.
        constants: the arrays of earlier jaxprs of the same policy; added to.
    """
    block = Block([_node(v.aval) for v in closed.jaxpr.invars])
    known = [_array(array, names, constants) for array in closed.consts]
    block.outputs = _Reader(block).run(closed.jaxpr, known, block.inputs)
    _bury(block)
    return block


class _Reader:
    """Reads a jaxpr into a block."""

    def __init__(self, block: Block):
        self.block = block
        self.makers: dict[Node, Operation] = {}

    def run(
        self, jaxpr: Any, constants: Sequence[Node], inputs: Sequence[Node]
    ) -> list[Node]:
        """Read `jaxpr`, and return the nodes of its results."""
        known: dict[Any, Node] = dict(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, inputs, strict=True))

        def look(var: Any) -> Node:
            return _scalar(var) if isinstance(var, jex.core.Literal) else known[var]

        for eqn in jaxpr.eqns:
            made = self._apply(eqn, [look(var) for var in eqn.invars])
            known.update(zip(eqn.outvars, made, strict=True))
        return [look(var) for var in jaxpr.outvars]

    def _apply(self, eqn: Any, inputs: list[Node]) -> Sequence[Node]:
        name, params = eqn.primitive.name, eqn.params
        if name == "custom_linear_solve":
            return self._linear_solve(params, inputs)
        body = next((params[b] for b in BODIES if b in params), None)
        if body is not None and name not in LOOPS:
            known = [_plain(array) for array in getattr(body, "consts", ())]
            return self.run(getattr(body, "jaxpr", body), known, inputs)
        outputs = [_node(var.aval) for var in eqn.outvars]
        if name in ALIASES or (name in NEUTRAL and _unchanged(inputs, outputs, params)):
            return inputs
        if name in ("mul", "div") and _one(inputs[1]) and not inputs[0].constant:
            return inputs[:1]
        if name == "mul" and _one(inputs[0]) and not inputs[1].constant:
            return inputs[1:]
        if all(node.constant for node in inputs):
            known = _computed(eqn, inputs, outputs)
            if known is not None:
                return known
        if name == "split":
            return self._split(inputs[0], outputs, params["axis"])
        operation = Operation(name, inputs, outputs, dict(params))
        if name == "slice":
            operation = _index(operation)
        elif name == "squeeze":
            operation = self._squeeze(operation)
        elif name in LOOPS:
            _read_blocks(operation)
        return self._add(operation)

    def _add(self, operation: Operation) -> list[Node]:
        self.block.operations.append(operation)
        self.makers.update((node, operation) for node in operation.outputs)
        return operation.outputs

    def _split(self, node: Node, outputs: list[Node], axis: int) -> list[Node]:
        start = 0
        for output in outputs:
            items = [slice(0, n, 1) for n in node.shape]
            items[axis] = slice(start, start + output.shape[axis], 1)
            start += output.shape[axis]
            self._add(Operation("index", [node], [output], {"items": items}))
        return outputs

    def _squeeze(self, operation: Operation) -> Operation:
        """Return the index that a slice and a squeeze come to."""
        (node,), axes = operation.inputs, operation.params["dimensions"]
        maker = self.makers.get(node)
        whole = [slice(0, n, 1) for n in node.shape]
        items = whole if maker is None else maker.params.get("items", whole)
        if any(isinstance(item, int) for item in items):
            items, maker = whole, None
        axes = {axis % len(items) for axis in axes}
        items = [item.start if i in axes else item for i, item in enumerate(items)]
        source = maker.inputs if maker and "items" in maker.params else [node]
        return Operation("index", source, operation.outputs, {"items": items})

    def _linear_solve(self, params: Any, inputs: list[Node]) -> list[Node]:
        lengths, jaxpr = params["const_lengths"], params["jaxprs"].solve
        before = lengths.matvec + lengths.vecmat
        known = inputs[before : before + lengths.solve]
        arrays = [_plain(array) for array in jaxpr.consts]
        return self.run(jaxpr.jaxpr, arrays, [*known, *inputs[sum(lengths) :]])


def _read_blocks(operation: Operation) -> None:
    """Read the bodies of a loop or branch; what is given to them is read through."""
    params, inputs = operation.params, operation.inputs
    if operation.primitive == "cond":
        operation.inputs = inputs[:1]
        operation.blocks = [_block(b, inputs[1:]) for b in params["branches"]]
    elif operation.primitive == "scan":
        known = params["num_consts"]
        operation.inputs = inputs[known:]
        operation.blocks = [_block(params["jaxpr"], inputs[:known])]
    else:
        first = params["cond_nconsts"]
        both = first + params["body_nconsts"]
        operation.inputs = inputs[both:]
        operation.blocks = [
            _block(params["cond_jaxpr"], inputs[:first]),
            _block(params["body_jaxpr"], inputs[first:both]),
        ]


def _block(closed: Any, given: Sequence[Node]) -> Block:
    own = closed.jaxpr.invars[len(given) :]
    block = Block([_node(var.aval) for var in own])
    known = [_plain(array) for array in closed.consts]
    inputs = [*given, *block.inputs]
    block.outputs = _Reader(block).run(closed.jaxpr, known, inputs)
    return block


def _index(operation: Operation) -> Operation:
    params = operation.params
    starts, stops = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * len(starts)
    parts = zip(starts, stops, steps, strict=True)
    items = [slice(int(a), int(b), int(step)) for a, b, step in parts]
    return Operation("index", operation.inputs, operation.outputs, {"items": items})


def _unchanged(inputs: list[Node], outputs: list[Node], params: Any) -> bool:
    """Return whether an operation that rearranges or converts does nothing."""
    order = params.get("permutation")
    moved = order is not None and list(order) != sorted(order)
    (given, *_), (made,) = inputs, outputs
    return given.shape == made.shape and given.dtype == made.dtype and not moved


def _one(node: Node) -> bool:
    """Return whether a product with `node` is the other factor, to the bit."""
    return node.constant and not node.have and bool(node.value == 1)


def _computed(eqn: Any, inputs: list[Node], outputs: list[Node]) -> list[Node] | None:
    """Return constants for the outputs; None where they would be too large."""
    name, params = eqn.primitive.name, eqn.params
    if name == "broadcast_in_dim":
        (node,), (made,) = inputs, outputs
        value = np.broadcast_to(node.value, node.shape) if node.have else node.value
        if node.have:
            spread = [1] * len(made.shape)
            for axis, length in zip(
                params["broadcast_dimensions"], node.shape, strict=True
            ):
                spread[axis] = length
            value = value.reshape(spread)
        _give(made, value)
        return outputs
    given = sum(math.prod(node.shape) for node in inputs)
    if sum(math.prod(node.shape) for node in outputs) > max(given, LARGEST_CONSTANT):
        return None
    values = [_filled(node) for node in inputs]
    made = eqn.primitive.bind(*values, **params)
    made = made if eqn.primitive.multiple_results else [made]
    sources = {node.name for node in inputs if node.name and node.shape}
    for node, value in zip(outputs, made, strict=True):
        value = _known(value)
        uniform = isinstance(value, np.ndarray) and value.size > 1
        if uniform and value.tobytes() == value.flat[:1].tobytes() * value.size:
            value = value.reshape(-1)[0]
        _give(node, value)
        node.name = f"{sources.pop()}_{name}" if len(sources) == 1 else None
    return outputs


def _filled(node: Node) -> Any:
    if not isinstance(node.value, np.ndarray | np.generic):
        return node.value
    return jnp.asarray(np.broadcast_to(node.value, node.shape))


def _give(node: Node, value: Any) -> None:
    node.value, node.have = value, np.shape(value)


def _known(array: Any) -> Any:
    """Return an array as NumPy's, but keys of random numbers as they are."""
    if hasattr(array, "dtype") and jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return array
    return np.asarray(array)


def _plain(array: Any) -> Node:
    array = _known(array)
    return Node(array.shape, array.dtype, array, have=array.shape)


def _scalar(literal: Any) -> Node:
    value = np.asarray(literal.val, literal.aval.dtype)
    return Node(value.shape, value.dtype, value)


def _array(array: Any, names: Mapping[str, Any], constants: list[Node]) -> Node:
    """Return the node of an array of the policy, one for all arrays that are equal."""
    node = _plain(array)
    found = [name for name, own in names.items() if own is array]
    node.name = (
        found[0]
        if found
        else next(
            (name for name, own in names.items() if _equal(node.value, own)), None
        )
    )
    for other in constants:
        if other.name == node.name and _equal(node.value, other.value):
            return other
    constants.append(node)
    return node


def _equal(one: Any, other: Any) -> bool:
    if not (isinstance(one, np.ndarray) and one.size and eqx.is_array(other)):
        return False
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.tobytes() == np.asarray(other).tobytes()


def _bury(block: Block) -> None:
    """Remove the operations that nothing depends on."""
    needed, kept = set(block.outputs), []
    for operation in reversed(block.operations):
        if not needed.isdisjoint(operation.outputs):
            for inner in operation.blocks:
                _bury(inner)
            needed.update(operation.reads())
            kept.append(operation)
    block.operations = kept[::-1]


def _node(aval: Any) -> Node:
    return Node(tuple(int(n) for n in aval.shape), aval.dtype)
