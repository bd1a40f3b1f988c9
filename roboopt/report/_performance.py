"""A video of policies side by side, from the same start, in real time."""

import contextlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.report._figures import COLORS, GRAY
from roboopt.report._page import Notes, Section
from roboopt.report._text import sentence
from roboopt.report._video import Film, encode, side_by_side
from roboopt.rollouts import collect, told_time_step

FRAME_RATE = 15.0  # pictures a second
MAX_FRAMES = 100  # of an episode of known length; longer ones have fewer a second


@dataclass(frozen=True)
class Performance:
    """A video of policies, and the motions that it shows."""

    mp4: bytes
    motions: dict[str, Trajectory]
    """Of one episode each, by name."""
    rate: float = 1.0
    """What passes in a second of the video: 1 [s], or so many steps where nothing tells
    their duration."""

    @property
    def speed(self) -> str:
        """Return how fast the video shows the motions."""
        return "in real time" if self.rate == 1 else f"{self.rate:g} steps a second"

    def shows(self, motions: Mapping[str, Trajectory]) -> bool:
        """Return whether single motions are those of the video, by name."""
        if not motions.keys() <= self.motions.keys():
            return False
        for name, motion in motions.items():
            own = np.asarray(self.motions[name].observations)[0]
            seen = np.asarray(motion.observations)
            if own.shape != seen.shape or not np.allclose(own, seen):
                return False
        return True


@dataclass(frozen=True)
class NoVideo:
    """Why a report has no video."""

    reason: str

    def shows(self, motions: Mapping[str, Trajectory]) -> bool:
        """Return that no motions are shown."""
        return False

    def section(self) -> Section:
        """Return the section that stands in place of the video."""
        return Section(
            "Video", [Notes([f"There is no video: {sentence(self.reason)}"])]
        )


def performance(
    spec: Any,
    policies: Mapping[str, Any],
    seed: int | None = None,
    *,
    start: Any = None,
    captions: Mapping[str, str] | None = None,
    max_steps: int | None = None,
    time_step: float | None = None,
) -> Performance | NoVideo:
    """Return a video of one episode of each policy, side by side.

    Where the environment has a `task`, a mark in the caption says in each picture
    whether the task's criterion holds: whether a motion that stays so succeeds.

    Args:
        spec: an `EnvSpec`, or another object whose `make(render_mode=...)` makes the
            environment; None where only its maker knows it.
        policies: by name.
        seed: the seed of the evaluation, whose first episode is shown.
        start: the observation to start at, instead of `seed`.
        captions: by name; the names by default.
        max_steps: episode length limit.
        time_step: [s], where the environment does not tell it. Where that is None too,
            a picture shows a step.

    Returns:
        The video and the motions, or why there are none, with a warning, where the
        environment cannot be rendered.
    """
    begin: dict[str, Any] = {"starts": [start]}
    if start is None:
        begin = {"episodes": 1, "seed": seed}
    cameras, motions = {}, {}
    # Pictures need no window: without this SDL looks for a display, and complains.
    windowless = "SDL_VIDEODRIVER" not in os.environ
    try:
        if windowless:
            os.environ["SDL_VIDEODRIVER"] = "dummy"
        if spec is None:
            raise RobooptError("the environment was not given by its id")
        with warnings.catch_warnings():
            # Said again below, or of no use to someone who has the video.
            warnings.filterwarnings("ignore", message=".*render.(mode|fps)")
            env = _rendered(spec)
            known = told_time_step(env) or time_step
            step = known or 1 / FRAME_RATE
            steps = getattr(env.unwrapped, "horizon", 0)
            rate = min(FRAME_RATE, MAX_FRAMES / (steps or 1) / step)
            every = max(1, round(1 / (rate * step)))
            for name, policy in policies.items():
                camera = cameras[name] = _camera(env, every)
                motions[name] = collect(camera, policy, max_steps=max_steps, **begin)
        films = _films(env.unwrapped, cameras, motions, captions or {}, every)
        env.close()
    except Exception as error:  # such as a missing graphics library
        reason = " ".join(str(error).split())
        warnings.warn(f"there is no video: {reason}", stacklevel=2)
        return NoVideo(reason)
    finally:
        if windowless:
            os.environ.pop("SDL_VIDEODRIVER", None)
    longest = max(len(film.frames) for film in films)
    mp4 = encode(
        side_by_side([_lasting(f, longest) for f in films]), 1 / (every * step)
    )
    return Performance(mp4, motions, 1.0 if known else 1 / step)


