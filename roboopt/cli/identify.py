"""`roboopt identify`: fit a robot's parameters to recordings."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from roboopt._errors import (
    RobooptError,
    argument_called,
    require,
    require_positive,
)
from roboopt.cli._flags import Output, flag
from roboopt.cli._run_folder import CHECKPOINT
from roboopt.cli._simulation import OF_URDF, Simulation

ENVIRONMENTS = {
    **{"arm": "arm", "cart-pole": "cart-pole"},
    **{"ArmReach": "arm", "CartPoleBalance": "cart-pole"},
    **{"CartPoleSwingUp": "cart-pole"},
}
"""Robots by name, and by the class of their environment."""
ROBOTS = ("two-link", "iiwa", "panda")
FREE_HELP = 'Fitted parameters, such as mass or "*[link_7]".'
EVERY_QUANTITY = "bodies, damping, friction, of noisy recordings offsets"
COLUMNS = ("time", "positions", "velocities", "efforts", "joints")
ERRORS = ("auto", "motion", "effort", "both")
SIMULATED = ("tool", "tool_offset", "packages", "control_period", "randomize")
"""Options of a robot that is simulated, not recorded."""
OF_CART_POLE = ("time_step", "control_period", "interface", "drive", "randomize")
DURATION_S = 10.0
RECORDING = "recording.npz"
EFFORTS_HELP = "Columns of the efforts [N·m or N], of all joints or of --actuated."
TIME_HELP = "Column of a table's times [s]; where it has none, the time step [s]."
JOINTS_HELP = "Names of the joints in the recordings, in the order of the robot's."
TIES_HELP = "Parameters that change alike, such as damping[left],damping[right]."
HELD_OUT_HELP = "Fraction at the end of each recording that is held out of the fit."
HORIZON = "1 of commanded positions and velocities, else 0.4"
THIRD = "every third of 3 or more recordings, else 0.25"
PRIOR_HELP = (
    "Prior standard deviation of each parameter, relative to its size (to the whole of "
    "a mass); 0 for no prior."
)


@dataclass(frozen=True)
class Identify:
    """Fit a robot's parameters to recordings, and test the fitted model.

    Recordings hold positions, velocities and efforts of all joints. The command checks
    them, fits the robot to some of them, and tests the fitted model by its forecasts of
    the others. `roboopt tune --model runs/NAME` tunes a controller for the fitted
    robot. Ctrl-C and SIGTERM end the fit and keep the best model so far; a second one
    ends the command at once.
    """

    recordings: tuple[str, ...] = flag(
        (),
        "Files, folders of files, or minari:<dataset>; required without --collect.",
        shown="RECORDING",
        positional=True,
    )
    urdf: Path | None = flag(None, "URDF of the robot on a fixed base.")
    env: str | None = flag(
        None,
        "Simulated robot, instead of --urdf.",
        "arm",
        shown="{arm,cart-pole}",
        choices=tuple(ENVIRONMENTS),
    )
    robot: str | None = flag(None, "Arm of --env arm.", "two-link", choices=ROBOTS)
    collect: bool = flag(False, "Excite and record the simulated robot.")
    duration: float | None = flag(
        None, "Length of the motion of --collect [s].", f"{DURATION_S:g}"
    )
    seed: int = flag(0, "Random seed of --collect.")
    time: str | None = flag(None, TIME_HELP, "by name", shown="NAME")
    positions: str | None = flag(
        None,
        "Columns of the joints' positions [rad or m]; with another unit behind the "
        "name, as q1_deg, they are converted.",
        "by name",
        shown="NAME,...",
    )
    velocities: str | None = flag(
        None, "Columns of the velocities [rad/s or m/s].", "by name", shown="NAME,..."
    )
    efforts: str | None = flag(None, EFFORTS_HELP, "by name", shown="NAME,...")
    joints: str | None = flag(None, JOINTS_HELP, "the URDF's", shown="NAME,...")
    free: tuple[str, ...] = flag((), FREE_HELP, EVERY_QUANTITY, shown="NAME")
    ties: tuple[str, ...] = flag((), TIES_HELP, shown="NAME,NAME,...")
    held_out: float | None = flag(None, HELD_OUT_HELP, THIRD)
    test: tuple[str, ...] = flag(
        (), "Recordings that test the model, held out of the fit.", shown="RECORDING"
    )
    error: str = flag("auto", "Error that the fit minimizes.", choices=ERRORS)
    resample: float | None = flag(
        None, "Even time step that recordings get [s].", "their own"
    )
    cutoff: float | None = flag(
        None, "Cutoff frequency of the smoothing [Hz].", "from the spectrum"
    )
    prior: float = flag(0.5, PRIOR_HELP)
    horizon: float | None = flag(
        None, "Time over which noisy motion is predicted [s].", HORIZON
    )
    steps: int = flag(100, "Steps of each fit, at most.")
    simulation: Simulation = Simulation()
    output: Output = Output()
    endings: ClassVar = ()
    lacking: ClassVar = {
        "--watch": "a fit has no policy that moves the robot; `roboopt view runs/NAME` "
        "shows what was fitted, and --log the fit as it goes"
    }

    def run(self) -> int:
        """Identify, save, print and report; return the exit code."""
        self._check()
        from roboopt.cli._run import run

        robot: dict[str, Any] = {"environment": self._kind}
        if self.urdf is not None:
            robot = {"urdf": str(self.urdf.resolve())}
        elif self._kind == "arm":
            robot["robot"] = self._name
        name = f"{self._name}-identified"
        return run(self, name, self._identify, record={"robot": robot})

    def _identify(self, folder: Path, **told: Any) -> Any:
        import roboopt as ro

        free = tuple(name for text in self.free for name in text.split(",") if name)
        free = free or None
        robot = self._robot()
        kept = ro.optimize.Checkpoint(folder / CHECKPOINT)
        options: dict[str, Any] = {}
        recordings: Any = self.recordings
        if self.collect:
            excited = ro.sysid.excite(
                robot, free=free, seed=self.seed, progress=True, checkpoint=kept
            )
            excited.recording.save(folder / RECORDING)
            robot, recordings = excited.known, [excited.recording]
            options["truth"] = excited.truth
        else:
            given = self.simulation.options()
            options["time_step"] = given.pop("time_step", None)
            driven = given.pop("actuated", "all")
            options["actuated"] = None if driven == "all" else driven
            for name in ("interface", "drive"):
                if name in given:
                    options[name] = given.pop(name)
            if isinstance(robot, Path):
                options["options"] = given
            if any(getattr(self, name) is not None for name in COLUMNS):
                names = [_split(getattr(self, name)) for name in COLUMNS[1:]]
                options["columns"] = ro.data.Columns(self.time, *names)
        try:
            with argument_called("held_out", "test" if self.test else "held_out"):
                return ro.identify(
                    robot,
                    recordings,
                    free=free,
                    ties=[_split(text) or () for text in self.ties],
                    held_out=self.test or self.held_out,
                    error=self.error,
                    resample=self.resample,
                    cutoff=self.cutoff,
                    prior=self.prior or None,
                    horizon=self.horizon,
                    steps=self.steps,
                    progress=True,
                    checkpoint=kept,
                    **told,
                    **options,
                )
        except ro.data.ColumnError as error:
            raise RobooptError(
                f"{error.path} {error.rule}: name the columns by --time, --positions, "
                "--velocities and --efforts, joints of other names by --joints, and "
                "joints that were not recorded by --locked; it has the columns "
                f"{error.header}"
            ) from error

    @property
    def _kind(self) -> str:
        return ENVIRONMENTS[self.env or "arm"]

    @property
    def _name(self) -> str:
        if self._kind != "arm":
            return self._kind
        return self.urdf.stem if self.urdf else self.robot or ROBOTS[0]

    def _robot(self) -> Any:
        """Return the URDF, or the environment that simulates the robot."""
        if self.urdf is not None and not self.collect and self.env is None:
            return self.urdf
        from roboopt_envs.arm import ArmReach
        from roboopt_envs.cart_pole import CartPoleSwingUp

        options = self.simulation.options()
        if self.collect:
            options["duration"] = self.duration or DURATION_S
        else:
            options.pop("time_step", None)  # of the fit
            for name in ("actuated", "interface", "drive"):
                options.pop(name, None)
        if self._kind == "cart-pole":
            return CartPoleSwingUp(**options)
        return ArmReach(str(self.urdf or self.robot or ROBOTS[0]), **options)

    def _check_values(self) -> None:
        """Refuse values that are wrong whatever the robot and its recordings."""
        for name in (*COLUMNS, "locked", "ties", "free", "test"):
            value = getattr(self if hasattr(self, name) else self.simulation, name)
            for text in value if isinstance(value, tuple) else (value,):
                blank = text is not None and not text.replace(",", "").strip()
                require(not blank, name, "hold names", text)
        for text in self.ties:
            names = _split(text) or ()
            rule = "each hold two or more names, NAME,NAME"
            require(len({*names}) == len(names) > 1, "ties", rule, text)
        require_positive(
            resample=self.resample, cutoff=self.cutoff, horizon=self.horizon
        )
        require(self.prior < math.inf, "prior", "be finite", self.prior)
        share = self.held_out is None or self.held_out < 1
        require(share, "held_out", "be 0 or more and below 1", self.held_out)

    def _check(self) -> None:
        self._check_values()
        if not (self.env or self.robot or self.urdf):
            raise RobooptError("name the robot: give --urdf, or --env: arm, cart-pole")
        given = [f for f in ("robot", "urdf") if getattr(self, f) is not None]
        if given and self._kind != "arm":
            raise RobooptError(f"`{given[0]}` is for --env arm, got {self.env}")
        if len(given) > 1:
            raise RobooptError("--robot and --urdf exclude each other, got both")
        if self.urdf is not None and not self.urdf.is_file():
            raise RobooptError(f"`urdf` must be a file, got {self.urdf}")
        if self.urdf is not None:
            from roboopt.urdf import read_urdf

            reading = self.simulation.options(OF_URDF)
            read_urdf(self.urdf, argument="urdf", **reading)
        if self.test and self.held_out is not None:
            raise RobooptError("--test and --held-out exclude each other, got both")
        if self.test and self.collect:
            raise RobooptError("--test is for recordings, got --collect")
        if self.collect == bool(self.recordings):
            raise RobooptError("give either recordings of the robot, or --collect")
        what = "recordings" if self.collect else "--collect"
        given = self.simulation.options()
        for name in COLUMNS if self.collect else ("duration",):
            given[name] = getattr(self, name)
        for name in COLUMNS if self.collect else ("duration", *SIMULATED):
            if given.get(name) is not None:
                raise RobooptError(f"`{name}` is for {what}, got {given[name]}")
        if self._kind != "arm":
            for name in self.simulation.options().keys() - set(OF_CART_POLE):
                raise RobooptError(f"`{name}` is for --env arm, got {self.env}")
        require_positive(duration=self.duration, time_step=given.get("time_step"))
        if not 0 <= given.get("randomize", 0) < 1:
            raise RobooptError(
                f"`randomize` must be 0 or more and below 1, got {given['randomize']}"
            )
        for name in ("recordings", "test"):
            for path in getattr(self, name):
                if not path.startswith("minari:") and not Path(path).exists():
                    raise RobooptError(
                        f"`{name}` must be a file or folder, but {path} is missing."
                    )


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))
