"""A policy that flows from noise to an action: flow matching.

    ẋ = v(o, x, t),   x(0) = z ~ N(0, 1),   x(1) = y, the normalized action

learned by E |v(o, x_t, t) − (y − z)|² at x_t = (1 − t) z + t y (Lipman et al., 2023,
Flow matching for generative modeling; in robots Black et al., 2024, π₀). It represents
any distribution of an action or a chunk, and no likelihood is needed for that.
"""

from typing import Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.policies._action_units import ActionUnits, check_shape
from roboopt.policies._observation_network import ObservationNetwork, Settings

FREQUENCIES = np.pi * np.arange(1, 5)  # of the features of t


class FlowPolicy(Jittable):
    """Actions that flow from noise; as a policy, the one that flows from no noise.

    From z = 0, the likeliest noise, it flows to one and the same action, near the mode
    that most noise flows to. Where two modes are equally likely and equally far, it may
    stay between them: `sample` does not.
    """

    network: ObservationNetwork
    """v: of the observation, x and features of t."""
    outputs: ActionUnits
    steps: int = eqx.field(static=True)
    """Of the midpoint rule from noise to action, two evaluations of v each."""

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        *,
        key: PRNGKeyArray,
        steps: int = 10,
        **settings: Unpack[Settings],
    ) -> "FlowPolicy":
        """Return one for `samples`, with small random weights.

        Args:
            samples: of the training split; actions of real numbers, or chunks of them.
            key: of the weights.
            steps: from noise to an action.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: if `steps` is less than 1; and as `MLPPolicy.of`.
        """
        if steps < 1:
            raise RobooptError(f"`steps` must be at least 1, got {steps}.")
        outputs = ActionUnits.of(samples)
        network = ObservationNetwork.of(
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
            action: what y is normalized from, in its units.
            noise: z, in the shape of an action; from a standard normal distribution.
            level: t, from 0, all noise, to 1, none; from a uniform distribution.

        Raises:
            RobooptError: if `action` or `noise` is not of the shape of the samples'.
        """
        check_shape("noise", noise.shape, self.outputs.shape)
        y, z, t = self.outputs(action), jnp.ravel(noise), jnp.asarray(level)
        error = self._velocity(observation, (1 - t) * z + t * y, t) - (y - z)
        return error.reshape(self.outputs.shape)

    def _flow(self, observation: AnyArray, noise: Array) -> Array:
        length = 1 / self.steps

        def step(x: Array, level: Array) -> tuple[Array, None]:
            middle = x + length / 2 * self._velocity(observation, x, level)
            velocity = self._velocity(observation, middle, level + length / 2)
            return x + length * velocity, None

        levels = jnp.arange(self.steps, dtype=noise.dtype) * length
        return self.outputs.inverse(jax.lax.scan(step, noise, levels)[0])

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return what no noise flows to: the same action every time."""
        return self._flow(observation, jnp.zeros(self.outputs.size))

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Float[Array, "..."]:
        """Return what noise drawn with `key` flows to."""
        return self._flow(observation, jax.random.normal(key, (self.outputs.size,)))
