"""The flag --watch: the robot in the browser while a command learns."""

from typing import Any

from roboopt._errors import RobooptError

WATCH_HELP = (
    "Show the robot in the browser while it learns, at this port of localhost (8080 "
    "without a number)."
)


def watched(port: int | None) -> Any:
    """Return the `Watch` of a port, None for none."""
    if port is None:
        return None
    if not 1 <= port < 2**16:
        raise RobooptError(f"`watch` must be a port from 1 to 65535, got {port}.")
    from roboopt.view import Watch  # Slow to import.

    return Watch(port)
