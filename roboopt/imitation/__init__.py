"""Imitation learning: cloning demonstrations and asking the demonstrator again."""

from roboopt.imitation._clone import clone as clone
from roboopt.imitation._clone_result import CloneResult as CloneResult
from roboopt.imitation._dagger import DAgger as DAgger
from roboopt.imitation._demonstrators import Demonstrator as Demonstrator
from roboopt.imitation._demonstrators import demonstrator as demonstrator
