"""Operations as lines of Python that need NumPy alone.

The text of a result that is used once stands where the result is used; other results
get names. Operands are written in parentheses, and `ast.unparse` drops those that
Python does not need. NumPy broadcasts, so a text may have a smaller shape than its
value: `Text.shape`.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt.export._program import Operation, Program, Value

MAX_INLINE_LENGTH = 64  # characters
CLIPPING = ("max", "min", "clamp")
LIMITS = ("low", "high")  # arrays of a `Clipped` policy, whose numbers others may have
RESERVED = ("reset", "memory")

OPERATORS = {
    **{"add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/"},
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"and": "&", "or": "|", "xor": "^"},
}
FUNCTIONS = (
    *("abs", "sign", "floor", "ceil", "exp", "expm1", "exp2", "log", "log1p", "sqrt"),
    *("square", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
)
RENAMED = {"not": "invert", "is_finite": "isfinite", "round": "rint"}
BINARY = dict(atan2="arctan2", max="maximum", min="minimum", pow="power", rem="fmod")
TEMPLATES = {
    **{name: f"{{0}} {sign} {{1}}" for name, sign in OPERATORS.items()},
    **{name: f"np.{name}({{0}})" for name in FUNCTIONS},
    **{f"a{name}": f"np.arc{name}({{0}})" for name in FUNCTIONS[-6:]},
    **{name: f"np.{other}({{0}})" for name, other in RENAMED.items()},
    **{name: f"np.{other}({{0}}, {{1}})" for name, other in BINARY.items()},
    "clamp": "np.minimum(np.maximum({1}, {0}), {2})",
    "neg": "-{0}",
    "integer_pow": "{0} ** {y}",
    "rsqrt": "1 / np.sqrt({0})",
    "logistic": "1 / (1 + np.exp(np.negative({0})))",
    "select_n": "np.where({0}, {2}, {1})",
    "convert_element_type": "{0}.astype({dtype})",
}
"""Primitives that act on each element; y and dtype are the operation's parameters."""
METHODS = {
    **{f"reduce_{name}": name for name in ("sum", "prod", "max", "min")},
    **{"reduce_and": "all", "reduce_or": "any", "argmax": "argmax", "argmin": "argmin"},
}
"""Primitives that reduce axes."""


class Text(NamedTuple):
    """The text of a value, and the shape that the text evaluates to."""

    text: str
    shape: tuple[int, ...]


@dataclass
class Writer:
    """Writes operations as Python, and collects the arrays that they refer to."""

    names: Mapping[str, Any]
    """The arrays of the policy by name, for the names of constants."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    texts: dict[Value, Text] = field(default_factory=dict)
    clips: bool = False
    """Whether the operation being written clips, as to the limits of actions."""

    def function(
        self, program: Program, inputs: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return the lines of `program`, and the texts of its results."""
        lines: list[str] = []
        named = zip(program.inputs, inputs, strict=True)
        self.texts = {value: Text(name, value.shape) for value, name in named}
        products = (o for o in program.operations if o.primitive == "dot_general")
        factors = {value for product in products for value in product.inputs}
        for operation in program.operations:
            self.clips = operation.primitive in CLIPPING
            value, (text, shape) = operation.output, spelled(operation, self)
            text = _unparenthesized(text)
            once = program.uses[value] == 1 and value not in factors
            if not once or len(text) > MAX_INLINE_LENGTH:
                lines.append(f"x{len(lines) + 1} = {text}")
                text = f"x{len(lines)}"
            self.texts[value] = Text(text, shape)
        return lines, [self.array(value) for value in program.outputs]

    def text(self, value: Value) -> Text:
        """Return the text of a value, perhaps of a shape that broadcasts to its own."""
        if value.constant is None:
            return self.texts[value]
        array = np.asarray(value.constant)
        if array.dtype.kind not in "fiub":
            raise RobooptError(
                f"`policy` must hold NumPy's numbers, got {array.dtype}: use ONNX."
            )
        named = array.shape and any(_same(array, own) for own in self.names.values())
        uniform = array.tobytes() == array.tobytes()[: array.itemsize] * array.size
        if uniform and array.size and not named:
            return Text(re.sub("inf|nan", r"np.\g<0>", str(array.flat[0])), ())
        return Text(self.stored(array), array.shape)

    def part(self, value: Value) -> str:
        """Return the text of a value in parentheses, of any shape that broadcasts."""
        return f"({self.text(value).text})"

    def full(self, value: Value) -> str:
        """Return the text of a value in parentheses, of the value's shape."""
        if self.text(value).shape == value.shape:
            return self.part(value)
        if value.constant is not None:
            return self.stored(np.asarray(value.constant))
        return f"np.broadcast_to({self.part(value)}, {value.shape})"

    def array(self, value: Value) -> str:
        """Return the text of a value as a new array of the value's type."""
        text = f"np.array({self.full(value)}, dtype={kind(value.dtype)})"
        return _unparenthesized(text)

    def stored(self, array: np.ndarray) -> str:
        """Return the text of an array that goes into the file."""
        if self.clips:
            for name in LIMITS:
                if name in self.names and _same(array, self.names[name]):
                    self.arrays[name] = array
                    return f"self.{name}"
        for name, other in self.arrays.items():
            if _same(array, other):
                return f"self.{name}"
        found = (name for name, own in self.names.items() if _same(array, own))
        base = re.sub(r"\W+", "_", next(found, "constant")).strip("_")
        base = base if base.isidentifier() else f"array_{base}"
        name, number = base, 2
        while name in self.arrays or name in RESERVED:
            name, number = f"{base}_{number}", number + 1
        self.arrays[name] = array
        return f"self.{name}"


