"""`roboopt tune`: the command of `roboopt.tune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from roboopt.cli._environment import RAY_HELP, THIS_MACHINE, cluster
from roboopt.cli._flags import Output, flag, verb_arguments
from roboopt.cli._run_folder import CHECKPOINT
from roboopt.cli._simulation import Balancing, numbers
from roboopt.cli._watch import WATCH_HELP, watched

BY_ROBOT = "chosen for the robot and task"
ENV_HELP = "Robot, or the id of a Gymnasium environment that has a twin."
TASK_HELP = (
    "What the robot must do; track is to follow --reference. With --urdf also balance, "
    "for passive joints, or your own task, as module:NAME or file.py:NAME."
)
REFERENCE_HELP = (
    "Trajectory to track, as a CSV file with the columns time [s] and every joint by "
    "its name [rad or m], or time and the tool's x, y and z [m]."
)
MODEL_HELP = (
    "Robot as `roboopt identify` fitted it, to be simulated: runs/NAME or its "
    "model.npz."
)


@dataclass(frozen=True)
class Tune:
    """Tune a controller on energy and task cost by gradient descent.

    The descent runs through the differentiable twin; then the starting and the tuned
    controller run from the same random test starts in the twin and in PyBullet. The
    folder runs/NAME receives report.html, controller.npz, history.csv, settings.json,
    before.npz, after.npz and result.npz. Ctrl-C and SIGTERM end the command with the
    best controller so far; a second one ends it at once.
    """

    env: str | None = flag(
        None,
        ENV_HELP,
        "cart-pole, or the robot of --urdf or --model",
        shown="{cart-pole,arm,robot,ENV}",
        positional=True,
    )
    task: str | None = flag(
        None,
        TASK_HELP,
        "balance for cart-pole, reach for arm",
        shown="{balance,swing-up,reach,track,MODULE:NAME}",
    )
    reference: Path | None = flag(None, REFERENCE_HELP, "a loop in the joints")
    robot: str | None = flag(
        None, "Model of the arm.", "two-link", shown="{two-link,iiwa,panda}"
    )
    urdf: Path | None = flag(None, "URDF of a fixed-base robot, instead of --robot.")
    model: Path | None = flag(None, MODEL_HELP)
    controller: str | None = flag(
        None,
        "Starting controller, by name, or from a run or its controller.npz.",
        BY_ROBOT,
        shown="{pd,pid,computed-torque,impedance,lqr,RUN}",
    )
    steps: int | None = flag(None, "Gradient steps.", "40")
    seconds: float = flag(
        float("inf"), "Time limit of the descent, with compilation [s].", "no limit"
    )
    duration: float | None = flag(None, "Episode length [s].", "the environment's")
    seed: int = flag(0, "Random seed of all starts.")
    starts: int | None = flag(
        None, "Number of tuning starts that the objective averages over.", BY_ROBOT
    )
    episodes: int = flag(100, "Number of test starts.")
    work_weight: float | None = flag(None, "Weight of mechanical work [1/J].", BY_ROBOT)
    joule_weight: float | None = flag(None, "Weight of Joule loss [1/J].", BY_ROBOT)
    delay: str = flag(
        "0",
        "Delay of the actions [s]; of two, each start draws its own in between.",
        shown="DELAY[,DELAY]",
    )
    noise: float = flag(
        0.0, "Standard deviation of the noise in measured positions and velocities."
    )
    processes: int | None = flag(
        None, "Worker processes of the test.", "one per processor"
    )
    ray: str | None = flag(
        None, RAY_HELP, "no cluster", shown="ADDRESS", alone=THIS_MACHINE
    )
    watch: int | None = flag(None, WATCH_HELP, "not shown", shown="PORT", alone=8080)
    simulation: Balancing = Balancing()
    output: Output = Output()
    endings: ClassVar = ("seconds", "episodes", "processes", "watch")

    def run(self) -> int:
        """Tune, test, save and report; return the exit code."""
        from roboopt import tuning
        from roboopt.cli._run import run

        arguments = verb_arguments(self)
        arguments["watch"] = watched(self.watch)
        arguments["workers"] = cluster(arguments.pop("ray"))
        arguments["delay"] = numbers("delay", self.delay)
        task = self.task or (self.reference and "track")
        names = self.env, task, self.robot, self.urdf, self.model
        return run(
            self,
            tuning.run_name(*names),
            lambda work, **told: tuning.tune(
                **arguments,
                **told,
                options=self.simulation.options(),
                progress=True,
                checkpoint=work / CHECKPOINT,
            ),
        )
