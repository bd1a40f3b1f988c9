"""Errors of the efforts that a robot's motion takes, beside the recorded ones."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboopt.data import Trajectory
from roboopt.diagnose import IdentifiabilityReport
from roboopt.dynamics import ParametricTwin, joint_numbers, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._base_parameters import BaseParameter, base_parameters
from roboopt.sysid._condensed import (
    MIN_SINGULAR,
    Condensed,
    effort_rows,
    is_condensable,
)
from roboopt.sysid._estimate import late_efforts
from roboopt.sysid._fitter import effort_windows
from roboopt.sysid._friction_kinds import MissingFriction, missing_friction
from roboopt.sysid._friction_velocity import scale_intervals, with_scale_slopes
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._parameters import IDENTIFIED, NOT_EXCITED
from roboopt.sysid._preparation import (
    impulse_response,
    independent_rate,
    outlasts,
)

MIN_GEARED_SHARE = 0.05  # of a joint's error, that rotor inertia explains
WORSE_RATIO = 1.05  # of the fit's error to another's: less is chance
MIN_ERROR_SHARE = 0.01  # of the efforts: less needs no explanation


@dataclass(frozen=True)
class EffortErrors:
    """Root mean squares of the driven joints' efforts and of their errors."""

    joints: tuple[int, ...]
    recorded: Float[np.ndarray, " joint"]
    """[N·m or N], as all others."""
    before: Float[np.ndarray, " joint"]
    """Errors of the robot as it was given."""
    fitted: Float[np.ndarray, " joint"]
    unconstrained: Float[np.ndarray, " joint"] | None
    """Errors of least squares in the base parameters, possible for a robot or not:
    the yardstick of the fit. None where the efforts are not linear in what is free."""
    base: tuple[BaseParameter, ...]
    """The base parameters; none where there is no yardstick."""
    held_out: bool
    """Whether the recordings were held out of the fit."""
    falling: tuple[str, ...] = ()
    """Joints whose friction falls with speed near rest, as that of the fit does not."""
    asymmetric: tuple[str, ...] = ()
    """Joints whose offset asymmetric friction explains as well."""
    excess: Float[np.ndarray, " joint"] | None = None
    """What least squares leave over the noise, where that is too much to be noise."""
    geared: tuple[str, ...] = ()
    """Joints whose efforts rotor inertia would explain, which the fit left out."""
    without_offsets: bool = False
    """Whether offsets that are free by default were left out: forecasts are no better
    with them."""
    cutoff: float | None = None  # above which recorded motion and efforts are smoothed

    @property
    def failed(self) -> bool:
        """Return whether the robot as given meets the efforts better than the fit."""
        given = max(self.share(self.before), MIN_ERROR_SHARE)
        return self.share(self.fitted) > WORSE_RATIO * given

    def share(self, errors: Float[np.ndarray, " joint"]) -> float:
        """Return the errors' root mean square over all joints, each over its effort."""
        moved = self.recorded > 0
        ratio = errors[moved] / self.recorded[moved]
        return float(np.sqrt(np.mean(ratio**2))) if moved.any() else 0.0


def effort_errors(
    error: InverseDynamicsError,
    before: ParametricTwin,
    model: ParametricTwin,
    training: Sequence[Trajectory],
    held_out: Sequence[Trajectory],
    cutoff: float | None,
    velocities: Sequence[str] = (),
    delays: np.ndarray | None = None,
) -> EffortErrors:
    """Return the errors on what was held out of the fit, if anything was.

    Least squares are fitted to `training`. All are prepared as the efforts of the fit
    were; `error` is that of the fit, and `velocities` are the velocity scales of
    friction that were fitted too; `delays` those of `Estimate.delays_left`.
    """
    judging = held_out or training
    joints = model.actuated
    chosen = np.array(joints, int)
    judged = error
    if not outlasts(judging, error.filter):
        judged = dataclasses.replace(error, filter=None)
    seen = effort_windows(judging, judged.filter)
    if not is_condensable(error, before):
        motions = judged.motions(before, seen)
        errors = [judged.errors(m, seen) for m in (before, model)]
        rms = [_rms(np.asarray(x))[chosen] for x in (motions[-1], *errors)]
        return EffortErrors(
            joints,
            *rms,
            unconstrained=None,
            base=(),
            held_out=bool(held_out),
            cutoff=cutoff,
        )
    windows = effort_windows(training, error.filter)
    known, slopes = with_scale_slopes(error, before, model, windows, velocities)
    judge = Condensed.of(judged, before, seen)
    given, fitted = (np.asarray(linear_parameters(m)) for m in (before, model))
    free = free_numbers(before)[0]
    best = known.unconstrained(given, free)
    rms = [judge.rms(x)[chosen] for x in (0 * given, given, fitted, best)]
    over = oversampling(error, training, cutoff)
    spread = np.sqrt(over) * held_out_noise(known, judge, best, free, over)
    models, numbers = (before, model), (given, fitted)
    instants = _late_rows(error, before, windows, delays)
    base = base_parameters(known, spread, models, numbers, free, slopes, instants)
    return EffortErrors(
        joints,
        *rms[:3],
        unconstrained=rms[3],
        base=base,
        held_out=bool(held_out),
        cutoff=cutoff,
        geared=_geared(known, before),
        **_missing(error, model, training, cutoff)._asdict(),
    )


