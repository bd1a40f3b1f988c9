"""Imitation learning: cloning demonstrations and asking the demonstrator again."""

from roboopt.imitation._dagger import DAgger as DAgger
from roboopt.imitation._demonstrators import Demonstrator as Demonstrator
from roboopt.imitation._demonstrators import demonstrator as demonstrator
