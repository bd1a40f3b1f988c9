"""Films as H.264 in MP4 files, which every browser plays."""

import math
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from roboopt._errors import RobooptError, require

CAPTION_HEIGHT, FONT_SIZE = 44, 25  # pixels: a third of them on a phone
MAX_ZOOM = 16  # of pictures that are narrower than their captions
HOLDS = "#3fbf7f"
"""The color of a criterion that holds."""


@dataclass(frozen=True)
class Film:
    """Pictures under a caption."""

    caption: str
    color: str
    frames: Sequence[np.ndarray] | np.ndarray
    """Each (height, width, 3), of bytes."""
    holds: Bool[np.ndarray, " frame"] | None = None
    """Whether the task's criterion holds in each picture; None where none is known."""

    def bar_width(self) -> float:
        """Return how wide the caption is, with the mark where there is one [pixels]."""
        from PIL import ImageFont

        font = ImageFont.load_default(FONT_SIZE)
        mark = 36 + font.getlength("criterion holds") if self.holds is not None else 0
        return 36 + font.getlength(self.caption) + mark

    def bar(self, holds: Any, width: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the bar with the caption, and with a mark where `holds` is a bool."""
        from PIL import Image, ImageDraw, ImageFont

        middle = CAPTION_HEIGHT // 2
        image = Image.new("RGB", (width, CAPTION_HEIGHT), "#15181d")
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)
        draw.rectangle((0, 0, 8, CAPTION_HEIGHT), fill=self.color)
        draw.text((18, middle), self.caption, "#ffffff", font, "lm")
        if holds is not None:
            ink = HOLDS if holds else "#8a919c"
            text = "criterion holds" if holds else "criterion"
            left = width - 36 - draw.textlength("criterion holds", font)
            draw.text((left + 26, middle), text, ink, font, "lm")
            circle = left, middle - 9, left + 18, middle + 9
            draw.ellipse(circle, HOLDS if holds else None, ink, 3)
        return np.asarray(image)


def side_by_side(films: Sequence[Film]) -> UInt8[np.ndarray, "frame height width 3"]:
    """Return films of equal size next to each other, each under its caption.

    Pixels of pictures that are narrower than their captions become squares of several.

    Raises:
        RobooptError: if there is none, or their shapes differ.
    """
    shapes = {np.shape(film.frames) for film in films}
    require(len(shapes) == 1, "films", "be of one shape", sorted(shapes))
    [(count, height, width, _)] = shapes
    widest = max(film.bar_width() for film in films)
    zoom = min(max(1, math.ceil(widest / width)), MAX_ZOOM)
    width, height = zoom * width, zoom * height
    shape = count, CAPTION_HEIGHT + height, width * len(films), 3
    pictures = np.empty(shape, np.uint8)
    for k, film in enumerate(films):
        own = pictures[:, :, k * width : (k + 1) * width]
        holds = np.full(count, None) if film.holds is None else film.holds
        for state in set(holds.tolist()):
            own[holds == state, :CAPTION_HEIGHT] = film.bar(state, width)
        for picture, frame in zip(own, film.frames, strict=True):
            if zoom > 1:
                frame = np.repeat(np.repeat(frame, zoom, axis=0), zoom, axis=1)
            picture[CAPTION_HEIGHT:] = frame
    return pictures


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
