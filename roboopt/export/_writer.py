"""Operations as lines of Python that need NumPy alone.

A result that is used once is written where it is used; the others get names. NumPy
broadcasts by itself, so a text may have a smaller shape than its value: `Text.have`.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt.export._program import Operation, Program, Value

# How tightly Python's operators bind.
COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)
MAX_INLINE_LENGTH = 64  # characters
MAX_FACTOR_LENGTH = 32  # likewise, of a factor of a matrix product
RESERVED = ("reset", "memory")

INFIX = {
    **{"add": ("+", SUM), "add_any": ("+", SUM), "sub": ("-", SUM)},
    **{"mul": ("*", PRODUCT), "div": ("/", PRODUCT)},
    **{"eq": ("==", COMPARISON), "ne": ("!=", COMPARISON)},
    **{"lt": ("<", COMPARISON), "le": ("<=", COMPARISON)},
    **{"gt": (">", COMPARISON), "ge": (">=", COMPARISON)},
    **{"and": ("&", COMPARISON), "or": ("|", COMPARISON), "xor": ("^", COMPARISON)},
}
"""Primitives that are operators of Python."""
TEMPLATES = {
    **{f: f"np.{f}({{0}})" for f in ("abs", "sign", "floor", "ceil", "exp", "expm1")},
    **{f: f"np.{f}({{0}})" for f in ("log", "log1p", "sqrt", "square", "sin", "cos")},
    **{f: f"np.{f}({{0}})" for f in ("tan", "sinh", "cosh", "tanh", "cbrt", "exp2")},
    **{f"a{f}": f"np.arc{f}({{0}})" for f in ("sin", "cos", "tan", "sinh", "cosh")},
    **{"atanh": "np.arctanh({0})", "atan2": "np.arctan2({0}, {1})"},
    **{"max": "np.maximum({0}, {1})", "min": "np.minimum({0}, {1})"},
    **{"pow": "np.power({0}, {1})", "rem": "np.fmod({0}, {1})"},
    **{"not": "np.invert({0})", "is_finite": "np.isfinite({0})"},
    **{"rsqrt": "1 / np.sqrt({0})", "logistic": "1 / (1 + np.exp(np.negative({0})))"},
    **{"clamp": "np.minimum(np.maximum({1}, {0}), {2})"},
    **{"select_n": "np.where({0}, {2}, {1})"},
}
"""Primitives that are functions of each element."""
METHODS = {
    **{"reduce_sum": "sum", "reduce_prod": "prod", "reduce_max": "max"},
    **{"reduce_min": "min", "reduce_and": "all", "reduce_or": "any"},
    **{"argmax": "argmax", "argmin": "argmin"},
}
"""Primitives that reduce axes."""


class Text(NamedTuple):
    """The text of a value, how tightly it binds, and the shape that it has."""

    text: str
    level: int
    have: tuple[int, ...]


class Writer:
    """Writes functions that share constants."""

    def __init__(self, names: Mapping[str, Any]):
        """Take the arrays of the policy by name, for the names of constants."""
        self.arrays: dict[str, np.ndarray] = {}
        self._names = names
        self._texts: dict[Value, Text] = {}

    def function(self, program: Program, inputs: Sequence[str]) -> list[str]:
        """Return the lines of a function's body, up to its `return [results]`."""
        lines: list[str] = []
        self._texts = {
            value: Text(name, ATOM, value.shape)
            for value, name in zip(program.inputs, inputs, strict=True)
        }
        uses = Counter(v for operation in program.operations for v in operation.inputs)
        uses.update(program.outputs)
        products = (o for o in program.operations if o.primitive == "dot_general")
        factors = {value for product in products for value in product.inputs}
        for operation in program.operations:
            value, text = operation.output, spelled(operation, self)
            longest = MAX_FACTOR_LENGTH if value in factors else MAX_INLINE_LENGTH
            if uses[value] > 1 or len(text.text) > longest:
                lines.append(f"x{len(lines) + 1} = {text.text}")
                text = Text(f"x{len(lines)}", ATOM, text.have)
            self._texts[value] = text
        results = [
            f"np.array({self.full(value, COMPARISON)}, dtype={kind(value.dtype)})"
            for value in program.outputs
        ]
        return [*lines, f"return [{', '.join(results)}]"]

    def text(self, value: Value) -> Text:
        """Return the text of a value, perhaps of a shape that broadcasts to its own."""
        if value.constant is None:
            return self._texts[value]
        array = np.asarray(value.constant)
        if array.dtype.kind not in "fiub":
            raise RobooptError(
                f"`policy` must hold numbers that NumPy has, got {array.dtype}: use "
                "ONNX (`export_onnx`)."
            )
        named = array.shape and any(_same(array, own) for own in self._names.values())
        uniform = array.tobytes() == array.tobytes()[: array.itemsize] * array.size
        if uniform and array.size and not named:
            text = _literal(array.flat[0])
            return Text(text, SIGN if text.startswith("-") else ATOM, ())
        return Text(self.stored(array), ATOM, array.shape)

    def part(self, value: Value, level: int = COMPARISON) -> str:
        """Return the text of a value, in parentheses unless it binds so tightly."""
        text = self.text(value)
        return text.text if text.level >= level else f"({text.text})"

    def full(self, value: Value, level: int = ATOM) -> str:
        """Return the text of a value at its full shape."""
        if self.text(value).have == value.shape:
            return self.part(value, level)
        if value.constant is not None:
            return self.stored(np.asarray(value.constant))
        return f"np.broadcast_to({self.part(value)}, {value.shape})"

    def stored(self, array: np.ndarray) -> str:
        """Return the text of an array that goes into the file."""
        for name, other in self.arrays.items():
            if _same(array, other):
                return f"self.{name}"
        found = (name for name, own in self._names.items() if _same(array, own))
        base = re.sub(r"\W+", "_", next(found, "constant")).strip("_")
        base = base if base.isidentifier() else f"array_{base}"
        name, number = base, 2
        while name in self.arrays or name in RESERVED:
            name, number = f"{base}_{number}", number + 1
        self.arrays[name] = array
        return f"self.{name}"