def spelled(operation: Operation, writer: Writer) -> Text:
    """Return the text of an operation; an error if no table has it."""
    name, inputs, output = operation.primitive, operation.inputs, operation.output
    parameters = operation.params
    # JAX rounds quotients of integers towards 0, and may round halves away from 0.
    whole = name in ("div", "select_n") and inputs[0].dtype.kind in "iu"
    unlike = whole or int(parameters.get("rounding_method", 1)) != 1
    found = SPELLINGS[name](operation, writer) if name in SPELLINGS else None
    if name in TEMPLATES and not unlike:
        y, dtype = parameters.get("y"), kind(output.dtype)
        text = TEMPLATES[name].format(*map(writer.part, inputs), y=y, dtype=dtype)
        shapes = (writer.text(value).shape for value in inputs)
        found = Text(text, np.broadcast_shapes(*shapes))
    if found is not None:
        return found if isinstance(found, Text) else Text(found, output.shape)
    raise RobooptError(
        f"`policy` must act without chance, got `{name}`: export the policy inside, "
        "which returns its mean or likeliest action."
        if "random" in name or "threefry" in name
        else f"`policy` uses `{name}`, which the NumPy export does not have: use ONNX "
        "(`export_onnx`)."
    )


def kind(dtype: Any) -> str:
    """Return the NumPy name of a type."""
    name = np.dtype(dtype).name
    return "np.bool_" if name == "bool" else f"np.{name}"


def _unparenthesized(text: str) -> str:
    return ast.unparse(ast.parse(text, mode="eval"))


def _reduce(operation: Operation, writer: Writer) -> str:
    axes = tuple(int(axis) for axis in operation.params["axes"])
    text, method = writer.full(operation.inputs[0]), METHODS[operation.primitive]
    return f"{text}.{method}({axes[0] if len(axes) == 1 else axes})"


def _broadcast(operation: Operation, writer: Writer) -> Text:
    """Put axes of length 1 where new ones go; NumPy does the rest."""
    (value, *_), made = operation.inputs, operation.output
    if writer.text(value).shape == ():
        return writer.text(value)
    kept = [int(axis) for axis in operation.params["broadcast_dimensions"]]
    first, text = min(kept), writer.full(value)
    axes = range(first, len(made.shape))
    if len(axes) > len(kept):
        items = [":" if axis in kept else "None" for axis in axes]
        text = f"{text}[{', '.join(items)}]"
    lengths = dict(zip(kept, value.shape, strict=True))
    return Text(text, tuple(lengths.get(axis, 1) for axis in axes))


def _join(operation: Operation, writer: Writer) -> str:
    parts = ", ".join(map(writer.full, operation.inputs))
    axis = operation.params.get("dimension", operation.params.get("axis"))
    return f"np.{operation.primitive}([{parts}], axis={axis})"


