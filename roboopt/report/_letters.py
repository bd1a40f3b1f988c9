"""One drawing of each letter in a page, which all of its pictures share.

Matplotlib draws the letters of each picture in it: a quarter of a page of many panels.
"""

import re

LETTER = re.compile(r'<path id="([^"]+)" (d="[^"]*" transform="scale\([\d.]+\)")/>')


def share_letters(page: str) -> str:
    """Return a page in which pictures refer to the first drawing of each letter."""
    first: dict[str, str] = {}
    same: dict[str, str] = {}

    def once(found: re.Match[str]) -> str:
        name, drawn = found.groups()
        same[name] = first.setdefault(drawn, name)
        return found[0] if same[name] == name else ""

    def shared(found: re.Match[str]) -> str:
        return f'href="#{same.get(found[1], found[1])}"'

    page = LETTER.sub(once, page).replace("<defs></defs>", "")
    return re.sub('href="#([^"]+)"', shared, page)
