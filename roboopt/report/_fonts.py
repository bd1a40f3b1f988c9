r"""Fonts with the letters of all names: Matplotlib's own has none of Chinese or Hindi.

A picture takes further letters from the fonts of the machine. In a page the browser has
more fonts than the machine that drew the figure, so that text with other letters stays
text there; in files such letters are written as their numbers, 軸 as \u8ef8.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

FAMILY = "DejaVu Sans"  # of Matplotlib itself
LAST_RESORT = "Last Resort"  # a font with boxes for all letters
WEIGHTS = "normal", "bold"  # of texts and titles


@functools.cache
def _letters(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    return frozenset(get_font(path).get_charmap())


@functools.cache
def families(letters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Return the families to be used in turn, and the letters that none has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    own = _letters(findfont(FAMILY))
    left = {c for c in letters if c.isprintable() and ord(c) not in own}
    found = [FAMILY]
    # Those without serifs first.
    for font in sorted(fontManager.ttflist, key=lambda f: "sans" not in f.name.lower()):
        if not left:
            break
        if LAST_RESORT in font.name or font.name in found:
            continue
        with contextlib.suppress(OSError, RuntimeError):  # of a broken file
            if has := {c for c in left if ord(c) in _letters(font.fname)}:
                for weight in WEIGHTS:
                    file = findfont(FontProperties(family=[font.name], weight=weight))
                    has = {c for c in has if ord(c) in _letters(file)}
                found += [font.name] * bool(has)
                left -= has
    return found, frozenset(left)


def choose_fonts(axes: Any) -> frozenset[str]:
    """Give the texts of a panel fonts with their letters; return what no font has."""
    from matplotlib.text import Text

    for axis in (axes.xaxis, axes.yaxis):
        axis.get_ticklabels()  # brings them up to date
    texts = axes.figure.findobj(Text)
    found, left = families(frozenset("".join(text.get_text() for text in texts)))
    if found[1:]:
        for text in texts:
            text.set_fontfamily(found)
    return left


@contextlib.contextmanager
def spelled(axes: Any, letters: frozenset[str]) -> Iterator[None]:
    """Write the letters as numbers in all texts of a panel, within the block."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    code = {ord(c): c.encode("unicode_escape").decode() for c in letters}
    before = [(text, text.get_text()) for text in axes.figure.findobj(Text)]
    formatters = []
    for axis in (axes.xaxis, axes.yaxis):
        ticks = [label.get_text() for label in axis.get_ticklabels()]
        if letters & {*"".join(ticks)}:
            formatters.append((axis, axis.get_major_formatter()))
            own = FixedFormatter([tick.translate(code) for tick in ticks])
            axis.set_major_formatter(own)
    for text, said in before:
        text.set_text(said.translate(code))
    try:
        yield
    finally:
        for axis, formatter in formatters:
            axis.set_major_formatter(formatter)
        for text, said in before:
            text.set_text(said)
