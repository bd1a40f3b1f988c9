"""Bullet's constraint solver for joints: its constants, and the order of its rows.

`roboopt.dynamics` solves limits and motors with them as Bullet does, and so does an
environment for limits of robots whose joints follow others, which Bullet lacks.
"""

SWEEP_PAIRS = 25  # m_numIterations is 50
RESIDUAL = 1e-7  # PyBullet's solverResidualThreshold [rad²/s² or m²/s²]
LIMIT_IMPULSE = 100.0  # btMultiBodyJointLimitConstraint [N·m·s or N·s]
PUSH_OUT = 0.2  # PyBullet's erp: the share of a penetration removed in one step
DEEP = 0.04  # m_splitImpulsePenetrationThreshold [rad or m]: deeper, no push

LOWER, UPPER, MOTOR = "lower", "upper", "motor"


def constraint_row_order(
    limited: tuple[bool, ...], motors: tuple[int, ...]
) -> list[tuple[str, int]]:
    """Return (kind, joint) of the rows in Bullet's order.

    Bullet creates limits when it loads the robot, and after them a motor for each
    joint; it sorts all of them by keys that are equal, and then drops inactive ones.
    """
    constraints = [(LOWER, joint) for joint, stops in enumerate(limited) if stops]
    constraints += [(MOTOR, joint) for joint in range(len(limited))]
    rows = []
    for index in _quicksorted(len(constraints)):
        kind, joint = constraints[index]
        if kind == LOWER:
            rows += [(LOWER, joint), (UPPER, joint)]
        elif joint in motors:
            rows.append((MOTOR, joint))
    return rows


def _quicksorted(count: int) -> list[int]:
    """Return the order in which btAlignedObjectArray::quickSort leaves equal keys."""
    order, parts = list(range(count)), [(0, count - 1)]
    for low, high in parts:  # The parts are disjoint: their order does not matter.
        i, j = low, high
        while i <= j:
            order[i], order[j] = order[j], order[i]
            i, j = i + 1, j - 1
        parts += [part for part in ((low, j), (i, high)) if part[0] < part[1]]
    return order
