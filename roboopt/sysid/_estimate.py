"""One fit of a parametric twin, and what its data determine.

Efforts may be late by a time τ that is known to a standard deviation σ. The residuals r
depend on it through the efforts, ∂r/∂τ; so do the parameters, and the covariance of
these counts it (`identifiability`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roboopt._programs import called
from roboopt.data import Trajectory
from roboopt.diagnose import IdentifiabilityReport, identifiability
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError
from roboopt.optimize import Bound, Result
from roboopt.sysid._friction_velocity import with_velocities


@dataclass(frozen=True)
class Estimate:
    """One fit: the errors that it minimized, on which data, and its outcome."""

    parts: Mapping[str, Any]
    """Objectives in units of their noise, by "effort" and "motion"."""
    data: Mapping[str, Trajectory]
    result: Result
    cutoff: float | None = None
    """Frequency above which the data are smoothed [Hz]."""
    training: tuple[Trajectory, ...] = ()
    """The recordings of the fit, as a simulation is compared with them."""
    held_out: tuple[Trajectory, ...] = ()
    in_steps: Callable[[float], Sequence[Sequence[Trajectory]]] | None = None
    """Both as a simulation in other steps [s] has them; None for clean recordings."""
    velocities: tuple[str, ...] = ()
    """The velocity scales of friction that the recordings were asked for."""
    efforts: tuple[InverseDynamicsError, Sequence, Sequence] | None = None
    """What efforts are judged by: their error, and the recordings of the fit and those
    held out. None for robots with passive joints."""
    excess: np.ndarray | None = None  # as in `Smoothing`
    without_offsets: bool = False
    """Whether offsets of the efforts were left out."""
    delays_left: np.ndarray | None = None
    """Standard deviations of how late the efforts still are, (joint, cause) [s]: each
    cause delays joints independently of others, and all by its column."""

    @property
    def model(self) -> ParametricTwin:
        """Return the fitted model."""
        return self.result.model

    @property
    def judged(self) -> ParametricTwin:
        """Return the fitted model, velocity scales of friction among its parameters."""
        return with_velocities(self.model, self.velocities)

    def identifiability(self) -> IdentifiabilityReport:
        """Judge the parameters, by the efforts where every joint is driven.

        Residuals of efforts are noise from instant to instant; the errors within a
        window of motion are one mistake over and over.
        """
        model, kind = self.judged, "motion"
        driven = len(model.actuated) == model.joints
        if "effort" in self.parts and (driven or len(self.parts) == 1):
            kind = "effort"
        # What a rotor at 0 lacks, its link may have: 0 is not known then.
        lower, upper = np.array(model.lower()), model.upper()
        lower[[name.startswith("armature[") for name in model.names]] = -np.inf
        bounds = [Bound(lambda m: m.coordinates, lower, upper)]
        error, data = self.parts[kind], self.data[kind]
        late = late_residuals(error, model, data, self.delays_left)
        return identifiability(error, model, data, bounds=bounds, uncertain=late)


def late_residuals(
    objective: Any,
    model: ParametricTwin,
    data: Trajectory,
    delays: np.ndarray | None,
) -> np.ndarray | None:
    """Return what one standard deviation of each cause of delay adds to the residuals.

    `delays` are those of `Estimate.delays_left`; None for none.
    """
    if delays is None:
        return None
    found = []
    for moved in late_efforts(data, delays):
        ends = [replace(data, actions=data.actions + sign * moved) for sign in (1, -1)]
        if isinstance(objective, InverseDynamicsError):  # less what is recorded
            earlier, later = (np.asarray(objective.motions(model, e)[-1]) for e in ends)
            moved = (later - earlier) / np.asarray(objective.scale)
        else:
            later, earlier = (called(objective.residuals, model, end) for end in ends)
            moved = np.asarray(later - earlier)
        found.append(moved / 2)
    return np.stack(found)


def late_efforts(data: Trajectory, delays: np.ndarray) -> list[np.ndarray]:
    """Return what one standard deviation of each cause of delay adds to the efforts."""
    slope = np.gradient(np.asarray(data.actions, float), data.time_step, axis=-2)
    return [slope * column for column in delays.T]
