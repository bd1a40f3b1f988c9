"""`roboopt tune`: the command of `roboopt.tune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from roboopt.cli._flags import OUTPUT, Output, flag, verb_arguments

BY_ROBOT = "as the robot and task need"


@dataclass(frozen=True)
class Tune:
    """Tune a controller on energy and task cost by gradient descent.

    The descent runs through the differentiable twin; then the starting and the tuned
    controller run from the same random test starts in the twin and in PyBullet. The
    folder runs/NAME receives report.html, controller.npz, history.csv, settings.json,
    before.npz, after.npz and result.npz. Ctrl-C keeps the best controller so far and
    goes on to the report; a second one ends the command.
    """

    env: Annotated[
        str | None,
        tyro.conf.Positional,
        flag(
            "{cart-pole,arm,ENV}",
            "Robot, or the id of a Gymnasium environment that has a twin.",
            "cart-pole; arm with --urdf; with --model its own",
        ),
    ] = None
    task: Annotated[
        str | None,
        flag(
            "{balance,swing-up,reach}", "Task.", "balance for cart-pole, reach for arm"
        ),
    ] = None
    robot: Annotated[
        str | None, flag("{two-link,iiwa,panda}", "Model of the arm.", "two-link")
    ] = None
    urdf: Annotated[
        Path | None,
        flag("PATH", "URDF of a fixed-base robot, instead of --robot.", "none"),
    ] = None
    model: Annotated[
        Path | None,
        flag(
            "PATH",
            "Robot as `roboopt identify` fitted it, to be simulated: runs/NAME or its "
            "model.npz.",
            "none",
        ),
    ] = None
    controller: Annotated[
        Path | None,
        flag("PATH", "Starting controller: a run or its controller.npz.", BY_ROBOT),
    ] = None
    steps: Annotated[int | None, flag("INT", "Gradient steps.", "40")] = None
    seconds: Annotated[
        float,
        flag("FLOAT", "Longest descent, compilation included [s].", "no limit"),
    ] = float("inf")
    duration: Annotated[
        float | None, flag("FLOAT", "Episode length [s].", "the environment's")
    ] = None
    seed: Annotated[int, flag("INT", "Random seed of all starts.")] = 0
    starts: Annotated[
        int | None,
        flag("INT", "Number of tuning starts, which the objective averages.", BY_ROBOT),
    ] = None
    episodes: Annotated[int, flag("INT", "Number of test starts.")] = 100
    work_weight: Annotated[
        float | None, flag("FLOAT", "Weight of mechanical work [1/J].", BY_ROBOT)
    ] = None
    joule_weight: Annotated[
        float | None, flag("FLOAT", "Weight of Joule loss [1/J].", BY_ROBOT)
    ] = None
    processes: Annotated[
        int | None, flag("INT", "Worker processes of the test.", "one a processor")
    ] = None
    output: Annotated[Output, OUTPUT] = Output()

    def run(self) -> int:
        """Tune, test, save and report; return the exit code."""
        from roboopt_envs import import_pybullet_silently

        from roboopt import tuning
        from roboopt.cli._run import run

        import_pybullet_silently()
        names = self.env, self.task, self.robot, self.urdf, self.model
        return run(
            self,
            tuning.run_name(*names),
            lambda work: tuning.tune(**verb_arguments(self), progress=True),
        )
