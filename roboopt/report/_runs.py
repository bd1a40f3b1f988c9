"""Saved runs side by side: metrics, settings that differ, and curves."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._display import readable
from roboopt._errors import RobooptError
from roboopt.report._figures import neighbors, panel
from roboopt.report._page import NONE, Figure, Section, Table
from roboopt.report._result import METRICS, Reported, Summary
from roboopt.report._run_record import COMMAND, HISTORIES, HISTORY, RETURNS, Run
from roboopt.report._text import number, parts

INDEX = "index.html"
LEARNING = "identify", "tune", "clone", "reinforce"
"""Commands whose runs have a history."""
TASK_COST = "task_cost [s]"
DRAWN = "return", "loss"
"""Curves that are drawn of single runs, too, and before others."""
MAX_WORDS = 3  # that tell an objective from others
MAX_COLUMNS = 5  # runs that are columns of a table; more are rows
MAX_PANELS = 24
MAX_POINTS = 300  # of a curve: medians of neighbors where there are more values
PALETTE = "#2f80c9 #d9772b #2a9d78 #a64d9e #b8962e #5f6b7a #c9434a #58b4d9".split()
"""Told apart by the color-blind too; a ninth run has the first color again."""
LINES = "solid", "dashed", "dotted"
BUDGET = "--steps", "--timesteps"
"""Flags that are shown of different commands, even where one alone has them."""
MAX_NAMED = 10  # settings that a sentence names


@dataclass(frozen=True, repr=False)
class RunComparison(Reported):
    """Runs side by side: metrics, settings that differ, and curves."""

    runs: tuple[Run, ...]
    broken: tuple[str, ...] = ()
    """Folders of runs that were left out."""

    @classmethod
    def read(cls, runs: Mapping[str, str | PathLike]) -> "RunComparison":
        """Read runs by name, without broken ones where two or more others remain."""
        found, faults = [], {}
        for name, path in runs.items():
            try:
                run = Run.read(path, name)
                run.curves()
                found.append(run)
            except RobooptError as error:
                faults[str(path)] = error
        if faults and len(found) < 2:
            raise next(iter(faults.values()))
        for path, error in faults.items():
            warnings.warn(f"{path} is left out: {error}", stacklevel=3)
        return cls(tuple(found), tuple(faults))

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return each metric by its name and the run's name, as pandas takes it."""
        names = dict.fromkeys(name for run in self.runs for name in run.metrics)
        return {
            name: {
                run.name: run.metrics[name] for run in self.runs if name in run.metrics
            }
            for name in names
        }

    def differences(self) -> dict[str, list[str]]:
        """Return the settings that are not the same in all runs, by run in order.

        A setting counts in the runs that recorded it, and one that is not set in the
        other runs of its command. A flag of one name that is another setting of another
        command has a row of its own.
        """
        commands = [run.settings.get(COMMAND) for run in self.runs]
        several = len({c for c in commands if c}) > 1
        known = [run.apart() if several else run.settings for run in self.runs]
        rows = {}
        for name in dict.fromkeys(name for own in known for name in own):
            within: dict[str | None, set[str]] = {}
            for command, own in zip(commands, known, strict=True):
                if name in own:
                    within.setdefault(command, set()).add(own[name])
            chosen = set().union(*within.values()) - {NONE}
            differs = len(chosen) > 1 or any(len(v) > 1 for v in within.values())
            if differs or (several and name in BUDGET and chosen):
                rows[name] = [own.get(name, NONE) for own in known]
        return rows

    def version_differences(self) -> dict[str, list[str]]:
        """Return versions that are not the same in all runs that recorded them."""
        known = [run.versions for run in self.runs]
        return {
            name: [own.get(name, NONE) for own in known]
            for name in dict.fromkeys(name for own in known for name in own)
            if len({own[name] for own in known if name in own}) > 1
        }

    def summary(self) -> Summary:
        """Return the metrics, and the settings that differ."""
        measured = {
            name: [number(row[r.name]) if r.name in row else NONE for r in self.runs]
            for name, row in self.metrics().items()
        }
        names = [run.name for run in self.runs]
        tables, differ = [_table("", names, measured)], self.differences()
        said = []
        if differ:
            what = f"{len(differ)} settings"
            if len(differ) <= MAX_NAMED:
                what = ", ".join(differ)
            said.append(f"The runs differ in {what}.")
            tables += self._setting_tables(differ)
        elif sum(bool(run.settings) for run in self.runs) > 1:
            said.append("The runs have the same settings.")
        if versions := self.version_differences():
            said.append(f"The versions of {', '.join(versions)} differ.")
            tables.append(_table("version of", names, versions))
        if bare := [run.name for run in self.runs if not run.settings]:
            said.append(
                f"There is no record of the settings of {', '.join(bare)}, as of what "
                "is saved from Python."
            )
        learned = [run for run in self.runs if run.settings.get(COMMAND) in LEARNING]
        if bare := [x.name for x in learned if not (x.folder / HISTORY).is_file()]:
            said.append(f"There is no {HISTORY} of {', '.join(bare)}.")
        tuned = [run for run in self.runs if "objective" in run.metrics]
        if len({run.task for run in tuned}) > 1:
            said.append(
                "Objectives and task costs of different tasks cannot be compared."
            )
        elif len({run.objective(()) for run in tuned}) > 1:
            said.append("Objectives of different weights cannot be compared.")
        if self.broken:
            said.append(f"Left out, as files are broken: {', '.join(self.broken)}.")
        count = len(self.runs)
        if count == 1:
            said.insert(0, "There is one run, and none to compare it with.")
        return Summary(f"{count} runs" if count > 1 else "1 run", tables, said)

    def _setting_tables(self, rows: Mapping[str, Sequence[str]]) -> list[Table]:
        """Return settings of several commands, and those of each command."""
        commands = [run.settings.get(COMMAND) for run in self.runs]
        groups: dict[str | None, dict[str, list[str]]] = {}
        for name, row in rows.items():
            users = {c for c, v in zip(commands, row, strict=True) if v != NONE}
            alone = len(users) == 1 and {*commands} != users and name not in BUDGET
            command = users.pop() if alone else None
            chosen = zip(commands, row, strict=True)
            own = [v for c, v in chosen if command in (None, c)]
            groups.setdefault(command, {})[name] = own
        tables = []
        for command in dict.fromkeys([None, *commands]):
            if own := groups.get(command):
                named = [
                    run.name
                    for run, c in zip(self.runs, commands, strict=True)
                    if command in (None, c)
                ]
                of = f" of {command}" if command else ""
                tables.append(_table(f"setting{of}", named, own, f"run{of}"))
        return tables

    def sections(self, *, video: bool = True) -> list[Section]:
        """Return the sections of the page; there is no video."""
        metrics, *differ = self.summary().tables
        made = [Section("Metrics", [metrics])]
        if differ:
            made.append(Section("Settings and versions that differ", differ))
        return [*made, *self._curves()]

    def _curves(self) -> list[Section]:
        known = [run.curves() for run in self.runs]
        objectives = [run.objective(c) for run, c in zip(self.runs, known, strict=True)]
        axes: dict[Any, list[int]] = {}
        for k, curves in enumerate(known):
            for file, name in curves:
                # Algorithms with losses of their own have returns of one kind.
                own = objectives[k] if file == HISTORY else objectives[k][:1]
                if parts(name)[1]:
                    own = self.runs[k].task if name == TASK_COST else ()
                axes.setdefault((file, name, own), []).append(k)
        # A loss has a panel for each objective, a task cost for each task, and others
        # what several runs have.
        shared = [
            (file, name, own)
            for (file, name, own), runs in axes.items()
            if len(self.runs) < 2 or len(runs) > 1 or name in DRAWN
        ]
        shared = [
            (quantity, drawn)
            for quantity in shared
            if (drawn := self._drawn(known, quantity[:2], axes[quantity]))
        ]
        shared.sort(key=lambda each: [each[0][1] != name for name in DRAWN])
        kinds: dict[Any, set[tuple[str, ...]]] = {}
        for file, name, own in axes:
            if own:
                kinds.setdefault((file, parts(name)[1]), set()).add(own)
        panels = []
        for (file, name, own), drawn in shared[:MAX_PANELS]:
            quantity, unit = parts(name)
            title, axis = readable(quantity), HISTORIES[file]
            commands = {self.runs[k].settings.get(COMMAND) for k in drawn}
            if name == "loss" and commands == {"tune"}:
                title = "objective"  # as in its summary and its report
            if own and len(of := kinds[file, unit]) > 1:
                title += f" ({_told_apart(own, sorted(of))})"
            label = f"{title} of each run over the {axis}"
            with panel(title, axis, f"[{unit}]" if unit else "", label=label) as made:
                for k, (places, values) in drawn.items():
                    (color, line), run = _style(k), self.runs[k]
                    broken = bool(np.isnan(places).any())
                    dot = "o" if len(values) == 1 or broken else ""
                    if broken and np.nanmin(values) > 0:
                        made.axes.set_yscale("log")
                    style = {"color": color, "ls": line, "marker": dot, "markersize": 5}
                    made.axes.plot(places, values, label=run.name, **style)
            panels.append(made)
        if not panels:
            return []
        caption = (
            f"A curve of more than {MAX_POINTS} values shows the median of each group "
            "of neighboring values; of returns a group is some episodes, and of "
            "successes the share is shown."
        )
        if any(len(each) > 1 for each in kinds.values()):
            caption += (
                " A loss, or what else has no unit, is drawn for each objective, and a "
                "task cost for each task that several runs have: those of different "
                "objectives and tasks cannot be compared."
            )
        if any(np.isnan(x).any() for _, drawn in shared for x, _ in drawn.values()):
            caption += (
                " A curve is broken where another fit begins, with a loss of its own, "
                "or another round, with starts of its own."
            )
        if len(shared) > MAX_PANELS:
            caption += f" The first {MAX_PANELS} of {len(shared)} are drawn."
        legend = {run.name: " ".join(_style(k)) for k, run in enumerate(self.runs)}
        return [Section("Curves", [Figure(panels, caption, legend, folds=False)])]

    def _drawn(
        self, known: Sequence[Any], column: tuple[str, str], runs: Sequence[int]
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return the points of each run's curve of a column, where there are any."""
        drawn = {k: _thinned(column[0], *known[k][column]) for k in runs}
        return {k: curve for k, curve in drawn.items() if len(curve[1])}


def compare(
    runs: Sequence[str | PathLike] | Mapping[str, str | PathLike],
) -> RunComparison:
    """Compare saved runs: metrics, settings that differ, and curves.

    Args:
        runs: folders that a command or `VerbResult.save` has left; by the names that
            they shall have, or in order, when folders' own names are used. Then a
            folder of runs stands for all of them, and its index.html for none, so
            that `runs` and `runs/*` are its runs.

    Raises:
        RobooptError: if there is none, or a folder holds no run, or something else, and
            fewer than two others remain.

    Warns:
        UserWarning: of each such folder where two or more others are compared.
    """
    if isinstance(runs, str | PathLike) or not runs:
        raise RobooptError(f"`runs` must be folders of runs, got {runs!r}.")
    if isinstance(runs, Mapping):
        return RunComparison.read(runs)
    runs = [run for path in runs for run in _runs_of(Path(path))]
    if not runs:
        raise RobooptError(f"`runs` must be folders of runs, got no more than {INDEX}.")
    folders = [path.resolve() for path in runs]
    short = [folder.name for folder in folders]
    names = [
        name if short.count(name) == 1 else "/".join(folder.parts[-2:])
        for name, folder in zip(short, folders, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [str(path) for path in runs]
    if len(set(names)) < len(names):
        raise RobooptError(f"`runs` must be different folders, got {', '.join(names)}.")
    return RunComparison.read(dict(zip(names, runs, strict=True)))


def _table(
    what: str,
    runs: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    many: str = "run",
) -> Table:
    """Return a column for each run, of many a row."""
    if len(runs) <= MAX_COLUMNS:
        return Table([what, *runs], [[name, *row] for name, row in rows.items()])
    return Table([many, *rows], [*zip(runs, *rows.values(), strict=True)])


def _runs_of(path: Path) -> list[Path]:
    """Return the runs that a path stands for."""
    if path.name == INDEX and path.is_file():
        return []
    within = () if (path / METRICS).exists() else path.glob(f"*/{METRICS}")
    return sorted(file.parent for file in within) or [path]


def _told_apart(own: tuple[str, ...], kinds: Sequence[tuple[str, ...]]) -> str:
    """Return the title of an objective, and what others of that title have not."""
    title, *words = own
    alike = [kind for kind in kinds if kind[0] == title]
    apart = [word for word in words if not all(word in kind for kind in alike)]
    return ", ".join([title, *apart[:MAX_WORDS]])


def _style(k: int) -> tuple[str, str]:
    """Return the color and the line of a run."""
    color, line = k % len(PALETTE), k // len(PALETTE) % len(LINES)
    return PALETTE[color], LINES[line]


def _thinned(
    file: str, places: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return finite values in at most `MAX_POINTS` groups; of episodes as reports do.

    Successes of episodes, 0 or 1, have no median that says much. Of several fits each
    is thinned alone, and between them is what is not a number.
    """
    if len(ends := np.flatnonzero(np.isnan(places))):
        rows = np.split(np.arange(len(places)), ends)
        fits = [own[np.isfinite(places[own])] for own in rows]
        made = [_thinned(file, places[own], values[own]) for own in fits]
        made = [curve for curve in made if len(curve[0])]
        ends = np.cumsum([len(x) for x, _ in made])[:-1]
        both = np.concatenate([np.empty((2, 0)), *map(np.array, made)], axis=1)
        places, values = np.insert(both, ends, np.nan, axis=1)
        return places, values
    finite = np.isfinite(values)
    places, values = places[finite], values[finite]
    if len(values) == 0:
        return places, values
    groups = np.array_split(np.arange(len(values)), min(MAX_POINTS, len(values)))
    if file == RETURNS:
        groups = neighbors(places)
    middle = np.mean if {*values} <= {0.0, 1.0} else np.median
    drawn = np.array([[np.median(places[g]), middle(values[g])] for g in groups])
    return drawn[:, 0], drawn[:, 1]
