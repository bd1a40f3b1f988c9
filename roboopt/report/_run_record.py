"""The record of a saved run: its metrics, settings, versions and curves.

A run is read from its metrics.json, settings.json and history files alone: nothing is
loaded that could run code, and no environment is made.
"""

import csv
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._display import readable
from roboopt._errors import RobooptError
from roboopt._reading import read_bytes, read_json
from roboopt.optimize import NOTES
from roboopt.report._page import NONE
from roboopt.report._result import METRICS
from roboopt.report._text import parts

COMMAND = "command"
SETTINGS = "settings.json"
HISTORY, RETURNS = "history.csv", "returns.csv"
HISTORIES = {HISTORY: "gradient step", RETURNS: "environment step"}
"""Files of curves, and what their first column counts."""
PARTS = "fit", "round"
"""Columns that number parts of a history which have losses of their own."""
HIDDEN = {*NOTES, "seconds", "step", "timestep", *PARTS}
OF_OBJECTIVE = re.compile(r"-weight$|^--(loss|task|reference)$")
"""Flags that say what is minimized."""
OF_TASK = "--task", "--reference", "--duration"
TASK = re.compile(r"^Tuning .* to (\S+)$")
MAX_VALUE = 28  # characters of a setting
MAX_WORD = 40  # characters of a word of a task
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(e[+-]?\d+)?")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""In the `repr` of an object, of another value in each process."""
ABOUT_THE_RUN = "name runs overwrite no_video figures log watch resume config".split()
WITHOUT_FLAG = "env", "demonstrations", "recordings"
"""Settings that some command takes without a flag."""
OWN = {
    "identify": ("--duration",),
    "reinforce": ("--steps", "--clip", "--horizon", "--policy"),
    "clone": ("--time-step", "--test", "--held-out"),
}
"""Flags that are something else than those of other commands."""
RESOLVED = "run", "algorithm", "objective"
"""Parts of settings with numbers for flags that were not set."""