def spelled(operation: Operation, writer: Writer) -> Text:
    """Return the text of an operation.

    Raises:
        RobooptError: if the table lacks it.
    """
    name, inputs = operation.primitive, operation.inputs
    text = None
    if name in INFIX and not (name == "div" and inputs[0].dtype.kind in "iu"):
        sign, level = INFIX[name]
        one = writer.part(inputs[0], level + (level == COMPARISON))
        text = Text(f"{one} {sign} {writer.part(inputs[1], level + 1)}", level, ())
    if name in TEMPLATES and not (name == "select_n" and inputs[0].dtype.kind != "b"):
        made = TEMPLATES[name].format(*(writer.part(value) for value in inputs))
        text = Text(made, PRODUCT if made.startswith("1 /") else ATOM, ())
    if text is not None:
        have = np.broadcast_shapes(*(writer.text(value).have for value in inputs))
        return text._replace(have=have)
    if name in SPELLINGS:
        text = SPELLINGS[name](operation, writer)
        if text is not None:
            full = operation.output.shape
            return Text(text, ATOM, full) if isinstance(text, str) else text
    if "random" in name or "threefry" in name:
        raise RobooptError(
            f"`policy` must act without chance, got `{name}`: export the policy "
            "inside, which returns its mean or likeliest action."
        )
    raise RobooptError(
        f"`policy` uses `{name}`, which the NumPy export does not have: use ONNX "
        "(`export_onnx`)."
    )


def kind(dtype: Any) -> str:
    """Return the NumPy name of a type."""
    name = np.dtype(dtype).name
    return "np.bool_" if name == "bool" else f"np.{name}"


def _each(level: int, template: str) -> Callable[[Operation, Writer], Text]:
    """Return the spelling of a function of each element with a parameter."""

    def spelling(operation: Operation, writer: Writer) -> Text:
        (value,), made = operation.inputs, operation.output
        part = writer.part(value, POWER if level == SIGN else ATOM)
        text = template.format(part, kind(made.dtype), operation.params.get("y"))
        return Text(text, level, writer.text(value).have)

    return spelling


def _round(operation: Operation, writer: Writer) -> str | None:
    # NumPy rounds halves to even, not away from zero.
    even = int(operation.params["rounding_method"]) == 1
    return f"np.rint({writer.full(operation.inputs[0])})" if even else None


