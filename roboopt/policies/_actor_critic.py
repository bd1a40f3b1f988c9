"""An agent: a stochastic policy, and how much it expects to earn from where it is.

The policy draws what it does, and what was drawn is what is recorded: of a squashed
Gaussian the u before it is squashed. The likelihood ratio of two policies is that of
their u, for the volume a(u) has is the same in both and cancels; so there is nothing
special at a bound, where u cannot be had back from the action.
"""

import dataclasses
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Normalizer
from roboopt.policies._action_units import ActionUnits
from roboopt.policies._categorical import CategoricalPolicy
from roboopt.policies._clipped import Clipped
from roboopt.policies._gaussian import GaussianPolicy, TanhGaussianPolicy, out_of_range
from roboopt.policies._observation_network import ObservationNetwork, Settings
from roboopt.policies._spaces import check_action_space

SPREAD = 0.5  # Of a fresh policy's actions, in halves of their range.
LAST = 0.01, 1.0  # Of the last layer's weights: of the policy's, and the critic's.


class ActorCritic(Jittable):
    """A policy and a value function; as a policy, the policy's likeliest action."""

    policy: Any
    """With `sample`, `log_prob` and `entropy`."""
    critic: Any
    """From an observation to the discounted sum of the rewards to come, one number, in
    the unit that they are learned in."""
    fresh: bool = eqx.field(static=True, default=False)
    """Whether the policy's inputs are normalized anew as more is seen, as the critic's
    are: not if it has learned already from inputs as they are."""

    def __check_init__(self):
        missing = [
            name
            for name in ("sample", "log_prob", "entropy")
            if not callable(getattr(self.policy, name, None))
        ]
        if missing:
            raise RobooptError(
                "`policy` must have `sample`, `log_prob` and `entropy`, got "
                f"{type(self.policy).__name__} without {', '.join(missing)}: give it "
                "chance with `roboopt.policies.GaussianExploration(policy, spread)`."
            )

    @classmethod
    def of(
        cls,
        observation_space: Any,
        action_space: Any,
        *,
        key: PRNGKeyArray,
        spread: float = SPREAD,
        **settings: Unpack[Settings],
    ) -> "ActorCritic":
        """Return a fresh agent, whose policy does about anything.

        Args:
            observation_space: a Box of one axis, or how many axes it has.
            action_space: a Box of real numbers, Discrete or MultiDiscrete; or without
                Gymnasium the limits (low, high) of real numbers, or how many there are
                if they have none.
            key: of the weights.
            spread: the standard deviation of real numbers at first, in halves of their
                range, or in their units where they have no limits.
            **settings: `width`, `depth`, `activation`, `angles`, `skip`, of both
                networks.

        Raises:
            RobooptError: if a space is none of these, `spread` is not positive and less
                than 10, or a setting breaks its rule.
        """
        size, space = _size(observation_space), _plain(action_space)
        if not 1e-3 < spread < 10:
            raise RobooptError(
                f"`spread` must be above 0.001 and below 10, got {spread}."
            )
        choices = isinstance(space, _Choices)
        outputs = len(space.sizes) * max(space.sizes) if choices else space.size
        network, critic = _networks(key, size, outputs, settings)
        if choices:
            shape = (len(space.sizes),)
            policy = CategoricalPolicy(network, shape, space.start, space.sizes)
        else:
            deviation = jnp.full(outputs, out_of_range(float(np.log(spread))))
            policy = GaussianPolicy(network, space, deviation)
        return cls(policy, critic, True)

    @classmethod
    def around(
        cls,
        policy: Any,
        observation_space: Any,
        *,
        key: PRNGKeyArray,
        **settings: Unpack[Settings],
    ) -> "ActorCritic":
        """Return an agent that goes on from `policy`, such as a clone.

        Args:
            policy: with `sample`, `log_prob` and `entropy`; its normalizer stays. A
                `Clipped` policy is taken without its limits, as the environment clips.
            observation_space: as `of`.
            key: of the value function's weights.
            **settings: as `of`, of the value function's network.

        Raises:
            RobooptError: if `policy` lacks one of these; and as `of`.
        """
        critic = _networks(key, _size(observation_space), 1, settings)[1]
        if isinstance(policy, Clipped):
            policy = policy.policy
        return cls(policy, critic)

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
        """Return what is recorded of an action drawn with `key`."""
        return self._drawing.sample(observation, key)

    def execute(self, drawn: Shaped[AnyArray, " act"]) -> Shaped[AnyArray, " act"]:
        """Return the action of what was drawn."""
        squashed = isinstance(self.policy, TanhGaussianPolicy)
        return self.policy.squashed(jnp.asarray(drawn)) if squashed else drawn

    def log_prob(
        self, observation: Float[AnyArray, " obs"], drawn: Shaped[AnyArray, " act"]
    ) -> Float[Array, ""]:
        """Return how likely it was to draw this, as the logarithm of its density."""
        return self._drawing.log_prob(observation, drawn)

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, ""]:
        """Return that of what is drawn [nat]."""
        return self._drawing.entropy(observation)

    def value(self, observation: Float[AnyArray, " obs"]) -> Float[Array, ""]:
        """Return what there is to earn from here on."""
        return jnp.reshape(self.critic(observation), ())

    @property
    def _drawing(self) -> Any:
        policy = self.policy
        return policy.latent if isinstance(policy, TanhGaussianPolicy) else policy

    @property
    def inputs(self) -> Normalizer | None:
        """Return the normalizer of observations that `seeing` replaces, if there is."""
        if not isinstance(self.critic, ObservationNetwork):
            return None
        inputs, angles = self.critic.inputs, self.critic.angles
        mean, scale = np.zeros(self.critic.size), np.ones(self.critic.size)
        straight = np.setdiff1d(np.arange(self.critic.size), angles)
        mean[straight] = np.asarray(inputs.mean())[: len(straight)]
        scale[straight] = np.asarray(inputs.scale())[: len(straight)]
        return Normalizer(mean, scale)

    def seeing(self, normalizer: Normalizer) -> "ActorCritic":
        """Return the agent with its observations normalized so, but for angles.

        Only the inputs that adapt: the value function's, and a fresh policy's.
        """
        changed: dict[str, Any] = {}
        if isinstance(self.critic, ObservationNetwork):
            changed["critic"] = _seeing(self.critic, normalizer)
        if self.fresh and isinstance(self.policy, GaussianPolicy | CategoricalPolicy):
            network = _seeing(self.policy.network, normalizer)
            changed["policy"] = dataclasses.replace(self.policy, network=network)
        return dataclasses.replace(self, **changed)


