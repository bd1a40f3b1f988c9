"""Rollouts through any Gymnasium environment, many at once.

A `GymRollout` is called as a `Rollout` and returns the same trajectories, but has no
gradient. Episode k of any two policies begins alike and meets the same randomness, so
that their difference is the policies'.
"""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PRNGKeyArray, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError, require
from roboopt.data import Trajectory
from roboopt.rollouts._collect import check_policy
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._episodes import episode_keys, run_episodes
from roboopt.rollouts._policy_runner import count_policies
from roboopt.rollouts._ray import Ray, open_pool


class GymRollout:
    """Runs policies in environments for `horizon` steps.

    An episode that ends before has reward 0 from there on, and stays at its last
    observation. Rewards, efforts and success are the environment's.

    Attributes:
        horizon: steps.
        time_step: the duration of a step [s]; 1 where the environment does not say.
        steps_made: the steps that environments have taken so far, in all.
        effort_axes: the joints whose efforts a task's cost is of, None for the actions.
        differentiable: False: JAX can neither trace nor differentiate the rollout.
    """

    differentiable = False

    def __init__(
        self,
        make: Any,
        horizon: int,
        *,
        envs: int = 8,
        processes: int = 0,
        workers: Ray | None = None,
        timeout: float = 60.0,
        key: PRNGKeyArray | None = None,
    ):
        """Make the environments.

        Args:
            make: a Gymnasium id, an `EnvSpec`, or a function that makes an environment.
            horizon: steps.
            envs: the number of episodes that run at a time.
            processes: the number of worker processes; 0 for this process, which is
                faster where a step takes microseconds. In processes, an environment
                that hangs or dies does not take this process with it.
            workers: a cluster, `Ray()`, whose workers run the episodes, as in
                `collect`; the `envs` are spread over them.
            timeout: the time within which a worker process must answer [s].
            key: the source of a `StatefulPolicy`'s randomness where a call is given
                none.

        Raises:
            RobooptError: if a number is out of its range, `make` makes no environment
                or cannot be sent to a process, or the spaces are not such as `collect`
                takes.
            EnvError: if a worker dies or hangs at the start.
        """
        require(horizon >= 1, "horizon", "be at least 1 step", horizon)
        self.horizon, self.steps_made, self.key = horizon, 0, key
        self._pool = open_pool(make, envs, processes, workers, timeout=timeout)
        self.time_step = self._pool.description.time_step
        self.effort_axes = self._pool.description.effort_axes

    def __call__(
        self,
        policy: Any,
        starts: Shaped[AnyArray, "..."],
        key: PRNGKeyArray | None = None,
    ) -> Trajectory:
        """Return the trajectories of `policy`, one a start.

        Args:
            policy: as in `collect`; a function must not remember anything.
            starts: observations (starts, obs) for environments that begin where `reset`
                is told by `options["start"]`, as those of `roboopt_envs`; or the seeds
                (starts,) of resets, for any.
            key: the source of the randomness of a `StatefulPolicy`.

        Raises:
            RobooptError: if JAX is tracing; if `starts` are neither, or the environment
                does not begin there; if `policy` needs a key, is not callable, or
                returns an invalid action.
            EnvError: if an environment fails. The next call begins anew.
        """
        _refuse_tracing(policy, starts, key)
        check_policy("policy", policy)
        begins = self._starts(starts)
        return self._run(policy, begins, key, np.arange(len(begins)), None)

    def many(
        self,
        policies: Any,
        starts: Shaped[AnyArray, "..."],
        key: PRNGKeyArray | None = None,
        *,
        paired: bool = False,
    ) -> Trajectory:
        """Return the trajectories (policies, starts, ...) of each from each start.

        Args:
            policies: as `policy`, but that every array has a first axis more, which
                counts the policies.
            starts: as above.
            key: as above; the same for all policies.
            paired: whether each policy has one start of its own; the trajectories are
                then (policies, ...).

        Raises:
            RobooptError: as above; or if the arrays of `policies` differ in their first
                axis.
            EnvError: as above.
        """
        _refuse_tracing(policies, starts, key)
        count, begins = count_policies(policies), self._starts(starts)
        each = np.arange(count)
        if paired and len(begins) != count:
            raise RobooptError(
                f"`starts` must hold one for each of {count} policies, got shape "
                f"{np.shape(starts)}."
            )
        if paired:
            return self._run(policies, begins, key, each, each)
        owners, rows = np.divmod(np.arange(count * len(begins)), len(begins))
        run = self._run(policies, begins, key, rows, owners)
        shape = count, len(begins)
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), run)

    def close(self) -> None:
        """Close the environments, and end their processes. Closing twice is fine."""
        self._pool.close()

    def __enter__(self) -> "GymRollout":
        """Return the rollout."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the rollout."""
        self.close()

    def _starts(self, starts: Any) -> list[Start]:
        starts = np.asarray(starts)
        if starts.ndim == 1 and starts.dtype.kind in "iu" and len(starts):
            least = starts.min()
            require(least >= 0, "starts", "be seeds of at least 0", least)
            return [Start(int(seed), None) for seed in starts]
        if starts.ndim != 2 or len(starts) == 0 or starts.dtype.kind != "f":
            raise RobooptError(
                "`starts` must be observations (starts, obs), or the seeds (starts,) "
                f"of resets, at least one, got {starts.dtype} of shape {starts.shape}."
            )
        size = self._pool.observation_space.shape[0]
        if self._pool.description.unchanged and starts.shape[1] != size:
            raise RobooptError(
                f"`starts` must hold observations of size {size}, got shape "
                f"{starts.shape}."
            )
        # The randomness depends on the start alone, wherever it is in a batch.
        return [
            Start(zlib.crc32(start.tobytes()), {"start": start}) for start in starts
        ]

    def _run(
        self,
        policy: Any,
        starts: list[Start],
        key: PRNGKeyArray | None,
        rows: np.ndarray,
        owners: np.ndarray | None,
    ) -> Trajectory:
        """Run an episode for each of `rows` of `starts`."""
        key = self.key if key is None else key
        run = run_episodes(
            self._pool,
            policy,
            [starts[row] for row in rows],
            None if key is None else episode_keys(key, len(starts))[rows],
            owners=owners,
            max_steps=self.horizon,
        )
        whole = len(rows) * self.horizon
        self.steps_made += whole if run.lengths is None else int(np.sum(run.lengths))
        return run


def _refuse_tracing(*arguments: Any) -> None:
    leaves = jax.tree.leaves(arguments)
    # Under `jax.jit` even a constant is a tracer.
    if any(isinstance(leaf, Tracer) for leaf in (*leaves, jnp.zeros(()))):
        raise RobooptError(
            "`GymRollout` cannot be differentiated, compiled or mapped by JAX: give "
            "`minimize` gradient=roboopt.gradients.ZerothOrder(), and call `many` for "
            "many policies."
        )
