"""The film of a tuning run: before and after, from one start, in real time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from roboopt import report
from roboopt.data import Trajectory

FRAMES_PER_SECOND = 30
MOST_FRAMES = 150  # of each; longer motions are shown at fewer a second


def stride(env: Any) -> int:
    """Return how many steps pass from one picture to the next."""
    rate = min(FRAMES_PER_SECOND, MOST_FRAMES / (env.horizon * env.time_step))
    return max(1, round(1 / (rate * env.time_step)))


def frames(env: Any) -> int:
    """Return how many pictures a film of one motion has."""
    return -(-env.horizon // stride(env))


def film(
    env: Any,
    motions: dict[str, Trajectory],
    episode: int,
    progress: Callable[[], None],
) -> bytes:
    """Return an MP4 film of one episode of each batch, side by side."""
    step, shown = stride(env), []
    for label, batch in motions.items():
        motion = jax.tree.map(lambda leaf: np.asarray(leaf)[episode], batch)
        achieved = bool(env.task.success(motion.observations, motion.time_step))
        caption = f"{label}: {'succeeds' if achieved else 'does not succeed'}"
        pictures = report.replay(env, motion, stride=step, progress=progress)
        shown.append((caption, report.BEFORE_AFTER[label], pictures))
    rate = 1 / (step * env.time_step)
    return report.encode(report.side_by_side(shown), rate)
