"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: str | PathLike) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of `path` once all of it is written.

    Whatever interrupts the writing, `path` is what it was, or what it should be.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
