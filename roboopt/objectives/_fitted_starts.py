"""Errors of windows that begin at the states that explain them best.

    e(θ) = min_s ‖(ŷ(θ, s) − y) / σ‖²,    ∂e/∂θ = P ∂r/∂θ,    P = I − S (SᵀS)⁻¹ Sᵀ

with the scaled errors r and their sensitivity S to the start s: variable projection
(Golub and Pereyra, 1973) in Kaufman's form. A window that begins at a measured state
carries its noise into every later sample, which biases a fit and correlates its
residuals; starts that are fitted do neither.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt.dynamics import invert_positive_definite
from roboopt.objectives._prediction_windows import PredictionWindows
from roboopt.objectives._scale import scaled, wrapped

NEWTON_STEPS = 1
RIDGE = 1e-10  # of a unit column: a start that the window does not show stays


def errors_from_fitted_starts(
    windows: PredictionWindows,
    model: object,
    scale: Float[AnyArray, " state"] | None,
    wraps: tuple[bool, ...] | None,
) -> Float[Array, "window step state"]:
    """Return predicted less measured states, in their units.

    Gauss-Newton steps, each kept where it lessens a window's error, find the starts;
    what is left of the errors is linear in the last of them.
    """
    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    fixed = eqx.combine(jax.lax.stop_gradient(arrays), static)

    def of_window(
        states: Array, actions: Array, durations: Array
    ) -> Float[Array, "step state"]:
        def errors(model: object, start: Array) -> Array:
            after = windows.predict_one(model, start, actions, durations)
            return wrapped(after - states[1:], wraps)

        def twice(start: Array) -> tuple[Array, Array]:
            found = errors(fixed, start)
            return found, found

        def correction(slopes: Array, found: Array) -> Array:
            """Return the Gauss-Newton step of the start."""
            columns = scaled(slopes.swapaxes(1, 2), scale).swapaxes(1, 2)
            columns = columns.reshape(-1, start.size)
            length = jnp.maximum(jnp.linalg.norm(columns, axis=0), 1e-30)
            unit = columns / length[None]
            normal = unit.T @ unit + RIDGE * jnp.eye(start.size, dtype=unit.dtype)
            right = unit.T @ scaled(found, scale).ravel()
            # Not by LAPACK, see there.
            return -(invert_positive_definite(normal) @ right) / length

        def improved(kept: tuple[Array, ...], _: None) -> tuple[Any, None]:
            """Return the better of two starts with its slopes, and the next to try."""
            tried, *best = kept
            slopes, found = jax.jacfwd(twice, has_aux=True)(tried)
            new = [tried, jnp.sum(scaled(found, scale) ** 2), slopes, found]
            better = new[1] < best[1]
            best = [jnp.where(better, a, b) for a, b in zip(new, best, strict=True)]
            return (best[0] + correction(*best[2:]), *best), None

        start = states[0]
        none = jnp.zeros_like(states[1:])
        slopes = jnp.zeros((*none.shape, start.size), none.dtype)
        first = start, start, jnp.asarray(jnp.inf, none.dtype), slopes, none
        last, _ = jax.lax.scan(improved, first, length=NEWTON_STEPS + 1)
        _, start, _, slopes, _ = jax.lax.stop_gradient(last)
        left = errors(model, start)
        return left + slopes @ correction(slopes, left)

    return jax.vmap(of_window)(windows.states, windows.actions, windows.durations)
