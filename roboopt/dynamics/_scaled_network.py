"""A perceptron of state and action with normalized inputs and outputs.

    y = μ_y + σ_y ∘ MLP((φ(s, a) − μ_x) / σ_x)

The features φ are the state and the action, with each angle replaced by its sine and
cosine, so that the output is periodic in full turns.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Normalizer


def identity(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return x."""
    return x


def with_turns(
    x: Float[Array, " axis"], angles: tuple[int, ...]
) -> Float[Array, " feature"]:
    """Return x with its `angles` replaced by their sines and cosines, at the end."""
    if not angles:
        return x
    axes = np.array(angles, int)
    straight = np.setdiff1d(np.arange(x.shape[0]), axes)
    return jnp.concatenate([x[straight], jnp.sin(x[axes]), jnp.cos(x[axes])])


def check_angles(name: str, angles: tuple[int, ...], size: int) -> None:
    """Refuse angles that are not axes of `name`, a vector of `size` numbers."""
    if len(set(angles)) < len(angles) or not set(angles) <= set(range(size)):
        raise RobooptError(
            f"`angles` must name axes 0 to {size - 1} of the {name} once each, got "
            f"{angles}."
        )


def check_perceptron(width: int, depth: int) -> None:
    """Refuse a perceptron without neurons or hidden layers."""
    if width < 1 or depth < 1:
        raise RobooptError(
            f"`width` and `depth` must be at least 1, got {width} and {depth}."
        )


class ScaledNetwork(Jittable):
    """`network(state, action)`: inputs normalized, outputs in their units."""

    network: eqx.nn.MLP
    inputs: Normalizer
    outputs: Normalizer
    state_size: int = eqx.field(static=True)
    angles: tuple[int, ...] = eqx.field(static=True)
    """The axes of the state of which the network sees sine and cosine."""

    def __init__(
        self,
        states: Float[AnyArray, "sample state"],
        actions: Float[AnyArray, "_ act"],
        outputs: Normalizer,
        *,
        key: PRNGKeyArray,
        angles: tuple[int, ...] = (),
        width: int = 64,
        depth: int = 2,
        activation: Callable[[Array], Array] = jnp.tanh,
        final_activation: Callable[[Array], Array] = identity,
        zero: bool = False,
    ):
        """Start from small random weights.

        Args:
            states: samples by which the inputs are normalized.
            actions: actions of the same samples.
            outputs: normalizer whose inverse gives the perceptron's outputs units.
            key: key of the weights.
            angles: axes of the state that are angles of full turns.
            width: neurons of each hidden layer.
            depth: number of hidden layers.
            activation: activation of the hidden layers.
            final_activation: activation of the last layer, before the outputs' units.
            zero: whether the last layer starts at zero, and every output at its mean.

        Raises:
            RobooptError: if there are no samples or the lengths differ, an
                angle is not an axis of the state, or `width` or `depth` is less than 1.
        """
        if len(states) != len(actions):
            raise RobooptError(
                "`states` and `actions` must have the same length, got "
                f"{len(states)} and {len(actions)}."
            )
        self.state_size, self.angles = states.shape[-1], tuple(angles)
        check_angles("state", self.angles, self.state_size)
        check_perceptron(width, depth)
        self.inputs = Normalizer.of(jax.vmap(self.features)(states, actions))
        self.outputs = outputs
        network = eqx.nn.MLP(
            self.inputs.size,
            outputs.size,
            width,
            depth,
            activation,
            final_activation,
            key=key,
        )
        if zero:
            last = lambda mlp: (mlp.layers[-1].weight, mlp.layers[-1].bias)  # noqa: E731
            network = eqx.tree_at(last, network, replace_fn=jnp.zeros_like)
        self.network = network

    @property
    def action_size(self) -> int:
        """Return the size of an action."""
        return self.inputs.size - self.state_size - len(self.angles)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Return the sizes of state, action and output."""
        return self.state_size, self.action_size, self.outputs.size

    def features(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " feature"]:
        """Return φ(s, a), before it is normalized."""
        turned = with_turns(jnp.asarray(state), self.angles)
        return jnp.concatenate([turned, jnp.asarray(action)])

    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " output"]:
        """Return the outputs in their units.

        Raises:
            RobooptError: if `state` or `action` has another size than the samples.
        """
        expected = (self.state_size,), (self.action_size,)
        if (state.shape, action.shape) != expected:
            raise RobooptError(
                f"`state` and `action` must have shapes {expected[0]} and "
                f"{expected[1]}, got {state.shape} and {action.shape}."
            )
        features = self.features(state, action)
        return self.outputs.inverse(self.network(self.inputs(features)))
