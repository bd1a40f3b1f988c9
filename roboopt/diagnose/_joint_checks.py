"""Checks of one joint of one recording.

Kinematics alone tell much: the change of a position is the integral of its velocity,
so their ratio shows a wrong unit, its sign a flipped axis, and the shift at which they
agree best a delay. Torque moves an acceleration at once, so what is fast in the two
shows efforts that were logged a sample early or late. What data cannot tell apart,
such as a slow motion in degrees and a fast one of a joint without limits, is not told.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from roboopt.diagnose._finding import Finding

DEGREES = 180 / math.pi
SATURATED = 0.01  # Of the samples.
STILL = 1e-3  # [rad or m]
MOVING = 0.05  # [rad or m]: less may be noise of a sensor, and shows no ratio.
FAST = 100.0  # [rad/s]: faster than the joints of arms.
TURNED = 20.0  # [rad]: over three turns.
SHIFTS = np.arange(-5, 6)  # Samples.


@dataclasses.dataclass(frozen=True)
class Joint:
    """One joint of one recording."""

    where: str
    times: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray | None
    effort_limit: float
    lower: float
    upper: float
    revolute: bool

    @property
    def reach(self) -> float:
        """Return how far from 0 the limits are, infinite where one of them is."""
        return max(abs(self.lower), abs(self.upper))

    @property
    def unit(self) -> str:
        """Return what its position is measured in."""
        return "rad" if self.revolute else "m"

    @property
    def span(self) -> float:
        """Return how far apart its positions are."""
        return float(np.ptp(self.position))


def _motion(joint: Joint) -> Iterator[Finding]:
    if joint.span < STILL:
        yield Finding(
            "not moving",
            f"{joint.where} moves by {joint.span:.2g} {joint.unit} in all: what only "
            "its motion shows must come from another recording, or be kept fixed.",
            "warning",
        )
    effort = joint.effort
    if effort is not None and np.ptp(effort) == 0:
        yield Finding(
            "constant effort",
            f"{joint.where} has the constant effort {effort[0]:g}: if something drives "
            "it, read the column in which that is.",
            "warning",
        )


def _range(joint: Joint) -> Iterator[Finding]:
    """Yield whether positions are in degrees, or beyond the limits otherwise."""
    peak = float(np.abs(joint.position).max())
    speed = float(np.abs(np.diff(joint.position) / np.diff(joint.times)).max())
    fits = peak / DEGREES <= 1.05 * joint.reach
    if (
        joint.revolute
        and math.isfinite(joint.reach)
        and peak > 3 * joint.reach
        and fits
    ):
        yield Finding(
            "degrees",
            f"{joint.where} reaches {peak:.4g} rad where its limits end at "
            f"{joint.reach:.4g} rad, and would keep to them in degrees: convert its "
            "positions to radians.",
            "error",
        )
        return
    outside = max(
        joint.lower - joint.position.min(), joint.position.max() - joint.upper
    )
    if outside > MOVING:
        yield Finding(
            "beyond limits",
            f"{joint.where} goes {outside:.3g} {joint.unit} beyond its limits: compare "
            "its zero and its sign with the model's.",
            "warning",
        )
    if not joint.revolute or math.isfinite(joint.reach):
        return
    if speed > FAST or joint.span > TURNED:
        yield Finding(
            "degrees",
            f"{joint.where} turns by {joint.span:.4g} rad at up to {speed:.4g} rad/s: "
            "unless it makes so many turns, its positions are in degrees; convert them "
            "to radians.",
            "warning",
        )


def _velocity(joint: Joint) -> Iterator[Finding]:
    """Yield how the velocities disagree with the rate of the positions."""
    if joint.span < MOVING or len(joint.times) < 20:
        return
    # Over several samples, so that noise does not decide.
    reach = max(1, len(joint.times) // 200)
    steps = np.diff(joint.times)
    mean = (joint.velocity[1:] + joint.velocity[:-1]) / 2
    traveled = np.concatenate([[0.0], np.cumsum(mean * steps)])
    moved = joint.position[reach:] - joint.position[:-reach]
    told = traveled[reach:] - traveled[:-reach]
    if not (told.any() and moved.any()):
        ratio = agreement = 0.0
    else:
        ratio = float(moved @ told / (moved @ moved))
        agreement = abs(float(moved @ told)) / math.sqrt(
            (moved @ moved) * (told @ told)
        )
    finding = _ratio(joint.where, ratio, agreement)
    if finding is not None:
        yield finding
        return
    rate = np.diff(joint.position) / steps
    inner = slice(-SHIFTS[0], len(mean) + SHIFTS[0])
    errors = np.array([np.sum((np.roll(mean, -s) - rate)[inner] ** 2) for s in SHIFTS])
    shift = int(SHIFTS[np.argmin(errors)])
    middle = errors[-SHIFTS[0]]
    # Half a sample either way is how an integrator stores them: then the errors at two
    # shifts are the same.
    if shift and errors.min() < 0.25 * middle:
        late = "late" if shift > 0 else "early"
        yield Finding(
            "shifted velocities",
            f"{joint.where} has velocities that come {late} against its positions, by "
            f"{abs(shift)} in samples: align them, or differentiate the positions.",
            "warning",
        )


def _ratio(where: str, ratio: float, agreement: float) -> Finding | None:
    """Return what a velocity over the rate of the position of `ratio` means."""
    for value, kind, what in (
        (DEGREES, "degrees", "convert the velocities from deg/s to rad/s"),
        (1 / DEGREES, "degrees", "convert the positions from degrees to radians"),
        (1e3, "time unit", "convert its times from milliseconds to seconds"),
        (1e6, "time unit", "convert its times from microseconds to seconds"),
        (1e9, "time unit", "convert its times from nanoseconds to seconds"),
    ):
        if agreement > 0.9 and abs(ratio / value - 1) < 0.1:
            return Finding(
                kind,
                f"{where} has velocities {ratio:.4g} times the rate of its positions: "
                f"{what}.",
                "error",
            )
    if agreement > 0.9 and abs(ratio - 1) > 0.2:
        what = "compare their signs" if ratio < 0 else "compare their units and gears"
    elif agreement <= 0.9:
        what = f"they agree by {agreement:.2f} of 1 only; compare the columns"
    else:
        return None
    return Finding(
        "velocity mismatch",
        f"{where} has velocities {ratio:.4g} times the rate of its positions: {what}.",
        "warning",
    )


def _saturation(joint: Joint) -> Iterator[Finding]:
    if joint.effort is None or np.ptp(joint.effort) == 0:
        return
    size = np.abs(joint.effort)
    if math.isfinite(joint.effort_limit):
        top, what = joint.effort_limit, "its limit of"
        held = size >= 0.999 * top
    else:
        size = size.round(12)
        top, what = size.max(), "its largest effort of"
        levels, counts = np.unique(size, return_counts=True)
        # The top of an oscillation that was rounded holds 2.4 times what the level
        # below it holds; an effort that was cut off much more. Two levels are a switch.
        if len(levels) <= 2 or counts[-1] < 4 * counts[-2]:
            return
        held = size == top
    if held.mean() > SATURATED:
        yield Finding(
            "saturation",
            f"{joint.where} is at {what} {top:g} for {100 * held.mean():.1f} % of its "
            "samples: make sure that the effort was measured, or recorded as clipped.",
            "warning",
        )


def _effort_shift(joint: Joint) -> Iterator[Finding]:
    """Yield at which shift the fast parts of effort and acceleration agree best."""
    if joint.effort is None or np.ptp(joint.effort) == 0 or len(joint.effort) < 50:
        return
    acceleration = np.diff(joint.velocity) / np.diff(joint.times)
    # A second difference of each leaves what gravity and friction do not follow.
    effort, jerk = np.diff(joint.effort), np.diff(acceleration)
    inner = slice(-SHIFTS[0], len(effort) + SHIFTS[0])
    fit = np.array(
        [_correlation(effort[inner], np.roll(jerk, -s)[inner]) for s in SHIFTS]
    )
    shift, middle = int(SHIFTS[np.argmax(fit)]), fit[-SHIFTS[0]]
    if shift and fit.max() > 0.5 and fit.max() > 2 * middle:
        late = "late" if shift < 0 else "early"
        yield Finding(
            "shifted efforts",
            f"{joint.where} has efforts that seem logged too {late}, by {abs(shift)} "
            f"in samples: they agree with its accelerations by {fit.max():.2f} if "
            f"shifted back, and by {middle:.2f} as they are; unless a controller's "
            "feedback explains it, shift them, as action k acts from observation k to "
            "k + 1.",
            "warning",
        )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    size = math.sqrt((a @ a) * (b @ b))
    return float(a @ b) / size if size else 0.0


JOINT_CHECKS = (_motion, _range, _velocity, _saturation, _effort_shift)
