"""`roboopt tune`: descend on energy and task cost, judge, and leave a report."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from roboopt.cli._fitted_model import model_file, recorded_robot
from roboopt.cli._flags import shown_as
from roboopt.cli._usage import (
    UsageError,
    require_choice,
    require_count,
    require_positive,
)

ROBOTS = ("two-link", "iiwa", "panda")
TASKS = {"cart-pole": ("balance", "swing-up"), "arm": ("reach",)}


@dataclass(frozen=True)
class Tune:
    """Tune a controller on energy and task cost by gradient descent.

    The descent runs through the differentiable twin; then the starting and the tuned
    controller run from the same random starts in the twin and in PyBullet. All that
    came out is left in runs/<name>/: report.html, controller.npz, history.csv,
    settings.json, before.npz and after.npz. Ctrl-C keeps the best controller so far and
    goes on to the report; a second one ends the command.
    """

    environment: Annotated[
        str | None,
        tyro.conf.Positional,
        shown_as("{cart-pole,arm}", "arm with --urdf, with --model its own"),
    ] = None
    """What is controlled."""
    task: Annotated[
        str | None,
        shown_as("{balance,swing-up,reach}", "balance for cart-pole, reach for arm"),
    ] = None
    """What it shall do."""
    robot: Annotated[str | None, shown_as("{two-link,iiwa,panda}", "two-link")] = None
    """Which arm."""
    urdf: Annotated[Path | None, shown_as("PATH", "none")] = None
    """A fixed-base robot of your own, instead of --robot."""
    model: Annotated[Path | None, shown_as("PATH", "none")] = None
    """A robot as `roboopt identify` fitted it, its runs/<name> or model.npz: tuning and
    judging run on that."""
    steps: Annotated[int | None, shown_as("INT", "as the robot and task need")] = None
    """Gradient steps."""
    seconds: Annotated[float | None, shown_as("FLOAT", "no limit")] = None
    """Stop the descent after this long, compilation included [s]."""
    duration: Annotated[float | None, shown_as("FLOAT", "the environment's")] = None
    """Of an episode [s]."""
    seed: int = 0
    """Of the random starts, those of the tuning and those of the judging."""
    starts: Annotated[int | None, shown_as("INT", "as the robot and task need")] = None
    """Random starts that the objective is the mean over."""
    episodes: int = 100
    """Random starts that the controllers are judged on."""
    work_weight: Annotated[
        float | None, shown_as("FLOAT", "as the robot and task need")
    ] = None
    """What a joule of mechanical work costs [1/J]."""
    joule_weight: Annotated[
        float | None, shown_as("FLOAT", "as the robot and task need")
    ] = None
    """What a joule of Joule loss costs [1/J]."""
    name: Annotated[
        str | None, shown_as("STR", "after robot and task, numbered where taken")
    ] = None
    """Of the run's folder; it must not exist yet."""
    runs: Path = Path("runs")
    """The folder that the run's folder goes into."""
    overwrite: bool = False
    """Replace an earlier run of this name."""
    no_video: bool = False
    """Leave the video out of the report."""

    def check(self) -> None:
        """Raise a UsageError if an argument cannot be worked with."""
        environments = tuple(TASKS)
        if self.model is not None:
            model_file(self.model)
        if self.environment is None and self.urdf is None:
            raise UsageError(
                f"name an environment, one of {', '.join(environments)}, or give --urdf"
            )
        require_choice("the environment", self.kind, environments)
        if self.task is not None:
            require_choice(f"--task of {self.kind}", self.task, TASKS[self.kind])
        if self.robot is not None:
            require_choice("--robot", self.robot, ROBOTS)
        given = [f for f in ("robot", "urdf") if getattr(self, f) is not None]
        if self.kind != "arm" and given:
            raise UsageError(f"--{given[0]} is for arm, got {self.kind}")
        if len(given) > 1:
            raise UsageError("--robot and --urdf exclude each other, got both")
        if self.urdf is not None and not self.urdf.is_file():
            raise UsageError(f"--urdf must be a file, got {self.urdf}")
        for name in ("steps", "starts", "episodes"):
            require_count(f"--{name}", getattr(self, name))
        for name in ("seconds", "duration"):
            require_positive(f"--{name}", getattr(self, name))
        for name in ("work_weight", "joule_weight"):
            flag = f"--{name.replace('_', '-')}"
            require_positive(flag, getattr(self, name), zero=True)
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")

    def completed(self) -> "Tune":
        """Return the same with the robot that `model` is of, if none is named.

        Raises:
            UsageError: if there is no such model, or its robot's URDF has gone.
        """
        named = (self.environment, self.robot, self.urdf)
        if self.model is None or any(name is not None for name in named):
            return self
        model_file(self.model)
        return dataclasses.replace(self, **recorded_robot(self.model)._asdict())

    @property
    def kind(self) -> str:
        """Return the environment; a URDF of one's own is an arm."""
        return self.environment or "arm"

    @property
    def goal(self) -> str:
        """Return the task."""
        return self.task or TASKS[self.kind][0]

    @property
    def subject(self) -> str:
        """Return what moves, in a word."""
        if self.kind != "arm":
            return self.kind
        return self.urdf.stem if self.urdf else self.robot or ROBOTS[0]

    def run(self) -> int:
        """Check, tune, judge, report; return the exit code."""
        arguments = self.completed()
        arguments.check()
        from roboopt.cli._tuning import tune

        return tune(arguments)
