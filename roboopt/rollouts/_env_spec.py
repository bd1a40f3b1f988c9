"""An environment as data: its Gymnasium id and options, from which it is made again.

Making an environment can import the package that its id names, and its options can name
files. So a spec that was read from a file makes only environments that the process
knows, with options that name nothing, unless the user allows the others.
"""

import copy
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError


@dataclass(frozen=True)
class EnvSpec:
    """A Gymnasium id and the keyword arguments of `gymnasium.make`.

    Attributes:
        id: the id, `package:Name-v0` where a package registers the environment.
        options: keyword arguments of `gymnasium.make`, `render_mode` left out. A
            `control_period` [s] that the constructor has no such keyword for wraps the
            environment in `roboopt_envs.wrappers.HoldActions`.
        from_file: whether a file names the environment, which `load` was not allowed
            to make.
    """

    id: str
    options: dict[str, Any] = field(default_factory=dict)
    from_file: bool = field(
        default=False,
        repr=False,
        compare=False,
        metadata={"saved": False, "loaded": True},
    )

    @classmethod
    def of(cls, env: Any, **options: Any) -> "EnvSpec | None":
        """Return the spec of an environment, or None if only its maker knows it.

        Args:
            env: a Gymnasium id, an `EnvSpec`, or an environment from `gymnasium.make`.
                A function that makes environments has no spec, and neither has an
                environment that was built or wrapped by hand.
            options: keyword arguments to add.
        """
        if isinstance(env, EnvSpec):
            return replace(env, options={**env.options, **options})
        if isinstance(env, str):
            return cls(_importable(env), options)
        spec = getattr(env, "spec", None)
        if spec is None or callable(env) or getattr(spec, "additional_wrappers", ()):
            return None
        import gymnasium

        kept = {k: v for k, v in spec.kwargs.items() if k != "render_mode"}
        if spec.max_episode_steps != gymnasium.spec(spec.id).max_episode_steps:
            kept["max_episode_steps"] = spec.max_episode_steps
        return cls(_importable(spec.id, spec.entry_point), {**kept, **options})

    @property
    def maker(self) -> Callable[..., Any]:
        """Return a function that makes the environment and can be sent to a process.

        Raises:
            RobooptError: if a file names the environment, and making it could import a
                module or read a file.
        """
        import gymnasium

        self._require_trust()
        if "control_period" in self.options:
            known = self._keywords()
            if known is not None and "control_period" not in known:
                from roboopt_envs.wrappers import make_held

                return partial(make_held, self.id, **self.options)
        return partial(gymnasium.make, self.id, **self.options)

    def make(self, **kwargs: Any) -> Any:
        """Make the environment.

        Args:
            kwargs: more keyword arguments of `gymnasium.make`, such as `render_mode`.
        """
        return self.maker(**kwargs)

    def require_keywords(self, names: Iterable[str]) -> None:
        """Raise a `RobooptError` if the constructor does not take one of the keywords.

        Constructors that take any keyword are not asked, nor are ids that Gymnasium
        does not know.
        """
        known = self._keywords()
        if known is None or any(p.kind is p.VAR_KEYWORD for p in known.values()):
            return
        for name in names:
            if name not in known and name != "control_period":
                raise RobooptError(
                    f"`{name}` must be left out for {self}, which takes "
                    f"{', '.join(known)}."
                )

    def _keywords(self) -> Mapping[str, inspect.Parameter] | None:
        """Return the constructor's parameters, None where Gymnasium knows none."""
        creator = self._creator()
        return None if creator is None else _parameters(creator)

    def _creator(self) -> Any:
        """Return the class or function of the environment, None if none is known."""
        import gymnasium
        from gymnasium.envs.registration import load_env_creator

        self._require_trust()
        module, _, name = self.id.rpartition(":")
        try:
            if module:
                importlib.import_module(module)
            creator = gymnasium.spec(name).entry_point
            return load_env_creator(creator) if isinstance(creator, str) else creator
        except (gymnasium.error.Error, ImportError, AttributeError):
            return None  # Making the environment says what is wrong.

    @property
    def makes_pictures(self) -> bool:
        """Return whether the environment makes pictures, as far as its class tells.

        Raises:
            RobooptError: if a file names the environment, as for `maker`.
        """
        creator = self._creator()
        if not isinstance(creator, type) or hasattr(creator, "pictures"):
            return True
        modes = (getattr(creator, "metadata", None) or {}).get("render_modes") or ()
        return "rgb_array" in modes

    @property
    def is_harmless(self) -> bool:
        """Return whether making the environment imports and reads nothing it names.

        Only then is it made where a file names it and the user does not allow it.
        """
        return not self._doubt()

    def _require_trust(self) -> None:
        """Raise if a file names an environment that is not known to be harmless."""
        if self.from_file and (why := self._doubt()):
            raise RobooptError(
                f"`env` is named by a saved file, {self}, {why}. If you trust the "
                "file, allow it by `load(path, allow=[roboopt.rollouts.EnvSpec])`, or "
                "--allow env."
            )

    def _doubt(self) -> str:
        """Return what making the environment may import or read; empty for nothing."""
        import gymnasium

        package, _, name = self.id.rpartition(":")
        if package == "roboopt_envs":
            importlib.import_module(package)
        known = package in ("", *sys.modules) and name in gymnasium.registry
        named = [k for k, x in self.options.items() if not _names_nothing(x)]
        if not known:
            return "which may be of a module to import"
        values = ", ".join(f"{k}={self.options[k]!r}" for k in named)
        said = "whose options name files to read or modules to import"
        return f"{said}: {values}" if named else ""

    def __str__(self) -> str:
        """Return the id without the package."""
        return self.id.rpartition(":")[2]


