"""What a clone's numbers say: how it does, what was kept, and what to do about it."""

from typing import Any

import numpy as np

from roboopt._progress import counted
from roboopt.imitation._action_errors import as_error
from roboopt.imitation._baselines import ADVICE, CONSTANT, MEANT, PERSISTENCE
from roboopt.imitation._policy_kinds import ON_GRAVITY
from roboopt.imitation._standard_error import ratio_interval
from roboopt.report import interval, number

OVERFITTING_RISE = 0.05  # of the validation loss from its least to its last
MAX_COPYING_RATIO = 1.5  # of persistence's error to the clone's
OVERFITTING_RATIO = 1.5  # of the error held out to the error in training
SERIOUS = {
    "action_out_of_range": " Such an action counts as the limit or more, and the "
    "policy keeps the limits; `clip` says that this is meant.",
    "other_time_step": "",
}
"""What is added to a finding on the demonstrations, by its code."""
COPIED = (
    "its own past actions mislead it, which the baseline does not see: `past_actions` "
    "0 leaves them out."
)


def sentences(made: Any) -> list[str]:
    """Return the sentences about a `CloneResult`, the most important one first."""
    overfits = _overfitting(made)
    said = [*_comparison(made), *_nothing_learned(made), *overfits]
    if made.errors and len(made.error_over_time) == 1:
        said.append(
            "One episode is held out, so that there is no interval: how the error "
            "varies from episode to episode is not known."
        )
    if not made.errors:
        said.append("It was not judged on held-out demonstrations: a signal came.")
    elif made.loss_axes is None:
        held_out, training = made.mismatch["held out"], made.mismatch["training"]
        said.append(
            f"The loss is {number(held_out)} on held-out demonstrations and "
            f"{number(training)} on those it was trained on."
        )
    elif made.training_error_over_time and not overfits:
        error = number(made.training_error)
        said.append(f"On demonstrations that it was trained on it errs by {error}.")
    said += [*_selection(made), *_without_effect(made), *_copying(made)]
    # Without an environment the errors are what matters most.
    acted = "clone" in made.evaluations or made.evaluation_failure
    said.insert(0 if acted else len(said), _outcome(made))
    said += [
        f"In the demonstrations{f', {f}' if f.where else f' {f.message}'}"
        f"{SERIOUS[f.code]}"
        for f in made.findings
        if f.code in SERIOUS
    ]
    constant = [f for f in made.findings if f.code == "constant_action" and not f.where]
    said[:0] = [f"In the demonstrations {f.message}" for f in constant]
    at_rest = made.mismatch.get("held out") == 0 and not made.discrete
    if at_rest and not constant:
        said.append(
            "A held-out error of 0 says little: the held-out actions never "
            "change, or are at the actuators' limits, where asking for more counts "
            "as no error. Hold out more episodes."
        )
    if _worse_than_demonstrator(made):
        said.append(
            "The clone does worse than its demonstrator: its own errors take it "
            "where nobody demonstrated. DAgger (`dagger`) labels those states, and "
            "demonstrations with action noise show how to come back."
        )
    stopped = made.training.message.rstrip(".")
    return [*said, f"The training stopped: {stopped}."]


def _overfitting(made: Any) -> list[str]:
    """Say whether the clone errs much more on demonstrations that it has not seen.

    It overfits if the interval of its error on these lies above that in training, too.
    """
    if not made.training_error_over_time:
        return []
    own, seen = made.errors["clone"], made.training_error
    low, _ = made.error_intervals["clone"]
    doubtful = len(made.error_over_time) == 1
    if own <= OVERFITTING_RATIO * seen or (low <= seen and not doubtful):
        return []
    advice = "more demonstrations help"
    # Nothing else changes a policy that no step of the training made better.
    if not made.linear_kept and made.training.best_step != 0:
        advice += ", or `weight_decay`, `dropout`, or a smaller `width`"
    often = "" if seen == 0 else f", {own / seen:.2g} times as much"
    errs = (
        f"it errs by {number(own)} on held-out actions and by {number(seen)} on those "
        f"that it has learned{often}"
    )
    if doubtful:
        return [
            f"The policy may overfit, or the one episode that is held out be unlike "
            f"the others: {errs}. More held-out episodes tell."
        ]
    return [f"The policy overfits: {errs}; {advice}."]