def _rendered(spec: Any) -> Any:
    """Return an environment for pictures.

    Raises:
        RobooptError: if it makes none.
    """
    try:
        env = spec.make(render_mode="rgb_array")
    except TypeError as error:
        with contextlib.closing(spec.make()) as env:
            _require_pictures(spec, env)
        raise RobooptError(
            f"the constructor of {spec} must take `render_mode`: {error}"
        ) from error
    _require_pictures(spec, env)
    return env


def _require_pictures(spec: Any, env: Any) -> None:
    modes = (env.metadata or {}).get("render_modes") or ()
    if "rgb_array" not in modes and not hasattr(env.unwrapped, "pictures"):
        raise RobooptError(
            f"`render_modes` of {spec} must hold 'rgb_array', which makes pictures, "
            f"got {list(modes)}"
        )


def _films(
    world: Any,
    cameras: Mapping[str, Any],
    motions: Mapping[str, Trajectory],
    captions: Mapping[str, str],
    every: int,
) -> list[Film]:
    """Return the film of each policy; a robot's from where all motions are seen."""
    taken = {name: camera.taken for name, camera in cameras.items()}
    if hasattr(world, "pictures"):
        pictures = iter(world.pictures(np.concatenate([*taken.values()])))
        taken = {name: [next(pictures) for _ in own] for name, own in taken.items()}
    films, task = [], getattr(world, "task", None)
    for name, frames in taken.items():
        holds = _criterion(task, motions[name], every)
        films.append(
            Film(captions.get(name, name), COLORS.get(name, GRAY), frames, holds)
        )
    return films


def _criterion(
    task: Any, motion: Trajectory, every: int
) -> Bool[np.ndarray, " frame"] | None:
    """Return in which pictures a task's criterion holds: a motion that stays succeeds.

    None where the task, which may be of another's code, does not say.
    """
    if motion.success is None or not hasattr(task, "success"):
        return None
    seen = np.asarray(motion.observations)[0]
    shown = seen[::every, None]
    held = np.broadcast_to(shown, (len(shown), *seen.shape))
    holds = np.asarray(task.success(held, motion.time_step))
    return holds.astype(bool) if holds.shape == (len(shown),) else None


def _lasting(film: Film, count: int) -> Film:
    """Return a film whose last picture stays until there are `count`."""
    frames = [*film.frames, *[film.frames[-1]] * (count - len(film.frames))]
    holds = film.holds
    if holds is not None:
        holds = np.pad(holds, (0, max(0, count - len(holds))), mode="edge")[:count]
    return replace(film, frames=frames, holds=holds)


def _camera(env: Any, every: int) -> Any:
    """Return the environment with what is `taken` every so many of its steps.

    Pictures, or the joints' positions where the environment has `pictures` of these.
    """
    import gymnasium

    class Camera(gymnasium.Wrapper):
        def __init__(self):
            super().__init__(env)
            self.taken: list[np.ndarray] = []
            self._steps = 0

        def take(self) -> None:
            world: Any = self.unwrapped
            if hasattr(world, "pictures"):
                states = world.physics_client.getJointStates(
                    world.body, world.joint_indices
                )
                self.taken.append(np.array([state[0] for state in states]))
            else:
                self.taken.append(np.asarray(self.render()))

        def reset(self, **options: Any) -> Any:
            found = super().reset(**options)
            self.take()
            return found

        def step(self, action: Any) -> Any:
            found = super().step(action)
            self._steps += 1
            if self._steps % every == 0:
                self.take()
            return found

    return Camera()
