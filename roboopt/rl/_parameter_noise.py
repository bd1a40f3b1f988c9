"""Exploration in parameter space: noise on what a policy is, not on what it does.

    θ = θ_0 + u ∘ (x + σ ∘ ε),   ε ~ N(0, 1)

for the parameters θ of any policy, drawn once for a whole episode (Sehnke et al., 2010,
Parameter-exploring policy gradients). A drawn policy acts without noise: smoothly, as a
robot can, and its return is explained by as many numbers as there are parameters, not
as there are actions in an episode. So it is for few parameters, such as gains, and for
many decisions a second.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable, check_shape, sizes, trainable_mask
from roboopt._errors import require, require_positive
from roboopt.policies import Normal


class ParameterNoise(Jittable):
    """A normal distribution about the parameters of a policy; as a policy, its middle.

    Draws, and the trainable arrays, are changes of the parameters in units u, which are
    `spread` times the size of the array that they are in.
    """

    given: Frozen[Any]
    """The policy that the distribution is about at first."""
    shift: Float[Array, " parameter"]
    """x: where the middle is, in u."""
    log_deviation: Float[Array, " parameter"]
    """log σ, with σ in u."""
    unit: Frozen[Float[Array, " parameter"]]

    def __init__(self, policy: Any, spread: float = 0.1):
        """Explore around `policy`.

        Args:
            policy: a pytree with floating-point arrays to train, outside `Frozen`.
            spread: the standard deviation at first, of each array relative to its root
                mean square, or to 0.1 where that is less.

        Raises:
            RobooptError: if `spread` is not positive and finite, or no array is
                trainable.
        """
        require_positive(spread=spread)
        trained = eqx.filter(policy, trainable_mask(policy))
        rule, held = "have a floating-point array to tune", jax.tree.structure(policy)
        require(jax.tree.leaves(trained), "policy", rule, held)
        size = ravel_pytree(jax.tree.map(jnp.full_like, trained, sizes(trained)))[0]
        self.given = Frozen(policy)
        self.unit = Frozen(spread * size)
        self.shift = jnp.zeros_like(size)
        self.log_deviation = jnp.zeros_like(size)

    @property
    def policy(self) -> Any:
        """Return the policy in the middle."""
        return self.at(self.shift)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the action of the policy in the middle."""
        return self.policy(observation)

    def at(self, drawn: Float[AnyArray, " parameter"]) -> Any:
        """Return the policy that was drawn.

        Raises:
            RobooptError: if `drawn` does not hold a number for each parameter.
        """
        check_shape("drawn", drawn.shape, self.shift.shape)
        given = self.given()
        trained, rest = eqx.partition(given, trainable_mask(given))
        flat, restored = ravel_pytree(trained)
        return eqx.combine(restored(flat + self.unit() * drawn), rest)

    def draw(self, key: PRNGKeyArray) -> Float[Array, " parameter"]:
        """Return the change of the parameters that `key` draws."""
        normal = jax.random.normal(key, self.shift.shape, self.shift.dtype)
        return self.shift + jnp.exp(self.log_deviation) * normal

    def log_prob(
        self, observation: Float[AnyArray, " obs"], drawn: Float[AnyArray, " parameter"]
    ) -> Float[Array, ""]:
        """Return the logarithm of the density at `drawn`, whatever is observed.

        Raises:
            RobooptError: if `drawn` does not hold a number for each parameter.
        """
        check_shape("drawn", drawn.shape, self.shift.shape)
        return Normal(self.shift, self.log_deviation).log_prob(drawn)

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, ""]:
        """Return the entropy of the distribution [nat], whatever is observed."""
        return jnp.sum(self.log_deviation + 0.5 * math.log(2 * math.pi * math.e))
