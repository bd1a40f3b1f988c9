"""Modules with arrays inside that `jax.jit` takes as they stand.

`jax.jit(f)` needs to hash f, and equinox hashes a module by its leaves, which arrays
refuse. By identity instead, `jax.jit(objective)` and `jax.jit(robot.mass_matrix)` work;
what is compiled then holds the arrays as constants.
"""

import equinox as eqx


class Jittable(eqx.Module):
    """A module that is hashed by identity."""

    def __hash__(self) -> int:
        """Return the object's identity."""
        return id(self)
