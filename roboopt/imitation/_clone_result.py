"""The result of `clone`: the policy, how it did the task, and its action errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._progress import counted
from roboopt.data import save, save_episodes
from roboopt.diagnose import DescentPath, Explanation, Finding, gradient_section
from roboopt.imitation._baselines import ADVICE, MEANT, PERSISTENCE
from roboopt.imitation._clone_training import NO_BETTER
from roboopt.imitation._learning_curve import LEGEND, learning_curve
from roboopt.imitation._standard_error import mean_interval, ratio_interval
from roboopt.optimize import Result
from roboopt.report import (
    Figure,
    Notes,
    Panel,
    Section,
    Summary,
    Table,
    VerbResult,
    Video,
    bars,
    evaluation_metrics,
    evaluation_motions,
    evaluation_record,
    evaluation_table,
    interval,
    motions,
    number,
    padded,
    performance,
    replay_section,
    sentence,
    traces,
    write_history,
)
from roboopt.rollouts import EVALUATION_SEED_OFFSET, EnvSpec, Evaluation, Signals
from roboopt.view import RobotMotions, Scene

OVERFITTING_RISE = 0.05  # of the validation mismatch from its least to its last
COPIED = (
    "its own past actions mislead it, which the baseline does not see: `past_actions` "
    "0 leaves them out."
)
OVERFITTING_RATIO = 10.0  # of the mismatch held out to the mismatch in training

INTERRUPTED = "the evaluation was interrupted"


@dataclass(frozen=True, repr=False)
class CloneResult(VerbResult):
    """The clone, its training, and its evaluation beside the demonstrator's."""

    policy: Any
    """The policy that acts, within the limits of the actions."""
    training: Result
    """The descent; its `model` is the policy without history, chunks and limits."""
    mismatch: dict[str, float]
    """On "training", "validation" and "held out" samples."""
    errors: dict[str, float]
    """On held-out samples, by "clone", "persistence", "linear" and "nearest neighbor":
    root mean square in units of the actions' standard deviations; of discrete actions
    the share of other choices."""
    evaluations: dict[str, Evaluation]
    """By "demonstrator" and "clone", from the same starts; empty without `env`."""
    evaluation_failure: str
    """What went wrong in the environment; empty if nothing."""
    demonstrations: Evaluation | None
    """The recorded returns, where there are rewards and no demonstrator."""
    error_by_action: np.ndarray
    """(act,): root mean square on held-out demonstrations, in the actions' units; of
    discrete actions the share of samples with another choice."""
    error_over_time: tuple[np.ndarray, ...]
    """By held-out episode, (time,): root mean square over axes, in units of the
    actions' standard deviations; of discrete actions whether the choice differs."""
    baseline_over_time: dict[str, tuple[np.ndarray, ...]]
    """By baseline, likewise."""
    time_step: float
    """Of the demonstrations [s]."""
    discrete: bool
    """Whether the actions are choices."""
    findings: tuple[Finding, ...]
    """What the checks of the demonstrations found."""
    description: dict[str, str]
    """What was trained, in words."""
    signals: Signals | None
    env: EnvSpec | None
    seed: int
    explained: dict[str, Explanation]
    """The gradient of the mismatch at the "start" and the "end" of the training, on
    samples of the training."""
    scene: Scene | None = None
    """The robot in 3D, where the environment shows one."""
    demonstrator: Any = field(default=None, metadata={"saved": False})
    """The policy that demonstrated, for the video; any function, so it is not saved."""

    def robot_motions(self) -> RobotMotions | None:
        """Return the motions of the evaluation, the demonstrator's as a ghost."""
        return evaluation_motions(self.scene, self.evaluations)

    def gradients(self) -> dict[str, Explanation]:
        """Return the gradient of the mismatch at the "start" and the "end"."""
        return self.explained

    def summary(self) -> Summary:
        """Return the returns and successes, and the mismatch."""
        known = dict(self.evaluations)
        if self.demonstrations is not None:
            known = {"demonstrations": self.demonstrations, **known}
        tables = [evaluation_table(known)] if known else []
        tables.append(self._error_table())
        title = "Cloning" if self.env is None else f"Cloning {self.env}"
        return Summary(title, tables, self._sentences())

    def _sentences(self) -> list[str]:
        held_out, training = self.mismatch["held out"], self.mismatch["training"]
        sentences = [
            self._outcome(),
            f"The mismatch is {number(held_out)} on held-out demonstrations and "
            f"{number(training)} on those it was trained on.",
            *self._selection(),
            *self._comparison(),
        ]
        sentences += [
            f"In the demonstrations {f.message} Such an action counts as the limit or "
            "more, and the policy keeps the limits; `clip` says that this is meant."
            for f in self.findings
            if f.code == "action_out_of_range"
        ]
        if held_out == 0 and not self.discrete:
            sentences.append(
                "A held-out mismatch of 0 says little: the held-out actions never "
                "change, or are at the actuators' limits, where asking for more counts "
                "as no error. Hold out more episodes."
            )
        if held_out > OVERFITTING_RATIO * abs(training):
            sentences.append(
                f"The held-out mismatch is {held_out / training:.3g} times as large: "
                "the policy overfits. More demonstrations or fewer steps help."
            )
        if self._worse_than_demonstrator():
            sentences.append(
                "The clone does worse than its demonstrator: its own errors take it "
                "where nobody demonstrated. DAgger (`dagger`) labels those states, and "
                "demonstrations with action noise show how to come back."
            )
        stopped = self.training.message.rstrip(".")
        return [*sentences, f"The training stopped: {stopped}."]

    @property
    def linear_kept(self) -> bool:
        """Return whether a linear policy was kept where a network was no better."""
        return self.description["policy"].endswith(NO_BETTER)

    def _error_table(self) -> Table:
        unit = "share" if self.discrete else "standard deviations"
        header = ["error on held-out demonstrations", f"[{unit}]", "95 % interval"]
        rows = []
        for name, (low, high) in self.error_intervals.items():
            shown = f"{number(low)} to {number(high)}" if np.isfinite(high) else "–"
            rows.append([name, number(self.errors[name]), shown])
        return Table(header, rows)

    @property
    def error_intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each of `errors`, by the spread of episodes.

        A single held-out episode counts as ten parts.
        """
        power = 1 if self.discrete else 2
        found = {k: mean_interval(x) for k, x in self._costs().items()}
        return {
            name: (low ** (1 / power), high ** (1 / power))
            for name, (low, high) in found.items()
        }

    def _costs(self) -> dict[str, list[np.ndarray]]:
        """Return what `errors` are the means of, or the roots of means."""
        every = {"clone": self.error_over_time, **self.baseline_over_time}
        power = 1 if self.discrete else 2
        return {name: [x**power for x in runs] for name, runs in every.items()}

    def _selection(self) -> list[str]:
        """Say at which step the policy was the best, and what training longer does."""
        best, known = self.training.best_step, self.training.history.get("validation")
        if best is None or known is None:
            return []
        last = known[np.isfinite(known)][-1]
        if self.linear_kept and self._repeats:
            return [
                "The clone repeats the last action: on demonstrations that neither has "
                "seen, no linear policy and no network is better by more than two "
                'standard errors. The policy "mlp" keeps a network.'
            ]
        if self.linear_kept:
            return [
                f"The clone is the linear policy{self._seen('of')}: on demonstrations "
                "that neither has seen, no network is better by more than two standard "
                'errors. The policy "mlp" keeps a network.'
            ]
        if memory := self._seen("sees"):
            memory = f" It{memory}."
        said = (
            f"The policy is that of step {best} of {self.training.steps}, the best on "
            f"demonstrations that select it, with a mismatch of {number(known[best])}"
        )
        if last - known[best] < OVERFITTING_RISE * abs(known[best]):
            return [f"{said}.{memory}"]
        said = f"{said}; at the end it was {number(last)}: training longer overfits"
        return [f"{said}.{memory}"]

    @property
    def _repeats(self) -> bool:
        """Return whether the clone sees its last action, and errs as repeating it."""
        copied = self.baseline_over_time.get(PERSISTENCE, ())
        pairs = zip(self.error_over_time, copied, strict=False)
        return bool(self._seen("of") and copied) and all(
            np.allclose(own, other, rtol=1e-6, atol=1e-9) for own, other in pairs
        )

    def _seen(self, word: str) -> str:
        """Return what the policy sees, where it sees its own past actions, too."""
        seen = self.description.get("input", "")
        return f" {word} {seen}" if "past action" in seen else ""

    def _comparison(self) -> list[str]:
        """Say whether a baseline predicts the held-out actions better.

        It does if the interval of the ratio, by the spread of episodes, says so.
        """
        others = {k: x for k, x in self.errors.items() if k != "clone"}
        if not others:
            return []
        name, own = min(others, key=others.__getitem__), self.errors["clone"]
        costs = self._costs()
        low, high = ratio_interval(costs["clone"], costs[name])
        if number(own) == number(others[name]):
            return [
                f"The clone errs by {number(own)} on held-out actions, as the best "
                f"baseline, {name}, does: it is no better than {MEANT[name]}."
            ]
        if low <= 1:
            said = f"the best baseline, {name}, errs by {number(others[name])}"
            if high >= 1:
                count = len(self.error_over_time)
                few = f"{count} episodes" if count > 1 else "one episode"
                said += f", and {few} cannot tell which of the two is better"
            return [f"The clone errs by {number(own)} on held-out actions; {said}."]
        advice = ADVICE[name]
        if self.linear_kept and name == "linear" and self._seen("of"):
            advice = COPIED
        return [
            f"The clone errs by {number(own)} on held-out actions, more than the "
            f"baseline {name}, {number(others[name])}: {advice}"
        ]

    @property
    def interrupted(self) -> bool:
        """Return whether a signal ended the evaluation."""
        return self.evaluation_failure == INTERRUPTED

    def _outcome(self) -> str:
        if self.evaluation_failure:
            return f"The clone could not be evaluated: {self.evaluation_failure}"
        if "clone" not in self.evaluations:
            return "The clone was trained without an environment to act in."
        clone, other = self.evaluations["clone"], self.evaluations.get("demonstrator")
        episodes = counted(len(clone.returns), "episode")
        if clone.successes is not None:
            said = f"The clone succeeds in {clone.successes.sum()} of {episodes}"
            if other is not None and other.successes is not None:
                total = other.successes.sum()
                said += f"; its demonstrator, from the same starts, in {total}"
        else:
            mean = interval(clone.mean_return)
            said = f"The clone's mean return over {episodes} is {mean}"
            if other is not None:
                said += f"; its demonstrator's is {number(other.mean_return.value)}"
        return f"{said}."

    def _worse_than_demonstrator(self) -> bool:
        """Return whether the intervals of both do not overlap."""
        clone, other = (self.evaluations.get(n) for n in ("clone", "demonstrator"))
        if clone is None or other is None:
            return False
        if clone.success_rate is None or other.success_rate is None:
            return clone.mean_return.high < other.mean_return.low
        return clone.success_rate.high < other.success_rate.low

    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report."""
        said = "L is the mismatch, on samples of the training."
        history = self.training.history
        path = DescentPath.of(self.training)
        gradient = gradient_section(self.explained, history, notes=[said], path=path)
        made = [self._task_section(), self._training_section(), self._error_section()]
        made += [] if gradient is None else [gradient]
        if not self.evaluations:
            return made
        assert self.signals is not None
        policies = {"clone": self.policy}
        if self.demonstrator is not None:
            policies = {"demonstrator": self.demonstrator, **policies}
        seed = self.seed + EVALUATION_SEED_OFFSET
        film = performance(self.env, policies, seed) if video else None
        if film is not None:
            said = "Test episode 0, in real time."
            made.insert(1, Section("Video", [Video(film.mp4, said)]))
        said = "The robot as the clone moves it"
        if len(self.evaluations) > 1:
            said += " and, as a ghost, as its demonstrator does"
        replay = replay_section(self.robot_motions(), f"{said}.")
        made += [] if replay is None else [replay]
        return [*made, motions(self.signals, self.evaluations, film)]

    def _task_section(self) -> Section:
        notes = [f"{k.capitalize()}: {v}." for k, v in self.description.items()]
        notes += [f"In the demonstrations: {f.message}" for f in self.findings]
        if self.evaluations:
            count = len(self.evaluations["clone"].returns)
            notes.insert(
                0, f"{counted(count, 'episode')} from random starts, the same for all."
            )
        title = "Doing the task" if self.evaluations else "The error"
        return Section(title, [*self.summary().tables, Notes(notes)])

    def _training_section(self) -> Section:
        result = self.training
        panels = [learning_curve(result)]
        note = (
            f"{sentence(result.message)} {counted(result.steps, 'step')} took "
            f"{result.seconds:.1f} s, the first of them, with the compilation, "
            f"{result.compile_seconds:.1f} s."
        )
        kept = "the best network" if self.linear_kept else "the policy kept"
        caption = (
            "The mismatch of the batches, and on validation demonstrations, which the "
            f"network judged has not seen; the dot is {kept}."
        )
        legend = {} if result.best_step is None else LEGEND
        figure = Figure(panels, caption, legend, columns=2)
        return Section("The training", [Notes([note]), figure])

    def _error_section(self) -> Section:
        titles, unit = ("Error by action", "Error over time"), "actions' units"
        if self.discrete:
            titles, unit = ("Other choice than demonstrated", "Over time"), "1"
        names = [f"action {k}" for k in range(len(self.error_by_action))]
        if self.signals is not None:
            names = [signal.name for signal in self.signals.actions]
            units = {signal.unit for signal in self.signals.actions}
            unit = units.pop() if len(units) == 1 and not self.discrete else unit
        values = {"clone": self.error_by_action}
        by_action = bars(titles[0], unit, values, names, axis="")
        panel = Panel(titles[1], "1", {"clone": padded(self.error_over_time)})
        over_time = traces([panel], self.time_step)
        caption = (
            "The clone's action where the demonstrator was, in held-out episodes: "
            + ("share of samples with another choice" if self.discrete else "RMS")
            + ", and over time in units of the actions' standard deviations."
        )
        return Section("The mismatch", [Figure([by_action, *over_time], caption)])

    def write_files(self, folder: Path) -> None:
        """Write policy.npz, history.csv, and episodes.npz with what the clone did."""
        save(folder / "policy.npz", self.policy, partly=True)
        write_history(folder / "history.csv", self.training.columns())
        if "clone" in self.evaluations:
            save_episodes(
                folder / "episodes.npz",
                self.evaluations["clone"].trajectories.episodes(),
            )

    def metrics(self) -> dict[str, float]:
        """Return the errors on held-out demonstrations, and how the task was done."""
        unit = "share" if self.discrete else "standard deviations"
        return {
            **evaluation_metrics(self.evaluations.get("clone")),
            f"held-out error [{unit}]": self.errors["clone"],
            "held-out mismatch": self.mismatch["held out"],
            "time [s]": self.training.seconds,
        }

    def record(self) -> dict[str, Any]:
        """Return what settings.json records."""
        return {
            "training": self.description,
            "mismatch": self.mismatch,
            "held_out_errors": self.errors,
            "best_step": self.training.best_step,
            "held_out_error_by_action": self.error_by_action,
            "evaluation": evaluation_record(self.evaluations),
        }
