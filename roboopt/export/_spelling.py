"""How NumPy spells the primitives that give one array and need no statement."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from roboopt.export._graph import Node, Operation

# How tightly Python binds, the tighter the higher.
COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)

INFIX = {
    **{"add": ("+", SUM), "add_any": ("+", SUM), "sub": ("-", SUM)},
    **{"mul": ("*", PRODUCT), "div": ("/", PRODUCT)},
    **{"eq": ("==", COMPARISON), "ne": ("!=", COMPARISON)},
    **{"lt": ("<", COMPARISON), "le": ("<=", COMPARISON)},
    **{"gt": (">", COMPARISON), "ge": (">=", COMPARISON)},
    **{"lt_to": ("<", COMPARISON), "le_to": ("<=", COMPARISON)},
    **{"and": ("&", COMPARISON), "or": ("|", COMPARISON), "xor": ("^", COMPARISON)},
}
FUNCTIONS = {
    **{"abs": "np.abs", "sign": "np.sign", "floor": "np.floor", "ceil": "np.ceil"},
    **{"exp": "np.exp", "exp2": "np.exp2", "log": "np.log", "sqrt": "np.sqrt"},
    **{"expm1": "np.expm1", "log1p": "np.log1p", "cbrt": "np.cbrt"},
    **{"sin": "np.sin", "cos": "np.cos", "tan": "np.tan", "square": "np.square"},
    **{"asin": "np.arcsin", "acos": "np.arccos", "atan": "np.arctan"},
    **{"sinh": "np.sinh", "cosh": "np.cosh", "tanh": "np.tanh"},
    **{"asinh": "np.arcsinh", "acosh": "np.arccosh", "atanh": "np.arctanh"},
    **{"atan2": "np.arctan2", "max": "np.maximum", "min": "np.minimum"},
    **{"pow": "np.power", "rem": "np.fmod", "nextafter": "np.nextafter"},
    **{"is_finite": "np.isfinite"},
    **{"logistic": "logistic", "erf": "erf", "erfc": "erfc", "lgamma": "lgamma"},
    **{"shift_left": "np.left_shift", "shift_right_arithmetic": "np.right_shift"},
}
REDUCTIONS = {
    **{"reduce_sum": "sum", "reduce_prod": "prod", "reduce_max": "max"},
    **{"reduce_min": "min", "reduce_and": "all", "reduce_or": "any"},
}
CUMULATIVE = {
    **{"cumsum": "np.add", "cumprod": "np.multiply", "cummax": "np.maximum"},
    **{"cummin": "np.minimum", "cumlogsumexp": "np.logaddexp"},
}
SCATTERS = {
    **{"scatter": "None", "scatter-add": "np.add", "scatter_add": "np.add"},
    **{"scatter-mul": "np.multiply", "scatter_mul": "np.multiply"},
    **{"scatter-sub": "np.subtract", "scatter_sub": "np.subtract"},
    **{"scatter-min": "np.minimum", "scatter_min": "np.minimum"},
    **{"scatter-max": "np.maximum", "scatter_max": "np.maximum"},
}
# What may divide by 0 or overflow, of which JAX says nothing.
SILENT = {
    *("div", "rem", "exp", "exp2", "expm1", "log", "log1p", "sqrt", "rsqrt", "pow"),
    *("integer_pow", "tan", "asin", "acos", "sinh", "cosh", "acosh", "atanh", "square"),
    *("logistic", "mul", "cumprod", "reduce_prod", "cumlogsumexp", "triangular_solve"),
    "lu",
}


@runtime_checkable
class Texts(Protocol):
    """What a spelling asks of the writer."""

    def part(self, node: Node, level: int) -> str:
        """Return the text of a node, in parentheses unless it binds so tightly."""
        ...

    def whole(self, node: Node, level: int = COMPARISON) -> str:
        """Return the same at the full shape."""
        ...

    def operands(self, nodes: Sequence[Node], levels: Sequence[int]) -> list[str]:
        """Return texts that NumPy combines at the nodes' own type."""
        ...

    def call(self, helper: str) -> str:
        """Return the name of a helper, which goes into the runner."""
        ...


Spelling = tuple[str, int] | tuple[str, int, tuple[int, ...]]


def kind(dtype: Any) -> str:
    """Return the name of a type in NumPy."""
    name = np.dtype(dtype).name
    return name if name == "bool" else f"np.{name}"


