"""The images that the materials of an .obj name: their size is bounded.

PyBullet expands an image in memory, however large its header says that it is.
"""

import re
from collections.abc import Iterator
from pathlib import Path

MAX_PIXELS = 2**26  # 8192 × 8192
MAX_MATERIALS = 2**20  # bytes
HEADER = 2**18  # bytes, more than precede the size in a JPEG of a camera
PLAIN = b"BM", b"P5", b"P6"
"""Beginnings of formats that are not compressed, as far as PyBullet reads them."""
MAPS = rb"(?:map_\w+|bump|disp|decal|refl|norm)"
REFUSED = b"8BPS", b"#?", b"\x53\x80\xf6\x34"


def texture_fault(path: Path, data: bytes) -> str:
    """Return why PyBullet is not given an .obj of this content; empty if it is."""
    for name in _names(rb"mtllib", data):
        file = path.parent / name
        if not file.is_file():
            continue
        if file.stat().st_size > MAX_MATERIALS:
            return f"{name} is larger than {MAX_MATERIALS >> 20} MiB"
        for image in _names(
            rb"(?:map_\w+|bump|disp|decal|refl|norm)", file.read_bytes()
        ):
            for folder in (path.parent, file.parent, Path()):
                if (folder / image).is_file() and not _is_bounded(folder / image):
                    return f"{image} has more pixels than 8192 × 8192, or is no image"
    return ""


def _names(keyword: bytes, data: bytes) -> Iterator[str]:
    """Yield the last word, and all words, of the lines that begin with a keyword."""
    for line in re.findall(rb"^[ \t]*" + keyword + rb"[ \t]+(.*?)\s*$", data, re.M):
        text = line.decode("utf-8", "replace").replace("\\", "/").replace("\0", "")
        yield from dict.fromkeys((text, text.split(" ")[-1]))


def _is_bounded(path: Path) -> bool:
    """Return whether an image has few pixels by its header."""
    with open(path, "rb") as file:
        begin = file.read(HEADER)
    if begin.startswith(PLAIN):
        return True
    if begin.startswith(REFUSED):
        return False
    if begin.startswith(b"\x89PNG"):
        sizes = [(begin[16:20], begin[20:24], "big")]
    elif begin.startswith(b"\xff\xd8"):
        frames = re.finditer(rb"\xff[\xc0-\xc2]..\x08(..)(..)", begin, re.DOTALL)
        sizes = [(*frame.groups(), "big") for frame in frames]
    elif begin.startswith(b"GIF8"):
        sizes = [(begin[6:8], begin[8:10], "little")]
    else:  # TGA, which begins with no word of its own
        sizes = [(begin[12:14], begin[14:16], "little")]
    pixels = [
        int.from_bytes(width, order) * int.from_bytes(height, order)  # type: ignore
        for width, height, order in sizes
    ]
    return bool(pixels) and max(pixels) <= MAX_PIXELS
