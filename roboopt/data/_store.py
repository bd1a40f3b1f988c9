"""Saving models and results to a file, and loading them without pickle.

A file is an .npz archive: arrays, and a JSON schema of the structure around them. The
schema names classes and functions; `load` builds only those of a closed table (see
`_schema`) and those that the caller allows, checks their fields against the annotations
and `__check_init__` of their classes, and imports nothing because a file names it.

Parts of other libraries, such as a flax module, are stored as their arrays alone;
`load(path, like=...)` takes the structure around the arrays from an object in memory.
"""

import functools
import json
import types
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write, read_archive
from roboopt.data._schema import (
    build,
    class_name,
    field_names,
    is_record,
    known_class,
    known_functions,
    qualified_name,
    refusal,
)

SCHEMA = "schema"
FORMAT = 1
RESULT = "result.npz"
PARTIALS = (jax.tree_util.Partial, functools.partial)


def save(path: str | PathLike, tree: Any) -> None:
    """Write a module, or a tree of modules, containers, arrays and numbers, to `path`.

    Classes and functions outside roboopt's table are stored by name: `load` needs them
    in `allow`. Parts that are neither, such as bound methods and flax modules, are
    stored as their arrays: `load` needs `like`.

    Raises:
        RobooptError: if a part of `tree` is neither data nor callable.
    """
    writer = _Writer()
    schema = {"format": FORMAT, "tree": writer.encode(tree, "tree")}
    with atomic_write(path) as file:
        arrays = {SCHEMA: np.array(json.dumps(schema)), **writer.arrays}
        np.savez(file, **arrays)  # type: ignore


def load(path: str | PathLike, allow: Sequence[Any] = (), like: Any = None) -> Any:
    """Read what `save` wrote, for example a policy that is ready to be called.

    Args:
        path: a file of `save`, or the folder of a result, whose `result.npz` is read.
        allow: classes and functions outside roboopt that the file may use, matched by
            qualified name.
        like: an object of the same structure, which supplies what a file cannot hold:
            modules of other libraries, bound methods and lambdas.

    Raises:
        RobooptError: if `path` was not written by `save`, is broken, uses a class or
            function that is not allowed, holds fields that a class refuses, or does not
            fit `like`.
    """
    path = Path(path)
    if path.is_dir():
        path = path / RESULT
    arrays = read_archive(path)
    if SCHEMA not in arrays:
        raise RobooptError(f"`path` must be a file of `roboopt.save`, got {path}.")
    reader = _Reader(path, arrays, allow)
    try:
        schema = json.loads(str(arrays[SCHEMA]))
        if not isinstance(schema, dict) or schema.get("format") != FORMAT:
            raise reader.error("has another format than this version reads")
        loaded = reader.decode(schema.get("tree"), like)
    except (json.JSONDecodeError, RecursionError) as error:
        raise reader.error(f"has a broken schema: {error}") from error
    if like is not None and not _same_structure(loaded, like):
        raise RobooptError(
            f"`like` must have the structure and shapes of the object in {path}."
        )
    return loaded


