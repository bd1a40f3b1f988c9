"""Robots that are not known exactly: drawn for each start, alike in both simulators."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.dynamics import Randomized, Twin, load_env
from roboopt.rollouts import Rollout, disturbed, episode_seed, randomized, with_twin


def uncertain(
    env: Any, rollout: Rollout, delay: Any, noise: Any, seed: int
) -> tuple[Rollout, str]:
    """Return a rollout with an environment's randomness, delay and noise, and words."""
    share = getattr(env.unwrapped, "randomize", 0.0)
    if not share and not np.any(delay) and not np.any(noise):
        return rollout, ""
    made = Randomized(
        _whole(env, rollout.dynamics),
        **dict.fromkeys(("mass", "damping", "friction"), share),
        delay=delay,
        noise=noise,
    )
    dynamics, key = _in_place(rollout.dynamics, made), jax.random.key(seed)
    rollout = eqx.tree_at(
        lambda r: (r.dynamics, r.key),
        rollout,
        (dynamics, key),
        is_leaf=lambda leaf: leaf is None,
    )
    low, high = made.delay
    late = f"{1e3 * low:g}" if low == high else f"{1e3 * low:g} to {1e3 * high:g}"
    words = [f"masses, damping and friction within ±{share:.0%}"] if share else []
    words += [f"actions {late} ms late"] if high else []
    words += [f"noise of {max(made.noise):g} in q and q̇"] if made.noise else []
    return rollout, ", ".join(words)


def run_alike(
    env: Any, rollout: Rollout, policy: Any, starts: np.ndarray, seed: int
) -> Trajectory:
    """Run a policy through the twins of the robots that `collect` draws with a seed.

    The policy is behind its delay and noise, as `collect` runs it.
    """
    found = randomized(rollout.dynamics)
    assert found is not None
    inner, links = env.unwrapped, found.twin.robot.body_names
    count, joints = len(starts), found.joints
    mass, damping, friction = np.ones((count, len(links))), *np.ones((2, count, joints))
    for k in range(count if inner.randomize else 0):
        factors = inner.sample_factors(episode_seed(seed, k))
        mass[k] = [factors["mass_factors"].get(link, 1.0) for link in links]
        damping[k] = factors["damping_factors"]
        friction[k] = factors["friction_factors"]
    twins = eqx.filter_vmap(
        lambda *own: with_twin(rollout.dynamics, found.scaled(*own))
    )(mass, damping, friction)
    return rollout.each(policy, starts, twins, jax.random.key(np.uint32(seed)))


def behind(rollout: Rollout, policy: Any) -> Any:
    """Return a policy behind the delay and the noise of a rollout, if there are any."""
    found = randomized(rollout.dynamics)
    if found is None:
        return policy
    return disturbed(policy, found, rollout.dynamics.time_step)


def _whole(env: Any, dynamics: Any) -> Twin:
    """Return the twin within a dynamics, with a body for each link."""
    twin = getattr(dynamics, "origin", dynamics)
    if not isinstance(twin, Twin):
        raise RobooptError(
            "`env` must not have a wrapper that rescales actions where `randomize`, "
            "`delay` or `noise` is given."
        )
    return eqx.tree_at(lambda t: t.robot, twin, load_env(env.unwrapped))


def _in_place(dynamics: Any, made: Randomized) -> Any:
    if not hasattr(dynamics, "origin"):
        return made
    return eqx.tree_at(lambda d: d.origin, dynamics, made)
