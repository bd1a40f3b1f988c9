"""Loggers that write files, and all loggers by name."""

import json
import math
import os
import re
import socket
import time
from os import PathLike
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.loggers._logger import Logger, package
from roboopt.loggers._services import MLflow, WandB

FLUSH_S = 2.0  # after which events are in their file

EXTRA = "'roboopt[tensorboard]'"


class TensorBoard(Logger):
    """Event files that `tensorboard --logdir FOLDER` shows.

    Metrics whose names have a dot, the terms of a sum of objectives, are grouped. The
    second run in a folder, and later ones, have a folder of their own in it, such as
    run_2, by which TensorBoard tells them apart.
    """

    def __init__(self, folder: str | PathLike, every: int = 1, *, resume: bool = False):
        """Write a run into `folder`, into run_2 of it where it has events of another.

        Args:
            folder: made if need be.
            every: so many-th steps are kept.
            resume: whether to go on in `folder` with the run that is there, whose
                events from the first new step on are dropped.

        Raises:
            RobooptError: if tensorboardX is not installed, `every` is below 1, or the
                folder cannot be written.
        """
        super().__init__(every)
        events = package("tensorboardX.proto.event_pb2", EXTRA)
        records = package("tensorboardX.record_writer", EXTRA)
        self._event, self._session = events.Event, events.SessionLog
        self._summary = package("tensorboardX.proto.summary_pb2", EXTRA).Summary
        own = Path(folder) if resume else _free_folder(Path(folder))
        self._goes_on = resume and any(own.glob("events.*"))
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self.target = own / name
        try:
            own.mkdir(parents=True, exist_ok=True)
            # Without the queue to a thread that tensorboardX's own writers have, which
            # costs five times as much as the writing.
            self._file = records.RecordWriter(str(self.target))
        except OSError as error:
            raise RobooptError(f"`folder` cannot be written: {error}") from error
        self._flushed, self._closed = -math.inf, False
        self._add(file_version="brain.Event:2")

    @classmethod
    def for_run(cls, folder: Path) -> "TensorBoard":
        """Write into the folder itself: `tensorboard --logdir runs` shows all runs."""
        return cls(folder, resume=True)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Add one event with all metrics."""
        if self._goes_on:
            # TensorBoard then drops the events from this step on in earlier files.
            self._goes_on = False
            self._add(step=step, session_log=self._session(status=self._session.START))
        values = [
            self._summary.Value(tag=name.replace(".", "/"), simple_value=value)
            for name, value in metrics.items()
        ]
        summary = self._summary(value=values)
        self._add(step=step, summary=summary)
        if time.monotonic() - self._flushed > FLUSH_S:
            self._file.flush()
            self._flushed = time.monotonic()
        else:  # Out of this process, which may be killed, if not on the disk yet.
            self._file._writer.flush()

    def _add(self, **event: Any) -> None:
        made = self._event(wall_time=time.time(), **event)
        self._file.write(made.SerializeToString())

    def close(self) -> None:
        """Write what is left."""
        if not self._closed:
            self._closed = True
            with self.kept("the last steps"):
                self._file.close()


class JSONLines(Logger):
    """A text file with one JSON object a step: {"step": 0, "loss": 1.5, …}.

    Lines of the second run in a file, and of later ones, begin with its number:
    {"run": 2, "step": 0, …}.
    """

    def __init__(self, path: str | PathLike, every: int = 1, *, resume: bool = False):
        """Append a run to the file at `path`, whose folder is made if need be.

        Args:
            path: of the file.
            every: so many-th steps are kept.
            resume: whether to go on with the first run of the file, whose lines from
                the first new step on are dropped.

        Raises:
            RobooptError: if `every` is below 1, or the file cannot be written.
        """
        super().__init__(every)
        self.target, self.run, self._goes_on = path, 1, resume
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            text = Path(path).read_bytes() if Path(path).is_file() else b""
            if text and not resume:
                known = re.findall(rb'^{"run": (\d+)', text, re.MULTILINE)
                self.run = max(map(int, known), default=1) + 1
            # A line is there as soon as it is written, to be watched.
            self._file = open(path, "a", 1, encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RobooptError(f"`path` cannot be written: {error}") from error

    @classmethod
    def for_run(cls, folder: Path) -> "JSONLines":
        """Append to log.jsonl, where a resumed run goes on."""
        return cls(folder / "log.jsonl", resume=True)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Add a line; numbers that are not finite become null, as JSON has none."""
        if self._goes_on:
            self._goes_on = False
            self._cut(step)
        numbers = {n: x if math.isfinite(x) else None for n, x in metrics.items()}
        run = {"run": self.run} if self.run > 1 else {}
        self._file.write(json.dumps({**run, "step": step, **numbers}) + "\n")

    def _cut(self, step: int) -> None:
        """Drop the lines from `step` on: those steps are taken again after a kill."""
        kept, path = 0, Path(str(self.target))
        for line in path.read_bytes().splitlines(keepends=True):
            found = re.match(rb'{"step": (\d+)\b.*\n', line)
            if found is None or int(found[1]) >= step:
                break
            kept += len(line)
        os.truncate(path, kept)

    def close(self) -> None:
        """Write what is left."""
        with self.kept("the last steps"):
            self._file.close()


LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "jsonl": JSONLines,
    "wandb": WandB,
    "mlflow": MLflow,
}
"""By the values of `--log`."""


def _free_folder(folder: Path) -> Path:
    """Return a folder without events: the one given, or run_2, run_3, … in it."""
    if not any(folder.glob("events.*")):
        return folder
    numbers = (each.name.removeprefix("run_") for each in folder.glob("run_*"))
    last = max((int(n) for n in numbers if n.isdecimal()), default=1)
    return folder / f"run_{last + 1}"
