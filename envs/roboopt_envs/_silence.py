"""Importing PyBullet without its greeting."""

import os
import sys


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
        raise ImportError(
            "The environments need PyBullet: pip install 'roboopt[envs]'."
        ) from error
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
