"""The columns of a table: its times, and the motion and efforts of joints.

A column is recognized if its name consists of one alias of a quantity, a joint's number
or name, and the words listed here, as in `q1`, `tau_meas1`, `shoulder_velocity`,
`/joint_states/effort[0]` or `torque1 [mNm]`. One that is called as a joint alone holds
its position, if no other does. Any other column is ignored: name it by `Columns`.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.data.io._units import CURRENTS as CURRENT_UNITS
from roboopt.data.io._units import UNITS, unit_of, unknown_unit, without_unit

ALIASES = {
    "positions": set("q qpos pos position positions theta angle angles θ".split()),
    "velocities": {
        *("dq", "qd", "qdot", "qvel", "vel", "velocity", "velocities"),
        *("speed", "speeds", "thetadot", "dtheta"),
    },
    "efforts": {
        *("u", "tau", "τ", "eff", "effort", "efforts", "torque", "torques", "trq"),
        *("force", "forces", "moment", "moments", "current", "currents"),
    },
}
MOTORS = {"theta", "θ"}  # of libfranka, whose `q` is of the joint
CAMEL = re.compile(r"(?<=[a-z]{3})(?=[A-Z][a-z])")
"""Between the words of `jointPosition`."""
CURRENTS = {"current", "currents"}  # efforts in units of the motors' torque constants
DOTS = {"\u0307": "dot", "\u0308": "ddot"}
DOTTED = re.compile("(?<![^\\W\\d_])([qθτ])([\u0307\u0308])")
"""As in q̇ and q̈; the dots of other letters, as in Tür, belong to words."""
TIMES = (
    *("headerstamp", "t", "time", "timestamp", "timestamps", "stamp"),
    *("elapsed", "elapsedtime", "tout", "zeit"),
    *("times", "ts", "simtime", "sampletime", "sampletimes"),
)
RUNS = {f"{name}{end}" for name in ("run", "episode", "trial") for end in ("", "id")}
MEASURED = set("meas measured msr actual act fbk feedback".split())
COMMANDED = {
    *(
        "con",
        "cmd",
        "command",
        "commands",
        "commanded",
        "ctrl",
        "target",
        "goal",
        "setpoint",
    ),
    *("des", "desired", "ref", "reference", "computed"),
}
APPLIED = "applied"
"""Efforts of Isaac Lab, within the limits of its motors."""
PREFIXES = {
    *("j", "joint", "joints", "axis", "dof", "dofs"),
    *("state", "states", "field", "data", "msg", APPLIED),
}
PHRASES = (["tau", "j"], ["qfrc", "actuator"])
"""Efforts of libfranka and of MuJoCo."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table that a recording is made of; recognized where None.

    A unit in a name, as in `q1 [deg]` or `time_ms`, is converted to SI; it may be yours
    where the file says q1 or time alone.
    """

    time: str | None = None
    """A number where no column holds times: the time step [s]."""
    positions: Sequence[str] | None = None
    velocities: Sequence[str] | None = None
    efforts: Sequence[str | None] | None = None
    """None for a joint without an actuator: its effort is 0."""
    joints: Sequence[str] | None = None
    """The names in the file of the robot's joints, in the robot's order."""

    @property
    def names(self) -> list[str]:
        """Return every column that is named."""
        lists = (self.positions, self.velocities, self.efforts)
        every = [self.time, *(name for names in lists for name in names or ())]
        return [name for name in every if name is not None]


class ColumnError(RobooptError):
    """The columns of a table that are missing, ambiguous or unknown."""

    def __init__(self, rule: str, path: str | Path, header: Sequence[str]):
        """Hold what the table must do, its file, and its columns."""
        self.rule, self.path, self.header = rule, str(path), list(header)
        super().__init__(
            f"`path` {rule}: name the columns by `columns=Columns(time=..., "
            f"positions=[...], velocities=[...], efforts=[...])`, or the joints by "
            f"`Columns(joints=[...])`; {path} has the columns {self.header}."
        )


def find_columns(
    header: Sequence[str],
    columns: Columns | None,
    joints: Sequence[str] | None,
    *,
    time: str | None,
    driven: Sequence[int] | None = None,
    path: Path,
    note: Callable[[str], None],
) -> tuple[Columns, str | None]:
    """Return which columns of `header` to read, and the column of runs, if any.

    Args:
        header: the names in the first row.
        columns: the columns that the user named.
        joints: the robot's joints, in whose order columns are put.
        time: the column of times, None where a time step stands in for it.
        driven: the joints that a motor drives; others need no efforts. None for all.
        path: the file, for errors.
        note: told what was assumed.

    Raises:
        ColumnError: if a column is missing, ambiguous or unknown.
    """

    def require(fits: Any, rule: str) -> None:
        if not fits:
            raise ColumnError(rule, path, header)

    columns = columns or Columns()
    ranked: dict[str, dict[Any, dict[float, list[str]]]] = {q: {} for q in ALIASES}
    foreign: dict[str, dict[Any, str]] = {q: {} for q in ALIASES}
    for name in header:
        if role := _role_of(name, joints or ()):
            quantity, joint, rank = role
            if (unit := unit_of(name)) is not None and unit not in UNITS[quantity]:
                foreign[quantity].setdefault(joint, name)
                continue
            ranked[quantity].setdefault(joint, {}).setdefault(rank, []).append(name)
        elif unknown := unknown_unit(name):
            if role := _role_of(unknown[0], joints or ()):
                foreign[role[0]].setdefault(role[1], name)
    bare = _called_as(header, joints or ())
    if (
        columns.positions is None
        and bare
        and {*bare} | {*ranked["positions"]} == {*(joints or ())}
    ):
        new = {j: name for j, name in bare.items() if j not in ranked["positions"]}
        ranked["positions"] |= {joint: {1: [name]} for joint, name in new.items()}
        if new:
            said = "is called as a joint" if len(new) == 1 else "are called as joints"
            note(f"{', '.join(new.values())} {said}: read as positions.")
    order: list[Any] | None = None
    picked: dict[str, Any] = {}
    for quantity, found in ranked.items():
        named = getattr(columns, quantity)
        best = {joint: ranks[min(ranks)] for joint, ranks in found.items()}
        for joint, names in best.items():
            rule = f"must hold one of the {quantity} of joint {joint}, got {names}"
            require(len(names) == 1, rule)
        unread = ", ".join(n for j, n in foreign[quantity].items() if j not in found)
        unread = unread and f", for the unit of {unread} cannot be converted"
        blocked = set(order or ()) & {*foreign[quantity]}
        if named is not None or not (found or blocked or quantity != "velocities"):
            picked[quantity] = None if named is None else tuple(named)
            continue
        # Numbers rise, and names come in the order of `joints`.
        numbered = found and all(isinstance(joint, int) for joint in found)
        order = order or (sorted(found) if numbered else list(joints or ()))
        motors = range(len(order)) if driven is None else driven
        if numbered and order == list(joints or ()):
            # Numbers of all joints, or of those with a motor, in the robot's order.
            every = {len(order): range(len(order)), len(motors): motors}
            owners = [order[j] for j in every.get(len(found), ())]
            by_number = [best[k] for k in sorted(found)]
            if owners:
                best = dict(zip(owners, by_number, strict=True))
                names = ", ".join(names[0] for names in by_number)
                note(f"{names} are read as {quantity} of {', '.join(owners)}.")
        absent = [joint for joint in order if joint not in best]
        idle: list[Any] = []
        if quantity == "efforts" and driven is not None and joints is not None:
            idle = [j for j in absent if order.index(j) not in driven]
        missing = [joint for joint in absent if joint not in idle]
        lacking = f"lacks {quantity}"
        if found:
            beside = ", ".join(names[0] for names in best.values())
            lacking += f"{_of_joints(missing, order, joints)}, beside {beside}"
        if quantity == "efforts" and joints is not None:
            named = [joint for joint in joints if joint in best]
            pairs = zip(joints, order, strict=False)
            named = named or [joint for joint, number in pairs if number in best]
            unread += f"; if nothing drives the joint, say so by `actuated={named}`"
        if quantity == "positions" and joints is not None:
            strange = _strange_joints(header, joints)
            lost = [joint for joint in joints if joint not in best]
            if len(strange) == len(lost):
                recorded = dict(zip(lost, strange, strict=True))
                named = [recorded.get(joint, joint) for joint in joints]
                unread += f"; if they have other names, say so by `joints={named}`"
        require((found or idle) and not missing, f"{lacking}{unread}")
        picked[quantity] = tuple(None if j in idle else best[j][0] for j in order)
    known = Columns(time, **picked)
    runs = [*filter(is_run, header)]
    require(len(runs) < 2, f"must hold one column of runs, got {runs}")
    unknown = [name for name in known.names if name not in header]
    require(not unknown, f"must hold the columns that `columns` names, not {unknown}")
    twice = sorted({n for n in known.names if list(header).count(n) > 1})
    require(not twice, f"must hold each column once, got {twice} twice")
    count = len(picked["positions"] if joints is None else joints)
    for quantity in ALIASES:
        names = picked[quantity]
        which = f" ({', '.join(joints)})" if joints else ""
        got = list(names or ())
        rule = f"must hold {quantity} of {count} joints{which}, got {got}"
        require(names is None or len(names) == count, rule)
    return known, runs[0] if runs else None


def _called_as(header: Sequence[str], joints: Sequence[str]) -> dict[str, str]:
    """Return the only column that has the name of a joint and nothing else, by joint.

    Its unit, if it has one, is of positions alone: nm may be newton meters.
    """
    units = {None, *UNITS["positions"]} - {*UNITS["efforts"]}
    found: dict[str, list[str]] = {}
    for name in header:
        fits = [joint for joint in joints if split_name(name) == name_parts(joint)]
        if len(fits) == 1 and unit_of(name) in units:
            found.setdefault(fits[0], []).append(name)
    return {joint: names[0] for joint, names in found.items() if len(names) == 1}


def _strange_joints(header: Sequence[str], joints: Sequence[str]) -> list[str]:
    """Return the joints with positions whose names the robot's joints have not."""
    found = []
    for words in (split_name(name) for name in header if not _role_of(name, joints)):
        said = ALIASES["positions"] | MEASURED | PREFIXES
        rest = " ".join(word for word in words if word not in said)
        if rest and ALIASES["positions"] & {*words} and not COMMANDED & {*words}:
            found.append(rest)
    return found