def _selection(made: Any) -> list[str]:
    """Say at which step the policy was the best, and what training longer does."""
    best, known = made.training.best_step, made.training.history.get("validation")
    if best is None or known is None:
        return []
    last = known[np.isfinite(known)][-1]
    what, unit = "an error", " in the unit of the table"
    if not made.errors:  # and so no table
        unit = " standard deviations of the actions"
    if made.loss_axes is None:
        what, unit = "a loss", ""
    shown = lambda loss: number(as_error(loss, made.loss_axes))  # noqa: E731
    if made.linear_kept and _repeats(made):
        return [
            "The clone repeats the last action: on demonstrations that neither has "
            "seen, no linear policy and no network is better by more than two "
            'standard errors. The policy "mlp" keeps a network.'
        ]
    if made.linear_kept:
        base = ON_GRAVITY if ON_GRAVITY in made.description["policy"] else ""
        return [
            f"The clone is the linear policy{base}{_seen(made, 'of')}: on "
            "demonstrations that neither has seen, no network is better by more than "
            'two standard errors. The policy "mlp" keeps a network.'
        ]
    if memory := _seen(made, "sees"):
        memory = f" It{memory}."
    said = (
        f"The policy is that of step {best} of {made.training.steps}, the best on "
        f"demonstrations that select it, with {what} of {shown(known[best])}{unit}"
    )
    if best == 0 and made.training.steps:
        return [
            f"The policy is the one that the training began with, with {what} of "
            f"{shown(known[0])}{unit} on demonstrations that select it: none of "
            f"{counted(made.training.steps, 'step')} was better there.{memory}"
        ]
    if last - known[best] < OVERFITTING_RISE * abs(known[best]):
        return [f"{said}.{memory}"]
    said = f"{said}; at the end it was {shown(last)}: training longer overfits"
    return [f"{said}.{memory}"]


def _without_effect(made: Any) -> list[str]:
    """Say which options of a network changed nothing, as a linear policy was kept."""
    policy, said = made.description["policy"], []
    least_squares = policy.startswith("linear") and "drawn" not in policy
    if "normalization" in made.description and least_squares:
        said.append(
            "`quantiles` changes nothing here: the least squares of a linear policy "
            "are the same in all units. Against outliers cut them from the "
            "demonstrations."
        )
    if made.linear_kept and "regularization" in made.description:
        said.append(
            f"The regularization, {made.description['regularization']}, is that of the "
            "network, which was no better: it changes nothing in a linear policy."
        )
    return said


def _repeats(made: Any) -> bool:
    """Return whether the clone sees its last action, and errs as repeating it."""
    copied = made.baseline_over_time.get(PERSISTENCE, ())
    pairs = zip(made.error_over_time, copied, strict=False)
    return bool(_seen(made, "of") and copied) and all(
        np.allclose(own, other, rtol=1e-6, atol=1e-9) for own, other in pairs
    )


def _copying(made: Any) -> list[str]:
    """Warn of a small error that may be the last action's, where nothing else tells.

    So it may be where repeating that action predicts better than all that is made of
    the observation alone, or nearly as well as the clone.
    """
    copied = made.errors.get(PERSISTENCE, np.inf)
    seeing = [
        made.errors[k] for k in ("linear", "nearest neighbor") if k in made.errors
    ]
    alike = copied <= MAX_COPYING_RATIO * made.errors.get("clone", 0.0)
    if not (alike or copied < min(seeing, default=0.0)) or _repeats(made):
        return []
    if "clone" in made.evaluations or not _seen(made, "sees"):
        return []
    return [
        "The clone sees its own past actions, and repeating the last one errs by only "
        f"{number(copied)}: it may mostly copy itself, which a held-out error does not "
        "show and the task may not forgive. Judge it in `env` or on the robot, or give "
        "`past_actions` 0."
    ]


def _seen(made: Any, word: str) -> str:
    """Return what the policy sees, where it sees its own past actions, too."""
    seen = made.description.get("input", "")
    return f" {word} {seen}" if "past action" in seen else ""


