"""Imitation learning: cloning demonstrations and asking the demonstrator again."""

from roboopt.imitation._dagger import DAgger as DAgger
