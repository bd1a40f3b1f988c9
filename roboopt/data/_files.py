"""Files that are complete or absent, archives that may be broken, optional packages."""

import contextlib
import ctypes
import errno
import glob
import importlib
import json
import math
import os
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roboopt._errors import MissingPackage, RobooptError, is_of_disk, require

MAX_RATIO = 100  # of compressed recordings; zeros alone reach 1000
MIN_LIMIT = 2**28  # bytes
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of compression; others, which NumPy never writes, claim memory of their own."""
LOCAL_HEADER, STREAMED = struct.Struct("<4sHHHHHIIIHH"), 1 << 3
MAX_MEMBERS = 100_000
HEADERS: dict[Any, Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
PEEKED = 16  # bytes, more than a magic prefix has
PROBE_SIZE = 4096  # bytes: a full disk may still take an empty file
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux
WITHOUT = errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP  # of a system, or its disk


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
    partial = partial_path(path)
    try:
        # Never into a file, or through a link, that somebody has put there.
        partial.unlink(missing_ok=True)
        with open(partial, "xb") as file:
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
            partial_path(path).unlink(missing_ok=True)
            with open(partial_path(path), "xb") as file:
                file.write(bytes(PROBE_SIZE))
        finally:
            partial_path(path).unlink(missing_ok=True)
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
        if old.suffix[1:].isdigit() and not is_running(int(old.suffix[1:])):
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Return where this process writes a file before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders take each other's place at once.

    Returns:
        False where the system or the disk cannot, and nothing has changed.

    Raises:
        OSError: if the disk fails.
    """
    linux = sys.platform == "linux"
    rename = linux and getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if not rename:
        return False
    paths = AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other)
    if not rename(*paths, RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number not in WITHOUT:
        raise OSError(number, os.strerror(number), str(other))
    return False


def require_room(folder: Path, size: int) -> None:
    """Raise an OSError unless a file of `size` bytes has room on the disk of a folder.

    For writers that end the process on a full disk. Nothing is left behind.
    """
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder)) from error


def is_running(process: int) -> bool:
    """Return whether a process runs, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def read_as(rule: str, path: Any, argument: str = "path") -> Iterator[None]:
    """Refuse a file that the block fails to read; a broken one may fail in any way.

    Raises:
        RobooptError: "`argument` must `rule`, but ..."; those of the block as they are.
    """
    try:
        yield
    except RobooptError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        fault = f"is empty, truncated, broken or another kind of file: {reason}"
        if is_of_disk(error):
            fault = f"cannot be read: {reason}"
        if isinstance(error, FileNotFoundError):
            fault = "is missing."
        raise RobooptError(f"`{argument}` must {rule}, but {path} {fault}") from error


def write_json(path: str | PathLike, tree: Any) -> None:
    """Write dictionaries, lists, numbers and text so that people read them too."""
    with atomic_write(path) as file:
        file.write(f"{json.dumps(tree, indent=2, ensure_ascii=False)}\n".encode())


def read_archive(
    path: str | PathLike,
    argument: str = "path",
    left_out: list[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Pickled objects could run code: they are refused, or, where a list is given, left
    out, and their names added to `left_out`.

    Raises:
        RobooptError: if `path` is missing, empty, truncated, not an archive, or holds
            pickled objects; the message calls it `argument`.
    """
    path = as_path(path, argument)
    if path.exists() and not path.is_file():  # A device or a pipe may have no end.
        raise RobooptError(f"`{argument}` must be a file, got {path}.")
    # NumPy leaves a broken archive open, so the file is opened here.
    with (
        read_as("be an .npz archive of numbers", path, argument),
        open(path, "rb") as f,
    ):
        archive = _load(f)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise RobooptError(
                f"`{argument}` must be an .npz archive, but {path} is one array "
                "without a name."
            )
        with archive:
            _require_whole(path, archive.zip)
            pickled = _require_size(path, archive, argument)
            names = archive.files
            if left_out is not None:
                left_out += [name for name in names if name in pickled]
                names = [name for name in names if name not in pickled]
            return {name: np.asarray(archive[name]) for name in names}


