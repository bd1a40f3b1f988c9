"""The comments of XML, changed or dropped."""

from collections.abc import Callable


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
