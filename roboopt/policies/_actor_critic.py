"""An actor-critic: a stochastic policy and a value function.

The agent draws an action, and records what was drawn: for a squashed Gaussian the u
before squashing. The likelihood ratio of two policies is that of their u, since the
volume change of a(u) is the same in both and cancels; so actions at a bound, from which
u cannot be recovered, need no special treatment.
"""

import dataclasses
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Normalizer
from roboopt.networks import NormalizedMLP, angle_features
from roboopt.policies._categorical import CategoricalPolicy
from roboopt.policies._clipped import Clipped
from roboopt.policies._distributions import unbounded_log_deviation
from roboopt.policies._gaussian import GaussianPolicy, TanhGaussianPolicy
from roboopt.policies._policy_network import NetworkSettings, untrained_network
from roboopt.policies._spaces import (
    check_action_space,
    check_observation_space,
    choices,
)

INITIAL_SPREAD = 0.5  # standard deviation of actions, in halves of their range
POLICY_GAIN, CRITIC_GAIN = 0.01, 1.0  # of the output layers' orthogonal weights


class ActorCritic(Jittable):
    """A policy and a value function; called, it takes the policy's likeliest action."""

    policy: Any
    """With `sample`, `log_prob` and `entropy`."""
    critic: Any
    """From an observation to the expected discounted sum of future rewards, in the unit
    of the rewards that it is trained with."""
    fresh: bool = eqx.field(static=True, default=False)
    """Whether the policy's inputs are normalized by what is observed in training, as
    the critic's are. A policy that was trained before keeps its normalizer."""

    def __check_init__(self):
        needed = ("sample", "log_prob", "entropy")
        missing = [n for n in needed if not callable(getattr(self.policy, n, None))]
        if missing:
            raise RobooptError(
                "`policy` must have `sample`, `log_prob` and `entropy`, got "
                f"{type(self.policy).__name__} without {', '.join(missing)}: wrap a "
                "deterministic policy in "
                "`roboopt.policies.GaussianExploration(policy, spread)`."
            )

    @classmethod
    def of(
        cls,
        observation_space: Any,
        action_space: Any,
        *,
        key: PRNGKeyArray,
        spread: float = INITIAL_SPREAD,
        **settings: Unpack[NetworkSettings],
    ) -> "ActorCritic":
        """Build an untrained agent for an environment's spaces.

        Args:
            observation_space: a 1-D Box, or the size of an observation.
            action_space: a 1-D Box of real numbers, Discrete or MultiDiscrete; or
                without Gymnasium the limits (low, high) of real numbers, or the number
                of actions without limits.
            key: random key of the weights.
            spread: initial standard deviation of real-valued actions, in halves of
                their range, or in their units where they have no limits; between 0.001
                and 10.
            **settings: `width`, `depth`, `activation`, `angles`, `skip`, of both
                networks.
        """
        size, space = _size(observation_space), _actions(action_space)
        require(0.001 < spread < 10, "spread", "be above 0.001 and below 10", spread)
        if isinstance(space, Normalizer):
            network, critic = _networks(key, size, space.size, settings)
            deviation = unbounded_log_deviation(float(np.log(spread)))
            policy = GaussianPolicy(network, space, jnp.full(space.size, deviation))
        else:
            start, sizes = space
            network, critic = _networks(key, size, len(sizes) * max(sizes), settings)
            policy = CategoricalPolicy(network, (len(sizes),), start, sizes)
        return cls(policy, critic, True)

    @classmethod
    def around(
        cls,
        policy: Any,
        observation_space: Any,
        *,
        key: PRNGKeyArray,
        **settings: Unpack[NetworkSettings],
    ) -> "ActorCritic":
        """Build an agent that continues from `policy`, such as a clone.

        Args:
            policy: with `sample`, `log_prob` and `entropy`; its normalizer stays. A
                `Clipped` policy is taken without its limits, as the environment clips.
            observation_space: as `of`.
            key: random key of the value function's weights.
            **settings: as `of`, of the value function's network.
        """
        critic = _networks(key, _size(observation_space), 1, settings)[1]
        return cls(policy.policy if isinstance(policy, Clipped) else policy, critic)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Shaped[Array, " act"]:
        """Return the policy's likeliest action."""
        return self.policy(observation)

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Shaped[Array, " act"]:
        """Return an action drawn with `key`."""
        return self.policy.sample(observation, key)

    def draw(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Shaped[Array, " act"]:
        """Return the record of an action drawn with `key`."""
        return self._recorded.sample(observation, key)

    def execute(self, drawn: Shaped[AnyArray, " act"]) -> Shaped[AnyArray, " act"]:
        """Return the action that belongs to the record `drawn`."""
        squashed = isinstance(self.policy, TanhGaussianPolicy)
        return self.policy.squashed(jnp.asarray(drawn)) if squashed else drawn

    def log_prob(
        self, observation: Float[AnyArray, " obs"], drawn: Shaped[AnyArray, " act"]
    ) -> Float[Array, ""]:
        """Return the log-density of the record `drawn`."""
        return self._recorded.log_prob(observation, drawn)

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, ""]:
        """Return the entropy of the records [nat]."""
        return self._recorded.entropy(observation)

    def value(self, observation: Float[AnyArray, " obs"]) -> Float[Array, ""]:
        """Return the value of `observation`."""
        return jnp.reshape(self.critic(observation), ())

    @property
    def _recorded(self) -> Any:
        """Return the distribution of what is recorded."""
        policy = self.policy
        return policy.latent if isinstance(policy, TanhGaussianPolicy) else policy

    def seeing(self, normalizer: Normalizer) -> "ActorCritic":
        """Replace the normalizer of the critic's inputs, and of a fresh policy's.

        Sines and cosines of angles are not normalized.
        """
        changed: dict[str, Any] = {}
        if isinstance(self.critic, NormalizedMLP):
            changed["critic"] = _seeing(self.critic, normalizer)
        if self.fresh and isinstance(self.policy, GaussianPolicy | CategoricalPolicy):
            network = _seeing(self.policy.network, normalizer)
            changed["policy"] = dataclasses.replace(self.policy, network=network)
        return dataclasses.replace(self, **changed)


