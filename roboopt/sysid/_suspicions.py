"""What of a robot's file or of its columns may be wrong where its efforts are not met.

Least squares in the base parameters meet the efforts of a robot whose masses nobody
knows, but not those of one with an axis reversed, joints exchanged, or gravity along
another direction, nor efforts that were logged late: each is tried, and named where
clearly less is left with it, also of recordings that least squares have not seen. That
takes no fit, and is said before the first. So are efforts in another unit, which least
squares meet with a robot of another mass.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, joint_numbers
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, effort_rows
from roboopt.sysid._effort_units import OTHER_UNIT, effort_factors, unit_phrases
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._smoothing import least_squares_numbers
from roboopt.sysid._springs import SPRING, spring_phrases
from roboopt.sysid._unrecorded_forces import moved_from_outside
from roboopt.urdf import EARTH_GRAVITY

GRAVITY = "gravity"
UNRECORDED = "forces that are not recorded"
MIN_SHARE = 0.1  # of a joint's efforts, left by least squares
MIN_GAIN = 1.5  # ratio of what is left, that names a suspicion
MIN_FURTHER_GAIN = 1.3  # of a change to others
TIE = 1.05  # of what is left: neither explains it better
MAX_INSTANTS = 1000
MIN_SMALL_SHARE = 0.01  # of a joint's efforts: less is no delay and no tilt
LONGEST_DELAY_S = 0.1
FIRST_TILT = 0.3  # of gravity, in radians: a base is seldom tilted by more
MAX_TILTS = 60  # that are tried
HELD_OUT_SHARE = 0.25  # of recordings, where none are held out


@dataclasses.dataclass(frozen=True)
class _Case:
    """The recordings and the robot as they may have been meant."""

    model: ParametricTwin
    data: tuple[Trajectory, Trajectory]
    """What least squares see, and what they are judged on."""
    said: tuple[str, ...] = ()
    condensed: Condensed | None = None
    """What least squares see, where another case has told it."""


def suspicion_sentence(found: tuple[str, ...]) -> str:
    """Return a sentence on what explains the efforts better, as a warning."""
    if found == (UNRECORDED,):
        return (
            "the recorded efforts do not explain the motion: they hold nothing of the "
            "robot's inertia. Was the robot moved by hand, or by other forces that are "
            "not recorded?"
        )
    whole = [one for one in found if one.startswith((OTHER_UNIT, SPRING))]
    better = [phrase for phrase in found if phrase not in whole]
    said = [
        "least squares explain the efforts clearly better with "
        f"{', and '.join(better)}: check the URDF and the columns"
    ]
    return f"{'; '.join([*(said if better else []), *whole])}."


def suspicions(
    error: InverseDynamicsError,
    model: ParametricTwin,
    data: Trajectory,
    held_out: Trajectory | None = None,
    cutoff: float | None = None,
    passive: Sequence[int] = (),
) -> tuple[str, ...]:
    """Return what explains most of what least squares leave of the efforts.

    Phrases, each of a change that makes what is left clearly less, of the recordings
    `held_out` (or of the ends of `data`) too, or of effort columns in another unit.
    `UNRECORDED` alone where the efforts hold nothing of the robot's inertia, as far as
    data tell that are smoothed above a `cutoff` [Hz]. Of a robot with `passive` joints
    only springs at these.
    """
    steps = int(np.prod(data.actions.shape[:-1]))
    every = max(error.every, steps // MAX_INSTANTS)
    independent = np.inf if cutoff is None else 2 * cutoff * steps * data.time_step
    error = dataclasses.replace(error, every=every, filter=None)
    case = _Case(model, _parted(data) if held_out is None else (data, held_out))
    if passive:
        return spring_phrases(error, model, case.data, passive)
    found = _explaining(error, case)
    if found is not case:
        left, first = (_left(error, one, judged=True) for one in (found, case))
        found = found if _gain(left, first) < 1 / MIN_GAIN else case
    weightless = _with_gravity(found.model, np.zeros(3))
    rows, others = (
        _rows(error, x, found.data[0])[1] for x in (found.model, weightless)
    )
    outside = moved_from_outside(rows, others, model, independent)
    if outside:
        return (UNRECORDED,)
    return (*found.said, *unit_phrases(effort_factors(rows, found.model), model))


def _parted(data: Trajectory) -> tuple[Trajectory, Trajectory]:
    """Return the beginnings and the ends of windows."""
    seen, efforts = (np.asarray(x) for x in (data.observations, data.actions))
    at = data.steps - round(HELD_OUT_SHARE * data.steps)
    first = Trajectory(seen[..., : at + 1, :], efforts[..., :at, :], data.time_step)
    last = Trajectory(seen[..., at:, :], efforts[..., at:, :], data.time_step)
    return first, last


def _explaining(error: InverseDynamicsError, case: _Case) -> _Case:
    """Return the case with the changes that explain what least squares see, if any."""
    given, model, data = case, case.model, case.data[0]
    left = first = _left(error, case)
    recorded = np.sqrt(np.mean(np.asarray(data.actions) ** 2, (0, 1)))
    driven = first[list(model.actuated)]
    if not np.any(driven > MIN_SMALL_SHARE * recorded):
        return given
    late = _later(error, case)
    large = np.any(driven > MIN_SHARE * recorded)
    # A tilt makes up for masses that are known wrongly: none may be known.
    if not (large or _all_bodies_are_free(model)):
        return late or given
    while True:
        falls, best, other, alike = _falls(error, case), left, case, []
        changes = [_others(error, case, falls)] if large else []
        for others in (*changes, _tilted(case, falls)):
            tried = [(_left(error, one), one) for one in others]
            found, changed = min(tried, key=lambda one: _gain(one[0], first))
            if _gain(found, best) <= 1 / MIN_FURTHER_GAIN:
                best, other = found, changed
                alike = [x.said[-1] for by, x in tried if _gain(by, best) < TIE]
        if other is case:
            break
        falling = alike[0].startswith(GRAVITY)  # a better one than that found before
        said = [x for x in case.said if not (falling and x.startswith(GRAVITY))]
        said = (*said, " or ".join(alike))
        left, case = best, dataclasses.replace(other, said=said, condensed=None)
    if late is not None and TIE * _gain(_left(error, late), first) < _gain(left, first):
        return late
    return case if _gain(left, first) < 1 / MIN_GAIN else given


def _all_bodies_are_free(model: ParametricTwin) -> bool:
    free, exact = free_numbers(model)
    bodies = free.size - len(joint_numbers(model)) * model.joints
    return exact and bool(free[:bodies].all())


def _later(error: InverseDynamicsError, case: _Case) -> _Case | None:
    """Return the case with efforts of another time, if that leaves clearly less.

    The instants are the same at all times.
    """
    step, steps = float(case.data[0].time_step), min(x.steps for x in case.data)
    longest = min(round(LONGEST_DELAY_S / step), steps // 4)
    if not longest:
        return None
    data = case.data[0]
    seen = np.asarray(data.observations)[..., longest:-longest, :]
    efforts = np.asarray(data.actions)

    def moved(shift: int) -> Trajectory:
        taken = efforts[..., longest + shift : data.steps - longest + shift, :]
        return Trajectory(seen, taken, data.time_step)

    def recorded(shift: int) -> np.ndarray:
        made = error.motions(case.model, moved(shift))[-1]
        return np.asarray(made).reshape(-1, case.model.joints)

    instants, rows = _rows(error, case.model, moved(0))

    def left(shift: int) -> np.ndarray:
        columns = rows.copy()
        columns[..., -1] += (recorded(shift) - recorded(0))[instants].T
        return _least(case.model, _condensed(columns))

    def gain(shift: int) -> float:
        return _gain(left(shift), now)

    now = left(0)
    sides = [sign * 2**k for sign in (1, -1) for k in range(longest.bit_length())]
    gains = {shift: gain(shift) for shift in sides if abs(shift) <= longest}
    if min(gains.values(), default=1.0) > 1 / MIN_FURTHER_GAIN:
        return None
    for _ in range(longest.bit_length()):  # between the neighbors, which are halved
        best, tried = min(gains, key=gains.__getitem__), sorted({0, *gains})
        at = tried.index(best)
        near = [(best + other) // 2 for other in tried[max(at - 1, 0) : at + 2]]
        gains |= {shift: gain(shift) for shift in near if shift not in (0, *gains)}
    best = min(gains, key=gains.__getitem__)
    return _shifted(case, best) if gains[best] < 1 / MIN_GAIN else None


def _shifted(case: _Case, shift: int) -> _Case:
    """Return the case with the efforts of so many steps later."""
    size = abs(shift)
    last = slice(None, -size)

    def moved(data: Trajectory) -> Trajectory:
        seen, efforts = (np.asarray(x) for x in (data.observations, data.actions))
        if shift > 0:
            seen, efforts = seen[..., last, :], efforts[..., size:, :]
        else:
            seen, efforts = seen[..., size:, :], efforts[..., last, :]
        return Trajectory(seen, efforts, data.time_step)

    first, judged = case.data
    when = "earlier" if shift > 0 else "later"
    said = f"efforts {1e3 * size * first.time_step:.2g} ms {when} than recorded"
    data = moved(first), moved(judged)
    return dataclasses.replace(case, data=data, said=(*case.said, said))


def _left(
    error: InverseDynamicsError, case: _Case, *, judged: bool = False
) -> np.ndarray:
    """Return what least squares leave of each joint's efforts [N·m or N].

    That is of what they see, or of what they are `judged` on.
    """
    condensed = case.condensed or Condensed.of(error, case.model, case.data[0])
    if not judged:
        return _least(case.model, condensed)
    numbers = least_squares_numbers(condensed, case.model)
    return Condensed.of(error, case.model, case.data[1]).rms(numbers)


def _least(model: ParametricTwin, condensed: Condensed) -> np.ndarray:
    """Return what least squares leave of what they see [N·m or N]."""
    return condensed.rms(least_squares_numbers(condensed, model))


def _rows(
    error: InverseDynamicsError, model: ParametricTwin, data: Trajectory
) -> tuple[np.ndarray, np.ndarray]:
    """Return all instants, and [Y, τ] there, (joint, instant, column)."""
    at, rows = zip(*effort_rows(error, model, data), strict=True)
    return np.concatenate(at), np.concatenate(rows, 1)


def _condensed(rows: np.ndarray) -> Condensed:
    factors: Any = np.linalg.qr(rows, mode="r")
    return Condensed(factors, rows.shape[1])


def _gain(left: np.ndarray, before: np.ndarray) -> float:
    """Return the mean ratio of errors."""
    ratio = np.maximum(left, 1e-300) / np.maximum(before, 1e-300)
    return float(np.exp(np.mean(np.log(ratio))))


def _others(
    error: InverseDynamicsError, case: _Case, falls: Condensed
) -> Iterator[_Case]:
    """Yield the case with one more change."""
    model, names = case.model, case.model.robot.joint_names
    joints, same = np.arange(model.joints), np.ones(model.joints)
    now = np.asarray(model.inner.robot.gravity)
    as_it_is = _fallen(falls, now)
    for joint, name in enumerate(names):
        sign = np.where(joints == joint, -1.0, 1.0)
        turned = _changed(case, f"the positions of {name} reversed", joints, sign, same)
        seen = Condensed.of(error, model, turned.data[0])
        yield dataclasses.replace(turned, condensed=seen)
        for said, signs, condensed in (
            (f"the axis of {name} reversed", sign, seen),
            (f"the efforts of {name} reversed", same, as_it_is),
        ):
            factors = condensed.factors.copy()
            factors[joint, :, -1] *= -1
            pushed = _changed(case, said, joints, signs, sign)
            reversed_ = dataclasses.replace(condensed, factors=factors)
            yield dataclasses.replace(pushed, condensed=reversed_)
    rows = _rows(error, model, case.data[0])[1]
    for one, other in itertools.combinations(joints, 2):
        order = joints.copy()
        order[[one, other]] = other, one
        between = f"of {names[one]} and {names[other]} exchanged"
        yield _changed(case, f"the columns {between}", order, same, same)
        pushed = rows.copy()
        pushed[..., -1] = rows[order, :, -1]
        seen = _condensed(pushed)
        efforts = [model.actuated.index(order[joint]) for joint in model.actuated]
        data = _pushed(case.data[0], efforts), _pushed(case.data[1], efforts)
        said = (*case.said, f"the efforts {between}")
        yield dataclasses.replace(case, data=data, said=said, condensed=seen)
    size = float(np.linalg.norm(now)) or float(np.linalg.norm(EARTH_GRAVITY))
    directions = [sign * np.eye(3)[axis] for axis in range(3) for sign in (-1, 1)]
    for direction in [*directions, np.zeros(3)]:
        gravity = size * direction + 0.0  # not −0
        if not np.allclose(gravity, now):
            yield _falling(case, gravity, falls)


def _falls(error: InverseDynamicsError, case: _Case) -> Condensed:
    """Return the case condensed without gravity, and what 1 m/s² along each axis adds.

    The columns of [Y, τ] are four times as many: efforts are linear in gravity, too.
    """
    directions = [np.zeros(3), *np.eye(3)]
    models = [_with_gravity(case.model, one) for one in directions]
    none, *along = (_rows(error, model, case.data[0])[1] for model in models)
    return _condensed(np.concatenate([none, *(one - none for one in along)], -1))


def _fallen(falls: Condensed, gravity: np.ndarray) -> Condensed:
    """Return what `_falls` have condensed with a gravity [m/s²]."""
    none, *along = np.split(falls.factors, 4, -1)
    rows = none + sum(g * one for g, one in zip(gravity, along, strict=True))
    return Condensed(rows, falls.instants)


def _tilted(case: _Case, falls: Condensed) -> Iterator[_Case]:
    """Yield the case with the gravity that explains the efforts best, near its own."""
    from scipy.optimize import minimize  # Slow to import.

    model, now = case.model, np.asarray(case.model.inner.robot.gravity)
    size = float(np.linalg.norm(now))
    if not size:
        yield case
        return
    axes = np.linalg.svd(now[None])[2][1:]  # across it

    def gravity(tilts: np.ndarray) -> np.ndarray:
        tilted = now / size + tilts @ axes
        return size * tilted / np.linalg.norm(tilted)

    def left(tilts: np.ndarray) -> float:
        errors = _least(model, _fallen(falls, gravity(tilts)))
        return float(np.sum(np.log(np.maximum(errors, 1e-300))))

    corners = FIRST_TILT * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = minimize(
        left,
        np.zeros(2),
        method="Nelder-Mead",
        options={"initial_simplex": corners, "maxfev": MAX_TILTS, "xatol": 1e-3},
    )
    yield _falling(case, gravity(found.x), falls)


def _with_gravity(model: ParametricTwin, gravity: np.ndarray) -> ParametricTwin:
    return eqx.tree_at(lambda m: m.inner.robot.gravity, model, jnp.asarray(gravity))


def _falling(case: _Case, gravity: np.ndarray, falls: Condensed) -> _Case:
    """Return the case with another gravity [m/s²]."""
    model = _with_gravity(case.model, gravity)
    axis = ", ".join(f"{x:.3g}" for x in np.round(gravity, 3) + 0.0)
    said = f"{GRAVITY} ({axis}) m/s² in the base's axes"
    seen = _fallen(falls, gravity)
    said = (*case.said, said)
    return dataclasses.replace(case, model=model, said=said, condensed=seen)


def _pushed(data: Trajectory, efforts: list[int]) -> Trajectory:
    """Return the recordings with their columns of efforts in another order."""
    return dataclasses.replace(data, actions=np.asarray(data.actions)[..., efforts])


def _changed(
    case: _Case,
    said: str,
    order: np.ndarray,
    of_positions: np.ndarray,
    of_efforts: np.ndarray,
) -> _Case:
    """Return the case with columns in another order, and then with other signs."""
    driven = case.model.actuated
    efforts = [driven.index(order[joint]) for joint in driven]
    taken = np.concatenate([order, len(order) + order])

    def changed(data: Trajectory) -> Trajectory:
        seen = np.asarray(data.observations)[..., taken] * np.tile(of_positions, 2)
        actions = np.asarray(data.actions)[..., efforts] * of_efforts[list(driven)]
        return dataclasses.replace(data, observations=seen, actions=actions)

    first, judged = case.data
    data = changed(first), changed(judged)
    return dataclasses.replace(case, data=data, said=(*case.said, said))
