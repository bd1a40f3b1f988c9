"""What is refused before a fit: arguments, files, and recordings without sense."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, argument_called, require
from roboopt._progress import counted
from roboopt.data import Trajectory, recording_files
from roboopt.diagnose import WRONG_UNITS, Finding, check_recordings
from roboopt.sysid._recordings import Recording, each
from roboopt.sysid._robot import KnownRobot

ERRORS = ("auto", "motion", "effort", "both")


def check_error(error: str) -> None:
    """Raise a `RobooptError` unless `error` is one of those there are."""
    require(error in ERRORS, "error", f"be one of {', '.join(ERRORS)}", error)


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
) -> list[Finding]:
    """Return the warnings on the recordings; raise if no fit of them can be right.

    Those on efforts are left out where the robot is `unpowered`.
    """
    robot = known.robot
    limited = np.array(robot.limited)
    findings = check_recordings(
        [one.run for one in recordings],
        names=[one.source for one in recordings],
        effort_limits=None if commanded else known.effort_limits,
        lower=np.where(limited, np.asarray(robot.lower), -np.inf),
        upper=np.where(limited, np.asarray(robot.upper), np.inf),
        revolute=robot.revolute,
        joint_names=robot.joint_names,
    )
    errors = [str(f) for f in findings if f.severity == "error"]
    if errors:
        more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
        raise RobooptError(
            f"`recordings` must be free of errors, got {len(errors)}: "
            f"{' '.join(errors[:3])}{more}"
        )
    for said in grouped([f for f in findings if f.code == "degrees"]):
        warnings.warn(said, stacklevel=3)  # before a fit that would be in vain
    return [f for f in findings if not (unpowered and f.code == "constant_effort")]


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
