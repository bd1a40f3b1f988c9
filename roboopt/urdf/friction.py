"""Laws of dry friction in a joint, for NumPy and JAX alike.

    F(q̇) = (c + a tanh(q̇/v_s) + s exp(−(q̇/v_b)²) + μ |ℓ|) tanh(q̇/v_s)

with the Coulomb friction c, an asymmetry a between both directions, the additional
friction s near rest that is gone above v_b (Stribeck), and a share μ of the load ℓ,
the mean of the efforts on both sides of the gear: the motor's τ, and h(q, q̇), which
the links need without acceleration. Below v_s friction is smooth. Viscous friction is
the joint's damping. Load-dependent friction of servos: Duclusaud et al. (2025),
Extended friction models for the physics simulation of servo actuators, whose K_l is
μ/2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any  # of NumPy or JAX

STRIBECK_VELOCITY = 0.1  # rad/s or m/s: v_b where nothing else is known


class FrictionLaw(NamedTuple):
    """The parts of dry friction beside Coulomb's, one number a joint."""

    asymmetry: Array
    """a, half the difference of both directions [N·m or N]."""
    stribeck: Array
    """s [N·m or N]."""
    stribeck_velocity: Array
    """v_b [rad/s or m/s]."""
    load: Array
    """μ [1]."""


def joined(laws: Sequence[FrictionLaw | None]) -> FrictionLaw | None:
    """Return the law of several joints, None if none of them has one."""
    if all(law is None for law in laws):
        return None
    none = FrictionLaw(0.0, 0.0, STRIBECK_VELOCITY, 0.0)
    return FrictionLaw(*np.array([law or none for law in laws], float).T)


def amplitude(
    coulomb: Array, slow: Array, law: FrictionLaw, velocity: Array, load: Array
) -> Array:
    """Return the factor of tanh(q̇/v_s) in F, (n,) [N·m or N].

    Args:
        coulomb: c [N·m or N].
        slow: v_s [rad/s or m/s].
        law: the other parts.
        velocity: [rad/s or m/s].
        load: ℓ [N·m or N].
    """
    xp = velocity.__array_namespace__()
    rest = law.stribeck * xp.exp(-((velocity / law.stribeck_velocity) ** 2))
    skewed = law.asymmetry * xp.tanh(velocity / slow)
    return coulomb + skewed + rest + law.load * load * xp.sign(load)