def _load(file: BinaryIO) -> Any:
    """Return what NumPy reads, without its advice to unpickle other files."""
    try:
        return np.load(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError("it holds no arrays of NumPy") from error


def _require_whole(path: Path, archive: Any) -> None:
    """Raise a ValueError unless the members fill an archive, as its list says.

    The list has no checksum: a changed length in it hides members, or their content.
    """
    place = 0
    with open(path, "rb") as file:
        for member in sorted(archive.infolist(), key=lambda m: m.header_offset):
            file.seek(member.header_offset)
            header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            _, _, flags, _, _, _, checksum, _, _, name, extra = header
            if flags != member.flag_bits or member.header_offset != place:
                raise ValueError(f"{member.filename} is listed elsewhere")
            if flags & STREAMED:
                return  # Sizes and checksums follow the members.
            if checksum != member.CRC:
                raise ValueError(f"{member.filename} is listed otherwise")
            place += LOCAL_HEADER.size + name + extra + member.compress_size
    if place != archive.start_dir:
        raise ValueError("a member is not listed")


def read_archive_header(path: Path) -> list[zipfile.ZipInfo]:
    """Return the members of an .npz file, whose forms fit the file.

    Raises:
        RobooptError: as `read_archive`.
    """
    with read_as("be an .npz archive of numbers", path), open(path, "rb") as file:
        archive = _load(file)
        with archive:
            _require_whole(path, archive.zip)
            if pickled := _require_size(path, archive, "path"):
                raise ValueError(f"{', '.join(pickled)} hold objects")
            return archive.zip.infolist()


def _require_size(path: Path, archive: Any, argument: str) -> set[str]:
    """Return which arrays are of pickled objects.

    Raises a RobooptError, before memory is taken, if the archive expands too far.
    """
    members = archive.zip.infolist()
    size = sum(member.file_size for member in members)
    if size > expansion_limit(path):
        raise RobooptError(
            f"`{argument}` must expand to at most {MAX_RATIO} times its size, or to "
            f"{MIN_LIMIT >> 20} MiB, but {path} claims to expand to "
            f"{size / 2**30:.3g} GiB."
        )
    if {member.compress_type for member in members} - set(METHODS):
        raise ValueError("another method of compression")
    if len(members) > MAX_MEMBERS:
        raise ValueError("too many members")
    pickled = set()
    for member in members:
        with archive.zip.open(member) as file:
            if not file.peek(PEEKED).startswith(np.lib.format.MAGIC_PREFIX):
                continue  # NumPy gives it as bytes.
            read_header = HEADERS[np.lib.format.read_magic(file)]
            shape, _, dtype = read_header(file)
            if dtype.hasobject:
                pickled.add(member.filename.removesuffix(".npy"))
            else:
                _require_form(shape, dtype, member.file_size, member.filename)
    return pickled


def _require_form(shape: Any, dtype: np.dtype, size: int, name: str) -> None:
    """Raise a ValueError unless an array of this header fits into `size` bytes."""
    if dtype.hasobject or dtype.itemsize == 0 and math.prod(shape):
        raise ValueError(f"{name} holds objects")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name} is shorter than it claims")


def read_array(path: Path, mode: Any = None) -> np.ndarray:
    """Return the array in an .npy file, memory-mapped where `mode` says how.

    Raises:
        RobooptError: if the file is missing, empty, truncated, not an array of numbers
            or longer than its array.
    """
    with read_as("hold whole arrays", path):
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            shape, _, dtype = HEADERS[version](file)
            size = path.stat().st_size - file.tell()
        _require_form(shape, dtype, size, path.name)
        if math.prod(shape) * dtype.itemsize != size:
            raise ValueError("it is longer than its array")
        return np.load(path, mmap_mode=mode, allow_pickle=False)


def expansion_limit(path: Path, least: int = MIN_LIMIT) -> int:
    """Return the bytes that a compressed file may expand to, `least` of a small one."""
    return max(MAX_RATIO * path.stat().st_size, least)


def optional_package(name: str, what: str, requirement: str) -> Any:
    """Return a package, or say how to install the `requirement` that provides it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackage(
            f"reading and writing {what} needs {name}: pip install {requirement}"
        ) from error
