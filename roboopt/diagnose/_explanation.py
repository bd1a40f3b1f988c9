"""What `explain` returns: the numbers of a gradient, as tables, figures and words."""

import csv
import itertools
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from roboopt.diagnose._explanation_figures import (
    TERM_COLORS,
    layer_panel,
    line_panel,
    pull_panel,
    step_panel,
    time_panel,
)
from roboopt.diagnose._explanation_words import (
    cosine,
    disagreeing,
    flat_within,
    in_jumps,
    noise,
    percent,
    sentences,
    signed,
)
from roboopt.report import (
    Figure,
    Notes,
    Section,
    Summary,
    Table,
    VerbResult,
    number,
    readable,
)

TINY = 1e-15  # in SI units: of rounding, in a value that should be 0
FLAT = 1e-9  # change of the loss by 1 %, relative to the largest: no effect
TIME_COLUMNS = 5  # of the table by time
MAX_NAME_AND_UNIT = 24  # characters that a table has room for in two columns
NO_RATES = partial(np.zeros, 0)
LAST = "L falls by"


@dataclass(frozen=True)
class TermShare:
    """One term of the loss."""

    name: str
    value: float
    """Weight · value."""
    unit: str
    """Of the value without its weight."""


@dataclass(frozen=True)
class TimeSplit:
    """The gradient of a policy, split by the steps of its rollout."""

    time_step: float
    """[s]"""
    sensitivity: Float[np.ndarray, " time"]
    """Norm of the derivative of a motion's loss with respect to its action in each
    step, the root mean square over the starts."""
    shares: Float[np.ndarray, "time row"] | None
    """The part of each row's derivative that the actions in a step carry, which adds up
    to the derivative; for an array the component along the array's whole derivative,
    which adds up to its norm. None for a policy with memory."""


