"""What is refused before a fit: arguments, files, and recordings without sense."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from roboopt._errors import (
    RobooptError,
    argument_called,
    is_number,
    require,
    require_lists,
    require_positive,
)
from roboopt._progress import counted
from roboopt.data import Trajectory, recording_files
from roboopt.diagnose import WRONG_UNITS, Finding, check_recordings
from roboopt.dynamics import Multibody, ParametricTwin
from roboopt.sysid._outlying_efforts import outlying_efforts
from roboopt.sysid._recordings import Recording, each
from roboopt.sysid._robot import KnownRobot
from roboopt.sysid._turns import turning_joints

TURNS = "turns"
"""Code of a finding on a joint that turns beyond its limits."""
EARLY = "degrees", "time_step", "jump", TURNS
"""Codes of findings that are told before a fit that would be in vain."""
MIN_PRIOR = 1e-6  # relative; its inverse square is also a number in single precision
ERRORS = ("auto", "motion", "effort", "both")


def check_arguments(
    error: str,
    cutoff: Any,
    free: Any,
    truth: Any = None,
    keep: Any = None,
    options: Any = None,
    *,
    prior: float | None = None,
    **others: Any,
) -> None:
    """Raise a `RobooptError` unless arguments are of the types that they must have."""
    require_positive(prior=prior)
    rule = f"be at least {MIN_PRIOR:g}: what is known better is not `free`"
    require(prior is None or prior >= MIN_PRIOR, "prior", rule, prior)
    known = truth is None or isinstance(truth, Multibody)
    require(known, "truth", "be a robot, as `load_urdf` returns it", truth)
    require(keep is None or callable(keep), "keep", "be a function", keep)
    named = options is None or isinstance(options, Mapping)
    require(named, "options", "map names of keywords to values", options)
    require(error in ERRORS, "error", f"be one of {', '.join(ERRORS)}", error)
    require(cutoff is None or is_number(cutoff), "cutoff", "be a number", cutoff)
    require_lists(free=None if isinstance(free, str) else free, **others)
    for names in others.get("ties", ()):
        require_lists(ties=names)


def check_sources(recordings: Any, held_out: Any) -> None:
    """Raise a `RobooptError` unless all files are there, and of known formats.

    Nothing is read yet.
    """
    sources = {"recordings": recordings}
    if isinstance(held_out, int | float):
        require(0 <= held_out < 1, "held_out", "be 0 or more and below 1", held_out)
    elif held_out is not None:
        sources["held_out"] = held_out
    for name, given in sources.items():
        with argument_called("path", name):
            for source in each(given):
                if not isinstance(source, Trajectory):
                    recording_files(source)


def check_runs(
    recordings: Sequence[Recording],
    known: KnownRobot,
    commanded: bool,
    unpowered: bool,
    start: ParametricTwin,
) -> list[Finding]:
    """Return the warnings on the recordings; raise if no fit of them can be right.

    Those on efforts are left out where the robot is `unpowered`. Efforts that no choice
    of the free parameters of `start` explains come first.
    """
    named = [one.run for one in recordings], [one.source for one in recordings]
    findings = _findings(*named, known, commanded)
    if not (commanded or unpowered):
        turning = turning_joints(findings, start, named[0])
        findings = _findings(*named, known, commanded, turning) if turning else findings
    errors = grouped([f for f in findings if f.severity == "error"])
    if errors:
        more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
        raise RobooptError(
            f"`recordings` must be free of errors, got {len(errors)}: "
            f"{' '.join(errors[:3])}{more}"
        )
    early = [f for f in findings if f.code in EARLY]
    for said in grouped(early):
        warnings.warn(said, stacklevel=3)  # before a fit that would be in vain
    if unpowered:
        return [f for f in findings if f.code != "constant_effort"]
    if not commanded:
        findings = [*outlying_efforts(start, *named), *findings]
    return findings


def _findings(
    runs: Sequence[Trajectory],
    names: Sequence[str],
    known: KnownRobot,
    commanded: bool,
    turning: Sequence[int] = (),
) -> list[Finding]:
    """Return what is found in the recordings, with joints that turn without limits."""
    robot = known.robot
    limited = np.array(robot.limited)
    limited[[*turning]] = False
    found = check_recordings(
        runs,
        names=names,
        effort_limits=None if commanded else known.effort_limits,
        lower=np.where(limited, np.asarray(robot.lower), -np.inf),
        upper=np.where(limited, np.asarray(robot.upper), np.inf),
        revolute=robot.revolute,
        joint_names=robot.joint_names,
    )
    turns = [f"joint {robot.joint_names[joint]}" for joint in turning]
    fast = [f for f in found if f.severity == "warning" and f.code == "degrees"]
    fast = [f for f in fast if f.where.rpartition(" of ")[0] in turns]
    said = (
        "the positions go several times as far as the limits in the robot's file, and "
        "by the efforts are in radians, not in degrees: make the joint `continuous`."
    )
    return [
        *(Finding(TURNS, "warning", said, where) for where in turns),
        *(finding for finding in found if finding not in fast),
    ]


@contextlib.contextmanager
def last_said(beginning: str) -> Iterator[None]:
    """Show of the warnings with one beginning only the last, at the end.

    What a fit on the way does not depend on may count in the next one.
    """
    last: list[tuple[Any, ...]] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Any, *others: Any) -> None:
            if str(message).startswith(beginning):
                last[:] = [(message, *others)]
            else:
                shown(message, *others)

        warnings.showwarning = show
        try:
            yield
        finally:
            for one in last:
                shown(*one)


def grouped(findings: Sequence[Finding]) -> list[str]:
    """Return the first finding of each kind and joint, and how many there are more.

    Wrong units are those of a whole file: there the joint does not count.
    """
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        joint, of, _ = finding.where.rpartition(" of ")
        joint = joint if of and finding.code not in WRONG_UNITS else ""
        alike.setdefault((finding.code, joint), []).append(finding)
    return [
        f"{first} So it is in {counted(len(others), 'more case')}."
        if others
        else str(first)
        for first, *others in alike.values()
    ]
