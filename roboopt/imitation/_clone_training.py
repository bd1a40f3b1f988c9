"""The training of a clone: what is minimized, over which samples, and how it went."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._deadline import require_a_step
from roboopt._errors import RobooptError
from roboopt._programs import called
from roboopt.data import Demonstrations, Trajectory
from roboopt.diagnose import Explanation, explain
from roboopt.imitation._dagger import DAgger
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.imitation._policy_kinds import (
    action_spread,
    fresh_policy,
    kind_for,
    objective_for,
    with_memory,
)
from roboopt.losses import FlowMatching, flow_batches
from roboopt.objectives import ActionMismatch
from roboopt.optimize import Result, Status, minimize
from roboopt.policies import SampleActions

DAGGER_SEED_OFFSET = 2_000_003
DAGGER_EPISODES = 5  # per round
HELD_OUT_PERIOD_S = 0.5
MAX_HELD_OUT_FLOW_SAMPLES = 4096
EXPLAINED_SAMPLES = 1024
MULTIMODAL = ("flow", "gmm", "categorical")


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
    seed: int
    description: dict[str, str]

    @classmethod
    def of(
        cls,
        data: DemonstrationSet,
        env: Any,
        policy: Any,
        loss: Any,
        *,
        history: int,
        chunk: int | None,
        batch_size: int,
        seed: int,
        **network: Any,
    ) -> "Training":
        """Choose a policy and a loss that fit the demonstrations and the actions."""
        if env is None:
            discrete = np.asarray(data.training[0].actions).dtype.kind in "iu"
        else:
            discrete = not hasattr(env.action_space, "low")
        own = policy is not None and not isinstance(policy, str)
        kind = kind_for(None if own else policy, discrete)
        cut: dict[str, Any] = {"history": history, "chunk": chunk}
        if not discrete and env is not None:
            limits = {"low": env.action_space.low, "high": env.action_space.high}
            cut |= {name: x for name, x in limits.items() if np.isfinite(x).any()}
        samples, held_out, source = data.samples(**cut)
        words = type(policy).__name__
        if not own:
            network |= {"history": history, "chunk": chunk, "seed": seed}
            policy, words = fresh_policy(kind, samples, env, **network)
        objective = objective_for(kind, loss, samples)
        batch_size = min(batch_size, len(samples))
        count = len(samples) if source is None else len(source)
        seen = f"{history} observations" if history > 1 else "observation"
        description = {
            "policy": words,
            "input": f"the last {seen}",
            "loss": type(objective.loss).__name__,
            "samples": f"{count} for training, {len(held_out)} held out {data.split}",
        }
        if chunk is not None:
            description["chunk"] = f"{chunk} actions predicted at once"
        made = cls(
            policy, objective, samples, samples if source is None else source,
            batch_size, held_out, cut, kind, seed, description,
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
        history, chunk = self.cut["history"], self.cut["chunk"]
        size = self.samples.observations.shape[-1] // history
        model = SampleActions(model) if self.kind == "flow" else model
        averages = self.kind not in MULTIMODAL
        return with_memory(model, size, history, chunk, averages=averages)

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
        """Return the training in which the demonstrator labels what the clone meets."""
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
            seed=self.seed + DAGGER_SEED_OFFSET,
            wrap=self.acting,
            max_steps=max_steps,
            **self.cut,
        )
        return dataclasses.replace(self, data=source)

    @property
    def discrete(self) -> bool:
        """Return whether the actions are choices."""
        return np.asarray(self.samples.actions).dtype.kind in "iu"

    def errors(
        self, model: Any, episodes: Sequence[Trajectory]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return how far the actions of `model` are from the demonstrated ones.

        Returns:
            Root mean squares by action (act,), and over time in each episode, in units
            of the actions' standard deviations; of choices, how many differ.
        """
        predict = jax.jit(jax.vmap(model))
        scale = action_spread(self.samples)
        low, high = (self.cut.get(name) for name in ("low", "high"))
        gaps = []
        for episode in episodes:
            own = Demonstrations.from_trajectories([episode], **self.cut)
            made = np.asarray(predict(jnp.asarray(own.observations, float)))
            if self.cut["chunk"] is not None:
                made = made[:, 0]
            actions = np.asarray(episode.actions)
            if self.discrete:
                gaps.append((made != actions).astype(float))
                continue
            if low is not None or high is not None:
                made = np.clip(made, low, high)
            gaps.append(made - actions)
        joined = np.concatenate(gaps)
        if self.discrete:
            return joined.mean(0), tuple(gap.mean(1) for gap in gaps)
        over_time = tuple(np.sqrt(((gap / scale) ** 2).mean(1)) for gap in gaps)
        return np.sqrt((joined**2).mean(0)), over_time

    def explained(self, model: Any) -> dict[str, Explanation]:
        """Explain the gradient at the start and at `model`, on samples."""
        batch = self.batch()
        count = len(jax.tree.leaves(batch)[0])
        rows = np.linspace(0, count - 1, min(count, EXPLAINED_SAMPLES)).astype(int)
        batch = jax.tree.map(lambda x: jnp.asarray(x)[rows], batch)
        ends = {"start": self.policy, "end": model}
        return {when: explain(self.objective, m, batch) for when, m in ends.items()}

    def batch(self) -> Any:
        """Return a batch of training samples."""
        if self.batch_size is None:
            return self.data(self.policy, jax.random.key(1))
        return self.samples

    def run(
        self, steps: int, *, seconds: float, progress: bool, checkpoint: Any = None
    ) -> tuple[Result, tuple[tuple[int, float], ...], dict[str, float]]:
        """Descend on the mismatch.

        Returns:
            The descent; steps, and the mismatch of the best policy so far on held-out
            demonstrations; and the mismatch of the trained policy, by "training" and
            "held out".

        Raises:
            KeyboardInterrupt: if the descent was interrupted before its first step.
            RobooptError: if there is no time for a step.
        """
        measure = functools.partial(called, self.objective)
        watch = HeldOut(measure, self.policy, self.held_out)
        result = minimize(
            self.objective,
            self.policy,
            self.data,
            steps=steps,
            batch_size=self.batch_size,
            seconds=seconds,
            seed=self.seed,
            callback=watch,
            progress=progress,
            checkpoint=checkpoint,
        )
        require_a_step(result, seconds)
        if not len(result.history["loss"]):
            raise KeyboardInterrupt
        mismatch = {
            "training": float(measure(result.model, self.batch())),
            "held out": float(measure(result.model, self.held_out)),
        }
        curve = *watch.curve, (result.steps, mismatch["held out"])
        return result, curve, mismatch


class HeldOut:
    """Follows the mismatch of the best policy so far on held-out demonstrations."""

    def __init__(self, measure: Any, policy: Any, batch: Any):
        self._measure, self._batch, self._last = measure, batch, 0.0
        self.curve = [(0, float(measure(policy, batch)))]

    def __call__(self, status: Status) -> None:
        if status.seconds - self._last > HELD_OUT_PERIOD_S:
            found = float(self._measure(status.model, self._batch))
            self.curve.append((status.step, found))
            self._last = status.seconds

    def state(self) -> Any:
        return {"curve": np.array(self.curve, float)}

    def restore(self, state: Any) -> None:
        self.curve = [(int(step), float(value)) for step, value in state["curve"]]
