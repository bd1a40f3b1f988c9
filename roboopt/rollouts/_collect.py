"""Recording episodes of a policy in any Gymnasium environment."""

import contextlib
import math
from collections.abc import Callable
from os import PathLike
from typing import Any

import jax
import numpy as np

from roboopt._digest import HASH, digest
from roboopt._errors import RobooptError, require
from roboopt.data import Trajectory
from roboopt.policies import StatefulPolicy
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._env_spec import EnvSpec, env_maker, is_env
from roboopt.rollouts._episodes import episode_keys, run_episodes
from roboopt.rollouts._parts import EpisodeParts
from roboopt.rollouts._pool import Pool
from roboopt.rollouts._ray import Ray, RayPool, open_pool

ENVS_PER_PROCESS = 16
"""The more step side by side, the less each step costs here; but each one's robot is
loaded first, which with detailed meshes takes a second and 100 MB."""


def collect(
    env: Any,
    policy: Any,
    *,
    episodes: int | None = None,
    starts: Any = None,
    seed: int | None = None,
    label: Any = None,
    max_steps: int | None = None,
    processes: int = 0,
    workers: Ray | None = None,
    progress: Callable[[int], object] | None = None,
    checkpoint: str | PathLike | None = None,
) -> Trajectory:
    """Run `policy` in `env` and return the episodes, stacked in one `Trajectory`.

    Continuous actions are clipped to their limits, as actuators do, and recorded so;
    discrete actions are recorded as integers, (T, 1). Efforts come from
    `info["effort"]`, success from the environment's `task` or else from the last
    `info["is_success"]` or `info["success"]`. The time step is the environment's
    `control_period`, `time_step`, `dt` or `tau` [s], or else
    1/`metadata["render_fps"]`, or else 1 s.

    Args:
        env: an environment, a Gymnasium id, an `EnvSpec`, a function that makes an
            environment, or what `open_environments` returns; with observations that are
            vectors and actions that are vectors or discrete. With `starts`, the
            environment must begin where `reset` is told by `options["start"]`, as those
            of `roboopt_envs` do.
        policy: `policy(observation) -> action`, an `OpenLoop`, a `TimeVaryingPolicy` or
            a `StatefulPolicy`. A function need not be JAX's; a function that returns
            arrays of JAX must be pure.
        episodes: the number of episodes, where no starts are given.
        starts: observations to start at, (episodes, obs).
        seed: the source of all randomness, of the environment and the policy. Episode k
            begins alike whatever happened before, whoever acts, and however many
            episodes run side by side; None is random.
        label: a policy whose actions are recorded in place of those of `policy`, which
            acts (Ross et al., 2011, DAgger; Laskey et al., 2017, DART). Rewards and
            efforts remain those of what acted.
        max_steps: the end of an episode that the environment has not ended before.
        processes: the number of worker processes that run episodes side by side. They
            need an `env` that can be made again, and a policy that remembers nothing
            outside its carry.
        workers: a cluster, `Ray()`, whose workers run the episodes; Python, roboopt and
            the environment must be installed on each machine. Episodes that fail there
            run again elsewhere, with a warning, up to three times.
        progress: called with the number of episodes done, after each.
        checkpoint: folder for finished episodes, written every ten seconds and at the
            end, also after an error or Ctrl-C. If there are some, the others are run,
            and there may be more `episodes` than before; remove the folder once the
            recording is saved. The recording is that without the interruption, to the
            bit, as far as the environment and the policy carry nothing from one episode
            to the next; with `processes`, to rounding in the policy. A folder of
            another recording is refused: one of another environment, policy, label,
            seed, starts or time limit.

    Raises:
        RobooptError: unless exactly one of `starts` and `episodes` is given; if there
            is none to run, or another argument is out of its range; if the spaces of
            `env` are other than above, it does not begin at the starts, cannot be made
            again for `processes`, or nothing ends its episodes within 100 000 steps; if
            `policy` or `label` is not callable, or returns an invalid action.
        EnvError: if the environment fails.
    """
    return collect_in(
        env,
        policy,
        episodes,
        starts,
        seed,
        label,
        max_steps,
        processes,
        workers,
        progress,
        checkpoint,
    )[0]


