"""Files that are complete or absent, archives that may be broken, optional packages."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roboopt._errors import RobooptError, require


@contextlib.contextmanager
def atomic_write(path: str | PathLike) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` when the block ends without an error.

    If anything interrupts the writing, `path` keeps its former content.

    Raises:
        RobooptError: as `check_writable`.
    """
    path = check_writable(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
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


def optional_package(name: str, what: str, requirement: str) -> Any:
    """Return a package, or say how to install the `requirement` that provides it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"reading and writing {what} needs {name}: pip install {requirement}"
        ) from error
