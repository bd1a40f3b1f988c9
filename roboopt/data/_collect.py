"""Recording trajectories from a Gymnasium environment, any of them."""

from typing import Any

import jax
import numpy as np

from roboopt._act import act
from roboopt.data._trajectory import Trajectory


def collect(
    env: Any,
    policy: Any,
    *,
    starts: Any = None,
    episodes: int | None = None,
    seed: int | None = None,
    progress: Any = None,
) -> Trajectory:
    """Run `policy` in `env`, one episode a start, and return what happened.

    Actions are clipped to a bounded action space, as actuators do. The efforts come
    from `info["effort"]` where the environment gives them, the step from its
    `time_step` [s], or else from `metadata["render_fps"]`.

    Args:
        env: a Gymnasium environment; with `starts` one of `roboopt_envs`.
        policy: `policy(observation) -> action`, or a `Plan`.
        starts: observations to start at, (episodes, obs).
        episodes: how many, where no starts are given.
        seed: of the first episode; the others follow from it.
        progress: called with the number of episodes done, after each.

    Raises:
        ValueError: unless exactly one of `starts` and `episodes` is given; if there is
            none to run, or the episodes end after different numbers of steps.
    """
    if (starts is None) == (episodes is None):
        raise ValueError(
            "either `starts` or `episodes` must be given, got "
            f"{'neither' if starts is None else 'both'}."
        )
    count = len(starts) if starts is not None else episodes
    if not count or count < 1:
        raise ValueError(f"`episodes` must be at least 1, got {count}.")
    decide = _compiled(policy)
    world = env.unwrapped
    time_step = getattr(world, "time_step", None)
    if time_step is None:
        time_step = 1.0 / world.metadata["render_fps"]
    runs = []
    for episode in range(count):
        options = None if starts is None else {"start": np.asarray(starts[episode])}
        observation, _ = env.reset(seed=seed if episode == 0 else None, options=options)
        runs.append(_episode(env, decide, observation, time_step))
        if progress is not None:
            progress(episode + 1)
    lengths = {run.steps for run in runs}
    if len(lengths) > 1:
        raise ValueError(
            "`env` must end every episode after the same number of steps, got "
            f"{min(lengths)} to {max(lengths)}."
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *runs)


def _compiled(policy: Any) -> Any:
    """Return `(observation, time) -> action`, compiled once.

    The policy's arrays are constants of it: passing them would cost more, every step,
    than most policies take.
    """
    return jax.jit(lambda observation, time: act(policy, observation, time))


def _episode(env: Any, decide: Any, observation: Any, time_step: float) -> Trajectory:
    space = env.action_space
    observations, actions, rewards, efforts = [observation], [], [], []
    ended = False
    while not ended:
        action = np.asarray(decide(observation, len(actions) * time_step), space.dtype)
        if hasattr(space, "low"):
            action = np.clip(action, space.low, space.high)
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        observations.append(observation)
        actions.append(np.atleast_1d(action))
        rewards.append(reward)
        efforts.append(info.get("effort"))
    return Trajectory(
        observations=np.stack(observations),
        actions=np.stack(actions),
        time_step=time_step,
        rewards=np.array(rewards, float),
        efforts=None if efforts[0] is None else np.stack(efforts),
    )
