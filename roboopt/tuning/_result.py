"""What `tune` returns: the controller, and how it compares with the one before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, save
from roboopt.objectives import EnergyTaskCost
from roboopt.optimize import Result
from roboopt.policies import Clipped
from roboopt.report import Section, Summary, VerbResult, write_history
from roboopt.rollouts import EnvSpec
from roboopt.tuning._comparison import Comparison
from roboopt.tuning._joints import Joints
from roboopt.tuning._parameters import gain_names, gain_units, named_by_joint
from roboopt.view import RobotMotions, Scene

ROUND = "round"
"""The number of each step's round in the history, where there are several."""
MAX_MOTIONS = 9  # drawn, of all that were made


@dataclass(frozen=True, repr=False)
class TuneResult(VerbResult):
    """A tuned controller, its descent, and the test beside the starting controller."""

    title: str
    controller: Any
    """The tuned controller: `action = controller(observation)`, within the limits."""
    before: Any
    """The starting controller."""
    result: Result
    """Of the descent; its history holds all rounds."""
    objective: EnergyTaskCost
    joints: Joints
    motions: dict[str, Trajectory]
    """In PyBullet from the test starts, "before" and "after"; empty without a test."""
    comparison: Comparison | None
    """None where Ctrl-C ended the test."""
    units: dict[str, str]
    """Of the terms in the history."""
    notes: dict[str, str]
    """What was chosen, by what it is."""
    settings: dict[str, Any]
    """What decided the result, in plain data."""
    env: EnvSpec | None
    starts: Float[np.ndarray, "start obs"]
    """The tuning starts."""
    fitted: Any = None
    """The fitted robot that was simulated, where the environment is not made with it.
    """
    scene: Scene | None = None
    """The robot in 3D, where the environment shows one."""
    explained: dict[str, Any] = field(default_factory=dict)
    """The gradient at both controllers, once `gradients` has explained it."""

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the test."""
        return self.comparison is None

    def summary(self) -> Summary:
        """Return the terms, peaks and successes before and after, and what they say."""
        ended = f"The descent stopped: {self.result.message.rstrip('.')}."
        if self.rounds is not None:
            ended += (
                f" The controller that was kept is of {self.kept_at}, the best from "
                "new starts."
            )
        if self.comparison is None:
            said = "The controllers were not tested: Ctrl-C ended the test."
            return Summary(self.title, [], [said, ended])
        tables = [self.comparison.table(), self.comparison.gap_table()]
        sentences = [*self.comparison.sentences(), ended, *self.task_sentences()]
        return Summary(self.title, tables, sentences)

    def gradients(self) -> dict[str, Any]:
        """Explain the gradient of the objective at both controllers.

        Returns:
            The `Explanation`s at the "start" and the "end", over the tuning starts.
        """
        from roboopt.diagnose import explain  # Slow to import.

        if self.explained:
            return dict(self.explained)
        if not hasattr(self.objective.task, "cost_rate"):
            raise RobooptError(
                "`task` must be at hand to explain its gradient, got "
                f"{self.objective.task}, which no file holds."
            )
        controllers = {"start": self.before, "end": self.controller}
        units = gain_units(self.before, self.joints)
        for when, policy in controllers.items():
            policy = policy.policy if isinstance(policy, Clipped) else policy
            found = explain(self.objective, policy, self.starts, units=units)
            self.explained[when] = named_by_joint(found, self.before, self.joints)
        return dict(self.explained)

    def path(self) -> Any:
        """Return how each gain moved, and what its derivative asked for.

        Returns:
            A `diagnose.DescentPath`; None for a controller of more than 50 numbers.
        """
        return self._path_to(self.best_step)

    def _path_to(self, end: int | None) -> Any:
        """Return the path up to a step, or the last."""
        from roboopt.diagnose import DescentPath  # Slow to import.

        names = gain_names(self.before, self.joints)
        return DescentPath.of(
            self.result,
            end=end,
            units=gain_units(self.before, self.joints),
            name=lambda own: names.get(own, own),
        )

    @property
    def shown(self) -> list[int]:
        """Return the test starts that the report draws, the one filmed first."""
        assert self.comparison is not None
        first = self.comparison.filmed
        others = [i for i in range(self.comparison.episodes) if i != first]
        return [first, *others][:MAX_MOTIONS]

    def robot_motions(self) -> RobotMotions | None:
        """Return the motions before and after from the starts that are shown."""
        if self.scene is None or self.comparison is None:
            return None
        count = len(self.joints.names)
        seen = {
            when: np.asarray(made.observations)[self.shown]
            for when, made in self.motions.items()
        }
        return RobotMotions(
            self.scene,
            {when: list(rows[..., :count]) for when, rows in seen.items()},
            self.motions["after"].time_step,
            [self.scene.goal(start) for start in seen["after"][:, 0]],
            [f"test start {index}" for index in self.shown],
        )

    def task_sentences(self) -> list[str]:
        """Return the objective, the task cost's formula and the rule of success.

        The latter are the task's attributes `formula` and `success_rule`, if it has
        them.
        """
        known = self.notes.get("objective")
        said = [f"The objective is {known}."] if known else []
        if formula := getattr(self.objective.task, "formula", ""):
            said.append(f"The task cost is ∫ c dt [s] with c = {formula}.")
        if rule := getattr(self.objective.task, "success_rule", ""):
            said.append(f"A motion succeeds if {rule}.")
        return said

    def sections(self, *, video: bool = True) -> list[Section]:
        """Return the sections of the report.

        Args:
            video: whether to render one, where the environment can be made again.
        """
        from roboopt.tuning._sections import sections

        return sections(self, video=video)

    def write_files(self, folder: Path) -> None:
        """Write controller.npz, history.csv, before.npz and after.npz.

        The motions are from the test starts, in their order; so says their `note`.
        """
        save(folder / "controller.npz", self.controller, partly=True)
        columns, units = dict(self.result.history), dict(self.units)
        if (path := self._path_to(None)) is not None:
            columns |= dict(zip(path.names, path.values.T, strict=True))
            slopes = zip(path.names, path.derivatives.T, strict=True)
            columns |= {f"dL/d {name}": slope for name, slope in slopes}
            named = zip(path.names, path.units, strict=True)
            units |= {name: unit for name, unit in named if unit}
        write_history(folder / "history.csv", columns, units)
        for when, motion in self.motions.items():
            last = len(motion.actions) - 1
            note = f"PyBullet, {when} tuning; row k is from test start k, 0 to {last}"
            motion.save(folder / f"{when}.npz", note=note)

    def metrics(self) -> Mapping[str, float]:
        """Return terms, peaks and successes of the tuned controller in PyBullet.

        Before it was tested, the loss of the descent.
        """
        judged = {"loss of the descent": float(self.result.loss)}
        if self.comparison is not None:
            judged = self.comparison.metrics()
        return {**judged, "optimization time [s]": self.result.seconds}

    def record(self) -> Mapping[str, Any]:
        """Return the settings and the numbers of the descent."""
        names = ("loss", "reason", "message", "steps", "seconds", "compile_seconds")
        numbers = {name: getattr(self.result, name) for name in names}
        return {**self.settings, "result": {**numbers, "loss": float(self.result.loss)}}

    @property
    def rounds(self) -> Float[np.ndarray, " step"] | None:
        """Return the number of each step's round; None where there was one round."""
        return self.result.history.get(ROUND)

    @property
    def best_step(self) -> int:
        """Return the step of the history whose controller was kept."""
        # The round that did best on fresh starts need not hold the lowest loss.
        losses = np.asarray(self.result.history["loss"], float)
        return int(np.nanargmin(np.abs(losses - float(self.result.loss))))

    @property
    def kept_at(self) -> str:
        """Return the step of the kept controller in words, with its round if any."""
        best, rounds = self.best_step, self.rounds
        if rounds is None:
            return f"step {best}"
        own = np.flatnonzero(rounds == rounds[best])
        return f"step {best - own[0]} of round {rounds[best]:.0f}"
