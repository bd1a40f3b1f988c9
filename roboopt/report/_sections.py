"""Parts that several verbs share: settings as data, and the progress bar."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from roboopt.report._page import Details, Section


def settings(record: Mapping[str, Any]) -> Section:
    """Return the last section of a report: the settings, folded away.

    Args:
        record: what `VerbResult.record` returns.
    """
    text = json.dumps(plain(record), indent=2, ensure_ascii=False)
    return Section("Settings", [Details("The exact settings of this run", text)])


def plain(value: Any) -> Any:
    """Return `value` in dictionaries, lists, finite numbers and text, as JSON has it.

    Dataclasses become dictionaries, arrays lists, and numbers that are not finite text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


@contextlib.contextmanager
def progress_bar(
    label: str, total: int, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """Show a labelled bar on stderr, and yield the function that advances it by one.

    Args:
        label: what is done.
        total: of the calls.
        shown: whether to show the bar; without rich there is none either.
    """
    if not shown or find_spec("rich") is None:
        yield lambda: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)
