"""`tune`: descend on energy and task cost, and test the controller in PyBullet."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError, is_number, require, require_at_least
from roboopt._interrupt import ending, shielded
from roboopt._keywords import RobotOptions, known_keywords, with_options
from roboopt._programs import called, make_room
from roboopt._progress import say, say_notes
from roboopt.data import Trajectory
from roboopt.optimize import Log, Result
from roboopt.policies import within_limits
from roboopt.report import progress_bar
from roboopt.rollouts import (
    EVALUATION_SEED_OFFSET,
    Ray,
    collect,
    open_environments,
    robot_notes,
    twin_rollout,
)
from roboopt.tuning._comparison import WHEN, compare, touching
from roboopt.tuning._environment import sample_starts
from roboopt.tuning._joints import Joints
from roboopt.tuning._problem import TuningProblem
from roboopt.tuning._result import TuneResult
from roboopt.tuning._rounds import descend
from roboopt.tuning._uncertain import behind, run_alike, uncertain
from roboopt.view import Watch, env_scene, scene_or_none

MIN_PARALLEL_EPISODES = 20
MAX_WORKERS = 8


@known_keywords(RobotOptions)
def tune(
    env: Any = None,
    *,
    task: Any = None,
    reference: Any = None,
    robot: str | None = None,
    urdf: str | Path | None = None,
    model: Any = None,
    controller: Any = None,
    steps: int | None = None,
    seconds: float = math.inf,
    duration: float | None = None,
    seed: int = 0,
    starts: int | None = None,
    episodes: int = 100,
    work_weight: float | None = None,
    joule_weight: float | None = None,
    delay: float | tuple[float, float] = 0.0,
    noise: float = 0.0,
    processes: int | None = None,
    workers: Ray | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
    callback: Callable[[Any], object] | None = None,
    log: Log | None = None,
    checkpoint: str | PathLike | None = None,
    keep: Callable[[TuneResult], object] | None = None,
    watch: Watch | None = None,
    **simulated: Unpack[RobotOptions],
) -> TuneResult:
    """Tune a controller on energy and task cost by gradient descent.

    The descent runs through the differentiable twin, in rounds, until the
    controller succeeds from new random starts. Then the starting and the tuned
    controller run from the same random test starts in the twin and in PyBullet. Ctrl-C
    ends the descent with the best controller so far; a second one ends the test.

    Args:
        env: "cart-pole", "arm", "robot", a Gymnasium id, or an environment that has a
            twin and `actuators`; by default the robot that `model`, `robot` or `urdf`
            is, else the cart-pole.
        task: "balance" or "swing-up" for the cart-pole; "reach" or "track" for the arm;
            with `urdf` these two, "balance" or a task of your own; an object with
            `cost_rate` and `success`, or, with `urdf`, its name as "module:NAME" or
            "file.py:NAME"; by default the environment's. A task of your own with `urdf`
            observes [q, q̇]; with `env="arm"` it observes [q, q̇, goal].
        reference: the trajectory of "track", as a CSV file or a mapping of columns:
            `time` [s], and every joint by its name [rad or m] or the tool's `x`, `y`
            and `z` [m], as `roboopt_envs.arm_track.ArmTrack` says.
        robot: "two-link", "iiwa" or "panda", for the arm.
        urdf: a fixed-base robot of your own, instead of `robot`.
        model: a fitted robot, or the path of a run of `identify` or its model.npz.
        controller: a policy, a run of `tune` or its controller.npz; or "pd" (with
            gravity compensation), "pid", "computed-torque", "impedance" (of the tool)
            or "lqr", with gains that suit the robot; by default what suits the robot
            and its starts.
        steps: gradient steps of the first round; 40 by default.
        seconds: limit of the descent's wall time, compilation included [s], kept to
            within 10 %.
        duration: of an episode [s]; by default the environment's.
        seed: of the random starts.
        starts: tuning starts that the objective is the mean over.
        episodes: test starts.
        work_weight: weight of the mechanical work [1/J]; by default energy is a
            tenth of the task cost at first, for fully driven robots three tenths.
        joule_weight: weight of the Joule loss [1/J]; see `work_weight`.
        delay: of the actions [s], or the least and the largest, between which each
            start draws its own; in whole control periods and parts of them.
        noise: standard deviation of the noise in the q and q̇ that the controller sees
            [rad or m, and their rates].
        processes: worker processes of the test, 0 for none; by default one per CPU
            where there are 20 test starts or more.
        workers: a cluster for the test, `rollouts.Ray()`, in their place.
        options: keywords of the environment's constructor, such as `tool`, `locked` or
            `upright`; with `randomize` each start draws a robot of its own, in the
            descent and in the test.
        progress: whether to show bars and the result of each round on stderr.
        callback: called with the `Status` of the descent.
        log: `log(step, metrics)`, told the numbers of every step by name, as in
            `minimize`; such as `ro.loggers.TensorBoard`.
        checkpoint: file for the state of the descent, written every ten seconds and
            after each round. If the file exists, the descent continues from it, to the
            same bits as without the interruption. A file of another descent is refused.
        keep: called with the result before it is tested, such as to save it.
        watch: shows the robot in the browser while the controller is tuned:
            `ro.view.Watch()`.
        **simulated: keywords in `options`, by themselves, such as `locked`.

    Raises:
        RobooptError: if an argument, a file or the environment cannot be worked with,
            `seconds` leave no time for a step, or `checkpoint` is a file of another
            descent.
        KeyboardInterrupt: if Ctrl-C ends the descent before its first step.
    """
    make_room()
    require_at_least(1, episodes=episodes)
    require_at_least(0, seed=seed, processes=processes)
    require(is_number(seconds) and seconds > 0, "seconds", "be positive", seconds)
    problem = TuningProblem.of(
        env,
        task=task,
        reference=reference,
        robot=robot,
        urdf=urdf,
        model=model,
        controller=controller,
        steps=steps,
        duration=duration,
        seed=seed,
        starts=starts,
        work_weight=work_weight,
        joule_weight=joule_weight,
        delay=delay,
        noise=noise,
        options=with_options(options, simulated),
    )
    apart = processes if workers is None else workers
    if apart and problem.plant.spec is None:
        name, none = ("processes", 0) if workers is None else ("workers", None)
        raise RobooptError(
            f"`{name}` must be {none} unless `env` can be made again, as a Gymnasium "
            f"id can, got {apart} and {env}."
        )
    say_notes(robot_notes(problem.env), progress)
    try:
        with shielded():
            with _watched(watch, problem, callback, log) as (callback, log):
                found = descend(
                    problem,
                    seconds=seconds,
                    seed=seed,
                    progress=progress,
                    callback=callback,
                    log=log,
                    checkpoint=checkpoint,
                    say=partial(say, shown=progress),
                )
            if not len(found.history["loss"]):
                raise KeyboardInterrupt  # Before the first step: nothing to keep.
            made = _untested(problem, found, seed)
            if keep is not None:
                keep(made)
        try:
            if ending():
                raise KeyboardInterrupt  # of the descent: the command is to end
            motions = _test(
                problem,
                made.controller,
                episodes,
                seed,
                processes,
                workers,
                progress,
                (delay, noise),
            )
            return _tested(problem, made, motions)
        except KeyboardInterrupt:
            return made
    finally:
        if problem.plant.spec is not None:
            problem.env.close()


@contextlib.contextmanager
def _watched(
    watch: Watch | None,
    problem: TuningProblem,
    callback: Callable[[Any], object] | None,
    log: Log | None,
) -> Iterator[tuple[Callable[[Any], object] | None, Log | None]]:
    """Yield a callback and a log that tell a viewer too, if there is one."""
    if watch is None:
        yield callback, log
        return
    space = problem.env.action_space

    def told(status: Any) -> object:
        watch.update(within_limits(status.model, space))
        return None if callback is None else callback(status)

    before = within_limits(problem.controller, space)
    with watch.open(problem.env, problem.starts, before, problem.title):
        units = {name: f"{name} [{unit}]" for name, unit in _units(problem).items()}
        yield told, watch.log(log, titles={"loss": "objective", **units})


def _test(
    problem: TuningProblem,
    tuned: Any,
    episodes: int,
    seed: int,
    processes: int | None,
    workers: Ray | None,
    progress: bool,
    disturbance: tuple[Any, Any],
) -> dict[str, dict[str, Trajectory]]:
    """Return the motions of both controllers in both simulators."""
    env = problem.env
    before = within_limits(problem.controller, env.action_space)
    test_seed = seed + EVALUATION_SEED_OFFSET
    begin: dict[str, Any] = {"episodes": episodes, "seed": test_seed}
    if hasattr(env.unwrapped, "sample_starts"):
        starts = sample_starts(env, episodes, test_seed)
        begin = {"starts": starts, "seed": test_seed}
    # The descent does without joint limits, which PyBullet's arms run into.
    rollout = twin_rollout(env, joint_limits=True).require()
    rollout, drawn = uncertain(env, rollout, *disturbance, test_seed)
    if processes is None:
        processes = _processes(problem, episodes) if workers is None else 0
    apart = processes or workers is not None
    maker = problem.plant.maker if apart and problem.plant.spec is not None else env
    motions: dict[str, dict[str, Trajectory]] = {"PyBullet": {}, "twin": {}}
    with (
        progress_bar("testing in PyBullet", 2 * episodes, progress) as advance,
        open_environments(maker, episodes, processes, workers) as robots,
    ):
        for when, policy in zip(WHEN, (before, tuned), strict=True):
            motions["PyBullet"][when] = made = collect(
                robots, behind(rollout, policy), progress=lambda _: advance(), **begin
            )
            starts = jnp.asarray(made.observations[:, 0])
            if drawn:
                late = behind(rollout, policy)
                made = run_alike(env, rollout, late, np.asarray(starts), test_seed)
            else:
                made = called(rollout, policy, starts)
            motions["twin"][when] = jax.tree.map(np.asarray, made)
    return motions


def _processes(problem: TuningProblem, episodes: int) -> int:
    """Return one process per processor, none where the test is short."""
    if problem.plant.spec is None or episodes < MIN_PARALLEL_EPISODES:
        return 0
    allowed = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    return min(count, MAX_WORKERS) if count > 1 else 0


def _units(problem: TuningProblem) -> dict[str, str]:
    """Return the units of the terms of the objective, by name."""
    own = problem.objective.terms, problem.controller, problem.starts
    return {name: term.unit for name, term in eqx.filter_eval_shape(*own).items()}


def _untested(problem: TuningProblem, found: Result, seed: int) -> TuneResult:
    starts = problem.starts
    test_seed = seed + EVALUATION_SEED_OFFSET
    run = {"steps": problem.steps, "starts": len(starts), "test_seed": test_seed}
    space = problem.env.action_space
    return TuneResult(
        title=problem.title,
        controller=within_limits(found.model, space),
        before=within_limits(problem.controller, space),
        result=found,
        objective=problem.objective,
        joints=Joints.of(problem.env, problem.rollout.dynamics),
        motions={},
        comparison=None,
        units=_units(problem),
        notes=problem.notes,
        settings={"run": run, **problem.settings},
        env=problem.plant.spec,
        starts=np.asarray(starts),
        fitted=problem.plant.fitted,
        scene=scene_or_none(env_scene, problem.env),
    )


def _tested(
    problem: TuningProblem, made: TuneResult, motions: dict[str, dict[str, Trajectory]]
) -> TuneResult:
    touched = touching(problem.env, motions["PyBullet"]["after"])
    comparison = compare(made.objective, made.joints, motions)
    comparison = dataclasses.replace(comparison, touching=touched)
    return dataclasses.replace(made, motions=motions["PyBullet"], comparison=comparison)
