"""Adam on clipped gradients, which both ways of learning from reward descend by."""

from collections.abc import Callable
from typing import Any

from roboopt._errors import RobooptError


def clipped_adam(
    steps: int,
    rate: float,
    schedule: Callable[[], Any],
    largest_norm: float,
    epsilon: float = 1e-8,
) -> Any:
    """Return it.

    Args:
        steps: of the descent.
        rate: the greatest.
        schedule: returns the rates, once both are found to be right.
        largest_norm: of a gradient.
        epsilon: of Adam.

    Raises:
        RobooptError: if `steps` is less than 1, or `rate` is not positive.
    """
    import optax

    if steps < 1:
        raise RobooptError(f"`steps` must be at least 1, got {steps}.")
    if not rate > 0:
        raise RobooptError(f"`rate` must be positive, got {rate}.")
    adam = optax.adam(schedule(), eps=epsilon)
    # All arrays as one: a dozen of them take a third longer to compile.
    return optax.flatten(optax.chain(optax.clip_by_global_norm(largest_norm), adam))
