"""Asking one policy, or many of one structure, for actions in many episodes at once.

Modules of JAX are compiled once for all of the same structure: their arrays are
arguments. Any other callable is called episode by episode, until it has returned arrays
of JAX: it must then be pure, and is compiled too. A policy that JAX cannot trace is
called episode by episode throughout.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from roboopt._errors import RobooptError, require
from roboopt.policies import StatefulPolicy, act, initial_carry, observe

UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)


@dataclass(frozen=True, eq=False)
class PolicyStructure:
    """A policy without its arrays: a static argument of compiled functions."""

    treedef: Any
    rest: tuple

    def policy(self, arrays: list[Any]) -> Any:
        """Return the policy with `arrays`."""
        pairs = zip(self.rest, arrays, strict=True)
        leaves = [leaf if array is None else array for leaf, array in pairs]
        return jax.tree.unflatten(self.treedef, leaves)


_known_structure = functools.lru_cache(maxsize=64)(PolicyStructure)


def split_policy(
    policy: Any, *, shared: bool = True
) -> tuple[PolicyStructure, list[Any]]:
    """Return the structure of a policy, and its arrays, None in place of other leaves.

    If `shared`, policies of one structure share compiled functions.
    """
    leaves, treedef = jax.tree.flatten(policy)
    arrays = [jnp.asarray(x) if is_array(x) else None for x in leaves]
    rest = tuple(None if is_array(x) else x for x in leaves)
    if shared:
        try:
            return _known_structure(treedef, rest), arrays
        except TypeError:  # A part has no hash.
            pass
    return PolicyStructure(treedef, rest), arrays


def is_array(leaf: Any) -> bool:
    """Return whether `leaf` is an array of JAX or NumPy."""
    return isinstance(leaf, jax.Array | np.ndarray)


def count_policies(policies: Any) -> int:
    """Return the number of policies that are stacked in one."""
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
        module = isinstance(policy, eqx.Module | jax.tree_util.Partial)
        # What a function refers to may change between runs, unlike a module's leaves.
        self._structure, self._arrays = split_policy(policy, shared=module)
        self._policy, self._slots, self._batched = policy, slots, batched
        self._plain = not isinstance(policy, eqx.Module)
        # None while it is not known whether the policy can be compiled.
        self._compile: bool | None = True if module else None
        self._owners = np.zeros(0, int)
        self._own = self._arrays
        self._carry: Any = None
        self._carries: list[Any] = [None] * slots

    def begin(
        self,
        fresh: Bool[np.ndarray, " slot"],
        owners: Int[np.ndarray, " slot"],
        keys: Shaped[Array, "slot ..."] | None,
    ) -> None:
        """Begin an episode in the `fresh` slots, with policies `owners` and `keys`."""
        if self._batched and not np.array_equal(owners, self._owners):
            self._own = _taken(self._arrays, jnp.asarray(owners))
            self._owners = owners.copy()
        if not isinstance(self._policy, StatefulPolicy):
            return
        if self._compile:
            try:
                self._carry = _begin(
                    self._structure, self._batched, self._own, self._carry, fresh, keys
                )
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
        rows: list[int],
    ) -> np.ndarray:
        """Return the actions, (slot, ...), arbitrary in slots that are not in `rows`.

        `times` returns the time in each slot's episode [s], where a policy needs it.
        """
        if self._compile:
            try:
                arguments = self._own, self._carry, _floats(observations), times()
                self._carry, actions = _act(self._structure, self._batched, *arguments)
                return np.asarray(actions)
            except UNTRACEABLE:
                self._compile = False
                self._carries = [
                    jax.tree.map(lambda leaf, slot=slot: leaf[slot], self._carry)
                    for slot in range(self._slots)
                ]
        if self._plain and self._slots == 1 and self._compile is False:
            return np.asarray(self._plainly(0, observations[0]))[None]
        if self._plain:
            answers = [self._plainly(k, observations[k]) for k in rows]
        else:
            answers = [self._act_alone(k, observations[k], times()) for k in rows]
        if self._compile is None:
            self._compile = all(isinstance(a, jax.Array) for a in answers)
        actions = [np.asarray(answer) for answer in answers]
        shapes = sorted({action.shape for action in actions})
        require(len(shapes) <= 1, "policy", "return actions of one shape", shapes)
        found = np.zeros((self._slots, *shapes[0]), actions[0].dtype)
        found[rows] = actions
        return found

    def _plainly(self, slot: int, observation: np.ndarray) -> Any:
        policy = self._alone(slot)
        return observe(policy, policy, observation.copy())

    def _act_alone(self, slot: int, observation: np.ndarray, times: np.ndarray) -> Any:
        seen = jnp.asarray(_floats(observation))
        time = jnp.asarray(times[slot], float)
        carry = self._carries[slot]
        self._carries[slot], action = act(self._alone(slot), carry, seen, time)
        return action

    def _alone(self, slot: int) -> Any:
        """Return the policy that acts in `slot`, by itself."""
        if not self._batched:
            return self._policy
        arrays = [None if array is None else array[slot] for array in self._own]
        return self._structure.policy(arrays)


@jax.jit
def _taken(arrays: list[Any], owners: Array) -> list[Any]:
    return [None if array is None else array[owners] for array in arrays]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(
    structure: Any, batched: bool, arrays: Any, carry: Any, fresh: Any, keys: Any
) -> Any:
    def one(arrays, key):
        return initial_carry(structure.policy(arrays), key)

    axes = 0 if batched else None, None if keys is None else 0
    begun = jax.vmap(one, in_axes=axes, axis_size=len(fresh))(arrays, keys)
    if carry is None:
        return begun

    def chosen(new, old):
        return jnp.where(fresh.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(chosen, begun, carry)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _act(
    structure: Any, batched: bool, arrays: Any, carry: Any, seen: Any, times: Any
) -> Any:
    def one(arrays, carry, observation, time):
        return act(structure.policy(arrays), carry, observation, time)

    axes = 0 if batched else None, 0, 0, 0
    return jax.vmap(one, in_axes=axes)(arrays, carry, seen, times)


def _floats(values: np.ndarray) -> np.ndarray:
    """Return `values` in the type that JAX computes in."""
    return values.astype(jax.dtypes.canonicalize_dtype(float), copy=False)