def spell(operation: Operation, texts: Texts) -> Spelling | None:
    """Return the expression, how tightly it binds, and its shape if not the full one.

    None where the primitive has no spelling.
    """
    name, inputs = operation.primitive, operation.inputs
    if name in INFIX or name in FUNCTIONS or name in ELEMENTWISE:
        shape = np.broadcast_shapes(*(node.have for node in inputs))
        if name == "div" and inputs[0].dtype.kind in "iu":
            text, level = _divide_integers(operation, texts)
        elif name in INFIX:
            text, level = _infix(operation, texts)
        elif name in FUNCTIONS:
            function = FUNCTIONS[name]
            function = function if function[:3] == "np." else texts.call(function)
            parts = texts.operands(inputs, [COMPARISON] * len(inputs))
            text, level = f"{function}({', '.join(parts)})", ATOM
        else:
            text, level = ELEMENTWISE[name](operation, texts)
        return text, level, shape
    if name in REDUCTIONS:
        return _reduction(operation, texts)
    if name in CUMULATIVE:
        return _cumulative(operation, texts)
    if name in SCATTERS:
        return _scatter(operation, texts)
    return OTHERS[name](operation, texts) if name in OTHERS else None


def _infix(operation: Operation, texts: Texts) -> tuple[str, int]:
    sign, level = INFIX[operation.primitive]
    # Chained comparisons and bitwise signs mean something else.
    left = SUM if level == COMPARISON else level
    left = ATOM if sign in "&|^" else left
    right = left if level == COMPARISON else level + 1
    one, other = texts.operands(operation.inputs, [left, right])
    return f"{one} {sign} {other}", level


def _divide_integers(operation: Operation, texts: Texts) -> tuple[str, int]:
    parts = ", ".join(texts.part(node, COMPARISON) for node in operation.inputs)
    return f"{texts.call('divide_integers')}({parts})", ATOM


def _negative(operation: Operation, texts: Texts) -> tuple[str, int]:
    return f"-{texts.part(operation.inputs[0], SIGN)}", SIGN


def _not(operation: Operation, texts: Texts) -> tuple[str, int]:
    return f"~{texts.part(operation.inputs[0], ATOM)}", SIGN


def _convert(operation: Operation, texts: Texts) -> tuple[str, int]:
    (node,), (made,) = operation.inputs, operation.outputs
    if node.dtype == made.dtype:
        return texts.part(node, ATOM), ATOM
    return f"{texts.part(node, ATOM)}.astype({kind(made.dtype)})", ATOM


def _integer_power(operation: Operation, texts: Texts) -> tuple[str, int]:
    (node,), power = operation.inputs, operation.params["y"]
    if power == 2:
        return f"np.square({texts.part(node, COMPARISON)})", ATOM
    text = str(power) if node.have else f"{kind(node.dtype)}({power})"
    return f"{texts.part(node, ATOM)} ** {text}", POWER


def _power(operation: Operation, texts: Texts) -> tuple[str, int]:
    base, power = operation.inputs
    if base.dtype == power.dtype:
        one, other = texts.operands(operation.inputs, [COMPARISON] * 2)
        return f"np.power({one}, {other})", ATOM
    made = kind(base.dtype)
    one, other = texts.part(base, COMPARISON), texts.whole(power, ATOM)
    return f"np.power({one}, {other}.astype({made}))", ATOM


def _inverse_root(operation: Operation, texts: Texts) -> tuple[str, int]:
    (node,) = operation.inputs
    one = "1" if node.have else f"{kind(node.dtype)}(1)"
    return f"{one} / np.sqrt({texts.part(node, COMPARISON)})", PRODUCT


def _round(operation: Operation, texts: Texts) -> tuple[str, int]:
    away = int(operation.params["rounding_method"]) == 0
    function = texts.call("round_away") if away else "np.rint"
    return f"{function}({texts.part(operation.inputs[0], COMPARISON)})", ATOM


def _clamp(operation: Operation, texts: Texts) -> tuple[str, int]:
    low, node, high = operation.inputs
    x, low = texts.operands([node, low], [COMPARISON] * 2)
    _, high = texts.operands([node, high], [COMPARISON] * 2)
    return f"np.minimum(np.maximum({x}, {low}), {high})", ATOM


def _select(operation: Operation, texts: Texts) -> tuple[str, int]:
    which, *cases = operation.inputs
    condition = texts.part(which, COMPARISON)
    parts = texts.operands(cases, [COMPARISON] * len(cases))
    if np.dtype(which.dtype).kind == "b":
        return f"np.where({condition}, {parts[1]}, {parts[0]})", ATOM
    parts = ", ".join(texts.whole(case) for case in cases)
    return f"np.choose({texts.whole(which)}, [{parts}])", ATOM


