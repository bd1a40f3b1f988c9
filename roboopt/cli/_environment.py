"""Gymnasium environments by their names, and what the command line says of them."""

import ast
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from roboopt._errors import RobooptError

NOTHING: Mapping[str, Any] = MappingProxyType({})
THIS_MACHINE = "local"
RAY_HELP = "Ray cluster whose workers run the episodes; alone, one of this machine."
ENV_HELP = "Gymnasium id, such as CartPole-v1 or my_package:Mine-v0."


def make(
    name: str, options: Sequence[str] = (), simulation: Mapping[str, Any] = NOTHING
) -> Any:
    """Return the environment of a Gymnasium id, `package:Name-v0` for a user's own."""
    from roboopt_envs import import_pybullet_silently

    from roboopt.rollouts import EnvSpec

    import_pybullet_silently()
    spec: Any = EnvSpec.of(name, **keywords_of(options))
    spec.require_keywords(simulation)
    spec = EnvSpec.of(spec, **simulation)
    try:
        with warnings.catch_warnings():
            # Gymnasium's advice to others, such as that there is a newer version.
            warnings.simplefilter("ignore")
            return spec.make()
    except RobooptError:  # names its argument
        raise
    except Exception as error:  # A user's constructor may raise anything.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RobooptError(f"environment {name} cannot be made: {reason}") from error


def cluster(ray: str | None) -> Any:
    """Return the workers that --ray asks for, None without the flag."""
    if ray is None:
        return None
    from roboopt.rollouts import Ray

    return Ray(None if ray == THIS_MACHINE else ray)


def keywords_of(options: Sequence[str]) -> dict[str, Any]:
    """Return the keyword and the value that each `key=value` stands for."""
    keywords = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise RobooptError(f"--option must be key=value, got {text!r}")
        if key in keywords:
            raise RobooptError(f"--option must hold each name once, got {key!r} twice")
        try:
            keywords[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            keywords[key] = value  # a word
    return keywords


def option_text(name: str, value: Any) -> str:
    """Return the `key=value` that `keywords_of` reads as a keyword's value."""
    text = f"{name}={value}"
    return text if keywords_of([text]) == {name: value} else f"{name}={value!r}"


def label(name: str, options: Sequence[str]) -> str:
    """Return the environment's name as part of a folder's."""
    plain = name.split(":")[-1].split("/")[-1]
    values = [text.partition("=")[2] for text in options]
    kept = [v for v in values if v.replace("-", "").replace("_", "").isalnum()]
    return "-".join([plain, *kept])
