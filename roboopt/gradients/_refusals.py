"""What JAX cannot differentiate, said as the rule that an argument breaks."""

from collections.abc import Iterator
from contextlib import contextmanager

from roboopt._errors import RobooptError

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
