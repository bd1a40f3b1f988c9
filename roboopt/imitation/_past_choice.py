"""Whether the clone sees its last actions, where nobody said.

A policy that sees its last action can copy it, and then a small error says little (see
`policies.PastActions`). So it sees actions only where without them it predicts worse
than copying does, as with demonstrations by people, who hesitate, and pass an obstacle
now on one side and now on the other; and in an environment, only if it does the task
better then.
"""

import time
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from roboopt._interrupt import ending, exposed
from roboopt._progress import say
from roboopt.imitation._baselines import PERSISTENCE
from roboopt.imitation._clone_training import Training
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.optimize import Checkpoint, Log, OneLog, Result
from roboopt.rollouts import Evaluation

PAST_ACTIONS = 3  # tell a velocity from tremor
MAX_SHARE = 0.9  # of the error of copying, above which it counts as no better
UNFINISHED = ("seconds", "interrupted")


def trained(
    build: Callable[[int], Training],
    data: DemonstrationSet,
    *,
    past_actions: int | None,
    seconds: float,
    checkpoint: str | PathLike | None,
    log: Log | None = None,
    showing: Callable[[Training], Any],
    acting: Callable[[Mapping[str, Any]], Mapping[str, Evaluation]],
    keep: Callable[[Training, Result], object],
    **budget: Any,
) -> tuple[Training, Result]:
    """Return the training and its result.

    Args:
        build: returns the training of a policy that sees so many past actions.
        data: the demonstrations.
        past_actions: how many it sees; if None, three if it needs them.
        seconds: time limit of all training [s].
        checkpoint: file for its state.
        log: told the steps of all training.
        showing: returns the block within which a training is shown, and which yields
            a callback for its descent.
        acting: lets policies, by name, do the task; none where there is no environment.
        keep: called with a first training before it is compared with another.
        **budget: of `Training.run`.
    """
    kept = None if checkpoint is None else Checkpoint(checkpoint)
    began, told = time.perf_counter(), OneLog(log)

    def run(past: int, name: str, seconds: float) -> tuple[Training, Result, float]:
        with exposed():
            training = build(past)
        part = None if kept is None else kept.part(name)
        settings = {"seconds": seconds, "checkpoint": part, "log": told.of_next}
        with showing(training) as callback:
            result = training.run(callback=callback, **settings, **budget)
        return training, *training.selected(result)

    training, result, error = run(past_actions or 0, "", seconds)
    left = seconds - (time.perf_counter() - began)
    late = result.reason in UNFINISHED or ending() or left <= 0
    if past_actions is not None or training.validation is None or late:
        return training, result
    keep(training, result)
    say("comparing with the baselines", budget.get("progress", False))

    def compared() -> tuple[Training, Result]:
        """Return the one that is kept, after another training if there is need."""
        own, selecting = error, data.known if training.folded else data.validation
        copied = training.baselines(data, data.training, selecting)[PERSISTENCE].total
        if training.selection is None:
            own = training.errors(result.model, selecting).total
        if own < MAX_SHARE * copied:
            return training, result
        say("training again, with past actions to see", budget.get("progress", False))
        other, second, found = run(PAST_ACTIONS, "past actions", left)
        if other.selection is None:
            seen = data.with_past_actions(PAST_ACTIONS).validation
            found = other.errors(second.model, seen).total
        if found >= own:
            return training, result
        done = acting(
            {
                "clone without past actions": training.acting(result.model),
                "clone with past actions": other.acting(second.model),
            }
        )
        without, seeing = map(_score, done.values()) if done else ((), (0,))
        return (other, second) if seeing > without else (training, result)

    try:
        with exposed():
            return compared()
    except KeyboardInterrupt:
        return training, result


def _score(evaluation: Evaluation) -> tuple[float, ...]:
    """Return the share of successes, where that is defined, and the mean return."""
    success, mean = evaluation.success_rate, evaluation.mean_return.value
    return (mean,) if success is None else (success.value, mean)
