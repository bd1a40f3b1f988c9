"""The error for what a user can mend, and the checks that raise it."""

import contextlib
import errno
import math
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any


class RobooptError(ValueError):
    """An argument, file or environment that cannot be worked with.

    The message names the argument, the rule and the value. Any other exception is a
    bug.
    """


class MissingPackage(RobooptError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


MAX_DELAY_S = 10.0  # within which all commands are kept
DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EFBIG, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE, errno.ESTALE),
}


def is_of_disk(error: BaseException | None) -> bool:
    """Return whether an error is of a disk, a network drive, or rights, and no bug."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def is_of_memory(error: BaseException | None) -> bool:
    """Return whether an error says that memory is full, of NumPy, XLA or Python."""
    said = "Out of memory", "RESOURCE_EXHAUSTED"
    of_xla = isinstance(error, RuntimeError) and any(x in str(error) for x in said)
    return of_xla or isinstance(error, MemoryError)


def require(valid: Any, argument: str, rule: str, value: Any) -> None:
    """Raise a `RobooptError`, "`argument` must `rule`, got `value`", unless `valid`.

    A `value` that is a class is shown by its name, for objects of many numbers.
    """
    if not valid:
        shown = repr(value) if isinstance(value, str) else value
        shown = value.__name__ if isinstance(value, type) else shown
        raise RobooptError(f"`{argument}` must {rule}, got {shown}.")


@contextlib.contextmanager
def argument_called(inner: str, outer: str) -> Iterator[None]:
    """Name an argument as the caller does, in errors that begin with its `inner` name.

    A function that passes its argument `outer` on as `inner` calls the other within.
    """
    try:
        yield
    except RobooptError as error:
        named = str(error).startswith(f"`{inner}`")
        if not named or type(error) is not RobooptError:
            raise
        text = str(error).removeprefix(f"`{inner}`")
        raise RobooptError(f"`{outer}`{text}") from error


def is_number(value: Any) -> bool:
    """Return whether `value` is a real number, or an array of a single one."""
    return isinstance(value, Real) or getattr(value, "shape", None) == ()


def floats(argument: str, values: Any) -> Any:
    """Return the `argument` as an array of NumPy, refused unless it holds numbers."""
    import numpy as np

    try:
        numbers = np.asarray(values)
        if numbers.dtype.kind == "U":  # "1" would become 1.
            raise TypeError
        return numbers.astype(float)
    except (TypeError, ValueError):
        raise RobooptError(f"`{argument}` must hold numbers, got {values!r}.") from None


def three_numbers(argument: str, values: Any) -> Any:
    """Return the `argument`, such as a point, as three finite numbers."""
    import numpy as np

    numbers = floats(argument, values)
    valid = numbers.shape == (3,) and np.isfinite(numbers).all()
    require(valid, argument, "be three finite numbers", values)
    return numbers


def require_at_least(least: int, **arguments: Any) -> None:
    """Raise a `RobooptError` unless each is None or a whole number from `least` on."""
    for name, value in arguments.items():
        if value is not None:
            require(isinstance(value, Integral), name, "be a whole number", value)
            require(value >= least, name, f"be at least {least}", value)


def require_lists(**arguments: Any) -> None:
    """Raise a `RobooptError` unless each is None, a list, a tuple or an array."""
    for name, value in arguments.items():
        listed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
        valid = value is None or (listed and not isinstance(value, str | Mapping))
        require(valid, name, "be a list", value)


def require_bool(**arguments: Any) -> None:
    """Raise a `RobooptError` unless each is True or False."""
    for name, value in arguments.items():
        require(isinstance(value, bool), name, "be True or False", value)


def require_positive(**arguments: Any) -> None:
    """Raise a `RobooptError` unless each is None or holds positive, finite numbers."""
    for name, value in arguments.items():
        if value is not None:
            numbers = floats(name, value)
            valid = ((numbers > 0) & (numbers < math.inf)).all()
            require(valid, name, "be positive and finite", value)


def delay_range(delay: Any) -> tuple[float, float]:
    """Return the least and the largest of the argument `delay` [s], refused if long."""
    numbers = floats("delay", delay).ravel()
    valid = len(numbers) in (1, 2) and 0 <= numbers[0] <= numbers[-1] <= MAX_DELAY_S
    rule = f"be one number, or two that rise, from 0 to {MAX_DELAY_S:g} s"
    require(valid, "delay", rule, delay)
    return float(numbers[0]), float(numbers[-1])


def require_share(**arguments: Any) -> None:
    """Raise a `RobooptError` unless each is a number from 0 to 1."""
    for name, value in arguments.items():
        valid = is_number(value) and 0 <= value <= 1
        require(valid, name, "be from 0 to 1", value)


def whole_steps(control_period: float | None, time_step: float) -> int:
    """Return the number of time steps [s] in a control period [s], 1 for None."""
    if control_period is None:
        return 1
    require_positive(control_period=control_period)
    steps = round(control_period / time_step)
    whole = steps > 0 and abs(control_period - steps * time_step) <= 1e-6 * time_step
    if not whole:
        raise RobooptError(
            "`control_period` must be a whole number of time steps, got "
            f"{control_period:.6g} s and `time_step` {time_step:.6g} s, "
            f"{control_period / time_step:.4g} steps; {max(1, steps)} take "
            f"{max(1, steps) * time_step:.6g} s."
        )
    return steps