class _Choices(eqx.Module):
    start: tuple[int, ...]
    sizes: tuple[int, ...]


def _size(space: Any) -> int:
    if isinstance(space, int | np.integer):
        if space < 1:
            raise RobooptError(f"`observation_space` must be at least 1, got {space}.")
        return int(space)
    shape = getattr(space, "shape", None)
    if not hasattr(space, "low") or shape is None or len(shape) != 1:
        raise RobooptError(
            "`observation_space` must be a Box of one axis, or how many numbers an "
            f"observation has, got {space}."
        )
    return shape[0]


def _plain(space: Any) -> _Choices | ActionUnits:
    """Return the choices there are, or the units of real numbers."""
    if isinstance(space, int | np.integer):
        if space < 1:
            raise RobooptError(f"`action_space` must be at least 1, got {space}.")
        return _units(np.full(space, -np.inf), np.full(space, np.inf))
    if isinstance(space, tuple) and len(space) == 2:
        low, high = (np.asarray(limit, float) for limit in space)
        if low.ndim != 1 or low.shape != high.shape or not np.all(low < high):
            raise RobooptError(
                "`action_space` must be limits (low, high), each one number an axis "
                f"and `low` below `high`, got {space}."
            )
        return _units(low, high)
    from gymnasium.spaces import Discrete, MultiDiscrete

    check_action_space(space)
    if isinstance(space, Discrete):
        return _Choices((int(space.start),), (int(space.n),))
    if isinstance(space, MultiDiscrete):
        return _Choices(tuple(space.start.tolist()), tuple(space.nvec.tolist()))
    return _units(np.asarray(space.low), np.asarray(space.high))  # type: ignore


def _units(low: np.ndarray, high: np.ndarray) -> ActionUnits:
    # The greatest numbers of a type say that there is no limit: their range overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        bounded = np.isfinite(high - low) & (high > low)
        half = np.where(bounded, (high - low) / 2, 1.0)
        middle = np.where(bounded, low + half, 0.0)
    return ActionUnits(Normalizer(middle, half), (len(low),))


def _networks(
    key: PRNGKeyArray, size: int, outputs: int, settings: Any
) -> tuple[ObservationNetwork, ObservationNetwork]:
    """Return the policy's network and the value function's, inputs not normalized."""
    features = size + len(tuple(settings.get("angles", ())))
    inputs = Normalizer(np.zeros(features), np.ones(features))
    chance = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    return (
        _orthogonal(inputs, outputs, LAST[0], key, chance, settings),
        _orthogonal(inputs, 1, LAST[1], key, chance, settings),
    )


def _orthogonal(
    inputs: Normalizer,
    outputs: int,
    last: float,
    key: PRNGKeyArray,
    chance: np.random.Generator,
    settings: Any,
) -> ObservationNetwork:
    """Return a network with orthogonal weights, the last layer's times `last`.

    They are drawn by NumPy: one by one by JAX, each draw would be compiled.
    """
    network = eqx.filter_eval_shape(
        lambda key: ObservationNetwork(inputs, outputs, key=key, **settings), key
    )
    layers = network.perceptron.layers
    weights = []
    for number, layer in enumerate(layers):
        rows, columns = layer.weight.shape
        shape = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(chance.standard_normal(shape))
        q *= np.sign(np.diag(r))  # Else it would not be uniform over rotations.
        gain = last if number == len(layers) - 1 else 2**0.5
        weights.append(gain * (q if rows >= columns else q.T))
    parts = lambda n: [n.inputs, *(x.weight for x in n.perceptron.layers)]  # noqa: E731
    filled = eqx.tree_at(parts, network, [inputs, *weights])

    kind = jax.dtypes.canonicalize_dtype(float)

    def array(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            leaf = np.zeros(leaf.shape)
        # Nothing that JAX would compile for every shape.
        return (
            jax.device_put(leaf.astype(kind)) if isinstance(leaf, np.ndarray) else leaf
        )

    return jax.tree.map(array, filled)


def _seeing(network: ObservationNetwork, normalizer: Normalizer) -> ObservationNetwork:
    """Return the network with these inputs, angles' sines and cosines as they are.

    Raises:
        RobooptError: if `normalizer` is not of the network's observations.
    """
    if normalizer.size != network.size:
        raise RobooptError(
            f"`normalizer` must be of {network.size} axes, got {normalizer.size}."
        )
    if network.angles:
        straight = np.setdiff1d(np.arange(network.size), network.angles)
        turns = 2 * len(network.angles)
        normalizer = Normalizer(
            np.append(np.asarray(normalizer.mean())[straight], np.zeros(turns)),
            np.append(np.asarray(normalizer.scale())[straight], np.ones(turns)),
        )
    return eqx.tree_at(lambda n: n.inputs, network, normalizer)
