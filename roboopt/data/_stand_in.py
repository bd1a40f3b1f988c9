"""Stand-ins for objects of a user's own classes, in results that are only shown.

A file names a class of the user's own, and holds its fields and the class attributes
that are plain data, such as a task's `formula`. The tables, figures and motions of a
result need no more; its code would have to be imported.
"""

import keyword
import types
from collections.abc import Mapping
from typing import Any

import equinox as eqx

from roboopt._errors import RobooptError

PLAIN = (str, bool, int, float, type(None))


class StandIn(eqx.Module):
    """An object with the fields of another, which cannot be called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Raise a `RobooptError`: only the class itself could."""
        raise RobooptError(
            f"`allow` must hold {type(self).__name__}, which is no class or function "
            "of roboopt, where it is called."
        )


def stand_in(
    name: str, values: Mapping[str, Any], attributes: Mapping[str, Any]
) -> StandIn:
    """Return an object with these fields, of a class with these attributes.

    Args:
        name: "module:Class", as in the file.
        values: by field.
        attributes: of the class.
    """
    short = name.rpartition(":")[2].rpartition(".")[2]
    known = {k: v for k, v in attributes.items() if _is_free(k) and k not in values}
    fields = {k: v for k, v in values.items() if _is_free(k)}
    body = {**known, "__annotations__": dict.fromkeys(fields, Any)}
    kind = types.new_class(short, (StandIn,), exec_body=lambda own: own.update(body))
    made = object.__new__(kind)
    for field, value in fields.items():
        object.__setattr__(made, field, value)
    return made


def plain_attributes(kind: type) -> dict[str, Any]:
    """Return the public class attributes of a class that are plain data."""
    found = {}
    for base in reversed(kind.__mro__):
        if base.__module__.split(".")[0] not in ("builtins", "equinox", "typing"):
            found |= {k: v for k, v in vars(base).items() if _is_free(k) and _plain(v)}
    return found


def _is_free(name: str) -> bool:
    named = name.isidentifier() and not keyword.iskeyword(name)
    return named and not name.startswith("__")


def _plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_plain, value))
    if type(value) is dict:
        kinds = {type(key) for key in value}
        return kinds in ({str}, {int}) and all(map(_plain, value.values()))
    return type(value) in PLAIN
