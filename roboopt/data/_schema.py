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
from collections.abc import Callable
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from roboopt._core import Frozen

NAMESPACES = (
    "data",
    "dynamics",
    "networks",
    "policies",
    "rollouts",
    "losses",
    "networks",
    "objectives",
    "gradients",
    "optimize",
    "diagnose",
    "report",
    "sysid",
    "imitation",
    "rl",
    "tuning",
    "planning",
)
"""roboopt's packages, by name: the only ones that `load` looks into."""

FUNCTIONS: tuple[tuple[str, Any, str], ...] = (
    (
        "jax.nn",
        jax.nn,
        "celu elu gelu glu hard_sigmoid hard_silu hard_tanh identity leaky_relu "
        "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_sign softmax "
        "softplus sparse_plus sparse_sigmoid squareplus standardize",
    ),
    (
        "jax.numpy",
        jnp,
        "abs arctan arctan2 clip cos cosh exp log log1p max maximum mean min minimum "
        "negative sign sin sinh sqrt square sum tan tanh",
    ),
    (
        "optax",
        optax.losses,
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


@functools.cache
def known_functions() -> dict[str, Callable]:
    """Return the functions of the table by name."""
    table = {
        f"{prefix}.{name}": getattr(module, name)
        for prefix, module, names in FUNCTIONS
        for name in names.split()
        if hasattr(module, name)
    }
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
