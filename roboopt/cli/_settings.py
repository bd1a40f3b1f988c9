"""The exact settings of a run, enough to repeat it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("roboopt", "jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium")


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
