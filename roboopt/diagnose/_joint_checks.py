"""Checks of one joint of one recording.

The change of a position is the integral of its velocity: their ratio shows a wrong
unit, its sign a flipped axis, and the shift at which both agree best a delay. Torque
changes the acceleration at once, so the fast parts of both show efforts that were
logged a sample early or late. Data cannot tell a slow motion in degrees from a fast
motion in radians of a joint without limits: there is no finding then.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from roboopt.diagnose._finding import Finding, error, warning

DEGREES_PER_RADIAN = 180 / math.pi
MIN_SATURATED_SHARE = 0.01
MIN_TRAVEL = 1e-3  # [rad or m]: below, a joint counts as standing still
MIN_RATIO_TRAVEL = 0.05  # [rad or m]: below, sensor noise hides ratios
MAX_SPEED = 100.0  # [rad/s]: faster than the joints of arms
MAX_TRAVEL = 20.0  # [rad]: over three turns
SHIFTS = np.arange(-5, 6)  # [samples]
UNSHIFTED = 5  # index of no shift in SHIFTS
INNER = slice(5, -5)  # samples that no shift wraps around
RATIOS = (
    (DEGREES_PER_RADIAN, "degrees", "convert the velocities from deg/s to rad/s"),
    (1 / DEGREES_PER_RADIAN, "degrees", "convert the positions from degrees to rad"),
    (1e3, "time_unit", "convert the times from milliseconds to seconds"),
    (1e6, "time_unit", "convert the times from microseconds to seconds"),
    (1e9, "time_unit", "convert the times from nanoseconds to seconds"),
)
"""Velocities over the rates of positions that one wrong unit explains."""


@dataclasses.dataclass(frozen=True)
class Joint:
    """One joint of one recording."""

    times: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray | None
    effort_limit: float
    lower: float
    upper: float
    revolute: bool

    @property
    def travel(self) -> float:
        """Return the distance between the extreme positions [rad or m]."""
        return float(np.ptp(self.position))

    @property
    def unit(self) -> str:
        """Return the unit of the positions."""
        return "rad" if self.revolute else "m"


def still(joint: Joint) -> Iterator[Finding]:
    """Find a joint that does not move, and an effort that does not change."""
    if joint.travel < MIN_TRAVEL:
        yield warning(
            "not_moving",
            f"the joint moves by {joint.travel:.2g} {joint.unit} in all: take what "
            "only its motion shows from another recording, or keep that fixed.",
        )
    if joint.effort is not None and np.ptp(joint.effort) == 0:
        yield warning(
            "constant_effort",
            f"the effort is {joint.effort[0]:g} throughout: if a motor drives the "
            "joint, read the column of its effort.",
        )


def position_range(joint: Joint) -> Iterator[Finding]:
    """Find positions in degrees, and positions beyond the joint's limits."""
    peak = float(np.abs(joint.position).max())
    reach = max(abs(joint.lower), abs(joint.upper))
    limited = math.isfinite(reach)
    in_degrees = peak / DEGREES_PER_RADIAN <= 1.05 * reach
    if joint.revolute and limited and peak > 3 * reach and in_degrees:
        yield error(
            "degrees",
            f"the joint reaches {peak:.4g} rad where its limits end at {reach:.4g} "
            "rad, and would keep to them in degrees: convert the positions to radians.",
        )
        return
    low, high = joint.position.min(), joint.position.max()
    outside = max(joint.lower - low, high - joint.upper)
    if outside > MIN_RATIO_TRAVEL:
        yield warning(
            "beyond_limits",
            f"the joint goes {outside:.3g} {joint.unit} beyond its limits: compare its "
            "zero and its sign with the model's.",
        )
    speed = float(np.abs(np.diff(joint.position) / np.diff(joint.times)).max())
    fast = speed > MAX_SPEED or joint.travel > MAX_TRAVEL
    if joint.revolute and not limited and fast:
        yield warning(
            "degrees",
            f"the joint turns by {joint.travel:.4g} rad at up to {speed:.4g} rad/s: "
            "unless it makes so many turns, the positions are in degrees; convert them "
            "to radians.",
        )