def _of_joints(
    missing: Sequence[Any], order: Sequence[Any], joints: Sequence[str] | None
) -> str:
    """Return which joints are meant, numbers with the names of the robot's joints."""
    names = dict(zip(order, joints or (), strict=False))
    known = joints is not None and len(joints) == len(order)
    said = [
        f"{joint} ({names[joint]})" if known and names[joint] != joint else str(joint)
        for joint in missing
    ]
    return f" of joint {', '.join(said)}"


def find_time(header: Sequence[str], moves: Callable[[str], bool], path: Path) -> str:
    """Return the column of times: the stamp of a message before that of its arrival.

    Args:
        header: the names of all columns.
        moves: whether the column of a name is not constant.
        path: the file, for errors.
    """
    ranked: dict[bool, list[str]] = {}
    for name in filter(is_time, header):
        ranked.setdefault(_bare(name) != TIMES[0], []).append(name)
    every = [name for names in ranked.values() for name in names]
    if len(every) > 1:
        kept = {k: [n for n in names if moves(n)] for k, names in ranked.items()}
        ranked = {k: names for k, names in kept.items() if names} or ranked
    best = ranked[min(ranked)] if ranked else []
    if len(best) != 1:
        got = f", got {best}" if best else ", or a time step [s] be given in its place"
        unread = [n for n in header if (u := unknown_unit(n)) and is_time(u[0])]
        if unread and not best:
            got += f", for the unit of {', '.join(unread)} cannot be converted"
        raise ColumnError(f"must hold one column of times{got}", path, header)
    return best[0]


