"""The figure of a training: the error of its batches, and that on validation data."""

import numpy as np

from roboopt.imitation._action_errors import as_error
from roboopt.optimize import Result
from roboopt.report import BEFORE_AFTER, GRAY, Drawing, panel

SMOOTHED_SHARE = 100  # of the steps make a point of the loss of batches
LEGEND = {"training": GRAY, "validation": BEFORE_AFTER["after"]}
MAX_RATIO = 30.0  # of losses on a linear axis


def learning_curve(result: Result, axes: int | None) -> Drawing:
    """Draw the error in training and on `validation` over the steps, in one panel.

    Args:
        result: of the training.
        axes: over which the loss is half a sum of squares; if None, the loss is drawn.
    """
    loss = np.asarray(result.history["loss"], float)
    parts = np.array_split(np.arange(len(loss)), min(len(loss), SMOOTHED_SHARE))
    steps = np.array([part.mean() for part in parts])
    means = as_error(np.array([loss[part].mean() for part in parts]), axes)
    drawn, name = [means], "loss" if axes is None else "error"
    label = f"{name} in training and on validation data over gradient steps"
    with panel(name, "gradient step", "[1]", label=label) as made:
        made.axes.plot(steps, means, color=GRAY, label="training")
        if result.best_step is not None:
            values = as_error(result.history["validation"], axes)
            color = BEFORE_AFTER["after"]
            known = np.flatnonzero(np.isfinite(values))
            drawn.append(values[known])
            made.axes.plot(known, values[known], color=color, label="validation")
            best = result.best_step
            made.axes.plot(best, values[best], "o", color=color, markersize=5)
        low, high = (f(np.concatenate(drawn)) for f in (np.nanmin, np.nanmax))
        if 0 < MAX_RATIO * low < high:
            made.axes.set_yscale("log")
    return made
