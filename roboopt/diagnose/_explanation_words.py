"""What the numbers of an `Explanation` say, in sentences."""

import math
from typing import TYPE_CHECKING

import numpy as np

from roboopt.diagnose._parameters import constants_said
from roboopt.report import number, readable

if TYPE_CHECKING:
    from roboopt.diagnose._explanation import Explanation

MIN_OPPOSED = -0.1  # cosine below which two terms pull against each other
KEPT_SHARE = 0.1  # by which the actual decrease may differ from the predicted
TIE = 0.999  # of the largest effect: as large
ROUNDINGS = 4.0  # last digits of the loss: no change
MAX_DIFFERENCE, MAX_ERRORS = 0.02, 5.0  # of a derivative from small steps
VANISHED = 1e-6  # of the largest norm of a layer
MAX_CONFLICTS = 3  # pairs of terms in sentences
MAX_NAMED = 4  # parameters in a sentence
SHORT_STEP, LONG_STEP = 0.2, 1.6  # of the step 1/c that the curvature c makes best
MAX_CURVATURE_ERROR = 0.3  # of the fall that the curvature predicts
STAIR = 1e-3  # of a change of the loss that a slope misses
SILENT_SHARE = 0.1  # of a motion
STEEP = 3.0  # how much larger early steps' derivatives are
DOUBT = 0.1  # of the gradient that may contradict the loss
SURE_SHARE = 0.2  # by which the end of the falling range may differ from 2/c


def signed(value: float) -> str:
    """Return a change with its sign, a dash where it is not known."""
    said = f"{value:+.3g}" if value else "0"
    return "–" if np.isnan(value) else said.replace("-", "−")


def percent(found: "Explanation", row: int) -> str:
    """Return the change of a row that its effect is told for: 1 %, of 0 a number."""
    return "1 %" if found.values[row] else number(0.01 * found.scales[row])


def in_jumps(found: "Explanation", row: int) -> bool:
    """Return whether a derivative of zero is that of a stair, and its ends are not."""
    if not found.evaluated or not 0 <= row < len(found.changes):
        return False
    low, high = found.changes[row]
    slope = 0.01 * abs(found.gradient[row]) * found.scales[row]
    clear = STAIR * min(abs(low), abs(high))
    turns = (low < 0 < high) or (high < 0 < low)
    return bool(turns and slope < clear > noise(found))


def disagreeing(found: "Explanation") -> list[int]:
    """Return the rows of `differences` that contradict the derivative."""
    slopes, errors, said = found.differences.T
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(slopes), np.abs(said))
        off = np.abs(slopes - said) > MAX_ERRORS * errors + MAX_DIFFERENCE * size
    return np.flatnonzero(off & np.isfinite(slopes)).tolist()


def cosine(value: float) -> str:
    """Return a cosine with two digits."""
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")


def noise(found: "Explanation") -> float:
    """Return the change of the loss that may be rounding error."""
    return ROUNDINGS * found.rounding * abs(found.loss)


def sentences(found: "Explanation") -> list[str]:
    """Return what the numbers say, the most important first."""
    if not np.isfinite(found.gradient).all():
        bad = np.array(found.names)[~np.isfinite(found.gradient)]
        return [
            f"The derivative with respect to {', '.join(bad)} is not finite: the loss "
            "has no slope there, and gradient descent cannot start."
        ]
    said = [*_unclear(found), *_largest(found), *_layers(found), *_conflicts(found)]
    said += [*_steps(found), *_logarithms(found), *_times(found)]
    return [*said, *constants_said(found.constants)]


