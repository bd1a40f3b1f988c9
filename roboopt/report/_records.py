"""Numbers and choices of a run as data: JSON, CSV, and the settings in a report."""

import dataclasses
import json
import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from roboopt.optimize import NOTES
from roboopt.report._csv import write_csv
from roboopt.report._page import Details, Section

NUMBERS = re.compile(r"\[\s+([^\[\]{}\"]*?)\s+\]")
"""A list of numbers in JSON, which stands in one line."""


def settings(record: Mapping[str, Any]) -> Section:
    """Return the last section of a report: the settings, folded away.

    Args:
        record: what `VerbResult.record` returns.
    """
    text = json.dumps(plain(record), indent=2, ensure_ascii=False)
    text = NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    return Section("Settings", [Details("The exact settings of this run", text)])


def plain(value: Any) -> Any:
    """Return `value` in dictionaries, lists, finite numbers and text, as JSON has it.

    Dataclasses become dictionaries, arrays lists, and numbers that are not finite text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return value if value is None or isinstance(value, int | str) else str(value)


def write_history(
    path: str | PathLike,
    history: Mapping[str, np.ndarray],
    units: Mapping[str, str] | None = None,
) -> None:
    """Write the history of a descent as a CSV file, one row per step.

    The loss comes first, then its terms and, of a small model, its parameters, then
    the notes of `minimize`.

    Args:
        path: of the file.
        history: each quantity, (steps + 1,).
        units: of the quantities, written behind their names in brackets.
    """
    units = units or {}
    notes = [name for name in NOTES if name in history]
    terms = [name for name in history if name not in ("loss", *notes)]
    first = ["loss"] if "loss" in history else []
    history = {name: history[name] for name in (*first, *terms, *notes)}
    header = [f"{name} [{units[name]}]" if name in units else name for name in history]
    steps = enumerate(zip(*history.values(), strict=True))
    rows = [[step, *map(float, values)] for step, values in steps]
    write_csv(path, ["step", *header], rows)
