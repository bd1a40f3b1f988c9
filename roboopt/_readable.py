"""Text of modules that shows numbers, sizes and units instead of array types."""

import dataclasses
import textwrap
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._notebook import values_html

MAX_NUMBERS = 32  # of an array that is shown in full
MAX_COLUMNS = 80
WRAPPED = 70  # columns of a value on lines of its own, before they are indented
WRAPPING: dict[str, Any] = {
    "subsequent_indent": "  ",
    "break_long_words": False,
    "break_on_hyphens": False,
}


class Readable:
    """Mixin of an `equinox.Module` that prints the numbers in its fields.

    A class whose fields are not what a reader wants, such as logarithms of gains,
    overrides `_shown`.
    """

    def _shown(self) -> dict[str, Any]:
        """Return the values to print, by name."""
        return _fields(self)

    def __repr__(self) -> str:
        """Return the name of the class and the values of `_shown`."""
        return _call(type(self).__name__, self._shown())

    def _repr_html_(self) -> str:
        """Return the values of `_shown` as a table for notebooks."""
        shown = {name: readable(value) for name, value in self._shown().items()}
        return values_html(type(self).__name__, shown)


def _fields(module: Any) -> dict[str, Any]:
    # A module may be printed, in an error, before all of its fields are set.
    names = [field.name for field in dataclasses.fields(module)]
    return {name: vars(module)[name] for name in names if name in vars(module)}


def _call(title: str, shown: dict[str, Any]) -> str:
    parts = [f"{name}={readable(value)}" for name, value in shown.items()]
    line = f"{title}({', '.join(parts)})"
    if len(line) <= MAX_COLUMNS and "\n" not in line:
        return line
    lines = [p if "\n" in p else textwrap.fill(p, WRAPPED, **WRAPPING) for p in parts]
    body = ",\n".join(lines).replace("\n", "\n  ")
    return f"{title}(\n  {body},\n)"


def readable(value: Any) -> str:
    """Return the text of a value: an array's numbers, or its size if there are many."""
    if isinstance(value, Readable | str):
        return repr(value) if isinstance(value, Readable) else value
    if isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):  # pyright: ignore
        return f"<array of {_size(value.shape)}>"
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _array(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(readable, value))})"
    if isinstance(value, dict):
        return "".join(f"\n{name}: {readable(part)}" for name, part in value.items())
    if isinstance(value, eqx.Module):
        return _call(type(value).__name__, _fields(value))
    return getattr(value, "__name__", None) or repr(value)


def _array(value: Any) -> str:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return "<random key>"
    array = np.asarray(value)
    if array.size > MAX_NUMBERS:
        return f"<array of {_size(array.shape)}>"
    if array.ndim == 0:
        return f"{array[()]:.4g}" if array.dtype.kind == "f" else str(array[()])
    return f"[{', '.join(_array(part) for part in array)}]"


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "1"
