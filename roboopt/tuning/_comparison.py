"""The controllers before and after, from the same test starts in both simulators."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from roboopt._programs import called
from roboopt.data import Trajectory
from roboopt.objectives import total
from roboopt.report import Table, change, number, readable
from roboopt.tuning._chatter import chatters
from roboopt.tuning._joints import Joints

WHEN = "before", "after"
SIMULATORS = "PyBullet", "twin"
PEAKS = {"N": "peak force", "N·m": "peak torque"}
CONTACT_INSTANTS = 20  # of each motion, at which links are tried for contact
TOOL_ERROR = "tool error, root mean square"
GAP_NAMES = {"rad": "angles", "m": "positions"} | {
    "rad/s": "angular speeds",
    "m/s": "speeds",
}
MAX_GAP = 1e-4  # rad, m, rad/s or m/s: an encoder of 14 bits resolves 4e-4 rad

Motions = Mapping[str, Mapping[str, Trajectory]]
"""Motions (starts, …) by simulator and by "before" or "after"."""


@dataclass(frozen=True)
class Row:
    """One quantity, of both controllers in both simulators."""

    name: str
    unit: str
    values: dict[str, dict[str, float]]
    """By simulator and by "before" or "after"."""

    @property
    def pybullet(self) -> tuple[float, float]:
        """Return the values in PyBullet before and after."""
        return self.values["PyBullet"]["before"], self.values["PyBullet"]["after"]

    @property
    def label(self) -> str:
        """Return the name with its unit."""
        return self.name if self.unit == "1" else f"{self.name} [{self.unit}]"

    def cells(self) -> list[str]:
        """Return the cells of the row in the table."""
        twin = [number(self.values["twin"][when]) for when in WHEN]
        before, after = self.pybullet
        return [self.label, number(before), number(after), change(before, after), *twin]


@dataclass(frozen=True)
class Comparison:
    """Both controllers on the same starts: terms, peaks, successes and agreement."""

    rows: list[Row]
    """The objective first."""
    successes: dict[str, dict[str, int]]
    episodes: int
    gaps: dict[str, dict[str, float]]
    """The largest difference of twin and PyBullet, by "before" or "after", by unit."""
    at_limits: int
    """Motions in PyBullet that met a joint limit, which the descent left out."""
    filmed: int
    """The first start whose outcome in PyBullet has changed; 0 if there is none."""
    changed: bool
    """Whether there is one."""
    touching: int | None = None
    """Motions of the tuned controller on which links overlap; None if not known."""
    apart: int = 0
    """Motions of the tuned controller on which twin and PyBullet disagree."""
    chattering: int = 0
    """Motions of the tuned controller in PyBullet on which a joint chatters."""

    def metrics(self) -> dict[str, float]:
        """Return the values of the tuned controller in PyBullet."""
        share = 100 * self.successes["PyBullet"]["after"] / self.episodes
        values = {row.label: row.pybullet[1] for row in self.rows}
        return {**values, "success [%]": share}

    def table(self) -> Table:
        """Return the terms and peaks, successes last."""
        counts = {s: [self.successes[s][when] for when in WHEN] for s in SIMULATORS}
        gained = counts["PyBullet"][1] - counts["PyBullet"][0]
        last = [
            f"success [of {self.episodes} test starts]",
            *map(str, counts["PyBullet"]),
            f"{gained:+d}" if gained else "0",
            *map(str, counts["twin"]),
        ]
        return Table(
            ("", "before", "after", "change", "before", "after"),
            [*(row.cells() for row in self.rows), last],
            (("", 1), ("PyBullet", 3), ("twin", 2)),
        )

    def gap_table(self) -> Table:
        """Return a row a unit: how far twin and PyBullet are apart."""
        rows = [
            [
                f"{GAP_NAMES[unit]} [{unit}]",
                *(f"{self.gaps[w][unit]:.2g}" for w in WHEN),
            ]
            for unit in self.gaps["before"]
        ]
        return Table(("largest difference, twin − PyBullet", *WHEN), rows)

    def sentences(self) -> list[str]:
        """Return what came out, the most important sentence first."""
        before, after = self.rows[0].pybullet
        better = after < before or np.isfinite(after) > np.isfinite(before)
        worse = after > before or np.isfinite(after) < np.isfinite(before)
        small = abs(after - before) < 0.0005 * abs(before)  # said to be 0.0 %
        if small or number(before) == number(after):
            better = worse = False
        said = f"Not improved: the objective was {number(before)} and is"
        if better:
            said = f"Improved: the objective fell from {number(before)} to"
        terms = ", ".join(
            f"{row.name} {change(*row.pybullet)}"
            for row in self.rows[1:]
            if row.name not in (*PEAKS.values(), TOOL_ERROR)
        )
        succeeded, gaps = self.successes["PyBullet"], self.gaps["after"]
        agree = "agree" if max(gaps.values()) < MAX_GAP else "do not agree"
        often = ""
        if self.apart:
            often = f", above {MAX_GAP:g} in {self.apart} of {self.episodes}"
        apart = ", ".join(f"{gap:.1g} {unit}" for unit, gap in gaps.items())
        sentences = [
            f"{said} {number(after)} ({change(before, after)}) in PyBullet.",
            f"The terms changed: {terms}.",
            f"The tuned controller succeeds from {succeeded['after']} of "
            f"{self.episodes} random test starts in PyBullet; the starting controller "
            f"from {succeeded['before']}.",
            f"The twin and PyBullet {agree}: over all motions of the tuned controller "
            f"they are apart by at most {apart}{often}.",
        ]
        if worse:
            sentences.insert(
                1,
                "Keep the starting controller, `before` of the result. More tuning "
                "starts may help.",
            )
        if not (better or worse):
            sentences.insert(
                1,
                "The descent found no better gains than the starting ones: more "
                "`steps`, more `starts` or another controller may help.",
            )
        if self.chattering:
            sentences.append(
                f"In {self.chattering} of the {self.episodes} motions of the tuned "
                "controller a joint chatters, thrown back and forth at every step: its "
                "gains are too high for the little inertia that it feels there, and "
                "differences grow. Shorten the control period, or lower the gains."
            )
        if self.at_limits:
            sentences.append(
                f"In {self.at_limits} of the {2 * self.episodes} motions a joint meets "
                "its limit; the descent ran through the twin without limits."
            )
        if self.touching:
            sentences.append(
                f"In {self.touching} of the {self.episodes} motions of the tuned "
                "controller links touch each other or the floor: neither simulator has "
                "contact, and the real robot stops there."
            )
        return sentences


def compare(objective: Any, joints: Joints, motions: Motions) -> Comparison:
    """Measure both controllers in both simulators.

    Args:
        objective: an `EnergyTaskCost`.
        joints: of the robot.
        motions: from the same starts.
    """

    def each(measure: Any) -> dict[str, dict[str, Any]]:
        return {s: {w: measure(motions[s][w]) for w in WHEN} for s in SIMULATORS}

    def row(name: str, unit: str, found: Any, pick: Any) -> Row:
        values = {s: {w: float(pick(found[s][w])) for w in WHEN} for s in SIMULATORS}
        return Row(name, unit, values)

    terms = each(lambda trajectory: dict(called(_measured, objective, trajectory)))
    peaks = each(lambda trajectory: peak_efforts(trajectory, joints))
    rows = [row("objective", "1", terms, total)]
    for name, term in terms["PyBullet"]["before"].items():
        rows.append(row(readable(name), term.unit, terms, lambda t, n=name: t[n].value))
    for unit in peaks["PyBullet"]["before"]:
        rows.append(row(PEAKS[unit], unit, peaks, itemgetter(unit)))
    if (error := getattr(objective.task, "tool_error", None)) is not None:
        errors = each(lambda t: np.mean(error(np.asarray(t.observations)) ** 2) ** 0.5)
        rows.append(row(TOOL_ERROR, "m", errors, float))
    success = objective.task.success
    succeeded = each(
        lambda t: np.asarray(success(np.asarray(t.observations), t.time_step))
    )
    counts = {s: {w: int(succeeded[s][w].sum()) for w in WHEN} for s in SIMULATORS}
    changed = succeeded["PyBullet"]["before"] != succeeded["PyBullet"]["after"]
    pybullet = motions["PyBullet"]
    apart = _gaps(motions["twin"]["after"], pybullet["after"], joints)
    seen = np.asarray(pybullet["after"].observations)
    return Comparison(
        rows=rows,
        successes=counts,
        episodes=len(pybullet["before"].actions),
        gaps={w: disagreement(motions["twin"][w], pybullet[w], joints) for w in WHEN},
        at_limits=sum(_at_limits(joints, pybullet[w]) for w in WHEN),
        filmed=int(np.argmax(changed)),
        changed=bool(changed.any()),
        apart=int((apart.max(1) >= MAX_GAP).sum()),
        chattering=int(chatters(seen, len(joints.names)).sum()),
    )


def _measured(objective: Any, trajectory: Trajectory) -> list[tuple[str, Any]]:
    """Return the terms in their order, which JAX does not keep in a dictionary."""
    return list(objective.measure(trajectory).items())


def touching(env: Any, trajectory: Trajectory) -> int | None:
    """Return on how many motions links of the robot overlap; None if unknown."""
    touches = getattr(env.unwrapped, "touches", None)
    if touches is None:
        return None
    n = len(env.unwrapped.joint_names)
    q = np.asarray(trajectory.observations)[..., :n]
    instants = np.linspace(0, q.shape[1] - 1, CONTACT_INSTANTS).astype(int)
    found = touches(q[:, instants].reshape(-1, n))
    return int(found.reshape(len(q), -1).any(axis=1).sum())


def disagreement(
    twin: Trajectory, pybullet: Trajectory, joints: Joints
) -> dict[str, float]:
    """Return by unit how far two simulations are apart at most, at any time."""
    units = np.array(joints.state_units)
    gaps = _gaps(twin, pybullet, joints).max(0)
    return {u: float(gaps[units == u].max()) for u in joints.state_units}


def _gaps(twin: Trajectory, pybullet: Trajectory, joints: Joints) -> np.ndarray:
    """Return how far two simulations are apart at any time, (starts, state)."""
    size = len(joints.state_units)
    states = [np.asarray(t.observations)[..., :size] for t in (twin, pybullet)]
    return np.abs(states[0] - states[1]).max(1)


def peak_efforts(trajectory: Trajectory, joints: Joints) -> dict[str, float]:
    """Return the largest force [N] and torque [N·m] on any driven joint at any time."""
    driven = list(joints.driven)
    efforts = np.abs(np.asarray(trajectory.efforts)).max((0, 1))[driven]
    revolute = np.array(joints.revolute)[driven]
    kinds = {"N": ~revolute, "N·m": revolute}
    return {unit: float(efforts[on].max()) for unit, on in kinds.items() if on.any()}


def _at_limits(joints: Joints, trajectory: Trajectory) -> int:
    """Return how many motions leave the limits of a joint that the twin leaves out."""
    lower, upper = np.array(joints.lower), np.array(joints.upper)
    q = np.asarray(trajectory.observations)[..., : len(lower)]
    beyond = ((q < lower) | (q > upper)) & (lower <= upper)
    return int(beyond.any((-1, -2)).sum())