ELEMENTWISE: dict[str, Callable[[Operation, Texts], tuple[str, int]]] = {
    **{"neg": _negative, "not": _not, "convert_element_type": _convert},
    **{"integer_pow": _integer_power, "pow": _power, "rsqrt": _inverse_root},
    **{"round": _round, "clamp": _clamp, "select_n": _select},
}
del FUNCTIONS["pow"]


def _reduction(operation: Operation, texts: Texts) -> Spelling:
    (node, *_), (made,) = operation.inputs, operation.outputs
    axes = tuple(int(axis) for axis in operation.params["axes"])
    text = texts.whole(node, ATOM)
    if not axes:
        return text, ATOM
    method = REDUCTIONS[operation.primitive]
    axis = "" if len(axes) == len(node.shape) else str(axes).replace(",)", ")")
    axis = axis[1:-1] if len(axes) == 1 and axis else axis
    if made.dtype.kind in "iu" and method in ("sum", "prod"):
        axis = f"{axis}{', ' if axis else ''}dtype={kind(made.dtype)}"
    return f"{text}.{method}({axis})", ATOM


def _arg(operation: Operation, texts: Texts) -> Spelling:
    (node,), (axis,) = operation.inputs, operation.params["axes"]
    made = kind(operation.params["index_dtype"])
    text = texts.whole(node, ATOM)
    return f"{text}.{operation.primitive}({int(axis)}).astype({made})", ATOM


def _cumulative(operation: Operation, texts: Texts) -> Spelling:
    (node,), axis = operation.inputs, operation.params["axis"]
    function, text = CUMULATIVE[operation.primitive], texts.whole(node)
    made = f", dtype={kind(node.dtype)}" if node.dtype.kind in "iu" else ""
    if not operation.params["reverse"]:
        return f"{function}.accumulate({text}, {axis}{made})", ATOM
    flipped = f"{function}.accumulate(np.flip({text}, {axis}), {axis}{made})"
    return f"np.flip({flipped}, {axis})", ATOM


def _broadcast(operation: Operation, texts: Texts) -> Spelling:
    """Put axes of length 1 where new ones go; NumPy does the rest."""
    node, (made,) = operation.inputs[0], operation.outputs
    axes = [int(axis) for axis in operation.params["broadcast_dimensions"]]
    if not node.have:
        return texts.part(node, ATOM), ATOM, ()
    lengths = (1,) * (len(node.shape) - len(node.have)) + node.have
    target = [1] * len(made.shape)
    for axis, length in zip(axes, lengths, strict=True):
        target[axis] = length
    while len(target) > len(node.have) and target[0] == 1:
        target.pop(0)
    text = texts.part(node, ATOM)
    if tuple(target) == node.have:
        return text, ATOM, node.have
    shown = ", ".join(map(str, target)) + ("," if len(target) == 1 else "")
    if len(lengths) == len(node.have) and tuple(axes) == tuple(sorted(axes)):
        first = len(made.shape) - len(target)
        kept = {axis - first for axis in axes}
        items = [":" if i in kept else "None" for i in range(len(target))]
        return f"{text}[{', '.join(items)}]", ATOM, tuple(target)
    return f"{text}.reshape({shown})", ATOM, tuple(target)


def _reshape(operation: Operation, texts: Texts) -> Spelling:
    (made,) = operation.outputs
    sizes = ", ".join(map(str, made.shape)) or "()"
    return f"{texts.whole(operation.inputs[0], ATOM)}.reshape({sizes})", ATOM


def _transpose(operation: Operation, texts: Texts) -> Spelling:
    order = [int(axis) for axis in operation.params["permutation"]]
    text = texts.whole(operation.inputs[0], ATOM)
    if order == list(range(len(order)))[::-1]:
        return f"{text}.T", ATOM
    return f"{text}.transpose({', '.join(map(str, order))})", ATOM


def _index(operation: Operation, texts: Texts) -> Spelling:
    (node,), shown, have = operation.inputs, [], []
    missing = len(node.shape) - len(node.have)
    lengths = (0,) * missing + node.have
    items = operation.params["items"]
    for item, length, full in zip(items, lengths, node.shape, strict=True):
        spread = length == 1 and full != 1
        if not length and full:  # NumPy will broadcast to this axis
            continue
        if isinstance(item, int):
            shown.append("0" if spread else str(item))
            continue
        start = "" if item.start == 0 or spread else str(item.start)
        stop = "" if item.stop >= full or spread else str(item.stop)
        step = f":{item.step}" if item.step > 1 and not spread else ""
        shown.append(f"{start}:{stop}{step}")
        have.append(1 if spread else len(range(item.start, item.stop, item.step)))
    while shown and shown[-1] == ":":
        shown.pop()
    text = texts.part(node, ATOM)
    return (f"{text}[{', '.join(shown)}]" if shown else text), ATOM, tuple(have)


