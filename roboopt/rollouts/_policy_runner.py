"""Asking one policy, or many of one structure, for actions in many episodes at once.

Modules of JAX are compiled once for all of the same structure: their arrays are
arguments. Any other callable is called episode by episode, until it has returned arrays
of JAX: it must then be pure, and is compiled too. A policy that JAX cannot trace is
called episode by episode throughout.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from roboopt._errors import RobooptError
from roboopt.policies import StatefulPolicy, act, initial_carry

UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)


def is_array(leaf: Any) -> bool:
    """Return whether `leaf` is an array of JAX or NumPy."""
    return isinstance(leaf, jax.Array | np.ndarray)


def count_policies(policies: Any) -> int:
    """Return the number of policies that are stacked in one.

    Raises:
        RobooptError: if the arrays' first axes differ, or there are none.
    """
    leaves = [leaf for leaf in jax.tree.leaves(policies) if is_array(leaf)]
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(counts) != 1 or 0 in counts:
        raise RobooptError(
            "`policies` must hold arrays whose first axis counts the policies, at "
            f"least one, got the sizes {sorted(counts)}."
        )
    return counts.pop()


class PolicyRunner:
    """Acts in a number of slots, each in an episode of its own."""

    def __init__(self, policy: Any, slots: int, *, batched: bool = False):
        """Take a policy, or with `batched` policies stacked along the first axis."""
        leaves, treedef = jax.tree.flatten(policy)
        self._arrays = [jnp.asarray(x) if is_array(x) else None for x in leaves]
        rest = tuple(None if is_array(x) else x for x in leaves)
        module = isinstance(policy, eqx.Module | jax.tree_util.Partial)
        structure = _Structure(treedef, rest, batched, module)
        self._structure = _known(structure)
        self._policy, self._slots, self._batched = policy, slots, batched
        self._plain = not isinstance(policy, eqx.Module)
        # None while it is not known whether the policy can be compiled.
        self._compile: bool | None = True if module else None
        self._owners = np.zeros(slots, int)
        self._own: list[Any] | None = None if batched else self._arrays
        self._carry: Any = None
        self._carries: list[Any] = [None] * slots

    def begin(
        self,
        fresh: Bool[np.ndarray, " slot"],
        owners: Int[np.ndarray, " slot"],
        keys: Shaped[Array, "slot ..."] | None,
    ) -> None:
        """Begin an episode in the slots that are `fresh`.

        Args:
            fresh: the slots.
            owners: the policy that acts in each slot, of many.
            keys: the source of randomness of each slot's episode.
        """
        if self._batched and not np.array_equal(owners, self._owners):
            self._own = None
        self._owners = owners.copy()
        if not isinstance(self._policy, StatefulPolicy):
            return
        if self._compile:
            try:
                arrays = self._own_arrays()
                self._carry = _begin(self._structure, arrays, self._carry, fresh, keys)
                return
            except UNTRACEABLE:
                self._compile = False
        for slot in np.flatnonzero(fresh).tolist():
            key = None if keys is None else keys[slot]
            self._carries[slot] = initial_carry(self._alone(slot), key)

    def __call__(
        self,
        observations: Float[np.ndarray, "slot obs"],
        times: Callable[[], Float[np.ndarray, " slot"]],
        active: Bool[np.ndarray, " slot"],
    ) -> np.ndarray:
        """Return the actions, (slot, ...), arbitrary in slots that are not active.

        Args:
            observations: the current ones.
            times: returns the time in each slot's episode [s], called where a policy
                needs it.
            active: the slots whose actions are needed.
        """
        if self._plain and self._compile is False and self._slots == 1:
            return np.asarray(self._policy(observations[0].copy()))[None]
        if self._compile:
            try:
                arrays = self._own_arrays()
                self._carry, actions = _act(
                    self._structure, arrays, self._carry, _floats(observations), times()
                )
                return np.asarray(actions)
            except UNTRACEABLE:
                self._compile = False
                self._carries = [
                    jax.tree.map(lambda leaf, slot=slot: leaf[slot], self._carry)
                    for slot in range(self._slots)
                ]
        answers: dict[int, Any] = {}
        for slot in np.flatnonzero(active).tolist():
            policy = self._alone(slot)
            if not self._plain:
                self._carries[slot], answers[slot] = act(
                    policy,
                    self._carries[slot],
                    jnp.asarray(_floats(observations[slot])),
                    jnp.asarray(times()[slot], float),
                )
            else:
                answers[slot] = policy(observations[slot].copy())
        if self._compile is None:
            self._compile = all(isinstance(a, jax.Array) for a in answers.values())
        if self._slots == 1:
            return np.asarray(answers[0])[None]
        return self._stacked({slot: np.asarray(a) for slot, a in answers.items()})

    def _stacked(self, answers: dict[int, np.ndarray]) -> np.ndarray:
        example = next(iter(answers.values()))
        actions = np.zeros((self._slots, *example.shape), example.dtype)
        for slot, answer in answers.items():
            if answer.shape != example.shape:
                raise RobooptError(
                    "`policy` must return actions of one shape, got "
                    f"{example.shape} and {answer.shape}."
                )
            actions[slot] = answer
        return actions

    def _own_arrays(self) -> list[Any]:
        """Return the arrays of the policy, or of each slot's."""
        if self._own is None:
            own = self._own = _taken(self._arrays, jnp.asarray(self._owners))
            return own
        return self._own

    def _alone(self, slot: int) -> Any:
        """Return the policy that acts in `slot`, by itself."""
        if not self._batched:
            return self._policy
        owner = int(self._owners[slot])
        arrays = [None if a is None else a[owner] for a in self._arrays]
        return self._structure.policy(arrays)


