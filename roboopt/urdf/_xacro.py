"""Xacro files, expanded to URDF by `xacrodoc`.

`$(find NAME)` is looked up in the folders around the file before ROS is asked, so that
a checkout does without a workspace. Paths of meshes stay as the file has them.
"""

import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from xml.etree import ElementTree

from roboopt.urdf._notes import Fault
from roboopt.urdf._xacro_expressions import harmless_expressions

LEVELS = 4  # folders above the file whose neighbors may be packages
SUFFIXES = ("_description", "_support")  # left out in the name of many a folder
INCLUDE = re.compile(r"(<xacro:include\s[^>]*?filename\s*=\s*)([\"'])(.*?)\2")


def expanded(path: str | PathLike) -> str:
    """Return the URDF that a xacro file expands to.

    Raises:
        Fault: if xacrodoc is not installed or cannot expand the file.
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
        with harmless_expressions():
            return XacroDoc.from_string(text, resolve_packages=False).to_urdf_string()
    except Exception as error:  # a xacro file runs expressions of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Fault(f"{path} must be a xacro file that compiles: {reason}.") from error


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
