"""The differentiable rollout that reproduces a Gymnasium environment, or why none does.

An environment has a twin if it exposes `physics_client` (PyBullet's), `body`,
`actuated`, `time_step`, `effort_limits` and `task`, and if the class that defines its
`step` declares, by `has_twin = True`, that a step

- applies the action as efforts on the actuated joints for one time step of PyBullet,
  or for its `control_period`,
- returns an observation that begins with [q, q̇],
- is rewarded by −Δt · `task.cost_rate(next observation, action)`, or that of the time
  of the next observation, too,

and that only the horizon ends an episode. A subclass that replaces `step`, `reset` or
another method of that class must declare the same again: what it does is not known.

Wrappers are read from the outside in. Those that do not change what an agent meets are
skipped, those that rescale or clip actions become an affine map and a box,

    effort = gain · clip(action, low, high) + offset,

a `TimeLimit` shortens the horizon, and any other wrapper rules the twin out.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt._progress import counted
from roboopt.dynamics import Twin
from roboopt.rollouts._env_group import env_name, time_limit
from roboopt.rollouts._env_spec import EnvSpec
from roboopt.rollouts._rescaled_actions import RescaledActions, RescaledReward
from roboopt.rollouts._rollout import Rollout

PROTOCOL = ("physics_client", "body", "actuated", "time_step", "effort_limits", "task")
FREE_METHODS = ("__init__", "render", "close", "sample_starts")
"""Methods that a subclass may replace and keep its twin; abstract ones, too."""
NEUTRAL_WRAPPERS = (
    "OrderEnforcing",
    "PassiveEnvChecker",
    "RecordEpisodeStatistics",
    "RecordVideo",
    "HumanRendering",
    "RenderCollection",
    "TimeLimit",
)

_builders: dict[type, Callable[[Any], Rollout]] = {}


class TwinMatch(NamedTuple):
    """The twin rollout of an environment, or the reason why there is none."""

    rollout: Rollout | None
    """Differentiable, with the environment's dynamics, horizon and reward."""
    reason: str
    """One sentence; empty where there is a rollout."""

    def require(self) -> Rollout:
        """Return the rollout.

        Raises:
            RobooptError: with the reason, if there is none.
        """
        if self.rollout is None:
            raise RobooptError(self.reason)
        return self.rollout


def register_twin(env_class: type, build: Callable[[Any], Rollout]) -> None:
    """Declare how to build the twin rollout of an environment class.

    Args:
        env_class: the innermost environment's class. Subclasses inherit the builder
            unless they replace `step`, `reset` or another method of the class.
        build: `build(env) -> Rollout` of an unwrapped environment. The rollout's
            actions, horizon and reward are the unwrapped environment's: wrappers are
            taken into account afterwards.
    """
    _builders[env_class] = build


