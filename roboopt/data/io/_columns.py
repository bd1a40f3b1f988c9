"""Columns: which column of a table is the time, and which a joint's motion or effort.

A name is taken apart into words. One of them tells the quantity, some tell whether it
was measured or commanded, and what is left tells the joint: `q1`, `pos_meas1`,
`shoulder_velocity`, `/joint_states/effort[0]`, `torque.elbow [mNm]`.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

from roboopt._errors import RobooptError

QUANTITIES = ("positions", "velocities", "efforts")
WORDS = {
    **dict.fromkeys(
        ("pos", "position", "positions", "angle", "angles", "theta"), "positions"
    ),
    **dict.fromkeys(
        ("dq", "qd", "qdot", "vel", "velocity", "velocities", "speed", "dtheta"),
        "velocities",
    ),
    **dict.fromkeys(
        ("tau", "torque", "torques", "effort", "efforts", "force", "forces"), "efforts"
    ),
}
# Single letters give way to words: `q1_vel` is a velocity.
SYMBOLS = {"q": "positions", "u": "efforts"}
TIME = {"time", "t", "timestamp", "stamp", "timestamps"}
RECORDING = {"run", "episode", "trial"}
MEASURED = {"meas", "measured", "act", "actual"}
COMMANDED = {"con", "cmd", "command", "commanded", "ctrl"}
# What is derived, wished for or only a part of the effort identifies nothing.
NEVER = set(
    "filt filtered des desired d ref reference target goal set setpoint sp fric "
    "friction err error sim pred predicted nominal ff feedforward external ext gravity "
    "coriolis acc accel acceleration ddot min max limit std var".split()
)
PREFIXES = {"joint", "joints", "state", "states", "j", "axis", "motor"}
UNITS = {
    **dict.fromkeys(
        "s sec rad rad/s rad/sec rads n nm n·m n*m n.m n-m m m/s".split(), 1.0
    ),
    **{"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9},
    **dict.fromkeys("deg deg/s deg/sec degs degrees ° °/s".split(), math.pi / 180),
    **{"rpm": math.pi / 30, "mnm": 1e-3, "mm": 1e-3, "mm/s": 1e-3},
}
# Without brackets a short unit could be a joint's name.
BARE_UNITS = {"sec", "ms", "us", "ns", "rad", "rads", "deg", "degs", "nm", "rpm"}


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table that a recording is made of; recognized where None.

    A unit in a name, as in `q1 [deg]` or `time_ms`, is converted to SI.
    """

    time: str | None = None
    positions: Sequence[str] | None = None
    velocities: Sequence[str] | None = None
    efforts: Sequence[str | None] | None = None
    """None for a joint that nothing drives: its effort is 0."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """What `find_columns` found: `Columns` in the order of the joints, and the runs."""

    time: str | None
    positions: tuple[str, ...]
    velocities: tuple[str, ...] | None
    efforts: tuple[str | None, ...]
    recording: str | None

    @property
    def names(self) -> list[str]:
        """Return every column of numbers that is read."""
        every = (self.time, *self.positions, *(self.velocities or ()), *self.efforts)
        return [name for name in every if name is not None]


def find_columns(
    header: Sequence[str],
    columns: Columns | None,
    joints: Sequence[str] | None,
    *,
    timed: bool,
    where: str,
) -> Layout:
    """Return which columns of `header` to read.

    Raises:
        RobooptError: if one is missing, ambiguous or not there.
    """
    columns = Columns() if columns is None else columns
    problem = _Problem(header, where)
    found: dict[str, dict[str, list[tuple[int, str]]]] = {q: {} for q in QUANTITIES}
    times, recordings = [], []
    for name in header:
        words = _words(name)
        while len(words) > 1 and words[-1] in BARE_UNITS:
            words.pop()
        if words in (["time", "stamp"], ["header", "stamp"]) or (
            len(words) == 1 and words[0] in TIME
        ):
            times.append(name)
        elif words and words[0] in RECORDING and set(words[1:]) <= {"id", "index"}:
            recordings.append(name)
        elif role := _role(words, joints):
            quantity, joint, rank = role
            found[quantity].setdefault(joint, []).append((rank, name))
    if len(recordings) > 1:
        problem.fail("must hold one column of recordings", recordings)
    time = columns.time
    if time is None and timed:
        if len(times) != 1:
            problem.fail(
                "must hold one column of times, or `time_step` be given", times
            )
        time = times[0]
    order = None if joints is None else [_plain(joint) for joint in joints]
    keys = None  # of the recognized joints, in order
    picked = {}
    for quantity in QUANTITIES:
        named = getattr(columns, quantity)
        if named is not None:
            picked[quantity] = tuple(named)
            continue
        best = {key: _best(key, of, problem) for key, of in found[quantity].items()}
        if not best and quantity == "velocities":
            picked[quantity] = None
            continue
        if keys is None:
            keys = _order(best, order, quantity, problem)
        missing = [key for key in keys if key not in best]
        if missing or not best:
            problem.fail(
                f"lacks {quantity}" + "".join(f" of joint {k}" for k in missing)
            )
        picked[quantity] = tuple(best[key] for key in keys)
    layout = Layout(time=time, recording=(recordings or [None])[0], **picked)
    _check(layout, order, problem)
    return layout


def unit_scale(name: str) -> float:
    """Return how many SI units one of the unit in a column's `name` is."""
    return UNITS[unit] if (unit := _unit(name)) else 1.0


