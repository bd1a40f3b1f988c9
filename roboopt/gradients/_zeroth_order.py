"""Gradients from values alone: the objective smoothed by perturbing the parameters.

    ∇ E_ε f(θ + σ ε) ≈ 1/P Σ_i ε_i (f(θ + σ ε_i) − f(θ − σ ε_i)) / 2σ

with P pairs of opposite perturbations (Salimans et al., 2017, Evolution strategies as a
scalable alternative to reinforcement learning). All values are taken on one batch, so
that they differ by the parameters alone. Up to d directions ε_i, as many as there are
parameters, are orthogonal with length √d (Choromanski et al., 2018, Structured
evolution with compact architectures). With P = d the estimate is that of central
differences.

With fewer pairs the estimate sees the share P/d of the gradient and is scaled
accordingly: it is unbiased where f is linear over σ, and with r = P mod d its squared
error is

    E|ĝ − g|² = r (d − r)/P² |g|²

With P a multiple of d the same directions serve every step, and the estimate is as
good as exact.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import sizes
from roboopt._errors import require_at_least, require_positive
from roboopt._programs import filter_jit
from roboopt.gradients._estimator import MAX_SNR, Estimator, LossFn

MAX_PARAMETERS = 32  # up to which every parameter gets a pair by default
DEFAULT_PAIRS = 8  # for more parameters


class ZerothOrder(Estimator):
    """Estimates the gradient from values of the objective, in any simulator.

    An objective that is not `differentiable` evaluates all perturbed models at once
    outside JAX, by its `evaluate_many`; any other is traced.
    """

    pairs: int | None = eqx.field(static=True, default=None)
    """Pairs of opposite perturbations per step; by default one for each parameter up
    to 32 parameters, and 8 for more."""
    scale: float = 0.05
    """σ, relative to the scale of each leaf."""
    traced: bool = eqx.field(static=True, default=True)
    """Whether JAX may trace a `differentiable` objective. If not, the objective is
    called with one model at a time, and may be any Python function."""

    def __check_init__(self):
        require_at_least(1, pairs=self.pairs)
        require_positive(scale=self.scale)

    def num_pairs(self, params: Any) -> int:
        """Return the number of pairs per step for parameters such as `params`."""
        size = _size(params)
        return self.pairs or (size if size <= MAX_PARAMETERS else DEFAULT_PAIRS)

    def traceable(self, objective: Any) -> bool:
        """Return whether the objective is traced."""
        return self.traced and super().traceable(objective)

    def deterministic(self, params: Any) -> bool:
        """Return whether there is a pair for each parameter, or a multiple."""
        return self.num_pairs(params) % _size(params) == 0

    def __call__(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Any, dict[str, Array]]:
        """Return the loss, its estimated gradient, and the terms with its quality."""
        many, directions = _perturb(self, params, key)
        losses, terms = loss_fn.evaluate_many(many, batch, traced=self.traced)
        gradient, info = _combine(self, params, directions, losses)
        return losses[0], gradient, {k: v[0] for k, v in terms.items()} | info


def _size(params: Any) -> int:
    return sum(x.size for x in jax.tree.leaves(params))


def _flat_scales(params: Any) -> Float[Array, " parameter"]:
    """Return the scale of the leaf that each parameter is in."""
    return ravel_pytree(jax.tree.map(jnp.full_like, params, sizes(params)))[0]


@filter_jit
def _perturb(
    estimator: ZerothOrder, params: Any, key: PRNGKeyArray
) -> tuple[Any, Float[Array, "pair parameter"]]:
    """Return `params` and all perturbed parameters along a new axis; the directions."""
    flat, unravel = ravel_pytree(params)
    if estimator.deterministic(params):
        key = jax.random.key(0)
    pairs = estimator.num_pairs(params)
    directions = orthogonal(key, pairs, flat.size).astype(flat.dtype)
    step = estimator.scale * _flat_scales(params)[None] * directions
    step = step.astype(flat.dtype)
    moved = jnp.concatenate([flat[None], flat[None] + step, flat[None] - step])
    return jax.vmap(unravel)(moved), directions


@filter_jit
def _combine(
    estimator: ZerothOrder,
    params: Any,
    directions: Float[Array, "pair parameter"],
    losses: Float[Array, " value"],
) -> tuple[Any, dict[str, Array]]:
    """Return the gradient and its quality from the losses of all parameters."""
    flat, unravel = ravel_pytree(params)
    pairs, size = directions.shape
    there, back = losses[1 : pairs + 1], losses[pairs + 1 :]
    slopes = (there - back) / (2 * estimator.scale)
    gradient = slopes @ directions / pairs
    squared = jnp.sum(gradient**2)
    # A whole orthogonal basis has no error; the directions beyond one have.
    left = pairs % size
    variance = left * (size - left) / pairs**2
    snr = 1 / variance if variance else MAX_SNR
    info = {
        "relative_gradient_norm": jnp.sqrt(squared / (1 + variance)),
        "gradient_snr": jnp.asarray(snr, squared.dtype),
        "gradient_error": variance / (1 + variance) * squared,
    }
    return unravel((gradient / _flat_scales(params)).astype(flat.dtype)), info


def orthogonal(
    key: PRNGKeyArray, count: int, size: int
) -> Float[Array, "count parameter"]:
    """Return directions of length √size, orthogonal up to `size` at a time."""
    blocks = []
    while count > 0:
        key, own = jax.random.split(key)
        normal = jax.random.normal(own, (size, min(count, size)))
        q, r = jnp.linalg.qr(normal)
        # With these signs the frame is uniformly distributed (Mezzadri, 2007).
        blocks.append((q * jnp.sign(jnp.diag(r))[None]).T)
        count -= size
    return math.sqrt(size) * jnp.concatenate(blocks)
