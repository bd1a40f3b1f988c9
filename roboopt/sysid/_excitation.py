"""Designing the motion that is recorded to identify a robot.

Several random motions descend `ExcitationCost`, and the best is kept. One after the
other:
side by side, each step would wait for the longest line search.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import ExcitationCost
from roboopt.optimize import minimize
from roboopt.policies import FourierReference

SHARE = 0.8  # of the limits, that the motion itself may take
INSTANTS = 20  # at most, of the fastest harmonic, at which a motion is judged
FIRST_SHARE = 0.4  # of the ranges, that the random motions fill


def design_excitation(
    model: ParametricTwin,
    *,
    duration: float,
    effort_limits: Float[AnyArray, "..."],
    time_step: float,
    velocity_limits: Float[AnyArray, "..."] | None = None,
    harmonics: int = 5,
    starts: int = 4,
    steps: int = 50,
    seed: int = 0,
    progress: bool = False,
) -> FourierReference:
    """Return a motion whose recording tells of the parameters of `model`.

    It begins at rest and keeps 5 % away from the joint limits, by construction, and
    takes about 80 % of the efforts and velocities at most, by a penalty: the rest is
    left to the feedback, and to what is not yet known of the robot. Collisions, of the
    robot with itself or with what is around it, are not looked at.

    Args:
        model: at the values that are thought to hold.
        duration: of the motion, which is then periodic [s].
        effort_limits: of every joint [N·m or N].
        time_step: between the samples of the recording [s].
        velocity_limits: of every joint [rad/s or m/s], if there are any.
        harmonics: of 1/duration, that the motion consists of.
        starts: random motions to descend from.
        steps: of each descent.
        seed: of the random motions.
        progress: whether to show a progress bar.

    Raises:
        RobooptError: if `duration` is less than a step, `starts` is not at least 1, or
            another argument breaks the rule of `ExcitationCost` or `FourierReference`.
    """
    if not 0 < time_step <= duration < math.inf:
        raise RobooptError(
            "`duration` must be finite and at least one `time_step`, which is "
            f"positive, got {duration} and {time_step}."
        )
    if starts < 1:
        raise RobooptError(f"`starts` must be at least 1, got {starts}.")
    samples = round(duration / time_step)
    count = min(samples, INSTANTS * harmonics)
    objective = _objective(
        model, effort_limits, velocity_limits, repeats=samples / count
    )
    times = jnp.linspace(0.0, duration, count, endpoint=False)
    robot = model.origin.value.robot
    keys = jax.random.split(jax.random.key(seed), starts)
    results = []
    for key in keys:
        first = FourierReference.random(
            robot, duration, harmonics, key, range_share=FIRST_SHARE
        )
        results.append(
            minimize(objective, first, times, steps=steps, progress=progress)
        )
    return min(results, key=lambda result: result.loss).model


def _objective(
    model: ParametricTwin, effort_limits: Any, velocity_limits: Any, *, repeats: float
) -> ExcitationCost:
    """Return the objective within the shares of the limits.

    An instant that stands for several samples has the noise of their mean.
    """
    whole = ExcitationCost(model, effort_limits, velocity_limits=velocity_limits)
    return ExcitationCost(
        model,
        SHARE * np.asarray(effort_limits, float),
        velocity_limits=SHARE * whole.velocity_limits,
        noise=whole.noise / math.sqrt(repeats),
    )