def _unclear(found: "Explanation") -> list[str]:
    """Return where the loss contradicts its derivative."""
    rows = disagreeing(found)
    if not rows:
        return []
    alone = [row for row in rows if row < len(found.names)]
    names = [found.names[row] for row in alone[:MAX_NAMED]]
    where = f"for {names[0]}" if names else "along the gradient"
    if names and found.sizes[alone[0]] > 1:
        where = f"for {names[0]}, scaled as a whole,"
    names = names or ["the parameters together"]
    named = ", ".join(names) + (" and others" if len(alone) > len(names) else "")
    slope, error, said = found.differences[rows[0]]
    slope = slope if abs(slope) > error else 0.0
    if math.isfinite(found.decay_time):
        return [
            "The derivative is not that of the loss: the rollout's "
            f"`gradient_decay_time` of {found.decay_time:g} s lets it fade on its way "
            f"back. So {where} JAX says {number(said)}, and small steps show "
            f"{number(slope)}."
        ]
    return [
        f"The derivative with respect to {named} disagrees with the loss: {where} JAX "
        f"says {number(said)}, and small steps show {number(slope)}. There is a kink, "
        "a `stop_gradient`, a wrong custom derivative, or a loop that loses all "
        "digits: run `roboopt.check_gradient`, and `roboopt.chain`."
    ]


def flat_within(found: "Explanation") -> list[str]:
    """Return what "flat ± 1 %" in the table means, where it is there."""
    words = (found.direction(row) for row in range(len(found.names)))
    flat = next((word for word in words if word.startswith("flat ±")), "")
    if not flat:
        return []
    return [
        f'"L falls by {flat}": L falls neither where the parameter is lowered by '
        f"{flat[7:]} nor where it is raised, though its derivative is not zero."
    ]


def _logarithms(found: "Explanation") -> list[str]:
    if not found.logarithms:
        return []
    names = ", ".join(found.logarithms[:MAX_NAMED])
    if len(found.logarithms) > MAX_NAMED:
        names += " and others"
    many = "are numbers" if len(found.logarithms) > 1 else "is a number"
    return [
        f"{names} {many} of which the model holds the logarithm: value, derivative and "
        "1 % are those of the number, and a gradient step moves the logarithm."
    ]


def _stationary(found: "Explanation") -> list[str]:
    """Return that a gradient of zero is that of a maximum or a saddle point."""
    limit = noise(found)
    slopes = np.abs(found.gradient) * np.array(found.scales)
    exact = found.evaluated and not found.second_order
    if not exact or 0.01 * slopes.max() > limit:
        return []
    stairs = [k for k in range(len(found.names)) if in_jumps(found, k)]
    if stairs:
        low, high = found.changes[stairs[0]]
        return [
            f"The derivative with respect to {found.names[stairs[0]]} is zero, and yet "
            f"{percent(found, stairs[0])} less changes the loss by {signed(low)}, and "
            f"more by {signed(high)}: the loss is a staircase, as after rounding or "
            "counting, and has no gradient to descend along. `gradients.ZerothOrder` "
            "takes longer steps."
        ]
    falls = np.flatnonzero((found.changes < -limit).all(1))
    if not len(falls):
        return []
    rises = np.flatnonzero((found.changes > limit).all(1))
    k = falls[np.argmin(found.changes[falls].max(1))]
    kind = "a saddle point" if len(rises) else "a maximum"
    said = (
        f"The gradient is zero, and yet a change of {found.names[k]} by "
        f"{percent(found, int(k))} either way lowers the loss, by "
        f"{number(-found.changes[k].max())} or more"
    )
    if len(rises):
        k = rises[np.argmax(found.changes[rises].min(1))]
        said += f", while one of {found.names[k]} raises it"
    return [f"{said}: here is {kind}, which gradient descent does not leave by itself."]


