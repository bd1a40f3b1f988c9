"""What a training of a clone is, in words: what it sees, keeps and learns from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt._progress import counted


def limits_in_words(space: Any) -> dict[str, str]:
    """Return how a clone keeps the demonstrated range, where `space` has no limits."""
    if space is not None and np.isfinite([space.low, space.high]).all():
        return {}
    return {"limits": "the demonstrated range, and three times as much on each side"}


def inputs_in_words(history: int, past_actions: int) -> str:
    """Return what the policy sees, in words."""
    seen = f"last {history} observations" if history > 1 else "last observation"
    if past_actions:
        seen += f" and {counted(past_actions, 'past action')}"
    return f"the {seen}"


def counts_in_words(
    data: Any, parts: Mapping[str, Any], selection: Any, whole: Any
) -> str:
    """Return what teaches and what selects, in words."""
    if selection is not None and selection.folded:
        units, folds = selection.unit.max() + 1, len(selection.networks) - 1
        said = f"{len(data)} for training, and by cross-validation for selection"
        if len(whole) == 1:
            return f"{said} ({folds} parts of the only episode)"
        return f"{said} ({units} episodes in {folds} parts)"
    return (
        f"{len(data)} for training, {len(parts.get('validation', ()))} for validation"
    )