def _comparison(made: Any) -> list[str]:
    """Say which baselines predict the held-out actions better, each with its error.

    One does for certain if the interval of the ratio, by the spread of episodes, says
    so.
    """
    others = {k: x for k, x in made.errors.items() if k != "clone"}
    if not others:
        return []
    own, count = made.errors["clone"], len(made.error_over_time)
    said = f"The clone errs by {number(own)} on held-out actions"
    ranked = sorted(others, key=others.__getitem__)
    best = f"the best baseline, {ranked[0]},"
    if number(own) == number(others[ranked[0]]):
        same = f"{said}, and so does {best[:-1]}"
        return [f"{same}: it is no better than {MEANT[ranked[0]]}."]
    ratios = {k: ratio_interval(*made.costs("clone", k)) for k in others}
    better = {k: f"{k}, {number(others[k])}" for k in ranked if others[k] < own}
    certain = [k for k in better if ratios[k][0] > 1]
    doubtful = [text for k, text in better.items() if k not in certain]
    few = f"{count} episodes cannot" if count > 1 else "one episode cannot"
    if len(doubtful) > 1 and not certain:
        said += f"; these baselines err less: {'; '.join(doubtful)}"
        return [f"{said}. {few.capitalize()} tell whether they are better."]
    if not certain:
        said += f"; {best} errs by {number(others[ranked[0]])}"
        low, high = ratios[ranked[0]]
        if low <= 1 <= high:
            said += f", and {few} tell which of the two is better"
        return [f"{said}."]
    advice = ADVICE[certain[0]]
    if made.linear_kept and certain[0] == "linear" and _seen(made, "of"):
        advice = COPIED
    plural = "s" if len(certain) > 1 else ""
    worse = ", and ".join(better[k] for k in certain)
    said += f", more than the baseline{plural} {worse}: {advice}"
    if doubtful:
        said += f" {few.capitalize()} tell of {' and '.join(doubtful)}, which err less."
    return [said]


def _nothing_learned(made: Any) -> list[str]:
    """Say where the held-out episodes cannot tell the clone from a constant action."""
    if CONSTANT not in made.errors or made.errors[CONSTANT] == 0:
        return []
    low, high = ratio_interval(*made.costs("clone", CONSTANT))
    if low > 1 or high < 1:
        return []
    if np.isinf(high) and made.errors["clone"] < made.errors[CONSTANT]:
        return []  # One episode, or a clone without error.
    if number(made.errors["clone"]) == number(made.errors[CONSTANT]):
        return []  # The comparison says so.
    episodes = counted(len(made.error_over_time), "held-out episode")
    learned = ": nothing shows that the clone has learned anything"
    if "clone" in made.evaluations:
        successes = made.evaluations["clone"].successes
        if successes is None:
            learned = ": judge the clone by its return"
        elif successes.any():
            learned = ""
    return [
        f"Always the mean action errs by {number(made.errors[CONSTANT])}, which "
        f"{episodes} cannot tell from the clone's error{learned}."
    ]


def _outcome(made: Any) -> str:
    if made.evaluation_failure:
        return f"The clone could not be evaluated: {made.evaluation_failure}"
    if "clone" not in made.evaluations:
        return "The clone was trained without an environment to act in."
    clone, other = made.evaluations["clone"], made.evaluations.get("demonstrator")
    episodes = counted(len(clone.returns), "episode")
    if clone.successes is not None:
        said = f"The clone succeeds in {clone.successes.sum()} of {episodes}"
        if other is not None and other.successes is not None:
            total = other.successes.sum()
            said += f"; its demonstrator, from the same starts, in {total}"
    else:
        mean = interval(clone.mean_return)
        said = f"The clone's mean return over {episodes} is {mean}"
        if other is not None:
            said += f"; its demonstrator's is {number(other.mean_return.value)}"
    return f"{said}."


def _worse_than_demonstrator(made: Any) -> bool:
    """Return whether the intervals of both do not overlap."""
    clone, other = (made.evaluations.get(n) for n in ("clone", "demonstrator"))
    if clone is None or other is None:
        return False
    if clone.success_rate is None or other.success_rate is None:
        return clone.mean_return.high < other.mean_return.low
    return clone.success_rate.high < other.success_rate.low
