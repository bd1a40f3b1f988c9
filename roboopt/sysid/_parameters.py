"""The parameters of an identification as a table, in sentences, and as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roboopt.diagnose import Explanation
from roboopt.report import Table, write_csv

IDENTIFIED, AT_BOUND = "identified", "at its bound"
COMBINED, NOT_EXCITED = "only in combination", "not excited"
SCALES = "friction_velocity[", "stribeck_velocity["
"""Parameters that are never 0, but may be too small to tell."""
ZERO_WITHIN = "zero within its interval"
WIDE_RATIO = 10.0  # of an end of a positive parameter's interval to its estimate
WELL_KNOWN_SHARE = 0.2  # of a value: half an interval below is narrow
MAX_LOSS = 1e10  # errors at the start, in units of the noise, squared: rounding
MIN_SHARE = 1e-9  # of a value: an error below is rounding
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

    def conclusion(self, *, short: bool = False) -> str:
        """Return the verdict in words; an interval is judged by what it holds.

        With `short` a combination names the first of several other parameters in it.
        """
        if not self.identified:
            first, *more = self.explanation.split(", ")
            return f"{first} and others" if short and more else self.explanation
        if self.lower <= 0 <= self.upper:
            scale = self.name.startswith(SCALES)
            return f"at most {number(self.upper, 2)}" if scale else ZERO_WITHIN
        half = (self.upper - self.lower) / 2
        if half > abs(self.estimate):  # of a positive parameter, whose ends are factors
            ends = self.lower, self.upper
            ratio = max(max(x / self.estimate, self.estimate / x) for x in ends)
            if ratio < WIDE_RATIO:
                return f"known within a factor of {ratio:.2g}"
            return f"known only within a factor of {ratio:.0f}"
        return known_to(half, self.estimate)

    @property
    def identified(self) -> bool:
        """Return whether the data determine the parameter by itself."""
        return self.verdict == IDENTIFIED

    @property
    def well_known(self) -> bool:
        """Return whether the parameter is at its bound, or its interval is narrow."""
        half = (self.upper - self.lower) / 2
        return self.verdict == AT_BOUND or (
            self.identified and half <= WELL_KNOWN_SHARE * abs(self.estimate)
        )

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
        """Return the 95 % interval as text, "± half width" where it is symmetric.

        One that ends at 0, as that of a friction, is not.
        """
        if not self.identified:
            return "–"
        low, high = self.estimate - self.lower, self.upper - self.estimate
        alike = high <= 1.1 * low + ROUNDING_SI and low <= 1.1 * high + ROUNDING_SI
        if alike and (
            max(low, high) < ROUNDING_SI or 0.0 not in (self.lower, self.upper)
        ):
            return f"± {number(max(low, high), 2)}"
        return f"{number(self.lower, 3)} to {number(self.upper, 3)}"


def parameter_table(rows: Sequence[Parameter], *, short: bool = False) -> Table:
    """Return a row a parameter, with verdicts as `Parameter.conclusion` has them.

    Beside true values, terminals have no room for names of other parameters.
    """
    compared = any(row.true is not None for row in rows)
    header = ["parameter", "start", "estimate", "95 % interval", "verdict"]
    cells = [
        [
            f"{row.name} [{row.unit}]",
            number(row.start),
            number(row.estimate),
            row.interval,
            row.verdict
            if short and compared and not row.identified
            else row.conclusion(short=short),
        ]
        for row in rows
    ]
    if not compared:
        return Table(header, cells, text=(0, 4), optional=(1,))
    inside = {None: "–", True: "yes", False: "no"}
    for row, line in zip(rows, cells, strict=True):
        line[4:4] = ["–" if row.true is None else number(row.true), inside[row.covered]]
    header[4:4] = ["true", "inside"]
    return Table(header, cells, text=(0, 6), optional=(1, 5))


def only_rounding(explained: Mapping[str, Explanation]) -> bool:
    """Return whether a fit has left nothing but rounding: no noise to weigh errors by.

    The gradient of its error is then a ratio of rounding errors.
    """
    return any(found.loss > MAX_LOSS for found in explained.values())


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
        wide = not all(row.well_known for row in (viscous, dry))
        if alone or (AT_BOUND in pair and len(pair) == 2 and wide):
            doubtful.append(joint.rstrip("]"))
    if not doubtful:
        return []
    return [
        "The recordings do not tell viscous from Coulomb friction of "
        f"{', '.join(doubtful)}: a motion with a larger range of speeds does."
    ]


def known_to(half_width: float, value: float) -> str:
    """Return how well a value is known, by half its 95 % interval."""
    share = half_width / abs(value)
    return "known to rounding" if share < MIN_SHARE else f"known to ± {percent(share)}"


def percent(share: float) -> str:
    """Return a share with two digits."""
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def number(value: float, digits: int = 4) -> str:
    """Return a number at the precision at which it is read."""
    if abs(value) < ROUNDING_SI:
        return "0"
    return f"{'−' if value < 0 else ''}{abs(value):.{digits}g}"


def write_parameters(path: Path, rows: Sequence[Parameter]) -> None:
    """Write one row for each parameter; an unknown end of an interval is empty."""
    header = ["name", "unit", "start", "estimate", "lower", "upper", "verdict"]
    known = any(row.true is not None for row in rows)
    lines: list[list] = []
    for row in rows:
        ends = [row.lower, row.upper] if row.identified else ["", ""]
        line = [row.name, row.unit, row.start, row.estimate, *ends]
        line.append(row.conclusion())
        covered = "" if row.covered is None else str(row.covered).lower()
        lines.append([*line, row.true, covered] if known else line)
    write_csv(path, [*header, "true", "covered"] if known else header, lines)