@dataclass(frozen=True, repr=False)
class Explanation(VerbResult):
    """The gradient of an objective at a model: direction and size by parameter.

    A row is a parameter: a number, or an array where there are more than 24 numbers.
    """

    loss: float
    names: tuple[str, ...]
    """Of the rows, such as "gains[0, 1]"."""
    sizes: tuple[int, ...]
    """How many numbers each row stands for."""
    values: tuple[float, ...]
    """The numbers; the root mean square of an array."""
    units: tuple[str, ...]
    derivatives: Float[np.ndarray, "row column"]
    """Of each weighted term, and last of the loss; for arrays their norms."""
    changes: Float[np.ndarray, "row 2"]
    """Changes of the loss as a number is lowered and raised by 1 % of its `scales`, so
    that −2 is raised to −1.98; or an array multiplied by 0.99 and 1.01."""
    terms: tuple[TermShare, ...]
    gradient_norm: float
    cosines: Float[np.ndarray, "term term"] = field(default_factory=lambda: np.eye(1))
    """Between the gradients of the terms per percent of each row; NaN for a term
    without gradient."""
    learning_rates: Float[np.ndarray, " rate"] = field(default_factory=NO_RATES)
    """Of the steps that were tried; none where the loss was not evaluated, and the
    `changes` are of first order."""
    predicted: Float[np.ndarray, " rate"] = field(default_factory=NO_RATES)
    """First-order change −η |g|² of the loss after a step −η g."""
    actual: Float[np.ndarray, " rate"] = field(default_factory=NO_RATES)
    """The change of the loss after that step."""
    curvature: float = math.nan
    """gᵀHg / gᵀg along the gradient g; NaN where JAX cannot differentiate."""
    time: TimeSplit | None = None
    """None where the objective is not one of a policy's rollouts from starts."""
    scales: tuple[float, ...] = ()
    """The size of each row that a change of 1 % is of: the absolute value; for a value
    of zero the root mean square of its array, or 1, as by default."""
    at_bound: tuple[bool, ...] = ()
    """Which rows are at a bound that the gradient points beyond; empty without bounds.
    """
    line_rates: Float[np.ndarray, " point"] = field(default_factory=lambda: np.zeros(0))
    """Learning rates from 0 to beyond 2 / `curvature`; none where it is not positive.
    """
    line: Float[np.ndarray, " point"] = field(default_factory=lambda: np.zeros(0))
    """The change of the loss after a step at each of the `line_rates`."""
    rounding: float = float(np.finfo(float).eps)
    """Relative precision of the loss."""
    evaluated: bool = True
    """Whether `changes` were reached; otherwise they are promises of the slope."""
    differences: Float[np.ndarray, "compared 3"] = field(
        default_factory=lambda: np.zeros((0, 3))
    )
    """By small steps: ΔL/Δp, its estimated error, and JAX's derivative for comparison;
    a row for each number or array, which is scaled as a whole, and for a large model
    one along the gradient."""
    logarithms: tuple[str, ...] = ()
    """Rows of which the model holds the logarithm."""
    plain_cosines: Float[np.ndarray, "term term"] | None = None
    """Between the gradients as they are, whatever the units of the parameters."""
    decay_time: float = math.inf
    """`gradient_decay_time` [s] of the rollout, with which the derivative is not that
    of the loss."""
    constants: tuple[str, ...] = ()
    """Python numbers in the containers of the model, which are no parameters."""
    second_order: bool = False
    """Whether `changes` are the loss to second order, and not evaluated."""

    def __post_init__(self):
        if not self.scales:
            scales = tuple(abs(value) or 1.0 for value in self.values)
            object.__setattr__(self, "scales", scales)

    @property
    def gradient(self) -> Float[np.ndarray, " row"]:
        """The derivative of the loss with respect to each row; for arrays its norm."""
        return self.derivatives[:, -1]

    def same_point(self, other: "Explanation") -> bool:
        """Return whether both are of one model, as where a descent kept its start."""
        return self.values == other.values and self.loss == other.loss

    def direction(self, row: int) -> str:
        """Return what lowers the loss: "raising it" or "lowering it".

        Or "at its bound"; "flat here", where the derivative is zero; "flat ± 1 %" (of a
        zero "flat ± 0.01", or what was tried), where such a change lowers the loss
        neither way; "not finite"; and "unclear", where the loss does not do what the
        derivative says.
        """
        if self.sizes[row] > 1:
            return "–"
        if self.at_bound and self.at_bound[row]:
            return "at its bound"
        if not (np.isfinite(self.gradient[row]) and np.isfinite(self.values[row])):
            return "not finite"
        if row in disagreeing(self):
            return "unclear"
        limit = noise(self)
        if in_jumps(self, row):
            return "unclear"
        if self._negligible()[row, -1]:
            return "flat here"
        if (self.changes[row] > limit).any() and (self.changes[row] >= -limit).all():
            return f"flat ± {percent(self, row)}"
        return "raising it" if self.gradient[row] < 0 else "lowering it"

    def _negligible(self) -> np.ndarray:
        """Return which derivatives of a term or L have no effect beside the largest."""
        effect = np.abs(self.derivatives) * np.array(self.scales)[:, None]
        known = np.isfinite(effect)
        return known & (effect <= FLAT * effect.max(0, initial=0.0, where=known))

    def summary(self) -> Summary:
        """Return the tables of parameters, terms, steps and time, and what they say."""
        tables = [self.parameter_table()]
        if len(self.layers()) > 1:
            tables.append(self.layer_table())
        if len(self.terms) > 1:
            tables += [self.pull_table(), self.term_table()]
        if len(self.learning_rates):
            tables.append(self.step_table())
        if self.time is not None:
            tables.append(self.time_table(self.time))
        title = f"The gradient at a loss of {number(self.loss)}"
        return Summary(title, tables, self.sentences())

    def parameter_table(self) -> Table:
        """Return value, derivative, and the effect of one percent for each row."""
        norms = any(size > 1 for size in self.sizes)
        width = max(map(len, self.names)) + max(map(len, self.units))
        folded = width > MAX_NAME_AND_UNIT
        names = [
            f"{name} [{unit}]" if folded and unit else name
            for name, unit in zip(self.names, self.units, strict=True)
        ]
        slopes = np.where(self._negligible()[:, -1], 0.0, self.gradient)
        columns = {
            "parameter": names,
            "rms value" if norms else "value": map(self._value, range(len(self.names))),
            "unit": self.units,
            "norm dL/dp" if norms else "dL/dp": map(
                number, np.abs(slopes) if norms else slopes
            ),
        }
        if folded or not any(self.units):
            del columns["unit"]
        before = len(columns)
        down, up = ("× 0.99", "× 1.01") if norms else ("lower", "higher")
        known = np.abs(self.changes) > noise(self)
        lower, higher = np.where(known | np.isnan(self.changes), self.changes, 0.0).T
        if norms:  # A negative number that is multiplied by 1.01 is lowered.
            turned = (np.array(self.values) < 0) & (np.array(self.sizes) == 1)
            lower, higher = np.where(turned, (higher, lower), (lower, higher))
        columns[down], columns[up] = map(signed, lower), map(signed, higher)
        change = "change of L if" if norms else "change of L if 1 %"
        change += "" if self.evaluated else " (by slope)"
        change += " (2nd order)" if self.second_order else ""
        groups = [("", before), (change, 2)]
        if not norms:  # An array has no one direction.
            columns["L falls by"] = map(self.direction, range(len(self.names)))
            groups.append(("", 1))
        header = list(columns)
        text = [k for k, h in enumerate(header) if h in ("parameter", "unit", LAST)]
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        return Table(header, rows, groups=groups, text=text)

    def _value(self, row: int) -> str:
        """Return the value; beside 0 the change that stands for one percent."""
        value = self.values[row] if abs(self.values[row]) > TINY else 0.0
        said = number(value)
        if self.values[row] == 0:
            said += f" ± {percent(self, row)}"
        return said

    def layers(self) -> dict[str, list[int]]:
        """Return the rows of each layer of a network, none for single numbers.

        A layer's arrays share a name up to its last part: "layers[0].weight", ".bias".
        """
        found: dict[str, list[int]] = {}
        if any(size > 1 for size in self.sizes):
            for row, name in enumerate(self.names):
                found.setdefault(name.rpartition(".")[0] or name, []).append(row)
        alone = lambda layer, own: self.names[own[0]] if len(own) == 1 else layer  # noqa: E731
        return {alone(layer, own): own for layer, own in found.items()}

    def layer_norms(self) -> Float[np.ndarray, "layer column"]:
        """Return the norm of the derivatives by layer, of each term and of the loss."""
        rows = self.layers().values()
        return np.array([np.linalg.norm(self.derivatives[own], axis=0) for own in rows])

    def layer_table(self) -> Table:
        """Return the norm of the derivatives layer by layer."""
        rows = []
        for (layer, own), norms in zip(
            self.layers().items(), self.layer_norms(), strict=True
        ):
            count = sum(self.sizes[row] for row in own)
            norm = float(norms[-1])
            rows.append([layer, str(count), number(norm), number(norm / count**0.5)])
        return Table(["layer", "numbers", "norm dL/dp", "rms dL/dp"], rows)

    def pull_table(self) -> Table:
        """Return the derivative of each weighted term, and their sum."""
        norms = any(size > 1 for size in self.sizes)
        first = "norm dL/dp by term" if norms else "dL/dp by term"
        last = "norm of the sum" if norms else "sum"
        header = [first, *(readable(t.name) for t in self.terms), last]
        shown = np.where(self._negligible(), 0.0, self.derivatives)
        shown = np.abs(shown) if norms else shown
        rows = [
            [name, *map(number, row)]
            for name, row in zip(self.names, shown, strict=True)
        ]
        return Table(header, rows)

    def term_table(self) -> Table:
        """Return each weighted term, and the cosines between their gradients."""
        names = [readable(term.name) for term in self.terms]
        rows = [
            [names[k], number(term.value), *(cosine(c) for c in self.cosines[k])]
            for k, term in enumerate(self.terms)
        ]
        header = ["term", "part of L", *names]
        return Table(header, rows, groups=[("", 2), ("cosine with", len(names))])

    def step_table(self) -> Table:
        """Return the predicted and the actual change of the loss by learning rate."""
        rows = [
            [
                f"{rate:g}",
                signed(predicted),
                signed(actual),
                _ratio(actual if abs(actual) > noise(self) else math.nan, predicted),
            ]
            for rate, predicted, actual in zip(
                self.learning_rates, self.predicted, self.actual, strict=True
            )
        ]
        header = ["learning rate", "predicted ΔL", "actual ΔL", "actual / predicted"]
        return Table(header, rows)

    def time_table(self, split: TimeSplit) -> Table:
        """Return dL/da over time, and the part of each row."""
        steps = len(split.sensitivity)
        edges = np.unique(np.linspace(0, steps, TIME_COLUMNS + 1).astype(int))
        spans = list(itertools.pairwise(edges))
        roots = [math.sqrt(np.mean(split.sensitivity[a:b] ** 2)) for a, b in spans]
        rows = [["rms dL/da", *map(number, roots)]]
        norms, first = any(size > 1 for size in self.sizes), ""
        if split.shares is not None:
            first = "part of norm dL/dp" if norms else "part of dL/dp"
            parts = np.array([split.shares[a:b].sum(0) for a, b in spans]).T
            rows += [
                [name, *map(number, part)]
                for name, part in zip(self.names, parts, strict=True)
            ]
        step = split.time_step
        times = [f"{a * step:.3g}–{b * step:.3g}" for a, b in spans]
        return Table([first, *times], rows, groups=[("", 1), ("time [s]", len(spans))])

    def sentences(self) -> list[str]:
        """Return what the numbers say."""
        return sentences(self)

    def sections(self, *, video: bool = True) -> list[Section]:
        """Return the section of a report."""
        blocks = self.blocks()
        flat = [Notes(said)] if (said := flat_within(self)) else []
        return [Section("Gradient", [blocks[0], *flat, *blocks[2:]])]

    def blocks(self) -> list[Table | Figure | Notes]:
        """Return the sentences, the tables and a figure for a report."""
        table, *tables = self.summary().tables
        panels, said = [], []
        if all(size == 1 for size in self.sizes):
            panels.append(pull_panel(self))
            by_term = ", by term" if len(self.terms) > 1 else ""
            said.append(
                f"Predicted ΔL if raised by 1 %: what the slope says{by_term}; "
                "negative bars lower L."
            )
        elif len(self.layers()) > 1:
            panels.append(layer_panel(self))
            by_term = ", by term" if len(self.terms) > 1 else ""
            said.append(f"Norm of dL/dp, layer by layer{by_term}.")
        if len(self.line):
            panels.append(line_panel(self))
            said.append("Along −η · gradient: L, and dashed its slope at the start.")
        if len(self.learning_rates):
            panels.append(step_panel(self))
            said.append(
                "Decrease by one step: dashed what the slope promises, dots what was "
                "reached, crosses where L rises."
            )
        if self.time is not None:
            panels.append(time_panel(self.time))
            said.append(
                "Each action: rms dL/da over time, of what an action changes later too."
            )
        names = [readable(term.name) for term in self.terms]
        drawn = len(names) > 1 and said and "by term" in said[0]
        legend = dict(zip(names, TERM_COLORS, strict=False)) if drawn else {}
        figure = [Figure(panels, " ".join(said), legend, columns=2)] if panels else []
        notes = Notes([*self.sentences(), *flat_within(self)])
        return [table, notes, *figure, *tables]

    def write_files(self, folder: Path) -> None:
        """Write gradient.csv: a row a parameter."""
        names = [f"d({term.name})" for term in self.terms]
        with (folder / "gradient.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["parameter", "value", "unit", *names, "dL"])
            for k, name in enumerate(self.names):
                row = [name, self.values[k], self.units[k], *self.derivatives[k]]
                writer.writerow([str(cell) for cell in row])


def _ratio(actual: float, predicted: float) -> str:
    with np.errstate(all="ignore"):
        ratio = np.divide(actual, predicted) + 0.0
    return f"{ratio:.3g}".replace("-", "−") if np.isfinite(ratio) else "–"
