"""Gymnasium environments by their names, and what the command line says of them."""

import ast
import warnings
from collections.abc import Sequence
from typing import Any

from roboopt._errors import RobooptError


def make(name: str, options: Sequence[str] = (), *, film: bool = False) -> Any:
    """Return the environment of a Gymnasium id, `package:Name-v0` for a user's own.

    Args:
        name: the id.
        options: `key=value` each, for its constructor.
        film: whether it is to render pictures, where it can.

    Raises:
        RobooptError: if there is no such environment, it cannot be made, or an option
            is no `key=value`.
    """
    import gymnasium

    if name.startswith("roboopt/"):
        import roboopt_envs  # registers them

        roboopt_envs.import_pybullet_silently()
    keywords = keywords_of(options)
    try:
        with warnings.catch_warnings():
            # Gymnasium's advice to others, such as that there is a newer version.
            warnings.simplefilter("ignore")
            env = gymnasium.make(name, **keywords)
            if film and "rgb_array" in (env.metadata.get("render_modes") or ()):
                env.close()
                env = gymnasium.make(name, render_mode="rgb_array", **keywords)
    except Exception as error:  # A user's constructor may raise anything.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RobooptError(f"--env {name} cannot be made: {reason}") from error
    return env


def keywords_of(options: Sequence[str]) -> dict[str, Any]:
    """Return what each `key=value` stands for.

    Raises:
        RobooptError: if one is no `key=value`.
    """
    return dict(_option(text) for text in options)


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise RobooptError(f"--option must be key=value, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value  # a word


def label(name: str, options: Sequence[str]) -> str:
    """Return the environment's name as part of a folder's."""
    plain = name.split(":")[-1].split("/")[-1]
    values = [text.partition("=")[2] for text in options]
    kept = [v for v in values if v.replace("-", "").replace("_", "").isalnum()]
    return "-".join([plain, *kept])
