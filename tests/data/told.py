"""Reading recordings as a user does, who sees the warnings."""

import warnings
from typing import Any

from roboopt.data import Trajectory, load_recordings


def read_told(source: Any, **options: Any) -> tuple[list[Trajectory], str]:
    """Return the recordings, and what the warnings say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = load_recordings(source, **options)
    return runs, " ".join(str(w.message) for w in caught)
