"""The panels of a report as files: pictures for a paper, and tables of their curves."""

import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from roboopt._errors import RobooptError, require
from roboopt.report._drawing import Drawing
from roboopt.report._page import Figure, Section

FIGURE_FORMATS = "pdf", "svg", "png", "eps", "csv"
MAX_NAME = 60  # characters


def check_formats(formats: Sequence[str], argument: str) -> None:
    """Refuse formats that figures are not written in."""
    for unknown in set(formats) - set(FIGURE_FORMATS):
        raise RobooptError(
            f"`{argument}` must be of {', '.join(FIGURE_FORMATS)}, got {unknown!r}."
        )


def write_figures(
    folder: str | PathLike, sections: Sequence[Section], formats: Sequence[str]
) -> list[Path]:
    """Write each panel in each format, and return the paths.

    Warns:
        UserWarning: if no font of this machine has some letters of a picture.
    """
    check_formats(formats, "formats")
    require(not Path(folder).is_file(), "folder", "be no file", Path(folder))
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths, lacking = [], set()
    for number, (name, drawing) in enumerate(_drawings(sections), 1):
        for suffix in formats:
            paths.append(Path(folder) / f"{number:02}-{name}.{suffix}")
            drawing.save(paths[-1])
            lacking |= drawing.lacking() if suffix != "csv" else set()
    if lacking:
        letters = "".join(sorted(lacking))
        warnings.warn(
            f"no font of this machine has {letters}, of which the pictures show the "
            "numbers; a font such as Noto Sans CJK has them",
            stacklevel=2,
        )
    return paths


def _drawings(sections: Sequence[Section]) -> Iterator[tuple[str, Drawing]]:
    """Yield the panels with names for files, of the section and the panel."""
    for section in sections:
        figures = [block for block in section.blocks if isinstance(block, Figure)]
        panels = ((figure, panel) for figure in figures for panel in figure.panels)
        for figure, drawing in panels:
            if isinstance(drawing, Drawing):
                name = f"{section.title} {figure.name} {drawing.title}".casefold()
                yield _file_name(name), drawing


def _file_name(text: str) -> str:
    """Return a name for a file, in which ü is "u", θ "theta" and ² "2".

    Letters of other alphabets stay. A long text keeps both ends: they tell it apart.
    """
    spelled = map(_spelled, unicodedata.normalize("NFC", text))
    name = re.sub(r"\W+", "-", "".join(spelled)).strip("-")
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME // 2].strip('-')}-{name[-MAX_NAME // 2 :].strip('-')}"


def _spelled(sign: str) -> str:
    """Return a sign in ASCII if it is Latin, by its name if it is Greek."""
    first, *marks = unicodedata.normalize("NFKD", sign)
    name = unicodedata.name(first, "").lower()
    if name.startswith("greek"):
        return f" {name.rpartition(' letter ')[-1].partition(' with ')[0]} "
    if first.isascii():
        return "".join([first, *filter(str.isascii, marks)])
    return "" if unicodedata.combining(first) else sign
