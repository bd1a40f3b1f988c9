"""Whole episodes on the machines of a Ray cluster.

Each worker gets the policy and some episodes, and returns their motions: only these
cross the network. Episode k has its own seed and key, so that where it runs makes no
difference. The environments of a worker are in a process of their own, with a watchdog,
which names the one that raises, hangs or dies. Episodes that fail, or whose worker or
node is lost, run again elsewhere; their result counts once, when it arrives.
"""

import contextlib
import os
import pickle
import signal
import socket
import sys
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from roboopt._errors import MissingPackage, RobooptError, require, require_at_least
from roboopt.data import Trajectory
from roboopt.rollouts._env_spec import env_maker
from roboopt.rollouts._env_worker import STARTUP_TIMEOUT_S, portable
from roboopt.rollouts._joined import joined
from roboopt.rollouts._pool import EnvError, Pool
from roboopt.rollouts._ray_worker import EpisodeRunner

MAX_ATTEMPTS = 3  # at an episode, before its failure is the caller's
ROUNDS = 2  # episodes of each environment that a worker is handed at a time
WAIT_S = 1.0
CONNECT_S = 10.0
PASSED_ON = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
LOCAL = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}


@dataclass(frozen=True)
class Ray:
    """Workers on a Ray cluster, for `collect`, `evaluate` and `GymRollout`."""

    address: str | None = None
    """Of the cluster, "auto" for the one that this machine belongs to; None for a
    cluster that this process has joined, or else one of this machine alone, which is
    started."""
    workers: int | None = None
    """The number of worker processes; None for one a processor of the cluster."""

    def __post_init__(self):
        require_at_least(1, workers=self.workers)

    def connect(self) -> Any:
        """Join the cluster, or start one; return the module `ray`.

        Raises:
            ImportError: if Ray is not installed.
            RobooptError: if there is no cluster at the address.
        """
        with _own_signals():
            try:
                import ray  # pyright: ignore[reportMissingImports]
            except ImportError as error:
                raise MissingPackage("a cluster needs Ray: pip install ray") from error
            if not ray.is_initialized():
                self._join(ray)
        return ray

    def _join(self, ray: Any) -> None:
        settings: dict[str, Any] = {"address": self.address or "local", **LOCAL}
        if self.address is None:
            settings["num_cpus"] = max(self.workers or 1, os.cpu_count() or 1)
        else:
            del settings["include_dashboard"]  # of those who started the cluster
        try:
            _require_answer(self.address)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's own, of versions to come
                ray.init(**settings)
        except (OSError, RuntimeError, ValueError) as error:
            raise RobooptError(
                f"`address` must be that of a running Ray cluster, got {self.address}: "
                f"{' '.join(str(error).split())}"
            ) from error