def _largest(found: "Explanation") -> list[str]:
    if said := _stationary(found):
        return said
    effects = np.max(np.nan_to_num(np.abs(found.changes)), axis=1, initial=0.0)
    if any(found.at_bound) and not all(found.at_bound):
        effects = np.where(found.at_bound, 0.0, effects)  # It cannot move so.
    k = int(np.argmax(effects))
    if found.gradient_norm == 0 and not effects[k] > noise(found):
        return ["No parameter changes the loss here: the gradient is zero."]
    if not effects[k] > noise(found):
        steepest = found.names[int(np.argmax(np.abs(found.gradient)))]
        return [
            "One percent of no parameter changes the loss by more than its last "
            f"digits ({number(noise(found))}); the steepest slope is that with respect "
            f"to {steepest}."
        ]
    name = found.names[k]
    only = np.sum(effects >= TIE * effects[k]) == 1 and len(effects) > 1
    if found.sizes[k] > 1:
        return [f"One percent matters most in {name}."] if only else []
    largest = ": the largest effect of all parameters." if only else "."
    low, high = found.changes[k]
    step = percent(found, k)
    if low > 0 and high > 0:
        return [
            f"A change of {name} by {step} either way raises the loss: lower it "
            f"changes by {signed(low)}, higher by {signed(high)}{largest}"
        ]
    if found.evaluated and min(low, high) >= -noise(found):
        return [
            f"No change of {name} by {step} lowers the loss: lower it changes by "
            f"{signed(low)}, higher by {signed(high)}{largest}"
        ]
    way, change = ("Raising", high) if high < low else ("Lowering", low)
    if found.evaluated:
        said = f"{way} {name} by {step} changes the loss by {signed(change)}{largest}"
        if (found.gradient[k] > 0) == (way == "Raising"):
            said += f" The slope itself points the other way: {step} is too far for it."
        return [said]
    said = f"By its slope alone, {way.lower()} {name} by {step} promises a change of "
    return [f"{said}the loss by {signed(change)}{largest}"]


def _layers(found: "Explanation") -> list[str]:
    """Return where the derivatives of a network are largest and smallest."""
    layers = list(found.layers())
    if len(layers) < 2:
        return []
    norms = found.layer_norms()[:, -1]
    low, high = int(np.argmin(norms)), int(np.argmax(norms))
    said = (
        f"Layer by layer, the norm of dL/dp lies between {number(norms[low])} "
        f"({layers[low]}) and {number(norms[high])} ({layers[high]})"
    )
    if norms[low] < VANISHED * norms[high]:
        said += f": in {layers[low]} the gradient all but vanishes"
    return [f"{said}."]


def _conflicts(found: "Explanation") -> list[str]:
    pairs = [(i, j) for i in range(len(found.terms)) for j in range(i)]
    scaled = found.cosines
    plain = scaled if found.plain_cosines is None else found.plain_cosines
    if not _mostly_right(found):
        return []
    either = np.fmin(scaled, plain)
    opposed = [p for p in pairs if either[p] < MIN_OPPOSED]
    opposed.sort(key=lambda pair: either[pair])
    said = []
    for i, j in opposed[:MAX_CONFLICTS]:
        one, other = (readable(found.terms[k].name) for k in (j, i))
        said.append(
            f"{one[:1].upper()}{one[1:]} and {other} pull against each other"
            f"{_measured(scaled[i, j], plain[i, j])}."
        )
    if (more := len(opposed) - MAX_CONFLICTS) > 0:
        pairs_said = "pair of terms does" if more == 1 else "pairs of terms do"
        said.append(f"{more} more {pairs_said} so; the table of cosines has them.")
    return said


def _measured(scaled: float, plain: float) -> str:
    """Return the cosine by which terms do so: per percent, per unit, or by both."""
    units, said = ("percent", "unit"), ": the cosine between their gradients"
    if (scaled < MIN_OPPOSED) == (plain < MIN_OPPOSED) or not np.isfinite(plain):
        return f"{said}, per percent of each parameter, is {cosine(scaled)}"
    if scaled > plain:
        units, scaled, plain = units[::-1], plain, scaled
    return (
        f" per {units[0]} of each parameter{said} is {cosine(scaled)}. "
        f"Per {units[1]} they do not: it is {cosine(plain)}"
    )


