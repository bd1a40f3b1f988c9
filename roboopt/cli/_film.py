"""Films of controllers and policies side by side, from one start, in real time."""

import warnings
from typing import Any

import numpy as np

from roboopt import report
from roboopt.rollouts import collect_episodes, time_step_of

FRAMES_PER_SECOND = 30


def performance(env: Any, actors: dict[str, Any], seed: int) -> bytes | None:
    """Return an MP4 film of the first judged episode of each, side by side.

    None, and a warning, where the environment cannot be filmed.

    Args:
        env: any Gymnasium environment.
        actors: by name.
        seed: of the judging.
    """
    if env.render_mode != "rgb_array":
        warnings.warn("there is no video: the environment renders none", stacklevel=2)
        return None
    step = time_step_of(env)
    every = max(1, round(1 / (FRAMES_PER_SECOND * step)))
    films, longest = [], 0
    try:
        for name, actor in actors.items():
            camera = _camera(env, every)
            collect_episodes(camera, actor, episodes=1, seed=seed)
            films.append((name, report.COLORS[name], camera.frames))
            longest = max(longest, len(camera.frames))
    except Exception as error:  # such as a missing graphics library
        reason = " ".join(str(error).split())
        warnings.warn(f"there is no video: {reason}", stacklevel=2)
        return None
    shown = [
        (name, color, np.stack(frames + [frames[-1]] * (longest - len(frames))))
        for name, color, frames in films
    ]
    return report.encode(report.side_by_side(shown), 1 / (every * step))


def _camera(env: Any, every: int) -> Any:
    """Return the environment, with `frames` of every so many of its steps."""
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
