"""The closed table of classes and functions that a saved file may name.

The table holds the modules, dataclasses and named tuples that roboopt's packages
define, those of `roboopt_envs.tasks`, the layers of `equinox.nn`, partial functions,
and a list of functions: activations, elementwise functions and losses. A name outside
the table is never looked up anywhere, so a file cannot make `load` import or call
anything.
"""

import dataclasses
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import jaxtyped

from roboopt._core import Frozen
from roboopt.urdf.drive import Drive
from roboopt.urdf.friction import FrictionLaw

SPACES = {
    **{
        name: f"roboopt.{name}"
        for name in (
            *("data", "dynamics", "networks", "policies", "rollouts", "losses"),
            *("objectives", "gradients", "optimize", "view", "diagnose", "report"),
            *("sysid", "imitation", "rl", "tuning"),
        )
    },
    "tasks": "roboopt_envs.tasks",
    "equinox.nn": "equinox.nn",
}
"""The only modules that `load` looks into, by the beginning of a class's name."""
FUNCTIONS = {
    ("jax.nn", "jax.nn"): (
        "celu elu gelu glu hard_sigmoid hard_silu hard_tanh identity leaky_relu "
        "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_sign softmax "
        "softplus sparse_plus sparse_sigmoid squareplus standardize"
    ),
    ("jax.numpy", "jax.numpy"): (
        "abs arctan arctan2 clip cos cosh exp log log1p max maximum mean min minimum "
        "negative sign sin sinh sqrt square sum tan tanh"
    ),
    ("optax", "optax.losses"): (
        "cosine_distance hinge_loss huber_loss l2_loss log_cosh "
        "sigmoid_binary_cross_entropy softmax_cross_entropy "
        "softmax_cross_entropy_with_integer_labels squared_error"
    ),
}
"""The functions by the beginning of their names and the module that holds them."""
OTHERS: dict[str, type] = {
    "Frozen": Frozen,
    "dynamics.Drive": Drive,
    "dynamics.FrictionLaw": FrictionLaw,
    "functools.partial": functools.partial,
    "jax.tree_util.Partial": jax.tree_util.Partial,
}
PARTIALS = (functools.partial, jax.tree_util.Partial)


def known_class(name: str) -> type | None:
    """Return the class of the table called `name`, such as "policies.MLPPolicy"."""
    space, _, short = name.rpartition(".")
    if name in OTHERS or space not in SPACES:
        return OTHERS.get(name)
    try:
        modules = [importlib.import_module(SPACES[space])]
    except ModuleNotFoundError:
        return None
    if space != "equinox.nn":
        # Private classes are parts of public ones, such as the units of a policy.
        inside = f"{SPACES[space]}."
        modules += [m for key, m in list(sys.modules.items()) if key.startswith(inside)]
    for module in modules:
        found = vars(module).get(short)
        if isinstance(found, type) and is_record(found) and class_name(found) == name:
            return found
    return None


def class_name(kind: type) -> str:
    """Return the name by which the table may know a class."""
    for name, other in OTHERS.items():
        if kind is other:
            return name
    module, short = kind.__module__, kind.__qualname__
    if module.startswith("roboopt.") or module.startswith("equinox.nn."):
        first, second, *_ = module.split(".")
        return f"{second if first == 'roboopt' else 'equinox.nn'}.{short}"
    if getattr(sys.modules.get(SPACES["tasks"]), short, None) is kind:
        return f"tasks.{short}"
    return qualified_name(kind)


def qualified_name(thing: Any) -> str:
    """Return "module:name" of a class or function, for what is outside the table."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    return f"{module}:{name}"


def is_record(kind: type) -> bool:
    """Return whether a class holds named fields: a dataclass, module or named tuple."""
    named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return dataclasses.is_dataclass(kind) or named_tuple or kind in PARTIALS


def field_names(kind: Any) -> list[str]:
    """Return the names of the fields of a record that a file holds.

    Fields with `metadata={"saved": False}` are left out, and have a default.
    """
    if kind in PARTIALS:
        return ["func", "args", "keywords"]
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        return [field.name for field in fields if field.metadata.get("saved", True)]
    return list(kind._fields)


def marks(kind: Any) -> dict[str, Any]:
    """Return the fields that are not what a file says: `metadata={"loaded": value}`."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return {f.name: f.metadata["loaded"] for f in fields if "loaded" in f.metadata}


def build(kind: Any, values: dict[str, Any]) -> Any:
    """Return an instance of `kind` with these fields; `refusal` checks a module."""
    if kind in PARTIALS:
        return kind(values["func"], *values["args"], **values["keywords"])
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
    for (prefix, path), names in FUNCTIONS.items():
        module = importlib.import_module(path)
        for name in names.split():
            if hasattr(module, name):
                table[f"{prefix}.{name}"] = getattr(module, name)
    # The default of `final_activation` is private in equinox.
    signature = inspect.signature(eqx.nn.MLP.__init__)
    table["equinox.nn.identity"] = signature.parameters["final_activation"].default
    return table


def function_name(function: Any) -> str | None:
    """Return the name of a function; None for methods and other callables."""
    for name, known in known_functions().items():
        if function is known:
            return name
    bound = getattr(function, "__self__", None) is not None
    plain = isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__")
    return qualified_name(function) if plain and not bound else None
