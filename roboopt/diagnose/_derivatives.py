"""The derivatives of an objective's terms, and for rollouts their split by time.

The gradient of a policy is a sum over the steps of its rollout,

    dL/dp = Σ_t ∂a_t/∂p · dL/da_t

The derivative dL/da_t by the action of step t, which includes all that the action
changes later, is that by a nudge added to the action. One compiled program returns the
derivatives by the parameters and by the nudges.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import sizes
from roboopt._errors import RobooptError
from roboopt._programs import filter_jit
from roboopt.diagnose._explanation import TimeSplit
from roboopt.gradients import LossFn
from roboopt.objectives import Objective, RolloutObjective, Sum
from roboopt.policies import StatefulPolicy, act, initial_carry

MAX_DIFFERENCED = 64  # parameters of an objective that JAX cannot differentiate
DIFFERENCE_STEP = 1e-3  # of a parameter's scale
MAX_LEFT_OUT = 1e-2  # of the largest derivative, by the shares of all steps
MIN_NORM = 1e-30  # of a derivative whose direction counts


class Derivatives(NamedTuple):
    """The weighted terms of a loss, and their derivatives."""

    values: Any
    """(term,)"""
    slopes: Any
    """Of each term in each leaf (term, ...)."""
    by_action: Any = None
    """dL/da (start, time, act) of rollouts."""
    shares: Any = None
    """What the actions of a step share in the derivative of each row (time, row), of an
    array along its whole derivative; None for a policy with memory."""
    add_up: Any = True
    """Whether the shares do: not where the policy sees its observations with noise."""


class _Nudged(StatefulPolicy):
    """A policy whose actions are moved by a number of their own in every step."""

    policy: Any
    nudges: Float[Array, "time act"]
    time_step: float

    def init(self, key: Any) -> Any:
        """Return the policy's own carry."""
        return initial_carry(self.policy, key)

    def __call__(self, carry: Any, observation: Any, time: Any) -> tuple[Any, Any]:
        """Return the policy's action, moved by the nudge of this step."""
        carry, action = act(self.policy, carry, observation, time)
        index = jnp.round(time / self.time_step).astype(int)
        return carry, action + self.nudges[index].astype(action.dtype)


def _parts(objective: Any) -> Sequence[tuple[Any, Any]]:
    return objective.parts if isinstance(objective, Sum) else [(1.0, objective)]


def decay_time(objective: Any) -> float:
    """Return the shortest `gradient_decay_time` of the rollouts of an objective [s]."""
    rollouts = [getattr(part, "rollout", None) for _, part in _parts(objective)]
    return min(
        getattr(rollout, "gradient_decay_time", math.inf) for rollout in rollouts
    )


def splits_by_time(objective: Any, batch: Any) -> bool:
    """Return whether an objective is one of a policy's rollouts from starts."""
    made = [part for _, part in _parts(objective)]
    if not all(isinstance(p, RolloutObjective) and p.differentiable for p in made):
        return False
    dynamics = [getattr(part.rollout, "dynamics", None) for part in made]
    known = all(hasattr(twin, "time_step") for twin in dynamics)
    return known and np.ndim(batch) == 2


def time_split(
    objective: Any, found: Derivatives, factors: Sequence[float]
) -> TimeSplit | None:
    """Return the split by time of a loss that is a mean over starts.

    `factors` multiply the derivative of each row. None without derivatives by actions.
    """
    if found.by_action is None:
        return None
    # The loss is a mean over the starts; dL/da of one motion is asked for.
    each = np.asarray(found.by_action, float) * len(found.by_action)
    _, part = _parts(objective)[0]
    split = found.shares is not None and bool(found.add_up)
    return TimeSplit(
        time_step=float(part.rollout.dynamics.time_step),
        sensitivity=np.sqrt(np.mean(np.sum(each**2, -1), 0)),
        shares=np.asarray(found.shares) * factors if split else None,
    )


@filter_jit
def differentiated(
    loss_fn: LossFn,
    params: Any,
    batch: Any,
    places: Sequence[tuple[int, int | None]] | None = None,
) -> Derivatives:
    """Return the weighted terms and their derivatives.

    With `places`, these are split by time, and the terms must be those of rollouts: by
    row the number of the leaf, and of an element in it or None.
    """
    if places is not None:
        return _by_time(loss_fn, params, jnp.asarray(batch), places)

    def terms(params):
        return _weighted(loss_fn.objective, loss_fn.build(params), batch)

    values, back = jax.vjp(terms, params)
    (slopes,) = jax.vmap(back)(jnp.eye(len(values), dtype=values.dtype))
    return Derivatives(values, slopes)