def velocity(joint: Joint) -> Iterator[Finding]:
    """Find velocities that disagree with the rate of the positions."""
    if joint.travel < MIN_RATIO_TRAVEL or len(joint.times) < 20:
        return
    # Changes over several samples, so that noise does not decide.
    reach = max(1, len(joint.times) // 200)
    steps = np.diff(joint.times)
    mean = (joint.velocity[1:] + joint.velocity[:-1]) / 2
    integral = np.concatenate([[0.0], np.cumsum(mean * steps)])
    moved = joint.position[reach:] - joint.position[:-reach]
    integrated = integral[reach:] - integral[:-reach]
    ratio = agreement = 0.0
    if integrated.any() and moved.any():
        ratio = float(moved @ integrated / (moved @ moved))
        agreement = abs(_correlation(moved, integrated))
    found = list(_velocity_ratio(ratio, agreement))
    yield from found
    if found:
        return
    rate = np.diff(joint.position) / steps
    errors = np.array([np.sum((np.roll(mean, -s) - rate)[INNER] ** 2) for s in SHIFTS])
    shift = int(SHIFTS[np.argmin(errors)])
    # An integrator stores velocities half a sample early or late: then the errors at
    # two shifts are the same.
    if shift and errors.min() < 0.25 * errors[UNSHIFTED]:
        yield warning(
            "shifted_velocities",
            f"the velocities come {'late' if shift > 0 else 'early'} against the "
            f"positions, by {abs(shift)} in samples: align both, or differentiate the "
            "positions.",
        )


def _velocity_ratio(ratio: float, agreement: float) -> Iterator[Finding]:
    said = f"the velocities are {ratio:.4g} times the rate of the positions"
    for value, code, advice in RATIOS:
        if agreement > 0.9 and abs(ratio / value - 1) < 0.1:
            yield error(code, f"{said}: {advice}.")
            return
    if agreement <= 0.9:
        advice = f"they correlate by {agreement:.2f} only; compare the columns"
    elif ratio < 0:
        advice = "compare their signs"
    else:
        advice = "compare their units and gears"
    if agreement <= 0.9 or abs(ratio - 1) > 0.2:
        yield warning("velocity_mismatch", f"{said}: {advice}.")


def saturation(joint: Joint) -> Iterator[Finding]:
    """Find efforts that were cut off at a limit."""
    if joint.effort is None or np.ptp(joint.effort) == 0:
        return
    size = np.abs(joint.effort)
    if math.isfinite(joint.effort_limit):
        top, name = joint.effort_limit, "limit"
        held = size >= 0.999 * top
    else:
        size = size.round(12)
        top, name = size.max(), "largest value"
        levels, counts = np.unique(size, return_counts=True)
        # The top of an oscillation that was rounded holds 2.4 times as many samples as
        # the level below; an effort that was cut off many more. A switch has two.
        if len(levels) <= 2 or counts[-1] < 4 * counts[-2]:
            return
        held = size == top
    if held.mean() > MIN_SATURATED_SHARE:
        yield warning(
            "saturation",
            f"the effort is at its {name} of {top:g} for {100 * held.mean():.1f} % of "
            "the samples: make sure that it was measured, or recorded as clipped.",
        )


def effort_shift(joint: Joint) -> Iterator[Finding]:
    """Find efforts that agree with the accelerations best at a shift."""
    if joint.effort is None or np.ptp(joint.effort) == 0 or len(joint.effort) < 50:
        return
    acceleration = np.diff(joint.velocity) / np.diff(joint.times)
    # Differences leave out gravity and friction, which change slowly.
    effort, jerk = np.diff(joint.effort), np.diff(acceleration)
    fit = np.array(
        [_correlation(effort[INNER], np.roll(jerk, -s)[INNER]) for s in SHIFTS]
    )
    shift, middle = int(SHIFTS[np.argmax(fit)]), fit[UNSHIFTED]
    if shift and fit.max() > 0.5 and fit.max() > 2 * middle:
        yield warning(
            "shifted_efforts",
            f"the efforts seem logged too {'late' if shift < 0 else 'early'}, by "
            f"{abs(shift)} in samples: they correlate with the accelerations by "
            f"{fit.max():.2f} if shifted back, and by {middle:.2f} as they are; unless "
            "a controller's feedback explains it, shift them, as action k acts from "
            "observation k to k + 1.",
        )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    size = math.sqrt((a @ a) * (b @ b))
    return float(a @ b) / size if size else 0.0


JOINT_CHECKS = (still, position_range, velocity, saturation, effort_shift)
