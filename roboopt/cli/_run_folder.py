"""The folder of a run, `runs/<name>/`, which a failing run leaves untouched."""

import contextlib
import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt._reading import read_json

SETTINGS = "settings.json"  # its presence marks the folder of a run
CHECKPOINT = "checkpoint.npz"  # of a run that can be resumed
POLICIES = ("controller.npz", "policy.npz")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and the folder beside it that the run writes into."""

    path: Path
    """`runs/<name>`, which the run leaves."""
    work: Path
    """`runs/<name>.partial`, while the run is not over."""
    lock: int | None = None
    """The open folder, locked until the run is over or the process has ended."""

    @classmethod
    def claim(
        cls, runs: Path, name: str | None, default: str, *, overwrite: bool
    ) -> "RunFolder":
        """Make the folder that a run writes into, before any work is done for it.

        The folder of a run that was killed is used again, unless learning can be
        resumed from it.

        Args:
            runs: the folder above, made where it is missing.
            name: of the run; by default `default`, or `default-2` and so on.
            default: see `name`.
            overwrite: whether the run may replace an earlier run of this name.
        """
        if name is not None and (not name or name != Path(name).name or name == ".."):
            raise RobooptError(f"`name` must be the name of a folder, got {name!r}")
        path = runs / (name or default)
        if overwrite:
            _require_run(path)
            shutil.rmtree(_work(path), ignore_errors=True)
        elif name is None:
            numbered = (f"{default}-{number}" for number in itertools.count(2))
            paths = (runs / name for name in itertools.chain([default], numbered))
            path = next(p for p in paths if not p.exists() and _is_free(_work(p)))
        elif path.exists():
            raise RobooptError(
                f"{path} exists already: give another --name, or --overwrite"
            )
        elif not _is_free(_work(path)):
            raise RobooptError(
                f"{_work(path)} belongs to a run that goes on, or can be resumed: give "
                "another --name, or --overwrite"
            )
        try:
            shutil.rmtree(_work(path), ignore_errors=True)
            _work(path).mkdir(parents=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RobooptError(f"cannot write to {path}: {reason}") from error
        return cls(path, _work(path), _lock(_work(path)))

    def discard(self) -> None:
        """Remove what the run has written so far; an earlier run stays as it was."""
        shutil.rmtree(self.work, ignore_errors=True)
        self._unlock()

    def publish(self) -> None:
        """Move the run's files to their place, the settings last.

        The files of an earlier run there are replaced or removed; all others stay.
        """
        settings = json.loads((self.work / SETTINGS).read_text("utf-8"))
        files = sorted(path.name for path in self.work.iterdir())
        write_json(self.work / SETTINGS, {**settings, "files": files})
        if not self.path.exists():
            self.work.rename(self.path)
            self._unlock()
            return
        for name in _files_of(self.path) - set(files):
            (self.path / name).unlink(missing_ok=True)
        for name in sorted(files, key=SETTINGS.__eq__):
            (self.work / name).replace(self.path / name)
        self.work.rmdir()
        self._unlock()

    def _unlock(self) -> None:
        if self.lock is not None:
            with contextlib.suppress(OSError):  # closed before
                os.close(self.lock)


def policy_file(path: Path) -> Path:
    """Return the file of the policy in the folder of a run; a file as it is."""
    if not path.is_dir():
        return path
    for name in POLICIES:
        if (path / name).is_file():
            return path / name
    raise RobooptError(f"{path} holds no {' or '.join(POLICIES)}")


def write_json(path: Path, tree: Any) -> None:
    """Write dictionaries, lists, numbers and text so that people read them too."""
    from roboopt.data import atomic_write  # Slow to import.

    with atomic_write(path) as file:
        file.write(f"{json.dumps(tree, indent=2, ensure_ascii=False)}\n".encode())


def _work(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _lock(work: Path) -> int | None:
    """Return the folder, open and locked; None where another process has locked it.

    The lock ends with the process, however it ends. Systems without such locks have
    None.
    """
    try:
        import fcntl
    except ImportError:
        return None
    folder = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        return None
    return folder


def _is_free(work: Path) -> bool:
    """Return whether no run goes on in a folder, and none can be resumed from it."""
    if not work.exists():
        return True
    if not work.is_dir() or (work / CHECKPOINT).exists():
        return False
    lock = _lock(work)
    if lock is None:
        return False
    os.close(lock)
    return True


def _files_of(folder: Path) -> set[str]:
    """Return the names of the files that the run in `folder` has left."""
    try:
        names = [str(name) for name in read_json(folder / SETTINGS)["files"]]
    except (OSError, ValueError, LookupError, TypeError):
        return set()
    return {n for n in names if Path(n).name == n and (folder / n).is_file()}


def _require_run(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RobooptError(f"{folder} is not a folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / SETTINGS).is_file():
        raise RobooptError(
            f"{folder} holds something other than a run: --overwrite leaves it alone"
        )
