"""`roboopt clone`: from demonstrations to a policy, judged by doing the task."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from roboopt.cli._flags import shown_as
from roboopt.cli._usage import (
    UsageError,
    require_choice,
    require_count,
    require_positive,
)

POLICIES = ("network", "gaussian", "tanh-gaussian", "mixture", "flow", "categorical")
LOSSES = ("squared", "huber", "l1")
STEPS = 10_000


@dataclass(frozen=True)
class Clone:
    """Clone behavior from demonstrations, and evaluate the policy.

    The demonstrations are checked, some episodes are held out, and a policy descends on
    the mismatch of its actions. Then it acts: success and return over random starts,
    with 95 % intervals, beside the demonstrator's from the same starts where that is
    known. All that came out is left in runs/<name>/: report.html, policy.npz,
    history.csv, settings.json, episodes.npz. Ctrl-C keeps the best policy so far and
    goes on to the report; a second one ends the command.
    """

    demonstrations: Annotated[str, tyro.conf.Positional, shown_as("DEMOS")]
    """A file .npz or .hdf5, a folder of .npy files of `roboopt collect`, or
    minari:<dataset>."""
    env: Annotated[str, shown_as("ENV")]
    """A Gymnasium id, such as CartPole-v1, roboopt/ArmReach-v0, my_package:Mine-v0."""
    option: Annotated[tuple[str, ...], shown_as("KEY=VALUE", "none")] = ()
    """Of the environment's constructor, such as robot=panda."""
    policy: Annotated[
        str | None,
        shown_as(
            "{network,gaussian,tanh-gaussian,mixture,flow,categorical}",
            "categorical for choices, else network",
        ),
    ] = None
    """What is trained: a network of the action itself, a distribution, or for
    demonstrations that disagree with each other mixture or flow."""
    loss: Annotated[str | None, shown_as("{squared,huber,l1}", "squared")] = None
    """Of network."""
    history: int = 1
    """Observations the policy sees."""
    chunk: Annotated[int | None, shown_as("INT", "one action")] = None
    """Actions predicted at once, executed by temporal ensembling."""
    angles: Annotated[tuple[int, ...], shown_as("INT", "the swing-up's pole")] = ()
    """Axes of the observation that are angles and go round."""
    width: int = 64
    """Neurons a hidden layer."""
    depth: int = 2
    """Hidden layers."""
    steps: int = STEPS
    """Gradient steps."""
    batch_size: int = 256
    """Samples a step."""
    seconds: Annotated[float | None, shown_as("FLOAT", "no limit")] = None
    """Stop the training after this long, compilation included [s]."""
    dagger: int = 0
    """Rounds in which the clone acts and the demonstrator says what it would have done.
    """
    demonstrator: Annotated[str | None, shown_as("PATH|MODULE:NAME", "none")] = None
    """To compare with, and for --dagger to ask."""
    held_out: float = 0.1
    """Share of the episodes that are held out."""
    seed: int = 0
    """Of the weights, the batches and the starts."""
    episodes: int = 100
    """Random starts that the policy is judged on."""
    max_steps: Annotated[int | None, shown_as("INT", "the environment's")] = None
    """Of an episode."""
    time_step: Annotated[float | None, shown_as("FLOAT", "as recorded")] = None
    """Between samples [s], where the demonstrations do not say."""
    name: Annotated[
        str | None, shown_as("STR", "after the environment, numbered where taken")
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
        if self.policy is not None:
            require_choice("--policy", self.policy, POLICIES)
        if self.loss is not None:
            require_choice("--loss", self.loss, LOSSES)
            if self.policy not in (None, "network"):
                raise UsageError(f"--loss is for --policy network, got {self.policy}")
        counted = ("history", "chunk", "width", "depth", "steps", "batch_size")
        for name in (*counted, "episodes", "max_steps"):
            require_count(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("seconds", "time_step"):
            require_positive(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("seed", "dagger"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"--{name} must be 0 or more, got {getattr(self, name)}"
                )
        if not 0 < self.held_out < 1:
            raise UsageError(f"--held-out must be between 0 and 1, got {self.held_out}")

    def run(self) -> int:
        """Check, train, judge, report; return the exit code."""
        self.check()
        from roboopt.cli._cloning import clone

        return clone(self)
