"""The flag --watch: the robot in the browser while a command learns."""

from typing import Any

from roboopt._errors import require

WATCH_HELP = (
    "Show the robot in the browser while it learns, at this port of localhost (8080 "
    "without a number)."
)


def watched(port: int | None) -> Any:
    """Return the `Watch` of a port, None for none."""
    if port is None:
        return None
    require(1 <= port < 2**16, "watch", "be a port from 1 to 65535", port)
    from roboopt.view import Watch  # Slow to import.

    return Watch(port)
