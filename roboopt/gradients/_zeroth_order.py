"""Gradients from values alone: the objective smoothed by perturbing the parameters.

    ∇ E_ε f(θ + σ ε) ≈ 1/P Σ_i ε_i (f(θ + σ ε_i) − f(θ − σ ε_i)) / 2σ

with pairs of opposite perturbations (Salimans et al., 2017, Evolution strategies as a
scalable alternative to reinforcement learning), all of them on one batch, so that what
differs is the parameters alone. The ε_i of up to as many pairs as there are parameters
are orthogonal, of length √d (Choromanski et al., 2018, Structured evolution with
compact architectures): with as many, the estimate is that of central differences.

Of fewer, it sees the share P/d of the gradient, which it makes up for by scale: it is
right on average where f is linear over σ, and with r = P mod d its squared error is

    E|ĝ − g|² = r (d − r)/P² |g|²

Of as many, or a multiple, the same directions serve every step, and the gradient is as
good as exact.
"""

import dataclasses
import math
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import sizes
from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.gradients._automatic import MOST, Estimate, Gradient, simulations

FEW, PAIRS = 32, 8


class ZerothOrder(Gradient):
    """Estimates the gradient from values, whatever simulator they come from.

    Where the objective holds a `GymRollout` its episodes run there, all perturbed
    models' together; otherwise it is traced, as ever.
    """

    pairs: int | None = eqx.field(static=True, default=None)
    """Of opposite perturbations, a step; if None, one for each parameter of up to 32,
    and 8 of more."""
    scale: float = 0.05
    """σ, of each leaf relative to its size."""
    ranked: bool = eqx.field(static=True, default=False)
    """Whether values count by their ranks, from 0 for the best to 1: none for more than
    being the worst, also one that is not finite, as of a simulation that fell over.
    Only the direction of the gradient then means something."""
    traced: bool = eqx.field(static=True, default=True)
    """Whether JAX can trace the objective, if it holds no `GymRollout`. Otherwise it is
    called as it stands, model by model."""

    def __check_init__(self):
        if self.pairs is not None and self.pairs < 1:
            raise RobooptError(f"`pairs` must be at least 1, got {self.pairs}.")
        if not 0 < self.scale < math.inf:
            raise RobooptError(
                f"`scale` must be positive and finite, got {self.scale}."
            )

    def on_host(self, objective: Any) -> bool:
        """Return whether the objective cannot be traced."""
        return not self.traced or bool(simulations(objective))

    def pairs_of(self, free: Any) -> int:
        """Return how many pairs there are of parameters such as `free`."""
        if self.pairs is not None:
            return self.pairs
        size = _size(free)
        return size if size <= FEW else PAIRS

    def repeats(self, free: Any) -> bool:
        """Return whether there is a pair for each parameter, or several."""
        return not self.ranked and self.pairs_of(free) % _size(free) == 0

    def value(self, problem: Any, free: Any, rest: Any, batch: Any) -> Array:
        """Return the loss at `free`."""
        if not self.on_host(problem.objective):
            return super().value(problem, free, rest, batch)
        alone = jax.tree.map(lambda x: x[None], free)
        return _values_on_host(problem, alone, rest, batch)[0][0]

    def estimate(
        self,
        problem: Any,
        free: Any,
        rest: Any,
        batch: Any,
        key: PRNGKeyArray,
        memory: None,
    ) -> tuple[Estimate, None]:
        """Return the gradient at `free`."""
        if self.on_host(problem.objective):
            frees, directions = _perturb_compiled(self, free, key)
            losses, terms = _values_on_host(problem, frees, rest, batch)
            return _combine_compiled(self, free, directions, losses, terms), None
        frees, directions = _perturb(self, free, key)
        losses, terms = jax.vmap(lambda f: problem.evaluate(f, rest, batch))(frees)
        return _combine(self, free, directions, losses, terms), None


def _size(free: Any) -> int:
    """Return the number of parameters."""
    return sum(x.size for x in jax.tree.leaves(free))


def _perturb(
    smoothed: ZerothOrder, free: Any, key: PRNGKeyArray
) -> tuple[Any, Float[Array, "pair parameter"]]:
    """Return `free`, and `free` moved there and back; and the directions."""
    flat, unravel = ravel_pytree(free)
    units, _ = ravel_pytree(jax.tree.map(jnp.full_like, free, sizes(free)))
    if smoothed.repeats(free):
        key = jax.random.key(0)
    pairs = smoothed.pairs_of(free)
    directions = orthogonal(key, pairs, flat.size).astype(flat.dtype)
    there = smoothed.scale * units[None] * directions
    moved = jnp.concatenate([flat[None], flat[None] + there, flat[None] - there])
    return jax.vmap(unravel)(moved), directions


