"""Checks of one joint of one recording.

The change of a position is the integral of its velocity: their ratio shows a wrong
unit, its sign a flipped axis, and the shift at which both agree best a delay. Torque
changes the acceleration at once, so the fast parts of both show efforts that were
logged a sample early or late. Data cannot tell a slow motion in degrees from a fast
motion in radians of a joint without limits: there is no finding then.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from roboopt._progress import counted
from roboopt.diagnose._finding import DEGREES_PER_RADIAN, Finding, error, warning

MIN_SATURATED_SHARE = 0.01
MIN_TRAVEL = 1e-3  # [rad or m]: below, a joint counts as standing still
MIN_RATIO_TRAVEL = 0.05  # [rad or m]: below, sensor noise hides ratios
MAX_SPEED = 100.0  # [rad/s]: faster than the joints of arms
MAX_TRAVEL = 20.0  # [rad]: over three turns
SHIFTS = np.arange(-5, 6)  # [samples]
UNSHIFTED = 5  # index of no shift in SHIFTS
INNER = slice(5, -5)  # samples that no shift wraps around
MIN_JUMP = 0.02  # [rad or m], beside the steps before and after
JUMP_RATIO = 10.0  # of a jump to the steps before and after
NEAR_STEPS = 10  # before and after
MAX_JUMP_S = 0.05  # of a step: over a longer one a joint may have moved
MIN_LEVELS = 3.0  # of an encoder, that a jump takes
LOOSE_LIMIT = 4 * math.pi  # [rad]: limits from here on tell nothing of the motion
FAR = 3.0  # times the limits
JUMP = "jump"
"""Code of a finding on a position that jumps."""
OTHER_UNIT = ", or its unit with that of the recordings that keep to them"
IN_DEGREES = """or name the column with its unit, as in `positions=["q1_deg"]`"""
NEAR, VERY_NEAR = 0.1, 0.02  # of a ratio; a gear of 10 is near to one of 9.55, rpm
RATIOS = (
    (
        DEGREES_PER_RADIAN,
        NEAR,
        "degrees",
        "convert the velocities from deg/s to rad/s, or name the column with its unit, "
        """as in `velocities=["dq1_dps"]`""",
    ),
    (
        1 / DEGREES_PER_RADIAN,
        NEAR,
        "degrees",
        f"convert the positions from degrees to rad, {IN_DEGREES}",
    ),
    (
        30 / math.pi,
        VERY_NEAR,
        "revolutions",
        "convert the velocities from rpm to rad/s, or name the column with its unit, "
        """as in `velocities=["dq1_rpm"]`""",
    ),
    (
        1 / 6,
        VERY_NEAR,
        "revolutions",
        "convert the velocities from rpm to rad/s and the positions from degrees to "
        "rad, or name the columns with their units, as in "
        """`positions=["q1_deg"]` and `velocities=["dq1_rpm"]`""",
    ),
    (
        0.5 / math.pi,
        VERY_NEAR,
        "revolutions",
        "convert the velocities from revolutions a second to rad/s, or name the column "
        """with its unit, as in `velocities=["dq1_rps"]`""",
    ),
    (
        2 * math.pi,
        VERY_NEAR,
        "revolutions",
        "convert the positions from revolutions to rad, or name the column with its "
        """unit, as in `positions=["q1_rev"]`""",
    ),
    (1e3, NEAR, "time_unit", "convert the times from milliseconds to seconds"),
    (1e6, NEAR, "time_unit", "convert the times from microseconds to seconds"),
    (1e9, NEAR, "time_unit", "convert the times from nanoseconds to seconds"),
)
"""Velocities over the rates of positions that one wrong unit explains."""
MAX_DEVIATION = 0.2  # of velocities from the rates of positions
SAME_RATIO = 1.1  # of one joint's such ratio to another's: one cause


class Joint(NamedTuple):
    """One joint of one recording."""

    times: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray | None
    effort_limit: float
    lower: float
    upper: float
    revolute: bool
    keeps_limits: bool = False
    """Whether it moves within its limits in another recording."""


def check_joint(joint: Joint) -> Iterator[Finding]:
    """Find what is wrong with a joint's positions, velocities and efforts."""
    yield from _positions(joint)
    yield from _velocities(joint)
    if joint.effort is not None:
        yield from _efforts(joint, joint.effort)


