"""The closed table of classes and functions that a saved file may name.

The table holds the modules, dataclasses and named tuples that roboopt's packages
define, those of `roboopt_envs.tasks`, the layers of `equinox.nn`, and a list of
functions: activations, elementwise functions and losses. A name outside the table is
never looked up anywhere, so a file cannot make `load` import or call anything.
"""

import dataclasses
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import jaxtyped

from roboopt._core import Frozen

NAMESPACES = (
    *("data", "dynamics", "networks", "policies", "rollouts", "losses", "objectives"),
    *("gradients", "optimize", "diagnose", "report", "sysid", "imitation", "rl"),
    "tuning",
)
"""roboopt's packages, by name: the only ones that `load` looks into."""

FUNCTIONS: tuple[tuple[str, str, str], ...] = (
    (
        "jax.nn",
        "jax.nn",
        "celu elu gelu glu hard_sigmoid hard_silu hard_tanh identity leaky_relu "
        "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_sign softmax "
        "softplus sparse_plus sparse_sigmoid squareplus standardize",
    ),
    (
        "jax.numpy",
        "jax.numpy",
        "abs arctan arctan2 clip cos cosh exp log log1p max maximum mean min minimum "
        "negative sign sin sinh sqrt square sum tan tanh",
    ),
    (
        "optax",
        "optax.losses",
        "cosine_distance hinge_loss huber_loss l2_loss log_cosh "
        "sigmoid_binary_cross_entropy softmax_cross_entropy "
        "softmax_cross_entropy_with_integer_labels squared_error",
    ),
)


def known_class(name: str) -> type | None:
    """Return the class of the table called `name`, such as "policies.MLPPolicy"."""
    package, _, short = name.rpartition(".")
    if name == "Frozen":
        return Frozen
    for module in _modules(package):
        found = vars(module).get(short)
        if isinstance(found, type) and is_record(found) and class_name(found) == name:
            return found
    return None


def class_name(kind: type) -> str:
    """Return the name by which the table may know a class."""
    parts = kind.__module__.split(".")
    if kind is Frozen:
        return "Frozen"
    if parts[0] == "roboopt" and len(parts) > 1:
        return f"{parts[1]}.{kind.__qualname__}"
    if parts[:2] == ["equinox", "nn"]:
        return f"equinox.nn.{kind.__qualname__}"
    tasks = sys.modules.get("roboopt_envs.tasks")
    if parts[0] == "roboopt_envs" and getattr(tasks, kind.__qualname__, None) is kind:
        return f"tasks.{kind.__qualname__}"
    return qualified_name(kind)


def is_record(kind: type) -> bool:
    """Return whether a class holds named fields: a dataclass, module or named tuple."""
    named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return dataclasses.is_dataclass(kind) or named_tuple


def qualified_name(thing: Any) -> str:
    """Return "module:name" of a class or function, for what is outside the table."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    return f"{module}:{name}"


def field_names(kind: Any) -> list[str]:
    """Return the names of the fields of a dataclass, module or named tuple."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(kind._fields)


def build(kind: Any, values: dict[str, Any]) -> Any:
    """Return an instance of `kind` with these fields; `refusal` checks a module."""
    if not issubclass(kind, eqx.Module):
        return kind(**values)
    # The constructor of a module may take other arguments than its fields.
    module = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(module, name, value)
    return module


def refusal(node: Any) -> str | None:
    """Return why the class of `node` refuses its fields, or None.

    Fields are compared with their annotations; names of axes bind within one object.
    """
    kind = type(node)
    if not issubclass(kind, eqx.Module):
        return None
    try:
        with jaxtyped("context"):
            for field in dataclasses.fields(kind):
                if not hasattr(node, field.name):
                    return f"`{field.name}` is missing"
                value = getattr(node, field.name)
                if not _fits(value, field.type):
                    return f"`{field.name}` must be {field.type}, got {value!r:.80}"
        for base in reversed(kind.__mro__):
            if "__check_init__" in vars(base):
                vars(base)["__check_init__"](node)
    except Exception as error:  # A check may fail in any way on a broken file.
        return str(error) or type(error).__name__
    return None


def _fits(value: Any, annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(annotation))
    if annotation is None:
        return value is None
    if annotation is float:
        scalar = isinstance(value, jax.Array | np.ndarray) and value.ndim == 0
        return scalar or isinstance(value, float | int | np.number)
    kind = annotation if origin is None else origin
    return isinstance(value, kind) if isinstance(kind, type) else True


@functools.cache
def known_functions() -> dict[str, Callable]:
    """Return the functions of the table by name."""
    table = {}
    for prefix, path, names in FUNCTIONS:
        module = importlib.import_module(path)
        for name in names.split():
            if hasattr(module, name):
                table[f"{prefix}.{name}"] = getattr(module, name)
    # The default of `final_activation` is private in equinox.
    signature = inspect.signature(eqx.nn.MLP.__init__)
    table["equinox.nn.identity"] = signature.parameters["final_activation"].default
    return table


def _modules(package: str) -> list[ModuleType]:
    """Return the loaded modules that may hold the classes of `package`."""
    if package == "equinox.nn":
        return [eqx.nn]
    if package == "tasks":
        name = "roboopt_envs.tasks"
    elif package in NAMESPACES:
        name = f"roboopt.{package}"
    else:
        return []
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError:
        return []
    # Private classes are parts of public ones, such as the units of a policy.
    parts = [m for key, m in list(sys.modules.items()) if key.startswith(f"{name}.")]
    return [found, *parts]
