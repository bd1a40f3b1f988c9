"""An environment to learn in: how it is made, and what is known of it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from roboopt._errors import RobooptError
from roboopt.policies import check_action_space, check_observation_space

OWN = "roboopt_envs"


@dataclass(frozen=True)
class Setting:
    """An environment to look at, and how others like it are made."""

    given: Any
    """The id, where nothing else is to be said of it; or else as `make`."""
    make: Callable[[], Any]
    """To be pickled for other processes, where `env` was an id."""
    env: Any
    name: str
    max_steps: int | None

    @classmethod
    def of(
        cls, env: Any, options: Mapping[str, Any] | None, max_steps: int | None
    ) -> "Setting":
        """Make an environment and look at it.

        Args:
            env: an id of Gymnasium, or a function that makes an environment.
            options: of the constructor, where `env` is an id.
            max_steps: an episode's end, where the environment has not ended it before.

        Raises:
            RobooptError: if `env` is neither, `max_steps` less than 1, or the spaces
                cannot be learned in, which says what to wrap them with.
        """
        if max_steps is not None and max_steps < 1:
            raise RobooptError(f"`max_steps` must be at least 1, got {max_steps}.")
        make = _maker(env, dict(options or {}), max_steps)
        made = make()
        try:
            check_observation_space(made.observation_space)
            check_action_space(made.action_space)
        except RobooptError:
            made.close()
            raise
        spec = getattr(made, "spec", None)
        name = env if isinstance(env, str) else getattr(spec, "id", None) or str(made)
        plain = isinstance(env, str) and not options and max_steps is None
        given = _known(env) if plain else make
        return cls(given, make, made, name, max_steps)

    @property
    def world(self) -> Any:
        """Return the innermost environment."""
        return self.env.unwrapped

    @property
    def kind(self) -> str | None:
        """Return the class of an environment that has a twin, None of any other."""
        own = type(self.world).__module__.split(".")[0] == OWN
        return type(self.world).__name__ if own else None

    @property
    def discrete(self) -> bool:
        """Return whether the actions are choices."""
        return not hasattr(self.env.action_space, "low")

    @property
    def horizon(self) -> int | None:
        """Return the most steps of an episode, None where nothing says so."""
        if self.kind is not None:
            return min(self.world.horizon, self.max_steps or self.world.horizon)
        spec = getattr(self.env, "spec", None)
        return self.max_steps or getattr(spec, "max_episode_steps", None)


def _maker(
    env: Any, options: dict[str, Any], max_steps: int | None
) -> Callable[[], Any]:
    import gymnasium

    if isinstance(env, str):
        name = _known(env)
        if max_steps is not None:
            options = {"max_episode_steps": max_steps, **options}
        return functools.partial(gymnasium.make, name, **options)
    if not callable(env) or hasattr(env, "step"):
        raise RobooptError(
            "`env` must be an id of Gymnasium, or a function that makes an "
            f"environment, got {env!r}."
        )
    if options:
        raise RobooptError(f"`options` are for an id, got {options} and {env!r}.")
    if max_steps is None:
        return env
    return functools.partial(_limited, env, max_steps)


def _known(env: str) -> str:
    """Return the id with the name of our module in front: any process finds it."""
    return f"{OWN}:{env}" if env.startswith("roboopt/") else env


def _limited(make: Callable[[], Any], max_steps: int) -> Any:
    from gymnasium.wrappers import TimeLimit

    return TimeLimit(make(), max_steps)