def _require_answer(address: str | None) -> None:
    """Raise an OSError where nothing answers: Ray would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_S).close()


@dataclass(frozen=True, eq=False)
class _Batch:
    """Episodes that a worker is handed at a time."""

    episodes: np.ndarray
    attempts: int = 0
    failed_on: tuple[Any, ...] = ()
    """The workers that have lost them."""


class _Worker(NamedTuple):
    actor: Any
    node: str
    """In words."""


class RayPool:
    """The workers of a cluster, which run whole episodes.

    Arguments and errors are those of `GymRollout`; `argument` is the caller's name for
    `make`, in messages.
    """

    def __init__(
        self,
        where: Ray,
        make: Any,
        envs: int,
        *,
        envs_each: int | None = None,
        timeout: float = 60.0,
        argument: str = "make",
    ):
        maker, spec = env_maker(make, name=argument)
        if spec is not None:
            maker = partial(maker, disable_env_checker=True)
        require(envs >= 1, "envs", "be at least 1", envs)
        self._ray = ray = where.connect()
        processors = int(ray.cluster_resources().get("CPU", 1))
        self.workers = where.workers or max(processors, 1)
        self.envs = min(-(-envs // self.workers), envs_each or envs)
        """Environments of each worker."""
        self._setup = ray.put(
            pickle.dumps((portable(maker), self.envs, timeout, argument))
        )
        self._new = ray.remote(EpisodeRunner).options(
            num_cpus=1,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": _surroundings()},
        )
        self._idle: list[_Worker] = []
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[_Worker, _Batch]] = {}
        self.closed = False
        self._close = weakref.finalize(
            self, _kill_all, ray, self._idle, self._starting, self._busy
        )
        self._failure: Exception | None = None
        try:
            for _ in range(self.workers):
                self._start_one()
            self._await_start()
        except BaseException:
            self.close()
            raise

    def run(
        self, policy: Any, starts: list[Any], keys: Any, progress: Any, **settings: Any
    ) -> Trajectory:
        """Run one episode a start, as `run_episodes` does."""
        if self.closed:
            raise RobooptError("the environments are closed: `close` was called.")
        import cloudpickle

        count, owners = len(starts), settings.pop("owners")
        kind = None if keys is None else jax.random.key_impl(keys)
        data = None if keys is None else np.asarray(jax.random.key_data(keys))
        acting = self._ray.put(cloudpickle.dumps((policy, kind, settings)))
        rounds = -(-count // (self.workers * self.envs * ROUNDS))
        parts = np.array_split(np.arange(count), min(self.workers * rounds, count))
        waiting, done = deque(map(_Batch, parts)), 0
        found: list[tuple[np.ndarray, Trajectory]] = []

        def order(batch: _Batch) -> bytes:
            rows = batch.episodes
            own = [None if x is None else x[rows] for x in (data, owners)]
            return cloudpickle.dumps((rows, [starts[k] for k in rows], *own))

        alive = time.monotonic()
        try:
            while done < count:
                self._hand_out(waiting, acting, order)
                alive = time.monotonic() if self._busy else alive
                self._require_workers(time.monotonic() - alive)
                for batch, answer in self._answers(waiting):
                    found.append((batch.episodes, answer))
                    for _ in batch.episodes:
                        done += 1
                        if progress is not None:
                            progress(done)
        except BaseException:
            for worker, _ in self._busy.values():  # They may run for long.
                self._ray.kill(worker.actor)
                self._start_one()
            self._busy.clear()
            raise
        return joined(found, settings["max_steps"])

    def close(self) -> None:
        """End the workers. Closing twice is fine."""
        self.closed = True
        self._close()

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start_one(self) -> None:
        actor = self._new.remote()
        self._starting[actor.start.remote(self._setup)] = actor

    def _await_start(self) -> None:
        """Wait for the first worker, and keep what it says of an environment."""
        began = time.monotonic()
        while not self._idle:
            self._answers(deque())
            self._require_workers(time.monotonic() - began)

    def _require_workers(self, waited: float) -> None:
        """Raise the reason where no worker is there, nor will be."""
        if self._idle or self._busy:
            return
        if self._starting and waited < STARTUP_TIMEOUT_S:
            return
        text = f"no worker of the cluster has started within {waited:.0f} s."
        raise self._failure or EnvError(text)

    def _hand_out(
        self, waiting: deque[_Batch], acting: Any, order: Callable[[_Batch], bytes]
    ) -> None:
        """Give each idle worker a batch, one that it has failed at after all others."""
        for worker in list(self._idle):
            alive = [*self._idle, *(busy for busy, _ in self._busy.values())]

            def fits(batch: _Batch, own: _Worker = worker, alive: Any = alive) -> bool:
                others = [x for x in alive if x.actor not in batch.failed_on]
                return own in others or not others

            batch = next(filter(fits, waiting), None)
            if batch is not None:
                waiting.remove(batch)
                self._idle.remove(worker)
                ref = worker.actor.run.remote(acting, order(batch))
                self._busy[ref] = worker, batch

    def _answers(self, waiting: deque[_Batch]) -> list[tuple[_Batch, Trajectory]]:
        """Wait for batches, return those done; failed ones go back to `waiting`."""
        ray, done = self._ray, []
        refs = [*self._busy, *self._starting]
        ready, _ = ray.wait(refs, num_returns=1, timeout=WAIT_S) if refs else ([], [])
        answer: list[Any]
        for ref in ready:
            try:
                kind, *answer = ray.get(ref)
            except ray.exceptions.RayError as error:
                kind, answer = "lost", [" ".join(str(error).split())]
            if ref in self._starting:
                self._started(self._starting.pop(ref), kind, answer)
                continue
            worker, batch = self._busy.pop(ref)
            if kind == "lost":
                self._start_one()
                told = f"was lost with its worker on {worker.node}"
                waiting.extend(self._again(worker, batch, batch.episodes, told))
                continue
            self._idle.append(worker)
            if kind == "done":
                done.append((batch, pickle.loads(answer[0])))
            elif kind == "refused":
                raise pickle.loads(answer[0])
            else:
                error, episode = pickle.loads(answer[0])
                culprit = batch.episodes if episode is None else np.array([episode])
                told = f"failed on {worker.node}: {error}"
                waiting.extend(self._again(worker, batch, culprit, told, error))
                rest = np.setdiff1d(batch.episodes, culprit)
                if len(rest):
                    waiting.append(_Batch(rest, batch.attempts, batch.failed_on))
        return done

    def _started(self, actor: Any, kind: str, answer: list[Any]) -> None:
        if kind == "done":
            self.description = pickle.loads(answer[0])
            self._idle.append(_Worker(actor, answer[1]))
            return
        self._ray.kill(actor)
        self._failure = EnvError(f"a worker of the cluster was lost: {answer[0]}")
        if kind != "lost":
            self._failure = pickle.loads(answer[0])

    def _again(
        self,
        worker: _Worker,
        batch: _Batch,
        episodes: np.ndarray,
        told: str,
        error: Exception | None = None,
    ) -> list[_Batch]:
        """Return episodes to be run again, and warn; or raise their error."""
        names = ", ".join(map(str, episodes[:8])) + (", …" if len(episodes) > 8 else "")
        text = f"episode{'s' * (len(episodes) > 1)} {names} of {self.description.name} "
        attempts = batch.attempts + 1
        if attempts == MAX_ATTEMPTS:
            text = f"{text}{told} Attempts: {attempts}."
            raised = EnvError(text)
            if isinstance(error, EnvError):
                raised = EnvError(text, step=error.step, action=error.action)
                raised.__notes__ = getattr(error, "__notes__", [])
            raise raised
        warnings.warn(f"{text}{told} Run again elsewhere.", stacklevel=2)
        return [_Batch(episodes, attempts, (*batch.failed_on, worker.actor))]

    @property
    def observation_space(self) -> Any:
        """Return the space of one environment's observations."""
        return self.description.observation_space