def _reverse(operation: Operation, texts: Texts) -> Spelling:
    axes = tuple(int(axis) for axis in operation.params["dimensions"])
    return f"np.flip({texts.whole(operation.inputs[0])}, {axes})", ATOM


def _concatenate(operation: Operation, texts: Texts) -> Spelling:
    parts = ", ".join(texts.whole(node) for node in operation.inputs)
    axis = operation.params.get("dimension", operation.params.get("axis"))
    function = "stack" if operation.primitive == "stack" else "concatenate"
    shown = f", {axis}" if axis else ""
    return f"np.{function}([{parts}]{shown})", ATOM


def _iota(operation: Operation, texts: Texts) -> Spelling:
    (made,), axis = operation.outputs, operation.params["dimension"]
    shape = tuple(n if i == axis else 1 for i, n in enumerate(made.shape) if i >= axis)
    text = f"np.arange({made.shape[axis]}, dtype={kind(made.dtype)})"
    return (f"{text}.reshape({shape})" if len(shape) > 1 else text), ATOM, shape


def _pad(operation: Operation, texts: Texts) -> Spelling:
    node, value = operation.inputs
    low, high, gaps = zip(*operation.params["padding_config"], strict=True)
    parts = texts.whole(node), texts.part(value, COMPARISON)
    settings = (tuple(int(n) for n in numbers) for numbers in (low, high, gaps))
    shown = ", ".join([*parts, *map(str, settings)])
    return f"{texts.call('pad')}({shown})", ATOM


def _dot(operation: Operation, texts: Texts) -> Spelling:
    (one, other), (made,) = operation.inputs, operation.outputs
    (left, right), (batch, along) = operation.params["dimension_numbers"]
    left, right = [int(i) for i in left], [int(i) for i in right]
    wide = kind(made.dtype) if one.dtype != made.dtype else None
    # NumPy's @ takes the last axis of the left and the first, or last but one.
    ranks = len(one.shape), len(other.shape)
    if (
        not batch
        and not wide
        and left == [ranks[0] - 1]
        and right == [0]
        and 1 <= ranks[0] <= 2
        and 1 <= ranks[1] <= 2
    ):
        return f"{texts.whole(one, PRODUCT)} @ {texts.whole(other, SIGN)}", PRODUCT
    letters = iter("ijklmnopqrstuvwxyzabcdefgh")
    first = [next(letters) for _ in one.shape]
    second = [""] * len(other.shape)
    for i, j in (*zip(left, right, strict=True), *zip(batch, along, strict=True)):
        second[int(j)] = first[int(i)]
    second = [letter or next(letters) for letter in second]
    gone = {*left, *(int(i) for i in batch)}
    shared = {*right, *(int(i) for i in along)}
    result = [first[int(i)] for i in batch]
    result += [letter for i, letter in enumerate(first) if i not in gone]
    result += [letter for i, letter in enumerate(second) if i not in shared]
    rule = f"{''.join(first)},{''.join(second)}->{''.join(result)}"
    parts = texts.whole(one), texts.whole(other)
    if wide:
        parts = (
            f"{texts.whole(one, ATOM)}.astype({wide})",
            f"{texts.whole(other, ATOM)}.astype({wide})",
        )
    return f'np.einsum("{rule}", {parts[0]}, {parts[1]})', ATOM


def _dynamic_slice(operation: Operation, texts: Texts) -> Spelling:
    node, *starts = operation.inputs
    sizes = tuple(int(n) for n in operation.params["slice_sizes"])
    shown = ", ".join(texts.part(start, COMPARISON) for start in starts)
    helper = texts.call("dynamic_slice")
    return f"{helper}({texts.whole(node)}, [{shown}], {sizes})", ATOM


def _dynamic_update_slice(operation: Operation, texts: Texts) -> Spelling:
    node, update, *starts = operation.inputs
    shown = ", ".join(texts.part(start, COMPARISON) for start in starts)
    helper = texts.call("dynamic_update_slice")
    parts = f"{texts.whole(node)}, {texts.whole(update)}"
    return f"{helper}({parts}, [{shown}])", ATOM


