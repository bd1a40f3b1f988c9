"""A multilayer perceptron all of whose leaves are arrays.

The activations are static fields, so that `jax.grad`, `jax.jit` and optax take a policy
or a learned dynamics as it stands, as they do not take an `equinox.nn.MLP`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Jittable
from roboopt._errors import require_at_least


class MLP(Jittable):
    """Linear layers with an activation between them."""

    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 2,
        *,
        key: PRNGKeyArray,
        activation: Callable[[Array], Array] = jnp.tanh,
        hidden_gain: float = 1.0,
        last_gain: float = 1.0,
    ):
        """Draw small random weights.

        Args:
            inputs: size of the input.
            outputs: size of the output.
            width: neurons a hidden layer, at least 1.
            depth: hidden layers, at least 1.
            key: random key of the weights.
            activation: of the hidden layers.
            hidden_gain: factor on the hidden layers' weights.
            last_gain: factor on the output layer's weights and biases.
        """
        require_at_least(1, width=width, depth=depth)
        self.layers = _random_layers(
            (inputs, outputs), width, depth, key, (hidden_gain, last_gain)
        )
        self.activation = activation

    def _shown(self) -> dict[str, Any]:
        sizes = [self.layers[0].in_features, *(x.out_features for x in self.layers)]
        return {"layers": " → ".join(map(str, sizes)), "activation": self.activation}

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " output"]:
        """Return the output of the last layer."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


@eqx.filter_jit
def _random_layers(
    ends: tuple[int, int],
    width: int,
    depth: int,
    key: PRNGKeyArray,
    gains: tuple[float, float],
) -> tuple[eqx.nn.Linear, ...]:
    """Return the layers of a random network, in one program."""
    hidden_gain, last_gain = gains
    *hidden, last = eqx.nn.MLP(*ends, width, depth, key=key).layers
    weight = lambda layer: layer.weight  # noqa: E731
    both = lambda layer: (layer.weight, layer.bias)  # noqa: E731
    return (
        *(eqx.tree_at(weight, x, hidden_gain * x.weight) for x in hidden),
        eqx.tree_at(both, last, replace_fn=lambda x: last_gain * x),
    )
