"""Xacro files, expanded to URDF by `xacrodoc`.

`$(find NAME)` is looked up in the folders around the file before ROS is asked, so that
a checkout does without a workspace. Paths of meshes stay as the file has them.
"""

import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from roboopt._errors import RobooptError
from roboopt.urdf._notes import Fault
from roboopt.urdf._xacro_expressions import harmless_expressions

LEVELS = 4  # folders above the file whose neighbors may be packages
SUFFIXES = ("_description", "_support")  # left out in the name of many a folder
ARGUMENT = re.compile(r"(<xacro:arg\s[^>]*?)(/?>)")
NAME = re.compile(r"\sname\s*=\s*[\"'](.*?)[\"']")
INCLUDE = re.compile(r"(<xacro:include\s[^>]*?filename\s*=\s*)([\"'])(.*?)\2")


def expanded(path: str | PathLike, arguments: Mapping[str, str]) -> str:
    """Return the URDF that a xacro file expands to.

    Args:
        path: the file.
        arguments: values of its arguments, by name.

    Raises:
        Fault: if xacrodoc is not installed or cannot expand the file.
        RobooptError: if the file has no argument of a name in `arguments`.
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
        text = INCLUDE.sub(absolute, file.read_text("utf-8"))
        text = _with_defaults(text, arguments)
        with harmless_expressions():
            asked = _Asked(arguments)
            made = XacroDoc.from_string(text, asked, resolve_packages=False)
            made = made.to_urdf_string()
        asked.names.update(_declared(text))
    except Fault:
        raise
    except Exception as error:  # a xacro file runs expressions of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        if "Undefined substitution argument" in reason:
            reason += ": give it a value by `xacro_args`"
        raise Fault(f"{path} must be a xacro file that compiles: {reason}.") from error
    unknown = [name for name in arguments if name not in asked.names]
    if unknown:
        raise RobooptError(
            f"`xacro_args` must name arguments of {path}, which are "
            f"{sorted(asked.names) or 'none'}, got {unknown}."
        )
    return made


class _Asked(dict):
    """Arguments of a file, and the names for which xacro has asked."""

    def __init__(self, arguments: Mapping[str, str]):
        super().__init__(arguments)
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)


def _declared(text: str) -> Iterator[str]:
    """Yield the names of the arguments in a xacro file's text."""
    for found in ARGUMENT.finditer(text):
        if name := NAME.search(found[0]):
            yield name[1]


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

    return ARGUMENT.sub(completed, re.sub("<!--.*?-->", "", text, flags=re.DOTALL))


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
        name = ElementTree.parse(folder / "package.xml").findtext("name")
    except (OSError, ElementTree.ParseError):
        return
    if name:
        yield name.strip()


def _guessed(folder: Path) -> Iterator[str]:
    for suffix in SUFFIXES:
        yield folder.name.removesuffix(suffix)
        yield folder.name + suffix
