"""What `minimize` returns."""

from typing import Any

import equinox as eqx
import numpy as np


class Result(eqx.Module):
    """The best model found, how the descent went, and why it stopped.

    The history holds "loss" and every term in its own unit: one value before each step
    and one after the last, (steps + 1,), or (steps + 1, starts) where several starts
    were descended from side by side.
    """

    model: Any
    loss: float
    history: dict[str, np.ndarray]
    reason: str = eqx.field(static=True)
    """One of "steps", "tolerance", "seconds", "callback", "interrupted", "non-finite",
    "source"."""
    message: str = eqx.field(static=True)
    """The reason as a sentence; for "non-finite" with the term and leaf it began in."""
    steps: int = eqx.field(static=True)
    seconds: float = eqx.field(static=True)
    """Wall time, compilation included."""
    compile_seconds: float = eqx.field(static=True)
