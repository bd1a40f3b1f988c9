"""Films as H.264 in MP4 files, which every browser plays."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from roboopt._errors import RobooptError

CAPTION_HEIGHT = 28  # pixels


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
    font, middle = ImageFont.load_default(15), CAPTION_HEIGHT // 2
    captioned = []
    for caption, color, frames in films:
        bar = Image.new("RGB", (frames.shape[2], CAPTION_HEIGHT), "#15181d")
        draw = ImageDraw.Draw(bar)
        draw.rectangle((0, 0, 6, CAPTION_HEIGHT), fill=color)
        draw.text((16, middle), caption, font=font, fill="#ffffff", anchor="lm")
        shape = len(frames), CAPTION_HEIGHT, *frames.shape[2:]
        bars = np.broadcast_to(np.asarray(bar), shape)
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
    import imageio_ffmpeg

    height, width = (side - side % 2 for side in frames.shape[1:3])
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width}x{height}", "-r", f"{frames_per_second:.6f}", "-i", "pipe:"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "24"),
        *("-pix_fmt", "yuv420p", "-movflags", "+faststart"),
    ]
    pictures = np.ascontiguousarray(frames[:, :height, :width]).tobytes()
    with tempfile.TemporaryDirectory() as folder:
        # The index goes to the front, for which MP4 has to be written to a file.
        path = Path(folder) / "film.mp4"
        command += ["-y", str(path)]
        done = subprocess.run(command, input=pictures, capture_output=True)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"ffmpeg could not encode the film: {reason}")
        return path.read_bytes()
