"""What a clone must beat: predictions of an action that learn next to nothing.

- constant, the mean action, or of discrete actions the most frequent choices;
- persistence, the action before, which a policy that does not see it cannot return:
  â_t = a_{t−1}, and in the first step the mean of the first actions that are known;
- linear, the least squares of the actions on the observation and 1;
- nearest neighbor, the action at the nearest of the demonstrated observations, each
  axis in units of its standard deviation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt.data import Demonstrations, Normalizer, Trajectory
from roboopt.imitation._action_bounds import ActionBounds
from roboopt.imitation._action_errors import Errors
from roboopt.policies import LinearPolicy

MAX_NEIGHBORS = 50_000
CONSTANT = "constant"
PERSISTENCE = "persistence"
ADVICE = {
    CONSTANT: "it has learned nothing. The observations may not tell the actions.",
    PERSISTENCE: "it has learned less than that the next action is like the last, "
    "which it does not see without `past_actions`.",
    "linear": '`policy` "linear" does better here.',
    "nearest neighbor": "it has not learned what the demonstrations hold. More `steps` "
    'or `width` help, or `policy` "gmm" where they disagree.',
}
"""What to do about a clone that is worse than a baseline."""
MEANT = {
    CONSTANT: "always the mean action",
    PERSISTENCE: "repeating the last action",
    "linear": "a least squares on the observation",
    "nearest neighbor": "the action at the nearest demonstrated observation",
}
"""What a baseline does."""


def baseline_errors(
    known: Sequence[Trajectory],
    asked: Sequence[Trajectory],
    first: Any,
    spread: np.ndarray,
    limits: Mapping[str, Any],
    bounds: ActionBounds | None = None,
) -> dict[str, Errors]:
    """Return the errors of each baseline by its name.

    Args:
        known: the demonstrations that it may know.
        asked: those that it predicts.
        first: what counts as the action before an episode.
        spread: the standard deviation of each axis of an action.
        limits: the actuators' `low` and `high`, at which actions are clipped.
        bounds: the range that the least squares keeps, as the clone does.
    """
    samples = Demonstrations.from_trajectories(known, **limits)
    if not np.asarray(samples.observations).shape[1]:
        return {}
    discrete = np.asarray(samples.actions).dtype.kind in "iu"
    seen = [np.asarray(e.observations, float)[:-1] for e in asked]
    ends = np.cumsum([len(x) for x in seen])[:-1]
    joined = np.concatenate(seen)
    linear = _linear_choices if discrete else _linear
    shifted = [np.concatenate([[first], np.asarray(e.actions)[:-1]]) for e in asked]
    usual = usual_action(np.asarray(samples.actions))
    found = {
        CONSTANT: [np.tile(usual, (len(x), 1)) for x in seen],
        PERSISTENCE: shifted,
        "linear": np.split(linear(samples, joined), ends),
        "nearest neighbor": np.split(_nearest(samples, joined), ends),
    }
    if bounds is not None:
        found["linear"] = [bounds.keep(x) for x in found["linear"]]
    if not discrete:
        found = {
            name: [within(x, e, limits) for x, e in zip(made, asked, strict=True)]
            for name, made in found.items()
        }
    return {name: Errors.of(made, asked, spread) for name, made in found.items()}


def usual_action(actions: np.ndarray) -> np.ndarray:
    """Return the mean of actions, (sample, act); of choices the most frequent ones."""
    if actions.dtype.kind == "f":
        return actions.mean(0)
    return np.array([np.bincount(x - x.min()).argmax() + x.min() for x in actions.T])


def within(
    actions: np.ndarray, episode: Trajectory, limits: Mapping[str, Any]
) -> np.ndarray:
    """Return the actions clipped to the actuators' limits and those of the steps."""
    for name, clip in (("low", np.maximum), ("high", np.minimum)):
        for limit in (limits.get(name), getattr(episode, name)):
            actions = actions if limit is None else clip(actions, np.asarray(limit))
    return actions


def _linear(samples: Demonstrations, asked: np.ndarray) -> np.ndarray:
    real = jax.tree.map(lambda x: jnp.asarray(x, float), samples)
    return np.asarray(jax.jit(jax.vmap(LinearPolicy.of(real)))(jnp.asarray(asked)))


def _linear_choices(samples: Demonstrations, asked: np.ndarray) -> np.ndarray:
    """Return the likeliest choices by least squares on indicators of each choice."""
    ones = lambda x: np.concatenate([x, np.ones((len(x), 1))], 1)  # noqa: E731
    x, rows = ones(np.asarray(samples.observations, float)), []
    for column in np.asarray(samples.actions).T:
        choices = np.unique(column)
        fitted = np.linalg.lstsq(x, (column[:, None] == choices).astype(float))[0]
        rows.append(choices[(ones(asked) @ fitted).argmax(1)])
    return np.stack(rows, 1)


def _nearest(samples: Demonstrations, asked: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    seen = np.asarray(samples.observations, float)
    rows = np.linspace(0, len(seen) - 1, min(len(seen), MAX_NEIGHBORS)).astype(int)
    units = Normalizer.of(seen)
    mean, scale = np.asarray(units.mean()), np.asarray(units.scale())
    tree = KDTree((seen[rows] - mean) / scale)
    _, index = tree.query((asked - mean) / scale)
    return np.asarray(samples.actions)[rows[index]]