class _Problem:
    """What to say of a header that does not do."""

    def __init__(self, header: Sequence[str], where: str):
        self.header, self.where = list(header), where

    def fail(self, rule: str, found: Iterable[str] | None = None) -> None:
        got = "" if found is None else f", got {list(found) or 'none'}"
        raise RobooptError(
            f"`path` {rule}{got}: name them by `columns=Columns(time=..., "
            f"positions=[...], velocities=[...], efforts=[...])`; {self.where} has the "
            f"columns {self.header}."
        )


def _role(
    words: list[str], joints: Sequence[str] | None
) -> tuple[str, str, int] | None:
    """Return the quantity, the joint and how good a source of it a column is."""
    for joint in sorted(joints or (), key=len, reverse=True):
        plain = _plain(joint)
        for start in range(len(words)):
            for stop in range(len(words), start, -1):
                rest = words[:start] + words[stop:]
                if "".join(words[start:stop]) == plain and (role := _quantity(rest)):
                    return role[0], plain, role[2]
    return _quantity(words)


def _quantity(words: list[str]) -> tuple[str, str, int] | None:
    if NEVER & set(words):
        return None
    rank = 0 if MEASURED & set(words) else 2 if COMMANDED & set(words) else 1
    dotted = "dot" in words
    words = [w for w in words if w not in MEASURED | COMMANDED | {"dot"}]
    for table in (WORDS, SYMBOLS):
        places = [k for k, word in enumerate(words) if word in table]
        if places:
            place = 0 if places[0] == 0 else places[-1]
            quantity = table[words[place]]
            if dotted and quantity == "positions":
                quantity = "velocities"
            if rank == 2 and quantity != "efforts":
                return None  # A commanded position is a wish.
            return quantity, _joint(words[:place] + words[place + 1 :]), rank
    return None


def _joint(words: list[str]) -> str:
    """Return a joint's key: a number where nothing but a number tells it."""
    bare = list(words)
    while bare and bare[0] in PREFIXES:
        bare.pop(0)
    if not bare or (len(bare) == 1 and bare[0].isdigit()):
        return "".join(bare)
    numbered = re.fullmatch(r"(\D+)(\d+)", "".join(bare))
    if numbered and numbered[1] in PREFIXES:
        return numbered[2]
    return "".join(words)


def _best(key: str, candidates: list[tuple[int, str]], problem: _Problem) -> str:
    rank = min(candidates)[0]
    names = [name for r, name in candidates if r == rank]
    if len(names) > 1:
        problem.fail(f"must hold one of each, but joint {key or 0} is ambiguous", names)
    return names[0]


def _order(
    best: dict[str, str], order: list[str] | None, quantity: str, problem: _Problem
) -> list[str]:
    """Return the joints' keys: as `joints` has them, or numbers rising, or as found."""
    if all(key.isdigit() or not key for key in best):
        return sorted(best, key=lambda key: int(key or 0))
    if order is None:
        return list(best)
    if missing := [key for key in order if key not in best]:
        problem.fail(f"lacks {quantity} of the joints {missing}")
    return order


def _check(layout: Layout, order: list[str] | None, problem: _Problem) -> None:
    if unknown := [name for name in layout.names if name not in problem.header]:
        problem.fail(f"must hold the columns that `columns` names, not {unknown}")
    twice = {n for n in problem.header if problem.header.count(n) > 1}
    if twice := sorted(twice & set(layout.names)):
        problem.fail("must hold each column once", twice)
    count = len(layout.positions) if order is None else len(order)
    for quantity in QUANTITIES:
        names = getattr(layout, quantity)
        if names is not None and len(names) != count:
            problem.fail(f"must hold {quantity} of {count} joints", map(str, names))


def _words(name: str) -> list[str]:
    if _unit(name) and name.rstrip()[-1] in "])":
        name = re.sub(r"[\[(][^\[(]*$", "", name)
    words = []
    known = (
        WORDS.keys() | SYMBOLS.keys() | MEASURED | COMMANDED | NEVER | {"dot"} | TIME
    )
    for word in re.split(r"[\W_]+", name.lower()):
        split = re.fullmatch(r"(\D+?)(\d+)(dot)?", word)
        if split and split[1] in known:
            words += [part for part in split.groups() if part]
        elif word:
            words.append(word)
    return words


def _unit(name: str) -> str | None:
    bracketed = re.search(r"[\[(]\s*([^\])]*?)\s*[\])]\s*$", name.lower())
    if bracketed:
        return bracketed[1] if bracketed[1] in UNITS else None
    last = re.split(r"[\W_]+", name.lower())[-1]
    return last if last in BARE_UNITS else None


def _plain(joint: str) -> str:
    return "".join(re.split(r"[\W_]+", joint.lower()))