def is_time(name: str) -> bool:
    """Return whether a column holds times by its name."""
    return _bare(name) in TIMES


def is_run(name: str) -> bool:
    """Return whether a column tells the recordings of a table apart by its name."""
    return "".join(split_name(name)) in RUNS


def _bare(name: str) -> str:
    return "".join(word for word in split_name(name) if word not in PREFIXES)


def holds_motion(name: str, joints: Sequence[str]) -> bool:
    """Return whether a column, or an array, is of a quantity of joints by its name."""
    return _role(split_name(name), joints) is not None


def found_positions(header: Sequence[str], joints: Sequence[str]) -> set[str | int]:
    """Return the names, or numbers, of the joints with a column of positions."""
    roles = [_role(split_name(name), joints) for name in header]
    return {role[1] for role in roles if role and role[0] == "positions"}


def is_commanded(name: str) -> bool:
    """Return whether a column, or a topic, is of commands by its name."""
    return bool(COMMANDED & set(split_name(name)))


def is_current(name: str) -> bool:
    """Return whether a column holds currents of motors."""
    return bool(CURRENTS & set(split_name(name))) or unit_of(name) in CURRENT_UNITS


def _role_of(name: str, joints: Sequence[str]) -> tuple[str, str | int, float] | None:
    """Return the role of a column; that of `/any/topic/joint/effort` ranks later."""
    found = _role(split_name(name), joints)
    *topic, joint, field = ["", *without_unit(name).split("/")]
    if found or not any(topic) or joint not in joints:
        return found
    kept = [w for w in name_parts("/".join(topic)) if w in MEASURED | COMMANDED]
    found = _role([*kept, *name_parts(joint), *name_parts(field)], joints)
    return found and (*found[:2], found[2] + 0.25)


