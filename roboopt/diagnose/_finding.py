"""Findings of a check, as data."""

import dataclasses
import math
from typing import Literal

DEGREES_PER_RADIAN = 180 / math.pi


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be, with data or with a descent."""

    code: str
    """Kind of the finding, such as "not_finite": stable, for programs."""
    severity: Literal["error", "warning"]
    """An error makes every fit wrong; a warning is for a person to judge."""
    message: str
    """The finding with its numbers, and the remedy."""
    where: str = ""
    """Place in the data, such as "joint elbow of run_2.csv"; empty for all of them."""

    def __str__(self) -> str:
        """Return the place and the message."""
        return f"{self.where}: {self.message}" if self.where else self.message


def error(code: str, message: str, where: str = "") -> Finding:
    """Return a finding that makes every fit wrong."""
    return Finding(code, "error", message, where)


def warning(code: str, message: str, where: str = "") -> Finding:
    """Return a finding for a person to judge."""
    return Finding(code, "warning", message, where)
