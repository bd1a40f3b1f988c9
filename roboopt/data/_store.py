"""Saving models and results to a file, and loading them without pickle.

A file is an .npz archive: arrays, and a JSON schema of the structure around them. The
schema names classes and functions; `load` builds only those of a closed table (see
`_schema`) and those that the caller allows, checks their fields against the annotations
and `__check_init__` of their classes, and imports nothing because a file names it.

Parts of other libraries, such as a flax module, cannot be described so. The schema also
lists the leaves of the whole tree by their paths, and `load(path, like=...)` puts them
into an object in memory, as `equinox.tree_deserialise_leaves` does.
"""

import json
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.data._files import as_path, atomic_write, check_writable, read_archive
from roboopt.data._schema import (
    PARTIALS,
    build,
    class_name,
    field_names,
    function_name,
    is_record,
    known_class,
    known_functions,
    marks,
    qualified_name,
    refusal,
)
from roboopt.data._stand_in import plain_attributes, stand_in

SCHEMA = "schema"
FORMAT = 1
RESULT = "result.npz"
MAX_DESCRIPTION = 200  # characters
DATA = (np.ndarray, np.generic, jax.Array, bool, int, float, str)


@dataclass(frozen=True)
class Unsaved:
    """The place of an object that a file cannot hold, such as a user's plain object."""

    description: str
    """The `repr` of the object."""


def save(path: str | PathLike, tree: Any, *, partly: bool = False) -> None:
    """Write a module, or a tree of modules, containers, arrays and numbers, to `path`.

    Classes and functions outside roboopt's table are stored by name: `load` needs them
    in `allow`. Parts that are neither, such as bound methods and flax modules, are
    stored as their arrays: `load` needs `like`.

    Args:
        path: of the file.
        tree: what is saved.
        partly: whether to write the rest where a part is neither data nor callable; of
            the part its `repr` is written, and `load` returns that in its place.

    Raises:
        RobooptError: if a part of `tree` is neither data nor callable, without
            `partly`.

    Warns:
        UserWarning: with `partly`, about the parts that are left out.
    """
    check_writable(path)
    writer = _Writer(partly)
    schema = {
        "format": FORMAT,
        "tree": writer.encode(tree, "tree"),
        "leaves": {k: writer.encode(leaf, k) for k, leaf in _leaves(tree).items()},
    }
    if writer.left_out:
        warnings.warn(
            f"{Path(path).name} holds only the `repr` of {', '.join(writer.left_out)}: "
            "a file holds dataclasses and equinox modules, no other objects.",
            stacklevel=2,
        )
    with atomic_write(path) as file:
        arrays = {SCHEMA: np.array(json.dumps(schema)), **writer.arrays}
        np.savez(file, **arrays)  # type: ignore


def load(path: str | PathLike, allow: Sequence[Any] = (), like: Any = None) -> Any:
    """Read what `save` wrote, for example a policy that is ready to be called.

    Args:
        path: a file of `save`, or the folder of a result, whose `result.npz` is read.
        allow: classes and functions outside roboopt that the file may use, matched by
            qualified name. With `rollouts.EnvSpec` among them, the environment that a
            result names may be made, which imports its package.
        like: an object of the same structure, into which the arrays and numbers of the
            file are put; for what a file cannot hold: modules of other libraries, bound
            methods and lambdas.

    Raises:
        RobooptError: if `path` was not written by `save`, is broken, uses a class or
            function that is not allowed, holds fields that a class refuses, or does not
            fit `like`.
    """
    return _loaded(path, allow, like)[0]


def load_to_show(path: str | PathLike, allow: Sequence[Any] = ()) -> tuple[Any, str]:
    """Read a result for its tables, figures and motions.

    Returns:
        The result, and the names of the classes and functions outside roboopt that are
        not allowed: in their place are objects with their fields.
    """
    return _loaded(path, allow, None, shown=True)


def _loaded(
    path: str | PathLike, allow: Sequence[Any], like: Any, shown: bool = False
) -> tuple[Any, str]:
    path = as_path(path)
    if path.is_dir():
        path = path / RESULT
    arrays = read_archive(path)
    require(SCHEMA in arrays, "path", "be a file of `roboopt.save`", path)
    reader = _Reader(path, arrays, allow, shown)
    try:
        schema = json.loads(str(arrays[SCHEMA]))
        if not isinstance(schema, dict) or schema.get("format") != FORMAT:
            raise reader.error("has another format than this version reads")
        if like is None:
            found = reader.decode(schema["tree"])
            return found, ", ".join(dict.fromkeys(reader.stand_ins))
        leaves = {k: reader.decode(v) for k, v in dict(schema["leaves"]).items()}
        leaves = {k: leaf for k, leaf in leaves.items() if isinstance(leaf, DATA)}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        if isinstance(error, RobooptError):
            raise
        raise reader.error(f"has a broken schema: {error}") from error
    shapes = [{k: np.shape(v) for k, v in x.items()} for x in (leaves, _leaves(like))]
    if shapes[0] != shapes[1]:
        raise RobooptError(
            f"`like` must have the structure and shapes of the object in {path}."
        )
    return jax.tree_util.tree_map_with_path(
        lambda place, leaf: leaves.get(jax.tree_util.keystr(place), leaf), like
    ), ""


