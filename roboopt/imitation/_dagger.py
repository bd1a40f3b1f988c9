"""DAgger: the demonstrator labels the observations that the clone itself meets.

A clone that errs meets observations that no demonstration shows, and errs the more:
over T steps the cost grows as T². If it is trained on the demonstrator's actions where
the clone itself has been, the cost grows as T (Ross, Gordon and Bagnell, 2011, A
reduction of imitation learning and structured prediction to no-regret online learning):

    D₀ = demonstrations,   D_k = D_{k−1} ∪ {(o, π*(o)) : o met by the clone π_k}

with their β equal to 1 for the demonstrations and 0 from then on.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from roboopt._errors import require_at_least
from roboopt.data import Demonstrations, Trajectory
from roboopt.imitation._policy_kinds import with_memory
from roboopt.rollouts import Evaluation, evaluate

MIN_SAMPLES = 10_000
SAMPLES_PER_DEMONSTRATED = 4


class DAgger:
    """A source of batches for `minimize` that grows by what the clone meets.

    `minimize(objective, policy, DAgger(env, demonstrator, demonstrations))` trains on
    the demonstrations for `steps` steps; then the best clone so far acts in `env`, and
    the next steps use all samples so far. Each block is a fresh random draw in which
    the numbers of times that any two samples occur differ by one at most.
    """

    drifts: bool = True
    """Losses on different blocks cannot be compared: the data come from the clone."""
    steps: int
    """Optimizer steps on one block."""
    rounds: list[Evaluation]
    """The evaluation of each clone that acted, with the demonstrator's actions; after
    `restore` of those that have acted since."""

    def __init__(
        self,
        env: Any,
        demonstrator: Any,
        demonstrations: Sequence[Trajectory] | Trajectory,
        *,
        episodes: int = 5,
        steps: int = 500,
        seed: int = 0,
        samples: int | None = None,
        history: int = 1,
        chunk: int | None = None,
        low: Any = None,
        high: Any = None,
        wrap: Callable[[Any], Any] | None = None,
        max_steps: int | None = None,
        progress: Callable[[int], object] | None = None,
    ):
        """Keep the demonstrations; nothing acts yet.

        Args:
            env: as in `collect`, with observations and actions like those of the
                demonstrations.
            demonstrator: a policy that labels each observation that a clone meets.
            demonstrations: at least one.
            episodes: of a clone before each block but the first.
            steps: of the optimizer on one block.
            seed: of the episodes and of the samples drawn.
            samples: in every block; if None, 10 000 or four times those demonstrated,
                whichever is more.
            history: as in `Demonstrations.from_trajectories`, like the next three.
            chunk: actions a sample.
            low: the lower limits of the demonstrator's actuators.
            high: the upper limits.
            wrap: builds the acting policy from the clone, for example
                `roboopt.policies.SampleActions`; if None the clone itself acts, in
                `ObservationHistory` and `ActionChunking` where `history` or `chunk` ask
                for them.
            max_steps: as in `collect`.
            progress: called with the number of episodes done in a round, after each.

        Raises:
            RobooptError: if an argument breaks its rule, or the demonstrations do not
                fit `history`, `chunk`, `low` and `high`.
        """
        require_at_least(1, episodes=episodes, steps=steps, samples=samples)
        require_at_least(0, seed=seed)
        self.steps, self.rounds, self._seed, self._begun = steps, [], seed, False
        self._acted = 0
        self._wrap = self._acting if wrap is None else wrap
        self._act = {"episodes": episodes, "max_steps": max_steps, "progress": progress}
        self._act |= {"env": env, "label": demonstrator}
        self._cut = {"history": history, "chunk": chunk, "low": low, "high": high}
        self._known = Demonstrations.from_trajectories(demonstrations, **self._cut)
        self._first = self._known
        self._samples = samples or max(
            MIN_SAMPLES, SAMPLES_PER_DEMONSTRATED * len(self._known)
        )

    def __len__(self) -> int:
        """Return how many samples there are by now, in all."""
        return len(self._known)

    def next(self, model: Any, key: Any) -> Demonstrations:
        """Let `model` act, except the first time, and return samples of all so far.

        Raises:
            RobooptError: as `collect`.
        """
        if self._begun:
            self._add(model)
        self._begun = True
        return self.repeat()

    def repeat(self) -> Demonstrations:
        """Return the last block once more."""
        generator = np.random.default_rng([self._seed, 1, self._acted])
        count = len(self._known)
        passes = -(-self._samples // count)
        rows = np.concatenate([generator.permutation(count) for _ in range(passes)])
        return jax.tree.map(lambda x: x[rows[: self._samples]], self._known)

    def state(self) -> dict[str, Any]:
        """Return the samples so far, for checkpoints."""
        return {"samples": self._known, "rounds": np.asarray(self._acted)}

    def restore(self, state: Any) -> None:
        """Continue from a `state`."""
        self._known, self._acted = state["samples"], int(state["rounds"])
        self._begun = True

    def fingerprint(self) -> Any:
        """Return what tells the samples from others."""
        return self._seed, self._samples, self._act["episodes"], self._cut, self._first

    def _add(self, model: Any) -> None:
        self._acted += 1
        seed = np.random.SeedSequence([self._seed, 0, self._acted])
        self.rounds.append(
            evaluate(
                policy=self._wrap(model),
                seed=int(seed.generate_state(1)[0]),
                **self._act,
            )
        )
        met = Demonstrations.from_trajectories(
            self.rounds[-1].trajectories, **self._cut
        )
        self._known = jax.tree.map(
            lambda old, new: np.concatenate([old, np.asarray(new, old.dtype)]),
            self._known,
            met,
        )

    def _acting(self, model: Any) -> Any:
        history = self._cut["history"]
        size = self._known.observations.shape[-1] // history
        averages = not np.issubdtype(self._known.actions.dtype, np.integer)
        return with_memory(model, size, history, self._cut["chunk"], averages=averages)