class _Structure:
    """A policy without its arrays, for which functions are compiled."""

    def __init__(self, treedef: Any, rest: tuple, batched: bool, shared: bool):
        self._parts = treedef, rest, batched
        self.axis = 0 if batched else None
        self._hash = id(self)
        if shared:
            try:
                self._hash = hash(self._parts)
            except TypeError:  # A part is equal to itself alone.
                shared = False
        self._shared = shared

    def policy(self, arrays: list[Any]) -> Any:
        treedef, rest, _ = self._parts
        pairs = zip(rest, arrays, strict=True)
        leaves = [leaf if array is None else array for leaf, array in pairs]
        return jax.tree.unflatten(treedef, leaves)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, _Structure):
            return self is other
        return self._shared and other._shared and self._parts == other._parts


@functools.lru_cache(maxsize=64)
def _known(structure: _Structure) -> _Structure:
    """Return the first equal structure: identity is faster to compare."""
    return structure


@jax.jit
def _taken(arrays: list[Any], owners: Array) -> list[Any]:
    return [None if array is None else array[owners] for array in arrays]


@functools.partial(jax.jit, static_argnums=0)
def _begin(structure: _Structure, arrays: Any, carry: Any, fresh: Any, keys: Any):
    def one(arrays, key):
        return initial_carry(structure.policy(arrays), key)

    axes = structure.axis, None if keys is None else 0
    begun = jax.vmap(one, in_axes=axes, axis_size=len(fresh))(arrays, keys)
    if carry is None:
        return begun

    def chosen(new, old):
        return jnp.where(fresh.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(chosen, begun, carry)


@functools.partial(jax.jit, static_argnums=0)
def _act(structure: _Structure, arrays: Any, carry: Any, seen: Any, times: Any):
    def one(arrays, carry, observation, time):
        return act(structure.policy(arrays), carry, observation, time)

    axes = structure.axis, 0, 0, 0
    return jax.vmap(one, in_axes=axes)(arrays, carry, seen, times)


def _floats(values: np.ndarray) -> np.ndarray:
    """Return `values` in the type that JAX computes in."""
    return values.astype(jax.dtypes.canonicalize_dtype(float), copy=False)