def _leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves that are data, by path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(k): x for k, x in flat if isinstance(x, DATA)}


class _Writer:
    """Encodes a tree as JSON and a table of arrays."""

    def __init__(self, partly: bool = False) -> None:
        self.left_out: list[str] = []
        self._partly = partly
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[int, tuple[Any, dict]] = {}

    def encode(self, node: Any, where: str) -> Any:
        """Return `node` as JSON; `where` is its place in the tree, for errors."""
        kind = type(node)
        if node is None or kind in (bool, int, str):
            return node
        if isinstance(node, float) and not isinstance(node, np.generic):
            return {"float": float.hex(node)}
        if isinstance(node, np.ndarray | np.generic | jax.Array):
            if id(node) not in self._known:
                self._known[id(node)] = node, self._array(node, where)
            return self._known[id(node)][1]
        if kind in (list, tuple):
            items = [self.encode(x, f"{where}[{i}]") for i, x in enumerate(node)]
            return {kind.__name__: items}
        if kind is dict and all(isinstance(key, str) for key in node):
            items = {k: self.encode(v, f"{where}[{k!r}]") for k, v in node.items()}
            return {"dict": items}
        if kind is dict and all(type(key) is int for key in node):
            items = {str(k): self.encode(v, f"{where}[{k}]") for k, v in node.items()}
            return {"indices": items}
        # flax and haiku set the fields of their records by themselves.
        if is_record(kind) and kind.__module__.split(".")[0] not in ("flax", "haiku"):
            before = len(self.left_out)
            fields = {
                name: self.encode(getattr(node, name), f"{where}.{name}")
                for name in field_names(kind)
                if hasattr(node, name)
            }
            # A batch of models has more axes than the annotations of its class say,
            # and an object that lacks a part may fail the checks of its class.
            unlike = refusal(node) is not None or len(self.left_out) > before
            name = class_name(kind)
            made = {"class": name, "fields": fields, "batched": unlike}
            if ":" in name:
                made["attributes"] = self.encode(plain_attributes(kind), where)
            return made
        if callable(node) and (name := function_name(node)):
            return {"function": name}
        for leaf in jax.tree.leaves(node):
            if not isinstance(leaf, DATA) and not callable(leaf):
                if self._partly:
                    return self._described(node, where)
                raise RobooptError(
                    "`tree` must consist of modules, containers with text keys, "
                    f"arrays, numbers and functions; {where} is a "
                    f"{type(leaf).__name__}."
                )
        return {"foreign": qualified_name(node)}

    def _described(self, node: Any, where: str) -> Any:
        """Return the text of an object instead of the object."""
        self.left_out.append(where.removeprefix("tree."))
        shown = reprlib.Repr()
        shown.maxother = MAX_DESCRIPTION
        return self.encode(Unsaved(shown.repr(node)), where)

    def _array(self, node: Any, where: str) -> dict[str, Any]:
        key, data = None, node
        if _is_key(node):
            key, data = str(jax.random.key_impl(node)), jax.random.key_data(node)
        array = np.asarray(data)
        if array.dtype == jnp.bfloat16:
            array = array.view(np.uint16)  # NumPy's format has no bfloat16.
        if array.dtype.kind not in "biufc":
            if self._partly:
                return self._described(node, where)
            raise RobooptError(
                f"`tree` must hold arrays of numbers; {where} is of {array.dtype}."
            )
        name = f"array{len(self.arrays)}"
        self.arrays[name] = array
        return {
            "array": name,
            "shape": list(array.shape),
            "dtype": str(data.dtype),
            "jax": isinstance(node, jax.Array),
            "key": key,
        }


