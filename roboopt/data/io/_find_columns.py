"""Which columns of a table are read: of each quantity one a joint, in their order."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roboopt.data.io._columns import (
    ALIASES,
    COMMANDED,
    MEASURED,
    PREFIXES,
    ColumnError,
    Columns,
    is_run,
    name_parts,
    role_of,
    run_columns,
    split_name,
)
from roboopt.data.io._units import UNITS, unit_of, unknown_unit, without_unit


def find_columns(
    header: Sequence[str],
    columns: Columns | None,
    joints: Sequence[str] | None,
    *,
    time: str | None,
    driven: Sequence[int] | None = None,
    path: Path,
    note: Callable[[str], None],
) -> tuple[Columns, list[str]]:
    """Return which columns of `header` to read, and those that tell runs apart.

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
    search = _Search(header, columns or Columns(), joints, driven, path, note)
    picked: dict[str, Any] = {q: search.picked(q) for q in ALIASES}
    known = Columns(time, **picked)
    search.check(known)
    runs = [name for name in run_columns(header) if name not in known.names]
    told = [*filter(is_run, runs)]
    search.require(len(told) < 2, f"must hold one column of runs, got {told}")
    return known, runs


class _Search:
    """The columns of each quantity by joint, and the order of the joints."""

    def __init__(
        self,
        header: Sequence[str],
        given: Columns,
        joints: Sequence[str] | None,
        driven: Sequence[int] | None,
        path: Path,
        note: Callable[[str], None],
    ):
        self.header, self.given, self.path, self.note = header, given, path, note
        self.joints, self.driven = joints, driven
        self.ranked: dict[str, dict[Any, dict[float, list[str]]]]
        self.ranked = {q: {} for q in ALIASES}
        self.foreign: dict[str, dict[Any, str]] = {q: {} for q in ALIASES}
        """Columns whose unit cannot be converted."""
        self.order: list[Any] = []
        """The joints by name or number; the first quantity tells them."""
        for name in header:
            self._rank(name)
        if given.positions is None:
            self._add_called_as_joints()

    def require(self, fits: Any, rule: str) -> None:
        """Raise a `ColumnError` unless something fits."""
        if not fits:
            raise ColumnError(rule, self.path, self.header)

    def _rank(self, name: str) -> None:
        """Note the role of a column by its name."""
        joints = self.joints or ()
        if role := role_of(name, joints):
            quantity, joint, rank = role
            if (unit := unit_of(name)) is not None and unit not in UNITS[quantity]:
                self.foreign[quantity].setdefault(joint, name)
            else:
                ranks = self.ranked[quantity].setdefault(joint, {})
                ranks.setdefault(rank, []).append(name)
        elif unknown := unknown_unit(name):
            if role := role_of(unknown[0], joints):
                self.foreign[role[0]].setdefault(role[1], name)

    def _add_called_as_joints(self) -> None:
        """Take columns that are called as joints alone for missing positions."""
        held = self.ranked["positions"]
        bare = _called_as(self.header, self.joints or ())
        new = {joint: name for joint, name in bare.items() if joint not in held}
        if not new or {*bare} | {*held} != {*(self.joints or ())}:
            return
        held |= {joint: {1: [name]} for joint, name in new.items()}
        said = "is called as a joint" if len(new) == 1 else "are called as joints"
        self.note(f"{', '.join(new.values())} {said}: read as positions.")

    def picked(self, quantity: str) -> tuple[str | None, ...] | None:
        """Return the columns of a quantity in the joints' order, None without any."""
        if (named := getattr(self.given, quantity)) is not None:
            return self._named(quantity, tuple(named))
        found, foreign = self.ranked[quantity], self.foreign[quantity]
        if quantity == "velocities" and not found and not {*self.order} & {*foreign}:
            return None
        best = {}
        for joint, ranks in found.items():
            names = ranks[min(ranks)]
            rule = f"must hold one of the {quantity} of joint {joint}, got {names}"
            stems = [name for name in map(self._array_of, names) if name]
            if stems:
                rule += f"; choose one, as in `{quantity}={stems[:1]}`"
            self.require(len(names) == 1, rule)
            best[joint] = names[0]
        best = self._by_joint(quantity, best)
        absent = [joint for joint in self.order if joint not in best]
        idle = []
        if quantity == "efforts" and self.driven is not None and self.joints:
            idle = [j for j in absent if self.order.index(j) not in self.driven]
        missing = [joint for joint in absent if joint not in idle]
        if missing or not (best or idle):
            self.require(False, self._lacking(quantity, best, missing))
        return tuple(best.get(joint) for joint in self.order)

    def _array_of(self, name: str) -> str | None:
        """Return the name of the array of which a column is one axis, if any."""
        stem = re.sub(r"[ _.]*[(\[{]?\d+[)\]}]?$", "", without_unit(name).strip())
        return stem if stem and len(self._columns_of(stem)) > 1 else None

    def _columns_of(self, array: str) -> dict[int | str, str]:
        """Return the columns of an array by the number or the joint in their names."""
        wanted, found = split_name(array), {}
        for name in self.header:
            words = split_name(name)
            keys: list[tuple[Any, list[str]]]
            keys = [(joint, name_parts(joint)) for joint in self.joints or ()]
            keys += [(int(word), [word]) for word in words if word.isdigit()]
            for key, parts in keys:
                for k in range(len(words) - len(parts) + 1):
                    rest = words[:k] + words[k + len(parts) :]
                    if words[k : k + len(parts)] == parts and rest == wanted:
                        found.setdefault(key, name)
        return found

    def _named(
        self, quantity: str, named: tuple[str | None, ...]
    ) -> tuple[str | None, ...]:
        """Return the columns that are named; an array's name stands for all of its."""
        given = [name for name in named if name is not None]
        if len(given) != 1 or given[0] in self.header:
            return named
        found, joints = self._columns_of(given[0]), list(self.joints or ())
        numbers = [found[key] for key in sorted(k for k in found if type(k) is int)]
        if joints and {*joints} & found.keys():
            return tuple(found.get(joint) for joint in joints)
        driven = range(len(joints)) if self.driven is None else self.driven
        if quantity == "efforts" and len(numbers) == len(driven) < len(joints):
            by_joint = dict(zip(driven, numbers, strict=True))
            return tuple(by_joint.get(k) for k in range(len(joints)))
        return tuple(numbers) or named

    def _by_joint(self, quantity: str, best: dict[Any, str]) -> dict[Any, str]:
        """Return columns by the joints of `order`; numbers rise as these do."""
        joints = list(self.joints or ())
        numbered = bool(best) and all(isinstance(joint, int) for joint in best)
        self.order = self.order or (sorted(best) if numbered else joints)
        if not numbered or self.order != joints:
            return best
        # Numbers of all joints, or of those with a motor, in the robot's order.
        motors = range(len(joints)) if self.driven is None else self.driven
        every = {len(joints): range(len(joints)), len(motors): motors}
        owners = [joints[j] for j in every.get(len(best), ())]
        if not owners:
            return best
        names = [best[number] for number in sorted(best)]
        said = f"{', '.join(names)} are read as {quantity} of {', '.join(owners)}."
        self.note(said)
        return dict(zip(owners, names, strict=True))

    def _lacking(self, quantity: str, best: dict[Any, str], missing: list[Any]) -> str:
        """Return what the file lacks, and what may be said in its place."""
        order, joints, said = self.order, self.joints, f"lacks {quantity}"
        if best:
            beside = ", ".join(best.values())
            said += f"{_of_joints(missing, order, joints)}, beside {beside}"
        unread = [n for j, n in self.foreign[quantity].items() if j not in best]
        if unread:
            said += f", for the unit of {', '.join(unread)} cannot be converted"
        if joints is None:
            return said + _joints_of(self.header, ()) * (quantity == "positions")
        if quantity == "efforts" and not unread:
            known = [n for n in self.header if ALIASES[quantity] & {*split_name(n)}]
            known = [n for n in known if n not in best.values()]
            if len(known) == len(missing):
                named = [*best.values(), *known]
                said += (
                    f"; if {', '.join(known)} are those, say so by `efforts={named}`"
                )
            pairs = zip(joints, order, strict=False)
            named = [joint for joint in joints if joint in best]
            named = named or [joint for joint, number in pairs if number in best]
            said += f"; if nothing drives the joint, say so by `actuated={named}`"
        if quantity == "positions":
            said += _other_names(self.header, joints, best)
        return said

    def check(self, known: Columns) -> None:
        """Raise a `ColumnError` for columns that are not there, twice, or too few."""
        header, joints = list(self.header), self.joints
        unknown = [name for name in known.names if name not in header]
        rule = f"must hold the columns that are named, and has no {unknown}"
        self.require(not unknown, rule)
        twice = sorted({n for n in known.names if header.count(n) > 1})
        self.require(not twice, f"must hold each column once, got {twice} twice")
        count = len((known.positions or ()) if joints is None else joints)
        which = f" ({', '.join(joints)})" if joints else ""
        for quantity in ALIASES:
            names = getattr(known, quantity)
            got = list(names or ())
            rule = f"must hold {quantity} of {count} joints{which}, got {got}"
            if joints is not None and len(got) > count:
                rule += self._how_to_leave_out(known, count)
            self.require(names is None or len(names) == count, rule)

    def _how_to_leave_out(self, known: Columns, count: int) -> str:
        """Return how to name the columns of some joints of a file with more."""
        long = {q: list(getattr(known, q) or ())[:count] for q in ALIASES}
        long = {q: names for q, names in long.items() if names and None not in names}
        said = " with ".join(f"`{q}={names}`" for q, names in long.items())
        return (
            "; numbers tell no joint that the robot lacks, or has locked: leave its "
            f"columns out by naming the others, as by {said}"
        )


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


