"""A worker of a Ray cluster: runs the episodes that it is handed."""

import os
import pickle
from typing import Any

import jax
import numpy as np

from roboopt.rollouts._env_worker import received
from roboopt.rollouts._episodes import run_episodes
from roboopt.rollouts._pool import EnvError, Pool


class EpisodeRunner:
    """Environments in a process of their own, and the policy in this one.

    Answers are tuples: "done" and the result, "failed" and what an environment did, or
    "refused" and an error that no other worker would do without.
    """

    def start(self, setup: bytes) -> tuple[Any, ...]:
        """Make the environments; return the properties of one, and the node."""
        import cloudpickle
        import ray  # pyright: ignore[reportMissingImports]

        # Handing an action to a thread takes longer than computing it.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        make, envs, timeout, argument = pickle.loads(setup)
        try:
            self._pool = Pool(
                received(make), envs, processes=1, timeout=timeout, argument=argument
            )
        except Exception as error:
            return "refused", _pickled(error)
        node = ray.get_runtime_context().get_node_id()[:8]
        where = f"node {ray.util.get_node_ip_address()} ({node}), process {os.getpid()}"
        return "done", cloudpickle.dumps(self._pool.description), where

    def run(self, acting: bytes, order: bytes) -> tuple[Any, ...]:
        """Run some episodes; return their motions, or what went wrong."""
        try:
            policy, kind, settings = pickle.loads(acting)
            numbers, starts, data, owners = pickle.loads(order)
            keys = None if data is None else jax.random.wrap_key_data(data, impl=kind)
            made = run_episodes(
                self._pool,
                policy,
                starts,
                keys,
                owners=owners,
                numbers=np.asarray(numbers),
                **settings,
            )
            return "done", pickle.dumps(made, protocol=5)
        except EnvError as error:
            return "failed", _pickled((error, error.episode))
        except Exception as error:
            return "refused", _pickled(error)


def _pickled(error: Any) -> bytes:
    import cloudpickle

    try:
        return cloudpickle.dumps(error)
    except Exception:  # of a user's own class, which holds anything
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
