"""Joint states as ROS prints them: tables without names, of lists laid flat, or YAML.

`ros2 topic echo --csv /joint_states` prints a row for each message: seconds,
nanoseconds, the frame, the names of the joints, and their positions, velocities and
efforts. A list that the publisher leaves empty takes no cells.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

BEGIN = ("header.stamp.sec", "header.stamp.nanosec", "header.frame_id")
FIELD = re.compile(
    r"\s*(secs?|nsecs|nanosec|name|position|velocity|effort): *(\[?)(.*?)\]?\s*"
)
ITEM = re.compile(r"\s*- *(.*?)\s*")
NOT_FINITE = {".nan": "nan", ".inf": "inf", "-.inf": "-inf"}
QUANTITIES = ("position", "velocity", "effort")
LISTS = {
    1: ("position",),
    2: ("position", "velocity or effort"),
    3: QUANTITIES,
}
"""The lists of numbers by their count: two do not tell which the second is."""


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, or nan or inf."""
    number = r"[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf)"
    return re.fullmatch(number, cell, re.IGNORECASE) is not None


def read_joint_states(
    lines: list[str], joints: Sequence[str] | None
) -> tuple[list[str], list[str], str] | None:
    """Return the names of the columns, the lines to read, and a note on others.

    Several publishers may share a topic: of lines of different lengths those are read
    that name all `joints`, or else the most.

    Returns:
        None unless the first line is a message of joint states.
    """
    if _joints(lines[0]) is None:
        return None
    alike: dict[int, list[str]] = defaultdict(list)
    for line in lines:
        if line.strip():
            alike[line.count(",")].append(line)
    parts = [part for part in alike.values() if _joints(part[0])]
    wanted = set(joints or ())
    fits = [part for part in parts if wanted <= {*(_joints(part[0]) or ())}]
    kept = max(fits or parts, key=len)
    count = len(_joints(kept[0]) or ())
    lists = LISTS[(kept[0].count(",") + 1 - len(BEGIN)) // count - 1]
    names = [f"{name}{k}" for name in ("name", *lists) for k in range(count)]
    left = sum(map(len, alike.values())) - len(kept)
    note = f"{left} rows are cut off, or of other joints: left out." if left else ""
    return [*BEGIN, *names], kept, note


def is_yaml(first: str) -> bool:
    """Return whether a text begins as a message with a header in YAML."""
    return first.strip() == "header:"


def flat_messages(lines: Iterable[str]) -> list[str]:
    """Return a row as of `--csv` for each message that `topic echo` printed in YAML.

    A list that the publisher leaves empty has a NaN for each joint.
    """
    rows: list[str] = []
    message: dict[str, list[str]] = {}
    place = None
    for line in [*lines, "---"]:
        field, item = FIELD.fullmatch(line), ITEM.fullmatch(line)
        if line.startswith("---"):
            if message:
                rows.append(",".join(_cells(message)))
            message, place = {}, None
        elif field:
            place = field[1].replace("secs", "sec").replace("nsec", "nanosec")
            cells = field[3].split(",") if field[3] else []
            message[place] = [_cell(cell) for cell in cells]
        elif item and place:
            message[place].append(_cell(item[1]))
    return rows


def _cell(text: str) -> str:
    """Return a value of YAML as one of CSV: .nan is nan."""
    cell = text.strip(" '\"")
    return NOT_FINITE.get(cell.lower(), cell)


def _cells(message: dict[str, list[str]]) -> list[str]:
    names = message.get("name", [])
    # A message that is cut off lacks lists, and is left out as a short row.
    lists = [
        message[one] or ["nan"] * len(names) for one in QUANTITIES if one in message
    ]
    stamp = [*message.get("sec", []), *message.get("nanosec", []), ""]
    return [*stamp, *names, *(cell for one in lists for cell in one)]


def _joints(line: str) -> list[str] | None:
    """Return the joints that a message names, None where a line is no message."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) < 5 or not (cells[0] + cells[1]).isdigit():
        return None
    rest = cells[len(BEGIN) :]
    count = next((k for k, cell in enumerate(rest) if is_number(cell)), 0)
    numbers = rest[count:]
    whole = count and len(numbers) % count == 0 and len(numbers) // count in LISTS
    named = not is_number(cells[2]) and all(rest[:count])
    if not whole or not named or not all(map(is_number, numbers)):
        return None
    return rest[:count]
