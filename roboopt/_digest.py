"""Short digests of programs and values, the same in every process.

Two functions of JAX are the same if their programs are: the digest of a jaxpr covers
its equations, those of its own rules of differentiation, and the bytes of the constants
that the function has closed over.
"""

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

LENGTH = 16  # characters
SHOWN = 40  # characters of an entry that a message repeats
HASH = " #"  # between the readable part of an entry and its digest
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
UNNAMED = {"name", "debug_info"}  # parameters of equations that change no result
DERIVATIVES = {"custom_jvp_call": "jvp", "custom_vjp_call": "vjp"}
HELD = "_prim"  # since JAX 0.12, of such as `jax.lax.custom_root`
PLAIN = bool | int | float | complex | str | bytes | None
ANNEALED = "annealed_rate"  # a rate over the steps, of which there may be more later


def digest(*values: Any) -> str:
    """Return the digest of jaxprs, arrays, containers, functions and modules.

    A function counts by its code, constants and closure; any other object by its class,
    and by its public attributes that are numbers, text, arrays or containers of these.
    """
    return _Digest().of(values).hex()[:LENGTH]


def differing(here: dict[str, str], there: dict[str, str]) -> str:
    """Return the entries of `here` that are others `there`, as words of a message.

    An entry is a text, `HASH` and a digest, of which either may be missing.
    """
    other = [name for name in here if here[name] != there.get(name)]
    return ", ".join(_named(name, here[name], there.get(name, "")) for name in other)


def _named(name: str, here: str, there: str) -> str:
    """Return the name of an entry, with both of its values where they are short."""
    here, there = (text.partition(HASH)[0] for text in (here, there))
    if here == there or not max(len(here), len(there)) <= SHOWN:
        return name
    return f"{name} ({there or 'none'}, here {here or 'none'})"


