"""Robot learning as minimization: four objectives, one optimizer, one simulator.

The names are those of `__init__.pyi`, imported when they are first used: the command
line answers `--help` without waiting for JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
