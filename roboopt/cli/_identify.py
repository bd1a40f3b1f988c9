"""`roboopt identify`: fit a robot's parameters to recordings, and say what is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from roboopt.cli._flags import shown_as
from roboopt.cli._usage import UsageError, require_choice, require_positive

ROBOTS = ("two-link", "iiwa", "panda")
# Each also by the name of its class, as in roboopt_envs.
ENVIRONMENTS = {
    **{"arm": "arm", "cart-pole": "cart-pole"},
    **{"ArmReach": "arm", "CartPoleBalance": "cart-pole"},
    **{"CartPoleSwingUp": "cart-pole"},
}
ERRORS = ("auto", "motion", "effort", "both")
RIGID = ("mass", "center_of_mass", "extent", "shear")
JOINTS = ("damping", "friction")
KINDS = (".npz", ".csv", ".csv.gz")
MINARI = "minari:"
DURATION = 10.0  # s of motion that is collected


@dataclass(frozen=True)
class Identify:
    """Fit a robot's parameters to recordings, and test the model.

    Recordings hold positions, velocities and efforts of all joints. They are checked
    first; some of them, or the last quarter, are held out of the fit, and forecasts of
    these judge it. All that came out is left in runs/<name>/: report.html, model.npz,
    identified.urdf, parameters.csv, settings.json, and recording.npz where the motion
    was collected here. `roboopt tune --model runs/<name>` goes on from there. Ctrl-C
    keeps the best model so far and goes on to the report; a second one ends the
    command.
    """

    recordings: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        shown_as("RECORDING ..."),
    ] = ()
    """Files .npz, .csv or .csv.gz, folders of these, or minari:<dataset>."""
    urdf: Annotated[Path | None, shown_as("PATH", "none")] = None
    """The robot as it is thought to be, on a fixed base."""
    env: Annotated[
        str | None, shown_as("{arm,cart-pole}", "arm with --collect, else none")
    ] = None
    """A simulated robot, instead of --urdf; ArmReach and the like will do too."""
    robot: Annotated[str | None, shown_as("{two-link,iiwa,panda}", "two-link")] = None
    """Which arm of --env arm."""
    collect: bool = False
    """Excite the simulated robot in PyBullet and record that."""
    duration: Annotated[float | None, shown_as("FLOAT", f"{DURATION:g}")] = None
    """Of the motion that is collected [s]."""
    randomize: Annotated[float | None, shown_as("FLOAT", "0")] = None
    """How far every mass and joint damping of the robot that is collected from may be
    off, as a fraction."""
    seed: int = 0
    """Of what --randomize draws, and of the motion."""
    time: Annotated[str | None, shown_as("NAME", "by its name")] = None
    """Column of a table's times [s]."""
    positions: Annotated[str | None, shown_as("NAME,...", "by their names")] = None
    """Columns of the positions [rad or m], in the order of the robot's joints."""
    velocities: Annotated[str | None, shown_as("NAME,...", "by their names")] = None
    """Columns of the velocities [rad/s or m/s], likewise."""
    efforts: Annotated[str | None, shown_as("NAME,...", "by their names")] = None
    """Columns of the efforts [N·m or N], likewise, or only those of --actuated."""
    actuated: Annotated[str | None, shown_as("JOINT,...", "all of them")] = None
    """The joints that the recorded actions drive, in their order."""
    time_step: Annotated[
        float | None, shown_as("FLOAT", "the recording's, or a fraction up to 1/240")
    ] = None
    """Of the simulation that is fitted [s]."""
    fit: Annotated[
        tuple[str, ...],
        shown_as(
            "NAME ...",
            " ".join((*RIGID, *JOINTS)),
        ),
    ] = ()
    """What is fitted: names or patterns, such as mass or "*[link_7]"."""
    held_out: Annotated[
        float | None,
        shown_as("FLOAT", "every third of 3 or more recordings, else 0.25"),
    ] = None
    """The share at the end of each recording that the fit does not see."""
    error: Annotated[str, shown_as("{auto,motion,effort,both}")] = "auto"
    """What is minimized: errors of the predicted motion, of the efforts, or both."""
    cutoff: Annotated[
        float | None, shown_as("FLOAT", "from the spectrum, none if clean")
    ] = None
    """Frequency above which recordings are smoothed away [Hz]."""
    prior: float = 0.5
    """How far each parameter is believed to be off at most, as a fraction of what would
    matter; 0 for no belief."""
    name: Annotated[
        str | None, shown_as("STR", "after the robot, numbered where taken")
    ] = None
    """Of the run's folder; it must not exist yet."""
    runs: Path = Path("runs")
    """The folder that the run's folder goes into."""
    overwrite: bool = False
    """Replace an earlier run of this name."""

    def check(self) -> None:
        """Raise a UsageError if an argument cannot be worked with."""
        self._check_subject()
        self._check_recordings()
        require_choice("--error", self.error, ERRORS)
        for name in ("duration", "time_step", "cutoff"):
            flag = f"--{name.replace('_', '-')}"
            require_positive(flag, getattr(self, name))
        require_positive("--prior", self.prior, zero=True)
        for name, value in (("randomize", self.randomize), ("held-out", self.held_out)):
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"--{name} must be 0 or more and below 1, got {value}")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")

    def _check_subject(self) -> None:
        if self.env is not None:
            require_choice("--env", self.env, tuple(ENVIRONMENTS))
        if self.robot is not None:
            require_choice("--robot", self.robot, ROBOTS)
        if not (self.env or self.robot or self.urdf):
            raise UsageError(
                "name the robot: give --urdf, or --env, one of "
                f"{', '.join(tuple(ENVIRONMENTS)[:2])}"
            )
        given = [f for f in ("robot", "urdf") if getattr(self, f) is not None]
        if self.kind != "arm" and given:
            raise UsageError(f"--{given[0]} is for --env arm, got {self.env}")
        if len(given) > 1:
            raise UsageError("--robot and --urdf exclude each other, got both")
        if self.urdf is not None and not self.urdf.is_file():
            raise UsageError(f"--urdf must be a file, got {self.urdf}")

    def _check_recordings(self) -> None:
        if self.collect and self.recordings:
            raise UsageError("--collect and recordings exclude each other, got both")
        if not self.collect and not self.recordings:
            raise UsageError(
                "give recordings of the robot, or --collect to record it in PyBullet"
            )
        only = {
            True: ("time", "positions", "velocities", "efforts", "actuated"),
            False: ("duration", "randomize"),
        }[self.collect]
        for name in only:
            if getattr(self, name) is not None:
                what = "recordings" if self.collect else "--collect"
                raise UsageError(f"--{name} is for {what}, got {getattr(self, name)}")
        for path in self.recordings:
            if path.startswith(MINARI):
                continue
            if not Path(path).exists():
                raise UsageError(f"a recording must be a file or folder, got {path}")
            if Path(path).is_file() and not path.endswith(KINDS):
                raise UsageError(
                    f"a recording must end in {', '.join(KINDS)}, or begin with "
                    f"{MINARI}, got {path}"
                )

    @property
    def kind(self) -> str:
        """Return the environment; a URDF of one's own is an arm."""
        return ENVIRONMENTS[self.env or "arm"]

    @property
    def simulated(self) -> bool:
        """Return whether the robot is one in PyBullet."""
        return self.collect or self.env is not None or self.robot is not None

    @property
    def subject(self) -> str:
        """Return what is identified, in a word."""
        if self.kind != "arm":
            return self.kind
        return self.urdf.stem if self.urdf else self.robot or ROBOTS[0]

    @property
    def free(self) -> tuple[str, ...]:
        """Return what is fitted."""
        given = tuple(part for text in self.fit for part in text.split(",") if part)
        if given:
            return given
        return (*RIGID, *JOINTS)

    def names(self, option: str) -> tuple[str, ...] | None:
        """Return what an option with commas names, None where it is not given."""
        text = getattr(self, option)
        return None if text is None else tuple(n.strip() for n in text.split(","))

    def run(self) -> int:
        """Check, fit, judge, report; return the exit code."""
        self.check()
        from roboopt.cli._identifying import identify

        return identify(self)
