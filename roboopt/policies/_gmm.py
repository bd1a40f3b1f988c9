"""A policy of several ways to do it: a mixture of Gaussians, all of a network.

    p(a | o) = Σ_c w_c(o) N(a; μ_c(o), σ_c(o)²)

after Bishop (1994, Mixture density networks). Where demonstrators pass an obstacle on
the left or on the right, the mean of what they did is to hit it. Ours is the start: the
linear policy nearest to the samples, plus what it errs by on one of them a component,
so that they begin where demonstrated actions are and share them out.
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
from roboopt.policies._action_units import ActionUnits
from roboopt.policies._gaussian import log_densities, within_range
from roboopt.policies._observation_network import ObservationNetwork, Settings


class GMMPolicy(Jittable):
    """A mixture of normal distributions; as a policy, the likeliest one's mean.

    The axes of an action, or of a whole chunk, are independent given the component.
    """

    network: ObservationNetwork
    outputs: ActionUnits
    components: int = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        *,
        key: PRNGKeyArray,
        components: int = 5,
        **settings: Unpack[Settings],
    ) -> "GMMPolicy":
        """Return one for `samples`, its components spread over them.

        Args:
            samples: of the training split; actions of real numbers, or chunks of them.
            key: of the weights, and of the samples that the components begin at.
            components: how many; more than there are modes does no harm.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: if `components` is less than 1; and as `MLPPolicy.of`.
        """
        if components < 1:
            raise RobooptError(f"`components` must be at least 1, got {components}.")
        outputs = ActionUnits.of(samples)
        y = jax.vmap(outputs)(samples.actions)
        weights_key, begin_key = jax.random.split(key)
        means = components * outputs.size
        network = ObservationNetwork.of(
            samples.observations,
            2 * means + components,
            key=weights_key,
            targets=np.tile(np.asarray(y), (1, components)),
            **settings,
        )
        fewer = len(samples) < components
        begin = jax.random.choice(begin_key, len(samples), (components,), replace=fewer)
        said = jax.vmap(network)(jnp.asarray(samples.observations)[begin])
        errors = y[begin] - said[:, : outputs.size]
        bias = lambda n: n.perceptron.layers[-1].bias  # noqa: E731
        start = bias(network).at[:means].set(errors.reshape(-1))
        return cls(eqx.tree_at(bias, network, start), outputs, components)

    def _parameters(self, observation: AnyArray) -> tuple[Array, Array, Array]:
        """Return means, logarithms of σ and of w, of the normalized action."""
        said = self.network(observation)
        logits = said[-self.components :]
        means, log_deviations = said[: -self.components].reshape(
            2, self.components, self.outputs.size
        )
        return means, within_range(log_deviations), jax.nn.log_softmax(logits)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the mean of the component of the greatest weight."""
        means, _, log_weights = self._parameters(observation)
        return self.outputs.inverse(means[jnp.argmax(log_weights)])

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Float[Array, "..."]:
        """Return an action drawn with `key`."""
        means, log_deviations, log_weights = self._parameters(observation)
        which_key, where_key = jax.random.split(key)
        which = jax.random.categorical(which_key, log_weights)
        drawn = jax.random.normal(where_key, means.shape[1:], means.dtype)
        return self.outputs.inverse(
            means[which] + jnp.exp(log_deviations[which]) * drawn
        )

    def log_prob(
        self, observation: Float[AnyArray, " obs"], action: Float[AnyArray, "..."]
    ) -> Float[Array, ""]:
        """Return the logarithm of the density at `action`, in the actions' units.

        Of a chunk it is one for the whole, whose steps share the component.

        Raises:
            RobooptError: if `action` is not of the shape of the samples'.
        """
        means, log_deviations, log_weights = self._parameters(observation)
        y = self.outputs(action)
        axes = jax.vmap(lambda m, s: log_densities(y, m, s))(means, log_deviations)
        mixed = jax.scipy.special.logsumexp(log_weights + axes.sum(-1))
        return mixed - self.outputs.log_scale().sum()
