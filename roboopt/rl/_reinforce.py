"""`reinforce`: from an environment and its reward to a policy, in one call.

The policy class and the algorithm follow from the environment: from its spaces, and
from whether it has a differentiable twin. Each algorithm can also be used by itself:
`rl.PPO(...).learn(agent, envs, timesteps=...)`.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Unpack

from roboopt._deadline import require_a_step
from roboopt._errors import RobooptError, require, require_at_least
from roboopt._interrupt import shielded
from roboopt._keywords import RobotOptions, known_keywords, with_options
from roboopt._programs import make_room
from roboopt._progress import progress_line, say_notes
from roboopt.optimize import Log, minimize
from roboopt.policies import NetworkSettings, StatefulPolicy
from roboopt.rl._analytic import AnalyticGradient
from roboopt.rl._judging import judged, unjudged
from roboopt.rl._monitor import LearningStatus, Monitor
from roboopt.rl._parameter_noise import ParameterNoise
from roboopt.rl._pgpe import PGPE
from roboopt.rl._policies import (
    acting_policy,
    deterministic_policy,
    fresh,
    parameter_count,
)
from roboopt.rl._ppo import PPO
from roboopt.rl._result import ReinforceResult
from roboopt.rl._run import Run
from roboopt.rl._shac import SHAC
from roboopt.rl._task import Task
from roboopt.rl._zeroth_order import MixedGradient, ZerothOrderGradient
from roboopt.rollouts import Ray, robot_notes
from roboopt.view import Watch

ALGORITHMS = {
    "ppo": PPO,
    "pgpe": PGPE,
    "shac": SHAC,
    "analytic": AnalyticGradient,
    "zeroth-order": ZerothOrderGradient,
    "mixed": MixedGradient,
}
OF_NETWORK = NetworkSettings.__annotations__
HOLDERS = {
    name: kind for kind in ALGORITHMS.values() for name in kind.__dataclass_fields__
}
"""The algorithms by the names of their settings."""
GRADIENTS = tuple(dict.fromkeys(kind.gradient for kind in ALGORITHMS.values()))
MAX_NOISY_PARAMETERS = 128  # of policies whose parameters are drawn


class Keywords(NetworkSettings, RobotOptions, total=False):
    """Keywords of fresh networks and of simulated robots."""


@known_keywords(Keywords, alone=HOLDERS)
def reinforce(
    env: Any,
    *,
    algorithm: Any = None,
    policy: Any = None,
    gradient: str | None = None,
    timesteps: int | None = None,
    seconds: float = math.inf,
    target: float | None = None,
    envs: int | None = None,
    processes: int = 0,
    workers: Ray | None = None,
    max_steps: int | None = None,
    episodes: int = 100,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
    callback: Callable[[LearningStatus], Any] | None = None,
    checkpoint: str | PathLike | None = None,
    keep: Callable[[ReinforceResult], object] | None = None,
    log: Log | None = None,
    returns_file: str | PathLike | None = None,
    devices: Sequence[Any] | None = None,
    watch: Watch | None = None,
    **more: Unpack[Keywords],
) -> ReinforceResult:
    """Learn a policy that earns more reward in `env`.

    Args:
        env: an id of Gymnasium, such as "CartPole-v1" or "package:Name-v0", an
            `EnvSpec`, an environment that `gymnasium.make` has made, or a function that
            makes an environment.
        algorithm: "ppo", "shac", "pgpe", "analytic", "zeroth-order" or "mixed"; or,
            with settings, `rl.PPO(discount=0.9)`, `rl.SHAC`, `rl.PGPE`,
            `rl.AnalyticGradient`, `rl.ZerothOrderGradient` or `rl.MixedGradient`. If
            None, one with the `gradient` asked for, by its defaults.
        policy: the start: a policy such as a clone or a tuned controller, "network" for
            fresh weights, "pd" for the PD control of an arm; if None, one that fits:
            for arms with goals PD control, or shaped setpoints.
        gradient: "likelihood", the likelihood ratio of sampled actions (PPO), or of
            sampled parameters where a deterministic policy with few of them is given
            (PGPE); "analytic", through the twin; "zeroth-order", from values alone;
            "mixed", of the twin as far as the simulator agrees. If None, "analytic"
            where there is a twin, else "likelihood".
        timesteps: stop before a step of the learning would exceed so many steps of all
            environments together, but not before the first.
        seconds: stop the learning after that long, compilation included, to within
            10 %.
        target: stop once the mean return of the last 100 episodes, or of 20 at first,
            reaches this; where steps run whole episodes, that of the last step's.
        envs: environments side by side; where steps run whole episodes, starts a step.
        processes: processes of the environments; 0 for this one. The likelihood ratio
            runs in the twin where there is one and `processes` is 0.
        workers: a cluster, `rollouts.Ray()`, for whole episodes: those of the
            evaluation, of zeroth-order gradients and of PGPE. PPO steps its
            environments together, on this machine.
        max_steps: the time limit of an episode, in steps.
        episodes: fresh episodes that the policy and its start are evaluated on, or 0.
        options: keywords of the environment's constructor, where `env` is an id.
        seed: the seed of all randomness.
        progress: whether to show the choice, the returns and the evaluation.
        callback: called with a `LearningStatus` several times per second; the learning
            stops where it returns True.
        checkpoint: a file for the state of the learning, written every ten seconds and
            at the end; where it exists, the learning goes on from it. PPO, PGPE and
            SHAC go on with new episodes, and so to another policy than without the
            interruption, which the result says; the others to the same bits.
        keep: called with the result before it is evaluated, such as to save it.
        log: `log(step, metrics)`, told the numbers of every gradient step by name: as
            in `minimize`, and "timesteps", "mean_return" and "episodes", which stand as
            at the last look, several times per second. Where steps run whole episodes,
            of many policies, "evaluated_episodes" are those of the policy itself.
        returns_file: a CSV file for the returns, written as they come.
        devices: such as jax.devices(), which share the twins of PPO and SHAC, and the
            samples of each gradient, as in `minimize`.
        watch: shows the robot in the browser while the policy learns, where there is a
            twin: `ro.view.Watch()`.
        **more: `width`, `depth`, `angles`, … of fresh networks; and keywords in
            `options`, by themselves, such as `locked`.

    Returns:
        The result, also after Ctrl-C, after a value that is not finite, and where an
        environment fails later than at first: see its `reason` and `message`.

    Raises:
        RobooptError: if an argument breaks its rule, or does not fit the environment,
            or no policy can be learned in its spaces, or there is no time for a step.
        EnvError: if the environment fails before the first gradient step.
    """
    make_room()
    network: dict[str, Any] = {k: x for k, x in more.items() if k in OF_NETWORK}
    simulated = {k: x for k, x in more.items() if k not in OF_NETWORK}
    _check(policy, algorithm, gradient, episodes, simulated)
    if isinstance(algorithm, str):
        algorithm = ALGORITHMS[algorithm]()
    task = Task(
        env,
        options=with_options(options, simulated),
        max_steps=max_steps,
        timesteps=timesteps,
        envs=envs,
        processes=processes,
        target=target,
        seed=seed,
        network=network,
        devices=devices,
        workers=workers,
    )
    try:
        if algorithm is None:
            algorithm = default_algorithm(task, policy, gradient)
        run = algorithm.prepare(task, policy)
        run = dataclasses.replace(run, choice={**robot_notes(task.env), **run.choice})
        space = task.env.action_space
        monitor = Monitor(
            run,
            space,
            target=target,
            callback=callback,
            log=log if watch is None else watch.log(log),
            returns_file=returns_file,
            watch=watch,
        )
        say_notes(run.choice, progress)
        with shielded():
            try:
                with (
                    _watched(watch, task, run),
                    progress_line(run.timesteps, progress) as monitor.show,
                ):
                    result = minimize(
                        run.objective,
                        run.model,
                        run.data,
                        steps=run.steps,
                        **{"devices": devices, **run.settings},
                        gradient=run.estimator,
                        seconds=seconds,
                        seed=seed,
                        callback=monitor,
                        log=monitor.log,
                        checkpoint=checkpoint,
                    )
            finally:
                monitor.write()
                run.close()
            require_a_step(result, seconds)
            if result.reason == "interrupted" and not len(result.history["loss"]):
                raise KeyboardInterrupt  # before the first step: nothing to keep
            made = unjudged(task, run, monitor, result, fresh(task, policy))
            if keep is not None:
                keep(made)
        return judged(made, task, run, result, episodes, progress)
    finally:
        task.env.close()


def _watched(
    watch: Watch | None, task: Task, run: Run
) -> contextlib.AbstractContextManager:
    """Return the block within which the robot of a task is shown, if it is to be."""
    if watch is None:
        return contextlib.nullcontext()
    if task.twin is None:
        raise RobooptError(
            f"`watch` must be left out for {task.name}, which has no twin."
        )
    policy = acting_policy(run.model, task.env.action_space)
    return watch.open(task.env, task.starts(watch.starts), policy, task.name)


def default_algorithm(task: Task, policy: Any, gradient: str | None) -> Any:
    """Return the algorithm for `gradient` that fits the task and the policy."""
    if gradient is None:
        gradient = "likelihood" if task.twin is None else "analytic"
    if gradient != "likelihood":
        return ALGORITHMS[gradient]()
    if fresh(task, policy) or task.horizon is None:
        return PPO()
    policy, _ = deterministic_policy(task, policy)
    if isinstance(policy, ParameterNoise):
        return PGPE()
    few = 0 < parameter_count(policy) <= MAX_NOISY_PARAMETERS
    return PGPE() if few and not hasattr(policy, "sample") else PPO()


def _check(
    policy: Any,
    algorithm: Any,
    gradient: str | None,
    episodes: int,
    simulated: Mapping[str, Any],
) -> None:
    """Raise a RobooptError where an argument breaks its rule."""
    require_at_least(0, episodes=episodes)
    if isinstance(policy, str):
        require(policy in ("network", "pd"), "policy", "be 'network' or 'pd'", policy)
    elif policy is not None:
        require(callable(policy), "policy", "map observations to actions", policy)
    forgetful = not isinstance(policy, StatefulPolicy)
    require(forgetful, "policy", "have no memory", type(policy))
    known = gradient in (None, *GRADIENTS)
    require(known, "gradient", f"be one of {GRADIENTS}", gradient)
    kinds = tuple(ALGORITHMS.values())
    known = isinstance(algorithm, kinds) or algorithm in (None, *ALGORITHMS)
    if not known:
        names = ", ".join(f"rl.{kind.__name__}(...)" for kind in kinds)
        raise RobooptError(
            f"`algorithm` must be one of {', '.join(ALGORITHMS)}, or, with settings, "
            f"of {names}, got {algorithm!r}."
        )
    if algorithm is not None and gradient is not None:
        raise RobooptError("`gradient` must be None where an `algorithm` is given.")
    for name in simulated.keys() - RobotOptions.__annotations__.keys():
        raise RobooptError(
            f"`{name}` is no argument of `reinforce`; give it to the algorithm, "
            f"algorithm=rl.{HOLDERS[name].__name__}({name}=...)"
        )
