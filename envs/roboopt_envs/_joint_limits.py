"""Joint limits and motors in a robot's coordinates, by Bullet's solver.

Where joints follow others, a limit stops them together, and a motor of Bullet's would
not know of rotors, damping and friction, which Bullet's joints lack. Both are solved
here instead, by the rows, sweeps and bounds that `roboopt.dynamics` has from Bullet.
"""

import numpy as np

from roboopt.urdf.bullet_solver import (
    DEEP,
    LIMIT_IMPULSE,
    LOWER,
    MOTOR,
    PUSH_OUT,
    RESIDUAL,
    SWEEP_PAIRS,
    constraint_row_order,
)
from roboopt.urdf.drive import KD, KP


class JointLimits:
    """The limits of all coordinates, two of (n,) [rad or m], and their motors."""

    def __init__(
        self,
        lower: np.ndarray,
        upper: np.ndarray,
        motors: tuple[list[int], np.ndarray, bool] | None = None,
    ):
        """Put limits, infinite where none is, and motors into Bullet's order."""
        self._lower, self._upper, self._motors = lower, upper, motors
        limited = tuple(np.isfinite(lower).tolist())
        driven = () if motors is None else tuple(motors[0])
        self._rows = [
            (joint, kind, -1.0 if kind not in (LOWER, MOTOR) else 1.0)
            for kind, joint in constraint_row_order(limited, driven)
        ]

    def velocity(
        self,
        q: np.ndarray,
        free: np.ndarray,
        inertia: np.ndarray,
        time_step: float,
        targets: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the velocity that the rows make of `free`, and the motors' efforts.

        The `free` velocity is that after the step without limits, q are the coordinates
        before, and the inertia M includes armature.
        """
        depths = self._lower - q, q - self._upper
        efforts = np.zeros_like(free)
        if targets is None and max(depths[0].max(), depths[1].max()) < 0:
            return free, efforts
        wanted = self._demands(q, free, time_step, targets)
        compliance, rows, motors = np.linalg.inv(inertia), [], {}
        for joint, kind, sign in self._rows:
            if kind == MOTOR:
                motors[joint] = len(rows)
                rows.append((joint, sign, *wanted[joint]))
                continue
            depth = float(depths[sign < 0][joint])
            if depth >= 0:
                push = PUSH_OUT * depth / time_step if depth < DEEP else 0.0
                change = push - sign * free[joint]
                rows.append((joint, sign, change, 0.0, LIMIT_IMPULSE))
        change, impulses = _solved(rows, compliance)
        for joint, row in motors.items():
            efforts[joint] = impulses[row] / time_step
        return free + change, efforts

    def _demands(
        self,
        q: np.ndarray,
        free: np.ndarray,
        time_step: float,
        targets: np.ndarray | None,
    ) -> dict[int, tuple[float, float, float]]:
        """Return by joint a motor's change of velocity, and bounds of its impulse."""
        if targets is None or self._motors is None:
            return {}
        joints, limits, to_velocity = self._motors
        if to_velocity:
            change = KD * (targets - free[joints])
        else:
            within = np.clip(targets, self._lower[joints], self._upper[joints])
            change = KP * (within - q[joints]) / time_step - KD * free[joints]
        most = limits * time_step
        rows = zip(joints, change, -most, most, strict=True)
        return {joint: tuple(row) for joint, *row in rows}


def _solved(
    rows: list[tuple[int, float, float, float, float]], compliance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of the velocity, and the impulse of each row."""
    change, impulses = np.zeros(len(compliance)), np.zeros(len(rows))
    order = list(range(len(rows)))
    for sweep in range(2 * SWEEP_PAIRS):
        largest = 0.0
        for row in order if sweep % 2 else reversed(order):
            joint, sign, wanted, low, high = rows[row]
            error = (wanted - sign * change[joint]) / compliance[joint, joint]
            impulse = min(max(impulses[row] + error, low), high)
            step = impulse - impulses[row]
            impulses[row] = impulse
            change = change + sign * step * compliance[joint]
            largest = max(largest, (step * compliance[joint, joint]) ** 2)
        if largest <= RESIDUAL:
            break
    return change, impulses