def _dot(operation: Operation, writer: Writer) -> str:
    one, other = operation.inputs
    (left, right), (batch, along) = operation.params["dimension_numbers"]
    ranks = len(one.shape), len(other.shape)
    plain = tuple(left) == (ranks[0] - 1,) and tuple(right) == (0,) and not batch
    if plain and 1 <= min(ranks) and max(ranks) <= 2:
        return f"{writer.full(one)} @ {writer.full(other)}"
    # Axes that are summed or shared by both factors have the number of the first.
    first = list(range(ranks[0]))
    second = list(range(ranks[0], sum(ranks)))
    for i, j in zip((*left, *batch), (*right, *along), strict=True):
        second[j] = first[i]
    free = [axis for axis in (*first, *second) if axis not in (*left, *batch)]
    factors = f"{writer.full(one)}, {first}, {writer.full(other)}, {second}"
    return f"np.einsum({factors}, {[*batch, *free]})"


def _take(operation: Operation, writer: Writer) -> str:
    """Write a slice, a new shape, or a list of places."""
    (value,), places = operation.inputs, operation.params["places"]
    text, flat = writer.full(value), places.ravel()
    shape, size = value.shape, value.size
    if places.ndim == 0:
        return f"{text}[{', '.join(str(i) for i in np.unravel_index(places, shape))}]"
    if places.ndim == 2 and np.array_equal(places.T.ravel(), np.arange(size)):
        other = "" if shape == places.T.shape else f".reshape{places.T.shape}"
        return f"{text}{other}.T"
    text = text if len(shape) == 1 else f"{text}.ravel()"
    if not flat.size or np.any(np.diff(flat) != 1):
        return f"{text}[{writer.stored(places)}]"
    if flat.size < size:
        end = flat[-1] + 1 if flat[-1] + 1 < size else ""
        text = f"{text}[{flat[0] or ''}:{end}]"
    return text if places.ndim == 1 else f"{text}.reshape{places.shape}"


def _put(operation: Operation, writer: Writer) -> str:
    value, update = operation.inputs
    mask, places = (operation.params[name] for name in ("mask", "places"))
    new = writer.part(update)
    if writer.text(update).shape:
        new = f"{writer.full(update)}.ravel()[{writer.stored(places)}]"
    return f"np.where({writer.stored(mask)}, {new}, {writer.part(value)})"


def _gather(operation: Operation, writer: Writer) -> str | None:
    """Write a gather of whole rows along one axis; any other is refused."""
    (value, indices), made = operation.inputs, operation.output
    numbers, sizes = (operation.params[k] for k in ("dimension_numbers", "slice_sizes"))
    axes, rank = numbers.start_index_map, len(indices.shape) - 1
    if len(axes) != 1 or numbers.collapsed_slice_dims != axes:
        return None
    (axis,) = axes
    kept = tuple(i for i in range(len(made.shape)) if not axis <= i < axis + rank)
    rows = (*value.shape[:axis], 1, *value.shape[axis + 1 :])
    if sizes != rows or numbers.operand_batching_dims or numbers.offset_dims != kept:
        return None
    # An index beyond the array is clipped, where JAX may fill with NaN instead.
    places = f"{writer.full(indices)}[..., 0]"
    return f'np.take({writer.full(value)}, {places}, {axis}, mode="clip")'


def _dynamic_slice(operation: Operation, writer: Writer) -> str | None:
    value, *starts = operation.inputs
    sizes = operation.params["slice_sizes"]
    cut = [i for i, size in enumerate(sizes) if size != value.shape[i]]
    if len(cut) != 1:
        return None
    (axis,) = cut
    last = value.shape[axis] - sizes[axis]
    start = f"np.clip({writer.part(starts[axis])}, 0, {last})"
    return f"{writer.full(value)}[{':, ' * axis}{start} + np.arange({sizes[axis]})]"


SPELLINGS: dict[str, Callable[[Operation, Writer], str | Text | None]] = {
    **dict.fromkeys(METHODS, _reduce),
    **{"broadcast_in_dim": _broadcast, "concatenate": _join, "stack": _join},
    **{"dot_general": _dot, "gather": _gather, "dynamic_slice": _dynamic_slice},
    **{"take": _take, "put": _put},
}
"""Primitives that need more than a template; None refuses a case."""


def _same(one: np.ndarray, other: Any) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.tobytes() == np.asarray(other).tobytes()
