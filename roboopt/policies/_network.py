"""A small network as a policy, its inputs and outputs in scales it can work with."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._frozen import Frozen
from roboopt._jittable import Jittable
from roboopt._typing import AnyArray


class NetworkPolicy(Jittable):
    """a = limit · MLP(o / scale), which ends in tanh: a perceptron with bounds."""

    network: eqx.nn.MLP
    scale: Frozen[Float[Array, " obs"]]
    """One of each observation's units, what the network sees as 1."""
    limits: Frozen[Float[Array, " act"]]
    """[N·m or N]"""

    def __init__(
        self,
        scale: Any,
        limits: Any,
        *,
        key: PRNGKeyArray,
        width: int = 32,
        depth: int = 2,
        activation: Callable[[Array], Array] = jax.nn.tanh,
    ):
        """Start from small random weights.

        Raises:
            ValueError: if `scale` or `limits` are not positive and finite, or `width`
                or `depth` is less than 1.
        """
        for name, value in (("scale", scale), ("limits", limits)):
            value = np.asarray(value, float)
            if value.ndim != 1 or not np.all((value > 0) & np.isfinite(value)):
                raise ValueError(
                    f"`{name}` must be positive, finite numbers, got {value}."
                )
        if width < 1 or depth < 1:
            raise ValueError(
                f"`width` and `depth` must be at least 1, got {width} and {depth}."
            )
        self.network = eqx.nn.MLP(
            len(scale), len(limits), width, depth, activation, jnp.tanh, key=key
        )
        self.scale = Frozen(jnp.asarray(scale, float))
        self.limits = Frozen(jnp.asarray(limits, float))

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N]."""
        return self.limits() * self.network(jnp.asarray(observation) / self.scale())
