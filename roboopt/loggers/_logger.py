"""The base of loggers: which steps are kept, and what happens where that fails."""

import abc
import contextlib
import dataclasses
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from roboopt._errors import RobooptError, require_at_least

CHOICES = (
    *("run", "algorithm", "objective", "environment", "controller"),
    *("chosen", "choice", "training"),
)
"""Parts of a result's record that say what was chosen, not what came out."""


class Judged(Protocol):
    """What loggers ask of a result of a verb."""

    @property
    def interrupted(self) -> bool: ...

    def record(self) -> Mapping[str, Any]: ...

    def metrics(self) -> Mapping[str, float]: ...


class Logger(abc.ABC):
    """A function `log(step, metrics)` that keeps the metrics of every n-th step.

    It is a context manager that keeps those of the last step too, and closes what it
    opened; `close` may be called twice.
    Where the disk is full, or the service fails, it says so once and keeps no more; the
    run goes on.

    Attributes:
        every: so many-th steps are kept.
        target: the file or service, for messages.
        faults: exceptions of the file or the service.
        failed: whether one was raised, after which nothing is kept.
        outcome: how the run ended, "finished", "interrupted" or "failed", for services
            that show it.
    """

    target: object = ""
    faults: tuple[type[Exception], ...] = (OSError,)
    failed = False
    outcome: str = "finished"
    _skipped: tuple[int, dict[str, float]] | None = None

    def __init__(self, every: int = 1):
        """Keep every so many-th step."""
        require_at_least(1, every=every)
        self.every = every

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Keep the metrics of a step.

        Warns:
            UserWarning: once, if they cannot be kept.
        """
        kept = step % self.every == 0
        self._skipped = None if kept else (step, metrics)
        if kept and not self.failed:
            with self.kept(f"steps from {step} on"):
                self.write(step, metrics)

    @contextlib.contextmanager
    def kept(self, lost: str) -> Iterator[None]:
        """Warn where the block fails of the disk or the service, and keep no more.

        Args:
            lost: what is missing then, such as "steps from 3 on".
        """
        try:
            yield
        except self.faults as error:
            if not self.failed:
                warnings.warn(
                    f"`log` {type(self).__name__} cannot write to {self.target}: "
                    f"{' '.join(str(error).split())}. The run goes on; {lost} are "
                    "missing there.",
                    stacklevel=4,
                )
            self.failed = True

    @classmethod
    @abc.abstractmethod
    def for_run(cls, folder: Path) -> "Logger":
        """Return the logger of a command, whose run has the `folder`."""

    @abc.abstractmethod
    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Keep the metrics of a step, whichever it is."""

    @abc.abstractmethod
    def close(self) -> None:
        """Write what is left, and let go of files and connections."""

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings of the run, where the logger has a place for them.

        Args:
            settings: by name, in parts of parts if need be, whose names are joined by
                dots; what is None or empty is left out.
        """
        self._keep(self.write_settings, dict(_flat(settings)), "the settings")

    def result(self, result: "Judged") -> None:
        """Keep what a verb returned: its metrics and choices, and whether it is whole.

        Args:
            result: of `identify`, `clone`, `reinforce` or `tune`.
        """
        if result.interrupted:
            self.outcome = "interrupted"
        record = result.record()
        self.settings({name: record[name] for name in CHOICES if name in record})
        numbers = {name: float(x) for name, x in result.metrics().items()}
        self._keep(self.write_result, numbers, "the result")

    def _keep(self, write: Callable[[Any], None], values: Any, name: str) -> None:
        if values and not self.failed:
            with self.kept(f"{name} and later steps"):
                write(values)

    def write_settings(self, settings: dict[str, Any]) -> None:  # noqa: B027
        """Keep settings, numbers and text by name; nothing is kept by default."""

    def write_result(self, metrics: dict[str, float]) -> None:  # noqa: B027
        """Keep the numbers that judge the result; nothing is kept by default."""

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            stopped = issubclass(kind, KeyboardInterrupt)
            self.outcome = "interrupted" if stopped else "failed"
        if self._skipped is not None and not self.failed:
            with self.kept("the last steps"):
                self.write(*self._skipped)
        self._skipped = None
        self.close()


def _flat(values: Mapping[str, Any], part: str = "") -> Iterator[tuple[str, Any]]:
    """Yield numbers and text by name, joined by dots, without what is not set."""
    for name, value in values.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = vars(value)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{part}{name}.")
            continue
        value = getattr(value, "tolist", lambda own=value: own)()
        if value is not None and value != [] and value != ():
            own = isinstance(value, bool | int | float | str)
            yield f"{part}{name}", value if own else str(value)


def package(name: str, requirement: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top, *_ = name.split(".")
        raise RobooptError(
            f"logging there needs {top}: pip install {requirement}"
        ) from error
