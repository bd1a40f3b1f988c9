"""The policies that `clone` can train, each with the loss that fits it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from roboopt._errors import RobooptError, argument_called, require, require_lists
from roboopt.data import Demonstrations, Trajectory
from roboopt.losses import FlowMatching, NegativeLogLikelihood
from roboopt.objectives import ActionMismatch
from roboopt.policies import (
    ActionChunking,
    CategoricalPolicy,
    FlowPolicy,
    GaussianPolicy,
    GMMPolicy,
    GravityCompensated,
    LinearPolicy,
    MLPPolicy,
    ObservationHistory,
    PastActions,
    RelativeActions,
    StablePolicy,
    TanhGaussianPolicy,
    within_limits,
)
from roboopt.rollouts import twin_rollout

ON_GRAVITY = ", on top of gravity compensation"
DETERMINISTIC = ("mlp", "linear", "stable")
"""The kinds that return one action, and whose loss is of its error."""
ABSOLUTE = ("stable", "tanh-gaussian", "categorical")
"""The kinds whose actions cannot be relative to an observation."""
MAX_RATIO = 3.0  # of velocities to the rates of positions, or the reverse
MIN_LIKENESS = 0.9  # the cosine of both over all samples
TINY = np.finfo(float).tiny
KINDS: dict[str, Callable[..., Any]] = {
    "mlp": MLPPolicy.of,
    "linear": LinearPolicy.of,
    "stable": StablePolicy.of,
    "gaussian": GaussianPolicy.of,
    "tanh-gaussian": TanhGaussianPolicy.of,
    "gmm": GMMPolicy.of,
    "flow": FlowPolicy.of,
    "categorical": CategoricalPolicy.of,
}


def kind_for(policy: str | None, discrete: bool) -> str:
    """Return the kind of policy to train."""
    kind = policy or ("categorical" if discrete else "mlp")
    require(
        kind in KINDS, "policy", f"be one of {', '.join(KINDS)} or a policy", policy
    )
    if discrete != (kind == "categorical"):
        actions = "discrete" if discrete else "continuous"
        other = "'categorical'" if discrete else "another kind"
        raise RobooptError(
            f"`policy` {kind!r} does not fit {actions} actions: choose {other}."
        )
    return kind


def fresh_policy(
    kind: str,
    samples: Demonstrations,
    env: Any,
    *,
    history: int,
    chunk: int | None,
    angles: Sequence[int],
    width: int,
    depth: int,
    seed: int,
    relative: Sequence[int] = (),
    quantiles: bool = False,
    motions: Sequence[Trajectory],
    start: Sequence[int] = (),
    sizes: Sequence[int] = (),
) -> tuple[Any, str]:
    """Return a policy with random weights, normalized by `samples`, and what it is.

    `motions` tell the goal and the time step of a policy that is stable; `start` and
    `sizes` are the choices of discrete actions.
    """
    require_lists(angles=angles, relative=relative)
    size = samples.observations.shape[-1] // history
    angles = tuple(angles) or getattr(getattr(env, "unwrapped", None), "angles", ())
    for axis in angles:
        rule = f"be axes 0 to {size - 1} of an observation"
        require(0 <= axis < size, "angles", rule, axis)
    rule = f"be empty with `policy` {kind!r}, whose actions are absolute"
    require(not relative or kind not in ABSOLUTE, "relative", rule, tuple(relative))
    settings: dict[str, Any] = {
        "key": jax.random.key(seed),
        "width": width,
        "depth": depth,
        "angles": tuple(axis + size * k for k in range(history) for axis in angles),
    }
    if quantiles:
        settings["quantiles"] = True
    description = f"{kind}, {depth} hidden layers of {width}"
    if kind == "linear":
        description = "linear, begun at the least squares"
    if kind == "categorical":
        settings |= {"start": start, "sizes": sizes}
    elif kind == "stable":
        end = np.mean([np.asarray(one.observations)[-1] for one in motions], axis=0)
        settings |= {"goal": end, "time_step": motions[0].time_step}
        with argument_called("samples", "demonstrations"):
            made = StablePolicy.of(samples, **settings)
        if made.velocities and history == 1:
            _warn_of_units(motions)
        goal = np.array2string(end, precision=4)
        return made, f"{description}, stable: ends at {goal} from everywhere"
    elif kind == "tanh-gaussian":
        settings |= _finite_limits(env)
    elif relative:
        with argument_called("axes", "relative"):
            axes = [axis + size * (history - 1) for axis in relative]
            made = RelativeActions.of(samples, axes, KINDS[kind], **settings)
        return made, f"{description}, relative to observations {tuple(relative)}"
    elif env is not None and chunk is None:
        rollout = twin_rollout(env).rollout
        twin = None if rollout is None else rollout.dynamics
        efforts = rollout is not None and rollout.effort_axes is None
        if twin is not None and efforts and twin.action_size == twin.joints:
            made = GravityCompensated.of(
                samples, twin.robot, KINDS[kind], first=size * (history - 1), **settings
            )
            return made, f"{description}{ON_GRAVITY}"
    return KINDS[kind](samples, **settings), description


def _warn_of_units(motions: Sequence[Trajectory]) -> None:
    """Warn of velocities in another unit than the positions, or another time step."""
    steps = [np.diff(x.observations, axis=0) / x.time_step for x in motions]
    rates = np.concatenate(steps).astype(float)
    acted = np.concatenate([np.asarray(x.actions, float) for x in motions])
    products, squares = (rates * acted).sum(0), (rates**2).sum(0)
    likeness = np.abs(products) / np.sqrt(np.maximum(squares * (acted**2).sum(0), TINY))
    ratios = products / np.maximum(squares, TINY)
    wrong = (likeness > MIN_LIKENESS) & ~(
        (ratios > 1 / MAX_RATIO) & (ratios < MAX_RATIO)
    )
    if wrong.any():
        axes = "" if wrong.all() else f" of axis {int(wrong.argmax())}"
        warnings.warn(
            f"`demonstrations`: the actions{axes} are {np.median(ratios[wrong]):.4g} "
            "times the rate of change of the positions, but `policy` 'stable' needs "
            f"both in one unit: convert them, or give `time_step`, which is "
            f"{motions[0].time_step:.4g} s.",
            stacklevel=6,
        )


def objective_for(kind: str, loss: Any, samples: Demonstrations) -> ActionMismatch:
    """Return the action mismatch that trains a policy of this kind."""
    if kind in DETERMINISTIC:
        spread = action_spread(samples)
        return ActionMismatch(scale=np.where(spread > 0, spread, 1.0), loss=loss)
    if loss != "l2":
        raise RobooptError(
            "`loss` is for `policy` 'mlp', 'linear' and 'stable', got "
            f"{loss!r} with {kind!r}, which has a loss of its own."
        )
    other = FlowMatching() if kind == "flow" else NegativeLogLikelihood()
    return ActionMismatch(loss=other)


def with_memory(
    model: Any,
    size: int,
    history: int,
    chunk: int | None,
    *,
    averages: bool,
    past: tuple[int, Any] = (0, None),
    space: Any = None,
) -> Any:
    """Return the policy that acts: a history of observations in, chunks executed.

    The `model` makes of `history` observations, of this `size` each, an action, or a
    `chunk` of them. If it `averages`, overlapping chunks are averaged: the mean of
    chunks drawn from a multimodal policy could lie between modes. `past` is how many of
    its last actions it sees, and what counts as the action before an episode.
    """
    if chunk is not None:
        ensemble = {} if averages else {"ensemble": None}
        model = ActionChunking(model, history * size, **ensemble)
    model = model if history == 1 else ObservationHistory(model, history, size)
    model = within_limits(model, space)
    if not past[0]:
        return model
    # Clipped before and after: it sees the actions that were done, and its kind says
    # that it keeps the limits.
    return within_limits(PastActions(model, past[1], length=past[0]), space)


def action_spread(samples: Demonstrations) -> np.ndarray:
    """Return the standard deviation of each action axis; 0 where one never changes."""
    actions = np.asarray(samples.actions)
    actions = actions.reshape(-1, actions.shape[-1])
    # The mean of equal numbers may be rounded.
    return np.where(np.ptp(actions, 0) > 0, actions.std(0), 0.0)


def choices_of(samples: Demonstrations, env: Any) -> dict[str, tuple[int, ...]]:
    """Return the least choice and the number of choices of each axis, by name."""
    if env is None:
        actions = np.asarray(samples.actions)
        actions = actions.reshape(-1, actions.shape[-1])
        start, sizes = actions.min(0), np.ptp(actions, 0) + 1
    else:
        space = env.action_space
        sizes = np.atleast_1d(space.nvec if hasattr(space, "nvec") else space.n)
        start = np.broadcast_to(np.asarray(space.start), sizes.shape)
    return {"start": tuple(map(int, start)), "sizes": tuple(map(int, sizes))}


def _finite_limits(env: Any) -> dict[str, Any]:
    space = None if env is None else env.action_space
    if space is None or not (np.isfinite(space.low) & np.isfinite(space.high)).all():
        raise RobooptError(
            "`policy` 'tanh-gaussian' needs an environment whose actions have finite "
            f"limits, got {space}: choose 'gaussian'."
        )
    return {"low": space.low, "high": space.high}
