"""Units in the names of columns, as in `q1 [deg]`, `tau_mNm_2` or `time_ms`.

A unit is known by its quantity: nm are nanometers of positions and newton meters of
efforts. One that cannot be converted, such as ticks of an encoder or volts, is known,
too, so that no such column is taken for one in SI units.
"""

import math
import re
from typing import NamedTuple

from roboopt._errors import RobooptError

PREFIXES = {"": 1.0, "u": 1e-6, "m": 1e-3, "c": 1e-2, "d": 0.1, "k": 1e3}
PER_MINUTE = math.pi / 30  # rad/s in a revolution a minute
KILOGRAM_FORCE, POUND_FORCE, OUNCE_FORCE = 9.80665, 4.4482216152605, 0.27801385095378
INCH = 0.0254


class Unit(NamedTuple):
    """One of a unit in SI units, and how it is written."""

    scale: float
    shown: str


def _table(**groups: tuple[float, str]) -> dict[str, Unit]:
    """Return units by spelling; each group is a scale, and its spellings."""
    every = [(scale, names.split()) for scale, names in groups.values()]
    return {
        canonical(n): Unit(scale, names[0]) for scale, names in every for n in names
    }


def _prefixed(unit: str, prefixes: str, scale: float = 1.0) -> dict[str, Unit]:
    every = {f"{p}{unit}": scale * PREFIXES[p] for p in ("", *prefixes)}
    return {canonical(name): Unit(one, name) for name, one in every.items()}


def _over(units: dict[str, Unit], name: str, seconds: float) -> dict[str, Unit]:
    return {
        f"{key}/{name}": Unit(unit.scale / seconds, f"{unit.shown}/{name}")
        for key, unit in units.items()
    }


def canonical(text: str) -> str:
    """Return a unit without the ways to write one: rad s⁻¹ and rad/sec are rad/s."""
    text = re.sub("[µμ]", "u", re.sub("[°º]", "deg", text.strip().lower()))
    text = re.sub(r"[\s·⋅*._]*(s|sec|min)\s*(\*\*|\^)?\s*[-−⁻]\s*[1¹]$", r"/\1", text)
    text = re.sub(r"\s*(/|[\s_]per[\s_])\s*", "/", text)
    text = re.sub(r"/(s|min)[a-z]*$", r"/\1", text)
    return re.sub(r"[\s·⋅*.×_-]", "", text)


ANGLES = {
    **_table(
        rad=(1.0, "rad radian radians"),
        deg=(math.pi / 180, "deg degs degree degrees grad"),
        turn=(2 * math.pi, "rev revs revolutions turn turns"),
    ),
    **_prefixed("rad", "um"),
    **_prefixed("deg", "m", math.pi / 180),
}
LENGTHS = {
    **_prefixed("m", "umcd"),
    **_table(nm=(1e-9, "nm"), inch=(INCH, "inch inches in")),
}
TORQUES = {
    **_prefixed("N·m", "umcdk"),
    **_table(
        ncm=(1e-2, "N·cm"),
        nmm=(1e-3, "N·mm"),
        kgm=(KILOGRAM_FORCE, "kgf·m kg·m"),
        kgcm=(1e-2 * KILOGRAM_FORCE, "kgf·cm kg·cm"),
        ozin=(OUNCE_FORCE * INCH, "oz·in in·oz ozf·in"),
        lbin=(POUND_FORCE * INCH, "lbf·in in·lbf lb·in in·lb"),
        lbft=(POUND_FORCE * 12 * INCH, "lbf·ft ft·lbf lb·ft ft·lb"),
    ),
}
FORCES = {
    **_prefixed("N", "umk"),
    **_table(kgf=(KILOGRAM_FORCE, "kgf kp"), lbf=(POUND_FORCE, "lbf")),
}
CURRENTS = {
    **_prefixed("A", "um"),
    **_table(a=(1.0, "A amp amps ampere"), arms=(1.0, "A_rms")),
}
UNITS = {
    "times": _table(
        s=(1.0, "s sec secs second seconds"),
        ms=(1e-3, "ms msec msecs millisecond milliseconds millis"),
        us=(1e-6, "µs usec usecs microsecond microseconds micros"),
        ns=(1e-9, "ns nsec nsecs nanosecond nanoseconds nanos"),
        min=(60.0, "min minutes"),
        h=(3600.0, "h hours"),
    ),
    "positions": ANGLES | LENGTHS,
    "velocities": {
        **_over(ANGLES | LENGTHS, "s", 1.0),
        **_over(ANGLES | LENGTHS, "min", 60.0),
        **_table(
            rpm=(PER_MINUTE, "rpm 1/min rev/min u/min r/min tr/min /min"),
            rps=(2 * math.pi, "rps rev/s r/s"),
            dps=(math.pi / 180, "deg/s dps degps"),
            radps=(1.0, "rad/s radps"),
            mps=(1.0, "m/s mps"),
        ),
    },
    "efforts": TORQUES | FORCES | CURRENTS,
}
"""By quantity and canonical spelling."""
FOREIGN = {
    *("%", "‰", "pct", "percent", "permille", "promille", "pu"),
    *("v", "mv", "volt", "volts", "w", "kw", "watt", "watts"),
    *("tick", "ticks", "count", "counts", "cnt", "cnts", "cts", "pulse", "pulses"),
    *("inc", "incs", "increments", "steps", "lsb", "raw", "digits", "adc", "qc"),
    *("pa", "kpa", "mpa", "bar", "psi", "gon", "hz", "khz"),
}
"""Units that cannot be converted."""
FOREIGN_RATES = {f"{unit}/{per}" for unit in FOREIGN for per in ("s", "min")}
KNOWN = set[str]().union(FOREIGN, FOREIGN_RATES, *UNITS.values())
BARE = KNOWN - {
    *"min h in rev turn arms kp inc pu pa bar qc digits adc /min grad".split(),
    *(f"{p}{end}" for p in ("m", "u", "n") for end in ("sec", "secs")),  # a part of it
}
"""Those that without brackets are no other word, as in `q_min`."""
WHOLE_TIMES = "time times timestamp timestamps elapsed elapsedtime zeit".split()
LETTERS = {
    "s": [*WHOLE_TIMES, "t", "stamp", "tout"],
    "m": "pos position positions".split(),
    "n": "force forces effort efforts".split(),
    "a": "current currents".split(),
    "v": "effort efforts torque torques tau".split(),
    "min": WHOLE_TIMES,
    "grad": "winkel position positions angle angles".split(),
    **dict.fromkeys(("rev", "turn"), "pos position positions angle angles".split()),
}
"""Units that are words, too, and those behind which they need no brackets."""
CAPITALS = {"ma": "mA", "mn": "mN", "kn": "kN"}
"""Without brackets they are units in these letters alone."""
COUNTED = ("millis", "micros")
"""Times that are called by their unit alone, as Arduino does."""
BRACKETED = re.compile(r"(.*?)[\s_]*[\[(]\s*([^\[\]()]*?)\s*[\])]\s*")
NUMBER = re.compile(r"(.*?)([\s_.]*[\[(]\s*\d+\s*[\])]|[\s_.]+\d+)\s*")


