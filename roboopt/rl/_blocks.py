"""Actor-critics that learn from blocks of steps in vector environments.

An agent acts for some steps in all environments; some gradient steps on these follow,
and the agent acts again from where the environments are.
"""

from abc import ABC, abstractmethod
from typing import Any

import jax
import numpy as np

from roboopt.gradients import Automatic
from roboopt.optimize import Block, Result, minimize
from roboopt.rl._checks import require_at_least
from roboopt.rl._run import Run, count_blocks
from roboopt.rl._running import RunningMeanStd
from roboopt.rollouts import Episode, Steps, VectorEnv


class Blocks(ABC):
    """Blocks of steps of an agent in vector environments, a data source."""

    drifts: bool = True
    """The data come from the agent: losses of different blocks cannot be compared."""
    episodes: list[Episode]
    """All episodes that have ended."""
    timesteps: int
    """Steps so far, of all environments together."""
    batch_size: int | None = None
    """Samples of a minibatch, None for whole blocks."""

    def __init__(self, envs: VectorEnv, seed: int, *, length: int, steps: int):
        """Keep the arguments: a block is `length` steps of each environment."""
        require_at_least("seed", seed, 0)
        self._envs, self._seed, self._length = envs, seed, length
        self.steps = steps
        """Gradient steps on one block."""
        self.samples = length * envs.envs
        """Steps of all environments in a block."""
        self._reset()

    def _reset(self) -> None:
        self.episodes, self.timesteps, self._number = [], 0, 0
        self._begun = False
        self._observed = RunningMeanStd.zero(self._envs.observation_size)

    def gradient_steps(self, timesteps: int) -> int:
        """Return the gradient steps of at least `timesteps` in the environments."""
        require_at_least("timesteps", timesteps, 1)
        return -(-timesteps // self.samples) * self.steps

    def next(self, model: Any, key: Any) -> Block:
        """Let `model` act; return the batch, and the model with renewed normalizers.

        Args:
            model: an agent, such as an `ActorCritic`.
            key: not used; the randomness follows from the seed of the source.
        """
        if not self._begun:
            self._begun = True
            self._envs.begin(self._seed)
        number, self._number = self._number, self._number + 1
        return self._block(model, number)

    @abstractmethod
    def _block(self, model: Any, number: int) -> Block:
        """Let `model` act, and return block `number`, counted from 0."""

    def _collect(self, agent: Any, key: jax.Array) -> Steps:
        """Let `agent` act for a block, and count its steps and episodes."""
        steps, ended = self._envs.collect(agent, key, self._length)
        self.timesteps += self.samples
        self.episodes += ended
        return steps

    def state(self) -> dict[str, Any]:
        """Return the running statistics, for a checkpoint."""
        return {
            "number": np.asarray(self._number),
            "timesteps": np.asarray(self.timesteps),
            "observed": self._observed,
        }

    def restore(self, state: Any) -> None:
        """Go on from a `state`, with new episodes."""
        self._reset()
        self._number = int(state["number"])
        self.timesteps = int(state["timesteps"])
        self._observed = RunningMeanStd(*map(np.asarray, state["observed"]))


class BlockAlgorithm(ABC):
    """An algorithm whose agent learns from `Blocks`."""

    @abstractmethod
    def objective(self, envs: Any) -> Any:
        """Return the objective of an agent that acts in `envs`."""

    @abstractmethod
    def optimizer(self, steps: int) -> Any:
        """Return the optax transformation for `steps` gradient steps."""

    @abstractmethod
    def data(self, envs: Any, seed: int = 0) -> Blocks:
        """Return the data source for `minimize`: blocks of steps in `envs`."""

    def learn(
        self,
        agent: Any,
        envs: Any,
        *,
        timesteps: int,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        """Improve `agent` by acting in `envs`.

        Args:
            agent: an `ActorCritic`, or anything with its methods; for SHAC also a
                deterministic policy with `value`.
            envs: vector environments, in Gymnasium or in a twin; for SHAC a
                `TwinVectorEnv`. Stagger twins: at the same point of their episodes they
                teach the value function little.
            timesteps: steps of all environments together, rounded up to whole blocks.
            seed: the seed of all randomness.
            **settings: further settings of `minimize`, such as `callback`.

        Raises:
            RobooptError: if an argument is out of its range.
        """
        data = self.data(envs, seed)
        steps = data.gradient_steps(timesteps)
        objective, optimizer = self.objective(envs), self.optimizer(steps)
        known = {"optimizer": optimizer, "batch_size": data.batch_size}
        settings = {**known, **settings}
        return minimize(objective, agent, data, steps=steps, seed=seed, **settings)

    def _run(
        self,
        agent: Any,
        envs: Any,
        *,
        timesteps: int,
        seed: int,
        choice: dict[str, str],
        **settings: Any,
    ) -> Run:
        """Return the run of `learn`; `settings` are the other fields of `Run`."""
        data = self.data(envs, seed)
        steps = data.gradient_steps(timesteps)
        return Run(
            algorithm=self,
            objective=self.objective(envs),
            model=agent,
            data=data,
            steps=steps,
            settings={
                "optimizer": self.optimizer(steps),
                "batch_size": data.batch_size,
                "gradient": Automatic(),  # notes the norm and noise of the gradient
            },
            timesteps=timesteps,
            count=count_blocks(data),
            choice={**choice, "budget": f"{timesteps} timesteps"},
            reused=data.steps,
            **settings,
        )
