"""Asking a model for one action after the other, compiled where that can be.

A module of JAX is compiled. So is a function once it has returned an array of JAX: it
must then be pure. Any other callable, a rule in NumPy with an `if` or a controller that
remembers, is called as it stands, and so is what JAX cannot trace.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.policies import StatefulPolicy, act, begin

WORDS = 2**32
UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)


class Decider:
    """Acts as `model` does, one episode at a time, and keeps its memory between.

    Its arrays are constants of what is compiled: passing them would cost more, every
    step, than most policies take.
    """

    def __init__(self, model: Any, stream: int = 0):
        """Take a model; of two with one seed, each needs a `stream` of chance."""
        self._model = model
        self._stream = stream
        self._memory = None
        # Whether to compile; None while that is not known.
        self._compile: bool | None = (
            True if isinstance(model, eqx.Module | jax.tree_util.Partial) else None
        )
        self._begin = jax.jit(self._begun)
        self._act = jax.jit(
            lambda memory, observation, time: act(model, memory, observation, time)
        )

    def begin(self, observation: Any, seed: int, episode: int) -> None:
        """Begin an episode, whose chance comes from `seed` and its number."""
        if not isinstance(self._model, StatefulPolicy):
            return
        chance = np.uint32(seed % WORDS), np.uint32(episode)
        if self._compile:
            try:
                self._memory = self._begin(observation, *chance)
                return
            except UNTRACEABLE:
                self._compile = False
        self._memory = self._begun(jnp.asarray(observation), *chance)

    def __call__(self, observation: Any, time: float) -> Any:
        """Return the action on `observation` at `time` [s]."""
        if self._compile:
            try:
                action, self._memory = self._act(self._memory, observation, time)
                return action
            except UNTRACEABLE:
                self._compile = False
        if isinstance(self._model, eqx.Module):
            action, self._memory = act(
                self._model,
                self._memory,
                jnp.asarray(observation),
                jnp.asarray(time, float),
            )
            return action
        action = self._model(observation)
        if self._compile is None:
            self._compile = isinstance(action, jax.Array)
        return action

    def _begun(self, observation: Any, seed: Any, episode: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), episode)
        if self._stream:
            key = jax.random.fold_in(key, self._stream)
        return begin(self._model, observation, key)
