"""What the verbs return: one summary, one report, one way to save.

A result holds data alone: arrays, modules, strings. So it is written to a file and read
back without the environment that it came from, and renders the same afterwards.
"""

import html
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt._notebook import styled
from roboopt.data import save, write_json
from roboopt.report._figure_files import write_figures
from roboopt.report._page import Section, Table, marked, write_report
from roboopt.report._records import plain
from roboopt.report._text import paragraph, table_text
from roboopt.view import RobotMotions

MIN_WIDTH, MAX_WIDTH = 60, 110  # characters
DEFAULT_WIDTH = 80
METRICS = "metrics.json"
DATE = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Summary:
    """A title, the tables, and sentences with the most important one first."""

    title: str
    tables: Sequence[Table]
    sentences: Sequence[str]

    def text(self, width: int = DEFAULT_WIDTH) -> str:
        """Return plain text of at most `width` columns; no number is cut short."""
        tables = [table_text(table, width) for table in self.tables]
        sentences = "\n".join(paragraph(said, width) for said in self.sentences)
        return "\n\n".join([self.title, *tables, sentences])

    def html(self) -> str:
        """Return a fragment of HTML, as notebooks show it."""
        tables = "".join(table.html() for table in self.tables)
        said = "".join(f"<p>{marked(text)}</p>" for text in self.sentences)
        return styled(f"<h3>{html.escape(self.title)}</h3>{tables}{said}")

    def __str__(self) -> str:
        """Return the text at the width of the terminal, 80 columns without one."""
        columns = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
        return self.text(min(max(columns, MIN_WIDTH), MAX_WIDTH))


class Reported(ABC):
    """What shows itself as text, as a page, and in a notebook."""

    @abstractmethod
    def summary(self) -> Summary:
        """Return the tables and sentences that say what came out."""

    @abstractmethod
    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report, in order.

        Args:
            video: whether to render a video, where the environment can be made.
        """

    def report(self, path: str | PathLike, *, video: bool = True) -> None:
        """Write one self-contained HTML page.

        The video of a loaded result is left out with a warning where its file names an
        environment that is not known: `load(path, allow=[rollouts.EnvSpec])`.

        Args:
            path: of the file.
            video: whether to render a video, where the environment can be made.

        Raises:
            RobooptError: if `path` is a folder, or lies in none.
        """
        if not Path(path).absolute().parent.is_dir() or Path(path).is_dir():
            raise RobooptError(f"`path` must be a file in a folder, got {path}.")
        said, sections = self.summary(), self.sections(video=video)
        write_report(path, title=said.title, verdict=said.sentences, sections=sections)

    def save_figures(self, folder: str | PathLike, *formats: str) -> list[Path]:
        """Write each panel of the report to files of its own, such as for a paper.

        A CSV file holds a panel's curves or bars as they are drawn, of long motions
        some 400 points, in columns with labels and units.

        Args:
            folder: for the files, made where it is missing.
            *formats: of "pdf", "svg", "png", "eps" and "csv"; PDF by default.

        Returns:
            The paths, named by section and panel.

        Raises:
            RobooptError: if `folder` is a file, or a format is another.
        """
        sections = self.sections(video=False)
        return write_figures(folder, sections, formats or ("pdf",))

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    __repr__ = __str__  # Dataclasses of this kind are declared with `repr=False`.

    def _repr_html_(self) -> str:
        """Return the summary as notebooks show it."""
        return self.summary().html()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the summary in IPython's terminal."""
        printer.text(str(self))


class VerbResult(Reported):
    """What `identify`, `clone`, `reinforce` and `tune` return."""

    @abstractmethod
    def write_files(self, folder: Path) -> None:
        """Write the files of this kind of result: the model, the data, the history."""

    def robot_motions(self) -> RobotMotions | None:
        """Return the motions that are shown in 3D; None where there is no robot."""
        return None

    def record(self) -> Mapping[str, Any]:
        """Return the choices and numbers that a run's settings.json records.

        Dataclasses, dictionaries, lists, arrays, numbers and text.
        """
        return {}

    def metrics(self) -> Mapping[str, float]:
        """Return the numbers that judge the result, by their name with its unit."""
        return {}

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the verb before its result was complete."""
        return False

    def save(self, folder: str | PathLike) -> None:
        """Write the result to a folder, made where it is missing.

        `roboopt.load(folder)` returns the result again. Existing files of the same
        names are replaced, others are left. metrics.json holds the metrics.

        Warns:
            UserWarning: about objects of your own, such as a task, that a file cannot
                hold; their `repr` is saved.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / "result.npz", self, partly=True)
        self.write_files(folder)
        said = {"title": self.summary().title, "metrics": plain(self.metrics())}
        write_json(folder / METRICS, {**said, "saved": time.strftime(DATE)})
