"""Evaluations as the tables and records of every verb."""

from collections.abc import Mapping
from typing import Any

from roboopt.report._page import Table
from roboopt.rollouts import Evaluation

HEADER = ("", "success", "95 % interval", "return", "95 % interval")


def evaluation_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return a row of success rate and mean return for each name."""
    return Table(HEADER, [_row(name, found) for name, found in evaluations.items()])


def evaluation_record(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return the numbers of evaluations by name, for settings.json."""
    return {
        name: {
            "episodes": len(found.returns),
            "success_rate": found.success_rate,
            "mean_return": found.mean_return,
        }
        for name, found in evaluations.items()
    }


def _row(name: str, found: Evaluation) -> list[str]:
    rate, mean = found.success_rate, found.mean_return
    cells = ["–", "–"]
    if rate is not None:
        value, low, high = (f"{100 * share:.0f}" for share in rate)
        cells = [f"{value} %", f"{low} to {high} %"]
    value, low, high = (f"{x:.4g}".replace("-", "−") for x in mean)
    return [name, *cells, value, f"{low} to {high}"]
