"""Pictures of a robot by Bullet's software renderer, which needs no display."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require

from ._silence import import_pybullet_silently

import_pybullet_silently()

import pybullet  # noqa: E402

MODES = ("human", "rgb_array")
FIELD_OF_VIEW_DEG = 40.0  # vertical
SKY = (222, 230, 238)  # red, green, blue
NEARER_THAN_THE_SKY = 1 - 1e-6  # depth, 1 at the far plane but for rounding
MARGIN = 1.1  # of the distance at which the framed points touch the picture's edge


@dataclass(frozen=True)
class View:
    """The render mode, picture size [pixels] and direction of view of an environment.

    Raises:
        RobooptError: if `mode` is neither None nor of `MODES`, or a size is below 1.
    """

    mode: str | None
    width: int
    height: int
    yaw: float
    """Where the camera stands, 0 at negative y and 90 at positive x [degrees]."""
    pitch: float
    """Downward angle of the line of sight [degrees]."""
    goal_position: Callable[[np.ndarray], np.ndarray] | None = None
    """Maps a goal to the point where it is marked [m]."""

    def __post_init__(self):
        """Check mode and size."""
        rule = f"be None or one of {MODES}"
        require(self.mode is None or self.mode in MODES, "render_mode", rule, self.mode)
        if self.width < 1 or self.height < 1:
            raise RobooptError(
                "`width` and `height` must be at least 1 pixel, got "
                f"{self.width} and {self.height}."
            )


class Camera:
    """A camera that has given points in view."""

    def __init__(self, client: Any, view: View):
        """Set up a camera that `frame` is to direct."""
        self._client, self._view = client, view

    def frame(self, corners: np.ndarray) -> None:
        """Place the camera as near as it has all `corners` (k, 3) [m] in view."""
        view = self._view
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
        slope = np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))
        distance = MARGIN * float(np.max(offset / slope - seen @ ahead))
        self._matrix = pybullet.computeViewMatrix(
            (center - distance * ahead).tolist(), center.tolist(), [0, 0, 1]
        )
        self._projection = pybullet.computeProjectionMatrixFOV(
            FIELD_OF_VIEW_DEG, aspect, 0.05 * distance, 5 * distance
        )

    def picture(self) -> np.ndarray:
        """Return the picture, (height, width, 3) bytes."""
        width, height = self._view.width, self._view.height
        _, _, pixels, depths, _ = self._client.getCameraImage(
            width,
            height,
            self._matrix,
            self._projection,
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
        )
        # A PyBullet that was built without NumPy returns a flat tuple.
        rgba = np.reshape(np.asarray(pixels, np.uint8), (height, width, 4))
        depth = np.reshape(np.asarray(depths, np.float32), (height, width, 1))
        # Bullet's sky is white, and so is the Panda.
        return np.where(
            depth < NEARER_THAN_THE_SKY, rgba[..., :3], np.array(SKY, np.uint8)
        )
