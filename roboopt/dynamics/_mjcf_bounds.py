"""Bounds on an MJCF file, before MuJoCo compiles it.

MuJoCo makes as many copies, rows and pixels as a file says, and follows a model that
attaches itself, until the process ends. So the counts of the file, and of the files
that it includes, are looked at first.
"""

import math
from os import PathLike
from pathlib import Path
from xml.etree.ElementTree import Element

from roboopt._errors import RobooptError
from roboopt._reading import parse_xml, read_bytes, with_comments

MAX_COPIES = 10_000  # of a `<replicate>` within others, and of the parts of a flex
MAX_SIZE = 2**26  # of the numbers that an element claims, such as pixels
MAX_FILES = 100
COPYING = ("replicate", "composite", "flexcomp")
SIZES = ("nrow", "ncol", "width", "height", "dim", "actdim", "nsample", "nkey")
FILES = ("include", "model")


def check_bounds(path: str | PathLike) -> None:
    """Raise a `RobooptError` if an MJCF file claims too much, or includes itself."""
    _Bounds(Path(path)).check_file(Path(path), ())


class _Bounds:
    """What a file and those that it includes have claimed so far."""

    def __init__(self, path: Path):
        self.folder, self.files = path.resolve().parent, 0

    def check_file(self, path: Path, above: tuple[Path, ...]) -> None:
        place = path.resolve()
        self.files += 1
        if place in above or self.files > MAX_FILES:
            raise RobooptError(
                f"`path`: {path} must not include itself, nor more than {MAX_FILES} "
                "files."
            )
        text = with_comments(read_bytes(path).decode("utf-8", "replace"))
        try:
            root = parse_xml(text.strip("\ufeff \t\r\n").encode(), "utf-8")
        except ValueError as error:
            raise RobooptError(f"`path`: {path} {error}.") from None
        self._check(root, 1, path, (*above, place))

    def _check(
        self, element: Element, copies: int, path: Path, above: tuple[Path, ...]
    ) -> None:
        """Check an element of which others make so many copies."""
        if element.tag in COPYING:
            copies *= math.prod(_numbers(element, "count"))
        names = [n for n in element.attrib if n in SIZES or n.startswith("nuser_")]
        size = math.prod(max(1, x) for name in names for x in _numbers(element, name))
        if not (0 <= copies <= MAX_COPIES and size <= MAX_SIZE):
            raise RobooptError(
                f"`path` must claim at most {MAX_COPIES} copies and {MAX_SIZE} numbers "
                f"in an element, but {path} has a <{element.tag}> of {copies} and "
                f"{size}."
            )
        if element.tag in FILES and (name := element.get("file")):
            places = [folder / name for folder in (path.parent, self.folder)]
            # MuJoCo says so where there is no such file.
            if found := next((place for place in places if place.is_file()), None):
                self.check_file(found, above)
        for child in element:
            self._check(child, copies, path, above)


def _numbers(element: Element, name: str) -> list[int]:
    """Return the whole numbers of an attribute; MuJoCo refuses other text."""
    try:
        return [int(float(word)) for word in element.get(name, "").split()]
    except (ValueError, OverflowError):
        return []
