"""Arguments of an environment's constructor, checked against its signature.

`gymnasium.make` hands keywords on as it gets them, and Python's own `TypeError` for a
wrong one names neither the environment nor the keywords that there are.
"""

import functools
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, ParamSpec, Union, get_args, get_origin, get_type_hints

from roboopt._errors import RobooptError

Arguments = ParamSpec("Arguments")


def checked_arguments(
    constructor: Callable[Arguments, None],
) -> Callable[Arguments, None]:
    """Let a constructor raise a `RobooptError` for a wrong keyword or type."""
    signature = inspect.signature(constructor)
    hints = get_type_hints(constructor)

    @functools.wraps(constructor)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        name, known = type(args[0]).__name__, list(signature.parameters)[1:]
        for keyword in kwargs:
            if keyword not in known:
                close = get_close_matches(keyword, known, n=1)
                hint = f"; did you mean `{close[0]}`?" if close else "."
                raise RobooptError(
                    f"`{keyword}` must be left out for {name}, which takes "
                    f"{', '.join(known)}{hint}"
                )
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            takes = f"it takes {', '.join(known)}"
            raise RobooptError(f"{name}: {error}; {takes}.") from None
        for argument, value in given.items():
            kinds = _kinds(hints.get(argument, Any))
            if not any(_is_of(value, kind) for kind in kinds):
                words = " or ".join(dict.fromkeys(map(_shown, kinds)))
                raise RobooptError(f"`{argument}` must be {words}, got {value!r}.")
        constructor(*args, **kwargs)

    return checked


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the types, one of which an argument must have."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(get_origin(option) or option for option in options)


def _is_of(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind in (float, int):
        number = isinstance(value, Real if kind is float else Integral)
        scalar = number or getattr(value, "shape", None) == ()
        return scalar and not isinstance(value, bool)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, PathLike if kind is Path else kind)


def _shown(kind: Any) -> str:
    words = {float: "a number", int: "a whole number", bool: "True or False"}
    words |= {str: "text", type(None): "None"}
    name = "a path" if kind is Path else f"of type {kind.__name__}"
    return words.get(kind, name)
