"""The result of `reinforce`: the policy, the learning, and the evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roboopt.data import save, save_episodes
from roboopt.diagnose import Explanation, Finding, HorizonNorms, gradient_health
from roboopt.report import (
    Section,
    Summary,
    VerbResult,
    evaluation_metrics,
    evaluation_motions,
    evaluation_record,
    evaluation_table,
    interval,
    number,
    sentence,
    write_history,
)
from roboopt.rl._returns import Returns
from roboopt.rollouts import EnvSpec, Evaluation, Signals
from roboopt.view import RobotMotions, Scene

ADVICE = "learn for more `timesteps`, or with another `algorithm`"
RECENT_EPISODES = 100
INTERRUPTED = "the evaluation was interrupted"


@dataclass(frozen=True, repr=False)
class ReinforceResult(VerbResult):
    """A policy learned from reward, and how it was learned."""

    policy: Any
    """The policy without exploration, within the action limits."""
    agent: Any
    """The model that was optimized: the policy with its exploration and its value
    function, where there are such."""
    start: Any
    """The policy that the learning started from, without exploration."""
    fresh: bool
    """Whether the start was a network with random weights."""
    env: EnvSpec | None
    """The id and options of the environment; None where only a function makes it."""
    name: str
    """The name of the environment."""
    signals: Signals
    """Names and units of its observations and actions."""
    algorithm: str
    """The class of the algorithm, such as "PPO"."""
    settings: dict[str, Any]
    """All settings of the algorithm."""
    gradient: str
    """"likelihood", "analytic", "zeroth-order" or "mixed"."""
    choice: dict[str, str]
    """The policy, algorithm, environment and budget, in words."""
    history: dict[str, np.ndarray]
    """The loss, its terms and the gradient's norm and signal-to-noise ratio, by
    gradient step; NaN at steps that were not looked at."""
    explained: dict[str, Explanation]
    """The gradient of the loss at the "start" and the "end", as far as it is known: of
    PPO and PGPE at the end, on the last block."""
    returns: Returns
    """The episodes that ended while the policy learned, or as `judged_beside` says."""
    evaluation: Evaluation | None
    """Fresh episodes of the policy; None where none were asked for."""
    start_evaluation: Evaluation | None
    """Episodes of the start, with the same seeds."""
    evaluation_failure: str
    """Why an evaluation is missing that was asked for; empty where none is."""
    gradient_by_horizon: HorizonNorms | None
    """The gradient through the twin at the start, by its horizon; None without one."""
    horizon: int | None
    """Steps of simulation that the gradient was propagated through, if it was."""
    reused: int
    """Gradient steps on the same samples."""
    steps: int
    """Gradient steps."""
    timesteps: int
    """Steps of all environments together. Not counted are 1,024 random steps from which
    a fresh network without a value function takes its normalizers."""
    seconds: float
    """Time of the learning, compilation included."""
    compile_seconds: float
    """Time of the first gradient step."""
    target: float | None
    """The mean return to reach."""
    seed: int
    """The seed of all randomness."""
    max_steps: int | None
    """The most steps of an episode; None where nothing limits them."""
    reason: str
    """Why the learning ended: "target", "timesteps", or as a `Result` of `minimize`."""
    message: str
    """The same as a sentence."""
    scene: Scene | None = None
    """The robot in 3D, where the environment shows one."""
    judged_beside: bool = False
    """Whether `returns` are not of the episodes that the gradient was taken from, which
    are of many policies, but of some that the policy ran beside the descent."""

    @property
    def health(self) -> list[Finding]:
        found = gradient_health(self.history, horizon=self.horizon, reused=self.reused)
        norms = self.gradient_by_horizon
        if norms is None or norms.horizons[-1] != self.horizon:
            return found
        noise = f"through {self.horizon} steps is noise"
        if norms.sentence is not None and all(noise not in x.message for x in found):
            found.append(Finding("gradient_snr", "warning", norms.sentence))
        return found

    @property
    def interrupted(self) -> bool:
        """Return whether Ctrl-C ended the evaluation."""
        return self.evaluation_failure == INTERRUPTED

    @property
    def start_name(self) -> str:
        """Return the start's name in tables and figures."""
        return "untrained" if self.fresh else "started from"

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """Return the evaluations by the name of who acted, the policy last."""
        both = {self.start_name: self.start_evaluation, "learned": self.evaluation}
        return {name: found for name, found in both.items() if found is not None}

    def robot_motions(self) -> RobotMotions | None:
        """Return the motions of the evaluation, the start's as a ghost."""
        shown = {} if self.evaluation is None else self.evaluations
        return evaluation_motions(self.scene, shown)

    def gradients(self) -> dict[str, Explanation]:
        """Return the gradient of the loss at the "start" and the "end", as known."""
        return self.explained

    def summary(self) -> Summary:
        """Return the evaluation, the reason of the end, and the gradient's health."""
        found, start = self.evaluation, self.start_evaluation
        tables = [evaluation_table(self.evaluations)] if self.evaluations else []
        sentences = []
        if found is not None:
            text = f"The policy's mean return over {len(found.returns)} fresh episodes "
            text += f"is {interval(found.mean_return)}"
            if found.successes is not None:
                text += f"; it succeeds in {int(found.successes.sum())}"
            if start is not None:
                text += f". The start's is {number(start.mean_return.value)}"
            sentences.append(f"{text}.")
        if found is None and self.interrupted:
            sentences.append(self.training_sentence())
        elif self.evaluation_failure:
            sentences.append(sentence(self.evaluation_failure))
        if found is not None and start is not None:
            sentences = [*self._verdict(found, start), *sentences]
        sentences.append(
            f"The learning ended: {self.message.rstrip('.')}; {self.timesteps} "
            f"timesteps in {self.seconds:.1f} s."
        )
        sentences += [sentence(x.message) for x in self.health]
        return Summary(f"Learning {self.name} from reward", tables, sentences)

    def training_sentence(self) -> str:
        """Return what the training tells of a policy that was not evaluated."""
        said = "The learning was stopped, and the policy not tested in fresh episodes"
        if not len(self.returns):
            return f"{said}; no training episode has ended."
        recent = self.returns.returns[-RECENT_EPISODES:]
        of = "episodes that it ran beside the descent"
        if not self.judged_beside:
            of = "training episodes, exploration included"
        mean = number(float(recent.mean()))
        return f"{said}. Its mean return was {mean} over the last {len(recent)} {of}."

    def _verdict(self, found: Evaluation, start: Evaluation) -> list[str]:
        """Say if the policy is not better than its start, by what episodes can tell."""
        if len(found.returns) != len(start.returns):  # One was interrupted.
            return []
        if len(found.returns) == 1:
            return [
                "One episode cannot tell whether the policy is better than its start."
            ]
        gain = found.gain_over(start)
        if gain.low > 0:
            return []
        other = "untrained one" if self.fresh else "start"
        if gain.high < 0:
            said = f"is worse than the {other}, by {interval(gain)} in mean return"
            advice = ADVICE if self.fresh else "keep the start"
        else:
            said = f"is no better than the {other} as far as {len(found.returns)} "
            said += f"episodes tell: its mean return differs by {interval(gain)}"
            advice = ADVICE
        return [f"Not improved: the learned policy {said}; {advice}."]

    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report: results, learning, gradients, losses."""
        from roboopt.rl._report import sections

        return sections(self, video)

    def metrics(self) -> Mapping[str, float]:
        """Return successes and mean return in fresh episodes, and what they cost."""
        cost = {
            "timesteps": float(self.timesteps),
            "optimization time [s]": self.seconds,
        }
        return {**evaluation_metrics(self.evaluation), **cost}

    def record(self) -> Mapping[str, Any]:
        """Return the algorithm with all its settings, and the figures."""
        names = "steps", "timesteps", "seconds", "compile_seconds", "reason", "message"
        return {
            "algorithm": {"name": self.algorithm, **self.settings},
            "choice": self.choice,
            "learning": {name: getattr(self, name) for name in names},
            "evaluation": evaluation_record(self.evaluations),
            "health": [sentence(x.message) for x in self.health],
        }

    def write_files(self, folder: Path) -> None:
        """Write policy.npz, history.csv, returns.csv, and the evaluated episodes."""
        save(folder / "policy.npz", self.policy, partly=True)
        if self.evaluation is not None:
            episodes = self.evaluation.trajectories.episodes()
            save_episodes(folder / "episodes.npz", episodes)
        self.returns.write(folder / "returns.csv")
        write_history(folder / "history.csv", self.history)
