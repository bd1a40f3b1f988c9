"""What PyBullet prints past Python's own streams: its greeting and its warnings."""

import contextlib
import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from roboopt._errors import MissingPackage

HEADER = r"b3(?:Printf|Warning|Error)\[[^\]]*\]:\s*"  # of each of Bullet's messages
KNOWN = ("No inertial data", "urdfdom: no axis")
"""Messages of which the reader of the URDF has warned where they matter."""


def import_pybullet_silently() -> None:
    """Import PyBullet, which prints its build time to stderr, past Python's own stream.

    Raises:
        ImportError: if PyBullet is not installed.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import pybullet  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            "The environments need PyBullet: pip install 'roboopt[envs]'."
        ) from error
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def captured_messages() -> Iterator[list[str]]:
    """Yield a list that after the block holds what Bullet has printed to stdout in it.

    `KNOWN` messages are left out, each with the name of the link that follows it.
    """
    messages: list[str] = []
    try:
        kept = os.dup(1)
    except OSError:  # The process has no stdout.
        yield messages
        return
    _flush()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield messages
        finally:
            _flush()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            text = file.read().decode(errors="replace")
            pieces = [" ".join(piece.split()) for piece in re.split(HEADER, text)]
            for before, piece in zip(["", *pieces], pieces, strict=False):
                if piece and not (before.startswith(KNOWN) or piece.startswith(KNOWN)):
                    messages.append(piece)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).fflush(None)  # C's own buffers, where the C library is found
