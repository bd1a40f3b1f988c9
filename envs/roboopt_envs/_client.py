"""PyBullet clients that connect silently, and are closed before PyBullet is."""

import contextlib
import os
import weakref

from ._silence import import_pybullet_silently

import_pybullet_silently()

import pybullet  # noqa: E402
from pybullet_utils.bullet_client import BulletClient  # noqa: E402


class Client(BulletClient):
    """A client that connects without printing its (empty) options.

    A client that is still open at the end of the program is closed before PyBullet is
    unloaded; `BulletClient.__del__` would call it afterwards.
    """

    def __init__(self, mode: int):
        self._shapes = {}
        self._client = pybullet.connect(mode)
        self._close = weakref.finalize(self, _disconnect, self._client, os.getpid())

    def disconnect(self) -> None:
        self._client = -1
        self._close()

    def __del__(self) -> None:
        pass


def _disconnect(client: int, process: int) -> None:
    """Close a client of this process; a fork does not own its parent's."""
    if process == os.getpid():
        with contextlib.suppress(pybullet.error):
            pybullet.disconnect(physicsClientId=client)
