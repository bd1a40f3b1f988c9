"""What an identification found, as tables and sentences."""

import csv
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roboopt.diagnose import IdentifiabilityReport
from roboopt.sysid import Forecasts, IdentifyResult

IDENTIFIED = "identified"
HEADER = ("parameter", "unit", "start", "estimate", "95 % interval", "verdict")
TRUTH = ("true", "inside")
MODELS = ("fitted", "URDF", "constant velocity")
TIMES = (0.1, 0.2, 0.5)  # s
SAME = 1.005  # times as good
NOTHING = 1e-12  # in SI units: what no robot has to say
ROUNDING = 1e-6  # of a value: how well PyBullet tells what is true


@dataclass(frozen=True)
class Parameter:
    """What came out of one parameter."""

    name: str
    unit: str
    start: float
    estimate: float
    lower: float
    upper: float
    kind: str
    """As in `IdentifiabilityReport.verdicts`."""
    verdict: str
    """With its partners."""
    true: float | None = None

    @property
    def identified(self) -> bool:
        """Return whether the data tell it by itself."""
        return self.kind == IDENTIFIED

    @property
    def covered(self) -> bool | None:
        """Return whether its interval holds the true value, None if not known."""
        if self.true is None or not self.identified:
            return None
        spare = ROUNDING * max(abs(self.true), abs(self.start))
        return self.lower - spare <= self.true <= self.upper + spare

    def cells(self) -> list[str]:
        """Return it as a table shows it."""
        cells = [
            *(self.name, self.unit, _number(self.start), _number(self.estimate)),
            _interval(self.lower, self.upper) if self.identified else "–",
        ]
        if self.true is not None:
            inside = {None: "–", True: "yes", False: "no"}[self.covered]
            cells += [_number(self.true), inside]
        return [*cells, self.verdict]


def parameters(found: IdentifyResult, truth: Any = None) -> list[Parameter]:
    """Return every parameter, with what is true of it where `truth` is known.

    Args:
        found: what was identified.
        truth: a `ParametricTwin` with the same names.
    """
    verdict, before = found.verdict, np.asarray(found.before.values())
    true = None if truth is None else np.asarray(truth.values()).tolist()
    return [
        Parameter(
            name=name,
            unit=verdict.units[i],
            start=float(before[i]),
            estimate=float(verdict.values[i]),
            lower=float(verdict.lower[i]),
            upper=float(verdict.upper[i]),
            kind=verdict.verdicts[i],
            verdict=verdict.sentence(i),
            true=None if true is None else true[i],
        )
        for i, name in enumerate(verdict.names)
    ]


def header(rows: list[Parameter]) -> tuple[str, ...]:
    """Return the heads of the parameters' columns."""
    known = any(row.true is not None for row in rows)
    return (*HEADER[:-1], *(TRUTH if known else ()), HEADER[-1])


def forecasts(found: IdentifyResult) -> Forecasts | None:
    """Return the forecasts as far ahead as the recordings reach, None if nowhere."""
    for count in range(len(TIMES), -1, -1):
        try:
            return found.forecasts(TIMES[:count])
        except ValueError:  # longer than a recording
            continue
    return None


def coordinates(robot: Any) -> list[tuple[str, str]]:
    """Return the name and the unit of every coordinate of the state."""
    named = []
    for quantity, rate in (("position", ""), ("velocity", "/s")):
        for joint, revolute in zip(robot.joint_names, robot.revolute, strict=True):
            named.append((f"{joint} {quantity}", ("rad" if revolute else "m") + rate))
    return named


def ahead(seconds: list[float]) -> list[str]:
    """Return how each time is called."""
    return ["one step", *(f"{s:.3g} s" for s in seconds[1:])]


def forecast_rows(made: Forecasts, robot: Any) -> list[list[str]]:
    """Return three rows a coordinate: each model's errors after each time."""
    rows = []
    for i, (name, unit) in enumerate(coordinates(robot)):
        for model in MODELS:
            first = f"{name} [{unit}]" if model == MODELS[0] else ""
            errors = (f"{error:.3g}" for error in made.rmse[model][:, i])
            rows.append([first, model, *errors])
    return rows


