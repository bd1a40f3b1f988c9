"""Where the camera stands, so that a robot is seen wherever its joints go."""

import numpy as np
from jaxtyping import Float

from roboopt.view._scene import Scene

VIEW = 1.7  # distance of the eye over the radius of what is shown
DIRECTION = np.array([0.37, -0.86, 0.35])  # from what is shown to the eye
PHONE = 1.05  # distance of the eye on a phone, over that at which all fits
SHEET = 0.6  # of a phone's height, which the controls cover from below
SLIDERS = 0.2, 0.045  # of that height by sliders: of none, and of each
CONFIGURATIONS = 64  # by which the reach of a robot is judged
FREE = {True: np.pi, False: 1.0}
"""To which side a joint without limits moves, if it turns and if it slides."""


def at_rest(scene: Scene) -> Float[np.ndarray, " joint"]:
    """Return positions of the joints [rad or m]: 0, or the limit next to it."""
    robot = scene.robot
    ends = np.where(robot.limited, [robot.lower, robot.upper], 0.0)
    return np.clip(np.zeros(len(robot.joint_names)), *ends)


def reachable(scene: Scene) -> Float[np.ndarray, "corner 3"]:
    """Return corners of the moving links at random positions between the limits [m].

    Joints slide no farther than the links are large: a rail may be much longer.
    """
    robot, rest = scene.robot, at_rest(scene)
    size = np.ptp(scene.corners(scene.poses(rest[None]), moving=True), axis=0).max()
    wide = np.array([FREE[turns] for turns in robot.revolute])
    low = np.where(robot.limited, robot.lower, -wide)
    high = np.where(robot.limited, robot.upper, wide)
    most = np.where(robot.revolute, np.inf, size)
    low, high = np.maximum(low, rest - most), np.minimum(high, rest + most)
    drawn = np.random.default_rng(0).uniform(low, high, (CONFIGURATIONS, len(low)))
    return scene.corners(scene.poses(drawn), moving=True)


def phone_camera(
    points: Float[np.ndarray, "point 3"], aspect: float, fov: float, sheet: float
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Return where the eye of a phone is, and where it looks, beside points [m].

    Args:
        points: which fill the width, or the height that the controls leave.
        aspect: width over height of the screen.
        fov: the vertical angle of view [rad].
        sheet: the share of the height that controls cover from below.
    """
    back = DIRECTION / np.linalg.norm(DIRECTION)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    near = np.abs(points @ back)
    wide, high = np.abs(points @ np.stack([right, up], 1)).T / np.tan(fov / 2)
    # At this distance no point is beyond an edge.
    away = np.maximum(wide / aspect + near, (high + near) / (1 - sheet))
    distance = PHONE * float(away.max())
    seen = -sheet * np.tan(fov / 2) * distance * up
    return distance * back + seen, seen
