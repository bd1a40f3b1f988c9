"""Xacro files, expanded to URDF by `xacrodoc`.

`$(find NAME)` is looked up in the folders around the file before ROS is asked, so that
a checkout does without a workspace. Paths of meshes stay as the file has them.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from roboopt._errors import RobooptError
from roboopt._reading import parse_xml, read_bytes, with_comments
from roboopt.urdf._notes import Fault
from roboopt.urdf._xacro_expressions import MAX_FILE, harmless_expressions

LEVELS = 4  # folders above the file whose neighbors may be packages
SUFFIXES = ("_description", "_support")  # left out in the name of many a folder
# No "<" within a tag: a search from each of many tags would go on to the end.
ARGUMENT = re.compile(r"(<xacro:arg\s[^<>]*?)(/?>)")
INCLUDE = re.compile(r"(<xacro:include\s[^<>]*?filename\s*=\s*)([\"'])([^<>]*?)\2")
NAME = re.compile(r"\sname\s*=\s*[\"'](.*?)[\"']")


def expanded(path: str | PathLike, arguments: Mapping[str, str]) -> str:
    """Return the URDF that a xacro file expands to.

    Args:
        path: the file.
        arguments: values of its arguments, by name.

    Raises:
        Fault: if xacrodoc is not installed or cannot expand the file, or the file has
            no argument of one of the names.
    """
    try:
        from xacrodoc import XacroDoc, packages
    except ImportError:
        raise Fault(
            f"{path} needs xacro: install `roboopt[ros]`, or compile the file to URDF."
        ) from None
    file = Path(path).resolve()

    def absolute(found: re.Match[str]) -> str:
        start, quote, name = found.groups()
        if not name.startswith(("$", "/", "package:")):
            name = (file.parent / name).as_posix()
        return f"{start}{quote}{name}{quote}"

    try:
        packages.reset()
        packages.update_package_cache(nearby_packages(file))
        text = with_comments(read_bytes(file, limit=MAX_FILE).decode("utf-8"))
        text = _with_defaults(INCLUDE.sub(absolute, text), arguments)
        given = _Arguments(arguments)
        given.asked = {
            name[1] for a in ARGUMENT.findall(text) if (name := NAME.search(a[0]))
        }
        with harmless_expressions():
            made = XacroDoc.from_string(text, given, resolve_packages=False)
            found = made.to_urdf_string()
    except (Fault, RobooptError):
        raise
    except Exception as error:  # a xacro file runs expressions of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        if "Undefined substitution argument" in reason:
            reason += ": give it a value by `xacro_args`"
        raise Fault(f"{path} must be a xacro file that compiles: {reason}.") from error
    for name in arguments.keys() - given.asked:
        close = get_close_matches(name, given.asked, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise RobooptError(
            f"`xacro_args` must name arguments of {path}, which has "
            f"{', '.join(sorted(given.asked)) or 'none'}, got {name!r}{hint}"
        )
    return found


class _Arguments(dict):
    """Values of arguments by name, and the names that the file asks for."""

    asked: set[str]

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)


def _with_defaults(text: str, arguments: Mapping[str, str]) -> str:
    """Return a xacro file whose arguments without a default have the given values."""

    def completed(found: re.Match[str]) -> str:
        name = NAME.search(found[0])
        if name is None or re.search(r"\sdefault\s*=", found[0]):
            return found[0]
        if name[1] not in arguments:
            raise Fault(
                f"the xacro argument {name[1]!r} has no default: give it a value by "
                "`xacro_args`."
            )
        return f"{found[1]} default={quoteattr(arguments[name[1]])}{found[2]}"

    return ARGUMENT.sub(completed, text)


def nearby_packages(file: Path) -> dict[str, Path]:
    """Return the folders around a file that may be the packages of these names.

    A package is known by its package.xml, or else by the name of its folder, from which
    "_description" or "_support" may be missing.
    """
    folders = [*file.parents]
    for above in file.parents[1:LEVELS]:
        folders += sorted(each for each in above.iterdir() if each.is_dir())
    found: dict[str, Path] = {}
    for names in (_stated, lambda folder: [folder.name], _guessed):
        for folder in folders:
            for name in names(folder):
                found.setdefault(name, folder)
    return found


def _stated(folder: Path) -> Iterator[str]:
    try:
        root = parse_xml(read_bytes(folder / "package.xml", limit=MAX_FILE))
    except (ValueError, LookupError):
        return
    name = root.findtext("name")
    if name:
        yield name.strip()


def _guessed(folder: Path) -> Iterator[str]:
    for suffix in SUFFIXES:
        yield folder.name.removesuffix(suffix)
        yield folder.name + suffix
