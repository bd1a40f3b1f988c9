"""Pages that fit a window, for MkDocs.

Tables break long names at signs, and phones stack their rows. Sentences in what a
program prints wrap on phones. Flags are not broken. A
picture leads to its file, which a phone shows larger.
"""

import re

TABLE = re.compile(r"<table>(.*?)</table>", re.DOTALL)
HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
ROW = re.compile(r"<tr\b[^>]*>.*?</tr>", re.DOTALL)
CELL = re.compile(r"(<td\b)([^>]*>)(.*?)(?=</td>)", re.DOTALL)
TAG = re.compile(r"(<[^>]*>)")
CODE = re.compile(r"<code>.*?</code>", re.DOTALL)
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
PRINTED = re.compile(
    r'((?:<!-- output -->\s*)?<div class="language-text[^>]*><pre><span></span><code>)'
    r"(.*?)(?=</code>)",
    re.DOTALL,
)
TABLE_RULE, COLUMNS = "─", re.compile(r"^ |\S  ")
MIN_SPACES = 3  # in the first line of a sentence
PICTURE = re.compile(
    r'(?:<picture>\s*<source[^>]*>\s*)?<img\b[^>]*?\bsrc="([^"]+)"[^>]*>(?:\s*</picture>)?'
)
# Between letters, so that 1/s, 0.5 and a/b remain whole.
SIGN = re.compile(r"((?<=\w\w)[_/.=,(]+)(?=[\w*]{3})|(?<=[a-z]{2})(?=[A-Z][a-z]{2})")


def broken(html: str) -> str:
    """Return a cell whose long names may break after a sign."""
    parts = TAG.split(html)
    parts[::2] = [SIGN.sub(r"\1<wbr>", text) for text in parts[::2]]
    return "".join(parts)


def fitted(table: re.Match[str]) -> str:
    """Return a table whose cells name their columns, and whose names may break."""
    labels = [
        TAG.sub("", head).replace('"', "&quot;") for head in HEAD.findall(table[1])
    ]

    def row(match: re.Match[str]) -> str:
        names = iter(labels)

        def cell(found: re.Match[str]) -> str:
            label = f' data-label="{next(names, "")}"'
            return f"{found[1]}{label}{found[2]}{broken(found[3])}"

        return CELL.sub(cell, match[0])

    return f"<table>{ROW.sub(row, table[1])}</table>"


def whole(code: re.Match[str]) -> str:
    """Return code whose flags are not broken after their hyphens."""
    parts = TAG.split(code[0])
    parts[::2] = [FLAG.sub(r'<span class="flag">\g<0></span>', p) for p in parts[::2]]
    return "".join(parts)


def wrapping(block: re.Match[str]) -> str:
    """Return commands, and the sentences that a program prints, so that they wrap."""
    if block[2].startswith("roboopt "):  # commands, which are not run
        return block[0].replace("language-text", "language-bash", 1)
    if TABLE_RULE not in block[2] and not block[0].startswith("<!--"):
        return block[0]
    marked, inside = "", False
    for line in block[2].splitlines(keepends=True):
        single = line.strip() and not COLUMNS.search(line) and TABLE_RULE not in line
        inside = bool(single) and (inside or line.count(" ") >= MIN_SPACES)
        marked += f'<span class="sentence">{line}</span>' if inside else line
    return block[1].replace("language-text", "language-text printed") + marked


def on_post_page(output: str, **_) -> str:
    """Return a page that fits; the search has read the page before."""
    output = CODE.sub(whole, TABLE.sub(fitted, output))
    output = PRINTED.sub(wrapping, output)
    return PICTURE.sub(r'<a href="\1">\g<0></a>', output)
