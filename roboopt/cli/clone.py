"""`roboopt clone`: from demonstrations to a policy that is judged by doing the task."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from roboopt._errors import RobooptError, argument_called
from roboopt.cli._environment import (
    ENV_HELP,
    RAY_HELP,
    THIS_MACHINE,
    cluster,
    keywords_of,
    label,
)
from roboopt.cli._flags import Output, flag, verb_arguments
from roboopt.cli._run_folder import CHECKPOINT
from roboopt.cli._watch import WATCH_HELP, watched

KINDS = (
    *("mlp", "linear", "stable"),
    *("gaussian", "tanh-gaussian", "gmm", "flow", "categorical"),
)
KIND_HELP = "Kind of policy; gmm or flow if demonstrations disagree."
OPTION_HELP = "Keywords of the environment's constructor, such as robot=panda."
DEMONSTRATOR = "PATH|MODULE:NAME"


@dataclass(frozen=True)
class Clone:
    """Clone behavior from demonstrations, and evaluate the policy.

    The command checks the demonstrations, holds some episodes out, trains a policy to
    return the demonstrated actions, and keeps the best one on validation episodes. Its
    error on the held-out episodes is printed beside those of three baselines:
    persistence, linear, nearest neighbor. With --env the policy is then tested from
    random starts, beside the demonstrator if --demonstrator is given: success rate and
    return with 95 % intervals. The folder runs/<name> holds report.html, policy.npz,
    history.csv, settings.json and episodes.npz. Ctrl-C and SIGTERM end the command with
    the best policy so far; a second one ends it at once.
    """

    demonstrations: str = flag(
        dataclasses.MISSING,
        "File, folder, or minari:<dataset>.",
        shown="DEMOS",
        positional=True,
    )
    env: str | None = flag(None, ENV_HELP, shown="ENV")
    option: tuple[str, ...] = flag((), OPTION_HELP, shown="KEY=VALUE")
    policy: str | None = flag(
        None,
        KIND_HELP,
        "mlp, linear or a mean of both; categorical for discrete actions",
        choices=KINDS,
    )
    loss: str = flag(
        "l2",
        "Loss of the action errors of mlp, linear and stable.",
        choices=("l2", "huber", "l1"),
    )
    history: int = flag(1, "Number of past observations that the policy sees.")
    past_actions: int | None = flag(
        None,
        "Number of its own last actions that the policy sees.",
        "3 where the policy else predicts no better than repeating the last",
    )
    relative: tuple[int, ...] = flag(
        (),
        "Index of the observation that each action is relative to.",
        "absolute actions",
    )
    quantiles: bool = flag(
        False, "Normalize by the 1 % and 99 % quantiles, against outliers."
    )
    chunk: int | None = flag(None, "Number of actions predicted at once.", "one")
    angles: tuple[int, ...] = flag(
        (), "Indices of observations that are angles.", "the environment's"
    )
    width: int = flag(64, "Neurons of a hidden layer.")
    depth: int = flag(2, "Hidden layers.")
    steps: int = flag(10_000, "Gradient steps.")
    batch_size: int = flag(256, "Samples of a gradient step.")
    seconds: float = flag(
        math.inf, "Time limit of the training, with compilation [s].", "no limit"
    )
    demonstrator: str | None = flag(
        None,
        "Policy to compare with, which labels the states of --dagger.",
        shown=DEMONSTRATOR,
    )
    dagger: int = flag(0, "Number of DAgger rounds.")
    weight_decay: float = flag(0.0, "Weight decay of Adam.")
    dropout: float = flag(0.0, "Share of neurons dropped in each step.")
    clip: bool = flag(
        False,
        "Do not warn of demonstrated actions beyond the limits; they are clipped.",
    )
    validation: float | None = flag(
        None,
        "Fraction of the other episodes that selects the best policy; 0 for none.",
        "0.2, or cross-validation over up to 30 episodes, without --policy",
    )
    patience: int | None = flag(
        None,
        "Steps without improvement in validation after which the training ends.",
        "a quarter of the steps",
    )
    held_out: float | None = flag(
        None,
        "Fraction of the episodes that is held out.",
        "those of the file's mask `valid`, else 0.1, or five episodes up to a quarter",
    )
    test: tuple[str, ...] = flag(
        (), "Files of held-out demonstrations.", "none", shown="DEMOS"
    )
    observation_keys: tuple[str, ...] = flag(
        (), "Observations to join, of HDF5, Parquet and Zarr.", "all", shown="NAME"
    )
    seed: int = flag(0, "Seed of weights, batches and starts.")
    episodes: int = flag(100, "Number of test episodes.")
    max_steps: int | None = flag(
        None, "Time limit of an episode [steps].", "the environment's"
    )
    time_step: float | None = flag(
        None, "Time between samples [s].", "as recorded, else that of --env"
    )
    processes: int = flag(0, "Worker processes of the evaluation.")
    ray: str | None = flag(
        None, RAY_HELP, "no cluster", shown="ADDRESS", alone=THIS_MACHINE
    )
    watch: int | None = flag(None, WATCH_HELP, "not shown", shown="PORT", alone=8080)
    output: Output = Output()
    endings: ClassVar = ("steps", "seconds", "episodes", "processes", "watch")

    def run(self) -> int:
        """Train, evaluate, save and report; return the exit code."""
        from roboopt import imitation
        from roboopt.cli._policies import demonstrator
        from roboopt.cli._run import run

        arguments = verb_arguments(self)
        arguments["options"] = keywords_of(arguments.pop("option"))
        arguments["workers"] = cluster(arguments.pop("ray"))
        arguments["watch"] = watched(self.watch)
        if test := arguments.pop("test"):
            if self.held_out is not None:
                raise RobooptError("--test and --held-out exclude each other, got both")
            arguments["held_out"] = list(test)
        arguments["observation_keys"] = self.observation_keys or None
        name = "clone"
        if self.env is not None:
            name = f"{label(self.env, self.option)}-clone"
        if self.demonstrator is not None:
            arguments["demonstrator"], _ = demonstrator(None, self.demonstrator)

        def clone(work: Path, **told: Any) -> Any:
            told |= {"progress": True, "checkpoint": work / CHECKPOINT}
            with argument_called("held_out", "test" if test else "held_out"):
                return imitation.clone(**arguments, **told)

        return run(self, name, clone)
