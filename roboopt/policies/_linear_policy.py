"""A linear policy for demonstrations: a = W φ(o) + b.

The features φ are the observation with each angle replaced by its sine and cosine, and
W and b begin at the least squares of the demonstrated actions.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Jittable
from roboopt.data import Normalizer
from roboopt.networks import angle_features
from roboopt.policies._policy_network import least_squares_path, with_units


class LinearPolicy(Jittable):
    """a = μ_a + σ_a ∘ (W x + b), with x = (φ(o) − μ) / σ."""

    matrix: Float[Array, "output feature"]
    """W"""
    offset: Float[Array, " output"]
    """b"""
    inputs: Normalizer
    outputs: Normalizer
    angles: tuple[int, ...] = eqx.field(static=True, default=())
    """The axes of the observation that are angles."""

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        angles: tuple[int, ...] = (),
        quantiles: bool = False,
        **settings: Any,
    ) -> "LinearPolicy":
        """Return the least squares of demonstrations.

        Actions at `low` or `high` are censored: going beyond these is no error.

        Args:
            samples: demonstrations with real-valued actions, or chunks of them.
            angles: axes of the observation that are angles.
            quantiles: as in `Normalizer.of`.
            **settings: those of a network, which are not used.
        """
        samples, outputs = with_units(samples, quantiles=quantiles)
        features = angle_features(samples.observations, tuple(angles))
        inputs = Normalizer.of(features, quantiles=quantiles)
        x = np.asarray(jax.vmap(inputs)(features), float)
        matrix, offset = least_squares_path(x, samples, outputs)
        return cls(jnp.array(matrix), jnp.array(offset), inputs, outputs, tuple(angles))

    @property
    def size(self) -> int:
        """Return the size of an observation."""
        return self.inputs.size - len(self.angles)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the action, or chunk of actions, in its units."""
        x = self.inputs(angle_features(observation, self.angles))
        y = self.matrix @ x + self.offset
        return self.outputs.inverse(y.reshape(self.outputs.shape))
