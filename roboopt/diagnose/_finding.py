"""What a check found."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be, with a recording."""

    kind: str
    message: str
    """What was found where, its number, and what to do."""
    severity: Literal["error", "warning"]
    """An error makes every fit wrong; a warning is for somebody to judge."""