def _kill_all(ray: Any, idle: list, starting: dict, busy: dict) -> None:
    if not ray.is_initialized():
        return
    actors = [worker.actor for worker in idle] + list(starting.values())
    for actor in actors + [worker.actor for worker, _ in busy.values()]:
        with contextlib.suppress(Exception):  # The cluster may be gone.
            ray.kill(actor)


def _surroundings() -> dict[str, str]:
    """Return the variables of the environment that a worker begins with."""
    path = [str(Path(folder).absolute()) for folder in sys.path]
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    x64 = str(int(jax.config.values["jax_enable_x64"]))
    computing = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": x64, "OMP_NUM_THREADS": "1"}
    return {"PYTHONPATH": os.pathsep.join(path), **passed, **computing}


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of signals, some of which Ray replaces."""
    kinds = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(kind) for kind in kinds]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # Only the main thread may.
            for kind, handler in zip(kinds, before, strict=True):
                if signal.getsignal(kind) is not handler:
                    signal.signal(kind, handler)


def open_pool(
    make: Any, envs: int, processes: int, workers: Ray | None, **settings: Any
) -> Pool | RayPool:
    """Return the environments, here, in processes, or on a cluster."""
    if workers is None:
        return Pool(make, envs, processes=processes, **settings)
    if not isinstance(workers, Ray):
        raise RobooptError(
            "`workers` must be a cluster, rollouts.Ray(), got "
            f"{workers!r}: worker processes of this machine are `processes`."
        )
    require(not processes, "processes", "be 0 with `workers`", processes)
    return RayPool(workers, make, envs, **settings)
