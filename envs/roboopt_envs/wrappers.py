"""A controller slower than the simulation, in any Gymnasium environment."""

from typing import Any

import gymnasium
import numpy as np

from roboopt._errors import RobooptError, require_positive, whole_steps


class HoldActions(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Hold an action for a control period: several steps of the environment are one.

    Rewards are summed over these steps, and an episode that ends within them ends the
    control period. Where the environment says the `effort` in its `info`, it is their
    mean, and `substep_observations` and `substep_efforts` are those of each, of which
    energies are computed.

    Attributes:
        control_period: of a step [s].
        substeps: steps of the environment in a control period.
    """

    def __init__(self, env: Any, control_period: float, time_step: float | None = None):
        """Wrap `env`.

        Args:
            env: an environment, such as of `gymnasium.make`.
            control_period: for which an action is held [s], a whole number of steps.
            time_step: of a step of `env` [s]; if None, what `env` says by its
                `control_period`, `time_step`, `dt` or `tau`, or its frame rate.

        Raises:
            RobooptError: if a time is not positive, or not known, or the period is no
                whole number of steps.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, control_period=control_period, time_step=time_step
        )
        super().__init__(env)
        step = _time_step(env) if time_step is None else time_step
        if time_step is None and not step:
            raise RobooptError(
                "`time_step` must be given: none of `control_period`, `time_step`, "
                f"`dt`, `tau` and `metadata['render_fps']` of {env.unwrapped} says it."
            )
        require_positive(time_step=step)
        self.substeps = whole_steps(control_period, step)
        self.control_period = self.substeps * step

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one control period with `action`."""
        total, seen, efforts = 0.0, [], []
        observation, terminated, truncated, info = None, False, False, {}
        for _ in range(self.substeps):
            answer = self.env.step(action)
            observation, reward, terminated, truncated, info = answer
            total += float(reward)
            seen.append(observation)
            efforts.append(info.get("effort"))
            if terminated or truncated:
                break
        if self.substeps > 1 and not any(effort is None for effort in efforts):
            info = {**info, **self._within(seen, efforts)}
        return observation, total, terminated, truncated, info

    def _within(self, seen: list[Any], efforts: list[Any]) -> dict[str, np.ndarray]:
        """Return what happened at each step, at rest after the end of an episode."""
        missing = self.substeps - len(seen)
        rest = [np.zeros_like(np.asarray(efforts[-1], float))] * missing
        return {
            "effort": np.mean(efforts, 0),
            "substep_observations": np.array(seen + seen[-1:] * missing),
            "substep_efforts": np.array([*efforts, *rest]),
        }


def make_held(name: str, control_period: float, **options: Any) -> HoldActions:
    """Make the environment of a Gymnasium id with actions that are held [s]."""
    return HoldActions(gymnasium.make(name, **options), control_period)


def _time_step(env: Any) -> float:
    """Return the duration of a step of an environment [s], 0 where nothing says so."""
    inner = env.unwrapped
    while env is not inner:
        if isinstance(env, HoldActions):
            return env.control_period
        env = env.env
    for name in ("control_period", "time_step", "dt", "tau"):
        step = getattr(inner, name, None)
        # An integer `time_step` is in many environments a counter of steps.
        if isinstance(step, float) and 0 < step < float("inf"):
            return float(step)
    rate = (getattr(inner, "metadata", None) or {}).get("render_fps")
    return 1.0 / rate if rate else 0.0