@dataclass(frozen=True)
class Run:
    """What the folder of a run says of it."""

    name: str
    folder: Path
    title: str
    saved: str
    """Date and time."""
    metrics: Mapping[str, float]
    settings: Mapping[str, str]
    """The flags, as text."""
    versions: Mapping[str, str]
    """Of Python and of packages."""
    recorded_task: tuple[str, ...] = ()
    """The robot and the task of `tune`, in words; none of other commands."""

    @classmethod
    def read(cls, folder: str | PathLike, name: str | None = None) -> "Run":
        """Return the run that a command or `VerbResult.save` left in a folder.

        Raises:
            RobooptError: if the folder holds none, or its files are something else.
        """
        folder = Path(folder)
        if not (folder / METRICS).is_file():
            raise RobooptError(
                f"`runs` must be folders of runs, got {folder}, which has no {METRICS}."
            )
        found, settings = read_json(folder / METRICS, "runs"), {}
        if (folder / SETTINGS).is_file():
            settings = read_json(folder / SETTINGS, "runs")
        try:
            metrics = {str(k): float(v) for k, v in dict(found["metrics"]).items()}
            title, saved = str(found["title"]), str(found["saved"])
            flags = {**settings.get("flags", {})}
            environment = settings.get("environment", {})
            known = _of_environment(environment)
            task = _task_words(environment)
            for part in RESOLVED:
                known |= settings.get(part, {})
            known = {k: v for k, v in known.items() if isinstance(v, int | float)}
            known |= _named(settings, title)
            versions = {**settings.get("versions", {})}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RobooptError(
                f"`runs` must be folders of runs, got {folder}, whose {METRICS} or "
                f"{SETTINGS} is something else."
            ) from error
        chosen = {k: v for k, v in flags.items() if k not in ABOUT_THE_RUN}
        chosen |= {k: known.get(k) for k, v in chosen.items() if v is None}
        chosen = {
            k if k in WITHOUT_FLAG else f"--{k.replace('_', '-')}": v
            for k, v in chosen.items()
        }
        if COMMAND in settings:
            chosen = {COMMAND: settings[COMMAND], **chosen}
        shown = {name: _shown(value) for name, value in chosen.items()}
        name = name or folder.resolve().name
        versions = {str(k): str(v) for k, v in versions.items() if v is not None}
        return cls(name, folder, title, saved, metrics, shown, versions, task)

    def apart(self) -> dict[str, str]:
        """Return the settings, by names that tell them from other commands'."""
        command = self.settings.get(COMMAND, "")
        own = OWN.get(command, ())
        return {
            f"{k} of {command}" if k in own else k: v for k, v in self.settings.items()
        }

    def curves(self) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """Return places and values by file and column, as far as they are numbers.

        Fits that follow each other have losses of their own: a place between them is
        not a number.
        """
        made = {}
        for file in HISTORIES:
            if not (self.folder / file).is_file():
                continue
            text = read_bytes(self.folder / file, "runs").decode("utf-8", "replace")
            header, *rows = [*csv.reader(text.splitlines())] or [[]]
            try:
                table = np.array(rows, float).reshape(len(rows), len(header))
            except ValueError as error:
                raise RobooptError(
                    f"`runs` must be folders of runs, got {self.folder}, whose {file} "
                    "is no table of numbers."
                ) from error
            for name, values in zip(header[1:], table.T[1:], strict=True):
                if name not in HIDDEN and not name.startswith("dL/d "):
                    breaks = _breaks(header, table)
                    pair = (table[:, 0], values)
                    made[file, name] = tuple(np.insert(x, breaks, np.nan) for x in pair)
        return made

    def objective(self, curves: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        """Return words that tell its objective from others: title, flags and terms.

        Args:
            curves: files and columns, as of `curves`.
        """
        flags = [f"{k} {v}" for k, v in self.settings.items() if OF_OBJECTIVE.search(k)]
        flags = [flag for flag in flags if flag not in self.task]
        terms = {readable(n) for _, n in curves if not parts(n)[1]}
        task = self.task if self.settings.get(COMMAND) == "tune" else (self.title,)
        return (task[0], *flags, *task[1:], *sorted(terms - {"loss", "validation"}))

    @property
    def task(self) -> tuple[str, ...]:
        """Words that tell its task from others: title, flags and the record."""
        flags = [f"{k} {self.settings[k]}" for k in OF_TASK if k in self.settings]
        return (self.title, *flags, *self.recorded_task)


def _of_environment(environment: Any) -> dict[str, Any]:
    """Return the numbers of flags that the record of an environment tells."""
    if not isinstance(environment, dict):
        return {}
    found = {k: environment.get(k) for k in ("time_step", "control_period")}
    if environment.get("horizon") and found["control_period"]:
        found["duration"] = environment["horizon"] * found["control_period"]
    return found


def _task_words(environment: Any) -> tuple[str, ...]:
    """Return the number of joints and what the record says of the task, in words."""
    if not isinstance(environment, dict) or "task" not in environment:
        return ()
    count = len(environment.get("joint_names", ()))
    words = _leaves("", environment["task"])
    return (f"{count} joint{'s' * (count != 1)}", *map(_word, words))


def _word(text: str) -> str:
    """Return a text, a long one cut and with a checksum that tells it from others."""
    if len(text) <= MAX_WORD:
        return text
    return f"{text[: MAX_WORD - 10]}… {zlib.crc32(text.encode()):08x}"


def _leaves(name: str, value: Any) -> list[str]:
    """Return the numbers and texts of a record by name; six digits of a number."""
    if isinstance(value, dict):
        return [word for k, v in value.items() for word in _leaves(str(k), v)]
    text = json.dumps(value, ensure_ascii=False).replace('"', "")
    text = NUMBER.sub(lambda found: f"{float(found[0]):.6g}", text)
    return [f"{readable(name)} {ADDRESS.sub('', text)}"]


def _named(settings: Mapping[str, Any], title: str) -> dict[str, str]:
    """Return the choices in words of a run of `tune`, where its record has them."""
    if settings.get(COMMAND) != "tune":
        return {}
    interface = dict(settings.get("environment", {})).get("interface")
    found = {"interface": interface} if isinstance(interface, str) else {}
    task = TASK.search(title)
    return found | ({"task": task[1]} if task else {})


def _breaks(header: list[str], table: np.ndarray) -> np.ndarray:
    """Return the rows with which another fit or round begins."""
    parts = [table[:, k] for k, name in enumerate(header) if name in PARTS]
    return np.flatnonzero(np.diff(parts[0])) + 1 if parts else np.zeros(0, int)


def _shown(value: Any) -> str:
    if value is None or value is False or value == []:
        return NONE
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    value = float(f"{value:.6g}") if isinstance(value, float) else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    if len(text) > MAX_VALUE:  # The end of a path, or of a list, tells it apart.
        text = f"{text[: MAX_VALUE // 3]}…{text[1 - MAX_VALUE + MAX_VALUE // 3 :]}"
    return text or '""'
