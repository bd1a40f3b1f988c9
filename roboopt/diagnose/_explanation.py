"""What `explain` returns: the numbers of a gradient, as tables, figures and words."""

import csv
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from roboopt.report import (
    BEFORE_AFTER,
    GRAY,
    INK,
    Figure,
    Notes,
    Section,
    Summary,
    Table,
    VerbResult,
    number,
    panel,
    readable,
)

FLAT = 1e-9  # change of the loss by 1 %, relative to the largest: no effect
MIN_OPPOSED = -0.1  # cosine below which two terms pull against each other
KEPT_SHARE = 0.1  # by which the actual decrease may differ from the predicted
TIME_ROWS = 7
NO_RATES = partial(np.zeros, 0)
TERM_COLORS = ("#2f80c9", "#d9772b", "#4a9d6e", "#8a63b8", "#b8864b", "#c05a7a")


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
    """Norm of the derivative of a motion's loss by its action in each step, the root
    mean square over the starts."""
    shares: Float[np.ndarray, "time row"] | None
    """The part of each row's derivative that the actions in a step carry, which adds up
    to the derivative (norms for arrays); None for a policy with memory."""


@dataclass(frozen=True)
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
    """Changes of the loss as a number is lowered and raised by 1 % of its size, or an
    array multiplied by 0.99 and 1.01; NaN for a value of zero."""
    terms: tuple[TermShare, ...]
    gradient_norm: float
    cosines: Float[np.ndarray, "term term"] = field(default_factory=lambda: np.eye(1))
    """Between the gradients of the terms; NaN for a term without gradient."""
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
    at_bound: tuple[bool, ...] = ()
    """Which rows are at a bound that the gradient points beyond; empty without bounds.
    """

    @property
    def gradient(self) -> Float[np.ndarray, " row"]:
        """The derivative of the loss by each row; for arrays its norm."""
        return self.derivatives[:, -1]

    def direction(self, row: int) -> str:
        """Return what lowers the loss: "raising it" or "lowering it".

        Or "at its bound"; "flat here", where the derivative is zero; and "flat ± 1 %",
        where one percent raises the loss both ways.
        """
        if self.sizes[row] > 1:
            return "–"
        if self.at_bound and self.at_bound[row]:
            return "at its bound"
        effect = np.abs(self.gradient) * np.maximum(np.abs(self.values), 1e-300)
        if self.gradient[row] == 0 or effect[row] < FLAT * effect.max() * (
            self.values[row] != 0
        ):
            return "flat here"
        if (self.changes[row] > 0).all():
            return "flat ± 1 %"
        return "raising it" if self.gradient[row] < 0 else "lowering it"

    def summary(self) -> Summary:
        """Return the tables of parameters, terms, steps and time, and what they say."""
        tables = [self.parameter_table()]
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
        rows = []
        for k, name in enumerate(self.names):
            down, up = self.changes[k]
            rows.append(
                [
                    name,
                    number(self.values[k]),
                    self.units[k],
                    number(self.gradient[k]),
                    _signed(down),
                    _signed(up),
                    self.direction(k),
                ]
            )
        norms = any(size > 1 for size in self.sizes)
        header = ["parameter", "value", "unit", "dL/dp", "L at −1 %", "L at +1 %"]
        header = [*header, "L falls by"]
        table = Table(header, rows, text=(0, 2, 6), optional=(2, 4))
        if norms:
            header[1], header[3] = "rms value", "norm dL/dp"
            # An array has no one direction.
            cut = [row[:6] for row in rows]
            table = Table(header[:6], cut, text=(0, 2), optional=(4, 2))
        return _without_empty(table)

    def pull_table(self) -> Table:
        """Return the derivative of each weighted term, and their sum."""
        header = ["dL/dp by term", *(readable(t.name) for t in self.terms), "sum"]
        rows = [
            [name, *map(number, self.derivatives[k])]
            for k, name in enumerate(self.names)
        ]
        # The sum is in the table of parameters too.
        return Table(header, rows, optional=(len(header) - 1,))

    def term_table(self) -> Table:
        """Return each weighted term, and the cosines between their gradients."""
        names = [readable(term.name) for term in self.terms]
        rows = [
            [names[k], number(term.value), *(_cosine(c) for c in self.cosines[k])]
            for k, term in enumerate(self.terms)
        ]
        header = ["term", "weight · value", *names]
        return Table(header, rows, groups=[("", 2), ("cosine with", len(names))])

    def step_table(self) -> Table:
        """Return the predicted and the actual change of the loss by learning rate."""
        rows = [
            [
                f"{rate:g}",
                _signed(predicted),
                _signed(actual),
                _ratio(actual, predicted),
            ]
            for rate, predicted, actual in zip(
                self.learning_rates, self.predicted, self.actual, strict=True
            )
        ]
        return Table(["learning rate", "predicted ΔL", "actual ΔL", "ratio"], rows)

    def time_table(self, split: TimeSplit) -> Table:
        """Return the derivative by the action over time, and the part of each row."""
        steps = len(split.sensitivity)
        edges = np.unique(np.linspace(0, steps, TIME_ROWS + 1).astype(int))
        rows = []
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            span = f"{start * split.time_step:.3g} to {end * split.time_step:.3g}"
            root = math.sqrt(float(np.mean(split.sensitivity[start:end] ** 2)))
            row = [span, number(root)]
            if split.shares is not None:
                part = split.shares[start:end]
                whole = all(size == 1 for size in self.sizes)
                parts = part.sum(0) if whole else np.sqrt((part**2).sum(0))
                row += [number(value) for value in parts]
            rows.append(row)
        header = ["time [s]", "dL/da of a step"]
        if split.shares is not None:
            header += list(self.names)
        extra = tuple(range(len(header) - 1, 1, -1))
        return Table(header, rows, optional=extra)

    def sentences(self) -> list[str]:
        """Return what the numbers say."""
        return [
            *self._largest(),
            *self._conflicts(),
            *self._steps(),
            *self._times(),
        ]

    def _largest(self) -> list[str]:
        effect = np.nanmax(np.abs(self.changes), axis=1, initial=0.0)
        k = int(np.argmax(effect))
        if not effect[k] > 0:
            return ["No parameter changes the loss here: the gradient is zero."]
        if self.sizes[k] > 1:
            return [f"One percent matters most in {self.names[k]}."]
        low, high = self.changes[k]
        if low > 0 and high > 0:
            return [
                f"One percent of {self.names[k]} either way raises the loss, by "
                f"{_signed(max(low, high))}: the largest effect of all parameters."
            ]
        way, change = ("Raising", high) if high < low else ("Lowering", low)
        said = f"{way} {self.names[k]} by 1 % changes the loss by {_signed(change)}"
        return [f"{said}, the largest effect of all parameters."]

    def _conflicts(self) -> list[str]:
        found = []
        for i, one in enumerate(self.terms):
            for j in range(i):
                if self.cosines[i, j] < MIN_OPPOSED:
                    names = readable(self.terms[j].name), readable(one.name)
                    found.append(
                        f"{names[0].capitalize()} and {names[1]} pull against each "
                        f"other: the cosine between their gradients is "
                        f"{_cosine(self.cosines[i, j])}."
                    )
        return found

    def _steps(self) -> list[str]:
        if self.gradient_norm == 0 or not len(self.learning_rates):
            return []
        ratio = self.actual / self.predicted
        kept = np.flatnonzero(np.abs(ratio - 1) <= KEPT_SHARE)
        rises = np.flatnonzero(~(self.actual < 0))
        found = []
        if len(kept):
            rate = self.learning_rates[kept[-1]]
            found.append(
                "A gradient step keeps its first-order prediction within 10 % up to a "
                f"learning rate of {rate:g}."
            )
        if len(rises):
            rate = self.learning_rates[rises[0]]
            found.append(
                f"At a learning rate of {rate:g} the loss rises: the step is so long "
                "that the slope at its start says nothing about its end."
            )
        if self.curvature > 0:
            found.append(
                "To second order, a plain gradient step lowers the loss up to a "
                f"learning rate of {number(2 / self.curvature)}, and lowers it most at "
                f"{number(1 / self.curvature)}."
            )
        return found

    def _times(self) -> list[str]:
        if self.time is None or not np.isfinite(self.time.sensitivity).all():
            return []
        values, step = self.time.sensitivity, self.time.time_step
        peak, last = int(np.argmax(values)), len(values) - 1
        if values[peak] == 0:
            return []
        found = [
            f"The loss depends most on the action at {peak * step:.3g} s "
            f"(dL/da {number(values[peak])}); on the one at {last * step:.3g} s by "
            f"{number(values[last])}."
        ]
        if values[0] > 3 * np.median(values):
            found.append(
                "An early action changes every state after it, so that early steps "
                "have the larger gradient."
            )
        return found

    def sections(self, *, video: bool = True) -> list[Section]:
        """Return the section of a report."""
        return [Section("Gradient", self.blocks()[1:])]

    def blocks(self) -> list[Table | Figure | Notes]:
        """Return the tables, figures and sentences for a report."""
        tables = self.summary().tables
        panels = [self._step_panel()] if len(self.learning_rates) else []
        if all(size == 1 for size in self.sizes) or len(self.names) > 1:
            panels.insert(0, self._pull_panel())
        if self.time is not None:
            panels.append(_time_panel(self.time))
        names = [readable(term.name) for term in self.terms]
        legend = dict(zip(names, TERM_COLORS, strict=False)) if len(names) > 1 else {}
        figure = Figure(panels, legend=legend)
        return [Notes(self.sentences()), figure, *tables]

    def _pull_panel(self) -> str:
        scale = np.where(np.array(self.values) == 0, 1.0, np.abs(self.values))
        effect = 0.01 * self.derivatives[:, :-1] * scale[:, None]
        title, axis = "Change of the loss by +1 %", "parameter"
        with panel(title, axis, "[1]", label=f"{title} by term and {axis}") as made:
            places, width = np.arange(len(self.names)), 0.8 / effect.shape[1]
            for i in range(effect.shape[1]):
                shift = (i - (effect.shape[1] - 1) / 2) * width
                color = TERM_COLORS[i % len(TERM_COLORS)]
                made.axes.bar(places + shift, effect[:, i], 0.9 * width, color=color)
            made.axes.axhline(0, color=INK, lw=0.8)
            made.axes.set_xticks(places, self.names)
            if sum(map(len, self.names)) > 34:
                for label in made.axes.get_xticklabels():
                    label.set(rotation=30, ha="right", rotation_mode="anchor")
            made.axes.grid(axis="x", visible=False)
        return made.svg

    def _step_panel(self) -> str:
        title = "Decrease of the loss by one step"
        rates, falls = self.learning_rates, self.actual < 0
        rises = np.isfinite(self.actual) & (self.actual > 0)
        with panel(title, "learning rate", "[1]", label=title) as made:
            axes, color = made.axes, BEFORE_AFTER["after"]
            if self.gradient_norm > 0:
                axes.plot(rates, -self.predicted, "--", color=GRAY, label="predicted")
            own = {"color": color, "markersize": 5}
            axes.plot(rates[falls], -self.actual[falls], "o-", label="actual", **own)
            if rises.any():
                own = {"color": BEFORE_AFTER["before"], "markersize": 7}
                said = "the loss rises instead"
                axes.plot(rates[rises], self.actual[rises], "x", label=said, **own)
            axes.set_xscale("log")
            if self.gradient_norm > 0:
                axes.set_yscale("log")
            axes.legend(frameon=False, fontsize=8)
        return made.svg

    def write_files(self, folder: Path) -> None:
        """Write gradient.csv: a row a parameter."""
        names = [f"d({term.name})" for term in self.terms]
        with (folder / "gradient.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["parameter", "value", "unit", *names, "dL"])
            for k, name in enumerate(self.names):
                row = [name, self.values[k], self.units[k], *self.derivatives[k]]
                writer.writerow([str(cell) for cell in row])


def _time_panel(split: TimeSplit) -> str:
    title = "Derivative by the action"
    with panel(title, "time [s]", "dL/da", label=f"{title} over time") as made:
        times = np.arange(len(split.sensitivity)) * split.time_step
        made.axes.plot(times, split.sensitivity, color=BEFORE_AFTER["after"])
        positive = split.sensitivity[split.sensitivity > 0]
        if len(positive) and positive.max() > 30 * np.median(positive):
            made.axes.set_yscale("log")
        made.ticks()
    return made.svg


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3g}".replace("-", "−")


def _cosine(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def _ratio(actual: float, predicted: float) -> str:
    return "–" if predicted == 0 else f"{actual / predicted:.3g}".replace("-", "−")


def _without_empty(table: Table) -> Table:
    """Return the table without the column of units where there are none."""
    if any(row[2] for row in table.rows):
        return table
    cut = lambda cells: [*cells[:2], *cells[3:]]  # noqa: E731
    text = [k - (k > 2) for k in table.text if k != 2]
    rows = [cut(row) for row in table.rows]
    return Table(cut(table.header), rows, text=text, optional=(3,))
