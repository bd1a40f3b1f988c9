"""`roboopt reinforce`: from an environment and its reward to a policy."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from roboopt._errors import RobooptError
from roboopt.cli._environment import (
    ENV_HELP,
    RAY_HELP,
    THIS_MACHINE,
    cluster,
    keywords_of,
    label,
)
from roboopt.cli._flags import Output, flag, spelled
from roboopt.cli._run_folder import CHECKPOINT
from roboopt.cli._simulation import Balancing
from roboopt.cli._watch import WATCH_HELP, watched

RETURNS = "returns.csv"
ALGORITHMS = ("ppo", "pgpe", "shac", "analytic", "zeroth-order", "mixed")
BY_GRADIENT = {
    None: ALGORITHMS,
    "likelihood": ("ppo", "pgpe"),
    "analytic": ("analytic", "shac"),
    "zeroth-order": ("zeroth-order",),
    "mixed": ("mixed",),
}
GRADIENTS = tuple(filter(None, BY_GRADIENT))
ENDINGS = ("timesteps", "seconds", "target", "episodes", "watch")
PASSED = (*ENDINGS[:3], "envs", "processes", "max_steps", "episodes", "seed")
NETWORK = ("width", "depth", "angles")
OPTION_HELP = "Keywords of the environment's constructor, such as robot=panda."
GRADIENT_HELP = "Kind of gradient, instead of --algorithm."
TWIN_OR_NOT = "analytic with a twin, otherwise likelihood"
START_HELP = "Policy to start from: a fresh network or PD gains."
TARGET_HELP = "Mean return of the last 100 episodes that ends the learning."
ENVS_HELP = "Number of parallel environments, or of starts per gradient step."
NORMALIZE_HELP = "Running normalization of the observations."


@dataclass(frozen=True)
class Reinforce:
    """Learn a policy from reward.

    The policy class and the algorithm follow from the spaces of the environment, and
    from whether it has a differentiable twin; the choice is printed. The policy and its
    start are evaluated on fresh episodes. The folder runs/<name> holds report.html,
    policy.npz, history.csv, returns.csv, settings.json and checkpoint.npz. Ctrl-C and
    SIGTERM end the command with the best policy so far; a second one ends it at once.
    """

    env: str | None = flag(None, ENV_HELP, shown="ENV", positional=True)
    option: tuple[str, ...] = flag((), OPTION_HELP, shown="KEY=VALUE")
    algorithm: str | None = flag(
        None, "Learning algorithm.", "chosen for the environment", choices=ALGORITHMS
    )
    gradient: str | None = flag(None, GRADIENT_HELP, TWIN_OR_NOT, choices=GRADIENTS)
    policy: str | None = flag(
        None,
        START_HELP,
        "pd or shaped setpoints for arms, otherwise network",
        choices=("network", "pd"),
    )
    from_: Path | None = flag(None, "Folder of a run, or saved policy, to start from.")
    timesteps: int | None = flag(
        None, "Number of environment steps.", "chosen and printed"
    )
    seconds: float = flag(math.inf, "Time limit [s].", "none")
    target: float | None = flag(None, TARGET_HELP)
    envs: int | None = flag(None, ENVS_HELP, "chosen and printed")
    processes: int = flag(0, "Worker processes of the environments.")
    ray: str | None = flag(
        None, RAY_HELP, "no cluster", shown="ADDRESS", alone=THIS_MACHINE
    )
    width: int | None = flag(
        None, "Neurons of a hidden layer.", "64, or 16 for perturbed parameters"
    )
    depth: int | None = flag(None, "Hidden layers.", "2, or 1 for perturbed parameters")
    angles: tuple[int, ...] = flag(
        (), "Indices of observations that are angles.", "the environment's"
    )
    max_steps: int | None = flag(
        None, "Time limit of an episode [steps].", "the environment's"
    )
    episodes: int = flag(100, "Number of test episodes.")
    seed: int = flag(0, "Seed of all randomness.")
    # Settings of the algorithms; None for the default of the algorithm.
    discount: float | None = flag(None, "Discount of one step.", "0.99", shown="γ")
    gae_lambda: float | None = flag(
        None, "GAE's λ.", "0.98, or 0.99 for shac", shown="λ"
    )
    clip: float | None = flag(
        None, "PPO's clip range; inf for no clip.", "0.2", shown="ε"
    )
    value_weight: float | None = flag(
        None, "Weight of the value function's error.", "0.5"
    )
    entropy_weight: float | None = flag(
        None, "Weight of the entropy bonus [1/nat].", "0"
    )
    steps: int | None = flag(None, "PPO's steps of each environment per update.", "256")
    epochs: int | None = flag(None, "PPO's passes over the data of an update.", "10")
    minibatches: int | None = flag(None, "PPO's minibatches per pass.", "8")
    normalize_observations: bool | None = flag(None, NORMALIZE_HELP, "True for ppo")
    scale_rewards: bool | None = flag(None, "PPO's scaling of the rewards.", "True")
    horizon: int | None = flag(None, "SHAC's steps per window.", "240")
    updates: int | None = flag(None, "SHAC's gradient steps per window.", "1")
    sample_actions: bool | None = flag(
        None, "Whether SHAC samples the actions.", "True"
    )
    draws: int | None = flag(None, "PGPE's sampled policies per start.", "8")
    spread: float | None = flag(
        None, "PGPE's noise, relative to the parameters.", "0.1"
    )
    gradient_decay_time: float | None = flag(
        None, "Decay time of the analytic gradient [s].", "chosen by the algorithm"
    )
    pairs: int | None = flag(
        None, "Pairs of opposite perturbations per gradient step.", "chosen and printed"
    )
    scale: float | None = flag(
        None, "Size of perturbations, relative to the parameters.", "0.05"
    )
    learning_rate: float | None = flag(
        None, "Largest learning rate.", "chosen by the algorithm"
    )
    max_gradient_norm: float | None = flag(
        None, "Norm that gradients are clipped to.", "0.5 for ppo, otherwise 1"
    )
    watch: int | None = flag(None, WATCH_HELP, "not shown", shown="PORT", alone=8080)
    simulation: Balancing = Balancing()
    output: Output = Output()
    endings: ClassVar = ENDINGS

    def run(self) -> int:
        """Learn, evaluate, report; return the exit code."""
        if self.env is None:
            raise RobooptError("give an environment, or --resume a run")
        if self.policy is not None and self.from_ is not None:
            raise RobooptError("--policy must be left out with --from")
        if self.algorithm is not None and self.gradient is not None:
            raise RobooptError("--gradient must be left out with --algorithm")
        from roboopt.cli._run import run

        name = f"{label(self.env, self.option)}-reinforce"
        return run(self, name, self._learn)

    def _learn(self, folder: Path, **told: Any) -> Any:
        import roboopt as ro
        from roboopt.cli._policies import saved

        if given := self.simulation.options():
            ro.rollouts.EnvSpec(str(self.env)).require_keywords(given)
        algorithm = self._algorithm(ro.rl.ALGORITHMS)
        network = {name: getattr(self, name) for name in NETWORK}
        start = self.from_
        return ro.reinforce(
            self.env,
            algorithm=algorithm,
            policy=self.policy if start is None else saved("--from", start),
            gradient=self.gradient if algorithm is None else None,
            options=keywords_of(self.option) | self.simulation.options(),
            progress=True,
            checkpoint=folder / CHECKPOINT,
            **told,
            returns_file=folder / RETURNS,
            workers=cluster(self.ray),
            watch=watched(self.watch),
            **{name: getattr(self, name) for name in PASSED},
            **{name: x for name, x in network.items() if x not in (None, ())},
        )

    def _algorithm(self, algorithms: Mapping[str, Any]) -> Any:
        """Return the algorithm with its settings, None where neither is given."""
        own = {
            n: {f.name for f in dataclasses.fields(a)} for n, a in algorithms.items()
        }
        every = set().union(*own.values())
        given = {n: v for n in every if (v := getattr(self, n)) is not None}
        names = [self.algorithm] if self.algorithm else BY_GRADIENT[self.gradient]
        if self.algorithm is None and not given:
            return None
        fits = [name for name in names if given.keys() <= own[name]]
        if not fits:
            wrong = given.keys() - (own[names[0]] if len(names) == 1 else ())
            said = ", ".join(map(spelled, sorted(wrong)))
            which = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
            raise RobooptError(f"{said} must be among the settings of {which}")
        made = algorithms[fits[0]](**given)
        if self.algorithm is None:
            from roboopt._progress import say

            flags = ", ".join(map(spelled, sorted(given)))
            say(f"--algorithm is {fits[0]}, of whose settings you give {flags}")
        return made