def sentences(
    rows: list[Parameter], made: Forecasts | None, found: IdentifyResult
) -> list[str]:
    """Return what came out; the first sentence says it all.

    Args:
        rows: of the parameters.
        made: forecasts of what was held out.
        found: what was identified.
    """
    count = sum(row.identified for row in rows)
    all_said = [f"{count} of {len(rows)} parameters identified"]
    if made is None:
        all_said[0] += "; the recordings are too short for a forecast."
    else:
        kind = "held-out forecasts" if found.held_out else "forecasts"
        after = ahead(made.seconds)[-1]
        when = "after one step" if len(made.seconds) == 1 else f"at {after}"
        urdf, still = (
            _times(float(made.ratio("fitted", other, found.model.joints)[-1]))
            for other in MODELS[1:]
        )
        all_said[0] += f"; {kind} {when} are {urdf} the URDF's."
        all_said.append(f"They are {still} those of constant velocities.")
    others = Counter(row.kind for row in rows if not row.identified)
    if others:
        parts = ", ".join(f"{count} {kind}" for kind, count in others.items())
        all_said.append(f"Of the other parameters: {parts}.")
    judged = [row.covered for row in rows if row.covered is not None]
    if judged:
        all_said.append(
            "Of the identified parameters' intervals, "
            f"{sum(judged)} of {len(judged)} hold the true value."
        )
    return [*all_said, f"The fit stopped: {found.result.message.rstrip('.')}."]


def conditioning(verdict: IdentifiabilityReport) -> str:
    """Return in words how evenly the data tell."""
    condition = verdict.condition
    kept = len(verdict.singular_values)
    said = (
        f"The sensitivities of the {kept} parameters that the data feel have the "
        f"condition number {condition:.3g}: of all directions the least known is that "
        "many times less certain than the best known. "
    )
    if condition < 100:
        return said + "That is a well excited robot."
    if condition < 1e4:
        return said + "Some combinations are known much better than others."
    return said + (
        "Some combinations are as good as unknown; a recording that moves all joints "
        "at different speeds and postures would tell more."
    )


def write_parameters(path: Path, rows: list[Parameter]) -> None:
    """Write a row a parameter, numbers in full; an end that is not known is empty."""
    known = any(row.true is not None for row in rows)
    names = ["name", "unit", "start", "estimate", "lower", "upper", "verdict"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *(["true", "covered"] if known else [])])
        for row in rows:
            ends = [repr(row.lower), repr(row.upper)] if row.identified else ["", ""]
            cells = [row.name, row.unit, repr(row.start), repr(row.estimate), *ends]
            cells.append(row.verdict)
            if known:
                covered = "" if row.covered is None else str(row.covered).lower()
                cells += [repr(row.true), covered]
            writer.writerow(cells)


def _number(value: float, digits: int = 4) -> str:
    if abs(value) < NOTHING:
        return "0"
    return f"{'−' if value < 0 else ''}{abs(value):.{digits}g}"


def _interval(lower: float, upper: float) -> str:
    """Return both ends with as many digits as tell them apart."""
    width, size = upper - lower, max(abs(lower), abs(upper))
    digits = 4
    if 0 < width < size:
        digits = min(10, max(4, 2 + math.ceil(math.log10(size / width))))
    return f"[{_number(lower, digits)}, {_number(upper, digits)}]"


def _times(ratio: float) -> str:
    """Return how many times better or worse than another something is."""
    if not math.isfinite(ratio) or ratio == 0:
        return "not to be compared with"
    times = max(ratio, 1 / ratio)
    if times < SAME:
        return "as good as"
    said = f"{times:.3g}" if times < 1000 else f"{times:,.0f}"
    if times > 1e6:  # what is right but for rounding
        said = "over a million"
    return f"{said} times {'better' if ratio >= 1 else 'worse'} than"
