"""Files that may come from a stranger: their size, depth and kind are bounded."""

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from roboopt._errors import RobooptError

MAX_TEXT = 2**26  # bytes; a URDF of a humanoid has less than 1 MB
MAX_XML_DEPTH = 100  # elements within elements; a URDF has five or so


def read_bytes(
    path: str | PathLike, argument: str = "path", limit: int = MAX_TEXT
) -> bytes:
    """Return what a regular file holds, refused before it is read if it is too large.

    Raises:
        RobooptError: if `path` is no file, cannot be read, or has more than `limit`
            bytes; the message calls it `argument`.
    """
    path = Path(path)
    try:
        if not path.is_file():  # also of devices and pipes, which have no end
            raise RobooptError(f"`{argument}` must be a file, got {path}.")
        size = path.stat().st_size
        if size > limit:
            raise RobooptError(
                f"`{argument}` must be a file of at most {limit / 2**20:.3g} MiB, but "
                f"{path} has {size / 2**20:.3g} MiB."
            )
        return path.read_bytes()
    except OSError as error:
        raise RobooptError(
            f"`{argument}` must be a file that can be read, but {path}: "
            f"{error.strerror or error}."
        ) from error


def read_json(path: str | PathLike, argument: str = "path") -> Any:
    """Return what a JSON file holds.

    Raises:
        RobooptError: as `read_bytes`, or if the file is not JSON or nests too deep.
    """
    data = read_bytes(path, argument)
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it nests too deep" if isinstance(error, RecursionError) else error
        raise RobooptError(
            f"`{argument}` must be JSON, but {path} is not valid: {reason}."
        ) from None


class _ShallowTree(TreeBuilder):
    """The elements of a file, which must not nest deeper than any that is meant."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self.depth += 1
        if self.depth > MAX_XML_DEPTH:
            raise ValueError(f"must nest at most {MAX_XML_DEPTH} elements, nests more")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        return super().end(tag)


def _refuse_entity(*declared: Any) -> None:
    raise ValueError(f"must declare no entities, declares {declared[0]!r}")


def parse_xml(data: bytes, encoding: str | None = None) -> Element:
    """Return the root element of an XML file, its names as they are written.

    Raises:
        ValueError: if the file is not XML, nests too deep, or declares an entity: none
            is ever read or expanded.
    """
    builder, parser = _ShallowTree(), expat.ParserCreate(encoding)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = _refuse_entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"must be XML, and is not valid XML: {error}") from None
    return builder.close()


def with_comments(text: str, change: Callable[[str], str] = lambda _: "") -> str:
    """Return XML with what `change` makes of each comment's text, nothing by default.

    A regular expression would search to the end of the file from each of many "<!--".
    """
    parts, comments, place = [], text.split("<!--"), 1
    parts.append(comments[0])
    while place < len(comments):
        # A comment goes on to the first "-->", over others that seem to begin.
        inner = [comments[place]]
        while "-->" not in inner[-1] and place + 1 < len(comments):
            place += 1
            inner.append(comments[place])
        comment, ended, after = "<!--".join(inner).partition("-->")
        parts += [change(comment) if ended else f"<!--{comment}", after]
        place += 1
    return "".join(parts)
