"""The controllers before and after, from the same test starts in both simulators."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt.data import Trajectory
from roboopt.objectives import total
from roboopt.report import Table, change, number, readable
from roboopt.tuning._joints import Joints

WHEN = "before", "after"
SIMULATORS = "PyBullet", "twin"
PEAKS = {"N": "peak force", "N·m": "peak torque"}
GAP_NAMES = {"rad": "angles", "m": "positions"} | {
    "rad/s": "angular speeds",
    "m/s": "speeds",
}
MAX_GAP = 1e-6  # rad, m, rad/s or m/s: far below what a robot's sensors see

Motions = Mapping[str, Mapping[str, Trajectory]]
"""Motions (starts, …) by simulator and by "before" or "after"."""


@dataclass(frozen=True)
class Row:
    """One quantity, of both controllers in both simulators."""

    name: str
    unit: str
    values: dict[str, dict[str, float]]
    """By simulator and by "before" or "after"."""

    def cells(self) -> list[str]:
        """Return the cells of the row in the table."""
        before, after = (self.values["PyBullet"][when] for when in WHEN)
        return [
            self.name if self.unit == "1" else f"{self.name} [{self.unit}]",
            number(before),
            number(after),
            change(before, after),
            *(number(self.values["twin"][when]) for when in WHEN),
        ]


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
            [f"{GAP_NAMES[unit]} [{unit}]", f"{gap:.2g}", f"{after:.2g}"]
            for (unit, gap), after in zip(
                self.gaps["before"].items(), self.gaps["after"].values(), strict=True
            )
        ]
        header = ("largest difference, twin − PyBullet", *WHEN)
        return Table(header, rows)

    def sentences(self) -> list[str]:
        """Return what came out, the most important sentence first."""
        before, after = (self.rows[0].values["PyBullet"][when] for when in WHEN)
        changed = change(before, after)
        if after < before or np.isfinite(after) > np.isfinite(before):
            said = f"Improved: the objective fell from {number(before)} to "
            said += f"{number(after)} ({changed}) in PyBullet."
        else:
            said = f"Not improved: the objective was {number(before)} and is "
            said += f"{number(after)} ({changed}) in PyBullet."
        terms = ", ".join(
            f"{row.name} {change(*(row.values['PyBullet'][when] for when in WHEN))}"
            for row in self.rows[1:]
            if row.name not in PEAKS.values()
        )
        count = [self.successes["PyBullet"][when] for when in WHEN]
        agree = max(self.gaps["after"].values()) < MAX_GAP
        units = ", ".join(
            f"{gap:.1g} {unit}" for unit, gap in self.gaps["after"].items()
        )
        sentences = [
            said,
            f"The terms changed: {terms}.",
            f"The tuned controller succeeds from {count[1]} of {self.episodes} random "
            f"test starts in PyBullet; the starting controller from {count[0]}.",
            f"The twin and PyBullet {'agree' if agree else 'do not agree'}: over all "
            f"these motions they are apart by at most {units}.",
        ]
        if self.at_limits:
            sentences.append(
                f"In {self.at_limits} of the {2 * self.episodes} motions a joint meets "
                "its limit; the descent ran through the twin without limits."
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

    def picked(found: Any, pick: Any) -> dict[str, dict[str, float]]:
        return {s: {w: float(pick(found[s][w])) for w in WHEN} for s in SIMULATORS}

    terms = each(objective.measure)
    peaks = each(lambda trajectory: peak_efforts(trajectory, joints))
    rows = [Row("objective", "1", picked(terms, total))]
    for name, term in terms["PyBullet"]["before"].items():
        values = picked(terms, lambda found, name=name: found[name].value)
        rows.append(Row(readable(name), term.unit, values))
    for unit in peaks["PyBullet"]["before"]:
        values = picked(peaks, lambda found, unit=unit: found[unit])
        rows.append(Row(PEAKS[unit], unit, values))
    succeeded = each(lambda trajectory: _succeeded(objective.task, trajectory))
    changed = succeeded["PyBullet"]["before"] != succeeded["PyBullet"]["after"]
    pybullet = motions["PyBullet"]
    return Comparison(
        rows=rows,
        successes={
            s: {w: int(succeeded[s][w].sum()) for w in WHEN} for s in SIMULATORS
        },
        episodes=len(pybullet["before"].actions),
        gaps={w: disagreement(motions["twin"][w], pybullet[w], joints) for w in WHEN},
        at_limits=sum(_at_limits(joints, pybullet[w]) for w in WHEN),
        filmed=int(np.argmax(changed)),
        changed=bool(changed.any()),
    )


def disagreement(
    twin: Trajectory, pybullet: Trajectory, joints: Joints
) -> dict[str, float]:
    """Return by unit how far two simulations are apart at most, at any time."""
    units = joints.state_units
    states = [np.asarray(t.observations)[..., : len(units)] for t in (twin, pybullet)]
    gaps = np.abs(states[0] - states[1]).max(tuple(range(states[0].ndim - 1)))
    return {
        unit: float(max(gap for gap, u in zip(gaps, units, strict=True) if u == unit))
        for unit in dict.fromkeys(units)
    }


def peak_efforts(trajectory: Trajectory, joints: Joints) -> dict[str, float]:
    """Return the largest force [N] and torque [N·m] on any driven joint at any time."""
    driven = list(joints.driven)
    efforts = np.abs(np.asarray(trajectory.efforts)).max((0, 1))[driven]
    revolute = np.array(joints.revolute)[driven]
    kinds = {"N": ~revolute, "N·m": revolute}
    return {
        unit: float(efforts[which].max())
        for unit, which in kinds.items()
        if which.any()
    }


def _at_limits(joints: Joints, trajectory: Trajectory) -> int:
    """Return how many motions leave the limits of a joint that the twin leaves out."""
    lower, upper = np.array(joints.lower), np.array(joints.upper)
    q = np.asarray(trajectory.observations)[..., : len(lower)]
    beyond = ((q < lower) | (q > upper)) & (lower <= upper)
    return int(beyond.any((-1, -2)).sum())


def _succeeded(task: Any, trajectory: Trajectory) -> np.ndarray:
    """Return whether each motion achieved the task, (starts,)."""
    observations = np.asarray(trajectory.observations)
    return np.asarray(task.success(observations, trajectory.time_step))