def twin_rollout(
    env: Any, *, joint_limits: bool = False, gradient_decay_time: float = math.inf
) -> TwinMatch:
    """Return the differentiable rollout that reproduces an environment.

    Args:
        env: an environment with all its wrappers, a Gymnasium id, an `EnvSpec`, or a
            function that makes an environment.
        joint_limits: whether the joints of a PyBullet twin stop at their limits.
        gradient_decay_time: τ [s] of the `Rollout`.
    """
    if not hasattr(env, "unwrapped"):
        spec = EnvSpec.of(env)
        made = env() if spec is None else spec.make()
        try:
            return twin_rollout(
                made, joint_limits=joint_limits, gradient_decay_time=gradient_decay_time
            )
        finally:
            made.close()
    try:
        limits, limit = _read_wrappers(env), time_limit(env)
        rollout = _unwrapped_rollout(env, joint_limits, limit)
    except RobooptError as error:
        return TwinMatch(None, f"{env_name(env)} has no twin: {error}")
    dynamics, reward = rollout.dynamics, rollout.reward
    if limits is not None:
        gain, offset, low, high = map(jnp.asarray, limits)
        dynamics = RescaledActions(dynamics, gain, offset, low, high)
        if reward is not None:
            reward = RescaledReward(reward, gain, offset)
    horizon = min(rollout.horizon, limit or rollout.horizon)
    reference = rollout.reference
    if reference is not None:
        reference = reference[: (len(reference) - 1) // rollout.horizon * horizon + 1]
    settings = gradient_decay_time, rollout.control_period, reference
    return TwinMatch(Rollout(dynamics, horizon, reward, *settings), "")


def _unwrapped_rollout(env: Any, joint_limits: bool, limit: int | None) -> Rollout:
    """Return the rollout of the innermost environment, or raise with the reason."""
    env = env.unwrapped
    declaring = _declaring_class(env)
    if declaring in _builders:
        return _matching(_builders[declaring](env), env)
    missing = ", ".join(f"`{name}`" for name in PROTOCOL if not hasattr(env, name))
    if missing:
        raise RobooptError(
            f"its environment has no {missing}; `register_twin` declares one."
        )
    if declaring is None:
        raise RobooptError(
            f"the class {type(env).__name__} does not declare that its steps are those "
            "of PyBullet and its reward that of `task`: if so, set `has_twin = True` "
            "in the class."
        )
    if limit is None:
        raise RobooptError("nothing ends its episodes; give `max_steps`.")
    twin = Twin.from_env(env, joint_limits=joint_limits)
    size = env.observation_space.shape[0]
    if size < 2 * twin.joints:
        raise RobooptError(
            f"its observations must begin with [q, q̇] of {twin.joints} joints, got "
            f"{size} numbers."
        )
    held = getattr(env, "substeps", 1)
    period = env.control_period if held > 1 else None
    reference = getattr(env, "reference", None)
    if reference is not None:
        reference = jnp.asarray(reference[: limit * held + 1])
    options = {"control_period": period, "reference": reference}
    return Rollout(twin, limit, env.task, **options)


def _matching(rollout: Rollout, env: Any) -> Rollout:
    """Return a registered rollout; raise where it does not fit the environment."""
    size, joints = (
        math.prod(env.observation_space.shape or (0,)),
        rollout.dynamics.joints,
    )
    if size < 2 * joints:
        raise RobooptError(
            f"the state of its `dynamics` is [q, q̇] of {counted(joints, 'joint')}, so "
            f"that observations must begin with these {2 * joints} numbers, got {size}."
        )
    acts = rollout.dynamics.action_size
    given = getattr(env.action_space, "shape", None)
    if given and math.prod(given) != acts:
        raise RobooptError(
            f"its `dynamics` take {counted(acts, 'number')} as an action, and the "
            f"environment {math.prod(given)}."
        )
    return rollout


def _declaring_class(env: Any) -> type | None:
    """Return the class that declares the twin of an environment, None without one.

    A class below it that replaces one of its methods raises a RobooptError.
    """
    kinds = type(env).__mro__
    declared = (k for k in kinds if k in _builders or "has_twin" in vars(k))
    declaring = next(declared, None)
    if declaring is None or (declaring not in _builders and not env.has_twin):
        return None
    methods = {
        name
        for kind in declaring.__mro__
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not hasattr(value, "__isabstractmethod__")
    }
    for own in (env, *kinds[: kinds.index(declaring)]):
        if changed := sorted(methods & vars(own).keys() - set(FREE_METHODS)):
            name = getattr(own, "__name__", type(env).__name__)
            raise RobooptError(
                f"{name} replaces `{changed[0]}` of {declaring.__name__}, whose twin "
                f"it would have. If {name} has the same dynamics, and the reward of "
                "its `task`, set `has_twin = True` in the class."
            )
    return declaring


def _read_wrappers(env: Any) -> tuple[np.ndarray, ...] | None:
    """Return gain, offset, low and high, (act,) each, or None if no wrapper has any.

    A wrapper that may change anything but the actions' scale and limits raises a
    RobooptError.
    """
    from gymnasium import wrappers

    known = {getattr(wrappers, name, None) for name in NEUTRAL_WRAPPERS}
    gain, offset, low, high = (np.asarray(x) for x in (1.0, 0.0, -np.inf, np.inf))
    changed = False
    while env is not env.unwrapped:
        kind = type(env)
        if kind is wrappers.RescaleAction or kind is wrappers.ClipAction:
            changed = True
            inner = env.env.action_space
            if kind is wrappers.RescaleAction:
                low, high = _clipped(low, high, env.action_space, gain, offset)
                scale, shift = _affine(env.action_space, inner)
                gain, offset = scale * gain, scale * offset + shift
            low, high = _clipped(low, high, inner, gain, offset)
        elif kind not in known:
            raise RobooptError(
                f"the wrapper {kind.__name__} may change its observations, actions or "
                "rewards."
            )
        env = env.env
    if not changed:
        return None
    shape = env.action_space.shape
    bounds = (np.broadcast_to(x, shape) for x in (gain, offset, low, high))
    return tuple(np.array(x, float) for x in bounds)


def _clipped(
    low: np.ndarray, high: np.ndarray, box: Any, gain: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the outer bounds at which gain · action + offset is also within `box`."""
    below, above = ((np.asarray(x, float) - offset) / gain for x in (box.low, box.high))
    return np.maximum(low, below), np.minimum(high, above)


def _affine(outer: Any, inner: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain and offset that map the box `outer` onto `inner`."""
    bounds = outer.low, outer.high, inner.low, inner.high
    low, high, inner_low, inner_high = (np.asarray(b, float) for b in bounds)
    finite = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        gain = np.where(finite, (inner_high - inner_low) / (high - low), 1.0)
        offset = np.where(finite, inner_low - gain * low, 0.0)
    return gain, offset
