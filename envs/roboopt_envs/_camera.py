"""Pictures of a robot, by Bullet's software renderer: no display is needed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pybullet

from ._bullet import VectorEnv

MODES = ("human", "rgb_array")
FIELD_OF_VIEW = 40.0  # degrees, of the height
SKY = (222, 230, 238)


@dataclass(frozen=True)
class View:
    """How an environment is looked at.

    Args:
        mode: one of `MODES`, or None.
        width: of a picture in pixels.
        height: of a picture in pixels.
        yaw: where the camera stands, 0 at negative y, 90 at positive x [degrees].
        pitch: how far it looks down [degrees].
        goal_position: where a goal is to be marked [m].

    Raises:
        ValueError: if the mode is another, or a size is not at least 1.
    """

    mode: str | None
    width: int
    height: int
    yaw: float
    pitch: float
    goal_position: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self):
        if self.mode is not None and self.mode not in MODES:
            raise ValueError(
                f"`render_mode` must be None or one of {MODES}, got {self.mode!r}."
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(
                "`width` and `height` must be at least 1 pixel, got "
                f"{self.width} and {self.height}."
            )


class Camera:
    """A camera that has all that a robot can reach in view."""

    def __init__(self, world: VectorEnv, view: View):
        self._client, self._size = world.client, (view.width, view.height)
        corners = world.extent()
        center = (corners.min(axis=0) + corners.max(axis=0)) / 2
        yaw, pitch = np.radians([view.yaw, view.pitch])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        level = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        ahead = np.cos(pitch) * level - np.sin(pitch) * np.array([0.0, 0.0, 1.0])
        seen = corners - center
        aspect = view.width / view.height
        offset = np.maximum(
            np.abs(seen @ right) / aspect, np.abs(seen @ np.cross(right, ahead))
        )
        slope = np.tan(np.radians(FIELD_OF_VIEW / 2))
        distance = 1.05 * float(np.max(offset / slope - seen @ ahead))
        self._view = pybullet.computeViewMatrix(
            (center - distance * ahead).tolist(), center.tolist(), [0, 0, 1]
        )
        self._projection = pybullet.computeProjectionMatrixFOV(
            FIELD_OF_VIEW, aspect, 0.05 * distance, 5 * distance
        )

    def picture(self) -> np.ndarray:
        """Return what it sees, (height, width, 3) of bytes."""
        width, height = self._size
        _, _, pixels, depths, _ = self._client.getCameraImage(
            width,
            height,
            self._view,
            self._projection,
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
        )
        # A PyBullet that was built without NumPy returns a flat tuple.
        rgba = np.reshape(np.asarray(pixels, np.uint8), (height, width, 4))
        depth = np.reshape(np.asarray(depths, np.float32), (height, width, 1))
        # Bullet's sky is white, and so is the Panda.
        return np.where(depth < 1, rgba[..., :3], np.array(SKY, np.uint8))