def _beyond(operation: Operation, dtype: Any) -> str:
    """Return what is taken where an index reaches beyond, in words of the helpers."""
    mode = getattr(operation.params["mode"], "name", "")
    if not mode.startswith("FILL"):
        return '"clip"'
    fill = operation.params.get("fill_value")
    if fill is None:
        if dtype.kind == "f":
            return "np.nan"
        limits = np.iinfo(dtype) if dtype.kind in "iu" else None
        extreme = {"i": "min", "u": "max"}.get(dtype.kind)
        fill = getattr(limits, extreme) if extreme else True
    number = float(fill) if dtype.kind == "f" else fill
    return "np.nan" if number != number else repr(np.asarray(number).item())


def _gather(operation: Operation, texts: Texts) -> Spelling:
    (node, indices), params = operation.inputs, operation.params
    numbers = params["dimension_numbers"]
    sizes = tuple(int(n) for n in params["slice_sizes"])
    beyond = _beyond(operation, node.dtype)
    (*_, width), rank = indices.shape, len(indices.shape) - 1
    axes = _integers(numbers.start_index_map)
    offsets = _integers(numbers.offset_dims)
    collapsed = _integers(numbers.collapsed_slice_dims)
    batched = _integers(numbers.operand_batching_dims)
    plain = width == 1 and collapsed == axes and not batched and beyond == '"clip"'
    if plain:
        (axis,) = axes
        whole = (
            sizes[:axis] + sizes[axis + 1 :]
            == node.shape[:axis] + node.shape[axis + 1 :]
        )
        count = len(node.shape) - 1 + rank
        kept = tuple(i for i in range(count) if not axis <= i < axis + rank)
        if whole and kept == offsets:
            where, added = texts.whole(indices, ATOM), "[:, None]"
            short = rank == 1 and where.endswith(added)
            where = where[: -len(added)] if short else f"{where}[..., 0]"
            return f'np.take({texts.whole(node)}, {where}, {axis}, mode="clip")', ATOM
    settings = (
        *(offsets, collapsed, axes, batched),
        *(_integers(numbers.start_indices_batching_dims), sizes),
    )
    parts = [texts.whole(node), texts.whole(indices), *map(str, settings), beyond]
    return f"{texts.call('gather')}({', '.join(parts)})", ATOM


def _scatter(operation: Operation, texts: Texts) -> Spelling:
    (node, indices, updates), params = operation.inputs, operation.params
    numbers = params["dimension_numbers"]
    clip = getattr(params["mode"], "name", "") != "FILL_OR_DROP"
    settings = (
        _integers(numbers.update_window_dims),
        _integers(numbers.inserted_window_dims),
        _integers(numbers.scatter_dims_to_operand_dims),
        _integers(numbers.operand_batching_dims),
        _integers(numbers.scatter_indices_batching_dims),
        clip,
    )
    arrays = (texts.whole(n) for n in (node, indices, updates))
    parts = [*arrays, *map(str, settings), SCATTERS[operation.primitive]]
    return f"{texts.call('scatter')}({', '.join(parts)})", ATOM


def _tile(operation: Operation, texts: Texts) -> Spelling:
    counts = _integers(operation.params["reps"])
    return f"np.tile({texts.whole(operation.inputs[0])}, {counts})", ATOM


def _cholesky(operation: Operation, texts: Texts) -> Spelling:
    return f"np.linalg.cholesky({texts.whole(operation.inputs[0])})", ATOM


def _triangular_solve(operation: Operation, texts: Texts) -> Spelling:
    names = ("left_side", "lower", "transpose_a", "unit_diagonal")
    settings = [str(operation.params[name]) for name in names]
    parts = [*(texts.whole(node) for node in operation.inputs), *settings]
    return f"{texts.call('triangular_solve')}({', '.join(parts)})", ATOM


def _permutation(operation: Operation, texts: Texts) -> Spelling:
    (node,), size = operation.inputs, operation.params["permutation_size"]
    return f"{texts.call('permutation')}({texts.whole(node)}, {size})", ATOM


def _integers(numbers: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)


OTHERS: dict[str, Callable[[Operation, Texts], Spelling]] = {
    **{"argmax": _arg, "argmin": _arg, "broadcast_in_dim": _broadcast},
    **{"reshape": _reshape, "transpose": _transpose, "index": _index},
    **{"rev": _reverse, "concatenate": _concatenate, "stack": _concatenate},
    **{"iota": _iota, "pad": _pad, "dot_general": _dot, "gather": _gather},
    **{"dynamic_slice": _dynamic_slice, "cholesky": _cholesky},
    **{"dynamic_update_slice": _dynamic_update_slice},
    **{"triangular_solve": _triangular_solve},
    **{"lu_pivots_to_permutation": _permutation, "tile": _tile},
}
