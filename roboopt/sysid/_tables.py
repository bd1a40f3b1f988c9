"""The parameters and forecasts of an identification as tables, and as files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roboopt.diagnose import Combination
from roboopt.dynamics import Multibody, ParametricTwin
from roboopt.report import Table, write_csv
from roboopt.rollouts import JointUnits
from roboopt.sysid._base_parameters import BaseParameter
from roboopt.sysid._effort_errors import EffortErrors
from roboopt.sysid._forecast import Forecasts

IDENTIFIED, AT_BOUND = "identified", "at its bound"
MODELS = ("fitted", "URDF", "constant velocity")
EQUAL_RATIO = 1.005  # of forecast errors
ROUNDING_SI = 1e-12  # a value below is 0
ROUNDING = 1e-6  # of a value: PyBullet's precision of true values


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


def parameter_table(rows: Sequence[Parameter], *, explain: bool = False) -> Table:
    """Return a row a parameter; with `explain` verdicts name the partners."""
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
    if all(row.true is None for row in rows):
        return Table(header, cells, text=(0, 4), optional=(1,))
    inside = {None: "–", True: "yes", False: "no"}
    for row, line in zip(rows, cells, strict=True):
        line[4:4] = ["–" if row.true is None else number(row.true), inside[row.covered]]
    header[4:4] = ["true", "inside"]
    return Table(header, cells, text=(0, 6), optional=(1, 5))


def combination_table(combinations: Sequence[Combination]) -> Table:
    """Return a row a combination, with its value and 95 % interval."""
    rows = [
        [str(c), number(c.value), f"± {number(c.half_width, 2)}"] for c in combinations
    ]
    return Table(("determined combination [SI]", "estimate", "95 % interval"), rows)


def coordinates(model: ParametricTwin) -> list[tuple[str, str]]:
    """Return the name and the unit of every coordinate of the state."""
    robot = model.robot
    return [
        (f"{joint} {quantity}", getattr(JointUnits.of(revolute), quantity))
        for quantity in ("position", "velocity")
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
    middle = tuple(range(3, 1 + len(times)))
    return Table(("RMSE of forecasts", "", *times), rows, text=(0, 1), optional=middle)


def _effort_rows(made: EffortErrors, model: ParametricTwin) -> list[tuple]:
    """Return the name, the unit and the errors of every driven joint."""
    robot, best = model.robot, made.unconstrained
    columns = made.recorded, made.before, made.fitted, best
    return [
        (
            robot.joint_names[joint],
            JointUnits.of(robot.revolute[joint]).effort,
            *(math.nan if c is None else float(c[k]) for c in columns),
        )
        for k, joint in enumerate(made.joints)
    ]


def effort_table(made: EffortErrors, model: ParametricTwin) -> Table:
    """Return a row a joint, with the fit's error over the effort in percent."""
    header = ("RMSE of efforts", "effort", "URDF", "fitted", "of the effort")
    cells = []
    for name, unit, effort, before, fitted, best in _effort_rows(made, model):
        share = f"{100 * fitted / effort:.3g} %" if effort > 0 else "–"
        errors = (f"{x:.3g}" for x in (effort, before, fitted))
        cells.append([f"{name} [{unit}]", *errors, share])
        if made.unconstrained is not None:
            cells[-1].append(f"{best:.3g}")
    if made.unconstrained is None:
        return Table(header, cells, text=(0,), optional=(1,))
    return Table((*header, "unconstrained"), cells, text=(0,), optional=(1,))


def base_table(rows: Sequence[BaseParameter]) -> Table:
    """Return a row a base parameter, known ones first."""
    header = ("base parameter", "URDF", "fitted", "least squares", "95 % interval")
    ordered = sorted(rows, key=lambda row: not row.known)
    cells = [
        [
            f"{row.name} [{row.unit}]",
            *(number(x) for x in (row.start, row.estimate, row.least_squares)),
            f"± {number(row.half_width, 2)}",
        ]
        for row in ordered
    ]
    return Table(header, cells, text=(0,), optional=(1,))


def base_sentence(rows: Sequence[BaseParameter]) -> str:
    """Return how many base parameters there are, and are known."""
    known = sum(row.known for row in rows)
    return (
        f"The efforts determine {len(rows)} base parameters, "
        f"{known} of which least squares tell from 0."
    )


