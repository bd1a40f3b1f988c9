"""Blocks of operations as lines of Python that need NumPy alone.

What is used once, in the block that makes it, is written where it is used; the rest
gets a name. Loops and branches become Python's own.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.export._graph import Block, Node, Operation
from roboopt.export._spelling import ATOM, COMPARISON, SIGN, SILENT, kind, spell

LONGEST = 64  # characters that are written where they are used
LONGEST_FACTOR = 32  # of a matrix product, likewise
INSTEAD = {
    **{"random": "let the policy act without chance, as on its mean action"},
    **{"threefry": "let the policy act without chance, as on its mean action"},
    **{"conv": "export what comes after the convolutions, on their features"},
    **{"callback": "compute in jax.numpy what the callback computes"},
    **{"fft": "write the transform as a product with a constant matrix"},
    **{"erf_inv": "write it in functions such as jnp.exp, jnp.log and jnp.tanh"},
    **{"eig": "use jnp.linalg.solve, inv or cholesky"},
    **{"svd": "use jnp.linalg.solve, inv or cholesky"},
    **{"qr": "use jnp.linalg.solve, inv or cholesky"},
    **{"householder": "use jnp.linalg.solve, inv or cholesky"},
}


class Writer:
    """Writes blocks that share constants, helpers and names."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.constants: dict[str, np.ndarray] = {}
        self.helpers: set[str] = set()
        self.silent = False
        self._lines: list[str] = []
        self._indent = ""
        self._count = 0
        self._uses: Counter[Node] = Counter()
        self._homes: dict[Node, set[Block]] = {}
        self._factors: set[Node] = set()
        self._names: dict[tuple[str, bytes, str], str] = {}

    def write(self, block: Block, inputs: Sequence[str], indent: str) -> list[str]:
        """Return the lines of `block`, which end by returning its results in a list.

        Args:
            block: of a function.
            inputs: the texts of its inputs.
            indent: before each line.
        """
        self._lines, self._indent, self._count = [], indent, 0
        self._uses, self._homes, self._factors = Counter(), {}, set()
        self._look(block)
        for node, text in zip(block.inputs, inputs, strict=True):
            _known(node, text)
        self._block(block)
        results = [self._result(node) for node in block.outputs]
        self._add(f"return [{', '.join(results)}]")
        return self._lines

    # What a spelling asks for.

    def part(self, node: Node, level: int) -> str:
        """Return the text of a node, in parentheses unless it binds so tightly."""
        text, own = (node.text, node.level)
        if node.constant:
            text, own = self._constant(node, typed=True)
        return text if own >= level else f"({text})"

    def whole(self, node: Node, level: int = COMPARISON) -> str:
        """Return the same at the full shape."""
        if node.constant and node.have != node.shape:
            value = np.broadcast_to(node.value, node.shape)
            return self._stored(np.ascontiguousarray(value), node.name)
        if node.have == node.shape:
            return self.part(node, level)
        return f"np.broadcast_to({self.part(node, COMPARISON)}, {node.shape})"

    def operands(self, nodes: Sequence[Node], levels: Sequence[int]) -> list[str]:
        """Return texts that NumPy combines at the nodes' own type.

        A bare number takes on the type of an array beside it. Beside a scalar it does
        not in NumPy 1, unless it is of the type that Python gives it.
        """
        texts = []
        for node, level in zip(nodes, levels, strict=True):
            others = (n for n in nodes if not n.constant or n.have)
            bare = any(n.have and n.dtype == node.dtype for n in others)
            if node.constant:
                text, own = self._constant(node, typed=not bare)
                texts.append(text if own >= level else f"({text})")
            else:
                texts.append(self.part(node, level))
        return texts

    def call(self, helper: str) -> str:
        """Return the name of a helper, which goes into the runner."""
        self.helpers.add(helper)
        return helper

    # Statements.

    def _add(self, line: str) -> None:
        self._lines.append(self._indent + line)

    def _look(self, block: Block) -> None:
        """Count where each node is used."""

        def use(node: Node) -> None:
            self._uses[node] += 1
            self._homes.setdefault(node, set()).add(block)

        for operation in block.operations:
            for node in operation.inputs:
                use(node)
            if operation.primitive == "dot_general":
                self._factors.update(operation.inputs)
            for inner in operation.blocks:
                self._look(inner)
        for node in block.outputs:
            use(node)

    def _block(self, block: Block) -> None:
        written: dict[str, str] = {}
        for operation in block.operations:
            self.silent |= operation.primitive in SILENT
            if operation.primitive in STATEMENTS:
                STATEMENTS[operation.primitive](self, operation)
                continue
            spelled = spell(operation, self)
            if spelled is None:
                raise RobooptError(_unsupported(operation.primitive))
            text, level, *have = spelled
            (node,) = operation.outputs
            node.have = have[0] if have else node.shape
            once = self._uses[node] == 1 and self._homes[node] == {block}
            simple = re.fullmatch(r"\w+|self\.\w+", text)
            most = LONGEST_FACTOR if node in self._factors else LONGEST
            if simple or (once and len(text) <= most):
                node.text, node.level = text, level
            elif text in written:
                _known(node, written[text], node.have)
            else:
                written[text] = self._new(node, node.have)
                self._add(f"{node.text} = {text}")

    def _new(self, node: Node, have: tuple[int, ...] | None = None) -> str:
        self._count += 1
        _known(node, f"x{self._count}", have)
        return node.text

    def _result(self, node: Node) -> str:
        """Return a copy at the full shape, which nobody else holds."""
        return f"np.array({self.whole(node)}, dtype={kind(node.dtype)})"

    def _constant(self, node: Node, *, typed: bool) -> tuple[str, int]:
        if node.have:
            return self._stored(node.value, node.name), ATOM
        return literal(node.value[()], node.dtype, typed=typed)

    def _stored(self, value: np.ndarray, name: str | None) -> str:
        """Return the text of an array that goes into the file."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise RobooptError(
                "`policy` must hold numbers of the types that NumPy has, got an array "
                f"of {value.dtype}."
            )
        content = (str(value.shape), value.tobytes(), str(value.dtype))
        if content in self._names:
            return self._names[content]
        base = re.sub(r"\W+", "_", name or "constant").strip("_")
        base = f"array_{base}" if base[:1].isdigit() else base
        free, number = base, 2
        while free in self.constants or free in RESERVED:
            free, number = f"{base}_{number}", number + 1
        self.constants[free] = value
        self._names[content] = f"self.{free}"
        return f"self.{free}"

    def _branch(self, operation: Operation) -> None:
        (which,) = operation.inputs
        index = self.part(which, SIGN)
        if not re.fullmatch(r"\w+", index):
            self._count += 1
            self._add(f"x{self._count} = int({index})")
            index = f"x{self._count}"
        names = []
        for node in operation.outputs:
            names.append(self._new(node))
        for i, block in enumerate(operation.blocks):
            last = i == len(operation.blocks) - 1
            word = "if" if i == 0 else "elif"
            self._add("else:" if last else f"{word} {index} <= {i}:")
            self._inside(lambda block=block: self._leave(block, names))

    def _leave(self, block: Block, names: list[str]) -> None:
        self._block(block)
        self._assign(names, block.outputs)

    def _assign(self, names: Sequence[str], nodes: Sequence[Node]) -> None:
        """Write all at once, as one may be another's earlier value."""
        pairs = [(n, self.whole(v)) for n, v in zip(names, nodes, strict=True)]
        pairs = [(name, text) for name, text in pairs if name != text]
        if pairs:
            left, right = (", ".join(texts) for texts in zip(*pairs, strict=True))
            self._add(f"{left} = {right}")
        elif not names:
            self._add("pass")

    def _inside(self, write) -> None:
        before, length = self._indent, len(self._lines)
        self._indent += "    "
        write()
        if len(self._lines) == length:
            self._add("pass")
        self._indent = before

    def _while(self, operation: Operation) -> None:
        condition, body = operation.blocks
        names = []
        for node in operation.outputs:
            names.append(self._new(node))
        self._assign(names, operation.inputs)
        for block in operation.blocks:
            for node, name in zip(block.inputs, names, strict=True):
                _known(node, name)
        self._add("while True:")

        def write() -> None:
            self._block(condition)
            self._add(f"if not {self.part(condition.outputs[0], ATOM)}:")
            self._inside(lambda: self._add("break"))
            self._leave(body, names)

        self._inside(write)

    def _scan(self, operation: Operation) -> None:
        params, (body,) = operation.params, operation.blocks
        length, carried = params["length"], params["num_carry"]
        carry, made = operation.outputs[:carried], operation.outputs[carried:]
        names = [self._new(node) for node in carry]
        self._assign(names, operation.inputs[:carried])
        for node, name in zip(body.inputs[:carried], names, strict=True):
            _known(node, name)
        for node in made:
            name = self._new(node)
            self._add(f"{name} = np.empty({node.shape}, {kind(node.dtype)})")
        sources = []
        for node in operation.inputs[carried:]:
            text = self.whole(node, ATOM)
            if not re.fullmatch(r"[\w.]+", text):
                self._count += 1
                self._add(f"x{self._count} = {text}")
                text = f"x{self._count}"
            sources.append(text)
        self._count += 1
        index = f"i{self._count}"
        order = f"range({length})"
        order = f"reversed({order})" if params["reverse"] else order
        self._add(f"for {index} in {order}:")
        for node, text in zip(body.inputs[carried:], sources, strict=True):
            _known(node, f"{text}[{index}]")

        def write() -> None:
            self._block(body)
            for node, output in zip(made, body.outputs[carried:], strict=True):
                self._add(f"{node.text}[{index}] = {self.part(output, COMPARISON)}")
            self._assign(names, body.outputs[:carried])

        self._inside(write)

    def _several(self, operation: Operation) -> None:
        """Write a call that returns several arrays."""
        name, inputs = operation.primitive, operation.inputs
        texts = [self.whole(node) for node in inputs]
        if name == "sort":
            axis, keys = operation.params["dimension"], operation.params["num_keys"]
            if len(inputs) == 1:
                call = f"[np.sort({texts[0]}, {axis})]"
            elif keys == 1:
                helper = self.call("sort_together")
                call = f"{helper}([{', '.join(texts)}], {axis})"
            else:
                raise RobooptError(
                    "`policy` must sort by one key, as jnp.sort and jnp.argsort do, "
                    f"got {keys}."
                )
        elif name == "top_k":
            call = f"{self.call('top_k')}({texts[0]}, {operation.params['k']})"
        else:
            call = f"{self.call('lu')}({texts[0]})"
        names = ", ".join(self._new(node) for node in operation.outputs)
        comma = "," if len(operation.outputs) == 1 else ""
        self._add(f"{names}{comma} = {call}")


