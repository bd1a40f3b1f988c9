"""Descending in rounds, until fresh starts succeed too.

A controller tuned on a handful of starts can fail from others: an arm nearly stretched
out, whose joints feel little inertia, chatters under gains that suit every start of the
batch. So after each descent fresh starts are run through the twin, those that fail or
chatter replace half of the batch, and the descent goes on from there.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from os import PathLike
from typing import Any

import jax.numpy as jnp
import numpy as np

from roboopt._deadline import TOLERANCE, Late, require_a_step, within
from roboopt._interrupt import exposed
from roboopt._programs import filter_jit
from roboopt.objectives import total
from roboopt.optimize import Checkpoint, Log, OneLog, Result, minimize
from roboopt.tuning._chatter import chatters
from roboopt.tuning._environment import sample_starts
from roboopt.tuning._joints import Joints
from roboopt.tuning._problem import TuningProblem
from roboopt.tuning._result import ROUND

FRESH_STARTS = 128  # that each round is tried on
MAX_ROUNDS = 4
MIN_SECONDS = 1e-3
FRESH_SEED_OFFSET = 2_000_003  # far from the seeds of tuning and test starts


def descend(
    problem: TuningProblem,
    *,
    seconds: float = math.inf,
    seed: int = 0,
    progress: bool = False,
    callback: Callable[[Any], object] | None = None,
    log: Log | None = None,
    checkpoint: str | PathLike | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Result:
    """Tune the controller; return the best on new starts, with all steps' history.

    Args:
        problem: its `steps` are those of the first round; the others take half.
        seconds: wall time for all rounds, kept to within 10 %.
        seed: of the fresh starts.
        progress: whether to show a bar.
        callback: given to `minimize`.
        log: told the steps of all rounds, as in `minimize`.
        checkpoint: a file for the state of all rounds.
        say: called with a line on the result of each round.

    Raises:
        RobooptError: as `minimize` does, or if there is no time for a step.
    """
    began = time.perf_counter()
    objective, steps = problem.objective, problem.steps
    joints = len(Joints.of(problem.env, problem.rollout.dynamics).names)
    batch, model = problem.starts, problem.controller
    failures = batch[:0]
    results, scores, told = [], [], OneLog(log)
    kept = None if checkpoint is None else Checkpoint(checkpoint)
    for number in range(1, MAX_ROUNDS + 1):
        count = steps if number == 1 else max(1, steps // 2)
        try:
            result = minimize(
                objective,
                model,
                batch,
                steps=count,
                seconds=max(seconds - (time.perf_counter() - began), MIN_SECONDS),
                progress=progress,
                callback=callback,
                log=told.of_next,
                checkpoint=kept and kept.part(f"round {number}", steps=count),
            )
        except KeyboardInterrupt:  # before the descent
            if not results:
                raise
            break
        if number == 1:
            require_a_step(result, seconds)
        results.append(result)
        scores.append((-math.inf, -result.loss))  # until fresh starts are tried
        if result.reason == "interrupted" or not result.steps:
            break
        model = result.model
        fresh_seed = seed + FRESH_SEED_OFFSET + number
        fresh = sample_starts(problem.env, FRESH_STARTS, fresh_seed)
        left = TOLERANCE * seconds - (time.perf_counter() - began)
        if number == 1:
            say("compiling the simulation from new starts")
        try:
            with exposed():
                succeeded, loss = within(left, _tried, objective, model, fresh, joints)
        except Late:
            say(f"round {number}: no time is left to try new starts")
            break
        except KeyboardInterrupt:
            break
        scores[-1] = float(succeeded.mean()), -loss
        say(f"round {number}: {succeeded.sum()} of {len(fresh)} new starts succeed")
        if succeeded.all() or time.perf_counter() - began >= seconds:
            break
        failures = np.concatenate([fresh[~succeeded], failures])
        batch = _replace_half(problem.starts, failures)
    return _joined(results, scores)


def _tried(
    objective: Any, model: Any, starts: np.ndarray, joints: int
) -> tuple[np.ndarray, float]:
    succeeded, loss = _try(objective, model, jnp.asarray(starts), joints)
    return np.asarray(succeeded), float(loss)


@filter_jit
def _try(objective: Any, model: Any, starts: Any, joints: int) -> tuple[Any, Any]:
    """Return which starts succeed without chatter, and the loss over all of them."""
    trajectory = objective.rollout(model, starts)
    loss = total(objective.measure(trajectory))
    seen = trajectory.observations
    succeeded = objective.task.success(seen, trajectory.time_step)
    return succeeded & ~chatters(seen, joints), loss


def _replace_half(batch: np.ndarray, failures: np.ndarray) -> np.ndarray:
    """Return a batch of the same size, up to half of it failures, the latest first."""
    hard = failures[: len(batch) // 2]
    return np.concatenate([hard, batch[: len(batch) - len(hard)]])


def _joined(results: list[Result], scores: list[tuple[float, float]]) -> Result:
    """Return the model of the best round with the history of all rounds."""
    last = results[-1]
    best = results[max(range(len(results)), key=lambda i: scores[i])]
    judged = [result.history for result in results if len(result.history["loss"])]
    history = {
        name: np.concatenate([each[name] for each in judged or [last.history]])
        for name in results[0].history
    }
    if len(judged) > 1:
        history[ROUND] = np.repeat(
            np.arange(1.0, len(judged) + 1), [len(each["loss"]) for each in judged]
        )
    parameters, derivatives = (
        {
            name: np.concatenate(
                [getattr(r, kind)[name] for r in results if len(r.history["loss"])]
            )
            for name in getattr(results[0], kind)
        }
        for kind in ("parameters", "derivatives")
    )
    rounds = f"{len(results)} rounds; in the last, " if len(results) > 1 else ""
    return dataclasses.replace(
        best,
        history=history,
        reason=last.reason,
        message=rounds + last.message,
        steps=sum(result.steps for result in results),
        seconds=sum(result.seconds for result in results),
        compile_seconds=results[0].compile_seconds,
        first_gradient=results[0].first_gradient,
        parameters=parameters,
        derivatives=derivatives,
    )
