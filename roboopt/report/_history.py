"""The history of a descent as a table on disk."""

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np


def write_history(
    path: str | PathLike,
    history: Mapping[str, np.ndarray],
    units: Mapping[str, str] | None = None,
) -> None:
    """Write the history of a descent as a CSV file, a row a gradient step.

    Args:
        path: of the file.
        history: each quantity, (steps + 1,).
        units: of the quantities, written behind their names in brackets.
    """
    units = units or {}
    header = [f"{name} [{units[name]}]" if name in units else name for name in history]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *header])
        for step, values in enumerate(zip(*history.values(), strict=True)):
            writer.writerow([step, *(repr(float(value)) for value in values)])