def write_base_parameters(path: Path, rows: Sequence[BaseParameter]) -> None:
    """Write one row a base parameter."""
    header = ["name", "unit", "URDF", "fitted", "least_squares", "half_width"]
    lines = [
        [r.name, r.unit, r.start, r.estimate, r.least_squares, r.half_width]
        for r in rows
    ]
    write_csv(path, header, lines)


def effort_sentence(made: EffortErrors) -> str:
    """Return how well the efforts are met, beside the yardstick."""
    kind = "Held-out efforts" if made.held_out else "Efforts"
    said = f"{kind} are met to {100 * made.share(made.fitted):.3g} % of their RMS"
    if made.unconstrained is None:
        return f"{said}."
    best = 100 * made.share(made.unconstrained)
    return f"{said}; least squares without physical limits to {best:.3g} %."


def friction_sentences(
    before: Multibody, after: Multibody, rows: Sequence[Parameter]
) -> list[str]:
    """Return what the velocity scales of friction are, where the fit changed them.

    Those that are parameters are left to their `rows` in the table.
    """
    joints, free = after.joint_names, {row.name for row in rows}
    scales = (
        np.broadcast_to(r.friction_velocity, len(joints)) for r in (before, after)
    )
    changed = [
        f"{joint} below {number(new, 2)} {JointUnits.of(revolute).velocity}"
        for joint, revolute, old, new in zip(
            joints, after.revolute, *scales, strict=True
        )
        if not math.isclose(old, new, rel_tol=1e-6)
        and f"friction_velocity[{joint}]" not in free
    ]
    if not changed:
        return []
    return [f"By the recordings friction is smooth at {', '.join(changed)}."]


def friction_doubts(rows: Sequence[Parameter]) -> list[str]:
    """Return which joints' viscous and Coulomb friction the data do not tell apart."""
    known = {row.name: row for row in rows}
    doubtful = []
    for name, viscous in known.items():
        what, _, joint = name.partition("[")
        dry = known.get(f"friction[{joint}")
        if what != "damping" or dry is None:
            continue
        pair = {viscous.verdict, dry.verdict}
        joined = "only in combination with"
        alone = (
            viscous.explanation == f"{joined} {dry.name}"
            and dry.explanation == f"{joined} {viscous.name}"
        )
        if alone or (AT_BOUND in pair and len(pair) == 2 and IDENTIFIED not in pair):
            doubtful.append(joint.rstrip("]"))
    if not doubtful:
        return []
    return [
        "The recordings do not tell viscous from Coulomb friction of "
        f"{', '.join(doubtful)}: a motion with a larger range of speeds does."
    ]


def write_efforts(path: Path, made: EffortErrors, model: ParametricTwin) -> None:
    """Write one row a joint; the column of least squares is empty without them."""
    header = ["joint", "unit", "effort", "URDF", "fitted", "unconstrained"]
    rows = [["" if x != x else x for x in row] for row in _effort_rows(made, model)]
    write_csv(path, header, rows)


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


def write_parameters(path: Path, rows: Sequence[Parameter]) -> None:
    """Write one row for each parameter; an unknown end of an interval is empty."""
    header = ["name", "unit", "start", "estimate", "lower", "upper", "verdict"]
    known = any(row.true is not None for row in rows)
    lines: list[list] = []
    for row in rows:
        ends = [row.lower, row.upper] if row.identified else ["", ""]
        line = [row.name, row.unit, row.start, row.estimate, *ends, row.explanation]
        covered = "" if row.covered is None else str(row.covered).lower()
        lines.append([*line, row.true, covered] if known else line)
    write_csv(path, [*header, "true", "covered"] if known else header, lines)


def write_forecasts(path: Path, made: Forecasts, model: ParametricTwin) -> None:
    """Write one row for each model and time, one column for each coordinate."""
    named = [f"{name} [{unit}]" for name, unit in coordinates(model)]
    rows = [
        [label, seconds, *row.tolist()]
        for label, errors in made.rmse.items()
        for seconds, row in zip(made.seconds, errors, strict=True)
    ]
    write_csv(path, ["model", "seconds", *named], rows)
