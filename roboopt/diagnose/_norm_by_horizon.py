"""Norm and signal-to-noise ratio of a gradient by its horizon.

The derivative of step t by step 0 is a product of t Jacobians. Where the motion is
chaotic the product grows exponentially, its sign differs from one start to the next,
and the mean over N starts has an error that no affordable N makes small (Metz et al.,
2021, Gradients are not all you need). This module compares the gradients of

    L_h(π) = −E[Σ_{t < h} γ^t r_t],   h = 1, 2, 4, …, T

by one rollout and one backward pass for each h. Derivatives are by relative changes of
each leaf, as in the history of `minimize`.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from roboopt._core import AnyArray
from roboopt._errors import RobooptError, require
from roboopt._programs import filter_jit
from roboopt.diagnose._gradient_health import noise_message
from roboopt.diagnose._parameters import Joined
from roboopt.gradients import relative_gradient
from roboopt.optimize import partition

MIN_STARTS = 2
MIN_SNR = 1.0  # below, chance decides most of the mean gradient's direction


class HorizonNorms(eqx.Module):
    """Gradients of the first steps of a rollout, by the number of these steps."""

    horizons: Int[np.ndarray, " horizon"]
    """Numbers of steps."""
    norms: Float[np.ndarray, " horizon"]
    """Norms of the mean gradient over the starts; infinite or NaN after overflow."""
    signal_to_noise: Float[np.ndarray, " horizon"]
    """The signal's square over the mean's squared standard error; 0 if not finite."""
    starts: int = eqx.field(static=True)

    @property
    def longest(self) -> int | None:
        """Return the longest horizon whose gradient is no noise, None without one."""
        good = np.flatnonzero(self.signal_to_noise >= MIN_SNR)
        return int(self.horizons[good[-1]]) if len(good) else None

    @property
    def sentence(self) -> str | None:
        """Return the sentence on a gradient through all steps that is noise."""
        ratio, horizon = float(self.signal_to_noise[-1]), int(self.horizons[-1])
        if ratio >= MIN_SNR:
            return None
        detail = f" over {self.starts} starts"
        if (longest := self.longest) is not None:
            there = float(self.signal_to_noise[self.horizons == longest][0])
            detail += f"; through {longest} it is {there:.2g}"
        return noise_message(ratio, horizon, detail)


def norm_by_horizon(
    objective: Any,
    model: Any,
    starts: Float[AnyArray, "start obs"],
    horizons: Sequence[int] | None = None,
) -> HorizonNorms:
    """Compute norm and signal-to-noise ratio of the gradient by its horizon.

    Args:
        objective: a `NegativeReward` of a rollout in JAX.
        model: the policy, at the values where the gradient is taken.
        starts: first observations, at least two.
        horizons: numbers of steps, each at most the rollout's; 1, 2, 4, … and the
            rollout's if None.

    Raises:
        RobooptError: if `objective` has no rollout in JAX with rewards, there are not
            two starts, or a horizon is not between 1 and the rollout's.
    """
    length: Any = getattr(getattr(objective, "rollout", None), "horizon", None)
    rule = "be a `NegativeReward` of a rollout with a `horizon`"
    require(length is not None, "objective", rule, objective)
    starts = jnp.asarray(starts)
    if starts.ndim != 2 or len(starts) < MIN_STARTS:
        raise RobooptError(
            f"`starts` must be at least {MIN_STARTS} observations, got shape "
            f"{starts.shape}."
        )
    powers = [2**k for k in range(length.bit_length()) if 2**k < length]
    counts = [*powers, length] if horizons is None else sorted(set(horizons))
    if not counts or counts[0] < 1 or counts[-1] > length:
        raise RobooptError(f"`horizons` must be from 1 to {length}, got {horizons}.")
    means, each = _gradient_norms(objective, model, starts, jnp.asarray(counts))
    # In float64, because the squares of exploding gradients leave float32's range.
    norms, each = np.asarray(means, np.float64), np.asarray(each, np.float64)
    count = len(starts)
    with np.errstate(all="ignore"):
        squares = np.mean(each**2, 0)
        error = np.maximum(squares - norms**2, 0.0) / (count - 1)
        # |ĝ|² exceeds the signal's square by the noise's, on average.
        ratio = np.maximum(norms**2 - error, 0.0) / error
    # Without a gradient there is neither signal nor noise.
    known = np.isfinite(norms) & np.isfinite(squares) & (norms > 0)
    ratio = np.where(known, ratio, 0.0)
    return HorizonNorms(np.asarray(counts), norms, ratio, count)


@filter_jit
def _gradient_norms(objective: Any, model: Any, starts: Any, counts: Any) -> Any:
    """Return the norm of the mean gradient and of each start's, by horizon."""
    trained, *others = partition(model, None)
    join = Joined(*others)

    def rewards(trained, start):
        found = objective.rollout(join(trained), start[None]).rewards
        if found is None:
            raise RobooptError(
                "`objective` must have a rollout with rewards, got none."
            )
        return found[0]

    def one(start):
        value, back = jax.vjp(lambda trained: rewards(trained, start), trained)
        times = jnp.arange(value.shape[0])
        weights = objective.discount ** times.astype(value.dtype)

        def gradient(count):
            cotangent = jnp.where(times < count, -weights, 0.0).astype(value.dtype)
            return ravel_pytree(relative_gradient(back(cotangent)[0], trained))[0]

        return jax.lax.map(gradient, counts)

    each = jax.vmap(one)(starts)
    return _norm(each.mean(0)), _norm(each)


def _norm(vectors: Float[Array, "*batch axis"]) -> Float[Array, "*batch"]:
    """Return the norms of vectors, also where their squares would overflow."""
    largest = jnp.max(jnp.abs(vectors), -1)
    scale = jnp.where(largest > 0, largest, 1.0)
    return scale * jnp.linalg.norm(vectors / scale[..., None], axis=-1)