class _Digest:
    """The digests of the jaxprs and objects that have been met."""

    def __init__(self):
        self._known: dict[int, tuple[Any, bytes]] = {}
        self._differentiating = False

    def of(self, value: Any, calls: bool = True) -> bytes:
        """Return the digest; with `calls` functions count by what they do."""
        if type(value) in (str, int):
            return _plain(value)
        found = hashlib.sha256()
        for part in self._parts(value, calls):
            found.update(part)
        return found.digest()

    def _parts(self, value: Any, calls: bool) -> list[Any]:
        if isinstance(value, tuple | list):
            return [b"(", *[self.of(item, calls) for item in value]]
        if isinstance(value, jax.Array) and jnp.issubdtype(
            value.dtype, jax.dtypes.prng_key
        ):
            value = jax.random.key_data(value)
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            array = np.asarray(value, order="C")
            form = f"{array.dtype}{array.shape}".encode()
            plain = array.dtype.hasobject
            return [form, repr(array).encode() if plain else _bytes(array)]
        if isinstance(value, Mapping):
            items = sorted(value.items(), key=lambda item: str(item[0]))
            return [b"{", *(self.of(item, calls) for item in items)]
        if isinstance(value, set | frozenset):
            return [b"set", *sorted(self.of(item, calls) for item in value)]
        if id(value) not in self._known:
            self._known[id(value)] = value, b"itself"
            self._known[id(value)] = value, self._object(value, calls)
        return [self._known[id(value)][1]]

    def _object(self, value: Any, calls: bool) -> bytes:
        if isinstance(value, ClosedJaxpr | Jaxpr):  # one class since JAX 0.11
            program = getattr(value, "jaxpr", value)
            return self.of([self._equations(program), getattr(value, "consts", ())])
        if "jaxpr" in type(value).__name__.lower():
            raise TypeError(f"{type(value)} is no program that can be compared")
        if isinstance(value, types.CodeType):
            return self.of([value.co_code, value.co_consts, value.co_names])
        kind = type(value)
        if callable(value) and not dataclasses.is_dataclass(value):
            return self.of(self._function(value) if calls else _name(value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [field.name for field in dataclasses.fields(value)]
            # A field may be computed later.
            own = {name: getattr(value, name, None) for name in fields}
            return self.of([_name(kind), own], calls)
        if kind.__repr__ is object.__repr__:
            return self.of(_named_settings(value))
        return ADDRESS.sub("", repr(value)).encode()

    def _function(self, function: Any) -> list[Any]:
        if isinstance(function, functools.partial):
            return [function.func, function.args, function.keywords]
        function = getattr(function, "__wrapped__", function)
        if isinstance(function, types.MethodType):
            return [function.__func__, function.__self__]
        if not isinstance(function, types.FunctionType):
            return _named_settings(function)
        closed = [cell.cell_contents for cell in function.__closure__ or ()]
        return [function.__code__, function.__defaults__, closed]

    def _equations(self, jaxpr: Any) -> list[Any]:
        numbers: dict[Any, int] = {}

        def atom(variable: Any) -> Any:
            if isinstance(variable, Literal):
                return _form(variable.aval), variable.val
            return numbers.setdefault(variable, len(numbers))

        inputs = [*getattr(jaxpr, "constvars", ()), *jaxpr.invars]
        found: list[Any] = [(atom(v), _form(v.aval)) for v in inputs]
        for equation in jaxpr.eqns:
            name, params = equation.primitive.name, dict(equation.params)
            if params.get("name") == ANNEALED:
                params.pop("jaxpr", None)
            calls = "callback" in name
            if HELD in params:  # a primitive with functions and programs of its own
                params, calls = params | vars(params.pop(HELD)), True
            named = {
                key: self.of(value, calls)
                for key, value in params.items()
                if key not in UNNAMED
            }
            # A rule often calls the function that it belongs to.
            if name in DERIVATIVES and not self._differentiating:
                self._differentiating = True
                named["derivative"] = self.of(_derivative(jaxpr, equation))
                self._differentiating = False
            found.append((name, [atom(v) for v in equation.invars], named))
            found.append([(atom(v), _form(v.aval)) for v in equation.outvars])
        return [*found, [atom(v) for v in jaxpr.outvars]]


_form = functools.lru_cache(2**12)(str)  # of the abstract values, which repeat


def _derivative(jaxpr: Any, equation: Any) -> Any:
    """Return the program that differentiates an equation with a rule of its own."""
    variables = [v for v in equation.invars if not isinstance(v, Literal)]
    inputs = list(dict.fromkeys(variables))
    alone = jaxpr.replace(
        constvars=[], invars=inputs, outvars=list(equation.outvars), eqns=[equation]
    )
    function = jaxpr_as_fun(ClosedJaxpr(alone, []))
    forms = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in inputs]
    # A rule differentiates by the arguments alone, which come after the constants.
    closed = equation.invars[: equation.params.get("num_consts", 0)]
    moved = [
        k
        for k, v in enumerate(inputs)
        if v not in closed and jnp.issubdtype(v.aval.dtype, jnp.inexact)
    ]

    def derivative(*values: Any) -> Any:
        def outputs(*slopes: Any) -> Any:
            given = list(values)
            for k, x in zip(moved, slopes, strict=True):
                given[k] = x
            made = function(*given)
            return [y for y in made if jnp.issubdtype(y.dtype, jnp.inexact)]

        at = [values[k] for k in moved]
        if DERIVATIVES[equation.primitive.name] == "jvp":
            return jax.jvp(outputs, at, at)
        made, pull_back = jax.vjp(outputs, *at)
        return pull_back(made)

    try:
        return jax.make_jaxpr(derivative)(*forms)
    except NameError:  # An axis of a map around the equation.
        return None


@functools.lru_cache(2**14)
def _plain(value: str | int) -> bytes:
    """Return the digest of text or a number, of which programs repeat few."""
    return hashlib.sha256(ADDRESS.sub("", repr(value)).encode()).digest()


def _named_settings(value: Any) -> list[Any]:
    """Return the class of an object, and those of its attributes that are settings."""
    own = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    public = {name: x for name, x in own.items() if not name.startswith("_")}
    return [_name(value), {name: x for name, x in public.items() if _is_plain(x)}]


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN | np.ndarray | np.generic | jax.Array)


def _bytes(array: np.ndarray) -> Any:
    return array.reshape(-1).view(np.uint8) if array.size else b""


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