def _size(space: Any) -> int:
    """Return the size of observations."""
    if isinstance(space, int | np.integer):
        require_at_least(1, observation_space=space)
        return int(space)
    check_observation_space(space, "`observation_space` must be")
    return space.shape[0]


def _actions(space: Any) -> Normalizer | tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the units of real-valued actions, or the start and sizes of choices."""
    if isinstance(space, int | np.integer):
        require_at_least(1, action_space=space)
        space = np.full(space, -np.inf), np.full(space, np.inf)
    if isinstance(space, tuple) and len(space) == 2:
        low, high = (np.asarray(limit, float) for limit in space)
        valid = low.ndim == 1 and low.shape == high.shape and np.all(low < high)
        rule = "be limits (low, high), each one number an axis and `low` below `high`"
        require(valid, "action_space", rule, space)
    else:
        check_action_space(space, "`action_space` must be")
        if (found := choices(space)) is not None:
            return found
        low, high = np.asarray(space.low), np.asarray(space.high)  # type: ignore
    # The greatest numbers of a type stand for no limit: their range overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        bounded = np.isfinite(high - low) & (high > low)
        half = np.where(bounded, (high - low) / 2, 1.0)
        middle = np.where(bounded, low + half, 0.0)
    return Normalizer(middle, half)


def _networks(
    key: PRNGKeyArray, size: int, outputs: int, settings: Any
) -> tuple[NormalizedMLP, NormalizedMLP]:
    """Return the networks of policy and critic, with orthogonal weights and no biases.

    NumPy draws the weights: JAX would compile each draw.
    """
    angles = tuple(settings.get("angles", ()))
    seen = jax.eval_shape(lambda x: angle_features(x, angles), jnp.zeros(size))
    inputs = Normalizer(np.zeros(seen.shape), np.ones(seen.shape))
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

    def network(outputs: int, gain: float) -> NormalizedMLP:
        shapes = eqx.filter_eval_shape(
            lambda key: untrained_network(inputs, outputs, key=key, **settings), key
        )
        empty = jax.tree.map(
            lambda x: jnp.asarray(np.zeros(x.shape)) if hasattr(x, "shape") else x,
            shapes,
        )
        layers = shapes.perceptron.layers
        gains = [2**0.5] * (len(layers) - 1) + [gain]
        weights = [
            jnp.asarray(g * _orthogonal(random, *layer.weight.shape))
            for g, layer in zip(gains, layers, strict=True)
        ]
        parts = lambda n: [n.inputs, *(x.weight for x in n.perceptron.layers)]  # noqa: E731
        return eqx.tree_at(parts, empty, [inputs, *weights])

    return network(outputs, POLICY_GAIN), network(1, CRITIC_GAIN)


def _orthogonal(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Draw a matrix with orthonormal rows or columns, uniformly over rotations."""
    shape = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(random.standard_normal(shape))
    q *= np.sign(np.diag(r))
    return q if rows >= columns else q.T


def _seeing(network: NormalizedMLP, normalizer: Normalizer) -> NormalizedMLP:
    """Return `network` with another normalizer of its inputs."""
    rule = f"be of {network.size} axes"
    require(normalizer.size == network.size, "normalizer", rule, normalizer.size)
    straight = np.setdiff1d(np.arange(network.size), network.angles)
    turns = 2 * len(network.angles)
    inputs = Normalizer(
        np.append(np.asarray(normalizer.mean())[straight], np.zeros(turns)),
        np.append(np.asarray(normalizer.scale())[straight], np.ones(turns)),
    )
    return eqx.tree_at(lambda n: n.inputs, network, inputs)
