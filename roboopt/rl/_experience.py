"""Data that an agent collects while it learns, block by block.

An agent acts for some steps; some gradient steps on these follow, and it acts again.
"""

from abc import ABC, abstractmethod
from typing import Any

import jax
import numpy as np

from roboopt._errors import require_at_least
from roboopt.optimize import Block, Result, minimize
from roboopt.rl._running import RunningMeanStd
from roboopt.rollouts import Episode, Steps, VectorEnv


class Experience(ABC):
    """A data source for `minimize`: what the model itself has done."""

    drifts: bool = True
    """Losses of different blocks cannot be compared."""
    counted: str = "episodes"
    """The name of the number of `recent_episodes` in logs."""
    steps: int = 1
    """Gradient steps on one block."""
    batch_size: int | None = None
    """Samples of a minibatch, None for whole blocks."""
    episodes: list[Episode]
    """All episodes that have ended."""
    last: Block | None = None
    """The latest block."""
    exhausted: bool = False
    """Whether a block was asked for when the budget was used up."""

    def __init__(self, seed: int, **memory: Any):
        """Keep the seed of all randomness, and what checkpoints hold besides counts."""
        require_at_least(0, seed=seed)
        self._seed, self.episodes, self._reported, self._begun = seed, [], 0, False
        zero = np.asarray(0)
        self._memory = {"number": zero, "timesteps": zero, **memory}

    @property
    def timesteps(self) -> int:
        """Return the steps so far, of all environments together."""
        return int(self._memory["timesteps"])

    def next(self, model: Any, key: Any) -> Block:
        """Let `model` act; return the batch, and the model with renewed normalizers.

        The randomness follows from the seed of the source, not from `key`.
        """
        if not self._begun:
            self._begin()
        number = int(self._memory["number"])
        self._memory["number"] = np.asarray(number + 1)
        self.last = self._block(model, number)
        return self.last

    def _begin(self) -> None:
        """Prepare for the first block, or for the first after `restore`."""
        self._begun = True

    @abstractmethod
    def _block(self, model: Any, number: int) -> Block:
        """Let `model` act, and return block `number`, counted from 0."""

    def _count(self, timesteps: int, ended: list[Episode]) -> None:
        self._memory["timesteps"] = np.asarray(self.timesteps + timesteps)
        self.episodes += ended

    def taken(self, step: int) -> int:
        """Return the environment steps up to the latest gradient step."""
        return self.timesteps

    def recent_episodes(self, status: Any) -> list[Episode]:
        """Return the episodes that have ended since the last call."""
        found = self.episodes[self._reported :]
        self._reported = len(self.episodes)
        return found

    def state(self) -> dict[str, Any]:
        """Return the counts and the running statistics, for a checkpoint."""
        return dict(self._memory)

    def fingerprint(self) -> Any:
        """Return what tells the data from others."""
        return self._seed

    def restore(self, state: Any) -> None:
        """Go on from a `state`, with new episodes."""
        self._memory, self.episodes, self._reported = dict(state), [], 0
        self._begun = False


class VectorExperience(Experience):
    """Blocks of `length` steps of an agent in each of many environments."""

    def __init__(self, envs: VectorEnv, seed: int, length: int, **memory: Any):
        observed = RunningMeanStd.zero(envs.observation_size)
        super().__init__(seed, observed=observed, **memory)
        self._envs, self._length = envs, length
        self.samples = length * envs.envs
        """Steps of all environments in a block."""

    @property
    def devices(self) -> Any:
        """Return the devices that share the environments, or None."""
        return getattr(self._envs, "devices", None)

    def fingerprint(self) -> Any:
        """Return what tells the data from others."""
        told = getattr(self._envs, "fingerprint", lambda: type(self._envs).__name__)
        return super().fingerprint(), self._length, self._envs.envs, told()

    def gradient_steps(self, timesteps: int) -> int:
        """Return the gradient steps on whole blocks in `timesteps`, at least one."""
        require_at_least(1, timesteps=timesteps)
        return max(1, timesteps // self.samples) * self.steps

    def _begin(self) -> None:
        super()._begin()
        self._envs.begin(self._seed)

    def _collect(self, agent: Any, key: jax.Array) -> Steps:
        """Let `agent` act for a block, and count its steps and episodes."""
        steps, ended = self._envs.collect(agent, key, self._length)
        self._count(self.samples, ended)
        return steps

    def _observe(self, steps: Steps) -> None:
        """Add the observations of a block to the running statistics."""
        observed = self._memory["observed"]
        self._memory["observed"] = observed.update(steps.observations, steps.valid)


class ActorCriticAlgorithm(ABC):
    """An algorithm whose agent learns from `VectorExperience`."""

    @abstractmethod
    def objective(self, envs: Any) -> Any:
        """Return the objective of an agent that acts in `envs`."""

    @abstractmethod
    def optimizer(self, steps: int) -> Any:
        """Return the optax transformation for `steps` gradient steps."""

    @abstractmethod
    def data(self, envs: Any, seed: int = 0) -> VectorExperience:
        """Return the data source for `minimize`: blocks of steps in `envs`."""

    def learn(
        self, agent: Any, envs: Any, *, timesteps: int, seed: int = 0, **settings: Any
    ) -> Result:
        """Improve `agent` by acting in `envs`.

        Args:
            agent: an `ActorCritic`, or anything with its methods; for SHAC also a
                deterministic policy with `value`.
            envs: vector environments, in Gymnasium or in a twin; for SHAC a
                `TwinVectorEnv`. Stagger twins: at the same point of their episodes they
                teach the value function little.
            timesteps: steps of all environments together, at least a block; the rest of
                a block is not used.
            seed: the seed of all randomness.
            **settings: further settings of `minimize`, such as `callback`.

        Raises:
            RobooptError: if an argument is out of its range.
        """
        data = self.data(envs, seed)
        steps = data.gradient_steps(timesteps)
        settings = {**self.settings(data, steps), **settings}
        objective = self.objective(envs)
        return minimize(objective, agent, data, steps=steps, seed=seed, **settings)

    def settings(self, data: VectorExperience, steps: int) -> dict[str, Any]:
        """Return further arguments of `minimize` for `steps` gradient steps."""
        return {
            "optimizer": self.optimizer(steps),
            "batch_size": data.batch_size,
            "devices": data.devices,
        }