def _positions(joint: Joint) -> Iterator[Finding]:
    q, unit = joint.position, "rad" if joint.revolute else "m"
    travel, peak = float(np.ptp(q)), float(np.abs(q).max())
    if travel < MIN_TRAVEL:
        yield warning(
            "not_moving",
            f"the joint moves by {travel:.2g} {unit} in all: take what only its motion "
            "shows from another recording, or keep that fixed.",
        )
    reach = max(abs(joint.lower), abs(joint.upper))
    limited = reach < LOOSE_LIMIT
    far = joint.revolute and limited and peak > FAR * reach
    fits_degrees = far and peak / DEGREES_PER_RADIAN <= 1.05 * reach
    if fits_degrees and not joint.keeps_limits:
        yield error(
            "degrees",
            f"the joint reaches {peak:.4g} rad where its limits end at {reach:.4g} "
            "rad, and would keep to them in degrees: convert the positions to radians, "
            f"{IN_DEGREES}. If the joint makes so many turns, let the robot's file "
            "have it `continuous`; if they are those of a motor before its gear, "
            "divide the positions by the gear's ratio, and multiply the efforts by it.",
        )
        return
    outside = max(joint.lower - q.min(), q.max() - joint.upper)
    if outside > MIN_RATIO_TRAVEL:
        yield warning(
            "beyond_limits",
            f"the joint goes {outside:.3g} {unit} beyond its limits, {joint.lower:.4g} "
            f"to {joint.upper:.4g} {unit}: compare its zero and its sign with the "
            f"model's{OTHER_UNIT * fits_degrees}.",
        )
    jumps = _jumps(joint)
    if jumps.any():
        first, size = int(np.argmax(jumps)), float(np.diff(q)[jumps][0])
        count = counted(int(jumps.sum()), "time")
        yield warning(
            JUMP,
            f"the position jumps {count}, first by {size:.3g} {unit} at "
            f"{joint.times[first]:.4g} s, between smooth motion, as where an encoder "
            "loses its zero, an angle wraps, or samples are missing: cut the recording "
            "there, or correct the positions.",
        )
    speed = float(np.abs(np.diff(q) / np.diff(joint.times))[~jumps].max(initial=0))
    fast = speed > MAX_SPEED or travel > MAX_TRAVEL
    alone = far and not joint.keeps_limits
    if joint.revolute and fast and (alone or not limited):
        yield warning(
            "degrees",
            f"the joint turns by {travel:.4g} rad at up to {speed:.4g} rad/s: unless "
            "it makes so many turns, the positions are in degrees, or in counts of an "
            f"encoder; convert them to radians, {IN_DEGREES}.",
        )


def _jumps(joint: Joint) -> np.ndarray:
    """Return which steps of the position stand out from those before and after.

    So must their rates: where steps are uneven, one is as long as its time.
    """
    steps, durations = np.diff(joint.position), np.diff(joint.times)
    if len(steps) <= 2 * NEAR_STEPS:
        return np.zeros(len(steps), bool)
    rates = steps / durations * np.median(durations)
    level = np.min(np.abs(steps), where=steps != 0, initial=np.inf)
    least = max(MIN_JUMP, MIN_LEVELS * level)
    jumps = _stand_out(steps, least) & _stand_out(rates, least)
    return jumps & (durations <= MAX_JUMP_S)


def _stand_out(steps: np.ndarray, least: float) -> np.ndarray:
    # A stop changes the steps once, a jump to and fro.
    to, fro = np.diff(steps, append=0.0), -np.diff(steps, prepend=0.0)
    alone = np.where(to * fro > 0, np.minimum(np.abs(to), np.abs(fro)), 0.0)
    alone[[0, -1]] = 0.0
    around = np.pad(alone, NEAR_STEPS, mode="reflect")
    near = np.lib.stride_tricks.sliding_window_view(around, 2 * NEAR_STEPS + 1)
    others = np.delete(near, NEAR_STEPS, axis=1).max(1)
    return (alone > least) & (alone > JUMP_RATIO * others)


