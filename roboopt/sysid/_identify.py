"""System identification: a robot's parameters from recordings of its motion.

recordings → checks → split → resampling → smoothing, where noisy → fit
→ identifiability → forecasts of recordings that the fit has not seen
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Unpack

import equinox as eqx
import jax
import numpy as np

from roboopt._blas import with_one_blas_thread
from roboopt._errors import (
    RobooptError,
    argument_called,
    require_at_least,
    require_positive,
)
from roboopt._interrupt import ending, exposed, shielded
from roboopt._keywords import ReadingOptions, known_keywords, with_options
from roboopt._programs import make_room
from roboopt._progress import counted, say, say_notes
from roboopt.data import Columns, Trajectory
from roboopt.dynamics import Drive, Multibody, ParametricTwin, Twin
from roboopt.optimize import Checkpoint, Log, OneLog
from roboopt.rollouts import robot_notes
from roboopt.sysid._base_parameters import no_narrower
from roboopt.sysid._checks import check_arguments, check_runs, check_sources, last_said
from roboopt.sysid._effort_errors import effort_errors, with_likely_scales
from roboopt.sysid._estimate import Estimate
from roboopt.sysid._fitter import Fitter
from roboopt.sysid._fitting import are_clean, fit_clean, fit_noisy
from roboopt.sysid._friction_velocity import with_names
from roboopt.sysid._preparation import evenly
from roboopt.sysid._recordings import (
    Recording,
    Split,
    load_all,
    others_than,
    simulated_step,
    split,
)
from roboopt.sysid._refinement import finer_step, in_steps, with_time_step
from roboopt.sysid._result import BOTH, FITTED, TESTED, IdentifyResult, Source
from roboopt.sysid._robot import FREE, KnownRobot, default_free, known_scene
from roboopt.sysid._sizes import judged_by_size, sizes
from roboopt.sysid._suspicions import UNRECORDED
from roboopt.urdf.drive import AnyDrive, as_drive
from roboopt.view import scene_or_none

HORIZONS_S = {True: 1.0, False: 0.4}  # by whether a drive's loop holds the motion
MAX_REFINEMENTS = 2  # of the time step

Recorded = Trajectory | str | PathLike | Mapping[str, Any]
Recordings = Recorded | Sequence[Recorded]


@known_keywords(ReadingOptions)
@with_one_blas_thread
def identify(
    robot: Any,
    recordings: Recordings,
    *,
    held_out: float | Recordings | None = None,
    free: Sequence[str] | None = None,
    ties: Sequence[Sequence[str]] = (),
    error: str = "auto",
    time_step: float | None = None,
    actuated: Sequence[str | int] | None = None,
    columns: Columns | Mapping[str, Any] | None = None,
    resample: float | None = None,
    cutoff: float | None = None,
    horizon: float | None = None,
    prior: float | None = 0.5,
    steps: int = 100,
    options: Mapping[str, Any] | None = None,
    interface: str = "torque",
    drive: AnyDrive = None,
    truth: Multibody | None = None,
    progress: bool = False,
    log: Log | None = None,
    checkpoint: str | PathLike | Checkpoint | None = None,
    keep: Callable[[IdentifyResult], object] | None = None,
    **reading: Unpack[ReadingOptions],
) -> IdentifyResult:
    """Fit the parameters of a robot to recordings, and judge the fitted model.

    Ctrl-C ends the fits with the best model so far; it loses neither that nor a fitted
    model that is judged.

    Args:
        robot: the robot as it is known: a `Twin`, a `Multibody`, the path of a URDF, or
            a PyBullet environment.
        recordings: trajectories, or files, folders or dicts of arrays as
            `load_recordings` reads them, or `minari:<dataset>`. Observations are
            [q, q̇]; the efforts [N·m or N], or else the actions, are those that drive
            the robot.
        held_out: the share of each recording, at its end, that the fit does not see,
            or recordings for judging alone. If None, every third of three or more
            recordings, else a quarter of each; 0 holds out nothing.
        free: names or patterns of the parameters to fit, as in `ParametricTwin`; if
            None, the bodies' masses, centers and shapes and the joints' damping and
            friction; of noisy recordings also offsets of the efforts and the inertia
            of the rotors, `armature`, of joints with motors. Where more than noise is
            left, the offsets stay only if forecasts are better with them.
        ties: groups of parameters that share one value, as in `ParametricTwin`.
        error: the error to minimize: "effort", through inverse dynamics; "motion",
            through the twin, one step ahead for clean recordings and over `horizon` for
            noisy ones; or "both". "auto" takes the efforts of clean recordings, if
            their steps are the twin's, and their motion if not; of noisy ones the
            efforts alone, if a fit of them leaves no more than their noise, and else
            the efforts or both, by their forecasts; and the motion of robots with
            joints that nothing drives, or of recordings without any effort.
        time_step: step of the simulation [s]; if None, the twin's, or the recordings',
            which is divided until it is at most 1/240 s unless a simulation without
            noise made the recordings; shorter ones of noisy recordings are joined.
            With a `drive` it is at most 1/1000 s. Noisy motion of a drive or of joints
            that nothing drives is extrapolated to steps of no length (Richardson), from
            steps so short that the error of that biases no estimate by much of its
            standard error. Where noisy efforts of every joint were recorded, it is so
            short that forecasts hardly depend on it.
        actuated: names or numbers of the joints that the recorded actions drive; if
            None, the twin's or the environment's, or all. An empty list is for a robot
            that nothing drives, whose recordings need no efforts: they tell ratios of
            its parameters.
        columns: of tables, or a dict of its fields; recognized by name if None.
        resample: even time step [s] that all recordings get first, observations by
            cubic splines and efforts by their means; None for their own times.
        cutoff: frequency [Hz] above which efforts are smoothed, positions above it or
            twice it; if None, by spectrum and forecasts, and none of clean recordings.
        horizon: time over which noisy motion is predicted [s]; if None, 1 s where
            drives follow positions or velocities, whose loop keeps a prediction from
            diverging, and else 0.4 s.
        prior: standard deviation of each parameter before the fit, relative to its
            size (`ParametricTwin.spans`), such as the whole of a mass; of a damping, a
            friction or an offset relative to the recorded efforts, if that is more;
            None for no prior.
        steps: most steps of each fit.
        options: keywords of `load_urdf`, such as `locked`, where `robot` is a path.
        interface: what the recorded actions are, if they are no efforts: "position",
            "velocity", "voltage" or "duty", as the `interface` of a `Twin`. The motion
            alone is fitted then, and efforts in the recordings are not used.
        drive: the actuators between commands and efforts, whose numbers may be `free`.
        truth: the real robot, where it is known, for comparison.
        progress: whether to show a progress bar.
        log: `log(step, metrics)`, told of every step of all fits what `least_squares`
            tells; such as `ro.loggers.TensorBoard`.
        checkpoint: file for the states of the fits, written every ten seconds and after
            each fit, so that the fitted model is there before it is judged. If the file
            exists, the fits continue from it, to the same bits as without the
            interruption. A file of other fits is refused.
        keep: called with the result before it is judged, such as to save it.
        **reading: keywords in `options`, by themselves, such as `locked`.

    Raises:
        RobooptError: if an argument breaks its rule, the recordings do not fit the
            robot, a check of the recordings finds an error, or `checkpoint` is a file
            of other fits.
        KeyboardInterrupt: if Ctrl-C comes before the first step of the first fit.

    Warns:
        UserWarning: before the fits, of changes that explain the efforts clearly
            better; of parameters without effect, which stay; and in single precision.
    """
    make_room()
    given = error, cutoff, free, truth, keep, options
    check_arguments(*given, prior=prior, actuated=actuated, ties=ties)
    require_positive(cutoff=cutoff, horizon=horizon, resample=resample)
    require_at_least(1, steps=steps)
    check_sources(recordings, held_out)
    if not jax.config.jax_enable_x64:  # pyright: ignore
        warnings.warn(
            "JAX computes in single precision, whose rounding hides what recordings "
            'determine: call `jax.config.update("jax_enable_x64", True)` first.',
            stacklevel=4,
        )
    options = with_options(options, reading)
    unpowered = actuated is not None and not len(actuated)
    if unpowered and isinstance(robot, str | PathLike):
        options = {**(options or {}), "actuated": ()}
    known = KnownRobot.of(robot, FREE if free is None else free, options)
    driven = known.actuated if actuated is None else _numbers(actuated, known.robot)
    if not isinstance(robot, KnownRobot):  # `excite` has told of its robot.
        joints = range(len(known.joint_names)) if driven is None else driven
        notes = robot_notes(dataclasses.replace(known, actuated=tuple(joints)))
        every = f"drive every joint: {', '.join(known.joint_names)}"
        say_notes({"motors": every} | notes, progress)
    arguments = known.robot.joint_names, driven, columns
    drive = as_drive(drive)
    if interface == "torque" and drive is None:
        own = robot if isinstance(robot, Twin) else getattr(robot, "unwrapped", None)
        interface = getattr(own, "interface", "torque")
        drive = as_drive(getattr(own, "drive", None))
    elif interface == "torque" and drive is not None and drive.closes_a_loop:
        warnings.warn(
            "the gains of the `drive` do nothing where `interface` is torque: the "
            "recorded commands are taken as efforts [N·m or N].",
            stacklevel=2,
        )
    commanded = interface != "torque" or drive is not None
    if commanded and error in ("effort", "both"):
        raise RobooptError(
            f"`error` must be auto or motion with a `drive`, got {error!r}: a command "
            "is no effort."
        )
    # Names are checked before recordings are read, which tell the step. Where nothing
    # drives a robot, the efforts of all joints are known: they are 0.
    motors = None if unpowered else driven
    whole = _twin(known, motors, time_step, (), interface, drive)
    ParametricTwin(whole, free or default_free(whole, noisy=True), ties=ties)
    load = partial(load_all, commanded=commanded, time_step=resample)
    read = load(recordings, *arguments)
    if held_out is None or isinstance(held_out, int | float):
        parts = split(read, held_out)
    else:
        empty = isinstance(held_out, Sequence) and not held_out
        with argument_called("recordings", "held_out"):
            judging = [] if empty else load(held_out, *arguments)
        read = others_than(judging, read)
        parts = split(read, 0.0)
        if judging:
            said = f"{counted(len(judging), 'recording')} held out"
            parts = Split(parts.training, [one.run for one in judging], said)
        read += judging
    if not any(np.ptp(np.asarray(x.observations), 0).any() for x in parts.training):
        raise RobooptError(
            "`recordings` must hold motion, but the robot rests in those of the fit."
        )
    twin = _twin(known, motors, time_step, read, interface, drive)
    samples = parts.training, parts.held_out
    step = min(run.time_step for part in samples for run in part)
    runs, tests = (evenly(part, step) for part in samples)
    if cutoff is not None and cutoff >= 0.5 / step:
        raise RobooptError(
            f"`cutoff` must be below half the sampling rate, {0.5 / step:.4g} Hz, got "
            f"{cutoff}."
        )
    plain = commanded or unpowered or are_clean(runs, twin)
    chosen = default_free(twin, noisy=not plain) if free is None else free
    start = ParametricTwin(twin, chosen, ties=ties)
    if horizon is None:
        horizon = HORIZONS_S[twin.interface in ("position", "velocity")]
    findings = check_runs(read, known, commanded, unpowered, start)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint)
    settings: dict[str, Any] = {"spans": sizes(start, runs), "samples": samples}
    settings["swings"] = not any(np.any(run.actions) for run in (*runs, *tests))
    settings |= {"by_default": free is None, "resampled": resample is not None}
    settings["step_is_free"] = time_step is None and known.twin is None
    fitter = Fitter(start, prior, steps, progress, checkpoint, OneLog(log), **settings)
    say("fitting", progress)
    with shielded(), last_said("the residuals do not depend"):
        found, interrupted = _fit(fitter, runs, tests, error, cutoff, horizon)
        for _ in range(MAX_REFINEMENTS if fitter.refine else 0):
            if interrupted or found.cutoff is None:  # from sample to sample
                break
            step = finer_step(found)
            if step >= found.model.time_step:
                break
            told = f"time step: {1000 * step:.3g} ms, for the accuracy of the data"
            say(told, progress)
            start = with_time_step(start, step)
            twin = start.inner
            if set(found.parts) == {"effort"}:
                found = in_steps(found, step)  # which no estimate depends on
                break
            fitter.start, fitter.begin = start, with_time_step(found.model, step)
            found, interrupted = _fit(fitter, runs, tests, error, cutoff, horizon)
        true_values = None
        if truth is not None:
            real = eqx.tree_at(lambda t: t.robot, twin, truth)
            true_values = np.asarray(with_names(found.judged, real).values())
        made = IdentifyResult(
            name=known.name,
            before=with_names(found.judged, start.inner),
            model=found.judged,
            identifiability=None,
            result=fitter.outcome(found.result, interrupted),
            error="both" if len(found.parts) > 1 else next(iter(found.parts)),
            cutoff=found.cutoff,
            training=found.training,
            held_out=found.held_out,
            split=parts.description,
            sources=tuple(
                Source(o.source, o.run.steps, o.run.time_step, _use(o, parts))
                for o in read
            ),
            findings=(*filter(None, [fitter.late]), *findings),
            explained={},
            true_values=true_values,
            urdf=None if known.urdf is None else str(known.urdf),
            xacro_args=known.xacro_args,
            scene=scene_or_none(known_scene, robot, known, options),
            suspicions=fitter.suspicions or (),
        )
        if keep is not None:
            keep(made)
    say("judging the fit", progress)
    efforts, base = None, ()
    try:
        if ending():
            raise KeyboardInterrupt  # of the fits: the command is to end
        # Efforts have no time step: with that of the start, programs are shared.
        model = with_time_step(found.model, fitter.start.time_step)
        if found.efforts is not None:
            error_of, seen, unseen = found.efforts
            judged = error_of, fitter.start, model, seen, unseen, found.cutoff
            efforts = effort_errors(*judged, found.velocities, found.delays_left)
            base = () if UNRECORDED in made.suspicions else efforts.base
            left = {"excess": found.excess, "without_offsets": found.without_offsets}
            efforts = dataclasses.replace(efforts, base=base, **left)
        report, explained = found.identifiability(), fitter.explained(model)
        report = judged_by_size(no_narrower(report, base), found.judged, runs)
        if found.efforts is not None and "effort" in found.parts:
            told = model, found.efforts[1], found.cutoff, found.velocities
            report = with_likely_scales(report, found.efforts[0], *told)
    except KeyboardInterrupt:
        return made  # without the verdicts
    return dataclasses.replace(
        made, identifiability=report, efforts=efforts, explained=explained
    )


def _fit(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    tests: Sequence[Trajectory],
    error: str,
    cutoff: float | None,
    horizon: float,
) -> tuple[Estimate, bool]:
    """Return the fit, or after Ctrl-C the best so far; and whether Ctrl-C came."""
    try:
        with exposed():
            found = fit_clean(fitter, runs, tests, error) if cutoff is None else None
            if found is None:
                return fit_noisy(fitter, runs, tests, error, cutoff, horizon), False
        interrupted = False
    except KeyboardInterrupt:
        found, interrupted = fitter.kept, True
        early = found is not None and found.result.reason == "interrupted"
        if found is None or (early and [x.steps for x in fitter.results] == [0]):
            raise
    shown = {"training": tuple(runs), "held_out": tuple(tests)}
    return dataclasses.replace(found, **shown), interrupted


def _use(one: Recording, parts: Split) -> str:
    """Return what a recording was used for, as in `Source`."""
    if any(one.run is run for run in parts.training):
        return FITTED
    return TESTED if any(one.run is run for run in parts.held_out) else BOTH


def _numbers(joints: Sequence[str | int], robot: Multibody) -> tuple[int, ...]:
    """Return the numbers of joints that are given by name or by number."""
    names = robot.joint_names
    known = [j for j in joints if not isinstance(j, str) or j in names]
    numbers = tuple(names.index(j) if isinstance(j, str) else j for j in known)
    if len(set(numbers)) < len(joints):
        raise RobooptError(
            f"`actuated` must name joints of {', '.join(names)} once each, got "
            f"{', '.join(map(str, joints))}."
        )
    return numbers


def _twin(
    known: KnownRobot,
    actuated: tuple[int, ...] | None,
    time_step: float | None,
    recordings: Sequence[Recording],
    interface: str,
    drive: Drive | None,
) -> Twin:
    if known.twin is None:
        joints = tuple(range(len(known.robot.joint_names)))
        has_drive = drive is not None
        step = simulated_step(recordings, len(joints), has_drive=has_drive)
        implicit = known.implicit_damping
        return Twin(
            known.robot,
            step if time_step is None else time_step,
            actuated=joints if actuated is None else actuated,
            implicit_damping=implicit,
            interface=interface,
            drive=drive,
        )
    if time_step is not None or actuated != known.twin.actuated:
        raise RobooptError(
            "`time_step` and `actuated` must be left out where `robot` is a Twin, "
            f"which has its own, got {time_step} and {actuated}."
        )
    return known.twin
