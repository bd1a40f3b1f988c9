"""The exact settings of a run, enough to repeat it."""

import dataclasses
import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

PACKAGES = ("roboopt", "jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium")


def settings(arguments: Any, recipe: Any, run: dict[str, Any]) -> dict[str, Any]:
    """Return all that decided what came out, as JSON can hold it.

    Args:
        arguments: of the command, a dataclass.
        recipe: what was built from them.
        run: what was decided since: the number of steps, the seeds.
    """
    env, objective = recipe.env, recipe.objective
    weights = ("task_weight", "work_weight", "joule_weight")
    return {
        "arguments": plain(arguments),
        "run": plain(run),
        "environment": {
            "class": f"{type(env).__module__}.{type(env).__qualname__}",
            "joint_names": list(env.joint_names),
            "actuated": [env.joint_names[i] for i in env.actuated],
            "effort_limits": plain(env.effort_limits),
            "time_step": env.time_step,
            "horizon": env.horizon,
            "task": {type(env.task).__name__: plain(env.task)},
            "actuators": plain(env.actuators),
        },
        "objective": {
            "class": type(objective).__name__,
            "horizon": objective.rollout.horizon,
            **{name: plain(getattr(objective, name)) for name in weights},
        },
        "controller": type(recipe.controller).__name__,
        **surroundings(),
    }


def surroundings() -> dict[str, Any]:
    """Return the versions and the machine that a run was made with."""
    import jax

    return {
        "versions": {
            **{name: _version(name) for name in (*PACKAGES, "pybullet")},
            "python": platform.python_version(),
        },
        "platform": {
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "jax_backend": jax.default_backend(),
            "jax_enable_x64": bool(jax.config.jax_enable_x64),  # pyright: ignore
        },
    }


def plain(value: Any) -> Any:
    """Return `value` in dictionaries, lists, numbers and text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number.
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
