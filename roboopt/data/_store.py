"""Saving what was learned, and getting it back in one line, without pickle.

A pytree becomes an .npz file: its arrays as they are, and a JSON text of the structure
around them. Modules and functions are named there by where they are imported from, so
a file holds no code; loading imports only subclasses of `equinox.Module` and the
functions that were saved by name.
"""

import dataclasses
import importlib
import json
from os import PathLike
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import whole_file

STRUCTURE = "structure"


def save(path: str | PathLike, tree: Any) -> None:
    """Write a module, or a tree of modules, containers, arrays and numbers, to `path`.

    Raises:
        RobooptError: if a part of it cannot be found again by name, such as a lambda.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_encode(tree, arrays, "tree"))
    with whole_file(path) as file:
        np.savez(file, **{STRUCTURE: np.array(structure)}, **arrays)  # type: ignore


def load(path: str | PathLike) -> Any:
    """Read what `save` wrote: a controller comes back ready to be called.

    Raises:
        RobooptError: if `path` was not written by `save`, or names a class or function
            that is not there any more.
    """
    with np.load(path, allow_pickle=False) as file:
        if STRUCTURE not in file.files:
            raise RobooptError(f"`path` must be a file of `roboopt.save`, got {path}.")
        return _decode(json.loads(str(file[STRUCTURE])), file)


def _encode(node: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    if node is None or isinstance(node, bool | int | str):
        return node
    if isinstance(node, float):
        return {"float": float.hex(node)}
    if isinstance(node, np.ndarray | np.generic | jax.Array):
        name = f"array{len(arrays)}"
        arrays[name] = np.asarray(node)
        return {"array": name, "jax": isinstance(node, jax.Array)}
    if isinstance(node, eqx.Module) or _is_dataclass(node):
        fields = [f.name for f in dataclasses.fields(node) if hasattr(node, f.name)]
        return {
            "module": _name(type(node), where),
            "fields": {
                name: _encode(getattr(node, name), arrays, f"{where}.{name}")
                for name in fields
            },
        }
    if isinstance(node, list | tuple) and type(node) in (list, tuple):
        items = [_encode(x, arrays, f"{where}[{i}]") for i, x in enumerate(node)]
        return {type(node).__name__: items}
    if isinstance(node, dict) and all(isinstance(key, str) for key in node):
        return {
            "dict": {k: _encode(v, arrays, f"{where}[{k!r}]") for k, v in node.items()}
        }
    if callable(node):
        return {"function": _name(node, where)}
    raise RobooptError(
        f"`tree` must consist of modules, containers with text keys, arrays, numbers "
        f"and importable functions; {where} is a {type(node).__name__}."
    )


def _decode(node: Any, arrays: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if "float" in node:
        return float.fromhex(node["float"])
    if "array" in node:
        array = arrays[node["array"]]
        return jnp.asarray(array) if node["jax"] else array
    if "module" in node:
        kind = _find(node["module"])
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            raise RobooptError(f"`path` must name dataclasses only, got {kind!r}.")
        module = object.__new__(kind)
        for name, value in node["fields"].items():
            # Modules are frozen, and their checks passed when they were made.
            object.__setattr__(module, name, _decode(value, arrays))
        return module
    if "function" in node:
        return _find(node["function"])
    if "dict" in node:
        return {key: _decode(value, arrays) for key, value in node["dict"].items()}
    (kind, items), *_ = node.items()
    decoded = [_decode(x, arrays) for x in items]
    return tuple(decoded) if kind == "tuple" else decoded


def _is_dataclass(node: Any) -> bool:
    return dataclasses.is_dataclass(node) and not isinstance(node, type)


def _name(thing: Any, where: str) -> str:
    name = f"{thing.__module__}:{getattr(thing, '__qualname__', '?')}"
    try:
        found = _find(name)
    except ValueError:
        found = None
    if found is not thing:
        raise RobooptError(
            f"`tree` must consist of what can be imported by name; {where} is {name}."
        )
    return name


def _find(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise RobooptError(f"`path` names {name}, which cannot be imported.") from error
    return found
