"""A video of policies side by side, from the same start, in real time."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt.report._figures import COLORS
from roboopt.report._video import encode, side_by_side
from roboopt.rollouts import EnvSpec, collect, time_step_of

FRAMES_PER_SECOND = 30


def performance(
    spec: EnvSpec | None,
    policies: Mapping[str, Any],
    seed: int,
    *,
    max_steps: int | None = None,
) -> bytes | None:
    """Return an MP4 video of the first episode of each policy, side by side.

    Args:
        spec: the environment; None where only its maker knows it.
        policies: by name.
        seed: the seed of the evaluation.
        max_steps: episode length limit.

    Returns:
        The video, or None with a warning where the environment cannot be rendered.
    """
    if spec is None:
        warnings.warn(
            "there is no video: the environment was not given by its id", stacklevel=2
        )
        return None
    films: list[tuple[str, str, list[np.ndarray]]] = []
    try:
        env = spec.make(render_mode="rgb_array")
        step = time_step_of(env)
        every = max(1, round(1 / (FRAMES_PER_SECOND * step)))
        for name, policy in policies.items():
            camera = _camera(env, every)
            collect(camera, policy, episodes=1, seed=seed, max_steps=max_steps)
            films.append((name, COLORS[name], camera.frames))
        env.close()
    except Exception as error:  # such as a missing graphics library
        warnings.warn(
            f"there is no video: {' '.join(str(error).split())}", stacklevel=2
        )
        return None
    longest = max(len(frames) for *_, frames in films)
    shown = [
        (name, color, np.stack(frames + [frames[-1]] * (longest - len(frames))))
        for name, color, frames in films
    ]
    return encode(side_by_side(shown), 1 / (every * step))


def _camera(env: Any, every: int) -> Any:
    """Return the environment with `frames` rendered every so many of its steps."""
    import gymnasium

    class Camera(gymnasium.Wrapper):
        def __init__(self):
            super().__init__(env)
            self.frames: list[np.ndarray] = []
            self._taken = 0

        def reset(self, **options: Any) -> Any:
            found = super().reset(**options)
            self.frames.append(np.asarray(self.render()))
            return found

        def step(self, action: Any) -> Any:
            found = super().step(action)
            self._taken += 1
            if self._taken % every == 0:
                self.frames.append(np.asarray(self.render()))
            return found

    return Camera()