class _Reader:
    """Builds a tree from JSON, a table of arrays, and what the caller allows."""

    def __init__(
        self,
        path: Path,
        arrays: dict[str, np.ndarray],
        allow: Sequence[Any],
        shown: bool = False,
    ):
        self.path, self.arrays, self._shown = path, arrays, shown
        self.stand_ins: list[str] = []
        self._made: dict[tuple, Any] = {}
        if callable(allow) or not isinstance(allow, Iterable):
            raise RobooptError(
                "`allow` must be a list of classes and functions, such as "
                f"[{getattr(allow, '__name__', 'MyPolicy')}], got {allow!r}."
            )
        for thing in allow:
            require(callable(thing), "allow", "hold classes and functions", thing)
        names = [qualified_name(thing) for thing in allow]
        # A class that a script saved as `__main__:Mine` may now lie in a module.
        short = [name.partition(":")[2] for name in names]
        self.allowed = dict(zip([*short, *names], [*allow, *allow], strict=True))

    def error(self, rule: str) -> RobooptError:
        """Return the error that says what is wrong with the file."""
        return RobooptError(
            f"`path` must be a file of `roboopt.save`: {self.path} {rule}."
        )

    def decode(self, node: Any) -> Any:
        """Return the object that `node` describes."""
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
                return [self.decode(item) for item in items]
            case {"tuple": list(items)}:
                return tuple(self.decode(item) for item in items)
            case {"dict": dict(items)}:
                return {key: self.decode(item) for key, item in items.items()}
            case {"indices": dict(items)}:
                return {int(key): self.decode(item) for key, item in items.items()}
            case {"class": str(name), "fields": dict(fields)}:
                batched = node.get("batched") is True
                return self._record(name, fields, batched, node.get("attributes"))
            case {"function": str(name)}:
                known = known_functions().get(name) or self._allowed("function", name)
                return known or self._stand_in(name)
            case {"foreign": str(name)} if self._shown:
                return self._stand_in(name)
            case {"foreign": str(name)}:
                raise RobooptError(
                    f"`like` must be given: {self.path} holds the arrays of {name}, "
                    "whose structure no file of roboopt can hold. Build an object of "
                    "the same structure, and call `load(path, like=object)`."
                )
        raise self.error(f"has a schema that holds {str(node)[:60]}")

    def _array(self, name: str, node: dict[str, Any]) -> Any:
        """Return an array, the same one wherever the schema names it."""
        form = name, str(node.get("dtype")), str(node.get("key")), bool(node.get("jax"))
        if form not in self._made:
            self._made[form] = self._new_array(name, node)
        return self._made[form]

    def _new_array(self, name: str, node: dict[str, Any]) -> Any:
        array = self.arrays.get(name)
        if array is None or name == SCHEMA:
            raise self.error(f"lacks the array {name}")
        if node.get("dtype") == "bfloat16" and array.dtype == np.uint16:
            array = array.view(jnp.bfloat16)
        told, key = (node.get("shape"), node.get("dtype")), node.get("key")
        numbers = array.dtype.kind in "biufcV"
        if not numbers or told != (list(array.shape), str(array.dtype)):
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

    def _record(self, name: str, fields: dict, batched: bool, attributes: Any) -> Any:
        kind, known = known_class(name) or self._allowed("class", name), self.stand_ins
        if kind is None:
            values = {key: self.decode(value) for key, value in fields.items()}
            return self._stand_in(name, values, self.decode(attributes))
        before = len(known)
        if not isinstance(kind, type) or not is_record(kind):
            raise self.error(f"uses {name}, which is not a class with fields")
        if unknown := sorted(set(fields) - set(field_names(kind))):
            raise self.error(f"gives {name} the fields {unknown}, which it lacks")
        values = {key: self.decode(value) for key, value in fields.items()}
        if not any(kind is thing for thing in self.allowed.values()):
            values |= marks(kind)
        if kind in PARTIALS and not callable(values.get("func")):
            raise self.error("has a partial of what is not callable")
        try:
            built = build(kind, values)
            # A stand-in may have other types than annotations say.
            reason = None if batched or len(known) > before else refusal(built)
        except Exception as error:  # A class may fail in any way on a broken file.
            built, reason = None, str(error) or type(error).__name__
        if reason is not None:
            raise self.error(f"holds a {name} that its class refuses: {reason}")
        return built

    def _allowed(self, what: str, name: str) -> Any:
        """Return the class or function outside the table that the caller allows.

        None where it is not allowed, and the file is only to be shown.
        """
        found = self.allowed.get(name) or self.allowed.get(name.partition(":")[2])
        if found is None and not self._shown:
            short = name.rpartition(":")[2].rpartition(".")[2]
            raise RobooptError(
                f"`path` uses the {what} {name}, which is not a {what} of roboopt: "
                f"allow it by `load(path, allow=[{short}])` if you trust {self.path}, "
                "or give `like=`, an object of the same structure."
            )
        return found

    def _stand_in(self, name: str, values: Any = None, attributes: Any = None) -> Any:
        self.stand_ins.append(name)
        known = attributes if isinstance(attributes, dict) else {}
        return stand_in(name, values or {}, known)


def _is_key(node: Any) -> bool:
    is_array = isinstance(node, jax.Array)
    return is_array and jnp.issubdtype(node.dtype, jax.dtypes.prng_key)