def _steps(found: "Explanation") -> list[str]:
    if found.gradient_norm == 0 or not len(found.learning_rates):
        return []
    if not _mostly_right(found):
        return []  # The table shows it, and no learning rate is at fault.
    rates, actual = found.learning_rates, found.actual
    lost = ~np.isfinite(actual)
    known = np.where(lost, 0.0, actual)
    if not lost.any() and (np.abs(known) <= noise(found)).all():
        return ["None of these steps changes the loss beyond rounding."]
    with np.errstate(all="ignore"):
        ratio = np.round(known / found.predicted, 3)  # as it is shown
    close = np.abs(ratio - 1) <= KEPT_SHARE + 1e-9
    kept = np.flatnonzero(close & (np.abs(known) > noise(found)) & ~lost)
    rises = np.flatnonzero((known > noise(found)) & ~lost)
    said = []
    if not len(kept) and not lost[0] and known[0] < -noise(found):
        said.append(
            f"At none of the learning rates tried {_listed(rates)} does a plain "
            "gradient step −η dL/dp keep the slope's prediction within 10 %: at "
            f"{rates[0]:g}, the loss falls by {number(-known[0])} where the slope "
            f"promises {number(-found.predicted[0])}."
        )
    if len(kept):
        said.append(
            f"Among the learning rates tried {_listed(rates)}, "
            f"{rates[kept[-1]]:g} is the largest at which a plain gradient step −η "
            "dL/dp keeps the slope's prediction within 10 % (other optimizers take "
            "other steps)."
        )
    if len(rises):
        first, those = rises[0], "them" if said else f"those tried {_listed(rates)}"
        until = f"below {rates[first]:g}"
        if first:
            until = f"between {rates[first - 1]:g} and {rates[first]:g}"
        said.append(
            f"The smallest of {those} at which the loss rises is {rates[first]:g}: "
            f"somewhere {until} a step becomes so long that the slope at its start "
            "says nothing about its end."
        )
    if lost.any():
        said.append(
            f"From a learning rate of {rates[np.argmax(lost)]:g} on, the loss is not "
            "finite after a plain gradient step."
        )
    return [*said, *_curvature(found)]


def _listed(rates: np.ndarray) -> str:
    *others, last = (f"{rate:g}" for rate in rates)
    return f"({', '.join(others)} and {last})"


def _mostly_right(found: "Explanation") -> bool:
    """Return whether what contradicts the loss is a small part of the gradient."""
    rows = disagreeing(found)
    slopes, _, said = found.differences[rows].T
    alone = all(row < len(found.names) for row in rows)
    off = float(np.linalg.norm(slopes - said))
    return alone and off <= DOUBT * found.gradient_norm


def _curvature(found: "Explanation") -> list[str]:
    """Return the best step by the curvature, where losses on the line confirm it."""
    if not found.curvature > 0 or not len(found.line):
        return []
    best = 1 / found.curvature
    fall = float(np.interp(best, found.line_rates, found.line))
    predicted = -0.5 * best * found.gradient_norm**2
    if abs(fall - predicted) > MAX_CURVATURE_ERROR * abs(predicted) - noise(found):
        return []
    said = (
        "The curvature along the gradient, how fast the slope changes, is c = "
        f"{_two(found.curvature)}: where it stays so, a plain gradient step lowers the "
        f"loss most at a learning rate of 1/c = {_two(best)}"
    )
    above = np.flatnonzero(found.line > 0)
    end = found.line_rates[above[0]] if len(above) else np.inf
    if abs(end * found.curvature - 2) <= SURE_SHARE:
        said += f", and raises it beyond 2/c = {_two(2 * best)}"
    return [f"{said}."]


def _two(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _times(found: "Explanation") -> list[str]:
    if found.time is None or not np.isfinite(found.time.sensitivity).all():
        return []
    values, step = found.time.sensitivity, found.time.time_step
    peak, last = int(np.argmax(values)), len(values) - 1
    if values[peak] == 0:
        return []
    said = (
        []
        if found.time.shares is not None
        else [
            "The policy has memory: an action depends on its parameters also through "
            "what it remembers, so that their derivatives are not split by time."
        ]
    )
    said += [
        f"The loss depends most on the action at {peak * step:.3g} s "
        f"(rms dL/da {number(values[peak])}); on the one at {last * step:.3g} s by "
        f"{number(values[last])}."
    ]
    parts = [math.sqrt(np.mean(part**2)) for part in np.array_split(values, 4)]
    over = int(np.max(np.flatnonzero(values))) + 1
    if over < (1 - SILENT_SHARE) * len(values):
        said.append(
            f"No action from {over * step:.3g} s on changes the loss: each is cut off "
            "at its limit, or nothing that it moves is counted."
        )
    elif parts == sorted(parts, reverse=True) and parts[0] > STEEP * parts[-1]:
        said.append(
            "It falls over the motion: an early action changes every state after it, "
            "so that early steps have the larger gradient."
        )
    return said
