"""Asking one model, or many of one structure, for the actions of many episodes at once.

What is compiled takes the models' arrays as arguments: others of the same structure do
not compile again. A callable that is no module of JAX is asked episode by episode until
it has returned arrays of JAX, and so is what JAX cannot trace.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from roboopt._errors import RobooptError
from roboopt.policies import StatefulPolicy, act, begin
from roboopt.rollouts._decider import UNTRACEABLE


def is_array(leaf: Any) -> bool:
    """Return whether `leaf` is an array, of either kind."""
    return isinstance(leaf, jax.Array | np.ndarray)


class Deciders:
    """Acts in a number of slots, each at some point of an episode, for some model."""

    def __init__(self, models: Any, slots: int, *, many: bool):
        """Take a model, or with `many` models, along the first axis of each array."""
        self._many = many
        self._slots = slots
        leaves, treedef = jax.tree.flatten(models)
        self._arrays = [jnp.asarray(x) if is_array(x) else None for x in leaves]
        rest = tuple(None if is_array(x) else x for x in leaves)
        self._structure = _known(_Structure(treedef, rest, many))
        self._model = models
        self._acts_with_memory = isinstance(models, StatefulPolicy)
        # Whether to compile; None while that is not known.
        self._compile: bool | None = (
            True if isinstance(models, eqx.Module | jax.tree_util.Partial) else None
        )
        # Those of the model that acts in each slot; None until they are taken.
        self._own: list[Any] | None = None if many else self._arrays
        self._owners = np.zeros(slots, int)
        self._sliced: dict[int, Any] = {}
        self._memory: Any = None
        self._memories: list[Any] = [None] * slots

    def begin(
        self,
        fresh: Bool[np.ndarray, " slot"],
        observations: Float[np.ndarray, "slot obs"],
        owners: Int[np.ndarray, " slot"],
        keys: Shaped[Array, "slot ..."] | None,
    ) -> None:
        """Begin an episode in the slots that are `fresh`.

        Args:
            fresh: which they are.
            observations: their first.
            owners: which model acts in each slot.
            keys: what the slots' episodes draw from.
        """
        if self._many and not np.array_equal(owners, self._owners):
            self._own = None
        self._owners = owners.copy()
        if not self._acts_with_memory:
            return
        seen = _floats(observations)
        if self._compile:
            try:
                self._memory = _begin(
                    self._structure, self._taken(), self._memory, fresh, seen, keys
                )
                return
            except UNTRACEABLE:
                self._compile = False
        for slot in np.flatnonzero(fresh).tolist():
            key = None if keys is None else keys[slot]
            self._memories[slot] = begin(
                self._alone(slot), jnp.asarray(seen[slot]), key
            )

    def __call__(
        self,
        observations: Float[np.ndarray, "slot obs"],
        times: Float[np.ndarray, " slot"],
        active: Bool[np.ndarray, " slot"],
    ) -> np.ndarray:
        """Return the actions, (slot, ...); of slots that are not active, anything."""
        if self._compile:
            try:
                actions, self._memory = _act(
                    self._structure,
                    self._taken(),
                    self._memory,
                    _floats(observations),
                    _floats(times),
                )
                return np.asarray(actions)
            except UNTRACEABLE:
                self._compile = False
                self._memories = [
                    jax.tree.map(lambda leaf, slot=slot: leaf[slot], self._memory)
                    for slot in range(self._slots)
                ]
        answers: dict[int, Any] = {}
        for slot in np.flatnonzero(active).tolist():
            model = self._alone(slot)
            if isinstance(model, eqx.Module):
                answers[slot], self._memories[slot] = act(
                    model,
                    self._memories[slot],
                    jnp.asarray(_floats(observations[slot])),
                    jnp.asarray(times[slot], float),
                )
            else:
                answers[slot] = model(observations[slot].copy())
        if self._compile is None:
            self._compile = all(isinstance(a, jax.Array) for a in answers.values())
        values = {slot: np.asarray(answer) for slot, answer in answers.items()}
        example = next(iter(values.values()))
        actions = np.zeros((self._slots, *example.shape), example.dtype)
        for slot, value in values.items():
            if value.shape != example.shape:
                raise RobooptError(
                    "`model` must return actions of one shape, got "
                    f"{example.shape} and {value.shape}."
                )
            actions[slot] = value
        return actions

    def _taken(self) -> list[Any]:
        if self._own is None:
            own = _taken(self._arrays, jnp.asarray(self._owners))
            self._own = own
            return own
        return self._own

    def _alone(self, slot: int) -> Any:
        """Return the model that acts in `slot`, by itself."""
        if not self._many:
            return self._model
        owner = int(self._owners[slot])
        if owner not in self._sliced:
            self._sliced[owner] = self._structure.model(
                [None if a is None else a[owner] for a in self._arrays]
            )
        return self._sliced[owner]


class _Structure:
    """A model without its arrays: what is compiled is compiled for it."""

    def __init__(self, treedef: Any, rest: tuple, many: bool):
        self._parts = treedef, rest, many
        self.axis = 0 if many else None
        try:
            self._hash: int | None = hash(self._parts)
        except TypeError:  # it holds what only is like itself
            self._hash = None

    def model(self, arrays: list[Any]) -> Any:
        treedef, rest, _ = self._parts
        leaves = [
            leaf if array is None else array
            for leaf, array in zip(rest, arrays, strict=True)
        ]
        return jax.tree.unflatten(treedef, leaves)

    def __hash__(self) -> int:
        return id(self) if self._hash is None else self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, _Structure)
            and self._hash is not None
            and self._hash == other._hash
            and self._parts == other._parts
        )


@functools.lru_cache(maxsize=64)
def _known(structure: _Structure) -> _Structure:
    """Return the first that was equal: to be the same is quicker told."""
    return structure


@jax.jit
def _taken(arrays: list[Any], owners: Array) -> list[Any]:
    return [None if array is None else array[owners] for array in arrays]


@functools.partial(jax.jit, static_argnums=0)
def _begin(
    structure: _Structure, arrays: Any, memory: Any, fresh: Any, seen: Any, keys: Any
) -> Any:
    def one(arrays, observation, key):
        return begin(structure.model(arrays), observation, key)

    key_axis = None if keys is None else 0
    begun = jax.vmap(one, in_axes=(structure.axis, 0, key_axis))(arrays, seen, keys)
    if memory is None:
        return begun

    def chosen(new, old):
        return jnp.where(fresh.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(chosen, begun, memory)


@functools.partial(jax.jit, static_argnums=0)
def _act(
    structure: _Structure, arrays: Any, memory: Any, seen: Any, times: Any
) -> tuple[Any, Any]:
    def one(arrays, memory, observation, time):
        return act(structure.model(arrays), memory, observation, time)

    axes = structure.axis, 0, 0, 0
    return jax.vmap(one, in_axes=axes)(arrays, memory, seen, times)


def _floats(values: np.ndarray) -> np.ndarray:
    """Return `values` in the type that JAX computes in."""
    return values.astype(jax.dtypes.canonicalize_dtype(float), copy=False)