def _combine(
    smoothed: ZerothOrder,
    free: Any,
    directions: Float[Array, "pair parameter"],
    losses: Float[Array, " value"],
    terms: dict[str, Array],
) -> Estimate:
    flat, unravel = ravel_pytree(free)
    units, _ = ravel_pytree(jax.tree.map(jnp.full_like, free, sizes(free)))
    pairs, size = directions.shape
    values = losses[1:]
    if smoothed.ranked:
        ranks = jnp.argsort(jnp.argsort(values)).astype(values.dtype)
        values = ranks / (values.size - 1)
    slopes = (values[:pairs] - values[pairs:]) / (2 * smoothed.scale)
    gradient = slopes @ directions / pairs
    squared = jnp.sum(gradient**2)
    # Of whole frames nothing is missing; of the directions left over, their sum is.
    left = pairs % size
    variance = left * (size - left) / pairs**2
    notes = {
        "gradient_norm": jnp.sqrt(squared / (1 + variance)),
        "gradient_snr": jnp.asarray(1 / variance if variance else MOST, squared.dtype),
    }
    return Estimate(
        losses[0],
        {name: values[0] for name, values in terms.items()},
        unravel((gradient / units).astype(flat.dtype)),
        variance / (1 + variance) * squared,
        notes,
    )


_perturb_compiled = eqx.filter_jit(_perturb)
_combine_compiled = eqx.filter_jit(_combine)


def orthogonal(
    key: PRNGKeyArray, count: int, size: int
) -> Float[Array, "count parameter"]:
    """Return directions of length √size, up to `size` at a time orthogonal."""
    blocks = []
    while count > 0:
        key, own = jax.random.split(key)
        normal = jax.random.normal(own, (size, min(count, size)))
        q, r = jnp.linalg.qr(normal)
        # The signs make it uniform over all orthogonal frames (Mezzadri, 2007).
        blocks.append((q * jnp.sign(jnp.diag(r))[None]).T)
        count -= size
    return math.sqrt(size) * jnp.concatenate(blocks)


class _Played(eqx.Module):
    """A rollout that has been run already."""

    trajectory: Trajectory

    def __call__(self, model: Any, starts: Any, keys: Any = None) -> Trajectory:
        """Return it."""
        return self.trajectory


def _values_on_host(
    problem: Any, frees: Any, rest: Any, batch: Any
) -> tuple[Array, dict[str, Array]]:
    """Return the loss and the terms of each of many models."""
    models = _models(problem, frees, rest)
    found = simulations(problem.objective)
    if not found:
        return _one_by_one(problem, models, batch)
    if isinstance(batch, Trajectory):
        first = np.asarray(batch.observations)[..., 0, :]
        starts = first.reshape(-1, first.shape[-1])
    else:
        starts = np.asarray(batch)
    played = [_in_jax(simulation.many(models, starts)) for simulation in found]
    return _values(problem, frees, rest, batch, played)


@eqx.filter_jit
def _models(problem: Any, frees: Any, rest: Any) -> Any:
    return eqx.filter_vmap(lambda free: problem.model(free, rest))(frees)


@eqx.filter_jit
def _values(
    problem: Any, frees: Any, rest: Any, batch: Any, played: list[Trajectory]
) -> tuple[Array, dict[str, Array]]:
    def value(free, played):
        runs = iter(played)
        outside = lambda x: getattr(x, "differentiable", True) is False  # noqa: E731
        objective = jax.tree.map(
            lambda x: _Played(next(runs)) if outside(x) else x,
            problem.objective,
            is_leaf=outside,
        )
        own = dataclasses.replace(problem, objective=objective)
        return own.evaluate(free, rest, batch)

    return jax.vmap(value)(frees, played)


def _one_by_one(problem: Any, models: Any, batch: Any) -> tuple[Array, dict]:
    count = jax.tree.leaves(eqx.filter(models, eqx.is_array))[0].shape[0]
    arrays, static = eqx.partition(models, eqx.is_array)
    each = []
    for k in range(count):
        own = eqx.combine(jax.tree.map(operator.itemgetter(k), arrays), static)
        each.append(problem.measure(own, batch))
    losses = jnp.stack([jnp.asarray(loss, float) for loss, _ in each])
    names = each[0][1]
    return losses, {n: jnp.stack([terms[n] for _, terms in each]) for n in names}


def _in_jax(trajectory: Trajectory) -> Trajectory:
    def leaf(x: Any) -> Array:
        x = np.asarray(x)
        return jnp.asarray(x, float) if x.dtype.kind == "f" else jnp.asarray(x)

    return jax.tree.map(leaf, trajectory)
