"""Dropout: in training, each neuron of a hidden layer is off with a probability p.

The others count 1/(1 − p) times as much, so that the trained policy needs no change to
act with all neurons (Srivastava et al., 2014, Dropout). A neuron is dropped by its
column of weights in the next layer; groups of samples have masks of their own.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from roboopt._errors import require
from roboopt.networks import MLP
from roboopt.objectives import ActionMismatch, Objective, Term

GROUPS = 16  # of the samples of a batch


class Masked(eqx.Module):
    """A batch, and the key of the masks of its groups; None for no dropout."""

    batch: Any
    key: PRNGKeyArray | None = None


class Dropout(Objective):
    """`objective` of a policy some of whose neurons are off."""

    objective: ActionMismatch
    share: float = eqx.field(static=True)
    """p"""

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of the objective, those of the groups averaged."""
        if batch.key is None:
            return self.objective.terms(model, batch.batch)
        count = jax.tree.leaves(batch.batch)[0].shape[0]
        groups = next(n for n in range(min(GROUPS, count), 0, -1) if count % n == 0)
        parts = jax.tree.map(lambda x: x.reshape(groups, -1, *x.shape[1:]), batch.batch)

        def of_group(part: Any, key: PRNGKeyArray) -> Any:
            return self.objective.terms(thinned(model, self.share, key), part)

        found = jax.vmap(of_group)(parts, jax.random.split(batch.key, groups))
        return jax.tree.map(lambda x: jnp.mean(x, 0), found)

    def batches(self, samples: Any, size: int) -> Any:
        """Return the data of `minimize`: `size` samples, drawn anew in each step."""
        count = jax.tree.leaves(samples)[0].shape[0]

        def drawn(model: Any, key: PRNGKeyArray) -> Masked:
            for_rows, for_masks = jax.random.split(key)
            rows = jax.random.randint(for_rows, (size,), 0, count)
            batch = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), samples)
            return Masked(batch, for_masks)

        return drawn


def regularization(model: Any, **given: float) -> dict[str, str]:
    """Return the description of `dropout` and `weight_decay`, none where both are 0.

    Raises:
        RobooptError: if the model has no layers for them.
    """
    is_network = lambda x: isinstance(x, MLP)  # noqa: E731
    networks = filter(is_network, jax.tree.leaves(model, is_leaf=is_network))
    paths = jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_array))
    weights = (path for path, _ in paths if getattr(path[-1], "name", "") == "weight")
    acts = {"dropout": any(networks), "weight_decay": any(weights)}
    given = {name: value for name, value in given.items() if value}
    for name, value in given.items():
        require(acts[name], name, "be 0 for a policy without hidden layers", value)
    words = ", ".join(f"{n.replace('_', ' ')} {x:g}" for n, x in given.items())
    return {"regularization": words} if words else {}


def thinned(model: Any, share: float, key: PRNGKeyArray) -> Any:
    """Return a model whose perceptrons lack a random share of their neurons."""

    def thin(network: Any) -> Any:
        nonlocal key
        if not isinstance(network, MLP):
            return network
        layers = list(network.layers)
        for k, layer in enumerate(layers[1:], 1):
            key, own = jax.random.split(key)
            kept = jax.random.bernoulli(own, 1 - share, layer.weight.shape[1:])
            factor: Array = kept / (1 - share)
            thin_weight = layer.weight * factor[None].astype(layer.weight.dtype)
            layers[k] = eqx.tree_at(lambda one: one.weight, layer, thin_weight)
        return eqx.tree_at(lambda net: net.layers, network, tuple(layers))

    return jax.tree.map(thin, model, is_leaf=lambda x: isinstance(x, MLP))