def velocity_ratio(joint: Joint) -> tuple[float, float] | None:
    """Return the velocities over the rate of the positions, and their correlation.

    None where the joint hardly moves.
    """
    q, count, steps = joint.position, len(joint.times), np.diff(joint.times)
    if np.ptp(q) < MIN_RATIO_TRAVEL or count < 20:
        return None
    # Changes over several samples, so that noise does not decide.
    reach = max(1, count // 200)
    mean = (joint.velocity[1:] + joint.velocity[:-1]) / 2
    integral = np.concatenate([[0.0], np.cumsum(mean * steps)])
    moved, integrated = q[reach:] - q[:-reach], integral[reach:] - integral[:-reach]
    if not (integrated.any() and moved.any()):
        return 0.0, 0.0
    ratio = float(moved @ integrated / (moved @ moved))
    return ratio, abs(_correlation(moved, integrated))


def other_time_step(joints: Sequence[Joint]) -> Finding | None:
    """Find that velocities of all joints differ alike from the rates of positions."""
    known = [found for joint in joints if (found := velocity_ratio(joint))]
    ratios = np.array([ratio for ratio, agreement in known if agreement > 0.9])
    alike = 1 < len(ratios) == len(known) and ratios.min() > 0
    if not alike or ratios.max() > SAME_RATIO * ratios.min():
        return None
    ratio = float(np.median(ratios))
    if abs(ratio - 1) <= MAX_DEVIATION or any(
        abs(ratio / value - 1) < near for value, near, _, _ in RATIOS
    ):
        return None
    times = joints[0].times
    step = float(times[-1] - times[0]) / (len(times) - 1)
    return warning(
        "time_step",
        f"the velocities of all joints are {ratio:.3g} times the rates of the "
        f"positions: steps of {step / ratio:.3g} s instead of {step:.3g} s would agree "
        "with both, or one gear of all joints that only the positions count.",
    )


def _velocities(joint: Joint) -> Iterator[Finding]:
    """Find velocities that disagree with the rate of the positions."""
    if (found := velocity_ratio(joint)) is None:
        return
    q, steps, (ratio, agreement) = joint.position, np.diff(joint.times), found
    mean = (joint.velocity[1:] + joint.velocity[:-1]) / 2
    said = f"the velocities are {ratio:.4g} times the rate of the positions"
    for value, near, code, advice in RATIOS:
        turns = joint.revolute or code != "revolutions"
        if turns and agreement > 0.9 and abs(ratio / value - 1) < near:
            yield error(code, f"{said}: {advice}.")
            return
    if agreement <= 0.9 or abs(ratio - 1) > MAX_DEVIATION:
        advice = "compare their signs" if ratio < 0 else "compare their units and gears"
        if agreement <= 0.9:
            advice = f"they correlate by {agreement:.2f} only; compare the columns"
        yield warning("velocity_mismatch", f"{said}: {advice}.")
        return
    rate = np.diff(q) / steps
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


def _efforts(joint: Joint, effort: np.ndarray) -> Iterator[Finding]:
    """Find efforts that do not change, were cut off, or were logged early or late."""
    if np.ptp(effort) == 0:
        yield warning(
            "constant_effort",
            f"the effort is {effort[0]:g} throughout: if a motor drives the joint, "
            "read the column of its effort.",
        )
        return
    size, top, name = np.abs(effort), joint.effort_limit, "limit"
    held = size >= 0.999 * top
    if not held.any():  # A drive may have a limit of its own.
        size = size.round(12)
        top, name = size.max(), "largest value"
        levels, counts = np.unique(size, return_counts=True)
        # The top of an oscillation that was rounded holds 2.4 times as many samples as
        # the level below; an effort that was cut off many more. A switch has two.
        held = (size == top) & (len(levels) > 2 and counts[-1] >= 4 * counts[-2])
    if held.mean() > MIN_SATURATED_SHARE:
        name = f"at{' or beyond' * bool(size.max() > 1.001 * top)} its {name}"
        yield warning(
            "saturation",
            f"the effort is {name} of {top:g} for {100 * held.mean():.1f} % of "
            "the samples: make sure that it was measured, or recorded as clipped.",
        )
    if len(effort) < 50:
        return
    # Differences leave out gravity and friction, which change slowly.
    jerk = np.diff(np.diff(joint.velocity) / np.diff(joint.times))
    change = np.diff(effort)[INNER]
    fit = np.array([_correlation(change, np.roll(jerk, -s)[INNER]) for s in SHIFTS])
    shift, middle = int(SHIFTS[np.argmax(fit)]), fit[UNSHIFTED]
    others = fit[np.abs(SHIFTS - shift) > 2].max()  # high too in an oscillation
    # At the end of the shifts the correlation may only be on its way.
    least = 0.9 if abs(shift) == SHIFTS[-1] else 0.5
    if shift and fit.max() > max(least, 2 * middle, 1.25 * others):
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
