"""What came of learning from reward, as tables and sentences."""

from dataclasses import dataclass
from typing import Any

import roboopt as ro
from roboopt.cli._clone_tables import numbers, row
from roboopt.diagnose import HorizonNorms

START, LEARNED = "started from", "learned"


@dataclass(frozen=True)
class Outcome:
    """All that was measured of what was learned."""

    learned: ro.rl.ReinforceResult
    judged: dict[str, ro.rollouts.Evaluation]
    """"learned", and where it did not begin with random weights "started from"; of the
    same starts."""
    norms: HorizonNorms | None
    """Of the analytic gradient by its horizon, at what it started from."""

    def rows(self) -> list[list[str]]:
        """Return a row for each who acted."""
        return [row(name, found) for name, found in self.judged.items()]

    def sentences(self) -> list[str]:
        """Return what came out; the first sentence says it all."""
        learned = self.learned
        found = self.judged[LEARNED]
        episodes, mean = len(found.returns), found.mean_return
        said = f"The policy's mean return over {episodes} fresh episodes is "
        said += f"{_number(mean.value)} ({_number(mean.low)} to {_number(mean.high)})"
        if found.successes is not None:
            said += f"; it succeeds in {int(found.successes.sum())}"
        other = self.judged.get(START)
        if other is not None:
            said += f". It started from {_number(other.mean_return.value)}"
            if other.successes is not None:
                said += f", succeeding in {int(other.successes.sum())}"
        stopped = f"It stopped: {learned.message.rstrip('.')}, {learned.timesteps} "
        stopped += "steps of the environment in all."
        return [f"{said}.", *self._worse(), stopped, *self.health()]

    def _worse(self) -> list[str]:
        other = self.judged.get(START)
        if other is None or self.judged[LEARNED].mean_return.value >= (
            other.mean_return.low
        ):
            return []
        return ["It earns less than what it started from: keep that one."]

    def health(self) -> list[str]:
        """Return what was wrong with the gradients, a sentence each."""
        said = [finding.message for finding in self.learned.health]
        norms = self.norms
        if norms is not None and norms.horizons[-1] == self.learned.horizon:
            sentence = norms.sentence
            through = f"through {norms.horizons[-1]} steps is noise"
            if sentence is not None and not any(through in text for text in said):
                said.append(sentence)
        return [f"{text[0].upper()}{text[1:]}." for text in said]

    def numbers(self) -> dict[str, Any]:
        """Return the figures, for the settings."""
        return {
            "judged": numbers(self.judged),
            "timesteps": self.learned.timesteps,
            "reason": self.learned.reason,
            "health": self.health(),
        }


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
