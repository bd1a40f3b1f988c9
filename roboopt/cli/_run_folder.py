"""The folder of a run, `runs/<name>/`: claimed before any work is done for it."""

import csv
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roboopt.cli._usage import UsageError

SETTINGS = "settings.json"  # what tells the folder of a run from any other
ACTORS = ("controller.npz", "policy.npz")  # what a run leaves that acts


def claim(runs: Path, name: str | None, default: str, *, overwrite: bool) -> Path:
    """Make the folder of a run, and see that it can be written to.

    Args:
        runs: the folder above, made where it is missing.
        name: of the run; where none is given, `default`, or `default-2` and so on.
        default: see `name`.
        overwrite: whether what an earlier run left under this name may go.

    Raises:
        UsageError: if the folder exists and must not be touched, or is no folder, or
            cannot be made or written to.
    """
    if name is not None and (not name or name != Path(name).name or name == ".."):
        raise UsageError(f"--name must be the name of a folder, got {name!r}")
    folder = runs / (name or default)
    try:
        if name is None and not overwrite:
            folder = _first_free(folder)
        elif folder.exists() and not overwrite:
            raise UsageError(
                f"{folder} exists already: give another --name, or --overwrite"
            )
        if overwrite and folder.exists():
            _require_run(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write to {folder}: {reason}") from error
    return folder


def actor_file(folder: Path) -> Path | None:
    """Return the file of what acts, of the run in `folder`; None if there is none."""
    return next((folder / a for a in ACTORS if (folder / a).is_file()), None)


def write_json(path: Path, tree: Any) -> None:
    """Write dictionaries, lists, numbers and text so that people read them too."""
    path.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_history(path: Path, history: Mapping[str, np.ndarray]) -> None:
    """Write the history of a descent as a CSV file, a row a step."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *history])
        for step, values in enumerate(zip(*history.values(), strict=True)):
            writer.writerow([step, *(repr(float(value)) for value in values)])


def clear(folder: Path) -> None:
    """Remove the files that an earlier run left in its folder."""
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


def _first_free(folder: Path) -> Path:
    number, free = 2, folder
    while free.exists():
        number, free = number + 1, folder.with_name(f"{folder.name}-{number}")
    return free


def _require_run(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    if any(folder.iterdir()) and not (folder / SETTINGS).is_file():
        raise UsageError(
            f"{folder} holds something else than a run: --overwrite leaves it alone"
        )
