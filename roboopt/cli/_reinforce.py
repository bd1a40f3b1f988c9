"""`roboopt reinforce`: from an environment and its reward to a policy."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from roboopt.cli._flags import shown_as
from roboopt.cli._run_folder import SETTINGS
from roboopt.cli._usage import (
    UsageError,
    require_choice,
    require_count,
    require_positive,
)

GRADIENTS = ("likelihood", "analytic", "smoothed", "mixed")
POLICIES = ("network", "pd")
CHECKPOINT = "checkpoint.npz"
ENDINGS = ("timesteps", "seconds", "target", "episodes", "no_video", "resume")


@dataclass(frozen=True)
class Reinforce:
    """Learn a policy from the reward of an environment.

    What is learned, and how its gradient is had, is chosen from the environment's
    spaces and from whether there is a differentiable twin of it, and is printed. The
    returns show as it learns. Then the policy is judged over fresh episodes, beside
    the one it started from. All that came out is left in runs/<name>/: report.html,
    policy.npz, history.csv, returns.csv, settings.json, episodes.npz, checkpoint.npz.
    Ctrl-C keeps what was learned so far and goes on to the report; a second one ends
    the command.
    """

    env: Annotated[str | None, tyro.conf.Positional, shown_as("ENV")] = None
    """A Gymnasium id, such as CartPole-v1, roboopt/CartPoleSwingUp-v0,
    my_package:Mine-v0."""
    option: Annotated[tuple[str, ...], shown_as("KEY=VALUE", "none")] = ()
    """Of the environment's constructor, such as robot=panda."""
    gradient: Annotated[
        str | None,
        shown_as(
            "{likelihood,analytic,smoothed,mixed}",
            "analytic where there is a twin, else likelihood",
        ),
    ] = None
    """How it is had: from what was tried, through the twin, from values alone, or from
    the twin as far as the simulator agrees with it."""
    policy: Annotated[
        str | None, shown_as("{network,pd}", "pd for our arms, else network")
    ] = None
    """What is tuned: a network, or the gains of gravity-compensated control."""
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="PATH")] = None
    """A run's folder or a saved policy to go on from: cloned, tuned, learned."""
    resume: Annotated[str | None, shown_as("PATH", "begin anew")] = None
    """A run's folder to go on in, with its settings, from where it was stopped."""
    timesteps: Annotated[int | None, shown_as("INT", "printed with what is chosen")] = (
        None
    )
    """Stop after so many steps of the environment, in all."""
    seconds: Annotated[float | None, shown_as("FLOAT", "no limit")] = None
    """Stop the learning after this long, compilation included [s]."""
    target: Annotated[float | None, shown_as("FLOAT", "none")] = None
    """Stop once the mean return of the last 100 episodes, or of 20 at first, is this.
    """
    envs: Annotated[int | None, shown_as("INT", "printed with what is chosen")] = None
    """Environments side by side, or starts a step of whole episodes."""
    processes: int = 0
    """That the environments run in; 0 for the command's own."""
    width: Annotated[int | None, shown_as("INT", "64; 16 where perturbed")] = None
    """Neurons a hidden layer."""
    depth: Annotated[int | None, shown_as("INT", "2; 1 where perturbed")] = None
    """Hidden layers."""
    angles: Annotated[tuple[int, ...], shown_as("INT", "the swing-up's pole")] = ()
    """Axes of the observation that are angles and go round."""
    max_steps: Annotated[int | None, shown_as("INT", "the environment's")] = None
    """Of an episode."""
    episodes: int = 100
    """Fresh ones that the policy is judged on."""
    seed: int = 0
    """Of the weights, the starts and all chance."""
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
        if (self.env is None) == (self.resume is None):
            raise UsageError("give an environment, or --resume a run, and not both")
        if self.gradient is not None:
            require_choice("--gradient", self.gradient, GRADIENTS)
        if self.policy is not None:
            require_choice("--policy", self.policy, POLICIES)
        if self.policy is not None and self.from_ is not None:
            raise UsageError("--policy must be left out where --from says it")
        counted = ("timesteps", "envs", "width", "depth", "max_steps", "episodes")
        for name in counted:
            require_count(f"--{name.replace('_', '-')}", getattr(self, name))
        require_positive("--seconds", self.seconds)
        for name in ("seed", "processes"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"--{name} must be 0 or more, got {getattr(self, name)}"
                )
        if self.target is not None and not abs(self.target) < float("inf"):
            raise UsageError(f"--target must be finite, got {self.target}")

    def run(self) -> int:
        """Check, learn, judge, report; return the exit code."""
        self.check()
        from roboopt.cli._reinforcing import reinforce

        return reinforce(self.resumed())

    def resumed(self) -> "Reinforce":
        """Return the arguments of the run that is resumed, with what may be changed.

        Raises:
            UsageError: if there is no such run, or more is changed than may be.
        """
        if self.resume is None:
            return self
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if field.name not in ENDINGS and given != field.default:
                flag = field.name.strip("_").replace("_", "-")
                raise UsageError(
                    f"--{flag} must be left out with --resume, which goes on with the "
                    "run's own settings"
                )
        folder = Path(self.resume)
        try:
            kept = json.loads((folder / SETTINGS).read_text("utf-8"))["arguments"]
            fields = {field.name: field for field in dataclasses.fields(self)}
            own = {name: _read(name, kept[name]) for name in fields}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"--resume {folder} is no folder of `roboopt reinforce`"
            ) from error
        if not (folder / CHECKPOINT).is_file():
            raise UsageError(
                f"--resume {folder} has no {CHECKPOINT}: it was stopped too early"
            )
        for name in ENDINGS:
            given = getattr(self, name)
            if given != fields[name].default:
                own[name] = given
        return Reinforce(**own)


def _read(name: str, value: Any) -> Any:
    if name == "runs":
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
