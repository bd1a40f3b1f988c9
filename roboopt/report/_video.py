"""Films of a simulated robot: H.264 in an MP4 file, which every browser plays.

A motion is filmed by playing its recorded actions back from its recorded start: the
simulators here repeat themselves bit for bit.
"""

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.report._figures import COLORS, GRAY

CAPTION_HEIGHT = 28  # pixels
FRAME_RATE = 30  # pictures a second
MAX_FRAMES = 150  # of a motion; longer motions have fewer pictures a second


def episode(batch: Trajectory, index: int) -> Trajectory:
    """Return one motion of a batch of trajectories."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], batch)


def film_stride(steps: int, time_step: float) -> int:
    """Return how many steps pass from one picture to the next, in real time."""
    rate = min(FRAME_RATE, MAX_FRAMES / (steps * time_step))
    return max(1, round(1 / (rate * time_step)))


def film_motions(
    env: Any, motions: Mapping[str, Trajectory], captions: Mapping[str, str]
) -> bytes:
    """Return an MP4 film of recorded motions side by side, in real time.

    Args:
        env: as `replay` has it.
        motions: one trajectory each, of equal length, by label.
        captions: by label.
    """
    first = next(iter(motions.values()))
    stride = film_stride(first.steps, first.time_step)
    films = [
        (captions[label], COLORS.get(label, GRAY), replay(env, motion, stride=stride))
        for label, motion in motions.items()
    ]
    return encode(side_by_side(films), 1 / (stride * first.time_step))


def replay(
    env: Any,
    trajectory: Trajectory,
    *,
    stride: int,
    progress: Callable[[], object] | None = None,
) -> UInt8[np.ndarray, "frame height width 3"]:
    """Return pictures of one recorded motion, one every `stride` steps.

    Args:
        env: a `roboopt_envs` environment with `render_mode="rgb_array"`.
        trajectory: one motion that was recorded in it.
        stride: steps from one picture to the next.
        progress: called after each picture.

    Raises:
        RobooptError: if `trajectory` is a batch, or `stride` is not at least 1.
    """
    if np.ndim(trajectory.actions) != 2:
        raise RobooptError(
            "`trajectory` must be one motion, got actions of shape "
            f"{np.shape(trajectory.actions)}."
        )
    if stride < 1:
        raise RobooptError(f"`stride` must be at least 1, got {stride}.")
    frames = []
    env.reset(options={"start": np.asarray(trajectory.observations[0])})
    for k, action in enumerate(np.asarray(trajectory.actions)):
        if k % stride == 0:
            frames.append(env.render())
            if progress is not None:
                progress()
        env.step(action)
    return np.stack(frames)


def side_by_side(
    films: Sequence[tuple[str, str, np.ndarray]],
) -> UInt8[np.ndarray, "frame height width 3"]:
    """Return films of equal size next to each other, each under its caption.

    Args:
        films: caption, its color, and pictures (frame, height, width, 3).

    Raises:
        RobooptError: if there is none, or their shapes differ.
    """
    from PIL import Image, ImageDraw, ImageFont

    shapes = {np.shape(frames) for _, _, frames in films}
    if len(shapes) != 1:
        raise RobooptError(f"`films` must be of one shape, got {sorted(shapes)}.")
    font = ImageFont.load_default(15)
    captioned = []
    for caption, color, frames in films:
        bar = Image.new("RGB", (frames.shape[2], CAPTION_HEIGHT), "#15181d")
        draw = ImageDraw.Draw(bar)
        draw.rectangle((0, 0, 6, CAPTION_HEIGHT), fill=color)
        draw.text(
            (16, CAPTION_HEIGHT // 2), caption, font=font, fill="#ffffff", anchor="lm"
        )
        bars = np.broadcast_to(
            np.asarray(bar), (len(frames), CAPTION_HEIGHT, *frames.shape[2:])
        )
        captioned.append(np.concatenate([bars, frames], 1))
    return np.concatenate(captioned, 2)


def encode(
    frames: UInt8[np.ndarray, "frame height width 3"], frames_per_second: float
) -> bytes:
    """Return the pictures as an MP4 film.

    Sides of odd length lose their last line, which the format cannot hold.

    Raises:
        RobooptError: if there are no pictures or `frames_per_second` is not positive.
        RuntimeError: if the encoder fails.
    """
    if not len(frames) or not 0 < frames_per_second < float("inf"):
        raise RobooptError(
            "`frames` must not be empty and `frames_per_second` positive, got "
            f"{len(frames)} and {frames_per_second}."
        )
    height, width = (side - side % 2 for side in frames.shape[1:3])
    with tempfile.TemporaryDirectory() as folder:
        # The index goes to the front, for which MP4 has to be written to a file.
        path = Path(folder) / "film.mp4"
        command = _command(path, width, height, frames_per_second)
        done = subprocess.run(
            command,
            input=np.ascontiguousarray(frames[:, :height, :width]).tobytes(),
            capture_output=True,
        )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"ffmpeg could not encode the film: {reason}")
        return path.read_bytes()


def _command(path: Path, width: int, height: int, rate: float) -> list[str]:
    import imageio_ffmpeg

    return [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width}x{height}", "-r", f"{rate:.6f}", "-i", "pipe:"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "24"),
        *("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-y", str(path)),
    ]
