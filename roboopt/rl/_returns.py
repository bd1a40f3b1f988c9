"""What a policy earned while it learned, episode by episode."""

import csv
import math
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError
from roboopt.data import atomic_write
from roboopt.rollouts import Episode

COLUMNS = ("timestep", "seconds", "return", "length", "success")


class Returns:
    """The episodes that ended while a policy learned, in their order."""

    def __init__(self, rows: Iterable[tuple] = ()):
        """Begin with `rows`, none unless given, of `COLUMNS` each."""
        self._rows = [tuple(row) for row in rows]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def note(self, episodes: Iterable[Episode], timestep: int, seconds: float) -> None:
        """Add episodes that had ended by `timestep`, `seconds` after the beginning."""
        for episode in episodes:
            success = math.nan if episode.success is None else float(episode.success)
            earned, length = float(episode.undiscounted_return), int(episode.length)
            row = (int(timestep), float(seconds), earned, length, success)
            self._rows.append(row)

    def column(self, name: str) -> Float[np.ndarray, " episode"]:
        """Return one of `COLUMNS`; success is 1, 0, or NaN where nothing says so.

        Raises:
            RobooptError: if there is no such column.
        """
        if name not in COLUMNS:
            raise RobooptError(f"`name` must be one of {COLUMNS}, got {name!r}.")
        place = COLUMNS.index(name)
        return np.array([row[place] for row in self._rows], float)

    def recent(self, count: int) -> Float[np.ndarray, " episode"]:
        """Return the returns of the last `count` episodes, or of all if fewer."""
        return self.column("return")[-count:]

    def until(self, timestep: int) -> "Returns":
        """Return those up to `timestep`."""
        return Returns(row for row in self._rows if row[0] <= timestep)

    def write(self, path: str | PathLike) -> None:
        """Write a CSV file, a row an episode; the file is whole or what it was."""
        lines = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in self._rows)]
        with atomic_write(path) as file:
            file.write(("\n".join(lines) + "\n").encode())

    @classmethod
    def read(cls, path: str | PathLike) -> "Returns":
        """Return what `write` wrote.

        Raises:
            RobooptError: if the file is something else.
        """
        with Path(path).open(newline="", encoding="utf-8") as file:
            header, *rows = [*csv.reader(file)] or [[]]
        try:
            if tuple(header) != COLUMNS:
                raise RobooptError(header)
            found = [
                (int(step), float(seconds), float(earned), int(length), float(success))
                for step, seconds, earned, length, success in rows
            ]
        except ValueError as error:
            raise RobooptError(
                f"`path` must be of returns, with columns {COLUMNS}, got {path}."
            ) from error
        return cls(found)
