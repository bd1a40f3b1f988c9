"""An XML file changed in places, every other byte of it left as it was.

A parser tells where each tag stands; what changes is the text of these tags alone, so
that comments, order, quotes and line breaks are the author's still.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from roboopt._errors import RobooptError

# A tag ends at the first > outside of quotes.
TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
SPACE = re.compile(rb"\s*")
WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins


class Element(NamedTuple):
    """An element, and where its start tag stands in the file."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"]
    span: tuple[int, int]

    def find(self, tag: str) -> "Element | None":
        """Return the first child of this tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def named(self, tag: str) -> dict[str, "Element"]:
        """Return the children of this tag by their names."""
        children = (child for child in self.children if child.tag == tag)
        return {child.attributes.get("name", ""): child for child in children}

    def walk(self) -> Iterator["Element"]:
        """Yield this element and all within."""
        yield self
        for child in self.children:
            yield from child.walk()


class XmlText:
    """The text of an XML file, to be changed in places.

    Raises:
        RobooptError: if `data` is not XML in an encoding that holds ASCII as it is.
    """

    def __init__(self, data: bytes):
        """Find the tags of `data`."""
        if data[:2] in WIDE:
            raise RobooptError("`data` must hold ASCII as it is, got UTF-16.")
        self._data = data
        self._attributes: dict[tuple[int, int], dict[str, str]] = {}
        self._insertions: dict[tuple[int, int], tuple[str, list[str]]] = {}
        top = Element("", {}, [], (0, 0))
        self._open = [top]
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = lambda _: self._open.pop()
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise RobooptError(f"`data` must hold XML, got none: {error}.") from None
        self.root = top.children[0]

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        match = TAG.match(self._data, start)
        assert match is not None  # the parser has just read it
        element = Element(tag, attributes, [], (start, match.end()))
        self._open[-1].children.append(element)
        self._open.append(element)

    def set(self, element: Element, **attributes: str) -> None:
        """Give `element` these attributes, in place of what it has of their names."""
        self._attributes.setdefault(element.span, {}).update(attributes)

    def insert(self, element: Element, child: str) -> None:
        """Put the text of a child at the beginning of `element`."""
        _, children = self._insertions.setdefault(element.span, (element.tag, []))
        children.append(child)

    def data(self) -> bytes:
        """Return the file as changed."""
        spans = sorted({*self._attributes, *self._insertions})
        parts, done = [], 0
        for start, stop in spans:
            parts += [self._data[done:start], self._changed(start, stop)]
            done = stop
        return b"".join([*parts, self._data[done:]])

    def _changed(self, start: int, stop: int) -> bytes:
        text = self._data[start:stop]
        for name, value in self._attributes.get((start, stop), {}).items():
            text = _with_attribute(text, name, value)
        tag, children = self._insertions.get((start, stop), ("", []))
        if not children:
            return text
        inside = "".join(children).encode("ascii", "xmlcharrefreplace")
        if text.endswith(b"/>"):
            return text[:-2].rstrip() + b">" + inside + f"</{tag}>".encode()
        space = SPACE.match(self._data, stop)
        indent = b"" if space is None else space.group()
        return text + indent + inside


def _with_attribute(text: bytes, name: str, value: str) -> bytes:
    quoted = quoteattr(value).encode("ascii", "xmlcharrefreplace")
    pattern = rb"""(\s%b\s*=\s*)(?:"[^"]*"|'[^']*')""" % re.escape(name).encode()
    changed, count = re.subn(pattern, lambda m: m[1] + quoted, text, count=1)
    if count:
        return changed
    end = -2 if text.endswith(b"/>") else -1
    return text[:end].rstrip() + b" " + name.encode() + b"=" + quoted + text[end:]
