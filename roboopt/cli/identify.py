"""`roboopt identify`: fit a robot's parameters to recordings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from roboopt._errors import RobooptError
from roboopt.cli._flags import OUTPUT, Output, flag
from roboopt.cli._usage import require_choice, require_positive

ENVIRONMENTS = {
    **{"arm": "arm", "cart-pole": "cart-pole"},
    **{"ArmReach": "arm", "CartPoleBalance": "cart-pole"},
    **{"CartPoleSwingUp": "cart-pole"},
}
"""Robots by name, and by the class of their environment."""
ROBOTS = ("two-link", "iiwa", "panda")
FREE = ("mass", "center_of_mass", "extent", "shear", "damping", "friction")
COLUMNS = ("time", "positions", "velocities", "efforts")
DURATION_S = 10.0
RECORDING = "recording.npz"


@dataclass(frozen=True)
class Identify:
    """Fit a robot's parameters to recordings, and test the fitted model.

    Recordings hold positions, velocities and efforts of all joints. The command checks
    them, holds some of them out of the fit, or the last quarter of each, and judges the
    fitted model by its forecasts of these. `roboopt tune --model runs/NAME` tunes a
    controller for the fitted robot. Ctrl-C ends the fit and keeps the best model so
    far; a second Ctrl-C ends the command.
    """

    recordings: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        flag("RECORDING ...", "Files, folders of files, or minari:<dataset>."),
    ] = ()
    urdf: Annotated[
        Path | None, flag("PATH", "URDF of the robot on a fixed base.", "none")
    ] = None
    env: Annotated[
        str | None,
        flag("{arm,cart-pole}", "Simulated robot, instead of --urdf.", "arm"),
    ] = None
    robot: Annotated[
        str | None, flag("{two-link,iiwa,panda}", "Arm of --env arm.", "two-link")
    ] = None
    collect: Annotated[
        bool, tyro.conf.arg(help="Excitation and recording of the simulated robot.")
    ] = False
    duration: Annotated[
        float | None, flag("FLOAT", "Length of that motion [s].", f"{DURATION_S:g}")
    ] = None
    randomize: Annotated[
        float | None,
        flag("FLOAT", "Largest change of its masses and joint dampings.", "0"),
    ] = None
    seed: Annotated[int, flag("INT", "Seed of --randomize and of the motion.")] = 0
    time: Annotated[
        str | None, flag("NAME", "Column of a table's times [s].", "by its name")
    ] = None
    positions: Annotated[
        str | None,
        flag("NAME,...", "Columns of the joints' positions [rad or m].", "by name"),
    ] = None
    velocities: Annotated[
        str | None,
        flag("NAME,...", "Columns of the velocities [rad/s or m/s].", "by name"),
    ] = None
    efforts: Annotated[
        str | None,
        flag(
            "NAME,...",
            "Columns of the efforts [N·m or N], of all joints or of --actuated.",
            "by name",
        ),
    ] = None
    actuated: Annotated[
        str | None, flag("JOINT,...", "Joints that the actions drive.", "all")
    ] = None
    time_step: Annotated[
        float | None,
        flag("FLOAT", "Step of the simulation [s].", "the recordings', up to 1/240"),
    ] = None
    free: Annotated[
        tuple[str, ...],
        flag("NAME ...", 'Fitted parameters, such as mass or "*[link_7]".'),
    ] = FREE
    held_out: Annotated[
        float | None,
        flag(
            "FLOAT",
            "Share at the end of each recording that the fit does not see.",
            "every third of 3 or more recordings, else 0.25",
        ),
    ] = None
    error: Annotated[
        str, flag("{auto,motion,effort,both}", "Error that the fit minimizes.")
    ] = "auto"
    cutoff: Annotated[
        float | None,
        flag("FLOAT", "Cutoff frequency of the smoothing [Hz].", "from the spectrum"),
    ] = None
    prior: Annotated[
        float,
        flag(
            "FLOAT",
            "Standard deviation of the parameters before the fit, in differences that "
            "matter; 0 for no prior.",
        ),
    ] = 0.5
    output: Annotated[Output, OUTPUT] = Output()

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

    def _identify(self, folder: Path) -> Any:
        from roboopt.data import ColumnError

        try:
            return self._identified(folder)
        except ColumnError as error:
            raise RobooptError(
                f"{error.path} {error.rule}: name the columns by `time`, `positions`, "
                f"`velocities` and `efforts`; it has the columns {error.header}"
            ) from error

    def _identified(self, folder: Path) -> Any:
        import roboopt as ro

        free = tuple(name for text in self.free for name in text.split(",") if name)
        robot = self._robot()
        options: dict[str, Any] = {}
        recordings: Any = self.recordings
        if self.collect:
            excited = ro.sysid.excite(robot, free=free, seed=self.seed, progress=True)
            excited.recording.save(folder / RECORDING)
            robot, recordings = excited.known, [excited.recording]
            options["truth"] = excited.truth
        else:
            options["time_step"] = self.time_step
            options["actuated"] = _split(self.actuated)
            options["columns"] = self._columns()
        return ro.identify(
            robot,
            recordings,
            free=free,
            held_out=self.held_out,
            error=self.error,
            cutoff=self.cutoff,
            prior=self.prior or None,
            progress=True,
            **options,
        )

    @property
    def _kind(self) -> str:
        return ENVIRONMENTS.get(self.env or "arm", "")

    @property
    def _name(self) -> str:
        if self._kind != "arm":
            return self._kind
        return self.urdf.stem if self.urdf else self.robot or ROBOTS[0]

    def _robot(self) -> Any:
        """Return the URDF, or the environment that simulates the robot."""
        if self.urdf is not None and not self.collect and self.env is None:
            return self.urdf
        from roboopt_envs import import_pybullet_silently

        import_pybullet_silently()
        from roboopt_envs.arm import ArmReach
        from roboopt_envs.cart_pole import CartPoleSwingUp

        options: dict[str, Any] = {}
        if self.collect:
            options["duration"] = self.duration or DURATION_S
            options["randomize"] = self.randomize or 0.0
            if self.time_step is not None:
                options["time_step"] = self.time_step
        if self._kind == "cart-pole":
            return CartPoleSwingUp(**options)
        return ArmReach(str(self.urdf or self.robot or ROBOTS[0]), **options)

    def _columns(self) -> Any:
        from roboopt.data import Columns

        given = [_split(getattr(self, name)) for name in COLUMNS[1:]]
        if self.time is None and not any(given):
            return None
        return Columns(self.time, *given)

    def _check(self) -> None:
        if not (self.env or self.robot or self.urdf):
            raise RobooptError("name the robot: give `urdf`, or `env`: arm, cart-pole")
        require_choice("`env`", self.env or "arm", tuple(ENVIRONMENTS))
        require_choice("`robot`", self.robot or ROBOTS[0], ROBOTS)
        given = [f for f in ("robot", "urdf") if getattr(self, f) is not None]
        if given and self._kind != "arm":
            raise RobooptError(f"`{given[0]}` is for `env` arm, got {self.env}")
        if len(given) > 1:
            raise RobooptError("`robot` and `urdf` exclude each other, got both")
        if self.urdf is not None and not self.urdf.is_file():
            raise RobooptError(f"`urdf` must be a file, got {self.urdf}")
        if self.collect == bool(self.recordings):
            raise RobooptError("give either recordings of the robot, or `collect`")
        others = (*COLUMNS, "actuated") if self.collect else ("duration", "randomize")
        for name in others:
            if getattr(self, name) is not None:
                what = "recordings" if self.collect else "`collect`"
                raise RobooptError(f"`{name}` is for {what}, got {getattr(self, name)}")
        for name in ("duration", "time_step"):
            require_positive(f"`{name}`", getattr(self, name))
        if self.randomize is not None and not 0 <= self.randomize < 1:
            raise RobooptError(
                f"`randomize` must be 0 or more and below 1, got {self.randomize}"
            )
        if self.seed < 0:
            raise RobooptError(f"`seed` must be 0 or more, got {self.seed}")


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))
