"""The chain rule on a function: the factors between a parameter and the loss.

In x → h = w1·x → ŷ = w2·h → L = (ŷ − y)² dL/dw1 is a product,

    dL/dw1 = dL/dŷ · dŷ/dh · dh/dw1,

with one factor for each variable between w1 and L, and none for w2, on which h does not
depend. Where a variable is used twice, the products of all paths add up. `chain` reads
the factors off the jaxpr of any function, evaluated at one point. For arrays, and for
the steps of a scan, the norms of the derivatives take the place of the numbers: they
show where a gradient vanishes, explodes, or holds nothing but rounding errors.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError, require
from roboopt.diagnose._finding import Finding, warning
from roboopt.report import Summary, Table, number

MAX_PATHS = 16  # in the summary
MAX_FACTORS = 12  # in a printed product
MAX_NODES = 40  # in the summary
MAX_NAMED_PARAMETERS = 4
MAX_EXPRESSION = 40  # characters in the summary
VANISHED, EXPLODED = 1e-6, 1e6  # of a norm from the end of a chain to its beginning
OVERFLOWING = 1e30  # norm of a gradient on its way to infinity
MAX_ROUNDING_SHARE = 0.01  # of a derivative that may be rounding error


@dataclass(frozen=True)
class ChainNode:
    """A variable between the parameters and the loss."""

    name: str
    expression: str
    """The right-hand side of its assignment, or the operation."""
    shape: tuple[int, ...]
    value: float
    """The value of a number; the root mean square of an array's elements."""
    derivative: float
    """Of the loss with respect to the variable; of an array, the Euclidean norm."""
    parameters: tuple[str, ...]
    """The parameters that the variable depends on."""
    factors: dict[str, float]
    """The derivatives with respect to the variables and parameters that the expression
    holds; empty where one of them is an array, or complex."""
    is_complex: bool = False
    """Whether `value` is the modulus of a complex number, and `derivative` the norm
    over its two parts."""


@dataclass(frozen=True)
class ChainPath:
    """A product of factors from the loss to a parameter."""

    names: tuple[str, ...]
    """The loss first, the parameter last."""
    factors: tuple[float, ...]
    partial: tuple[bool, ...] = ()
    """Whether a factor holds other variables that its lower variable changes."""

    @property
    def product(self) -> float:
        """The share of the path in the derivative of the loss."""
        return math.prod(self.factors)

    def __str__(self) -> str:
        """Return the product in symbols and in numbers."""
        partial = self.partial or (False,) * len(self.factors)
        top = [
            f"∂{a}/∂{b}" if held else f"d{a}/d{b}"
            for (a, b), held in zip(
                itertools.pairwise(self.names), partial, strict=True
            )
        ]
        numbers = [number(factor) for factor in self.factors]
        if len(top) > MAX_FACTORS:
            top, numbers = ([*x[:3], "…", *x[-2:]] for x in (top, numbers))
        said = f"{' · '.join(top)} = {' · '.join(numbers)}"
        return said if len(numbers) == 1 else f"{said} = {number(self.product)}"


