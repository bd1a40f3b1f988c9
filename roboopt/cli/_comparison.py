"""What came out, before and after: the table and the sentences that sum it up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt.cli._judge import Runs, disagreement, peak_efforts
from roboopt.data import Trajectory
from roboopt.objectives import total

WHEN = "before", "after"
PEAKS = {"N": "peak force", "N·m": "peak torque"}
HEADER = ("", "before", "after", "change", "before", "after")
GROUPS = (("", 1), ("PyBullet", 3), ("twin", 2))
GAP_HEADER = ("largest difference, twin − PyBullet", "before", "after")
AGREES = 1e-6  # rad, m, rad/s or m/s: far below what a robot's sensors see


@dataclass(frozen=True)
class Row:
    """One quantity, of both controllers in both simulators."""

    name: str
    unit: str
    values: dict[tuple[str, str], float]
    """By ("pybullet" or "twin", "before" or "after")."""

    def cells(self) -> list[str]:
        """Return it as the table shows it."""
        before, after = (self.values["pybullet", when] for when in WHEN)
        return [
            self.name if self.unit == "1" else f"{self.name} [{self.unit}]",
            number(before),
            number(after),
            change(before, after),
            *(number(self.values["twin", when]) for when in WHEN),
        ]


@dataclass(frozen=True)
class Comparison:
    """Both controllers on the same starts: terms, peaks, successes and agreement."""

    rows: Sequence[Row]
    successes: dict[tuple[str, str], int]
    episodes: int
    gaps: dict[str, dict[str, float]]
    """For "before" and "after" by unit."""
    at_limits: int
    """Motions in PyBullet that met a joint limit, which the descent left out."""
    telling: int | None
    """The first start whose outcome in PyBullet has changed."""

    @property
    def filmed(self) -> int:
        """Return the start that shows most."""
        return self.telling or 0

    def table(self) -> list[list[str]]:
        """Return the rows, successes last."""
        counts = [
            f"{self.successes[simulator, when]}"
            for simulator in ("pybullet", "twin")
            for when in WHEN
        ]
        gained = (
            self.successes["pybullet", "after"] - self.successes["pybullet", "before"]
        )
        name = f"success [of {self.episodes} starts]"
        last = [name, *counts[:2], f"{gained:+d}" if gained else "0", *counts[2:]]
        return [row.cells() for row in self.rows] + [last]

    def gap_table(self) -> list[list[str]]:
        """Return a row a unit: how far twin and PyBullet are apart."""
        kinds = {"rad": "angles", "m": "positions"}
        kinds |= {"rad/s": "angular speeds", "m/s": "speeds"}
        return [
            [f"{kinds[unit]} [{unit}]", f"{gap:.2g}", f"{self.gaps['after'][unit]:.2g}"]
            for unit, gap in self.gaps["before"].items()
        ]

    def verdict(self) -> list[str]:
        """Return what came out, in sentences."""
        loss = self.rows[0]
        before, after = (loss.values["pybullet", when] for when in WHEN)
        if after < before or np.isfinite(after) > np.isfinite(before):
            said = f"Improved: the objective fell from {number(before)} to "
            said += f"{number(after)} ({change(before, after)}) in PyBullet."
        else:
            said = f"Not improved: the objective was {number(before)} and is "
            said += f"{number(after)} ({change(before, after)}) in PyBullet."
        traded = ", ".join(
            f"{row.name} {change(*(row.values['pybullet', when] for when in WHEN))}"
            for row in self.rows[1:]
            if row.name not in PEAKS.values()
        )
        count = [self.successes["pybullet", when] for when in WHEN]
        gap = max(self.gaps["after"].values())
        agree = "agree" if gap < AGREES else "do not agree"
        units = ", ".join(f"{g:.1g} {u}" for u, g in self.gaps["after"].items())
        sentences = [
            said,
            f"Of its terms: {traded}.",
            f"It succeeds from {count[1]} of {self.episodes} random starts in "
            f"PyBullet; before, from {count[0]}.",
            f"The twin and PyBullet {agree}: over all these motions they are apart by "
            f"at most {units}.",
        ]
        if self.at_limits:
            sentences.append(
                f"In {self.at_limits} of the {2 * self.episodes} motions a joint meets "
                "its limit; the descent ran through the twin without limits."
            )
        return sentences


def compare(recipe: Any, runs: dict[str, Runs]) -> Comparison:
    """Measure the "before" and the "after" of `runs` in both simulators."""
    objective, revolute = recipe.objective, np.array(recipe.twin.robot.revolute)
    driven = list(recipe.env.actuated)
    made = {
        (simulator, when): getattr(runs[when], simulator)
        for simulator in ("pybullet", "twin")
        for when in WHEN
    }
    terms = {key: objective.measure(t) for key, t in made.items()}
    peaks = {key: peak_efforts(t, revolute, driven) for key, t in made.items()}
    some = terms["pybullet", "before"]
    losses = {key: float(total(found)) for key, found in terms.items()}
    rows = [Row("objective", "1", losses)]
    for name, term in some.items():
        values = {key: float(found[name].value) for key, found in terms.items()}
        rows.append(Row(readable(name), term.unit, values))
    for unit in peaks["pybullet", "before"]:
        values = {key: found[unit] for key, found in peaks.items()}
        rows.append(Row(PEAKS[unit], unit, values))
    episodes = len(runs["before"].pybullet.actions)
    succeeded = {key: _succeeded(objective, t) for key, t in made.items()}
    changed = succeeded["pybullet", "before"] != succeeded["pybullet", "after"]
    return Comparison(
        rows=rows,
        successes={key: int(found.sum()) for key, found in succeeded.items()},
        episodes=episodes,
        gaps={when: disagreement(run, revolute) for when, run in runs.items()},
        at_limits=sum(_at_limits(recipe.twin, run.pybullet) for run in runs.values()),
        telling=int(np.argmax(changed)) if changed.any() else None,
    )


def _at_limits(twin: Any, trajectory: Trajectory) -> int:
    """Return how many motions leave the limits of a joint that the twin leaves out."""
    lower, upper = np.asarray(twin.robot.lower), np.asarray(twin.robot.upper)
    q = np.asarray(trajectory.observations)[..., : len(lower)]
    beyond = ((q < lower) | (q > upper)) & (lower <= upper)
    return 0 if twin.joint_limits else int(beyond.any((-1, -2)).sum())


def _succeeded(objective: Any, trajectory: Trajectory) -> np.ndarray:
    """Return whether each motion achieved the task, (starts,)."""
    observations = np.asarray(trajectory.observations)
    return np.asarray(objective.task.success(observations, trajectory.time_step))


def readable(name: str) -> str:
    """Return the name of a term as a person writes it."""
    return {"joule_loss": "Joule loss"}.get(name, name.replace("_", " "))


def number(value: float) -> str:
    """Return a number at the precision at which it is read."""
    return f"{value:.4g}"


def change(before: float, after: float) -> str:
    """Return by how many percent, or how many times, `after` differs."""
    if not (np.isfinite(before) and np.isfinite(after)) or before == 0:
        return "–"
    percent = 100 * (after / before - 1)
    if percent > 900:
        return f"×{after / before:.3g}"
    return f"{percent:+.1f} %".replace("-", "−")
