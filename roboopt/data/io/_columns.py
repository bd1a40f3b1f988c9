"""The columns of a table: its times, and the motion and efforts of joints.

A column is recognized if its name consists of one alias of a quantity, a joint's number
or name, and the words listed here, as in `q1`, `tau_meas1`, `shoulder_velocity`,
`/joint_states/effort[0]` or `torque1 [mNm]`. One that is called as a joint alone holds
its position, if no other does. Any other column is ignored: name it by `Columns`.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError, require
from roboopt.data.io._units import COUNTED, unit_of, unknown_unit, without_unit
from roboopt.data.io._units import CURRENTS as CURRENT_UNITS

ALIASES = {
    "positions": {
        *"q qpos pos position positions theta angle angles winkel θ".split(),
    },
    "velocities": {
        *("dq", "qd", "qdot", "qvel", "vel", "velocity", "velocities"),
        *("speed", "speeds", "velo", "thetadot", "dtheta"),
        *("geschwindigkeit", "drehzahl"),
    },
    "efforts": {
        *("u", "tau", "τ", "eff", "effort", "efforts", "torque", "torques", "trq"),
        *("force", "forces", "moment", "moments", "drehmoment"),
        *("current", "currents", "strom"),
    },
}
MOTORS = {"theta", "dtheta", "θ"}  # of libfranka, whose `q` is of the joint
CAMEL = re.compile(r"(?<=[a-z]{3})(?=[A-Z][a-z])|(?<=\b(?:Act|Ist))(?=[A-Z][a-z])")
"""Between the words of `jointPosition`, and of `ActPos`, as TwinCAT calls it."""
CURRENTS = {
    "current",
    "currents",
    "strom",
}  # efforts in units of the motors' torque constants
DOTS = {"\u0307": "dot", "\u0308": "ddot"}
DOTTED = re.compile("(?<![^\\W\\d_])([qθτ])([\u0307\u0308])")
"""As in q̇ and q̈; the dots of other letters, as in Tür, belong to words."""
DERIVED = re.compile("(?<![^\\W_])(dd?)[ _]+(?=(?:q|theta|θ)(?![^\\W\\d_]))")
"""As in `d_theta_1`."""
TIMES = (
    *("headerstamp", "t", "time", "timestamp", "timestamps", "stamp"),
    *("elapsed", "elapsedtime", "tout", "zeit"),
    *("times", "ts", "simtime", "sampletime", "sampletimes", *COUNTED),
)
RUNS = {"run", "episode", "trial"}
PARTS = {
    *("take", "segment", "recording", "session", "experiment", "rollout"),
    *("demo", "demonstration", "traj", "trajectory", "versuch", "messung"),
}
"""Names of columns of runs, which tell them where no column of `RUNS` does."""
ROBOTS = {"robot", "arm", "device"}
ENDS = ("", "id", "no", "nr", "number", "name", "index", "idx")
"""What may follow the names of runs and robots, as in `run_id`."""
MEASURED = set("meas measured msr actual act fbk fb feedback present ist".split())
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
    *("des", "desired", "ref", "reference", "computed", "soll"),
}
APPLIED = "applied"
"""Efforts of Isaac Lab, within the limits of its motors."""
PREFIXES = {
    *("j", "joint", "joints", "axis", "axes", "dof", "dofs"),
    *("state", "states", "field", "data", "msg", APPLIED),
}
PHRASES = (["tau", "j"], ["qfrc", "actuator"], ["motor", "torque"])
"""Efforts of libfranka, of MuJoCo, and of a motor beside those of the joint, if any."""


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

    def __post_init__(self):
        for name in ("positions", "velocities", "efforts", "joints"):
            value = getattr(self, name)
            lists = value is None or isinstance(value, list | tuple)
            require(lists, f"columns.{name}", "be a list of names", repr(value))

    @classmethod
    def of(cls, given: Any) -> "Columns | None":
        """Return columns as they are, or from a dict of these fields.

        Raises:
            RobooptError: if `given` is of another type, or has another field.
        """
        if given is None or isinstance(given, Columns):
            return given
        fields = [field.name for field in dataclasses.fields(cls)]
        rule = f"be a `data.Columns`, or a dict of {', '.join(fields)}"
        require(isinstance(given, Mapping), "columns", rule, type(given))
        unknown = [name for name in given if name not in fields]
        require(not unknown, "columns", rule, unknown)
        return cls(**given)

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
            "positions=[...], velocities=[...], efforts=[...])`, joints of other names "
            "by `Columns(joints=[...])`, and joints that were not recorded by "
            f"`locked`; {path} has the columns {self.header}."
        )


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
    """Return whether a column is called as a run, whatever columns are beside it."""
    return _tells(name, RUNS)


def run_columns(header: Iterable[str]) -> list[str]:
    """Return the columns that tell the recordings of a table apart by their names."""
    names = [*header]
    runs = [*filter(is_run, names)]
    return runs or [name for name in names if _tells(name, PARTS)]


def names_robot(name: str) -> bool:
    """Return whether a column tells by its name of which robot a row is."""
    return _tells(name, ROBOTS)


def _tells(name: str, which: Iterable[str]) -> bool:
    word = "".join(split_name(name))
    return any(word == f"{one}{end}" for one in which for end in ENDS)


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


def role_of(name: str, joints: Sequence[str]) -> tuple[str, str | int, float] | None:
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
    later = bool({*MOTORS, APPLIED, "motor"} & set(words))
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
    name = DERIVED.sub(r"\1", name)
    return re.findall(r"[^\W\d_]+|\d+", unicodedata.normalize("NFKC", name))
