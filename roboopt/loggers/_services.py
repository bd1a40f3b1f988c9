"""Services that keep runs: Weights & Biases, and MLflow."""

import math
import re
import threading
import time
from pathlib import Path
from typing import Any

from roboopt.loggers._logger import Logger, package

PERIOD_S = 2.0  # between requests
MAX_POINTS, MAX_PARAMETERS = 1000, 100  # of a request to MLflow
MAX_TEXT = 500  # characters of a parameter of MLflow
REFUSED = re.compile(r"[^\w\-. :/]")
STATUSES = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
EXIT_CODES = {"finished": 0, "interrupted": 255, "failed": 1}
"""As those that wandb itself gives a run: 255 after Ctrl-C."""


class WandB(Logger):
    """A run of Weights & Biases."""

    target = "Weights & Biases"

    def __init__(self, every: int = 1, **init: Any):
        """Begin a run by `wandb.init(**init)`, or go on with the one that is active.

        Raises:
            RobooptError: if wandb is not installed, or `every` is below 1.
        """
        super().__init__(every)
        self._wandb = package("wandb", "wandb")
        self.faults = OSError, self._wandb.Error
        own = self._wandb.run is None
        self._run = self._wandb.init(**init) if own else self._wandb.run
        self._own = own

    @classmethod
    def for_run(cls, folder: Path) -> "WandB":
        """Begin a run of the same name in the project "roboopt"."""
        return cls(project="roboopt", name=folder.stem)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Send the metrics."""
        self._run.log(metrics, step=step)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Add settings to the run's config."""
        self._run.config.update(settings, allow_val_change=True)

    def write_result(self, metrics: dict[str, float]) -> None:
        """Add the metrics to the run's summary, under "result/"."""
        self._run.summary.update({f"result/{name}": x for name, x in metrics.items()})

    def close(self) -> None:
        """End the run if it was begun here, as failed where it did not finish."""
        if self._own:
            with self.kept("the last steps"):
                self._run.finish(exit_code=EXIT_CODES[self.outcome])


class MLflow(Logger):
    """A run of MLflow, on the server that MLFLOW_TRACKING_URI names.

    Points are sent every few seconds, each with the time when it was told: one request
    a step would take longer than most steps.
    """

    def __init__(self, every: int = 1, **start_run: Any):
        """Begin a run by `mlflow.start_run(**start_run)`, or go on with the active one.

        Raises:
            RobooptError: if mlflow is not installed, or `every` is below 1.
        """
        super().__init__(every)
        self._mlflow = package("mlflow", "mlflow")
        self.faults = OSError, self._mlflow.MlflowException
        self.target = f"MLflow at {self._mlflow.get_tracking_uri()}"
        active = self._mlflow.active_run()
        self._open = active is None  # here, and not closed yet
        run = active or self._mlflow.start_run(**start_run)
        self._run, self._thread = run.info.run_id, threading.get_ident()
        self._client = self._mlflow.MlflowClient()
        self._points, self._sent, self._last = [], -math.inf, 0

    @classmethod
    def for_run(cls, folder: Path) -> "MLflow":
        """Begin a run of the same name."""
        return cls(run_name=folder.stem)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Note the metrics, and send what was noted, every few seconds."""
        point, now, self._last = self._mlflow.entities.Metric, time.time(), step
        self._points += [
            point(_name(name), value, int(1e3 * now), step)
            for name, value in metrics.items()
        ]
        if time.monotonic() - self._sent > PERIOD_S:
            self._send()

    def _send(self) -> None:
        """Send the points that are left, in requests as large as MLflow takes."""
        points, self._points = self._points, []
        for k in range(0, len(points), MAX_POINTS):
            self._client.log_batch(self._run, metrics=points[k : k + MAX_POINTS])
        self._sent = time.monotonic()

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Add settings to the parameters, of which none can be changed later."""
        known = self._client.get_run(self._run).data.params
        named = {_name(k): str(v)[:MAX_TEXT] for k, v in settings.items()}
        new = [
            self._mlflow.entities.Param(name, value)
            for name, value in named.items()
            if name not in known
        ]
        for k in range(0, len(new), MAX_PARAMETERS):
            self._client.log_batch(self._run, params=new[k : k + MAX_PARAMETERS])

    def write_result(self, metrics: dict[str, float]) -> None:
        """Add the metrics as such of the last step, under "result/"."""
        self.write(self._last, {f"result/{name}": x for name, x in metrics.items()})

    def close(self) -> None:
        """Send what is left; end the run if it was begun here, with its outcome."""
        with self.kept("the last steps"):
            if not self.failed:
                self._send()
        if not self._open:
            return
        self._open, status = False, STATUSES[self.outcome]
        active = self._mlflow.active_run()
        with self.kept("the end of the run"):
            if active is not None and active.info.run_id == self._run:
                self._mlflow.end_run(status)
            elif threading.get_ident() != self._thread:  # where none is active
                self._client.set_terminated(self._run, status)


def _name(name: str) -> str:
    """Return a name in the characters that MLflow takes: of "success [%]" the words."""
    for sign, word in (("%", "percent"), ("·", " ")):
        name = name.replace(sign, word)
    return " ".join(REFUSED.sub(" ", name).split())
