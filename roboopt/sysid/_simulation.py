"""Open-loop simulations of whole recordings.

A simulation begins at the first measured state of a recording and takes the recorded
efforts or commands to its end. Nothing pulls it back to the recording: an error grows,
and where the motion itself is unstable that of any model does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from roboopt._programs import called
from roboopt.data import Trajectory
from roboopt.objectives import PredictionError

MAX_RECORDINGS = 12  # of the fit, and as many held out, that are simulated
MAX_STEPS = 40_000  # of a simulation: what is longer is simulated so far alone
MAX_STEPS_IN_ALL = 200_000
MAX_ANGLE = np.pi / 3**0.5  # rad, the standard deviation of a random angle
MIN_MOTION = 0.05  # of the largest motion of joints of a kind, for one that rests
AT_REST = 1e-9  # rad or m: what moves by less does not move
DISTURBANCE = 1e-3  # of the motion, at the start of a second simulation
UNSTABLE_GROWTH = 10.0  # of the disturbance


@dataclass(frozen=True)
class Simulations:
    """How simulations of recordings, those of the fit first, compare with them."""

    held_out: Bool[np.ndarray, " recording"]
    seconds: Float[np.ndarray, " recording"]
    """How long each was simulated."""
    motion: Float[np.ndarray, "recording joint"]
    """Standard deviations of the recorded positions [rad or m]; of joints that make
    turns at most that of a random angle."""
    rmse: dict[str, Float[np.ndarray, "recording joint"]]
    """Root mean square errors of positions by model; infinite ones overflowed."""
    left: dict[str, Float[np.ndarray, "recording joint"]]
    """Times [s] after which the error first exceeds the motion's standard deviation
    (of a joint that rests, a twentieth of the largest); ∞ where it never does, and
    where no joint of its kind moves, so that nothing tells which error is large."""
    unstable: Float[np.ndarray, " recording"]
    """Times [s] after which a disturbance of the start by a thousandth of the motion
    has grown tenfold in the first model; ∞ where it never does."""
    shown: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
    """Times, recorded and simulated positions of the longest that is judged."""

    @property
    def judged(self) -> Bool[np.ndarray, " recording"]:
        """Return which recordings judge: those held out, or all without any."""
        return self.held_out if self.held_out.any() else ~self.held_out

    def pooled(self, values: Float[np.ndarray, "recording joint"]) -> np.ndarray:
        """Return the root mean square of judged recordings by joint."""
        weights = self.seconds[self.judged] / self.seconds[self.judged].sum()
        with np.errstate(over="ignore"):
            return np.sqrt(weights @ values[self.judged] ** 2)

    def followed(self, model: str, joint: int | slice = slice(None)) -> float:
        """Return the time [s] for which joints, by default all, are followed.

        The time is the median of the judged recordings, of those that are followed to
        their ends their lengths.
        """
        left = self.left[model][self.judged][:, joint]
        left = left.reshape(len(left), -1).min(1)
        return float(np.median(np.minimum(left, self.seconds[self.judged])))

    def share(self, model: str) -> float:
        """Return the error over the motion, as a root mean square over the joints.

        Joints at rest are left out; it is NaN where all are.
        """
        moved = self.pooled(self.motion)
        moves = moved > AT_REST
        if not moves.any():
            return float("nan")
        ratio = self.pooled(self.rmse[model])[moves] / moved[moves]
        with np.errstate(over="ignore"):
            return float(np.sqrt(np.mean(ratio**2)))


def simulations(
    models: Mapping[str, Any],
    training: Sequence[Trajectory],
    held_out: Sequence[Trajectory],
    revolute: Sequence[bool],
    *,
    lead: int = 0,
) -> Simulations:
    """Simulate whole recordings, of one time step, from their starts.

    Args:
        models: dynamics by name, the fitted one first.
        training: recordings of the fit.
        held_out: recordings that judge it.
        revolute: which joints turn.
        lead: steps before each simulation, which feed an actuator's lag or delay.
    """
    runs = [*training, *held_out]
    step, count, joints = runs[0].time_step, len(runs), len(revolute)
    first = next(iter(models.values()))
    substeps = max(1, ceil(step / first.time_step - 1e-6))
    most = max(1, min(MAX_STEPS, MAX_STEPS_IN_ALL // count) // substeps)
    lead = min(lead, min(run.steps for run in runs) - 1)
    lengths = np.array([min(run.steps - lead, most) for run in runs])
    longest = int(lengths.max())
    states, actions = (
        np.stack([_padded(getattr(run, name), lead + longest + more) for run in runs])
        for name, more in (("observations", 1), ("actions", 0))
    )
    recorded = states[:, lead:, :joints]
    inside = np.arange(longest) < lengths[:, None]
    motion, tolerance = _motions(recorded, lengths, np.asarray(revolute))
    allowed = np.where(tolerance > AT_REST, tolerance, np.inf)
    disturbed = states.copy()
    disturbed[:, lead, :joints] += DISTURBANCE * tolerance
    both = Trajectory(
        np.concatenate([states, disturbed]), np.concatenate([actions] * 2), step
    )
    rmse, left, curves = {}, {}, {}
    unstable: Any = None
    error = PredictionError(horizon=longest, lead=lead)
    for name, model in models.items():
        apart = np.asarray(called(error.errors, model, both))[..., :joints]
        apart = np.where(np.isfinite(apart), apart, np.inf)
        once, again = apart[:count], apart[count:]
        if unstable is None:
            with np.errstate(invalid="ignore"):
                grown = np.abs(again - once) / (DISTURBANCE * tolerance[:, None])
            grown = np.where(np.isnan(grown), np.inf, grown).max(-1, keepdims=True)
            unstable = _first(grown > UNSTABLE_GROWTH, inside, step)[:, 0]
        left[name] = _first(np.abs(once) > allowed[:, None], inside, step)
        with np.errstate(over="ignore"):
            squares = np.sum(np.where(inside[..., None], once, 0.0) ** 2, 1)
        rmse[name] = np.sqrt(squares / lengths[:, None])
        start = np.zeros_like(once[:, :1])
        curves[name] = recorded + np.concatenate([start, once], 1)
    tested = np.arange(count) >= len(training)
    chosen = np.where(tested == tested.any(), lengths, 0).argmax()
    nodes = slice(lengths[chosen] + 1)
    return Simulations(
        held_out=tested,
        seconds=step * lengths,
        motion=motion,
        rmse=rmse,
        left=left,
        unstable=unstable,
        shown=(
            step * np.arange(longest + 1)[nodes],
            recorded[chosen, nodes],
            {name: curve[chosen, nodes] for name, curve in curves.items()},
        ),
    )


def _padded(values: Any, length: int) -> np.ndarray:
    """Return the first values, the last of them repeated up to `length`."""
    values = np.asarray(values)[:length]
    return np.pad(values, ((0, length - len(values)), (0, 0)), "edge")


def _motions(
    recorded: np.ndarray, lengths: np.ndarray, revolute: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviations of positions, and the errors that are too large."""
    pairs = zip(recorded, lengths, strict=True)
    motion = np.array([q[: length + 1].std(0) for q, length in pairs])
    # An angle that is off by more is lost, however many turns the joint makes.
    motion = np.where(revolute, np.minimum(motion, MAX_ANGLE), motion)
    tolerance = motion.copy()
    for kind in (revolute, ~revolute):
        if kind.any():
            least = MIN_MOTION * motion[:, kind].max(1, keepdims=True)
            tolerance[:, kind] = np.maximum(motion[:, kind], least)
    return motion, np.maximum(tolerance, AT_REST)


def _first(found: np.ndarray, inside: np.ndarray, step: float) -> np.ndarray:
    """Return the times of the first true value in each column, ∞ without any."""
    found = found & inside[..., None]
    return np.where(found.any(1), step * (found.argmax(1) + 1), np.inf)
