"""The index of a folder of runs: one page that leads to their reports."""

import re
from os import PathLike
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from roboopt._errors import RobooptError
from roboopt.report._page import Notes, Section, Table, write_report
from roboopt.report._result import METRICS
from roboopt.report._run_record import Run
from roboopt.report._runs import INDEX
from roboopt.report._text import number, parts

REPORT = "report.html"
TITLE = "runs of roboopt"
INDEXES = re.compile(rf"<title>\d+ {TITLE}</title>")
"""Pages that are indexes, which alone are written anew."""


def write_index(runs: str | PathLike) -> Path | None:
    """Write index.html, which lists the runs in a folder, the latest first.

    A file of this name that is not such an index stays as it is.

    Returns:
        The file; None where it was not written.
    """
    runs = Path(runs)
    path = runs / INDEX
    if path.exists() and not INDEXES.search(path.read_text("utf-8", "replace")):
        return None
    found, broken = [], []
    for file in runs.glob(f"*/{METRICS}"):
        try:
            found.append(Run.read(file.parent))
        except RobooptError:
            broken.append(file.parent.name)
    if not found:
        return None
    found.sort(key=lambda run: (run.saved, run.name), reverse=True)
    rows, links = [], []
    for run in found:
        metrics = [(*parts(name), number(x)) for name, x in run.metrics.items()]
        said = [f"{name} {value} {unit}".strip() for name, unit, value in metrics]
        rows.append([run.name, run.title, run.saved, "; ".join(said)])
        page = run.folder / REPORT
        links.append(quote(relpath(page, runs)) if page.is_file() else "")
    header = ("run", "what", "saved", "metrics")
    table = Table(header, rows, text=(0, 1, 3), links=links)
    left = f"Left out, since their files are broken: {', '.join(sorted(broken))}."
    notes = [Notes([left])] if broken else []
    write_report(
        path,
        title=f"{len(found)} {TITLE}",
        verdict=["`roboopt compare RUN RUN` draws runs side by side."],
        sections=[Section("Runs", [table, *notes])],
    )
    return path
