"""Joint limits in a robot's coordinates, by Bullet's solver.

Where joints follow others, a limit stops them together. Bullet's joints do not know
that, so that the limits of such a robot are solved here, by the rows, sweeps and
bounds that `roboopt.dynamics` has from Bullet.
"""

import numpy as np

from roboopt.urdf.bullet_solver import (
    DEEP,
    LIMIT_IMPULSE,
    LOWER,
    PUSH_OUT,
    RESIDUAL,
    SWEEP_PAIRS,
    constraint_row_order,
)


class JointLimits:
    """The limits of all coordinates, two of (n,) [rad or m]; infinite where none is."""

    def __init__(self, lower: np.ndarray, upper: np.ndarray):
        """Put the limits into the order in which Bullet takes them."""
        self._lower, self._upper = lower, upper
        limited = tuple(np.isfinite(lower).tolist())
        self._rows = [
            (joint, 1.0 if kind == LOWER else -1.0)
            for kind, joint in constraint_row_order(limited, ())
        ]

    def velocity(
        self, q: np.ndarray, free: np.ndarray, inertia: np.ndarray, time_step: float
    ) -> np.ndarray:
        """Return the velocity that the limits make of `free`.

        Args:
            q: the coordinates before the step (n,) [rad or m].
            free: the velocity after the step without limits (n,) [rad/s or m/s].
            inertia: M (n, n), armature included.
            time_step: [s].
        """
        depths = self._lower - q, q - self._upper
        if max(depths[0].max(), depths[1].max()) < 0:
            return free
        compliance, rows = np.linalg.inv(inertia), []
        for joint, sign in self._rows:
            depth = float(depths[sign < 0][joint])
            if depth >= 0:
                push = PUSH_OUT * depth / time_step if depth < DEEP else 0.0
                rows.append((joint, sign, push - sign * free[joint]))
        change, impulses = np.zeros_like(free), np.zeros(len(rows))
        order = list(range(len(rows)))
        for sweep in range(2 * SWEEP_PAIRS):
            largest = 0.0
            for row in order if sweep % 2 else reversed(order):
                joint, sign, wanted = rows[row]
                error = (wanted - sign * change[joint]) / compliance[joint, joint]
                impulse = min(max(impulses[row] + error, 0.0), LIMIT_IMPULSE)
                step = impulse - impulses[row]
                impulses[row] = impulse
                change = change + sign * step * compliance[joint]
                largest = max(largest, (step * compliance[joint, joint]) ** 2)
            if largest <= RESIDUAL:
                break
        return free + change
