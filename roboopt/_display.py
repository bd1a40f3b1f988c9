"""Names as people read them, and the width of text in a terminal.

Letters of Chinese, Japanese and Korean take two columns, combining marks none (Unicode
Standard Annex 11, East Asian Width).
"""

import textwrap
import unicodedata
from collections.abc import Sequence

MIN_HEAD = 8  # characters of the beginning of a name whose middle is left out
FILLER = "\N{WORD JOINER}"  # beside a wide letter while text is wrapped
FIRST = 0xF0000  # of the private characters that stand for letters in the meantime


def display_width(text: str) -> int:
    """Return how many columns a terminal shows `text` in."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf") or "ᅠ" <= letter <= "ᇿ":
        return 0  # Vowels and finals of Hangul stand in the column of their initial.
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def left(text: str, width: int) -> str:
    """Return text with spaces behind it, in `width` columns or more."""
    return text + " " * (width - display_width(text))


def right(text: str, width: int) -> str:
    """Return text with spaces before it, in `width` columns or more."""
    return " " * (width - display_width(text)) + text


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return the lines of text of at most `width` columns, without broken words.

    Args:
        text: a paragraph.
        width: of a line.
        indent: before all lines but the first.
    """
    letters: list[str] = []  # with their marks
    for one in text:
        if letters and _width(one) == 0:
            letters[-1] += one
        else:
            letters.append(one)
    # Each is as many characters as columns while `textwrap` counts.
    counted = [
        one if one.isascii() else chr(FIRST + k) + FILLER * (display_width(one) - 1)
        for k, one in enumerate(letters)
    ]
    lines = textwrap.wrap(
        "".join(counted),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    back = {FIRST + k: one for k, one in enumerate(letters)} | {ord(FILLER): ""}
    return [line.translate(back) for line in lines]


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Return names of at most `width` characters that remain different.

    The middle of a long name is left out, where all of them can still be told apart.
    """
    for head in range(MIN_HEAD, width - 1):
        tail = width - 1 - head
        found = [n if len(n) <= width else f"{n[:head]}…{n[-tail:]}" for n in names]
        if len(set(found)) == len(set(names)):
            return found
    count = len(str(len(names))) + 3
    return [
        name if len(name) <= width else f"{name[: width - count - 1]}… ({k})"
        for k, name in enumerate(names, 1)
    ]


def readable(name: str) -> str:
    """Return the name of a term as a person writes it; joints in brackets stay."""
    term, bracket, joints = name.partition("[")
    term = {"joule_loss": "Joule loss"}.get(term, term.replace("_", " "))
    return term + bracket + joints
