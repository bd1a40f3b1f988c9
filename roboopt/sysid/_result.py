"""The result of an identification: parameters, forecasts, identifiability."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError
from roboopt._progress import counted
from roboopt.data import Trajectory, save
from roboopt.diagnose import (
    Combination,
    Explanation,
    Finding,
    IdentifiabilityReport,
)
from roboopt.dynamics import ParametricTwin, save_urdf
from roboopt.optimize import Result
from roboopt.report import Section, Summary, VerbResult, write_history
from roboopt.sysid._base_parameters import BaseParameter
from roboopt.sysid._checks import grouped
from roboopt.sysid._effort_errors import EffortErrors
from roboopt.sysid._forecast import FORECAST_TIMES_S, Forecasts, forecasts
from roboopt.sysid._free_swing import free_swing_sentences
from roboopt.sysid._lacking import is_far_off, lacking_sentences
from roboopt.sysid._parameters import (
    COMBINED,
    ZERO_WITHIN,
    Parameter,
    friction_doubts,
    parameter_table,
    write_parameters,
)
from roboopt.sysid._preparation import lead_steps
from roboopt.sysid._simulation import MAX_RECORDINGS, Simulations, simulations
from roboopt.sysid._simulation_tables import (
    simulation_sentence,
    simulation_table,
    write_simulations,
)
from roboopt.sysid._suspicions import UNRECORDED
from roboopt.sysid._tables import (
    base_sentence,
    base_table,
    combination_table,
    effort_sentences,
    effort_table,
    forecast_sentence,
    forecast_table,
    friction_sentences,
    known_first,
    missing_sentences,
    speeds_up,
    suspicion_sentences,
    worse_forecasts,
    write_base_parameters,
    write_combinations,
    write_efforts,
    write_forecasts,
)
from roboopt.view import RobotMotions, Scene

FITTED, TESTED, BOTH = "fit", "held out", "both"  # uses of recordings
MAX_ROWS = 40  # parameters in a summary; the files hold all
PLURALS = {"at its bound": "at their bounds"}
MAX_LINES = 12  # combinations in a summary
MAX_WARNINGS = 3  # in a summary


@dataclass(frozen=True)
class Source:
    """Where a recording came from, and its size."""

    name: str
    steps: int
    time_step: float
    """[s]"""
    use: str
    """"fit", "held out", or "both", where the end alone was held out."""


@dataclass(frozen=True, repr=False)
class IdentifyResult(VerbResult):
    """A fitted model, the identifiability of its parameters, and its data."""

    name: str
    """The robot."""
    before: ParametricTwin
    """The robot as it was given."""
    model: ParametricTwin
    """The robot as it was fitted."""
    identifiability: IdentifiabilityReport | None
    """None if Ctrl-C came before the model was judged."""
    result: Result
    """Outcome of the last fit; its message and its history are of all fits."""
    error: str
    """The minimized error: "effort", "motion" or "both"."""
    cutoff: float | None
    """Frequency above which the recordings were smoothed [Hz]; None for clean ones."""
    training: tuple[Trajectory, ...]
    """Recordings of the fit, as a simulation is compared with them."""
    held_out: tuple[Trajectory, ...]
    """Recordings for judging alone, likewise."""
    split: str
    """Which recordings were held out."""
    sources: tuple[Source, ...]
    findings: tuple[Finding, ...]
    """Warnings of the checks of the recordings."""
    explained: dict[str, Explanation]
    """The gradient of the minimized error at the "start", the robot as given, and at
    the "end", the estimate."""
    efforts: EffortErrors | None = None
    """Errors of the efforts; None for robots with joints that nothing drives, or if
    Ctrl-C came before the model was judged."""
    suspicions: tuple[str, ...] = ()
    """Changes of the robot or the columns that explain the efforts clearly better."""
    true_values: Float[np.ndarray, " parameter"] | None = None
    urdf: str | None = None
    """Path of the URDF that the robot was read from."""
    xacro_args: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the .xacro file, by name."""
    scene: Scene | None = None
    """The robot in 3D, where there is a file or an environment that shows one."""
    from_file: bool = field(default=False, metadata={"saved": False, "loaded": True})
    """Whether a file names the URDF, which `load` was not allowed to read."""

    def robot_motions(self) -> RobotMotions | None:
        """Return a recording, and the predictions before and after as ghosts."""
        from roboopt.sysid._report import predicted_motions  # Slow to import.

        return predicted_motions(self)

    @cached_property
    def forecasts(self) -> Forecasts | None:
        """Errors of open-loop forecasts, as far ahead as the recordings reach.

        None where these are too short, or Ctrl-C came before the model was judged.
        """
        if self.interrupted:
            return None
        for count in range(len(FORECAST_TIMES_S), -1, -1):
            try:
                return self.forecast(FORECAST_TIMES_S[:count])
            except RobooptError:  # A recording is shorter.
                continue
        return None

    def forecast(self, times: Sequence[float] = FORECAST_TIMES_S) -> Forecasts:
        """Compute the errors of open-loop forecasts after `times` [s].

        The recordings are those that were held out, or those of the fit without any.

        Raises:
            RobooptError: if a recording is shorter than the longest of `times`.
        """
        lead = lead_steps(self.model, self.training[0].time_step)
        models = {"fitted": self.model, "URDF": self.before}
        return forecasts(models, self.held_out or self.training, times, lead=lead)

    @cached_property
    def simulations(self) -> Simulations | None:
        """Open-loop simulations of whole recordings, from their starts.

        Of many recordings the first dozen of the fit, and of those held out. None if
        Ctrl-C came before the model was judged.
        """
        if self.interrupted:
            return None
        return simulations(
            {"fitted": self.model, "URDF": self.before},
            self.training[:MAX_RECORDINGS],
            self.held_out[:MAX_RECORDINGS],
            self.model.robot.revolute,
            lead=lead_steps(self.model, self.training[0].time_step),
        )

    @property
    def simulated_names(self) -> list[str]:
        """Return the sources of what was simulated, those of the fit first."""
        names: list[str] = []
        for other in (TESTED, FITTED):
            used = [one.name for one in self.sources if one.use != other]
            names += used[:MAX_RECORDINGS]
        return names

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters with starts, estimates, intervals and verdicts."""
        report, true, model = self.identifiability, self.true_values, self.model
        count = len(model.names)
        unknown, unjudged = [math.nan] * count, ["not judged"] * count
        if report is None or not self.conclusive:
            judged = unknown, unknown, unjudged, unjudged
        else:
            ends = (np.asarray(x).tolist() for x in (report.lower, report.upper))
            judged = *ends, report.verdicts, map(report.sentence, range(count))
        columns = (
            model.names,
            model.units,
            *(np.asarray(one.values()).tolist() for one in (self.before, model)),
            *judged,
            [None] * count if true is None else np.asarray(true).tolist(),
        )
        return tuple(Parameter(*row) for row in zip(*columns, strict=True))

    @property
    def conclusive(self) -> bool:
        """Return whether the fit has not failed, and the model explains the motion."""
        made = self.efforts
        lost = made.failed if made else is_far_off(self.forecasts, self.model)
        return UNRECORDED not in self.suspicions and not lost

    @property
    def interrupted(self) -> bool:
        """Return whether Ctrl-C came before the model was judged."""
        return self.identifiability is None

    @property
    def _combinations(self) -> tuple[Combination, ...]:
        report = self.identifiability
        return report.combinations if report and self.conclusive else ()

    @property
    def _base(self) -> tuple[BaseParameter, ...]:
        """The base parameters, where parameters are known in combinations alone."""
        combined = any(row.verdict == COMBINED for row in self.parameters)
        return self.efforts.base if self.efforts is not None and combined else ()

    def gradients(self) -> dict[str, Explanation]:
        """Return the gradient of the error at the "start" and the "end"."""
        return self.explained

    def summary(self) -> Summary:
        """Return tables of errors and of parameters, and the sentences on them."""
        rows, tables = self.parameters, []
        if self.efforts is not None:
            tables.append(effort_table(self.efforts, self.model))
        if self.forecasts is not None:
            tables.append(forecast_table(self.forecasts, self.model))
        if self.simulations is not None:
            tables.append(simulation_table(self.simulations, self.model))
        if self._base:
            tables.append(base_table(known_first(self._base)[:MAX_LINES]))
        elif self._combinations:
            tables.append(combination_table(self._combinations[:MAX_LINES]))
        shown = [row for row in rows if row.identified or len(rows) <= MAX_ROWS]
        tables += [parameter_table(shown, short=True)] if shown else []
        return Summary(f"Identification of {self.name}", tables, self._sentences())

    def _sentences(self) -> list[str]:
        rows, made, joints = self.parameters, self.efforts, self.model.robot.joint_names
        count = sum(row.identified for row in rows)
        within = sum(row.conclusion() == ZERO_WITHIN for row in rows)
        others = Counter(row.verdict for row in rows if not row.identified)
        trusted, ahead = self.conclusive and not self.suspicions, self.forecasts
        unjudged = self.interrupted or not self.conclusive
        said = [
            *suspicion_sentences(self.suspicions),
            *([] if made is None else effort_sentences(made, joints, trusted)),
            *(lacking_sentences(ahead, self.model) if ahead and made is None else []),
            self._forecast_sentence(),
            *([] if ahead is None else worse_forecasts(ahead, self.model)),
            *([simulation_sentence(whole)] if (whole := self.simulations) else []),
            f"What the recordings tell of the {len(rows)} parameters was not computed: "
            "parameters.csv has their estimates, without intervals."
            if unjudged
            else f"{count} of {len(rows)} parameters are identified by themselves"
            + (f" ({within} with zero within the interval)" if within else "")
            + "".join(
                f", {n} {PLURALS.get(x, x) if n > 1 else x}" for x, n in others.items()
            )
            + ".",
        ]
        if len(rows) > MAX_ROWS and count < len(rows) and not unjudged:
            said.append("The others are in parameters.csv.")
        if self._base:
            said.append(f"{base_sentence(self._base)} base_parameters.csv has all.")
        elif combinations := len(self._combinations):
            said.append(
                f"The data determine {combinations} "
                f"{'combination' if combinations == 1 else 'combinations'} of the "
                "other parameters (base parameters)."
            )
        if judged := [row.covered for row in rows if row.covered is not None]:
            said.append(
                f"The true value lies inside the interval of {sum(judged)} of "
                f"{len(judged)} identified parameters."
            )
        runs = *self.training, *self.held_out
        said += free_swing_sentences(self.model, runs, self._combinations)
        doubtful = made and any(speeds_up(made.base, joint) for joint in joints)
        said += friction_doubts(rows) if trusted and not doubtful else []
        if trusted:
            robots = self.before.robot, self.model.robot
            said += friction_sentences(*robots, rows, self.cutoff)
            said += [] if made is None else missing_sentences(made)
        warnings = grouped(self.findings)
        said += [f"Warning, {finding}" for finding in warnings[:MAX_WARNINGS]]
        if (more := len(warnings) - MAX_WARNINGS) > 0:
            said.append(
                f"{counted(more, 'more warning')}: see the report, under Recordings."
            )
        return [
            *filter(None, said),
            f"The fit stopped: {self.result.message.rstrip('.')}.",
        ]

    def _forecast_sentence(self) -> str:
        made = self.forecasts
        if self.interrupted:
            return "The fitted model was not judged: Ctrl-C or a signal came before."
        if made is None:
            return "The recordings are too short for a forecast."
        if not self.conclusive:
            return ""
        return forecast_sentence(made, self.model.joints, held_out=bool(self.held_out))

    def sections(self, *, video: bool = True) -> Sequence[Section]:
        """Return the sections of the report."""
        from roboopt.sysid._report import sections

        return sections(self)

    def metrics(self) -> dict[str, float]:
        """Return the errors of efforts, forecasts and simulations, held out if any."""
        judged, made = {}, self.efforts
        if made is not None:
            judged["effort error [% of RMS]"] = 100 * made.share(made.fitted)
            if made.unconstrained is not None:
                best = 100 * made.share(made.unconstrained)
                judged["least squares' effort error [% of RMS]"] = best
        if (ahead := self.forecasts) is not None:
            ratio = float(ahead.ratio("URDF", "fitted", self.model.joints)[-1])
            name = f"forecast error after {ahead.seconds[-1]:.3g} s [% of the URDF's]"
            judged[name] = 100 * ratio
        if (whole := self.simulations) is not None:
            followed = whole.followed("fitted")
            judged["simulation follows the recording for [s]"] = followed
            share = whole.share("fitted")
            if np.isfinite(share):  # it overflows where the simulation is lost
                judged["simulation error [% of the motion]"] = 100 * share
        return {**judged, "optimization time [s]": self.result.seconds}

    def record(self) -> dict[str, Any]:
        """Return the choices and numbers of the run."""
        names = self.model.robot.joint_names
        run = {
            "parameters": list(self.model.names),
            "time_step": self.model.time_step,
            "actuated": [names[joint] for joint in self.model.actuated],
            "recordings": list(self.sources),
            "held_out": self.split,
            "error": self.error,
            "cutoff": self.cutoff,
        }
        outcome = ("loss", "reason", "message", "steps", "seconds")
        return {"run": run, "result": {n: getattr(self.result, n) for n in outcome}}

    def write_files(self, folder: Path) -> None:
        """Write model.npz, identified.urdf, history.csv, and tables as CSV files.

        A loaded result writes identified.urdf, a copy of the robot's own with other
        numbers, if it was loaded with `allow=[IdentifyResult]`.
        """
        save(folder / "model.npz", self.model)
        write_history(folder / "history.csv", self.result.history)
        if self._combinations:
            write_combinations(folder / "combinations.csv", self._combinations)
        write_parameters(folder / "parameters.csv", self.parameters)
        if self.efforts is not None:
            write_efforts(folder / "efforts.csv", self.efforts, self.model)
            if base := self.efforts.base:
                write_base_parameters(folder / "base_parameters.csv", base)
        if self.forecasts is not None:
            write_forecasts(folder / "forecasts.csv", self.forecasts, self.model)
        if self.simulations is not None:
            named = folder / "simulations.csv", self.simulated_names
            write_simulations(*named, self.simulations, self.model)
        if self.urdf is not None and self.from_file:
            warnings.warn(
                f"no identified.urdf was written: {self.urdf} is named by a file; if "
                "you trust that, allow it by `load(path, allow=[IdentifyResult])`.",
                stacklevel=3,
            )
        elif self.urdf is not None:
            try:
                path, arguments = folder / "identified.urdf", self.xacro_args
                twin = self.model.twin
                settings = {"xacro_args": arguments, "drive": twin.drive}
                save_urdf(twin.robot, self.urdf, path, **settings)
            except (RobooptError, OSError) as error:
                reason = " ".join(str(error).split())
                warnings.warn(f"no identified.urdf was written: {reason}", stacklevel=3)
