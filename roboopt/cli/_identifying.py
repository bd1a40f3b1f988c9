"""The course of `roboopt identify`: read, check, fit, save, judge, report.

What a fit found is saved before it is judged, so that whatever ends the rest takes
nothing away.
"""

import contextlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import roboopt as ro
from roboopt.cli import _identify_report
from roboopt.cli import _identify_tables as tables
from roboopt.cli._console import print_identification
from roboopt.cli._exciting import Collected, excite
from roboopt.cli._identified_robot import Subject, subject
from roboopt.cli._recorded import Recorded, Split, read, simulated_step, split
from roboopt.cli._run_folder import SETTINGS, claim, clear, write_json
from roboopt.cli._settings import plain, surroundings
from roboopt.cli._usage import UsageError
from roboopt.diagnose import Finding, check_recordings
from roboopt.dynamics import save_urdf

TITLE = "Identifying {a.subject}"
RECORDING = "recording.npz"
FILES = "report.html", "model.npz", "identified.urdf", "parameters.csv"


def identify(arguments: Any) -> int:
    """Run the whole command and return its exit code.

    Args:
        arguments: a checked `Identify`.

    Raises:
        UsageError: if folder, robot or recordings cannot be worked with.
    """
    jax.config.update("jax_enable_x64", True)
    title = f"{arguments.subject}-identified"
    folder = claim(arguments.runs, arguments.name, title, overwrite=arguments.overwrite)
    try:
        _require_elsewhere(arguments.recordings, folder)
        if arguments.simulated:
            from roboopt_envs import import_pybullet_silently

            import_pybullet_silently()
        robot = subject(arguments)
        free = _free(arguments, robot.robot)
        recorded, twin, collected = _recorded(arguments, robot, free)
        findings = _checked(recorded, robot)
        parts = split(recorded, arguments.held_out)
        print(f"{TITLE.format(a=arguments)}: {folder}", file=sys.stderr)
        found = _fit(arguments, twin, parts, free)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    clear(folder)
    settings = _settings(arguments, robot, twin, recorded, parts, found)
    write_json(folder / SETTINGS, settings)
    if collected is not None:
        collected.run.save(folder / RECORDING)
    ro.save(folder / "model.npz", found.model)
    truth = None if collected is None else _truth(collected, twin, free)
    rows = tables.parameters(found, truth)
    tables.write_parameters(folder / "parameters.csv", rows)
    _write_urdf(found.model.robot, robot.template, folder / "identified.urdf")
    try:
        made = tables.forecasts(found)
        verdict = tables.sentences(rows, made, found)
        print_identification(found, rows, made, verdict)
        run = _identify_report.Run(
            title=TITLE.format(a=arguments),
            found=found,
            rows=rows,
            forecasts=made,
            recorded=recorded,
            findings=findings,
            split=parts.said,
            verdict=verdict,
            settings=settings,
        )
        _identify_report.write(folder / "report.html", run)
    finally:
        _say_where(folder)
    return 0


def _require_elsewhere(paths: Sequence[str], folder: Path) -> None:
    """Refuse to overwrite what is to be read."""
    for path in paths:
        if folder.resolve() in (Path(path).resolve(), *Path(path).resolve().parents):
            raise UsageError(f"{path} would be overwritten: give another --name")


def _free(arguments: Any, robot: ro.dynamics.Multibody) -> tuple[str, ...]:
    """Return what is fitted, every pattern of which matches something."""
    twin = ro.Twin(robot, 1.0)
    for pattern in arguments.free:
        try:
            ro.dynamics.ParametricTwin(twin, (pattern,))
        except ValueError as error:
            raise UsageError(
                f"--fit must name parameters of the robot, got {pattern!r}, which "
                f"matches none: there are {_choices(twin)}"
            ) from error
    return arguments.free


def _choices(twin: ro.Twin) -> str:
    """Return what there is to be fitted, and of which links and joints."""
    owners: dict[str, list[str]] = {}
    for name in ro.dynamics.ParametricTwin.available(twin):
        quantity, _, where = name.partition("[")
        owners.setdefault(quantity, []).append(where.removesuffix("]"))
    groups: dict[tuple[str, ...], list[str]] = {}
    for quantity, names in owners.items():
        groups.setdefault(tuple(names), []).append(quantity)
    said = []
    for names, quantities in groups.items():
        of = f" of {', '.join(names)}" if any(names) else ""
        said.append(f"{', '.join(quantities)}{of}")
    return "; ".join(said)


