"""Finished episodes of `collect` in a folder, for a recording that is interrupted."""

import json
import time
import warnings
from os import PathLike
from pathlib import Path

import numpy as np

from roboopt._digest import differing
from roboopt._errors import RobooptError, is_of_disk
from roboopt.data import atomic_write, read_archive, require_writing, sweep

PERIOD_S = 10.0
IDENTITY = "recording.json"
COLUMNS = ("observations", "actions", "rewards", "efforts", "within")


class EpisodeParts:
    """The parts of a recording: files that hold some whole episodes each.

    Attributes:
        found: the episodes of all parts, as `write` was given them.
    """

    def __init__(self, folder: str | PathLike, identity: dict[str, str]):
        """Make the folder, or read what an earlier process left there.

        Files that were being written when that process was killed are removed, and so
        is a part that is damaged, with a warning: its episodes are run again. A folder
        of another `identity` is refused.
        """
        self._folder, self._written = Path(folder), time.perf_counter()
        self.found: list[dict[str, np.ndarray]] = []
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RobooptError(
                f"`checkpoint` must be a folder that can be made, but {folder} cannot: "
                f"{error.strerror or error}."
            ) from error
        own = require_writing(self._folder / IDENTITY, "checkpoint")
        sweep(self._folder)
        if own.exists():
            self._check(own, identity)
        elif self._parts():
            raise RobooptError(f"`checkpoint` {folder} lacks its {IDENTITY}.")
        else:
            with atomic_write(own) as file:
                file.write(json.dumps(identity, indent=2).encode())
        for part in self._parts():
            try:
                self.found.append(read_archive(part, "checkpoint"))
            except RobooptError as error:
                if is_of_disk(error.__cause__):  # It may be whole, for another time.
                    raise
                warnings.warn(f"{error} Its episodes are run again.", stacklevel=4)
                part.unlink()
        names = [int(part.stem.partition("-")[2]) for part in self._parts()]
        self._number = max(names, default=-1) + 1

    def is_due(self) -> bool:
        """Return whether the last part is `PERIOD_S` old."""
        return time.perf_counter() - self._written > PERIOD_S

    def write(self, episodes: dict[str, np.ndarray]) -> bool:
        """Write a part; return whether it was, with a warning where it was not.

        Args:
            episodes: "number", "length", "terminated", "success" (where told) and
                "first" observation of each episode; and, from one episode's end to the
                next, "observations", "actions", "rewards" and "efforts" (where known)
                of all steps.
        """
        self._written = time.perf_counter()
        try:
            with atomic_write(self._folder / f"part-{self._number:06d}.npz") as file:
                np.savez(file, **episodes)  # type: ignore
        except (OSError, RobooptError) as error:
            text = f"`checkpoint`: episodes could not be written: {error}"
            warnings.warn(text, stacklevel=2)
            return False
        self._number += 1
        return True

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.npz"))

    @staticmethod
    def _check(path: Path, identity: dict[str, str]) -> None:
        try:
            there = dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            text = f"`checkpoint` must be of a recording, but {path} is damaged."
            raise RobooptError(text) from error
        if other := differing(identity, there):
            raise RobooptError(
                f"`checkpoint` must be of the same recording, but that of "
                f"{path.parent} differs in {other}; to start anew, remove the folder "
                "or name another."
            )