def _reduce(operation: Operation, writer: Writer) -> str:
    (value,) = operation.inputs
    axes = [str(int(axis)) for axis in operation.params["axes"]]
    shown = axes[0] if len(axes) == 1 else f"({', '.join(axes)})"
    shown = "" if len(axes) == len(value.shape) else shown
    return f"{writer.full(value)}.{METHODS[operation.primitive]}({shown})"


def _broadcast(operation: Operation, writer: Writer) -> Text:
    """Put axes of length 1 where new ones go; NumPy does the rest."""
    (value, *_), made = operation.inputs, operation.output
    if writer.text(value).have == ():
        return writer.text(value)
    kept = [int(axis) for axis in operation.params["broadcast_dimensions"]]
    first, text = min(kept), writer.full(value)
    have = [1] * (len(made.shape) - first)
    for axis, length in zip(kept, value.shape, strict=True):
        have[axis - first] = length
    if len(have) > len(kept):
        items = [":" if i + first in kept else "None" for i in range(len(have))]
        text = f"{text}[{', '.join(items)}]"
    return Text(text, ATOM, tuple(have))


def _join(operation: Operation, writer: Writer) -> str:
    parts = ", ".join(writer.full(v, COMPARISON) for v in operation.inputs)
    axis = operation.params.get("dimension", operation.params.get("axis"))
    function = "stack" if operation.primitive == "stack" else "concatenate"
    return f"np.{function}([{parts}]{f', axis={axis}' if axis else ''})"


def _dot(operation: Operation, writer: Writer) -> str | Text:
    (one, other), made = operation.inputs, operation.output
    (left, right), (batch, along) = operation.params["dimension_numbers"]
    ranks = len(one.shape), len(other.shape)
    plain = tuple(left) == (ranks[0] - 1,) and tuple(right) == (0,) and not batch
    if plain and 1 <= min(ranks) and max(ranks) <= 2:
        text = f"{writer.full(one, PRODUCT)} @ {writer.full(other)}"
        return Text(text, PRODUCT, made.shape)
    letters = iter("ijklmnopqrstuvwxyzabcdefgh")
    first = [next(letters) for _ in one.shape]
    second = [""] * len(other.shape)
    for i, j in (*zip(left, right, strict=True), *zip(batch, along, strict=True)):
        second[j] = first[i]
    second = [letter or next(letters) for letter in second]
    result = [first[i] for i in batch]
    result += [c for i, c in enumerate(first) if i not in (*left, *batch)]
    result += [c for i, c in enumerate(second) if i not in (*right, *along)]
    rule = f"{''.join(first)},{''.join(second)}->{''.join(result)}"
    return f'np.einsum("{rule}", {writer.full(one)}, {writer.full(other)})'


def _take(operation: Operation, writer: Writer) -> str:
    """Write a slice, a new shape, or a list of places."""
    (value,), places = operation.inputs, operation.params["places"]
    text, flat, shape = writer.full(value), places.ravel(), value.shape
    size = math.prod(shape)
    if places.ndim == 0:
        return f"{text}[{', '.join(str(i) for i in np.unravel_index(places, shape))}]"
    if places.ndim == 2 and np.array_equal(places.T.ravel(), np.arange(size)):
        return f"{text}.reshape{places.T.shape}.T".replace(f".reshape{shape}", "")
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
    if writer.text(update).have:
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
    pairs = enumerate(zip(sizes, value.shape, strict=True))
    whole = all(size == n for i, (size, n) in pairs if i != axis)
    if not whole or numbers.operand_batching_dims or numbers.offset_dims != kept:
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
    **{"neg": _each(SIGN, "-{0}"), "integer_pow": _each(POWER, "{0} ** {2}")},
    **{"convert_element_type": _each(ATOM, "{0}.astype({1})"), "round": _round},
    **{"broadcast_in_dim": _broadcast, "concatenate": _join, "stack": _join},
    **{"dot_general": _dot, "gather": _gather, "dynamic_slice": _dynamic_slice},
    **{"take": _take, "put": _put},
}
"""Primitives that need more than a template; None refuses a case."""


def _literal(value: Any) -> str:
    """Return a number as Python writes it, in the fewest digits that give it back."""
    if value.dtype.kind == "b":
        return "np.True_" if value else "np.False_"
    if not np.isfinite(value):
        return {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[str(value)]
    return str(value)


def _same(one: np.ndarray, other: Any) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.tobytes() == np.asarray(other).tobytes()