def held_out_noise(
    known: Condensed,
    judge: Condensed,
    best: Float[np.ndarray, " number"],
    free: np.ndarray,
    over: float,
) -> Float[np.ndarray, " joint"]:
    """Return the noise of the efforts of each joint, as least squares leave it.

    Efforts that they have not seen differ by the variance of the fit, too. What is more
    than that is no noise, and may be as large where the recordings of the fit lie.
    """
    left, unseen = known.rms(best), judge.rms(best)
    noisy = left > 0
    rows = known.factors[noisy] / left[noisy, None, None]
    rows = rows.reshape(-1, known.factors.shape[2])[:, :-1][:, free]
    size = np.linalg.norm(rows, axis=0)
    size[size == 0] = 1.0
    _, singular, axes = np.linalg.svd(rows / size, full_matrices=False)
    told = singular > MIN_SINGULAR * singular.max(initial=1e-300)
    axes = (axes[told] / singular[told, None]).T / size[:, None]
    fitted = judge.factors[..., :-1][..., free] @ axes
    variance = over * (fitted**2).sum((1, 2)) / judge.instants
    count = noisy.sum() * known.instants / over
    lost = np.sqrt(count / max(count - told.sum(), 1.0))
    more = unseen / np.maximum(np.sqrt(left**2 + variance), 1e-300)
    return np.where(noisy, lost * left * np.maximum(more, 1.0), unseen)


def oversampling(
    error: InverseDynamicsError, runs: Sequence[Trajectory], cutoff: float | None
) -> float:
    """Return how many instants there are for each that tells something new."""
    if cutoff is None:
        return 1.0
    rate = 1 / (runs[0].time_step * error.every)
    return max(1.0, rate / independent_rate(cutoff))


def _late_rows(
    error: InverseDynamicsError,
    model: ParametricTwin,
    data: Trajectory,
    delays: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Yield [Y, τ] at instants, and beside τ what delays add to it."""
    moved = [] if delays is None else late_efforts(data, delays)
    late = [
        error.motions(model, dataclasses.replace(data, actions=one))[-1]
        for one in moved
    ]
    late = [np.asarray(one).reshape(-1, model.joints).T[..., None] for one in late]
    for at, rows in effort_rows(error, model, data):
        yield np.concatenate([rows, *(one[:, at] for one in late)], -1)


def with_likely_scales(
    report: IdentifiabilityReport,
    error: InverseDynamicsError,
    model: ParametricTwin,
    training: Sequence[Trajectory],
    cutoff: float | None,
    velocities: Sequence[str],
) -> IdentifiabilityReport:
    """Return the report with intervals of scales that hold all that are as likely."""
    data, over = (
        effort_windows(training, error.filter),
        oversampling(error, training, cutoff),
    )
    lower, upper, verdicts = (
        report.lower.copy(),
        report.upper.copy(),
        [*report.verdicts],
    )
    for name, ends in scale_intervals(model, error, data, over, velocities).items():
        if name not in report.names:  # but tied to another
            continue
        k = report.names.index(name)
        lower[k], upper[k] = min(lower[k], ends[0]), max(upper[k], ends[1])
        if verdicts[k] == IDENTIFIED and not np.isfinite(upper[k]):
            verdicts[k] = NOT_EXCITED
    return dataclasses.replace(
        report, lower=lower, upper=upper, verdicts=tuple(verdicts)
    )


def _geared(known: Condensed, before: ParametricTwin) -> tuple[str, ...]:
    """Return the joints that least squares explain better with a free armature.

    None where bodies are not free: an armature would stand for their inertia.
    """
    given, free = np.asarray(linear_parameters(before)), free_numbers(before)[0]
    joints, kinds = before.joints, joint_numbers(before)
    first = given.size + (kinds.index("armature") - len(kinds)) * joints
    if not free[: 10 * len(before.massive)].all():
        return ()
    more = free.copy()
    more[first : first + joints] = True
    less, least = (known.rms(known.unconstrained(given, x)) for x in (free, more))
    better = (least < (1 - MIN_GEARED_SHARE) * less) & ~free[first : first + joints]
    recorded = known.rms(0 * given)
    better &= less > MIN_ERROR_SHARE * recorded
    return tuple(n for n, b in zip(before.robot.joint_names, better, strict=True) if b)


def _missing(
    error: InverseDynamicsError,
    model: ParametricTwin,
    training: Sequence[Trajectory],
    cutoff: float | None,
) -> MissingFriction:
    """Return the joints with other friction, which is filtered as efforts are."""
    if cutoff is not None:
        response = impulse_response(cutoff, training[0].time_step)
        if outlasts(training, response):
            error = dataclasses.replace(error, filter=response)
    return missing_friction(error, model, effort_windows(training, error.filter))


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values.reshape(-1, values.shape[-1]) ** 2, 0))
