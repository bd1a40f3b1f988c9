"""A flow-matching policy: an action is the end of a flow that begins at noise.

    ẋ = v(o, x, t),   x(0) = z ~ N(0, 1),   x(1) = y, the normalized action

trained by E |v(o, x_t, t) − (y − z)|² at x_t = (1 − t) z + t y (Lipman et al., 2023,
Flow matching for generative modeling; in robots Black et al., 2024, π₀). The flow
represents any distribution of an action or a chunk without a likelihood.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable, check_shape, compiled
from roboopt._errors import require_at_least
from roboopt.data import Normalizer
from roboopt.networks import NormalizedMLP
from roboopt.policies._policy_network import policy_network, with_units

FREQUENCIES = np.pi * np.arange(1, 5)  # of the features of t


class FlowPolicy(Jittable):
    """Actions that flow from noise; called, the policy flows from z = 0.

    From z = 0, the likeliest noise, the flow leads to one action near the mode that
    most noise flows to. Where two modes are equally likely and equally far, it may end
    between them; `sample` does not.
    """

    network: NormalizedMLP
    """v, of the observation, x and features of t."""
    outputs: Normalizer
    steps: int = eqx.field(static=True)
    """Steps of the midpoint rule, of two evaluations of v each."""

    @classmethod
    def of(
        cls, samples: Any, *, key: PRNGKeyArray, steps: int = 10, **settings: Any
    ) -> "FlowPolicy":
        """Build a policy for demonstrations, as `MLPPolicy.of`, with random weights.

        The integration from noise to an action takes `steps` steps.
        """
        require_at_least(1, steps=steps)
        quantiles = settings.get("quantiles", False)
        samples, outputs = with_units(samples, quantiles=quantiles)
        network = policy_network(
            samples.observations,
            outputs.size,
            key=key,
            extra=outputs.size + len(FREQUENCIES) + 1,
            **settings,
        )
        return cls(network, outputs, steps)

    def _velocity(self, observation: AnyArray, x: Array, level: Array) -> Array:
        waves = jnp.cos(jnp.asarray(FREQUENCIES, x.dtype) * level)
        return self.network(observation, jnp.concatenate([x, level[None], waves]))

    def flow_error(
        self,
        observation: Float[AnyArray, " obs"],
        action: Float[AnyArray, "..."],
        noise: Float[AnyArray, "..."],
        level: Float[AnyArray, ""],
    ) -> Float[Array, "..."]:
        """Return v(o, x_t, t) − (y − z) of one sample, in the shape of an action.

        Args:
            observation: o.
            action: in its units; y is its normalized value.
            noise: z, standard normal, in the shape of an action.
            level: t, uniform between 0 (noise) and 1 (action).
        """
        shape = self.outputs.shape
        check_shape("action", action.shape, shape)
        check_shape("noise", noise.shape, shape)
        y, z, t = jnp.ravel(self.outputs(action)), jnp.ravel(noise), jnp.asarray(level)
        error = self._velocity(observation, (1 - t) * z + t * y, t) - (y - z)
        return error.reshape(shape)

    @compiled
    def _flow(self, observation: AnyArray, noise: Array) -> Array:
        length = 1 / self.steps

        def step(x: Array, level: Array) -> tuple[Array, None]:
            middle = x + length / 2 * self._velocity(observation, x, level)
            velocity = self._velocity(observation, middle, level + length / 2)
            return x + length * velocity, None

        levels = jnp.arange(self.steps, dtype=noise.dtype) * length
        y = jax.lax.scan(step, noise, levels)[0]
        return self.outputs.inverse(y.reshape(self.outputs.shape))

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the action that z = 0 flows to."""
        return self._flow(observation, jnp.zeros(self.outputs.size))

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Float[Array, "..."]:
        """Return the action that noise drawn with `key` flows to."""
        return self._flow(observation, jax.random.normal(key, (self.outputs.size,)))