def _recorded(
    arguments: Any, robot: Subject, free: tuple[str, ...]
) -> tuple[list[Recorded], ro.Twin, Collected | None]:
    """Return the recordings and the twin that they are to be fitted by."""
    collected = None
    if arguments.collect:
        collected = excite(robot, free, seed=arguments.seed, progress=True)
        recorded, actuated = [Recorded(RECORDING, collected.run)], robot.env.actuated
        step = collected.run.time_step
    else:
        recorded, actuated = read(arguments, robot)
        step = arguments.time_step or simulated_step(recorded)
    try:
        twin = ro.Twin(robot.robot, step, actuated=tuple(actuated))
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    return recorded, twin, collected


def _checked(recorded: Sequence[Recorded], robot: Subject) -> list[Finding]:
    """Print what is wrong with the recordings, and return it.

    Raises:
        UsageError: if no fit could be right.
    """
    multibody = robot.robot
    limited = np.array(multibody.limited)
    findings = check_recordings(
        [one.run for one in recorded],
        names=[f"recording {k} ({one.source})" for k, one in enumerate(recorded)],
        effort_limits=robot.effort_limits,
        lower=np.where(limited, np.asarray(multibody.lower), -np.inf),
        upper=np.where(limited, np.asarray(multibody.upper), np.inf),
        revolute=multibody.revolute,
        joint_names=multibody.joint_names,
    )
    for finding in findings:
        print(f"roboopt: {finding.severity}: {finding}", file=sys.stderr)
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise UsageError(f"the recordings have {errors} errors: mend these first")
    return findings


def _fit(
    arguments: Any, twin: ro.Twin, parts: Split, free: tuple[str, ...]
) -> ro.sysid.IdentifyResult:
    try:
        return ro.identify(
            twin,
            parts.training,
            free=free,
            held_out=parts.held_out,
            error=arguments.error,
            cutoff=arguments.cutoff,
            prior=arguments.prior or None,
            progress=True,
        )
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error


def _truth(
    collected: Collected, twin: ro.Twin, free: tuple[str, ...]
) -> ro.dynamics.ParametricTwin:
    true = eqx.tree_at(lambda t: t.robot, twin, collected.truth)
    return ro.dynamics.ParametricTwin(true, free)


def _write_urdf(robot: ro.dynamics.Multibody, template: Path, path: Path) -> None:
    try:
        save_urdf(robot, template, path)
    except ValueError as error:
        reason = " ".join(str(error).split())
        warnings.warn(f"no {path.name} was written: {reason}", stacklevel=2)


def _settings(
    arguments: Any,
    robot: Subject,
    twin: ro.Twin,
    recorded: Sequence[Recorded],
    parts: Split,
    found: ro.sysid.IdentifyResult,
) -> dict[str, Any]:
    """Return all that decided what came out, as JSON can hold it."""
    names = robot.robot.joint_names
    result = ("loss", "reason", "message", "steps", "seconds", "compile_seconds")
    return {
        "robot": robot.described,
        "arguments": plain(arguments),
        "run": {
            "free": list(arguments.free),
            "time_step": twin.time_step,
            "actuated": [names[joint] for joint in twin.actuated],
            "recordings": [
                {
                    "source": one.source,
                    "steps": one.run.steps,
                    "step": one.run.time_step,
                }
                for one in recorded
            ],
            "held_out": parts.said,
            "error": found.error,
            "cutoff": found.cutoff,
        },
        "result": {name: plain(getattr(found.result, name)) for name in result},
        **surroundings(),
    }


def _say_where(folder: Path) -> None:
    for name in FILES:
        if (folder / name).exists():
            print(folder / name)
    print(f'The model loads with: roboopt.load("{folder / "model.npz"}")')
    print(f"To tune a controller for it: roboopt tune --model {folder}")
