"""`roboopt reinforce`: from an environment and its reward to a policy."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from roboopt._errors import RobooptError
from roboopt.cli._config import defaults_from
from roboopt.cli._environment import keywords_of, label
from roboopt.cli._flags import OUTPUT, Output, flag, verb_arguments
from roboopt.cli._run_folder import SETTINGS, actor_file, write_json
from roboopt.cli._settings import plain
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
CHOICES = {
    "algorithm": ALGORITHMS,
    "gradient": tuple(filter(None, BY_GRADIENT)),
    "policy": ("network", "pd"),
}
NETWORK = ("width", "depth", "angles")
ENDINGS = ("timesteps", "seconds", "target", "episodes")


@dataclass(frozen=True)
class Reinforce:
    """Learn a policy from reward.

    The policy class and the algorithm follow from the spaces of the environment, and
    from whether it has a differentiable twin; the choice is printed. The policy and its
    start are evaluated on fresh episodes. The folder runs/<name> holds report.html,
    policy.npz, history.csv, returns.csv, settings.json and checkpoint.npz. Ctrl-C ends
    the learning and goes on to the report; a second one ends the command.
    """

    env: Annotated[
        str | None,
        tyro.conf.Positional,
        flag("ENV", "Gymnasium id, such as CartPole-v1 or my_package:Mine-v0."),
    ] = None
    option: Annotated[
        tuple[str, ...],
        flag("KEY=VALUE", "Keywords of its constructor: robot=panda.", "none"),
    ] = ()
    algorithm: Annotated[
        str | None,
        flag("{" + ",".join(ALGORITHMS) + "}", "Algorithm.", "one that fits"),
    ] = None
    gradient: Annotated[
        str | None,
        flag(
            "{likelihood,analytic,zeroth-order,mixed}",
            "Gradient, where no algorithm is named.",
            "analytic with a twin, else likelihood",
        ),
    ] = None
    policy: Annotated[
        str | None,
        flag("{network,pd}", "Start: a network or PD gains.", "pd for arms"),
    ] = None
    from_: Annotated[
        Path | None,
        flag("PATH", "Run or saved policy to start from.", "none", name="from"),
    ] = None
    resume: Annotated[
        Path | None,
        flag("PATH", "Run to continue, with its settings and checkpoint.", "none"),
    ] = None
    timesteps: Annotated[
        int | None, flag("INT", "Budget of environment steps.", "printed")
    ] = None
    seconds: Annotated[
        float, flag("FLOAT", "Time limit of the learning [s].", "none")
    ] = math.inf
    target: Annotated[
        float | None,
        flag("FLOAT", "Mean return of the last 100 episodes that ends it.", "none"),
    ] = None
    envs: Annotated[
        int | None, flag("INT", "Environments side by side, or starts.", "printed")
    ] = None
    processes: Annotated[int, flag("INT", "Processes of the environments.")] = 0
    width: Annotated[
        int | None, flag("INT", "Neurons of a hidden layer.", "64; 16 if perturbed")
    ] = None
    depth: Annotated[int | None, flag("INT", "Hidden layers.", "2; 1 if perturbed")] = (
        None
    )
    angles: Annotated[
        tuple[int, ...], flag("INT", "Axes of observations that are angles.", "env's")
    ] = ()
    max_steps: Annotated[
        int | None,
        flag("INT", "Time limit of an episode [steps].", "the environment's"),
    ] = None
    episodes: Annotated[int, flag("INT", "Fresh episodes of the evaluation.")] = 100
    seed: Annotated[int, flag("INT", "Seed of all randomness.")] = 0
    discount: Annotated[float | None, flag("γ", "Discount of one step.", "0.99")] = None
    gae_lambda: Annotated[float | None, flag("λ", "GAE's λ.", "0.98; 0.99 of shac")] = (
        None
    )
    clip: Annotated[
        float | None, flag("ε", "PPO's clip range; inf for REINFORCE.", "0.2")
    ] = None
    value_weight: Annotated[
        float | None, flag("FLOAT", "Weight of the value function's error.", "0.5")
    ] = None
    entropy_weight: Annotated[
        float | None, flag("FLOAT", "Weight of the entropy bonus [1/nat].", "0")
    ] = None
    steps: Annotated[
        int | None, flag("INT", "PPO's steps of an environment a block.", "256")
    ] = None
    epochs: Annotated[int | None, flag("INT", "PPO's passes over a block.", "10")] = (
        None
    )
    minibatches: Annotated[
        int | None, flag("INT", "PPO's gradient steps a pass.", "8")
    ] = None
    normalize_observations: Annotated[
        bool | None, flag("BOOL", "Running normalization of inputs.", "True; not shac")
    ] = None
    scale_rewards: Annotated[
        bool | None, flag("BOOL", "PPO's scaling of the rewards.", "True")
    ] = None
    horizon: Annotated[int | None, flag("INT", "SHAC's steps a window.", "240")] = None
    updates: Annotated[
        int | None, flag("INT", "SHAC's gradient steps a window.", "1")
    ] = None
    sample_actions: Annotated[
        bool | None, flag("BOOL", "SHAC's sampling of actions.", "True")
    ] = None
    draws: Annotated[
        int | None, flag("INT", "PGPE's policies for each start.", "8")
    ] = None
    spread: Annotated[
        float | None, flag("FLOAT", "PGPE's relative parameter noise.", "0.1")
    ] = None
    gradient_decay_time: Annotated[
        float | None,
        flag("FLOAT", "Decay time of the analytic gradient [s].", "0.6; inf of arms"),
    ] = None
    pairs: Annotated[
        int | None, flag("INT", "Pairs of perturbations.", "one a parameter, or 8")
    ] = None
    scale: Annotated[
        float | None, flag("FLOAT", "Relative size of perturbations.", "0.05")
    ] = None
    learning_rate: Annotated[
        float | None, flag("FLOAT", "Largest learning rate.", "the algorithm's")
    ] = None
    max_gradient_norm: Annotated[
        float | None, flag("FLOAT", "Norm that gradients are clipped to.", "0.5 or 1")
    ] = None
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
        flags = {"command": "reinforce", "flags": plain(verb_arguments(self))}
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
