"""What a motion without any effort tells of a robot: ratios of its parameters.

The equation of motion, M(q) q̈ + h(q, q̇) + friction = 0, stays true where all of its
terms are multiplied by one factor. So masses, moments of inertia, damping and friction
are known up to that factor, unless one of them is.
"""

from collections.abc import Sequence

import numpy as np

from roboopt.data import Trajectory
from roboopt.diagnose import Combination
from roboopt.dynamics import ParametricTwin

ZERO = 1e-3  # of half the interval


def free_swing_sentences(
    model: ParametricTwin,
    runs: Sequence[Trajectory],
    combinations: Sequence[Combination],
) -> list[str]:
    """Return that only ratios are known, and what combinations of value 0 mean.

    Args:
        model: the fitted robot.
        runs: its recordings.
        combinations: the sums of parameters that the recordings determine.
    """
    free = {part for name in model.names for part in name.split(" = ")}
    masses = {f"mass[{body}]" for body in model.robot.body_names}
    efforts = model.inner.interface != "torque" or any(np.any(x.actions) for x in runs)
    if efforts or not masses <= free:
        return []
    ratios = []
    for one in combinations:
        (name, main), *rest = one.coefficients.items()
        if len(rest) == 1 and abs(one.value) <= ZERO * one.half_width:
            other, factor = rest[0]
            ratios.append(f"{name} is {-factor / main:.3g} times {other}")
    meant = f" A combination whose value is 0 is such a ratio: {'; '.join(ratios)}."
    return [
        "No effort acted, so that the motion tells only ratios of masses, moments of "
        "inertia, damping and friction: with all of them twice as large the robot "
        "moves alike. One known mass that is left out of `free`, or an effort in the "
        f"recordings, would tell the others.{meant * bool(ratios)}"
    ]
