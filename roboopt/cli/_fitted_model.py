"""What `--model` names: a robot as `roboopt identify` fitted it, and which it is."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from roboopt.cli._run_folder import SETTINGS
from roboopt.cli._usage import UsageError

MODEL = "model.npz"
# Between a command and the effort, or in the sensors: no part of a robot's body.
BESIDE_THE_ROBOT = ("effort_gain", "effort_offset", "lag", "delay", "position_offset")


class RecordedRobot(NamedTuple):
    """The robot that a model was fitted to, in the words of the command line."""

    environment: str | None = None
    robot: str | None = None
    urdf: Path | None = None


def model_file(path: Path) -> Path:
    """Return the file of the model at `path`, a run's folder or the file itself.

    Raises:
        UsageError: if there is none.
    """
    if not path.exists():
        raise UsageError(
            f"--model must be a run of `roboopt identify` or its {MODEL}, got {path}, "
            "which is not there"
        )
    if not path.is_dir():
        return path
    if not (path / MODEL).is_file():
        raise UsageError(f"--model: {path} holds no {MODEL} of `roboopt identify`")
    return path / MODEL


def recorded_robot(path: Path) -> RecordedRobot:
    """Return the robot that the run's settings name, if they name one.

    Raises:
        UsageError: if it was a URDF that is not there any more.
    """
    folder = path if path.is_dir() else path.parent
    try:
        robot = json.loads((folder / SETTINGS).read_text("utf-8"))["robot"]
    except (OSError, ValueError, LookupError, TypeError):
        return RecordedRobot()
    found = dict(robot) if isinstance(robot, dict) else {}
    if (urdf := found.get("urdf")) is None:
        return RecordedRobot(found.get("environment"), found.get("robot"))
    if not Path(urdf).is_file():
        raise UsageError(
            f"--model: {path} is of the robot in {urdf}, which is not there: give "
            "--urdf"
        )
    return RecordedRobot(urdf=Path(urdf))


def load_model(path: Path) -> Any:
    """Load the model at `path`.

    Raises:
        UsageError: if it is not a fitted robot.
    """
    import roboopt as ro

    file = model_file(path)
    try:
        model = ro.load(file)
    except Exception as error:  # whatever a file that is no archive brings about
        reason = " ".join(str(error).split())
        raise UsageError(f"--model: {file} is not a saved model: {reason}") from error
    if not isinstance(getattr(model, "robot", model), ro.dynamics.Multibody):
        raise UsageError(
            f"--model must be of a fitted robot, got a {type(model).__name__} in {file}"
        )
    return model


def left_out(model: Any) -> tuple[str, ...]:
    """Return which fitted quantities no simulated robot has, such as a delay."""
    names = [part for name in getattr(model, "names", ()) for part in name.split(" = ")]
    return tuple(
        quantity
        for quantity in BESIDE_THE_ROBOT
        if any(name.startswith(quantity) for name in names)
    )