STATEMENTS = {
    **{"cond": Writer._branch, "while": Writer._while, "scan": Writer._scan},
    **{"sort": Writer._several, "top_k": Writer._several, "lu": Writer._several},
}
RESERVED = {"reset"}


def literal(value: Any, dtype: np.dtype, *, typed: bool) -> tuple[str, int]:
    """Return a number as Python writes it, and how tightly that binds.

    Args:
        value: the number.
        dtype: its type.
        typed: whether the text shall be of that type where it stands alone.
    """
    if dtype.kind == "b":
        return ("np.True_" if value else "np.False_"), ATOM
    number = value.item()
    if number != number or number in (np.inf, -np.inf):
        text = {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[repr(number)]
    else:
        text = _shortest(value) if dtype.kind == "f" else repr(number)
    if typed:
        return f"{kind(dtype)}({text})", ATOM
    return text, (SIGN if text.startswith("-") else ATOM)


def _shortest(value: Any) -> str:
    """Return the fewest digits that come back to the same number."""
    return (
        np.format_float_positional(value, trim="0")
        if (value == 0 or 1e-4 <= abs(value) < 1e16)
        else np.format_float_scientific(value, trim="0")
    )


def _known(node: Node, text: str, have: tuple[int, ...] | None = None) -> None:
    node.text, node.level = text, ATOM
    node.have = node.shape if have is None else have


def _unsupported(primitive: str) -> str:
    hint = next(
        (text for part, text in INSTEAD.items() if part in primitive),
        "write it in arithmetic, comparisons, matrix products, indexing, reductions, "
        "jnp.where and jax.lax loops",
    )
    return (
        f"`policy` must consist of what NumPy can do, got `{primitive}`, which has no "
        f"export: {hint}."
    )