def _weighted(objective: Any, model: Any, batch: Any) -> Float[Array, " term"]:
    """Return weight · value of each term; the loss where there are no terms."""
    if not isinstance(objective, Objective):
        return jnp.asarray(objective(model, batch)).reshape(1)
    terms = objective.terms(model, batch).values()
    return jnp.stack([jnp.asarray(term.weight * term.value) for term in terms])


def _by_time(
    loss_fn: LossFn,
    params: Any,
    starts: Float[Array, "start obs"],
    places: Sequence[tuple[int, int | None]],
) -> Derivatives:
    """Return the derivatives with those by each action."""
    parts = _parts(loss_fn.objective)
    rollout, policy = parts[0][1].rollout, loss_fn.build(params)
    time_step = rollout.dynamics.time_step
    actions = eqx.filter_eval_shape(rollout, policy, starts).actions

    def terms(params, nudges):
        own, made, found = loss_fn.build(params), {}, []
        # With a policy for each start, rollouts draw what they draw in the loss.
        policies = eqx.filter_vmap(lambda n: _Nudged(own, n, time_step))(nudges)
        for weight, part in parts:
            if id(part.rollout) not in made:
                made[id(part.rollout)] = part.rollout.many(
                    policies, starts, paired=True
                )
            own_terms = part.trajectory_terms(made[id(part.rollout)], starts).values()
            found += [weight * term.weight * term.value for term in own_terms]
        return jnp.stack(found), made[id(rollout)].observations

    nudges = jnp.zeros(actions.shape, actions.dtype)
    values, back, observations = jax.vjp(terms, params, nudges, has_aux=True)
    slopes, by_term = jax.vmap(back)(jnp.eye(len(values), dtype=values.dtype))
    by_action = by_term.sum(0)
    if isinstance(policy, StatefulPolicy):
        return Derivatives(values, slopes, by_action)

    gradient = [slope.sum(0).ravel() for slope in jax.tree.leaves(slopes)]
    whole = [g / jnp.maximum(jnp.linalg.norm(g), MIN_NORM) for g in gradient]

    def along(leaves):
        """Return each row's number of a derivative, of an array along the whole."""
        return jnp.stack(
            [
                jnp.vdot(leaves[k], whole[k]) if index is None else leaves[k][index]
                for k, index in places
            ]
        )

    def share(step):
        """Return the part of the gradient that the actions of one step carry."""
        observations, slopes, time = step

        def actions(params):
            own = loss_fn.build(params)
            return jax.vmap(lambda o: act(own, None, o, time)[1])(observations)

        (part,) = jax.vjp(actions, params)[1](slopes)
        return along([leaf.ravel() for leaf in jax.tree.leaves(part)])

    times = jnp.arange(nudges.shape[1]) * time_step
    before = jnp.swapaxes(observations[:, :-1], 0, 1)
    shares = jax.lax.map(share, (before, jnp.swapaxes(by_action, 0, 1), times))
    total = along(gradient)
    away = jnp.abs(shares.sum(0) - total).max()
    add_up = away <= MAX_LEFT_OUT * jnp.abs(total).max()
    return Derivatives(values, slopes, by_action, shares, add_up)


def differenced(loss_fn: LossFn, params: Any, batch: Any) -> Derivatives:
    """Return the weighted terms and their derivatives by central differences."""
    leaves, structure = jax.tree.flatten(params)
    count = sum(leaf.size for leaf in leaves)
    if count > MAX_DIFFERENCED:
        raise RobooptError(
            "`objective` must be differentiable by JAX for more than "
            f"{MAX_DIFFERENCED} parameters, got {count} parameters and a simulator "
            "outside JAX."
        )
    moved, steps = [params], []
    for k, (leaf, scale) in enumerate(
        zip(leaves, jax.tree.leaves(sizes(params)), strict=True)
    ):
        for index in range(leaf.size):
            for step in (DIFFERENCE_STEP * scale, -DIFFERENCE_STEP * scale):
                own = leaf.ravel().at[index].add(step).reshape(leaf.shape)
                changed = [*leaves[:k], own, *leaves[k + 1 :]]
                moved.append(jax.tree.unflatten(structure, changed))
            steps.append(DIFFERENCE_STEP * scale)
    stacked = jax.tree.map(lambda *own: jnp.stack(own), *moved)
    models = eqx.filter_vmap(loss_fn.build)(stacked)
    terms = loss_fn.objective.evaluate_many(models, batch)  # pyright: ignore
    values = jnp.stack([term.weight * term.value for term in terms.values()])
    slopes = (values[:, 1::2] - values[:, 2::2]) / (2 * jnp.stack(steps)[None])
    parts = jnp.split(slopes, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    parts = [
        part.reshape(len(values), *leaf.shape)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return Derivatives(values[:, 0], jax.tree.unflatten(structure, parts))
