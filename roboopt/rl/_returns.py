"""The returns of the episodes that ended while a policy learned."""

import csv
import math
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from roboopt._errors import RobooptError
from roboopt.data import atomic_write
from roboopt.rollouts import Episode

COLUMNS = ("timestep", "seconds", "return", "length", "success")


class Returns(eqx.Module):
    """Episodes in the order in which they ended."""

    timesteps: Int[np.ndarray, " episode"]
    """Environment steps of the learning by then."""
    seconds: Float[np.ndarray, " episode"]
    """Time since the learning began."""
    returns: Float[np.ndarray, " episode"]
    """Undiscounted sums of the rewards."""
    lengths: Int[np.ndarray, " episode"]
    """Steps."""
    successes: Float[np.ndarray, " episode"]
    """1 or 0, NaN where nothing says so."""

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence] = ()) -> "Returns":
        """Return the episodes in `rows` of `COLUMNS` each."""
        columns = np.array(rows, float).reshape(-1, len(COLUMNS)).T
        steps, seconds, returns, lengths, successes = columns
        return cls(steps.astype(int), seconds, returns, lengths.astype(int), successes)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.returns)

    def rows(self) -> list[tuple]:
        """Return a row of `COLUMNS` for each episode."""
        columns = self.timesteps, self.seconds, self.returns, self.lengths
        lists = [column.tolist() for column in (*columns, self.successes)]
        return list(zip(*lists, strict=True))

    def write(self, path: str | PathLike) -> None:
        """Write a CSV file, a row for each episode."""
        lines = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in self.rows())]
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
                raise ValueError(header)
            return cls.from_rows([[float(cell) for cell in row] for row in rows])
        except ValueError as error:
            raise RobooptError(
                f"`path` must be a file of returns with columns {COLUMNS}, got {path}."
            ) from error


def rows_of(episodes: Iterable[Episode], timestep: int, seconds: float) -> list[tuple]:
    """Return a row of `COLUMNS` for each of the episodes that ended by `timestep`."""
    rows = []
    for total, length, success in episodes:
        achieved = math.nan if success is None else float(success)
        rows.append((timestep, seconds, float(total), int(length), achieved))
    return rows
