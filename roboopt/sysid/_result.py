"""The result of an identification: parameters, forecasts, identifiability."""

import csv
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, save
from roboopt.diagnose import Finding, IdentifiabilityReport
from roboopt.dynamics import ParametricTwin, save_urdf
from roboopt.optimize import Result
from roboopt.report import Section, Summary, Table, VerbResult
from roboopt.sysid._fitter import lead_steps
from roboopt.sysid._forecast import FORECAST_TIMES_S, Forecasts, forecasts

IDENTIFIED = "identified"
MODELS = ("fitted", "URDF", "constant velocity")
MAX_ROWS = 40  # parameters in a summary; the files hold all
MAX_LINES = 12  # combinations or findings in a summary
EQUAL_RATIO = 1.005  # of forecast errors
ROUNDING_SI = 1e-12  # a value below is 0
ROUNDING = 1e-6  # of a value: PyBullet's precision of true values


@dataclass(frozen=True)
class Source:
    """Where a recording came from, and its size."""

    name: str
    steps: int
    time_step: float
    """[s]"""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its start, its estimate and what the data say of it."""

    name: str
    unit: str
    start: float
    estimate: float
    lower: float
    upper: float
    """Ends of the 95 % interval."""
    verdict: str
    """As in `IdentifiabilityReport.verdicts`."""
    explanation: str
    """The verdict with the partners in a combination."""
    true: float | None = None

    @property
    def identified(self) -> bool:
        """Return whether the data determine the parameter by itself."""
        return self.verdict == IDENTIFIED

    @property
    def covered(self) -> bool | None:
        """Return whether the interval holds the true value.

        None where the true value is unknown or there is no interval, and where an
        interval of no width does not hold the true value.
        """
        if self.true is None or not self.identified:
            return None
        spare = ROUNDING * max(abs(self.true), abs(self.start)) + ROUNDING_SI
        inside = self.lower - spare <= self.true <= self.upper + spare
        fixed = self.upper - self.lower <= 2 * ROUNDING_SI
        return None if fixed and not inside else inside

    @property
    def interval(self) -> str:
        """Return the 95 % interval as text, "± half width" where it is symmetric."""
        if not self.identified:
            return "–"
        low, high = self.estimate - self.lower, self.upper - self.estimate
        if high <= 1.1 * low + ROUNDING_SI and low <= 1.1 * high + ROUNDING_SI:
            return f"± {number(max(low, high), 2)}"
        return f"{number(self.lower, 3)} to {number(self.upper, 3)}"


@dataclass(frozen=True)
class IdentifyResult(VerbResult):
    """A fitted model, the identifiability of its parameters, and its data."""

    name: str
    """The robot."""
    before: ParametricTwin
    """The robot as it was given."""
    model: ParametricTwin
    """The robot as it was fitted."""
    identifiability: IdentifiabilityReport
    result: Result
    """Outcome of the last fit; its message is on all fits together."""
    error: str
    """The minimized error: "effort", "motion" or "both"."""
    cutoff: float | None
    """Frequency above which the recordings were smoothed [Hz]; None for clean ones."""
    training: tuple[Trajectory, ...]
    """Recordings of the fit, as a simulation is compared with them."""
    held_out: tuple[Trajectory, ...]
    """Recordings for judging alone, likewise."""
    split: str
    """Which recordings were held out."""
    sources: tuple[Source, ...]
    findings: tuple[Finding, ...]
    """Warnings of the checks of the recordings."""
    true_values: Float[np.ndarray, " parameter"] | None = None
    urdf: str | None = None
    """Path of the URDF that the robot was read from."""

    @cached_property
    def forecasts(self) -> Forecasts | None:
        """Errors of open-loop forecasts, as far ahead as the recordings reach."""
        for count in range(len(FORECAST_TIMES_S), -1, -1):
            try:
                return self.forecast(FORECAST_TIMES_S[:count])
            except RobooptError:  # A recording is shorter.
                continue
        return None

    def forecast(self, times: Sequence[float] = FORECAST_TIMES_S) -> Forecasts:
        """Compute the errors of open-loop forecasts after `times` [s].

        The recordings are those that were held out, or those of the fit without any.

        Raises:
            RobooptError: if a recording is shorter than the longest of `times`.
        """
        lead = lead_steps(self.model, self.training[0].time_step)
        models = {"fitted": self.model, "URDF": self.before}
        return forecasts(models, self.held_out or self.training, times, lead=lead)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters with starts, estimates, intervals and verdicts."""
        report, before = self.identifiability, np.asarray(self.before.values())
        true = self.true_values
        return tuple(
            Parameter(
                name=name,
                unit=report.units[i],
                start=float(before[i]),
                estimate=float(report.values[i]),
                lower=float(report.lower[i]),
                upper=float(report.upper[i]),
                verdict=report.verdicts[i],
                explanation=report.sentence(i),
                true=None if true is None else float(true[i]),
            )
            for i, name in enumerate(report.names)
        )

    @property
    def interrupted(self) -> bool:
        """Return False: a fit ended by Ctrl-C is a result, the best so far."""
        return False

    def summary(self) -> Summary:
        """Return tables of parameters and forecasts, and the sentences on them."""
        rows = self.parameters
        shown = [row for row in rows if row.identified or len(rows) <= MAX_ROWS]
        tables = [parameter_table(shown)]
        if self.identifiability.combinations:
            tables.append(combination_table(self, MAX_LINES))
        if self.forecasts is not None:
            tables.append(forecast_table(self.forecasts, self.model))
        return Summary(f"Identification of {self.name}", tables, self._sentences())

    def _sentences(self) -> list[str]:
        rows, made = self.parameters, self.forecasts
        count = sum(row.identified for row in rows)
        others = Counter(row.verdict for row in rows if not row.identified)
        said = [
            "The recordings are too short for a forecast."
            if made is None
            else self._forecast_sentence(made),
            f"{count} of {len(rows)} parameters are identified by themselves"
            + "".join(f", {number} {kind}" for kind, number in others.items())
            + ".",
        ]
        if len(rows) > MAX_ROWS and count < len(rows):
            said.append("The others are in parameters.csv.")
        combinations = len(self.identifiability.combinations)
        if combinations:
            said.append(
                f"The data determine {combinations} combinations of the other "
                "parameters (base parameters)."
            )
        judged = [row.covered for row in rows if row.covered is not None]
        if judged:
            said.append(
                f"The true value lies inside the interval of {sum(judged)} of "
                f"{len(judged)} identified parameters."
            )
        said += [f"Warning, {finding}" for finding in self.findings[:MAX_LINES]]
        if len(self.findings) > MAX_LINES:
            said.append(f"{len(self.findings) - MAX_LINES} more warnings.")
        return [*said, f"The fit stopped: {self.result.message.rstrip('.')}."]

    def _forecast_sentence(self, made: Forecasts) -> str:
        kind = "Held-out forecasts" if self.held_out else "Forecasts"
        when = "one step" if len(made.seconds) == 1 else f"{made.seconds[-1]:.3g} s"
        urdf, still = (
            comparison(float(made.ratio("fitted", other, self.model.joints)[-1]))
            for other in MODELS[1:]
        )
        return (
            f"{kind} after {when} are {urdf} those of the robot as given, and {still} "
            "those of constant velocities."
        )

    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report."""
        from roboopt.sysid._report import sections

        return sections(self)

    def record(self) -> dict[str, Any]:
        """Return the choices and numbers of the run."""
        names = self.model.robot.joint_names
        return {
            "run": {
                "parameters": list(self.model.names),
                "time_step": self.model.time_step,
                "actuated": [names[joint] for joint in self.model.actuated],
                "recordings": list(self.sources),
                "held_out": self.split,
                "error": self.error,
                "cutoff": self.cutoff,
            },
            "result": {
                name: getattr(self.result, name)
                for name in ("loss", "reason", "message", "steps", "seconds")
            },
        }

    def write_files(self, folder: Path) -> None:
        """Write model.npz, identified.urdf, parameters.csv and forecasts.csv."""
        save(folder / "model.npz", self.model)
        _write_parameters(folder / "parameters.csv", self.parameters)
        if self.forecasts is not None:
            _write_forecasts(folder / "forecasts.csv", self.forecasts, self.model)
        if self.urdf is not None:
            try:
                save_urdf(self.model.robot, self.urdf, folder / "identified.urdf")
            except (RobooptError, OSError) as error:
                reason = " ".join(str(error).split())
                warnings.warn(f"no identified.urdf was written: {reason}", stacklevel=3)


def parameter_table(rows: Sequence[Parameter], *, explain: bool = False) -> Table:
    """Return a table of parameters.

    Args:
        rows: the parameters.
        explain: whether verdicts name the partners in a combination.
    """
    header = ["parameter", "start", "estimate", "95 % interval", "verdict"]
    cells = [
        [
            f"{row.name} [{row.unit}]",
            number(row.start),
            number(row.estimate),
            row.interval,
            row.explanation if explain else row.verdict,
        ]
        for row in rows
    ]
    if not any(row.true is not None for row in rows):
        return Table(header, cells, text=(0, 4), optional=(1,))
    inside = {None: "–", True: "yes", False: "no"}
    for row, line in zip(rows, cells, strict=True):
        true = "–" if row.true is None else number(row.true)
        line[4:4] = [true, inside[row.covered]]
    header[4:4] = ["true", "inside"]
    return Table(header, cells, text=(0, 6), optional=(1, 5))


def combination_table(found: IdentifyResult, count: int | None = None) -> Table:
    """Return the first `count` combinations with values and 95 % intervals."""
    rows = [
        [str(c), number(c.value), f"± {number(c.half_width, 2)}"]
        for c in found.identifiability.combinations[:count]
    ]
    return Table(("determined combination [SI]", "estimate", "95 % interval"), rows)


def coordinates(model: ParametricTwin) -> list[tuple[str, str]]:
    """Return the name and the unit of every coordinate of the state."""
    robot = model.robot
    return [
        (f"{joint} {quantity}", ("rad" if revolute else "m") + rate)
        for quantity, rate in (("position", ""), ("velocity", "/s"))
        for joint, revolute in zip(robot.joint_names, robot.revolute, strict=True)
    ]


def forecast_table(made: Forecasts, model: ParametricTwin) -> Table:
    """Return a table of the forecasts' errors, three rows a coordinate."""
    times = ["one step", *(f"{s:.3g} s" for s in made.seconds[1:])]
    rows = []
    for i, (name, unit) in enumerate(coordinates(model)):
        for label in MODELS:
            first = f"{name} [{unit}]" if label == MODELS[0] else ""
            errors = (f"{error:.3g}" for error in made.rmse[label][:, i])
            rows.append([first, label, *errors])
    middle = tuple(range(3, 2 + len(times) - 1))
    return Table(("RMSE of forecasts", "", *times), rows, text=(0, 1), optional=middle)


