"""The result of `clone`: the policy, how it did the task, and its action errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._progress import counted
from roboopt.data import Trajectory, save, save_episodes
from roboopt.diagnose import DescentPath, Explanation, Finding, gradient_section
from roboopt.imitation._clone_sentences import sentences
from roboopt.imitation._clone_training import NO_BETTER
from roboopt.imitation._learning_curve import LEGEND, learning_curve
from roboopt.imitation._standard_error import mean_interval
from roboopt.optimize import Result
from roboopt.report import (
    Figure,
    Notes,
    NoVideo,
    Panel,
    Section,
    Summary,
    Table,
    VerbResult,
    Video,
    bars,
    ceiling_notes,
    evaluation_metrics,
    evaluation_motions,
    evaluation_record,
    evaluation_table,
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

INTERRUPTED = "the evaluation was interrupted"


@dataclass(frozen=True, repr=False)
class CloneResult(VerbResult):
    """The clone, its training, and its evaluation beside the demonstrator's."""

    policy: Any
    """The policy that acts, within the limits of the actions."""
    training: Result
    """The descent; its `model` is the policy without history, chunks and limits."""
    demonstrations: Evaluation | None
    """The recorded returns, where there are rewards and no demonstrator."""
    time_step: float | None
    """Of the demonstrations [s]; None where nothing tells it."""
    discrete: bool
    """Whether the actions are choices."""
    loss_axes: int | None
    """Over how many axes of the actions the loss is half a sum of squares; None of
    another loss."""
    findings: tuple[Finding, ...]
    """What the checks of the demonstrations found."""
    description: dict[str, str]
    """What was trained, in words."""
    signals: Signals | None
    env: EnvSpec | None
    seed: int
    mismatch: dict[str, float] = field(default_factory=dict)
    """The loss on "training", "validation" and "held out" samples; empty if Ctrl-C came
    before the clone was judged, as are `errors` and what follows."""
    errors: dict[str, float] = field(default_factory=dict)
    """On held-out samples, by "clone" and the baselines "constant", "persistence",
    "linear" and "nearest neighbor": the root mean square over samples and over the axes
    that change, in units of their standard deviations; of discrete actions the share of
    other choices. A squared loss over `loss_axes` n is L = n error² / 2."""
    held_out: tuple[Trajectory, ...] = ()
    """The held-out episodes: those of `errors`."""
    error_by_action: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(act,): root mean square on held-out demonstrations, in the actions' units; of
    discrete actions the share of samples with another choice."""
    error_over_time: tuple[np.ndarray, ...] = ()
    """By held-out episode, (time,): root mean square over axes, in units of the
    actions' standard deviations; of discrete actions whether the choice differs."""
    baseline_over_time: dict[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    """By baseline, likewise."""
    training_error_over_time: tuple[np.ndarray, ...] = ()
    """Of the clone on demonstrations that it was trained on, likewise."""
    explained: dict[str, Explanation] = field(default_factory=dict)
    """The gradient of the mismatch at the "start" and the "end" of the training, on
    samples of the training."""
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    """By "demonstrator" and "clone", from the same starts; empty without `env`."""
    evaluation_failure: str = INTERRUPTED
    """What went wrong in the environment; empty if nothing."""
    scene: Scene | None = None
    """The robot in 3D, where the environment shows one."""
    source: str = ""
    """The name of the file or folder of demonstrations, if it has one."""
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
        tables += [self._error_table()] if self.errors else []
        source = self.source or "demonstrations"
        title = f"Cloning {source if self.env is None else self.env}"
        return Summary(title, tables, sentences(self))

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

        Those of a single held-out episode are infinite.
        """
        power = 1 if self.discrete else 2
        found = {k: mean_interval(*self.costs(k)) for k in self.errors}
        return {
            name: (low ** (1 / power), high ** (1 / power))
            for name, (low, high) in found.items()
        }

    @property
    def training_error(self) -> float:
        """Return the error on demonstrations that it was trained on, as in `errors`."""
        (costs,) = self.costs("training")
        return float(np.concatenate(costs).mean() ** (1 if self.discrete else 0.5))

    def costs(self, *names: str) -> list[list[np.ndarray]]:
        """Return what the errors are the means of, or the roots of means, by name."""
        every = {"clone": self.error_over_time, **self.baseline_over_time}
        every["training"] = self.training_error_over_time
        power = 1 if self.discrete else 2
        return [[x**power for x in every[name]] for name in names]

    @property
    def interrupted(self) -> bool:
        """Return whether a signal came before the clone was judged."""
        return self.evaluation_failure == INTERRUPTED or not self.errors

    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report."""
        said = "L is the loss, on samples of the training."
        if self.loss_axes is not None:
            said = (
                f"L = {self.loss_axes} · error² / 2 is what the training minimizes, on "
                "samples of the training."
            )
        history = self.training.history
        path = DescentPath.of(self.training)
        gradient = gradient_section(self.explained, history, notes=[said], path=path)
        made = [self._task_section(), self._training_section()]
        made += [self._error_section()] if self.errors else []
        made += [] if gradient is None else [gradient]
        if not self.evaluations:
            return made
        assert self.signals is not None
        policies = {"clone": self.policy}
        if self.demonstrator is not None:
            policies = {"demonstrator": self.demonstrator, **policies}
        seed = self.seed + EVALUATION_SEED_OFFSET
        step, film = self.time_step, None
        if video:
            film = performance(self.env, policies, seed, time_step=step)
        if isinstance(film, NoVideo):
            made.insert(1, film.section())
        elif film is not None:
            said = f"Test episode 0, {film.speed}."
            made.insert(1, Section("Video", [Video(film.mp4, said)]))
        said = "The robot as the clone moves it"
        if len(self.evaluations) > 1:
            said += " and, as a ghost, as its demonstrator does"
        replay = replay_section(self.robot_motions(), f"{said}.")
        made += [] if replay is None else [replay]
        return [*made, motions(self.signals, self.evaluations, film, step)]

    def _task_section(self) -> Section:
        notes = [f"{k.capitalize()}: {v}." for k, v in self.description.items()]
        notes += [f"In the demonstrations: {f}" for f in self.findings]
        if self.evaluations:
            count = len(self.evaluations["clone"].returns)
            same = ", the same for all" if len(self.evaluations) > 1 else ""
            notes.insert(0, f"{counted(count, 'episode')} from random starts{same}.")
            notes[1:1] = ceiling_notes(self.evaluations)
        title = "Doing the task" if self.evaluations else "The error"
        return Section(title, [*self.summary().tables, Notes(notes)])

    def _training_section(self) -> Section:
        result = self.training
        panels = [learning_curve(result, self.loss_axes)]
        note = (
            f"{sentence(result.message)} {counted(result.steps, 'step')} took "
            f"{result.seconds:.1f} s, the first of them, with the compilation, "
            f"{result.compile_seconds:.1f} s."
        )
        kept = "the best network" if self.linear_kept else "the policy kept"
        what = "loss"
        if self.loss_axes is not None:
            what = (
                "error, in units of the actions' standard deviations as in the table,"
            )
        caption = (
            f"The {what} of the batches, and on validation demonstrations, which the "
            f"network judged has not seen; the dot is {kept}."
        )
        legend = {} if result.best_step is None else LEGEND
        figure = Figure(panels, caption, legend, columns=2)
        return Section("The training", [Notes([note]), figure])

    def _error_section(self) -> Section:
        titles, unit = ("Error by action", "Error over time"), "actions' units"
        if self.discrete:
            titles, unit = ("Other choice by action", "Other choice over time"), "1"
        names = [f"action {k}" for k in range(len(self.error_by_action))]
        if self.signals is not None:
            names = [signal.name for signal in self.signals.actions]
            units = {signal.unit for signal in self.signals.actions} - {"1"}
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
        figure = Figure([by_action, *over_time], caption)
        return Section("The error by action", [figure])

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
        unit, judged = "share" if self.discrete else "standard deviations", {}
        if self.errors:
            judged[f"held-out error [{unit}]"] = self.errors["clone"]
            if self.loss_axes is None:
                judged["held-out loss"] = self.mismatch["held out"]
        done = evaluation_metrics(self.evaluations.get("clone"))
        return {**done, **judged, "optimization time [s]": self.training.seconds}

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
