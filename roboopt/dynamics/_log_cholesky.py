"""The inertia of a body in coordinates of which every value is physically possible.

A distribution of mass has a total m, a center c and a second moment about the center,
Σ = ∫ (x − c)(x − c)ᵀ dm, and is possible where m > 0 and Σ is positive definite, which
for the inertia I = tr(Σ) 1 − Σ means positive principal moments that satisfy the
triangle inequality (Wensing, Kim and Slotine, 2018). The pseudo-inertia's log-Cholesky
coordinates (Rucker and Wensing, 2022) have it so by construction,

    m = e^μ,    c = t,    Σ = m U Uᵀ,    U = [e^d₁  s₁₂  s₁₃]
                                             [  0  e^d₂  s₂₃]  [m]
                                             [  0    0  e^d₃]

and split into what each number means: the mass alone (its distribution scaled with it),
the center alone, the shape alone.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

FLATTEST = 1e-3  # of a body's largest extent: what is flatter is a boundary


def second_moment(inertia: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Return Σ [kg·m²] of an inertia about the center of mass."""
    return 0.5 * np.trace(inertia) * np.eye(3) - inertia


def shape_coordinates(
    mass: float, inertia: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Return the logarithms d and the shears s = (s₁₂, s₁₃, s₂₃) [m] of a body.

    A body flatter than a thousandth of its extent, such as a rod or a plate in a file,
    is a boundary that no finite d reaches: it is taken as just that flat.

    Args:
        mass: [kg], positive.
        inertia: [kg·m²] about the center of mass.
    """
    moment = second_moment(np.asarray(inertia, float)) / mass
    values, axes = np.linalg.eigh(0.5 * (moment + moment.T))
    # A point mass has no extent of its own: a millimetre stands for none.
    floor = FLATTEST**2 * max(float(values[-1]), 1.0 if values[-1] <= 0 else 0.0)
    if values[0] < floor:
        moment = axes @ np.diag(np.maximum(values, floor)) @ axes.T
    # Cholesky's factor from the last row up is that of the matrix turned around.
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
