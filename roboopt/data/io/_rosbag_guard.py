"""Bags of ROS that may come from a stranger: what they expand to is bounded.

rosbags decompresses a chunk or a message in one go, however far it expands. Here each
is decompressed block by block before, and none is kept.
"""

import bz2
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.data._files import MAX_RATIO, MIN_LIMIT

BLOCK = 2**20  # bytes
ZSTD = b"\x28\xb5\x2f\xfd"  # begins a file
MIN_CHUNK_OFFSET = 49  # bytes of an MCAP chunk before its compressed data


def check_files(path: Path) -> None:
    """Raise a `RobooptError` if files of a bag are compressed as a whole."""
    files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else []
    for file in files:
        with open(file, "rb") as begin:
            if begin.read(len(ZSTD)) == ZSTD:
                raise RobooptError(
                    f"`path` must hold files that are not compressed as a whole, but "
                    f"{file} is: decompress it by `zstd -d`, and record by "
                    "`--compression-mode message`."
                )


def check_size(reader: Any, path: Path) -> None:
    """Raise a `RobooptError` if an open bag expands too far."""
    files = [path] if path.is_file() else [f for f in path.iterdir() if f.is_file()]
    left = max(MAX_RATIO * sum(file.stat().st_size for file in files), MIN_LIMIT)
    for kind, data in _compressed(reader):
        for size in _expanded(kind, data):
            left -= size
            if left < 0:
                raise RobooptError(
                    f"`path` must be of its size, but {path} expands too far."
                )


def _compressed(reader: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the kind of compression and the data of each compressed part."""
    if hasattr(reader, "chunks"):  # ROS 1
        from rosbags.rosbag1.reader import decompressors

        kinds = {function: name for name, function in decompressors.items()}
        for chunk in reader.chunks.values():
            reader.bio.seek(chunk.datapos)
            yield kinds[chunk.decompressor], reader.bio.read(chunk.datasize)
        return
    storages = getattr(reader.storage, "storages", [reader.storage])
    for storage in storages:
        for chunk in getattr(storage, "chunks", ()):
            begin = chunk.chunk_start_offset + MIN_CHUNK_OFFSET
            storage.bio.seek(begin + len(chunk.compression))
            yield chunk.compression, storage.bio.read(chunk.compressed_size)
    if reader.compression_mode == "message":
        for storage in storages:
            for _, _, data in storage.messages(storage.connections):
                yield "zstd", data


def _expanded(kind: str, data: bytes) -> Iterator[int]:
    """Yield the sizes of the blocks that data expand to."""
    unpackers = _unpackers()
    while data:
        if kind not in unpackers:
            yield len(data)
            return
        unpacker, block = unpackers[kind](), b""
        while not unpacker.eof:
            block = unpacker.decompress(data, max_length=BLOCK)
            data = b""
            yield len(block)
            if not block and unpacker.needs_input:
                return  # rosbags says that it is truncated.
        data = unpacker.unused_data or b""


def _unpackers() -> dict[str, Callable[[], Any]]:
    """Return the decompressors of rosbags' own dependencies."""
    from lz4.frame import LZ4FrameDecompressor
    from rosbags.rosbag2.storage_mcap import zstd

    return {
        "bz2": bz2.BZ2Decompressor,
        "lz4": LZ4FrameDecompressor,
        "zstd": zstd.ZstdDecompressor,
    }
