"""`roboopt reinforce`: from an environment and its reward to a policy."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import tyro

from roboopt._errors import RobooptError
from roboopt.cli._config import defaults_from
from roboopt.cli._environment import keywords_of, label
from roboopt.cli._flags import OUTPUT, Output, flag, verb_arguments
from roboopt.cli._run_folder import SETTINGS, actor_file, write_json
from roboopt.cli._usage import require_choice

if TYPE_CHECKING:
    from roboopt.report import VerbResult

CHECKPOINT, RETURNS = "checkpoint.npz", "returns.csv"
ALGORITHMS = ("ppo", "pgpe", "shac", "analytic", "zeroth-order", "mixed")
BY_GRADIENT = {
    None: ALGORITHMS,
    "likelihood": ("ppo", "pgpe"),
    "analytic": ("analytic", "shac"),
    "zeroth-order": ("zeroth-order",),
    "mixed": ("mixed",),
}
GRADIENTS = tuple(filter(None, BY_GRADIENT))
STARTS = ("network", "pd")
CHOICES = {"algorithm": ALGORITHMS, "gradient": GRADIENTS, "policy": STARTS}
NETWORK = ("width", "depth", "angles")
ENDINGS = ("timesteps", "seconds", "target", "episodes")
Word: TypeAlias = str | None
Whole: TypeAlias = int | None
Real: TypeAlias = float | None
Choice: TypeAlias = bool | None
Place: TypeAlias = Path | None
ENV_HELP = "Gymnasium id, such as CartPole-v1 or my_package:Mine-v0."
OPTION_HELP = "Keywords of the environment's constructor, such as robot=panda."
GRADIENT_HELP = "Gradient, where no algorithm is named."
TWIN_OR_NOT = "analytic with a twin, else likelihood"
START_HELP = "Policy to start from: a fresh network or PD gains."
FROM_HELP = "Run or saved policy to start from."
RESUME_HELP = "Run to continue from its checkpoint, with its settings."
BUDGET_HELP = "Budget of environment steps."
ENVS_HELP = "Environments side by side, or starts a gradient step."
TARGET_HELP = "Mean return of the last 100 episodes that ends the learning."
LIMIT_HELP = "Time limit of an episode [steps]."
NORMALIZE_HELP = "Running normalization of the observations."
DECAY_HELP = "Decay time of the analytic gradient [s]."
WIDTH_HELP = "Neurons of a hidden layer."
STEPS_HELP = "PPO's steps of each environment a block."
PAIRS_HELP = "Pairs of opposite perturbations a gradient step."
SCALE_HELP = "Size of perturbations, relative to the parameters."
UPDATES_HELP = "SHAC's gradient steps on a window."
RATE_HELP = "Largest learning rate."
NORM_HELP = "Norm that gradients are clipped to."


def _of(choices: Sequence[str]) -> str:
    return "{" + ",".join(choices) + "}"


@dataclass(frozen=True)
class Reinforce:
    """Learn a policy from reward.

    The policy class and the algorithm follow from the spaces of the environment, and
    from whether it has a differentiable twin; the choice is printed. The policy and its
    start are evaluated on fresh episodes. The folder runs/<name> holds report.html,
    policy.npz, history.csv, returns.csv, settings.json and checkpoint.npz. Ctrl-C ends
    the learning and goes on to the report; a second one ends the command.
    """

    env: Annotated[Word, tyro.conf.Positional, flag("ENV", ENV_HELP)] = None
    option: Annotated[tuple[str, ...], flag("KEY=VALUE", OPTION_HELP, "none")] = ()
    algorithm: Annotated[Word, flag(_of(ALGORITHMS), "Algorithm.", "one that fits")] = (
        None
    )
    gradient: Annotated[Word, flag(_of(GRADIENTS), GRADIENT_HELP, TWIN_OR_NOT)] = None
    policy: Annotated[Word, flag(_of(STARTS), START_HELP, "pd for arms")] = None
    from_: Annotated[Place, flag("PATH", FROM_HELP, "none", name="from")] = None
    resume: Annotated[Place, flag("PATH", RESUME_HELP, "none")] = None
    timesteps: Annotated[Whole, flag("INT", BUDGET_HELP, "printed")] = None
    seconds: Annotated[float, flag("FLOAT", "Time limit [s].", "none")] = math.inf
    target: Annotated[Real, flag("FLOAT", TARGET_HELP, "none")] = None
    envs: Annotated[Whole, flag("INT", ENVS_HELP, "printed")] = None
    processes: Annotated[int, flag("INT", "Processes of the environments.")] = 0
    width: Annotated[Whole, flag("INT", WIDTH_HELP, "64; 16 if perturbed")] = None
    depth: Annotated[Whole, flag("INT", "Hidden layers.", "2; 1 if perturbed")] = None
    angles: Annotated[
        tuple[int, ...], flag("INT", "Axes that are angles.", "env's")
    ] = ()
    max_steps: Annotated[Whole, flag("INT", LIMIT_HELP, "the environment's")] = None
    episodes: Annotated[int, flag("INT", "Fresh episodes of the evaluation.")] = 100
    seed: Annotated[int, flag("INT", "Seed of all randomness.")] = 0
    # Settings of the algorithms; None for the default of the algorithm.
    discount: Annotated[Real, flag("γ", "Discount of one step.", "0.99")] = None
    gae_lambda: Annotated[Real, flag("λ", "GAE's λ.", "0.98; shac: 0.99")] = None
    clip: Annotated[Real, flag("ε", "PPO's clip range, or inf.", "0.2")] = None
    value_weight: Annotated[Real, flag("FLOAT", "Value error's weight.", "0.5")] = None
    entropy_weight: Annotated[Real, flag("FLOAT", "Entropy bonus [1/nat].", "0")] = None
    steps: Annotated[Whole, flag("INT", STEPS_HELP, "256")] = None
    epochs: Annotated[Whole, flag("INT", "PPO's passes a block.", "10")] = None
    minibatches: Annotated[Whole, flag("INT", "PPO's minibatches a pass.", "8")] = None
    normalize_observations: Annotated[
        Choice, flag("BOOL", NORMALIZE_HELP, "ppo: True")
    ] = None
    scale_rewards: Annotated[Choice, flag("BOOL", "PPO's reward scaling.", "True")] = (
        None
    )
    horizon: Annotated[Whole, flag("INT", "SHAC's steps a window.", "240")] = None
    updates: Annotated[Whole, flag("INT", UPDATES_HELP, "1")] = None
    sample_actions: Annotated[
        Choice, flag("BOOL", "SHAC's action sampling.", "True")
    ] = None
    draws: Annotated[Whole, flag("INT", "PGPE's policies a start.", "8")] = None
    spread: Annotated[Real, flag("FLOAT", "PGPE's relative noise.", "0.1")] = None
    gradient_decay_time: Annotated[Real, flag("FLOAT", DECAY_HELP, "0.6 or inf")] = None
    pairs: Annotated[Whole, flag("INT", PAIRS_HELP, "printed")] = None
    scale: Annotated[Real, flag("FLOAT", SCALE_HELP, "0.05")] = None
    learning_rate: Annotated[Real, flag("FLOAT", RATE_HELP, "algorithm's")] = None
    max_gradient_norm: Annotated[Real, flag("FLOAT", NORM_HELP, "0.5 or 1")] = None
    output: Annotated[Output, OUTPUT] = Output()

    def run(self) -> int:
        """Learn, evaluate, report; return the exit code."""
        if (self.env is None) == (self.resume is None):
            raise RobooptError("give an environment, or --resume a run, and not both")
        command, kept = self, {}
        if self.resume is not None:
            command, kept = self._resumed(self.resume), _checkpoint(self.resume)
        command._check()
        from roboopt.cli._run import run

        assert command.env is not None
        name = f"{label(command.env, command.option)}-reinforce"
        return run(command, name, lambda folder: command._learn(folder, kept))

    def _check(self) -> None:
        """Raise a RobooptError where a flag breaks its rule."""
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) is not None:
                require_choice(f"--{name}", value, choices)
        if self.policy is not None and self.from_ is not None:
            raise RobooptError("--policy must be left out with --from")
        if self.algorithm is not None and self.gradient is not None:
            raise RobooptError("--gradient must be left out with --algorithm")

    def _learn(self, folder: Path, kept: Mapping[str, bytes]) -> "VerbResult":
        """Run the verb in `folder`, on the files `kept` of an earlier run."""
        import roboopt as ro

        for name, content in kept.items():
            (folder / name).write_bytes(content)
        # With the checkpoint, a run that is killed can be resumed.
        flags = {"command": "reinforce", "flags": ro.report.plain(verb_arguments(self))}
        write_json(folder / SETTINGS, flags)
        algorithm = self._algorithm(ro.rl.ALGORITHMS)
        network = {name: getattr(self, name) for name in NETWORK}
        try:
            return ro.reinforce(
                self.env,
                algorithm=algorithm,
                policy=self.policy if self.from_ is None else _saved(self.from_),
                gradient=self.gradient if algorithm is None else None,
                timesteps=self.timesteps,
                seconds=self.seconds,
                target=self.target,
                envs=self.envs,
                processes=self.processes,
                max_steps=self.max_steps,
                episodes=self.episodes,
                options=keywords_of(self.option),
                seed=self.seed,
                progress=True,
                checkpoint=folder / CHECKPOINT,
                log=folder / RETURNS,
                **{name: value for name, value in network.items() if value},
            )
        except ro.rollouts.EnvError as error:
            raise RobooptError(str(error)) from error

    def _algorithm(self, algorithms: Mapping[str, Any]) -> Any:
        """Return the algorithm with its settings, None where neither is given."""
        own = {
            n: {f.name for f in dataclasses.fields(a)} for n, a in algorithms.items()
        }
        given = {
            name: value
            for name in set().union(*own.values())
            if (value := getattr(self, name)) is not None
        }
        names = [self.algorithm] if self.algorithm else BY_GRADIENT[self.gradient]
        if self.algorithm is None and not given:
            return None
        fits = [name for name in names if given.keys() <= own[name]]
        if not fits:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given))
            raise RobooptError(f"{flags}: not all are settings of {' or '.join(names)}")
        return algorithms[fits[0]](**given)

    def _resumed(self, path: Path) -> "Reinforce":
        """Return the flags of the run in `path`, with those that may be changed."""
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("resume", "output")
            and getattr(self, field.name) != field.default
        }
        if fixed := sorted(given.keys() - set(ENDINGS)):
            flag = fixed[0].strip("_").replace("_", "-")
            raise RobooptError(
                f"--{flag} must be left out with --resume, which keeps the settings"
            )
        folder = path.resolve()
        output = dataclasses.replace(
            self.output,
            name=folder.name.removesuffix(".partial"),
            runs=folder.parent,
            overwrite=True,
        )
        return dataclasses.replace(
            defaults_from(path, Reinforce), **given, output=output
        )


def _checkpoint(path: Path) -> dict[str, bytes]:
    """Return the files of the run in `path` that the learning goes on from."""
    if not (path / CHECKPOINT).is_file():
        raise RobooptError(f"--resume {path} has no {CHECKPOINT}: nothing to resume")
    files = (path / name for name in (CHECKPOINT, RETURNS))
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def _saved(path: Path) -> Any:
    """Return the policy in a file or in the folder of a run."""
    import roboopt as ro

    file = path if path.is_file() else actor_file(path)
    if file is None:
        raise RobooptError(f"--from {path} must be a saved policy, or a run's folder")
    return ro.load(file)
