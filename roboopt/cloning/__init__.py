"""Cloning behaviour by asking the demonstrator again, where the clone has come to."""

from roboopt.cloning._dagger import DAgger

__all__ = ["DAgger"]
