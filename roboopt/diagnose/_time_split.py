"""The gradient of a policy, split by the steps of its rollout.

    dL/dp = Σ_t ∂a_t/∂p · dL/da_t

The derivative dL/da_t by the action of step t, which includes all that the action
changes later, is that by a nudge added to the action.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._programs import filter_jit
from roboopt.diagnose._explanation import TimeSplit
from roboopt.gradients import LossFn
from roboopt.objectives import RolloutObjective, Sum
from roboopt.policies import StatefulPolicy, act, initial_carry


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


def time_split(
    loss_fn: LossFn,
    params: Any,
    batch: Any,
    rows: Sequence[tuple[int, int | None, float]],
) -> TimeSplit | None:
    """Split a gradient by time, None where the objective is not one of rollouts.

    Args:
        loss_fn: the loss, a mean over the starts.
        params: the parameters of the policy.
        batch: starts (starts, obs); there is no split for any other batch.
        rows: the parameters: the number of the leaf, of an element in it or None, and a
            factor of the derivative.
    """
    objective: Any = loss_fn.objective
    parts: list[Any] = [objective]
    if isinstance(objective, Sum):
        parts = [part for _, part in objective.parts]
    if not all(isinstance(p, RolloutObjective) and p.differentiable for p in parts):
        return None
    dynamics = getattr(parts[0].rollout, "dynamics", None)
    time_step = getattr(dynamics, "time_step", None)
    if time_step is None or np.ndim(batch) != 2:
        return None
    starts = jnp.asarray(batch)
    places = tuple((leaf, index) for leaf, index, _ in rows)
    slopes, shares = _split(loss_fn, parts[0].rollout, params, starts, places)
    # The loss is a mean over the starts; dL/da of one motion is asked for.
    each = np.asarray(slopes, float) * len(starts)
    return TimeSplit(
        time_step=float(time_step),
        sensitivity=np.sqrt(np.mean(np.sum(each**2, -1), 0)),
        shares=None if shares is None else np.asarray(shares) * [f for _, _, f in rows],
    )


@filter_jit
def _split(
    loss_fn: LossFn,
    rollout: Any,
    params: Any,
    starts: Float[Array, "start obs"],
    rows: tuple[tuple[int, int | None], ...],
) -> tuple[Float[Array, "start time act"], Float[Array, "time row"] | None]:
    """Return dL/da_t of each start, and the parts of each row's derivative."""
    policy, time_step = loss_fn.build(params), rollout.dynamics.time_step
    made = rollout(policy, starts)

    def loss(nudges):
        def one(start, own):
            return loss_fn.objective(_Nudged(policy, own, time_step), start[None])

        return jnp.mean(jax.vmap(one)(starts, nudges))

    slopes = jax.grad(loss)(jnp.zeros_like(made.actions))
    if isinstance(policy, StatefulPolicy):
        return slopes, None

    def share(step):
        """Return the part of the gradient that the actions of one step carry."""
        observations, slopes, time = step

        def actions(params):
            own = loss_fn.build(params)
            return jax.vmap(lambda o: act(own, None, o, time)[1])(observations)

        (part,) = jax.vjp(actions, params)[1](slopes)
        leaves = [leaf.ravel() for leaf in jax.tree.leaves(part)]
        found = [
            jnp.linalg.norm(leaves[leaf]) if index is None else leaves[leaf][index]
            for leaf, index in rows
        ]
        return jnp.stack(found)

    times = jnp.arange(made.actions.shape[1]) * time_step
    before = jnp.swapaxes(made.observations[:, :-1], 0, 1)
    return slopes, jax.lax.map(share, (before, jnp.swapaxes(slopes, 0, 1), times))
