"""The folder of a run, `runs/<name>/`, which a failing run leaves untouched."""

import contextlib
import filecmp
import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from roboopt._errors import RobooptError
from roboopt._reading import read_json

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PICTURES = "pictures"
"""The entry of settings.json that says whether there can be a video."""
SETTINGS = "settings.json"  # its presence marks the folder of a run
CHECKPOINT = "checkpoint.npz"  # of a run that can be resumed
REPORT = "report.html"
FIGURES = "figures"  # a folder
EARLIER = "checkpoint.[0-9].npz"
PARTIAL = ".partial"
RESUMED = ("checkpoint*.npz", "returns.csv", "log.jsonl", "events.*", SETTINGS)
"""Files that a run goes on from."""
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
    again: bool = False
    """Whether the folder was there before, of a run that was killed."""
    made: tuple[Path, ...] = ()
    """The folders above that were made for this run, the innermost first."""

    @classmethod
    def claim(
        cls, runs: Path, name: str | None, default: str, *, overwrite: bool
    ) -> "RunFolder":
        """Make the folder that a run writes into, before any work is done for it.

        It is `default`, or `default-2` and so on, where no `name` is given. The folder
        of a run that was killed is used again, unless learning can be resumed from it.
        """
        if name is not None and (not name or name != Path(name).name or name == ".."):
            raise RobooptError(f"`name` must be the name of a folder, got {name!r}")
        path = runs / (name or default)
        if overwrite:
            _require_run(path)
            shutil.rmtree(partial(path), ignore_errors=True)
        elif name is None:
            numbered = (f"{default}-{number}" for number in itertools.count(2))
            paths = (runs / name for name in itertools.chain([default], numbered))
            path = next(p for p in paths if not p.exists() and _is_free(partial(p)))
        elif path.exists():
            raise RobooptError(
                f"{path} exists already: give another --name, or --overwrite"
            )
        elif not _is_free(partial(path)):
            raise RobooptError(
                f"{partial(path)} belongs to a run that goes on, or can be resumed: "
                "give another --name, --resume, or --overwrite"
            )
        made = tuple(x for x in (runs, *runs.parents) if not x.exists())
        try:
            shutil.rmtree(partial(path), ignore_errors=True)
            partial(path).mkdir(parents=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RobooptError(f"cannot write to {path}: {reason}") from error
        return cls(path, partial(path), _lock(partial(path)), made=made)

    @classmethod
    def resume(cls, path: Path) -> "RunFolder":
        """Take up the folder of a run, without files that were half written."""
        source = resumable(path)
        final = source.with_name(source.name.removesuffix(PARTIAL))
        work = partial(final)
        if source != work:
            if work.exists() and not _is_free(work):
                raise RobooptError(f"{work} belongs to a run that goes on")
            aside = work.with_name(f".{final.name}.resumed")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for pattern in RESUMED:
                for file in source.glob(pattern):
                    shutil.copy2(file, aside)
            shutil.rmtree(work, ignore_errors=True)
            aside.rename(work)
        lock = held(work)
        from roboopt.data import sweep  # Slow to import.

        sweep(work)
        return cls(final, work, lock, again=source == work)

    def discard(self) -> bool:
        """Remove the run unless it can be resumed; return whether it stays."""
        own, earlier = (x / CHECKPOINT for x in (self.work, self.path))
        kept = own.exists()
        if kept and earlier.exists():
            kept = not filecmp.cmp(own, earlier, shallow=False)
        kept = kept or self.again
        if not kept:
            shutil.rmtree(self.work, ignore_errors=True)
            with contextlib.suppress(OSError):  # Other runs are there by now.
                for folder in self.made:
                    folder.rmdir()
        self._unlock()
        return kept

    def leave(self) -> bool:
        """Leave the run as it is; return whether it can be resumed."""
        self._unlock()
        return (self.work / CHECKPOINT).exists()

    def publish(self) -> None:
        """Move the run's files to their place, the settings last.

        Of the checkpoints the latest is kept. The files of an earlier run there are
        replaced or removed; all others stay.
        """
        for earlier in self.work.glob(EARLIER):
            earlier.unlink()
        from roboopt.data import write_json  # Slow to import.

        settings = json.loads((self.work / SETTINGS).read_text("utf-8"))
        files = sorted(path.name for path in self.work.iterdir())
        write_json(self.work / SETTINGS, {**settings, "files": files})
        if not self.path.exists():
            self.work.rename(self.path)
            self._unlock()
            return
        for name in _files_of(self.path) - set(files):
            (self.path / name).unlink(missing_ok=True)
        # Killed on the way, the run can be resumed in one folder or the other.
        for name in sorted(files, key=_turn):
            (self.work / name).replace(self.path / name)
        self.work.rmdir()
        self._unlock()

    def _unlock(self) -> None:
        if self.lock is not None:
            with contextlib.suppress(OSError):  # closed before
                os.close(self.lock)


def resumable(path: Path) -> Path:
    """Return the folder that a run goes on from, given either of its folders.

    That is `runs/<name>.partial` of a run that was killed, from its beginning if it had
    no checkpoint yet, or else `runs/<name>`.
    """
    path = Path(os.path.abspath(path))
    work = path if path.name.endswith(PARTIAL) else partial(path)
    for folder in dict.fromkeys((work, path)):
        if (folder / CHECKPOINT).is_file():
            return folder
    if (work / SETTINGS).is_file():
        return work
    raise RobooptError(f"--resume {path} holds no checkpoint: nothing to resume")


def clear_beside(path: Path) -> None:
    """Remove what a run that cannot be resumed has left beside a finished one."""
    work = partial(path.with_name(path.name.removesuffix(PARTIAL)))
    if work.is_dir() and _is_free(work):
        shutil.rmtree(work, ignore_errors=True)


def require_finished(path: Path, argument: str) -> None:
    """Refuse the path of a run that was killed, or that goes on."""
    if path.exists() and not path.name.endswith(PARTIAL):
        return
    path = Path(os.path.abspath(path))
    final = path.with_name(path.name.removesuffix(PARTIAL))
    if partial(final).is_dir():
        raise RobooptError(
            f"`{argument}` must be a run that is over, but {partial(final)} goes on or "
            f"was killed; --resume {final} continues it."
        )


def add_file(path: Path, name: str) -> None:
    """Note a further file in the settings of a run, as one that the run has left."""
    from roboopt.data import write_json  # Slow to import.

    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        settings = read_json(path / SETTINGS)
        files = sorted({*settings["files"], name})
        write_json(path / SETTINGS, {**settings, "files": files})


def policy_file(path: Path) -> Path:
    """Return the file of the policy in the folder of a run; a file as it is."""
    if not path.is_dir():
        return path
    for name in POLICIES:
        if (path / name).is_file():
            return path / name
    raise RobooptError(f"{path} holds no {' or '.join(POLICIES)}")


def partial(path: Path) -> Path:
    """Return the folder that a run writes into until it is over."""
    return path.with_name(f"{path.name}{PARTIAL}")


def _turn(name: str) -> int:
    """Return when a file is moved: the checkpoint at first, the settings last."""
    return -1 if name == CHECKPOINT else int(name == SETTINGS)


def _lock(work: Path) -> int | None:
    """Return the folder, open and locked; None where another process has locked it.

    The lock ends with the process, however it ends. Systems without such locks have
    None.
    """
    if fcntl is None:
        return None
    folder = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        return None
    return folder


def held(work: Path) -> int | None:
    """Return the folder, open and locked; refuse one that is locked already."""
    lock = _lock(work)
    if lock is None and fcntl is not None:
        raise RobooptError(f"{work} belongs to a run that goes on")
    return lock


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
