"""The viewer while a robot learns: `watch=` of the verbs, and `--watch`."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import jax.numpy as jnp
import numpy as np

from roboopt._errors import MissingPackage, RobooptError, require_positive
from roboopt._programs import called
from roboopt._progress import say
from roboopt.optimize import NOTES, Log
from roboopt.rollouts import twin_rollout
from roboopt.view._motions import RobotMotions
from roboopt.view._scene import env_scene
from roboopt.view._viewer import PORT, Viewer

MAX_SHARE = 0.05  # of the time, which the motions may take
MAX_POINTS = 500  # of a learning curve
COUNTS = "timesteps", "episodes", "evaluated_episodes"
HIDDEN = (*NOTES, *COUNTS)  # of what a log is told
WATCHED = (
    "Environments of roboopt have one; one of your own has it with an attribute urdf "
    "and a twin in JAX."
)
COLORS = {"before": "#d9772b", "after": "#2f80c9"}


class Watch:
    """Shows the robot in the browser while `tune`, `reinforce` or `clone` learns.

    Every few seconds the policy of the moment runs through the twin from the first
    starts, and the page shows its motions over those of the policy at the start, with
    the curves of the descent. The result is the same to the last bit.
    """

    def __init__(self, port: int = PORT, *, period: float = 5.0, starts: int = 4):
        """Prepare to watch; the server begins with the learning.

        It goes on serving while results are tested and the report is written, until
        `close`, another learning, or the end of the program.

        Args:
            port: of localhost, or the next one that is free.
            period: between two motions [s], at least; longer where they take long.
            starts: motions at a time.

        Raises:
            MissingPackage: if viser is not installed.
            RobooptError: if `period` is not positive.
        """
        if find_spec("viser") is None:
            raise MissingPackage("watching needs viser: pip install 'roboopt[view]'")
        require_positive(period=period)
        self.port, self.period, self.starts = port, period, starts
        self.viewer: Viewer | None = None
        self._curves: dict[str, list[tuple[int, float]]] = {}

    @contextmanager
    def open(
        self, env: Any, starts: Any, policy: Callable[..., Any], title: str
    ) -> Iterator[None]:
        """Serve, and show motions within the block; only an error ends the server.

        Args:
            env: the environment, with a robot and a twin.
            starts: observations to start at, of which the first are used.
            policy: at the start, within the limits of the actions.
            title: of the page.

        Raises:
            RobooptError: if the environment has no robot to show, or no twin.
        """
        scene = env_scene(env)
        if scene is None:
            raise RobooptError(
                "`watch` must be left out for an environment without a robot of "
                f"roboopt, got {env}. {WATCHED}"
            )
        self._rollout = twin_rollout(env, joint_limits=True).require()
        self._from = jnp.asarray(starts)[: self.starts]
        self._goals = [scene.goal(np.asarray(row)) for row in self._from]
        self._curves.clear()
        self.close()
        self.viewer = Viewer(scene, port=self.port, title=title, colors=COLORS)
        taken = self.viewer.server.get_port() != self.port
        said = f", since port {self.port} is taken" if taken else ""
        say(f"watch at {self.viewer.address}{said}")
        try:
            self._before = self._run(policy)
            self._show(self._before)
            self._pause, self._last = self.period, time.monotonic()
            self._latest = None
            yield
            if self.viewer is not None and self._latest is not None:
                self._refresh()
        except BaseException:
            self.close()
            raise
        say(f"the learning is over; {self.viewer.address} stays until the program ends")

    def close(self) -> None:
        """End the server; closing twice is fine."""
        if self.viewer is not None:
            self.viewer.close()
            self.viewer = None

    def update(self, policy: Callable[..., Any]) -> None:
        """Show the motions of a policy, if it is time."""
        began, self._latest = time.monotonic(), policy
        if self.viewer is None or began - self._last < self._pause:
            return
        self._refresh()
        self._last = time.monotonic()
        self._pause = max(self.period, (self._last - began) / MAX_SHARE)

    def _refresh(self) -> None:
        """Show the motions of the latest policy, and the curves."""
        assert self.viewer is not None
        self._show(self._run(self._latest))
        for name, points in self._curves.items():
            shown = points[:: 1 + len(points) // MAX_POINTS]
            self.viewer.show_curves({name: shown})

    def log(self, log: Log | None, titles: Mapping[str, str] | None = None) -> Log:
        """Return a `log` that notes the curves, and tells another one.

        Args:
            log: the other one.
            titles: of the curves by name, with units; by default the names.
        """

        def noted(step: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                if name not in HIDDEN and np.isfinite(value):
                    title = (titles or {}).get(name, name)
                    self._curves.setdefault(title, []).append((step, value))
            if log is not None:
                log(step, metrics)

        return noted

    def _run(self, policy: Any) -> list[np.ndarray]:
        """Return the joints' positions from each start."""
        assert self.viewer is not None
        made = called(self._rollout, policy, self._from)
        self._step = float(made.time_step)
        count = len(self.viewer.scene.robot.joint_names)
        return list(np.asarray(made.observations)[..., :count])

    def _show(self, after: list[np.ndarray]) -> None:
        assert self.viewer is not None
        runs = {"before": self._before, "after": after}
        scene = self.viewer.scene
        self.viewer.show(RobotMotions(scene, runs, self._step, self._goals))
