"""The training of a clone: what is minimized, over which samples, and how it went."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.imitation._dagger import DAgger
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.imitation._policy_kinds import (
    TrainingSettings,
    acting_policy,
    fresh_policy,
    kind_for,
    objective_for,
)
from roboopt.losses import FlowMatching, flow_batches
from roboopt.objectives import ActionMismatch
from roboopt.optimize import Result, minimize

DAGGER_SEED_OFFSET = 2_000_003
DAGGER_EPISODES = 5  # per round
HELD_OUT_PERIOD_S = 0.5
MAX_HELD_OUT_FLOW_SAMPLES = 4096


@dataclass(frozen=True)
class TrainingRun:
    """A training that is over."""

    result: Result
    held_out: tuple[tuple[int, float], ...]
    """Steps, and the mismatch of the best policy so far on held-out demonstrations."""
    mismatch: dict[str, float]
    """Of the trained policy, by "training" and "held out"."""


@dataclass(frozen=True)
class Training:
    """A policy, the objective it descends, and the samples."""

    policy: Any
    objective: ActionMismatch
    samples: Demonstrations
    data: Any
    """The data of `minimize`: samples, or a source of batches."""
    batch_size: int | None
    held_out: Any
    """A batch of held-out samples."""
    cut: dict[str, Any]
    """How trajectories are cut into samples: history, chunk, low and high."""
    kind: str
    settings: TrainingSettings
    description: dict[str, str]

    @classmethod
    def of(
        cls, data: DemonstrationSet, env: Any, settings: TrainingSettings
    ) -> "Training":
        """Choose a policy and a loss that fit the demonstrations and the action space.

        Raises:
            RobooptError: if the policy that is asked for does not fit the actions.
        """
        discrete = _discrete(data, env)
        own = settings.policy is not None and not isinstance(settings.policy, str)
        kind = "mlp" if own and not discrete else ""
        kind = kind or kind_for(None if own else settings.policy, discrete)
        cut: dict[str, Any] = {"history": settings.history, "chunk": settings.chunk}
        if not discrete and env is not None:
            cut |= _finite(low=env.action_space.low, high=env.action_space.high)
        samples, held_out, source = data.samples(**cut)
        if own:
            policy, words = settings.policy, type(settings.policy).__name__
        else:
            angles = settings.angles or getattr(
                getattr(env, "unwrapped", None), "angles", ()
            )
            known = dataclasses.replace(settings, angles=tuple(angles))
            policy, words = fresh_policy(kind, samples, env, known)
        objective = objective_for(kind, settings.loss, samples)
        batch_size = min(settings.batch_size, len(samples))
        count = len(samples) if source is None else len(source)
        description = {
            "policy": words,
            "input": f"the last {settings.history} observations"
            if settings.history > 1
            else "the last observation",
            "loss": type(objective.loss).__name__,
            "samples": f"{count} for training, {len(held_out)} held out by episode",
        }
        if settings.chunk is not None:
            description["chunk"] = f"{settings.chunk} actions predicted at once"
        made = cls(
            policy, objective, samples, samples if source is None else source,
            batch_size, held_out, cut, kind, settings, description,
        )  # fmt: skip
        if not isinstance(objective.loss, FlowMatching):
            return made
        if source is not None:
            raise RobooptError(
                "`policy` 'flow' needs demonstrations that fit in memory: choose 'gmm'."
            )
        draw = flow_batches(held_out, MAX_HELD_OUT_FLOW_SAMPLES)
        return dataclasses.replace(
            made,
            data=flow_batches(samples, batch_size),
            batch_size=None,
            held_out=draw(policy, jax.random.key(0)),
        )

    def acting(self, model: Any) -> Any:
        """Return the policy that acts, of the model that was trained."""
        settings = self.settings
        size = self.samples.observations.shape[-1] // settings.history
        return acting_policy(model, self.kind, settings.history, settings.chunk, size)

    def with_dagger(
        self,
        env: Any,
        demonstrator: Any,
        data: DemonstrationSet,
        *,
        rounds: int,
        steps: int,
        max_steps: int | None,
    ) -> "Training":
        """Return the training in which the demonstrator labels what the clone meets.

        Args:
            env: the environment in which the clone acts.
            demonstrator: a policy.
            data: the first demonstrations.
            rounds: rounds in which the clone acts.
            steps: gradient steps in all.
            max_steps: episode length limit.

        Raises:
            RobooptError: if the demonstrations do not fit in memory, or the policy is a
                flow.
        """
        if self.batch_size is None or data.folder is not None:
            raise RobooptError(
                "`dagger` needs demonstrations that fit in memory and a `policy` other "
                "than 'flow'."
            )
        source = DAgger(
            env,
            demonstrator,
            data.training,
            episodes=DAGGER_EPISODES,
            steps=max(1, steps // (rounds + 1)),
            seed=self.settings.seed + DAGGER_SEED_OFFSET,
            wrap=self.acting,
            max_steps=max_steps,
            **self.cut,
        )
        return dataclasses.replace(self, data=source)

    def run(self, steps: int, *, seconds: float, progress: bool) -> TrainingRun:
        """Descend on the mismatch; note the mismatch on held-out samples on the way.

        Raises:
            KeyboardInterrupt: if the descent was interrupted before its first step.
        """
        measure = eqx.filter_jit(self.objective)
        curve = [(0, float(measure(self.policy, self.held_out)))]
        last = 0.0

        def watch(status: Any) -> None:
            nonlocal last
            if status.seconds - last > HELD_OUT_PERIOD_S:
                curve.append((status.step, float(measure(status.model, self.held_out))))
                last = status.seconds

        result = minimize(
            self.objective,
            self.policy,
            self.data,
            steps=steps,
            batch_size=self.batch_size,
            seconds=seconds,
            seed=self.settings.seed,
            callback=watch,
            progress=progress,
        )
        if not len(result.history["loss"]):
            raise KeyboardInterrupt
        batch = self.samples
        if self.batch_size is None:
            batch = self.data(self.policy, jax.random.key(1))
        mismatch = {
            "training": float(measure(result.model, batch)),
            "held out": float(measure(result.model, self.held_out)),
        }
        curve.append((result.steps, mismatch["held out"]))
        return TrainingRun(result, tuple(curve), mismatch)


def _discrete(data: DemonstrationSet, env: Any) -> bool:
    if env is not None:
        return not hasattr(env.action_space, "low")
    return np.asarray(data.training[0].actions).dtype.kind in "iu"


def _finite(**limits: np.ndarray) -> dict[str, np.ndarray]:
    return {name: x for name, x in limits.items() if np.isfinite(x).any()}