@dataclass(frozen=True)
class ScanNorms:
    """A scan: the norm of dL/d carry, step by step."""

    name: str
    norms: Float[np.ndarray, " state"]
    """For the carry before each step, and after the last."""
    shares: Float[np.ndarray, " step"]
    """Norms of the part of dL/d parameters, such as a policy's weights, that enters in
    each step."""
    sizes: Float[np.ndarray, " state"]
    """Norms of the carry itself, before each step and after the last."""
    layered: bool = False
    """Whether each step has parameters of its own, as a layer of a network has."""

    def lost_digits(self) -> float:
        """Return how many times the rounding errors of a step have grown at the end.

        The relative error of the carry grows where the derivatives grow and the carry
        does not, as in chaos. Where both grow, as in a linear network, it stays.
        """
        tail = max(2, (len(self.norms) - 1) // 10)
        end = len(self.norms) - tail + int(np.argmax(self.norms[-tail:]))
        effects = self.norms * self.sizes
        if not effects[end] > 0:
            return float(self.norms[0] / self.norms[end])
        return float(np.max(effects) / effects[end])


@dataclass(frozen=True, repr=False)
class Chain:
    """The variables between the parameters and the loss, and the factors."""

    loss: float
    parameters: dict[str, float]
    """The derivative of the loss by each parameter; of an array, the norm."""
    sizes: dict[str, int]
    """How many numbers each parameter holds."""
    unused: tuple[str, ...]
    """Parameters from which nothing leads to the loss: their derivative is zero."""
    nodes: tuple[ChainNode, ...]
    """In the order of evaluation; the loss last."""
    steps: tuple[ScanNorms, ...]
    """One for each scan."""
    rounding: float
    """The relative precision of the numbers."""

    def paths(self, parameter: str) -> list[ChainPath]:
        """Return the products that add up to dL/d `parameter`.

        Raises:
            RobooptError: if there is no such parameter, or an array is on a path.
        """
        rule = f"be one of {', '.join(self.parameters)}"
        require(parameter in self.parameters, "parameter", rule, parameter)
        on_way = [n for n in self.nodes if parameter in n.parameters]
        if not all(node.factors for node in on_way):
            raise RobooptError(
                f"`parameter` {parameter!r} must reach the loss through real numbers "
                f"alone for its factors, got {self._kind(parameter)} on the way; see "
                "`nodes`."
            )
        return list(self._walk(parameter))

    def _walk(self, parameter: str) -> Iterator[ChainPath]:
        by_name = {n.name: n for n in self.nodes if parameter in n.parameters}
        partial = self._partial()
        ways: list[ChainPath] = []
        if self.nodes[-1].name in by_name:
            ways.append(ChainPath((self.nodes[-1].name,), ()))
        while ways:  # No recursion: a chain may be longer than Python's stack.
            way = ways.pop()
            name = way.names[-1]
            if name == parameter:
                yield way
            elif name in by_name:
                ways += [
                    ChainPath(
                        (*way.names, source),
                        (*way.factors, factor),
                        (*way.partial, (name, source) in partial),
                    )
                    for source, factor in reversed(by_name[name].factors.items())
                ]

    def _partial(self) -> set[tuple[str, str]]:
        """Return the factors beside which another way leads between the variables."""
        below: dict[str, set[str]] = {}
        found = set()
        for node in self.nodes:
            indirect = {n for s in node.factors for n in below.get(s, ())}
            found |= {(node.name, s) for s in node.factors if s in indirect}
            below[node.name] = indirect | set(node.factors)
        return found

    def findings(self) -> list[Finding]:
        """Return warnings where a gradient vanishes, explodes, or is rounding error."""
        found = [
            f for steps in self.steps if (f := _scan_finding(steps, self.rounding))
        ]
        if not any(f.code == "not_finite" for f in found):
            found += self._not_finite()
        if not self.steps and not found:
            found += self._along_nodes()
        return found

    def _not_finite(self) -> list[Finding]:
        """Return a warning of the variable nearest to the loss without a derivative."""
        slopes = {n.name: n.derivative for n in reversed(self.nodes)} | self.parameters
        name = next((n for n, s in slopes.items() if not math.isfinite(s)), None)
        if name is None:
            return []
        said = (
            f"the gradient is not finite here ({slopes[name]:.2g}): keep "
            "`sqrt` and division from 0, and let `jnp.where` choose their arguments, "
            "not their results"
        )
        return [warning("not_finite", said, name)]

    def _along_nodes(self) -> list[Finding]:
        """Return a warning where the gradient changes much between the variables."""
        slopes = {n.name: abs(n.derivative) for n in self.nodes if n.derivative}
        if len(slopes) < 2:
            return []
        first, last = list(slopes)[0], list(slopes)[-2]
        ratio = slopes[first] / slopes[last]
        if VANISHED < ratio < EXPLODED:
            return []
        code, word = (
            ("vanishing", "vanishes") if ratio < 1 else ("exploding", "explodes")
        )
        said = (
            f"the gradient {word} on the way from {last} to {first} "
            f"(norm {slopes[last]:.2g}, {slopes[first]:.2g})"
        )
        return [warning(code, said, first)]

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.summary().html()

    def summary(self) -> Summary:
        """Return the variables, the products for each parameter, and the warnings."""
        loss = self.nodes[-1].name
        tables = [self._node_table(loss)]
        tables += [_steps_table(steps, loss) for steps in self.steps]
        said = []
        if (hidden := len(self.nodes) - MAX_NODES) > 0:
            said.append(f"{hidden} variables in the middle (…) are not shown.")
        for name, derivative in self.parameters.items():
            paths, count = self._shown_paths(name), self._count(name)
            said += [str(path) for path in paths]
            total = f"d{loss}/d{name} = {number(derivative)}"
            if len(paths) < count and paths:
                said.append(
                    f"These are {len(paths)} of {count} products: all of them add up "
                    f"to {total}."
                )
            elif len(paths) > 1:
                said.append(f"The sum is {total}.")
            elif not paths and self.sizes[name] > 1:
                said.append(f"The norm of d{loss}/d{name} is {number(derivative)}.")
            elif not paths:
                said.append(
                    f"{total}, by all ways through {self._kind(name)} together."
                )
        if any("∂" in line for line in said):
            said.append(
                "∂y/∂x holds the other variables that x changes; dy/dx counts all ways "
                "from x to y."
            )
        said += [
            f"Nothing leads from {name} to {loss}: d{loss}/d{name} = 0."
            for name in self.unused
        ]
        said += [f"{finding}." for finding in self.findings()]
        title = f"The chain rule from {loss} = {number(self.loss)}"
        return Summary(title, tables, said)

    def _shown_paths(self, parameter: str) -> list[ChainPath]:
        """Return the paths to a parameter, none where there is an array on the way."""
        on_way = [n for n in self.nodes if parameter in n.parameters]
        if not all(node.factors for node in on_way):
            return []
        return list(itertools.islice(self._walk(parameter), MAX_PATHS))

    def _kind(self, parameter: str) -> str:
        """Return what is on the way to a parameter that has no factors."""
        on_way = [n for n in self.nodes if parameter in n.parameters]
        if not any(n.is_complex for n in on_way):
            return "arrays"
        large = self.sizes[parameter] > 1 or any(n.shape for n in on_way)
        return "arrays and complex numbers" if large else "complex numbers"

    def _count(self, parameter: str) -> int:
        """Return how many products there are from the loss to a parameter."""
        counts = {parameter: 1}
        for node in self.nodes:
            counts[node.name] = sum(counts.get(name, 0) for name in node.factors)
        return counts[self.nodes[-1].name]

    def _node_table(self, loss: str) -> Table:
        rows = []
        hidden, half = len(self.nodes) - MAX_NODES, MAX_NODES // 2
        shown = [*self.nodes[:half], *self.nodes[-half:]] if hidden > 0 else self.nodes
        for node in shown:
            size = f"[{' × '.join(map(str, node.shape))}]" if node.shape else ""
            few = len(node.parameters) <= MAX_NAMED_PARAMETERS
            depends = ", ".join(node.parameters)
            depends = depends if few else f"{len(node.parameters)} parameters"
            value = size or number(node.value)
            if node.is_complex:
                value = f"complex {size}" if size else f"|·| {value}"
            said, derivative = node.expression, number(node.derivative)
            if len(said) > MAX_EXPRESSION:
                said = f"{said[: MAX_EXPRESSION - 1].rstrip()}…"
            rows.append([node.name, said, value, derivative, depends])
        if hidden > 0:
            rows.insert(half, ["…"] * 5)
        header = ["variable", "is", "value", f"d{loss}/d·", "depends on"]
        return Table(header, rows, text=(0, 1, 4))


def _steps_table(steps: ScanNorms, loss: str) -> Table:
    length = len(steps.norms) - 1
    picked = sorted({round(k) for k in np.linspace(0, length, 9)})
    shares = [*map(float, steps.shares), math.nan]
    rows = [
        [str(k), number(float(steps.norms[k])), number(shares[k]).replace("nan", "–")]
        for k in picked
    ]
    header = [f"step of {steps.name}", f"norm d{loss}/d carry", f"part of d{loss}/dp"]
    return Table(header, rows)


def _scan_finding(steps: ScanNorms, rounding: float) -> Finding | None:
    """Return a warning where the gradient does not arrive at the first step."""
    norms, length = steps.norms, len(steps.norms) - 1
    tail = max(2, length // 10)
    last = len(norms) - tail + int(np.argmax(norms[-tail:]))
    end = float(norms[last])
    # Parameters that enter in every step learn from the late ones.
    reached = 0.0 if steps.layered else float(np.max(steps.shares, initial=0.0))
    if not np.isfinite(norms).all():
        code, said = "not_finite", "is not finite"
    elif end == 0 or norms[0] == 0:
        return None
    elif steps.lost_digits() * rounding > MAX_ROUNDING_SHARE:
        code, said = "rounding", "is rounding error: it grew beyond all digits"
    elif norms[0] / end > EXPLODED:
        code, said = "exploding", "explodes"
    elif max(float(norms[0]), reached) / end < VANISHED:
        code, said = "vanishing", "vanishes"
    else:
        return None
    message = (
        f"the gradient {said} on the way from step {last} to step 0 "
        f"(norm {end:.2g}, {norms[0]:.2g}): {_remedy(steps, code)}"
    )
    return warning(code, message, steps.name)


def _remedy(steps: ScanNorms, code: str) -> str:
    finite = steps.norms[np.isfinite(steps.norms)]
    if code == "not_finite" and np.max(finite, initial=0.0) < OVERFLOWING:
        return (
            "look for a root, a logarithm or a division at the edge of its domain, "
            "and keep its argument inside by `jnp.where`"
        )
    if steps.layered:
        return "let the initial weights of a layer keep the length of its input"
    if code == "vanishing":
        return "shorten the horizon, or let the loss count every step"
    return "shorten the horizon, or use `gradient_decay_time` of a `Rollout`"
