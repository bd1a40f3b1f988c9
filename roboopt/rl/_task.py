"""The task of an algorithm: an environment, its twin, and the user's budget."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.diagnose import HorizonNorms, norm_by_horizon
from roboopt.objectives import NegativeReward
from roboopt.policies import check_action_space, check_observation_space
from roboopt.rl._checks import require_at_least
from roboopt.rollouts import (
    EnvSpec,
    GymRollout,
    Rollout,
    TwinVectorEnv,
    env_maker,
    twin_rollout,
)

STARTS = 1024  # of episodes in the twin
PROBE_STARTS = 16  # over which the noise of a gradient is measured
SIDE_BY_SIDE = 32  # episodes of a `GymRollout`
MAX_PROBE_STEPS = 20_000  # of random actions, within which some episode must end


@dataclass(frozen=True)
class Task:
    """An environment to learn in, how others like it are made, and the budget."""

    make: Any
    """An id of Gymnasium or a function, for the vector environments."""
    env: Any
    spec: EnvSpec | None
    """The id and options of `env`, where these are known."""
    name: str
    horizon: int | None
    """The most steps of an episode, None where nothing limits them."""
    twin: Rollout | None
    """A differentiable rollout that reproduces `env`."""
    no_twin: str
    """Why there is no twin."""
    timesteps: int | None = None
    envs: int | None = None
    processes: int = 0
    target: float | None = None
    seed: int = 0
    network: Mapping[str, Any] = field(default_factory=dict)
    """`width`, `depth`, `angles`, … of fresh networks."""

    @classmethod
    def of(
        cls,
        env: Any,
        *,
        options: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        **wishes: Any,
    ) -> "Task":
        """Make an environment and look at it.

        Args:
            env: as in `reinforce`.
            options: keywords of the constructor, where `env` is an id.
            max_steps: the time limit of an episode, in steps.
            **wishes: the fields of the same names.

        Raises:
            RobooptError: if an argument breaks its rule, `env` cannot be made, its
                spaces cannot be learned in, or no episode ends.
        """
        counts = {"timesteps": wishes.get("timesteps"), "envs": wishes.get("envs")}
        for name, value in {"max_steps": max_steps, **counts}.items():
            if value is not None:
                require_at_least(name, value, 1)
        for name in ("seed", "processes"):
            require_at_least(name, wishes.get(name, 0), 0)
        if (target := wishes.get("target")) is not None and not math.isfinite(target):
            raise RobooptError(f"`target` must be finite, got {target}.")
        make, spec = _maker(env, options, max_steps)
        try:
            made = make()
        except Exception as error:  # whatever a user's constructor raises
            text = f"`env` {env} cannot be made: {' '.join(str(error).split())}"
            raise RobooptError(text) from error
        try:
            check_observation_space(made.observation_space)
            check_action_space(made.action_space)
            twin, reason = twin_rollout(made)
            horizon = _horizon(made, max_steps)
            if horizon is None:
                _require_an_end(made, wishes.get("seed", 0))
        except RobooptError:
            made.close()
            raise
        plain = spec is not None and not spec.options
        # For an id alone, Gymnasium may have a vector environment of its own.
        given = spec.id if spec is not None and plain else make
        name = str(spec or EnvSpec.of(made) or made)
        return cls(given, made, spec, name, horizon, twin, reason, **wishes)

    @property
    def discrete(self) -> bool:
        """Return whether the actions are choices."""
        return not hasattr(self.env.action_space, "low")

    @property
    def in_processes(self) -> str:
        """Return where the environments run, in words."""
        return f", in {self.processes} processes" if self.processes else ""

    @property
    def holds_goals(self) -> bool:
        """Return whether joint torques are to move a whole arm to a goal.

        The observation of such a robot is [q, q̇, goal], and it drives every joint.
        """
        if self.twin is None or not hasattr(self.twin.dynamics, "robot"):
            return False
        joints, world = self.twin.dynamics.joints, self.env.unwrapped
        shapes = self.env.observation_space.shape, self.env.action_space.shape
        limits = getattr(world, "effort_limits", None)
        same = limits is not None and np.allclose(self.env.action_space.high, limits)
        return shapes == ((3 * joints,), (joints,)) and bool(same)

    def require_twin(self, what: str) -> None:
        """Raise a RobooptError unless there is a twin, for the algorithm `what`."""
        if self.twin is None:
            raise RobooptError(
                f"`env` must have a twin in JAX for {what}. {self.no_twin} Choose "
                "`gradient` 'likelihood' or 'zeroth-order'."
            )
        self.require_horizon(what)

    def require_horizon(self, what: str) -> None:
        """Raise a RobooptError unless a time limit is known, for the algorithm."""
        if self.horizon is None:
            raise RobooptError(
                f"`max_steps` must be given for {what}: {self.name} has no time limit."
            )

    def starts(self, count: int) -> np.ndarray:
        """Return starts of episodes: observations where there is a twin, else seeds."""
        if self.twin is not None:
            world = self.env.unwrapped
            return np.asarray(world.sample_starts(count, seed=self.seed))
        return np.random.default_rng(self.seed).integers(2**31 - 1, size=count)

    def sampling_twin(self) -> Rollout:
        """Return the twin for episodes that explore: an arm meets its joint limits."""
        assert self.twin is not None
        if not self.holds_goals:
            return self.twin
        return twin_rollout(self.env, joint_limits=True).require()

    def twin_envs(self, count: int) -> TwinVectorEnv:
        """Return `count` twins side by side."""
        starts = self.starts(STARTS)
        return TwinVectorEnv(self.sampling_twin(), starts, count, stagger=True)

    def gym_rollout(self) -> GymRollout:
        """Return what runs whole episodes of the environment itself."""
        assert self.horizon is not None
        processes = self.processes
        return GymRollout(
            self.make, self.horizon, envs=SIDE_BY_SIDE, processes=processes
        )

    def norm_by_horizon(self, policy: Any) -> HorizonNorms:
        """Return the gradient of `policy` through the twin, by its horizon."""
        starts = self.starts(PROBE_STARTS)
        return norm_by_horizon(NegativeReward(self.twin), policy, starts)


def _horizon(env: Any, max_steps: int | None) -> int | None:
    spec = getattr(env, "spec", None)
    limits = (
        max_steps,
        getattr(env.unwrapped, "horizon", None),
        getattr(spec, "max_episode_steps", None),
    )
    known = [int(x) for x in limits if x is not None]
    return min(known) if known else None


def _require_an_end(env: Any, seed: int) -> None:
    """Raise a RobooptError unless an episode of random actions ends.

    Judging would hang in an environment that ends no episode.
    """
    env.action_space.seed(seed)
    env.reset(seed=seed)
    for _ in range(MAX_PROBE_STEPS):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            return
    raise RobooptError(
        f"`env` ended no episode within {MAX_PROBE_STEPS} steps of random actions, and "
        "has no time limit: give `max_steps`."
    )


def _maker(
    env: Any, options: Mapping[str, Any] | None, max_steps: int | None
) -> tuple[Callable[[], Any], EnvSpec | None]:
    """Return a function that makes the environment, and its spec if it has one."""
    make, spec = env_maker(env, options)
    if max_steps is None:
        return make, spec
    if spec is None:
        return functools.partial(_limited, make, max_steps), None
    return env_maker(spec, {"max_episode_steps": max_steps})


def _limited(make: Callable[[], Any], max_steps: int) -> Any:
    from gymnasium.wrappers import TimeLimit

    return TimeLimit(make(), max_steps)
