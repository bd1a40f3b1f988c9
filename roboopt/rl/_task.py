"""The task of an algorithm: an environment, its twin, and the user's budget."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import jax
import numpy as np

from roboopt._errors import RobooptError, require, require_at_least
from roboopt.dynamics import first_memory
from roboopt.policies import check_action_space, check_observation_space
from roboopt.rollouts import (
    EnvSpec,
    GymRollout,
    Ray,
    Rollout,
    TwinVectorEnv,
    env_maker,
    env_name,
    require_an_end,
    time_limit,
    twin_rollout,
)

STARTS = 1024  # of episodes in the twin
PROBE_STARTS = 16  # over which a policy or its gradient is measured
SIDE_BY_SIDE = 32  # episodes of a `GymRollout`


class Task:
    """An environment to learn in, how others like it are made, and the budget.

    Attributes:
        make: an id of Gymnasium or a function, for the vector environments.
        env: one environment.
        spec: its id and options, None where these are not known.
        name: its name.
        horizon: the most steps of an episode, None where nothing limits them.
        twin: a differentiable rollout that reproduces `env`, or None.
        network: `width`, `depth`, `angles`, … of fresh networks.
    """

    def __init__(
        self,
        env: Any,
        *,
        options: Mapping[str, Any] | None,
        max_steps: int | None,
        timesteps: int | None,
        envs: int | None,
        processes: int,
        target: float | None,
        seed: int,
        network: Mapping[str, Any],
        devices: Sequence[Any] | None = None,
        workers: Ray | None = None,
    ):
        """Make an environment and look at it; arguments are those of `reinforce`."""
        if timesteps is not None and not isinstance(timesteps, Integral):
            raise RobooptError(f"`timesteps` must be a whole number, got {timesteps}.")
        require_at_least(1, max_steps=max_steps, timesteps=timesteps, envs=envs)
        require_at_least(0, seed=seed, processes=processes)
        require(target is None or math.isfinite(target), "target", "be finite", target)
        self.timesteps, self.envs, self.processes = timesteps, envs, processes
        self.target, self.seed, self.network = target, seed, network
        self.devices, self.workers = devices, workers
        make, self.spec = _maker(env, options, max_steps)
        try:
            self.env = make()
        except RobooptError:  # names its argument
            raise
        except Exception as error:  # whatever a user's constructor raises
            text = f"`env` {env} cannot be made: {' '.join(str(error).split())}"
            raise RobooptError(text) from error
        try:
            check_observation_space(self.env.observation_space)
            check_action_space(self.env.action_space)
            self.twin, self._no_twin = twin_rollout(self.env)
            self.horizon = time_limit(self.env)
            # For an id alone, Gymnasium may have a vector environment of its own.
            plain = self.spec is not None and not self.spec.options
            self.make = self.spec.id if self.spec is not None and plain else make
            if self.horizon is None:
                require_an_end(self.source, seed=seed, processes=processes)
        except Exception:
            self.env.close()
            raise
        self.name = env_name(self.env)

    @property
    def source(self) -> Any:
        """Return the environment, or its maker where others are to be made."""
        apart = self.processes or self.workers is not None
        return self.make if apart else self.env

    @property
    def discrete(self) -> bool:
        """Return whether the actions are choices."""
        return not hasattr(self.env.action_space, "low")

    @property
    def in_twin(self) -> bool:
        """Return whether an algorithm that could learn anywhere learns in the twin.

        Episodes of twins are cut into single steps, across which no lag remembers.
        """
        if self.twin is None or self.processes:
            return False
        return not jax.tree.leaves(first_memory(self.twin.dynamics))

    @property
    def in_processes(self) -> str:
        """Return where the environments run, in words."""
        return f", in {self.processes} processes" if self.processes else ""

    @property
    def holds_goals(self) -> bool:
        """Return whether all joints move to a goal, seen as [q, q̇, goal]."""
        if self.twin is None or not hasattr(self.twin.dynamics, "robot"):
            return False
        joints, world = self.twin.dynamics.joints, self.env.unwrapped
        limits = None
        if self.interface == "torque":
            limits = getattr(world, "effort_limits", None)
        elif self.interface in ("position", "velocity"):
            limits = world.action_space.high
        shapes = self.env.observation_space.shape, self.env.action_space.shape
        same = limits is not None and np.allclose(self.env.action_space.high, limits)
        return shapes == ((3 * joints,), (joints,)) and bool(same)

    @property
    def interface(self) -> str:
        """Return what an action is; "torque" where the environment does not say."""
        return getattr(self.env.unwrapped, "interface", "torque")

    def require_twin(self, what: str) -> Rollout:
        """Return the twin; without one raise a RobooptError, for the algorithm."""
        if self.twin is None:
            raise RobooptError(
                f"`env` must have a twin in JAX for {what}. {self._no_twin} Without "
                "one there are the gradients 'likelihood', of the algorithms 'ppo' and "
                "'pgpe', and 'zeroth-order'."
            )
        self.require_horizon(what)
        return self.twin

    def require_horizon(self, what: str) -> int:
        """Return the time limit; without one raise a RobooptError."""
        if self.horizon is None:
            raise RobooptError(
                f"`max_steps` must be given for {what}: {self.name} has no time limit."
            )
        return self.horizon

    def starts(self, count: int) -> np.ndarray:
        """Return starts of episodes: observations where there is a twin, else seeds."""
        if self.twin is not None:
            world = self.env.unwrapped
            if hasattr(world, "sample_starts"):
                return np.asarray(world.sample_starts(count, seed=self.seed))
            return np.stack(
                [self.env.reset(seed=seed)[0] for seed in self.seeds(count)]
            )
        return np.array(self.seeds(count))

    def seeds(self, count: int) -> list[int]:
        """Return seeds of episodes."""
        drawn = np.random.default_rng(self.seed).integers(2**31 - 1, size=count)
        return drawn.tolist()

    def sampling_twin(self) -> Rollout:
        """Return the twin for episodes that explore: an arm meets its joint limits."""
        assert self.twin is not None
        if not self.holds_goals:
            return self.twin
        return twin_rollout(self.env, joint_limits=True).require()

    def twin_envs(self, count: int) -> TwinVectorEnv:
        starts = self.starts(STARTS)
        return TwinVectorEnv(
            self.sampling_twin(), starts, count, stagger=True, devices=self.devices
        )

    def gym_rollout(self) -> GymRollout:
        """Return what runs whole episodes of the environment itself."""
        horizon = self.require_horizon("whole episodes")
        return GymRollout(
            self.make,
            horizon,
            envs=SIDE_BY_SIDE,
            processes=self.processes,
            workers=self.workers,
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