def _other_names(header: Sequence[str], joints: Sequence[str], best: Any) -> str:
    """Return what to say where positions may have other names for their joints."""
    strange = _strange_joints(header, joints)
    lost = [joint for joint in joints if joint not in best]
    if len(strange) != len(lost):
        return _joints_of(header, joints)
    if len(lost) == 1:
        named = [strange[0] if joint == lost[0] else joint for joint in joints]
        return f"; if they have other names, say so by `joints={named}`"
    return (
        f"; if {', '.join(strange)} are other names of the robot's {', '.join(lost)}, "
        "say which is which by `joints`, in the robot's order"
    )


def _joints_of(header: Sequence[str], joints: Sequence[str]) -> str:
    """Return what to say where columns are of joints that are not the robot's."""
    strange = _strange_joints(header, joints)
    if not strange:
        return ""
    return (
        f"; the joints may be {', '.join(strange)}: `joints` names the robot's among "
        "these, in the robot's order"
    )


def _strange_joints(header: Sequence[str], joints: Sequence[str]) -> list[str]:
    """Return the joints with positions whose names the robot's joints have not."""
    found = []
    for words in (split_name(name) for name in header if not role_of(name, joints)):
        said = ALIASES["positions"] | MEASURED | PREFIXES
        rest = " ".join(word for word in words if word not in said)
        if rest and ALIASES["positions"] & {*words} and not COMMANDED & {*words}:
            found.append(rest)
    return found


def joints_beside(header: Sequence[str], joints: Sequence[str]) -> dict[str, str]:
    """Return the column of positions of each joint that is not among the robot's.

    Velocities or efforts that are called alike tell that it is a joint.
    """
    others = ALIASES["velocities"] | ALIASES["efforts"]
    words = [split_name(name) for name in header]
    found = {}
    for name, parts in zip(header, words, strict=True):
        if role_of(name, joints) or not parts or parts[-1] not in ALIASES["positions"]:
            continue
        alike = [w for w in words if len(parts) > 1 and w[:-1] == parts[:-1]]
        if any(w[-1] in others for w in alike):
            found[without_unit(name)[: -len(parts[-1])].rstrip("/_. ")] = name
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
