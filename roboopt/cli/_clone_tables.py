"""What came of cloning, as tables and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro
from roboopt.cli._clone_data import Data
from roboopt.cli._clone_recipe import Recipe
from roboopt.data import Trajectory

HEADER = ("", "success", "95 % interval", "return", "95 % interval")
NEAR = 0.03  # of success: as good as the demonstrator


@dataclass(frozen=True)
class Errors:
    """How far the clone is from held-out demonstrations."""

    by_action: np.ndarray
    """(act,): root mean square, in the actions' units; of choices the share of others.
    """
    over_time: list[np.ndarray]
    """By episode, (T,): root mean square over axes, over the actions' spread;
    of choices whether another was made."""
    choices: bool


@dataclass(frozen=True)
class Outcome:
    """All that was measured of a clone."""

    judged: dict[str, Any]
    """By name, `Evaluation`s of the same starts."""
    recorded: Sequence[Trajectory] | None
    """The demonstrations, where their demonstrator is not there to act."""
    demonstrator: str
    mismatch: dict[str, float]
    errors: Errors
    message: str

    def rows(self) -> list[list[str]]:
        """Return a row for each who acted."""
        rows = [row(name, found) for name, found in self.judged.items()]
        if self.recorded is not None and _rewarded(self.recorded):
            rows.insert(
                0,
                row(
                    "demonstrations",
                    ro.rollouts.Evaluation.of(Trajectory.from_episodes(self.recorded)),
                ),
            )
        return rows

    def sentences(self) -> list[str]:
        """Return what came out; the first sentence says it all."""
        found = self.judged["clone"]
        episodes, rate, mean = len(found.returns), found.success_rate, found.mean_return
        if rate is not None:
            done = int(found.successes.sum())
            said = f"The clone succeeds in {done} of {episodes} episodes"
        else:
            said = f"The clone's mean return over {episodes} episodes is "
            said += f"{mean.value:.4g} ({mean.low:.4g} to {mean.high:.4g})"
        other = self.judged.get("demonstrator")
        if other is not None:
            if rate is not None:
                said += "; the demonstrator, from the same starts, in "
                said += f"{int(other.successes.sum())}."
            else:
                said += "; the demonstrator's, from the same starts, "
                said += f"{other.mean_return.value:.4g}."
        else:
            said += "."
        mismatch = self.mismatch
        sentences = [
            said,
            f"Its mismatch is {mismatch['held out']:.4g} on demonstrations held out "
            f"and {mismatch['training']:.4g} on those it learned from.",
        ]
        if self._worse():
            sentences.append(
                "It acts worse than it was shown. Where it goes, nobody has been: "
                "--dagger asks the demonstrator there, and `roboopt collect --noise` "
                "shows how to come back."
            )
        sentences.append(f"The training stopped: {self.message.rstrip('.')}.")
        return sentences

    def _worse(self) -> bool:
        own, other = self.judged["clone"], self.judged.get("demonstrator")
        if other is None:
            return False
        if own.success_rate is not None:
            return own.success_rate.value < other.success_rate.value - NEAR
        return own.mean_return.high < other.mean_return.low

    def numbers(self) -> dict[str, Any]:
        """Return the figures, for the settings."""
        return {
            "judged": numbers(self.judged),
            "mismatch": self.mismatch,
            "held_out_error_by_action": self.errors.by_action,
        }


def held_out_errors(model: Any, plan: Recipe, found: Data) -> Errors:
    """Return how far the policy's actions are from those held out."""
    predict = jax.jit(jax.vmap(model))
    spread = np.asarray(plan.samples.actions)
    spread = spread.reshape(-1, spread.shape[-1])
    choices = spread.dtype.kind in "iu"
    scale = spread.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    gaps = []
    for run in found.held_out:
        own = ro.data.Demonstrations.from_trajectories([run], **plan.cut)
        made = np.asarray(predict(jnp.asarray(own.observations, float)))
        if plan.cut["chunk"] is not None:
            made = made[:, 0]
        known = np.asarray(run.actions)
        if choices:
            gaps.append((made != known).astype(float))
            continue
        limits = own.low, own.high
        low, high = (
            None if x is None else x.reshape(len(known), -1, known.shape[-1])[:, 0]
            for x in limits
        )
        if low is not None or high is not None:
            made = np.clip(made, low, high)
        gaps.append(made - known)
    joined = np.concatenate(gaps)
    by_action = joined.mean(0) if choices else np.sqrt((joined**2).mean(0))
    over_time = [
        g.mean(1) if choices else np.sqrt(((g / scale) ** 2).mean(1)) for g in gaps
    ]
    return Errors(by_action, over_time, choices)


def numbers(judged: dict[str, ro.rollouts.Evaluation]) -> dict[str, Any]:
    """Return the figures of each, for the settings."""
    return {
        name: {
            "episodes": len(found.returns),
            "success_rate": found.success_rate,
            "mean_return": found.mean_return,
        }
        for name, found in judged.items()
    }


def row(name: str, found: Any) -> list[str]:
    """Return the cells of an `Evaluation`, under `HEADER`."""
    rate, mean = found.success_rate, found.mean_return
    cells = ["–", "–"]
    if rate is not None:
        share = (f"{100 * value:.0f}" for value in rate)
        value, low, high = share
        cells = [f"{value} %", f"{low} to {high} %"]
    return [
        name,
        *cells,
        f"{mean.value:.4g}".replace("-", "−"),
        f"{mean.low:.4g} to {mean.high:.4g}".replace("-", "−"),
    ]


def _rewarded(episodes: Sequence[Trajectory]) -> bool:
    return all(run.rewards is not None for run in episodes)
