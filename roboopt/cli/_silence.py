"""Keeping PyBullet's greeting out of what the command prints."""

import os
import sys


def import_pybullet_silently() -> None:
    """Import PyBullet, which tells stderr when it was built."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import pybullet  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