def collect_in(
    env: Any,
    policy: Any,
    episodes: int | None = None,
    starts: Any = None,
    seed: int | None = None,
    label: Any = None,
    max_steps: int | None = None,
    processes: int = 0,
    workers: Ray | None = None,
    progress: Callable[[int], object] | None = None,
    checkpoint: str | PathLike | None = None,
) -> tuple[Trajectory, float | None]:
    """Return what `collect` does, and the environment's reward threshold."""
    if (starts is None) == (episodes is None):
        raise RobooptError(
            "either `starts` or `episodes` must be given, got "
            f"{'neither' if starts is None else 'both'}."
        )
    count = len(starts) if episodes is None else episodes
    for name, value, least in (
        ("episodes", count, 1),
        ("seed", seed, 0),
        ("max_steps", max_steps, 1),
        ("processes", processes, 0),
    ):
        require(value is None or value >= least, name, f"be at least {least}", value)
    check_policy("policy", policy)
    if label is not None:
        check_policy("label", label)
    known = seed is not None or checkpoint is None
    require(known, "seed", "be given with a `checkpoint`", seed)
    seeds = [None if seed is None else episode_seed(seed, k) for k in range(count)]
    options = [None] * count
    if starts is not None:
        options = [{"start": np.asarray(start)} for start in starts]
    keys = None
    if isinstance(policy, StatefulPolicy) or isinstance(label, StatefulPolicy):
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        keys = episode_keys(jax.random.key(np.uint32(seed % 2**32)), count)
    alone = workers is None or checkpoint is None
    require(alone, "checkpoint", "be None with `workers`", checkpoint)
    with _opened(env, count, processes, workers, checkpoint) as pool:
        parts = None
        if checkpoint is not None and isinstance(pool, Pool):
            limits = pool.observation_space, pool.action_space
            identity = {
                "environment": pool.description.name + HASH + _env_digest(env, limits),
                "policy": _described(policy),
                "label": _described(label),
                "seed": str(seed),
                "starts": HASH + digest(starts),
                "max_steps": str(max_steps),
            }
            parts = EpisodeParts(checkpoint, identity)
        run = run_episodes(
            pool,
            policy,
            list(map(Start, seeds, options)),
            keys,
            label=label,
            max_steps=max_steps,
            progress=progress,
            parts=parts,
        )
        return run, pool.description.reward_threshold


def _env_digest(env: Any, limits: Any) -> str:
    """Return the digest of an environment by its spec, or else by its maker."""
    known = isinstance(env, str | EnvSpec) or is_env(env)
    spec = EnvSpec.of(env) if known else None
    return digest(limits, env if spec is None else (spec.id, spec.options))


def _described(policy: Any) -> str:
    return f"{type(policy).__name__}{HASH}{digest(policy)}"


def episode_seed(seed: int, episode: int) -> int:
    """Return the seed that `collect` resets the environment of an episode with."""
    # Mixed, not added: seeds 0 and 1 must share no episode.
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


def check_policy(name: str, policy: Any) -> None:
    """Raise a RobooptError if the argument `name` cannot act."""
    if not callable(policy):
        other = ""
        if isinstance(policy, str | EnvSpec) or is_env(policy):
            other = ": the environment comes first, `(env, policy)`"
        raise RobooptError(
            f"`{name}` must be callable, observation -> action, or a `StatefulPolicy`, "
            f"got {policy!r}{other}."
        )


def _opened(
    env: Any, count: int, processes: int, workers: Ray | None, checkpoint: Any
) -> contextlib.AbstractContextManager[Pool | RayPool]:
    """Return the environments, which stay open if they were open before."""
    if not isinstance(env, Pool | RayPool):
        return open_environments(env, count, processes, workers)
    for name, value in {"processes": processes or None, "workers": workers}.items():
        require(value is None, name, "be left out for open environments", value)
    known = checkpoint is None
    require(known, "checkpoint", "be None for open environments", checkpoint)
    return contextlib.nullcontext(env)


def open_environments(
    env: Any, episodes: int, processes: int = 0, workers: Ray | None = None
) -> Pool | RayPool:
    """Return the environments that `collect` runs so many episodes in.

    `collect` and `evaluate` take them as their `env`, so that the robots of several
    recordings are loaded once. They are a context manager that closes them.
    """
    if not processes and workers is None:
        return Pool(env, 1, argument="env")
    if is_env(env):
        env, _ = env_maker(env)
    if workers is not None:
        # Of each worker: how many there will be is not known yet.
        settings = {"processes": processes, "envs_each": ENVS_PER_PROCESS}
        return open_pool(env, episodes, workers=workers, argument="env", **settings)
    rounds = math.ceil(episodes / (ENVS_PER_PROCESS * processes))
    return Pool(env, math.ceil(episodes / rounds), processes=processes, argument="env")