def number(value: float, digits: int = 4) -> str:
    """Return a number at the precision at which it is read."""
    if abs(value) < ROUNDING_SI:
        return "0"
    return f"{'−' if value < 0 else ''}{abs(value):.{digits}g}"


def comparison(ratio: float) -> str:
    """Return how many times better one error is than another, as text."""
    if not math.isfinite(ratio) or ratio == 0:
        return "not comparable with"
    times = max(ratio, 1 / ratio)
    if times < EQUAL_RATIO:
        return "as good as"
    said = f"{times:.3g}" if times < 1000 else f"{times:,.0f}"
    if times > 1e6:  # exact but for rounding
        said = "over a million"
    return f"{said} times {'better' if ratio >= 1 else 'worse'} than"


def _write_parameters(path: Path, rows: Sequence[Parameter]) -> None:
    """Write one row for each parameter; an unknown end of an interval is empty."""
    known = any(row.true is not None for row in rows)
    names = ["name", "unit", "start", "estimate", "lower", "upper", "verdict"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *(["true", "covered"] if known else [])])
        for row in rows:
            ends = [repr(row.lower), repr(row.upper)] if row.identified else ["", ""]
            cells = [row.name, row.unit, repr(row.start), repr(row.estimate), *ends]
            cells.append(row.explanation)
            if known:
                covered = "" if row.covered is None else str(row.covered).lower()
                cells += [repr(row.true), covered]
            writer.writerow(cells)


def _write_forecasts(path: Path, made: Forecasts, model: ParametricTwin) -> None:
    """Write one row for each model and time, one column for each coordinate."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        named = [f"{name} [{unit}]" for name, unit in coordinates(model)]
        writer.writerow(["model", "seconds", *named])
        for label, errors in made.rmse.items():
            for seconds, row in zip(made.seconds, errors, strict=True):
                writer.writerow([label, repr(seconds), *map(repr, row.tolist())])