def unit_of(name: str) -> str | None:
    """Return the unit at the end of a column's name, or before its number."""
    return _split(name)[1]


def without_unit(name: str) -> str:
    """Return the name of a column without its unit."""
    return _split(name)[0]


def unknown_unit(name: str) -> tuple[str, str] | None:
    """Return the name without a text in brackets that is no unit, and the text."""
    numbered = NUMBER.fullmatch(name)
    for part, rest in ((name, ""), *([numbered.groups()] if numbered else [])):
        if (found := BRACKETED.fullmatch(part)) and re.search(r"[^\W\d_]", found[2]):
            return None if canonical(found[2]) in KNOWN else (found[1] + rest, found[2])
    return None


def unit_scale(name: str, quantity: str) -> float | None:
    """Return how many SI units one of the unit in a column's `name` is, if it has one.

    Args:
        name: of the column.
        quantity: what it holds, "times", "positions", "velocities" or "efforts".

    Raises:
        RobooptError: if the unit is not one of the quantity's.
    """
    if (unit := unit_of(name)) is None:
        return None
    if unit not in UNITS[quantity]:
        raise RobooptError(
            f"`path` must hold {quantity} in a unit that can be converted to SI units, "
            f"got the column {name!r}."
        )
    return UNITS[quantity][unit].scale


def in_other_units(names: list[str | None], quantity: str) -> str:
    """Return the quantity and its units that are not SI units, or an empty text.

    Stamps in ns are what messages of ROS hold, and are not told.
    """
    found = [UNITS[quantity].get(unit_of(name or "") or "") for name in names]
    shown = [unit.shown for unit in found if unit and unit.scale != 1]
    others = dict.fromkeys(one for one in shown if (quantity, one) != ("times", "ns"))
    return f"{quantity} in {' and '.join(others)}" if others else ""


def _split(name: str) -> tuple[str, str | None]:
    """Return the name without its unit, and the unit's canonical spelling."""
    if (whole := name.strip().lower()) in COUNTED:
        return name, whole
    if (bare := _at_end(name))[1] is None and (match := NUMBER.fullmatch(name)):
        bare = _at_end(match[1])
        if bare[1] is not None:
            return bare[0] + match[2], bare[1]
        return name, None
    return bare


def _at_end(name: str) -> tuple[str, str | None]:
    if bracketed := BRACKETED.fullmatch(name):
        unit = canonical(bracketed[2])
        return (bracketed[1], unit) if unit in KNOWN else (name, None)
    parts = re.split(r"[\W_]+", name)
    for count in range(min(3, len(parts) - 1), 0, -1):
        last = [part.lower() for part in parts[-count:]]
        unit = canonical("".join(last))
        if count > 1 and last[-1] in ("s", "sec", "min"):
            unit = canonical("".join(last[:-1]).removesuffix("per") + "/" + last[-1])
        if unit in LETTERS or len(unit) == 1:
            words = [re.sub(r"\d+$", "", part.lower()) for part in parts[:-1]]
            fits = [*filter(None, words)][-1:] in [[w] for w in LETTERS.get(unit, ())]
        else:
            exact = CAPITALS.get(unit, "")
            fits = unit in BARE and "".join(parts[-count:]).endswith(exact)
        if fits:
            pattern = r"[\W_]*" + r"[\W_]*".join(map(re.escape, last)) + r"\s*$"
            return re.sub(pattern, "", name, flags=re.IGNORECASE), unit
    return name, None