def _role(
    words: list[str], joints: Sequence[str]
) -> tuple[str, str | int, float] | None:
    """Return the quantity, the joint's name or number, and the rank of a column.

    Measured columns rank before plain ones, and these before commanded ones.
    """
    key: str | int | None = None
    for joint in sorted(joints, key=len, reverse=True):
        parts = name_parts(joint)
        for k in range(len(words) - len(parts) + 1):
            if key is None and words[k : k + len(parts)] == parts:
                key, words = joint, words[:k] + words[k + len(parts) :]
    rank = 0 if MEASURED & set(words) else 2 if COMMANDED & set(words) else 1
    rank += 3 * bool(CURRENTS & set(words))
    later = bool({*MOTORS, APPLIED} & set(words))
    words = [w for w in words if w not in MEASURED | COMMANDED | PREFIXES]
    numbers = [word for word in words if word.isdigit()]
    words = [word for word in words if not word.isdigit()]
    if len(words) == 2 and words[0] == "q" and words[1] != "dot":
        words = words[1:]  # `q1_vel` is a velocity.
    if len(words) > 1 and any({*words} <= names for names in ALIASES.values()):
        words = words[-1:]  # `/efforts/shoulder/effort` says it twice.
    quantity = next((q for q, names in ALIASES.items() if {*words[:1]} & names), None)
    if words in PHRASES:
        quantity, words = "efforts", words[:1]
    if words[1:] == ["dot"] and quantity == "positions":
        quantity, words = "velocities", words[:1]
    # A commanded position is a target, not a measurement.
    commanded = rank % 3 == 2 and quantity != "efforts"
    if quantity is None or len(words) > 1 or commanded:
        return None
    if len(numbers) > (key is None):
        return None
    number = int((numbers or ["0"])[0])
    return quantity, key if key is not None else number, rank + later / 2


def split_name(name: str) -> list[str]:
    """Return the words and numbers of a column's name, its unit left out."""
    return name_parts(without_unit(name))


def name_parts(name: str) -> list[str]:
    """Return the words and numbers of a name."""
    name = unicodedata.normalize("NFKD", CAMEL.sub(" ", name).lower())
    name = DOTTED.sub(lambda found: f"{found[1]} {DOTS[found[2]]} ", name)
    return re.findall(r"[^\W\d_]+|\d+", unicodedata.normalize("NFKC", name))
