"""Files that are complete or absent, archives that may be broken, optional packages."""

import contextlib
import glob
import importlib
import math
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roboopt._errors import RobooptError, require

MAX_RATIO = 100  # of compressed recordings; zeros alone reach 1000
MIN_LIMIT = 2**30  # bytes
PEEKED = 16  # bytes, more than a magic prefix has
PROBE_SIZE = 4096  # bytes: a full disk may still take an empty file


@contextlib.contextmanager
def atomic_write(path: str | PathLike) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` when the block ends without an error.

    If anything interrupts the writing, `path` keeps its former content. Partial files
    of processes that were killed while they wrote it are removed.

    Raises:
        RobooptError: as `check_writable`.
    """
    path = check_writable(path)
    with contextlib.suppress(OSError):
        sweep(path.parent, path.name)
    partial = _partial(path)
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # The folder may be gone.
            partial.unlink(missing_ok=True)


def as_path(path: Any, argument: str = "path") -> Path:
    """Return a path, refused unless the `argument` is one."""
    kind = type(path)
    require(isinstance(path, str | PathLike), argument, "be the path of a file", kind)
    return Path(path)


def check_writable(path: Any, argument: str = "path") -> Path:
    """Return the path of a file, refused unless its folder exists."""
    path = as_path(path, argument)
    writable = path.parent.is_dir() and not path.is_dir()
    require(writable, argument, "be a file in a folder that exists", path)
    return path


def require_writing(path: Any, argument: str = "path") -> Path:
    """Return the path of a file, refused unless it can be written now.

    Partial files of processes that were killed while they wrote it are removed.
    """
    path = check_writable(path, argument)
    try:
        sweep(path.parent, path.name)
        try:
            with open(_partial(path), "wb") as file:
                file.write(bytes(PROBE_SIZE))
        finally:
            _partial(path).unlink(missing_ok=True)
    except OSError as error:
        raise RobooptError(
            f"`{argument}` must be a file that can be written, but {path} cannot: "
            f"{error.strerror or error}."
        ) from error
    return path


def sweep(folder: Path, name: str = "*") -> None:
    """Remove the partial files of processes that were killed while they wrote them.

    Args:
        folder: where they are.
        name: of the file that was written; by default any.
    """
    pattern = name if name == "*" else glob.escape(name)
    for old in folder.glob(f".{pattern}.*"):
        if old.suffix[1:].isdigit() and not _is_running(int(old.suffix[1:])):
            old.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def read_archive(path: str | PathLike, argument: str = "path") -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Raises:
        RobooptError: if `path` is missing, empty, truncated, not an archive, or holds
            pickled objects; the message calls it `argument`.
    """
    path = as_path(path, argument)
    try:
        # NumPy leaves a broken archive open, so the file is opened here.
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise RobooptError(
                    f"`{argument}` must be an .npz archive, but {path} is one array "
                    "without a name."
                )
            with archive:
                _require_size(path, archive, argument)
                return {name: np.asarray(archive[name]) for name in archive.files}
    except RobooptError:
        raise
    except FileNotFoundError as error:
        raise RobooptError(
            f"`{argument}` must be a file, but {path} is missing."
        ) from error
    except Exception as error:  # A broken file may fail in any way.
        raise RobooptError(
            f"`{argument}` must be an .npz archive of numbers, but {path} is empty, "
            "truncated, broken, of objects or another kind of file."
        ) from error


def _require_size(path: Path, archive: Any, argument: str) -> None:
    """Raise a RobooptError, before memory is taken, if an archive expands too far."""
    sizes = [member.file_size for member in archive.zip.infolist()]
    if sum(sizes) > expansion_limit(path):
        raise RobooptError(
            f"`{argument}` must expand to at most {MAX_RATIO} times its size, or to "
            f"1 GiB, but {path} claims to expand to {sum(sizes) / 2**30:.3g} GiB."
        )
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    for member in archive.zip.infolist():
        with archive.zip.open(member) as file:
            if not file.peek(PEEKED).startswith(np.lib.format.MAGIC_PREFIX):
                continue  # NumPy gives it as bytes.
            read_header = headers[np.lib.format.read_magic(file)]
            shape, _, dtype = read_header(file)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} is shorter than it claims")


def expansion_limit(path: Path) -> int:
    """Return the bytes that a compressed file may expand to."""
    return max(MAX_RATIO * path.stat().st_size, MIN_LIMIT)


def optional_package(name: str, what: str, requirement: str) -> Any:
    """Return a package, or say how to install the `requirement` that provides it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"reading and writing {what} needs {name}: pip install {requirement}"
        ) from error
