"""A video of policies side by side, from the same start, in real time."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.report._figures import COLORS, GRAY
from roboopt.report._video import encode, side_by_side
from roboopt.rollouts import collect, time_step_of

FRAME_RATE = 20.0  # pictures a second
MAX_FRAMES = 100  # of an episode of known length; longer ones have fewer a second


def performance(
    spec: Any,
    policies: Mapping[str, Any],
    seed: int | None = None,
    *,
    start: Any = None,
    captions: Mapping[str, str] | None = None,
    max_steps: int | None = None,
) -> bytes | None:
    """Return an MP4 video of one episode of each policy, side by side.

    Args:
        spec: an `EnvSpec`, or another object whose `make(render_mode=...)` makes the
            environment; None where only its maker knows it.
        policies: by name.
        seed: the seed of the evaluation, whose first episode is shown.
        start: the observation to start at, instead of `seed`.
        captions: by name; the names by default.
        max_steps: episode length limit.

    Returns:
        The video, or None with a warning where the environment cannot be rendered.
    """
    begin: dict[str, Any] = {"starts": [start]}
    if start is None:
        begin = {"episodes": 1, "seed": seed}
    films: list[tuple[str, str, list[np.ndarray]]] = []
    # Pictures need no window: without this SDL looks for a display, and complains.
    windowless = "SDL_VIDEODRIVER" not in os.environ
    try:
        if windowless:
            os.environ["SDL_VIDEODRIVER"] = "dummy"
        if spec is None:
            raise RobooptError("the environment was not given by its id")
        env = spec.make(render_mode="rgb_array")
        step = time_step_of(env)
        steps = getattr(env.unwrapped, "horizon", 0)
        rate = min(FRAME_RATE, MAX_FRAMES / (steps or 1) / step)
        every = max(1, round(1 / (rate * step)))
        for name, policy in policies.items():
            camera = _camera(env, every)
            collect(camera, policy, max_steps=max_steps, **begin)
            caption = (captions or {}).get(name, name)
            films.append((caption, COLORS.get(name, GRAY), camera.frames))
        env.close()
    except Exception as error:  # such as a missing graphics library
        reason = " ".join(str(error).split())
        warnings.warn(f"there is no video: {reason}", stacklevel=2)
        return None
    finally:
        if windowless:
            os.environ.pop("SDL_VIDEODRIVER", None)
    longest = max(len(frames) for *_, frames in films)
    shown = [
        (caption, color, np.stack(frames + [frames[-1]] * (longest - len(frames))))
        for caption, color, frames in films
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