class _Writer:
    """Encodes a tree as JSON and a table of arrays."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def encode(self, node: Any, where: str) -> Any:
        """Return `node` as JSON; `where` is its place in the tree, for errors."""
        kind = type(node)
        if node is None or kind in (bool, int, str):
            return node
        if isinstance(node, float) and not isinstance(node, np.generic):
            return {"float": float.hex(node)}
        if isinstance(node, np.ndarray | np.generic | jax.Array):
            return self._array(node, where)
        if kind in (list, tuple):
            items = [self.encode(x, f"{where}[{i}]") for i, x in enumerate(node)]
            return {kind.__name__: items}
        if kind is dict and all(isinstance(key, str) for key in node):
            items = {k: self.encode(v, f"{where}[{k!r}]") for k, v in node.items()}
            return {"dict": items}
        if kind in PARTIALS:
            return self._partial(node, where)
        if is_record(kind) and not _is_foreign(kind):
            return self._record(node, where)
        if callable(node) and (name := _function_name(node)):
            return {"function": name}
        return self._foreign(node, where)

    def _array(self, node: Any, where: str) -> Any:
        key = None
        if isinstance(node, jax.Array) and jnp.issubdtype(
            node.dtype, jax.dtypes.prng_key
        ):
            key, node = str(jax.random.key_impl(node)), jax.random.key_data(node)
        array = np.asarray(node)
        if array.dtype == jnp.bfloat16:
            array = array.view(np.uint16)  # NumPy's format has no bfloat16.
        if array.dtype.kind not in "biufc":
            raise RobooptError(
                f"`tree` must hold arrays of numbers; {where} is of {array.dtype}."
            )
        name = f"array{len(self.arrays)}"
        self.arrays[name] = array
        return {
            "array": name,
            "shape": list(array.shape),
            "dtype": str(node.dtype),
            "jax": isinstance(node, jax.Array),
            "key": key,
        }

    def _partial(self, node: Any, where: str) -> Any:
        return {
            "partial": self.encode(node.func, f"{where}.func"),
            "args": [self.encode(x, f"{where}.args") for x in node.args],
            "keywords": {
                k: self.encode(v, f"{where}.{k}") for k, v in node.keywords.items()
            },
            "jax": type(node) is jax.tree_util.Partial,
        }

    def _record(self, node: Any, where: str) -> Any:
        fields = {
            name: self.encode(getattr(node, name), f"{where}.{name}")
            for name in field_names(type(node))
            if hasattr(node, name)
        }
        # A batch of models has more axes than the annotations of its class say.
        batched = refusal(node) is not None
        return {"class": class_name(type(node)), "fields": fields, "batched": batched}

    def _foreign(self, node: Any, where: str) -> Any:
        flat, _ = jax.tree_util.tree_flatten_with_path(node)
        leaves = {}
        for path, leaf in flat:
            if isinstance(
                leaf, np.ndarray | np.generic | jax.Array | bool | int | float
            ):
                leaves[jax.tree_util.keystr(path)] = self.encode(leaf, where)
            elif not callable(leaf):
                raise RobooptError(
                    "`tree` must consist of modules, containers with text keys, "
                    f"arrays, numbers and functions; {where} is a "
                    f"{type(leaf).__name__}."
                )
        return {"foreign": qualified_name(node), "leaves": leaves}


class _Reader:
    """Builds a tree from JSON, a table of arrays, and what the caller allows."""

    def __init__(self, path: Path, arrays: dict[str, np.ndarray], allow: Sequence[Any]):
        self.path, self.arrays = path, arrays
        self.allowed: dict[str, Any] = {}
        for thing in allow:
            if not callable(thing):
                raise RobooptError(
                    f"`allow` must hold classes and functions, got {thing!r}."
                )
            # A class that a script saved as `__main__:Mine` may now lie in a module.
            self.allowed[qualified_name(thing).partition(":")[2]] = thing
        for thing in allow:
            self.allowed[qualified_name(thing)] = thing

    def error(self, rule: str) -> RobooptError:
        """Return the error that says what is wrong with the file."""
        return RobooptError(
            f"`path` must be a file of `roboopt.save`: {self.path} {rule}."
        )

    def unknown(self, what: str, name: str) -> RobooptError:
        """Return the error for a class or function that the table lacks."""
        short = name.rpartition(":")[2].rpartition(".")[2]
        return RobooptError(
            f"`path` uses the {what} {name}, which is not a {what} of roboopt: allow "
            f"it by `load(path, allow=[{short}])` if you trust {self.path}, or give "
            "`like=`, an object of the same structure."
        )

    def decode(self, node: Any, like: Any) -> Any:
        """Return the object that `node` describes; `like` fills what it cannot hold."""
        match node:
            case None | bool() | int() | str():
                return node
            case {"float": str(text)}:
                try:
                    return float.fromhex(text)
                except (ValueError, OverflowError) as error:
                    raise self.error(f"holds a float {text!r}") from error
            case {"array": str(name)}:
                return self._array(name, node)
            case {"list": list(items)}:
                return [self.decode(x, _item(like, i)) for i, x in enumerate(items)]
            case {"tuple": list(items)}:
                return tuple(self.decode({"list": items}, like))
            case {"dict": dict(items)}:
                return {k: self.decode(v, _item(like, k)) for k, v in items.items()}
            case {"class": str(name), "fields": dict(fields)}:
                return self._record(name, fields, node.get("batched") is True, like)
            case {"function": str(name)}:
                return self._function(name, like)
            case {"partial": func, "args": list(args), "keywords": dict(keywords)}:
                return self._partial(func, args, keywords, bool(node.get("jax")), like)
            case {"foreign": str(name), "leaves": dict(leaves)}:
                return self._foreign(name, leaves, like)
        raise self.error(f"has a schema that holds {str(node)[:60]}")

    def _array(self, name: str, node: dict[str, Any]) -> Any:
        array = self.arrays.get(name)
        if array is None or name == SCHEMA:
            raise self.error(f"lacks the array {name}")
        if node.get("dtype") == "bfloat16" and array.dtype == np.uint16:
            array = array.view(jnp.bfloat16)
        key = node.get("key")
        told = node.get("shape"), node.get("dtype")
        if (
            told != (list(array.shape), str(array.dtype))
            or array.dtype.kind not in "biufcV"
        ):
            raise self.error(
                f"holds {name} of shape {array.shape} and type {array.dtype}, where "
                f"its schema says {told[0]} and {told[1]}"
            )
        if key is not None:
            try:
                return jax.random.wrap_key_data(jnp.asarray(array), impl=key)
            except (ValueError, TypeError) as error:
                raise self.error(f"holds a random key of {key!r}: {error}") from error
        return jnp.asarray(array) if node.get("jax") else array

    def _record(self, name: str, fields: dict, batched: bool, like: Any) -> Any:
        kind = known_class(name) or self._allowed(name) or None
        if kind is None and class_name(type(like)) == name:
            kind = type(like)
        if not isinstance(kind, type) or not is_record(kind):
            raise self.unknown("class", name)
        names = field_names(kind)
        if unknown := sorted(set(fields) - set(names)):
            raise self.error(f"gives {name} the fields {unknown}, which it lacks")
        values = {k: self.decode(v, getattr(like, k, None)) for k, v in fields.items()}
        refused = f"holds a {name} that its class refuses"
        try:
            built = build(kind, values)
        except Exception as error:  # A class may fail in any way on a broken file.
            raise self.error(f"{refused}: {error}") from error
        if not batched and (reason := refusal(built)) is not None:
            raise self.error(f"{refused}: {reason}")
        return built

    def _function(self, name: str, like: Any) -> Any:
        found = known_functions().get(name) or self._allowed(name)
        if found is None and callable(like) and _function_name(like) == name:
            found = like
        if found is None:
            raise self.unknown("function", name)
        return found

    def _partial(
        self, func: Any, args: list, keywords: dict, as_tree: bool, like: Any
    ) -> Any:
        function = self.decode(func, getattr(like, "func", None))
        if not callable(function):
            raise self.error("has a partial of what is not callable")
        given = getattr(like, "args", ())
        filled = [self.decode(x, _item(given, i)) for i, x in enumerate(args)]
        given = getattr(like, "keywords", {})
        named = {k: self.decode(v, _item(given, k)) for k, v in keywords.items()}
        return PARTIALS[0 if as_tree else 1](function, *filled, **named)

    def _foreign(self, name: str, leaves: dict, like: Any) -> Any:
        if like is None:
            raise RobooptError(
                f"`like` must be given: {self.path} holds the arrays of {name}, whose "
                "structure no file of roboopt can hold. Build an object of the same "
                "structure, and call `load(path, like=object)`."
            )
        if qualified_name(like) != name:
            raise RobooptError(
                f"`like` must hold a {name} there, got a {qualified_name(like)}."
            )
        flat, structure = jax.tree_util.tree_flatten_with_path(like)
        filled = []
        for path, leaf in flat:
            place = jax.tree_util.keystr(path)
            if place in leaves:
                leaf = self.decode(leaves[place], None)
            elif not callable(leaf):
                raise RobooptError(
                    f"`like` must have the structure of the saved {name}, but the file "
                    f"lacks {place}."
                )
            filled.append(leaf)
        return jax.tree.unflatten(structure, filled)

    def _allowed(self, name: str) -> Any:
        return self.allowed.get(name) or self.allowed.get(name.partition(":")[2])


def _is_foreign(kind: type) -> bool:
    """Return whether a record belongs to a library that sets its fields by itself."""
    return kind.__module__.partition(".")[0] in ("flax", "haiku")


def _function_name(function: Any) -> str | None:
    """Return the name of a function; None for methods and other callables."""
    for name, known in known_functions().items():
        if function is known:
            return name
    bound = getattr(function, "__self__", None) is not None
    plain = isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__")
    return qualified_name(function) if plain and not bound else None


def _item(container: Any, key: Any) -> Any:
    try:
        return container[key]
    except (TypeError, LookupError):
        return None


def _same_structure(one: Any, other: Any) -> bool:
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        np.shape(a) == np.shape(b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        if eqx.is_array_like(a) or eqx.is_array_like(b)
    )