def _names_nothing(value: Any) -> bool:
    """Return whether no text in an option could name a module, a class or a file."""
    if isinstance(value, str):
        return re.fullmatch(r"[\w-]*", value) is not None and not Path(value).is_file()
    if isinstance(value, Mapping):
        return all(map(_names_nothing, value)) and all(
            map(_names_nothing, value.values())
        )
    if isinstance(value, list | tuple):
        return all(map(_names_nothing, value))
    return True


def is_env(env: Any) -> bool:
    """Return whether `env` is an environment, not a class of environments."""
    return hasattr(env, "step") and not isinstance(env, type)


def env_maker(
    env: Any, options: Mapping[str, Any] | None = None, *, name: str = "env"
) -> tuple[Callable[..., Any], EnvSpec | None]:
    """Return a function that makes an environment, and the spec if one is known.

    Args:
        env: a Gymnasium id, an `EnvSpec`, an environment from `gymnasium.make`, with
            any wrappers, or a function that makes an environment.
        options: keyword arguments of the constructor, where `env` is no function.
        name: of the argument, for error messages.

    Raises:
        RobooptError: if `env` is none of these, or `options` are given for a function.
    """
    spec = EnvSpec.of(env, **(options or {}))
    if spec is not None:
        return spec.maker, spec
    if is_env(env) and getattr(env, "spec", None) is not None and not options:
        import gymnasium

        for wrapper in getattr(env.spec, "additional_wrappers", ()):
            if wrapper.kwargs is None:
                raise RobooptError(
                    f"`{name}` has the wrapper {wrapper.name}, which Gymnasium cannot "
                    "make again: give a function that makes the environment, such as "
                    f"lambda: {wrapper.name}(gymnasium.make({env.spec.id!r}))."
                )
        wrapped = copy.deepcopy(env.spec)
        wrapped.kwargs.pop("render_mode", None)
        return partial(gymnasium.make, wrapped), None
    if not callable(env) or is_env(env):
        raise RobooptError(
            f"`{name}` must be a Gymnasium id, an `EnvSpec`, an environment that "
            "gymnasium.make has made, with any wrappers, or a function that makes an "
            f"environment, got {env!r}."
        )
    if options:
        raise RobooptError(
            f"`options` are for an environment with an id, got {options} and {env!r}."
        )
    return env, None


def _importable(name: str, entry_point: Any = None) -> str:
    """Return the id with the package that registers it, where the package is known."""
    if name.startswith("roboopt/"):
        return f"roboopt_envs:{name}"
    package = str(entry_point).split(":")[0].split(".")[0]
    own = isinstance(entry_point, str) and package not in ("gymnasium", "__main__")
    return f"{package}:{name}" if own and ":" not in name else name


def _parameters(creator: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a constructor, those of its bases for any others."""
    found = dict(inspect.signature(creator).parameters)
    for base in getattr(creator, "__mro__", ())[1:-1]:
        rest = [n for n, p in found.items() if p.kind is p.VAR_KEYWORD]
        if rest and "__init__" in vars(base):
            del found[rest[0]]
            _, *own = inspect.signature(base.__init__).parameters.items()
            found |= {name: p for name, p in own if name not in found}
    return found
