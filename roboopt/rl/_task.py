"""The task of an algorithm: an environment, its twin, and the user's budget."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.diagnose import HorizonNorms, norm_by_horizon
from roboopt.objectives import NegativeReward
from roboopt.rl._checks import require_at_least
from roboopt.rollouts import GymRollout, Rollout, TwinVectorEnv
from roboopt.rollouts._spaces import actions_of, check_observations

STARTS = 1024  # of episodes in the twin
PROBE_STARTS = 16  # over which the noise of a gradient is measured
SIDE_BY_SIDE = 32  # episodes of a `GymRollout`
MAX_PROBE_STEPS = 20_000  # of random actions, within which some episode must end
ENVS_MODULE = "roboopt_envs"
TRANSPARENT = ("TimeLimit", "OrderEnforcing", "PassiveEnvChecker")


@dataclass(frozen=True)
class Task:
    """An environment to learn in, how others like it are made, and the budget."""

    make: Any
    """An id of Gymnasium or a function, for the vector environments."""
    env: Any
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
            env: an id of Gymnasium, or a function that makes an environment.
            options: keywords of the constructor, where `env` is an id.
            max_steps: the time limit of an episode, in steps.
            **wishes: the fields of the same names.

        Raises:
            RobooptError: if an argument breaks its rule, the spaces cannot be learned
                in, or no episode ends.
        """
        if max_steps is not None:
            require_at_least("max_steps", max_steps, 1)
        make = _maker(env, dict(options or {}), max_steps)
        made = make()
        try:
            check_observations(made)
            actions_of(made.action_space)
            twin, reason = find_twin(made)
            horizon = _horizon(made, max_steps)
            if horizon is None:
                _require_an_end(made, wishes.get("seed", 0))
        except RobooptError:
            made.close()
            raise
        if twin is not None and horizon is not None:
            twin = twin if horizon == twin.horizon else _cut(twin, horizon)
        spec = getattr(made, "spec", None)
        name = env if isinstance(env, str) else getattr(spec, "id", None) or str(made)
        plain = isinstance(env, str) and not options and max_steps is None
        given = _known(env) if plain else make
        return cls(given, made, name, horizon, twin, reason, **wishes)

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
        if self.twin is None or self.discrete:
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
                f"`env` must have a twin in JAX for {what}, and {self.name} has none: "
                f"{self.no_twin}. Choose `gradient` 'likelihood' or 'zeroth-order'."
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
        dynamics = self.twin.dynamics
        if not self.holds_goals or not hasattr(dynamics, "joint_limits"):
            return self.twin
        return find_twin(self.env, joint_limits=True)[0] or self.twin

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


def find_twin(env: Any, joint_limits: bool = False) -> tuple[Rollout | None, str]:
    """Return the rollout in JAX that reproduces `env`, or None and why there is none.

    Args:
        env: an environment.
        joint_limits: whether the joints of the twin have limits.
    """
    layer = env
    while layer is not env.unwrapped:
        if type(layer).__name__ not in TRANSPARENT:
            return None, f"{type(layer).__name__} wraps it"
        layer = layer.env
    if type(layer).__module__.split(".")[0] != ENVS_MODULE:
        return None, "it is no environment with a twin"
    return Rollout.from_env(layer, joint_limits=joint_limits), ""


def _cut(twin: Rollout, horizon: int) -> Rollout:
    return Rollout(twin.dynamics, horizon, twin.reward, twin.gradient_decay_time)


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
    env: Any, options: dict[str, Any], max_steps: int | None
) -> Callable[[], Any]:
    import gymnasium

    if isinstance(env, str):
        if max_steps is not None:
            options = {"max_episode_steps": max_steps, **options}
        return functools.partial(gymnasium.make, _known(env), **options)
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
    """Return the id with the module of roboopt's environments, for any process."""
    return f"{ENVS_MODULE}:{env}" if env.startswith("roboopt/") else env


def _limited(make: Callable[[], Any], max_steps: int) -> Any:
    from gymnasium.wrappers import TimeLimit

    return TimeLimit(make(), max_steps)
