"""The base of what the verbs return: one summary, one report, one way to save.

A result holds data alone: arrays, modules, strings. So it is written to a file and read
back without the environment that it came from, and renders the same afterwards.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from roboopt.report._page import Section, write_report
from roboopt.report._summary import Summary


class VerbResult(ABC):
    """What `identify`, `clone`, `reinforce` and `tune` return."""

    @abstractmethod
    def summary(self) -> Summary:
        """Return the tables and sentences that say what came out."""

    @abstractmethod
    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report, in order.

        Args:
            video: whether to render a video, where the environment can be made.
        """

    @abstractmethod
    def write_files(self, folder: Path) -> None:
        """Write the files of this kind of result: the model, the data, the history."""

    def record(self) -> Mapping[str, Any]:
        """Return the choices and numbers that a run's settings.json records.

        Dataclasses, dictionaries, lists, arrays, numbers and text.
        """
        return {}

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the verb before its result was complete."""
        return False

    def report(self, path: str | PathLike, *, video: bool = True) -> None:
        """Write one self-contained HTML page.

        Args:
            path: of the file.
            video: whether to render a video, where the environment can be made.
        """
        said = self.summary()
        write_report(
            path,
            title=said.title,
            verdict=said.sentences,
            sections=self.sections(video=video),
        )

    def save(self, folder: str | PathLike) -> None:
        """Write the result to a folder, made where it is missing.

        `roboopt.load(folder)` returns the result again.

        Args:
            folder: existing files of the same names are replaced, others are left.
        """
        from roboopt.data import save

        folder = Path(folder)
        os.makedirs(folder, exist_ok=True)
        save(folder / "result.npz", self)
        self.write_files(folder)

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        """Return the summary as notebooks show it."""
        return self.summary().html()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the summary in IPython's terminal."""
        printer.text(str(self))
