"""Descending in rounds, until fresh starts succeed too.

A controller tuned on a handful of starts can fail from others: an arm nearly stretched
out, whose joints feel little inertia, chatters under gains that suit every start of the
batch. So after each descent fresh starts are run through the twin, those that fail take
the place of half of the batch, and the descent goes on from there.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import roboopt as ro
from roboopt.objectives import total

FRESH = 128  # starts that each round is tried on
ROUNDS = 4
TRIED = 2_000_003  # their seeds, far from those of tuning and judging


def descend(
    recipe: Any,
    *,
    steps: int,
    seconds: float = math.inf,
    seed: int = 0,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> ro.Result:
    """Tune the recipe's controller; return the best on fresh starts, and all steps.

    Args:
        recipe: what is tuned.
        steps: of the first round; the others take half as many.
        seconds: for all rounds.
        seed: of the fresh starts.
        progress: whether to show a bar.
        say: told what each round came to.

    Raises:
        ValueError: as `minimize` does.
    """
    began = time.perf_counter()
    tries = eqx.filter_jit(lambda model, starts: _try(recipe.objective, model, starts))
    batch, model = recipe.starts, recipe.controller
    failures = batch[:0]
    results, judged = [], []
    for number in range(1, ROUNDS + 1):
        left = seconds - (time.perf_counter() - began)
        if left <= 0:
            break
        result = ro.minimize(
            recipe.objective,
            model,
            batch,
            steps=steps if number == 1 else max(1, steps // 2),
            seconds=left,
            progress=progress,
        )
        results.append(result)
        if result.reason == "interrupted":
            judged.append((-math.inf, -result.loss))
            break
        model = result.model
        fresh = recipe.env.sample_starts(FRESH, seed=seed + TRIED + number)
        succeeded, loss = tries(model, jnp.asarray(fresh))
        succeeded = np.asarray(succeeded)
        judged.append((float(succeeded.mean()), -float(loss)))
        say(f"round {number}: {succeeded.sum()} of {FRESH} fresh starts succeed")
        if succeeded.all():
            break
        failures = np.concatenate([fresh[~succeeded], failures])
        batch = _replaced(recipe.starts, failures)
    return _together(results, judged, time.perf_counter() - began)


def _try(objective: Any, model: Any, starts: Any) -> tuple[Any, Any]:
    """Return which starts succeed, and the loss over all of them."""
    trajectory = objective.rollout(model, starts)
    loss = total(objective.measure(trajectory))
    return objective.task.success(trajectory.observations, trajectory.time_step), loss


def _replaced(batch: np.ndarray, failures: np.ndarray) -> np.ndarray:
    """Return a batch of the same size, up to half of it failures, the latest first."""
    hard = failures[: len(batch) // 2]
    return np.concatenate([hard, batch[: len(batch) - len(hard)]])


def _together(
    results: list[ro.Result], judged: list[tuple[float, float]], seconds: float
) -> ro.Result:
    """Return the best round's model with the history of all."""
    if len(results) > 1 and results[-1].reason == "interrupted":
        # It was not tried; the round before was.
        best = results[max(range(len(results) - 1), key=lambda i: judged[i])]
    else:
        best = results[max(range(len(results)), key=lambda i: judged[i])]
    history = {
        name: np.concatenate([result.history[name] for result in results])
        for name in results[0].history
    }
    rounds = f"{len(results)} rounds; in the last, " if len(results) > 1 else ""
    return ro.Result(
        model=best.model,
        loss=best.loss,
        history=history,
        reason=results[-1].reason,
        message=rounds + results[-1].message,
        steps=sum(result.steps for result in results),
        seconds=seconds,
        compile_seconds=results[0].compile_seconds,
    )
