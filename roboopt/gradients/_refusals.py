"""Objectives that cannot be called or differentiated, said as the rule they break."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from roboopt._errors import RobooptError, require

RULES = {
    "Reverse-mode differentiation does not work for lax.while_loop": (
        "be differentiable from its end, which a `while_loop` is not: use `lax.scan`, "
        "or `lax.fori_loop` with a known number of steps"
    ),
    "callbacks do not support JVP": (
        "be differentiable by JAX, which a callback such as `jax.pure_callback` is "
        "not: give it a derivative by `jax.custom_vjp`"
    ),
}


def require_objective(objective: Any) -> None:
    """Refuse what cannot be called as `objective(model, batch)`.

    Raises:
        RobooptError: if it is no function, or one of other arguments.
    """
    rule = "be a function of model and batch, objective(model, batch)"
    require(callable(objective), "objective", rule, objective)
    try:
        signature = inspect.signature(objective)
    except (TypeError, ValueError):  # as of functions that are not written in Python
        return
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(objective, "__name__", type(objective).__name__)
        raise RobooptError(f"`objective` must {rule}, got {name}{signature}.") from None


@contextmanager
def differentiating(argument: str) -> Iterator[None]:
    """Name the argument in the errors with which JAX refuses a derivative.

    Raises:
        RobooptError: for a `while_loop` or a callback without a derivative.
    """
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        for text, rule in RULES.items():
            if text in str(error):
                raise RobooptError(f"`{argument}` must {rule}.") from error
        raise
