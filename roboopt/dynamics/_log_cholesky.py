"""Inertia of a body in coordinates whose every value is physically possible.

A mass distribution has a total m, a center c and a second moment about the center,
Σ = ∫ (x − c)(x − c)ᵀ dm. It is possible if m > 0 and Σ is positive definite; for the
inertia I = tr(Σ) 1 − Σ this means positive principal moments that satisfy the triangle
inequality (Wensing, Kim and Slotine, 2018). The log-Cholesky coordinates of the
pseudo-inertia (Rucker and Wensing, 2022) satisfy this by construction,

    m = e^μ,    c = t,    Σ = m U Uᵀ,    U = [e^d₁  s₁₂  s₁₃]
                                             [  0  e^d₂  s₂₃]  [m]
                                             [  0    0  e^d₃]

and separate the mass (which scales the distribution), the center, and the shape.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

MIN_EXTENT_RATIO = 1e-3  # smallest extent of a body, relative to its largest


def second_moment(inertia: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Return Σ [kg·m²] of an inertia about the center of mass."""
    return 0.5 * np.trace(inertia) * np.eye(3) - inertia


def shape_coordinates(
    mass: float, inertia: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Return the logarithms d and the shears s = (s₁₂, s₁₃, s₂₃) [m] of a body.

    A flat body, such as a rod or a plate in a file, lies on a boundary that no finite d
    reaches: extents below `MIN_EXTENT_RATIO` are raised to it.
    """
    moment = second_moment(np.asarray(inertia, float)) / mass
    values, axes = np.linalg.eigh(0.5 * (moment + moment.T))
    # A point mass has no extent of its own; it gets one millimeter.
    floor = MIN_EXTENT_RATIO**2 * (float(values[-1]) if values[-1] > 0 else 1.0)
    if values[0] < floor:
        moment = axes @ np.diag(np.maximum(values, floor)) @ axes.T
    # An upper factor U Uᵀ is the Cholesky factor of the matrix in reverse order.
    upper = np.linalg.cholesky(moment[::-1, ::-1])[::-1, ::-1]
    return np.log(np.diag(upper)), upper[(0, 0, 1), (1, 2, 2)]


def inertia(
    mass: Float[Array, ""], logs: Float[Array, "3"], shears: Float[Array, "3"]
) -> Float[Array, "3 3"]:
    """Return the inertia [kg·m²] about the center of mass."""
    d, o = jnp.exp(logs), jnp.zeros((), logs.dtype)
    upper = jnp.stack(
        [
            jnp.stack([d[0], shears[0], shears[1]]),
            jnp.stack([o, d[1], shears[2]]),
            jnp.stack([o, o, d[2]]),
        ]
    )
    moment = mass * (upper[:, None, :] * upper[None, :, :]).sum(-1)
    return jnp.trace(moment) * jnp.eye(3, dtype=moment.dtype) - moment
