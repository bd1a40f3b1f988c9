"""A small network as a policy, its inputs and outputs in scales it can work with."""

from collections.abc import Callable
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations, Normalizer
from roboopt.dynamics._scaled_network import identity
from roboopt.policies._action_units import ActionUnits
from roboopt.policies._observation_network import ObservationNetwork, Settings


class MLPPolicy(Jittable):
    """a = μ + σ ∘ final(network(o)): a perceptron in the units of robots."""

    network: ObservationNetwork
    outputs: ActionUnits
    final: Callable[[Array], Array]
    """Of the network's outputs: tanh, which bounds them, or nothing."""

    def __init__(
        self,
        scale: Any,
        limits: Any,
        *,
        key: PRNGKeyArray,
        width: int = 32,
        depth: int = 2,
        activation: Callable[[Array], Array] = jnp.tanh,
    ):
        """Start from small random weights, with actions bounded by tanh.

        Args:
            scale: one of each observation's units, what the network sees as 1.
            limits: of the actions, either way [N·m or N].
            key: of the weights.
            width: neurons a hidden layer.
            depth: hidden layers.
            activation: of the hidden layers.

        Raises:
            RobooptError: if `scale` or `limits` are not positive and finite, or `width`
                or `depth` is less than 1.
        """
        for name, value in (("scale", scale), ("limits", limits)):
            value = np.asarray(value, float)
            if value.ndim != 1 or not np.all((value > 0) & np.isfinite(value)):
                raise RobooptError(
                    f"`{name}` must be positive, finite numbers, got {value}."
                )
        self.network = ObservationNetwork(
            Normalizer(np.zeros(len(scale)), scale),
            len(limits),
            key=key,
            width=width,
            depth=depth,
            activation=activation,
            skip=False,
        )
        units = Normalizer(np.zeros(len(limits)), limits)
        self.outputs = ActionUnits(units, (len(limits),))
        self.final = jnp.tanh

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        *,
        key: PRNGKeyArray,
        **settings: Unpack[Settings],
    ) -> "MLPPolicy":
        """Return one for `samples`, which inputs and outputs are normalized by.

        It starts at the linear policy nearest to them, beyond `low` and `high` where
        they are cut off. Its own actions have no bounds.

        Args:
            samples: of the training split; actions of real numbers, or chunks of them.
            key: of the weights.
            **settings: `width`, `depth`, `activation`, `angles`, `skip`.

        Raises:
            RobooptError: if `samples` are empty or not finite, their actions are
            choices,
                an angle is not an axis of the observation, or `width` or `depth` is
                less than 1.
        """
        outputs = ActionUnits.of(samples)
        vectors = lambda a: None if a is None else jax.vmap(outputs)(a)  # noqa: E731
        network = ObservationNetwork.of(
            samples.observations,
            outputs.size,
            key=key,
            targets=vectors(samples.actions),
            lower=vectors(samples.low),
            upper=vectors(samples.high),
            **settings,
        )
        bounded = cls(np.ones(1), np.ones(1), key=key, width=1, depth=1)
        parts = lambda p: (p.network, p.outputs, p.final)  # noqa: E731
        return eqx.tree_at(parts, bounded, (network, outputs, identity))

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the action, or chunk of actions, in its units."""
        return self.outputs.inverse(self.final(self.network(observation)))
