"""The network inside a learned policy, which sees its observations near 1.

    x = (φ(o) − μ) / σ,   f(o) = W x + MLP(x)

φ is the observation as it is, but for angles, of which the network sees sine and
cosine. The linear path W is there because robots' controllers are linear for the most
part. It starts at the least squares of the samples where there is something to fit it
to, the perceptron next to zero, and what is left to learn is what is not linear.
"""

from collections.abc import Callable
from typing import TypedDict, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Normalizer
from roboopt.dynamics._scaled_network import (
    check_angles,
    check_perceptron,
    identity,
    with_turns,
)

SMALL = 0.01  # What is left of the last layer's weights beside a linear path.
# From equinox's variance of 1/3 a neuron's input to LeCun's (1998, Efficient backprop)
# of 1, with which signals keep their size: clones are a third more exact by it.
GAIN = 3**0.5
RIDGE = 1e-8  # Of the least squares, for features that say the same.
SWEEPS = 200  # Of it, where targets are cut off.
ROUND = 1e-6  # Of a target of 1.


class Settings(TypedDict, total=False):
    """What every policy with a network can be made with, beside its samples."""

    width: int
    """Neurons a hidden layer, 64 unless given."""
    depth: int
    """Hidden layers, 2 unless given."""
    activation: Callable[[Array], Array]
    """Of the hidden layers, tanh unless given; by name importable, to be saved."""
    angles: tuple[int, ...]
    """Axes of the observation that are angles and go round, none unless given."""
    skip: bool
    """Whether there is a linear path beside the perceptron, as there is unless told."""


class ObservationNetwork(Jittable):
    """`network(observation)`: a perceptron of the normalized features, and a matrix."""

    perceptron: eqx.nn.MLP
    matrix: Float[Array, "output input"] | None
    """W: of the linear path, if there is one."""
    inputs: Normalizer
    """Of the features."""
    angles: tuple[int, ...] = eqx.field(static=True)
    """The axes of the observation that the network sees the sine and cosine of."""

    def __init__(
        self,
        inputs: Normalizer,
        outputs: int,
        *,
        key: PRNGKeyArray,
        extra: int = 0,
        width: int = 64,
        depth: int = 2,
        activation: Callable[[Array], Array] = jnp.tanh,
        angles: tuple[int, ...] = (),
        skip: bool = True,
    ):
        """Start from small random weights, and a linear path of zeros.

        Args:
            inputs: of the features: the axes that are not angles, then the sines, then
                the cosines.
            outputs: how many.
            key: of the weights.
            extra: further inputs, near 1 as they are.
            width: as `Settings` say; so do the others.
            depth: likewise.
            activation: likewise.
            angles: likewise.
            skip: likewise.

        Raises:
            RobooptError: if an angle is not an axis of the observation, or `width` or
                `depth` is less than 1.
        """
        self.inputs, self.angles = inputs, tuple(angles)
        check_angles("observation", self.angles, self.size)
        check_perceptron(width, depth)
        total = inputs.size + extra
        self.matrix = jnp.zeros((outputs, total)) if skip else None
        network = eqx.nn.MLP(
            total, outputs, width, depth, activation, identity, key=key
        )
        *hidden, last = network.layers
        share = SMALL if skip else 1.0
        self.perceptron = eqx.tree_at(
            lambda mlp: [*(x.weight for x in mlp.layers), mlp.layers[-1].bias],
            network,
            [GAIN * x.weight for x in hidden]
            + [share * last.weight, share * jnp.asarray(last.bias)],
        )

    @classmethod
    def of(
        cls,
        observations: Float[AnyArray, "sample obs"],
        outputs: int,
        *,
        key: PRNGKeyArray,
        targets: Float[AnyArray, "sample target"] | None = None,
        lower: Float[AnyArray, "sample target"] | None = None,
        upper: Float[AnyArray, "sample target"] | None = None,
        extra: int = 0,
        **settings: Unpack[Settings],
    ) -> "ObservationNetwork":
        """Return one whose inputs are normalized by `observations`.

        Args:
            observations: samples.
            outputs: how many.
            key: of the weights.
            targets: what the first outputs are to be near; the linear path starts at
                the least squares of them.
            lower: where targets were cut off, and outputs beyond them are as good.
            upper: likewise.
            extra: further inputs, near 1 as they are.
            **settings: see `Settings`.

        Raises:
            RobooptError: as `ObservationNetwork` and `Normalizer.of` do.
        """
        angles = tuple(settings.get("angles", ()))
        check_angles("observation", angles, observations.shape[-1])
        features = jax.vmap(lambda o: with_turns(jnp.asarray(o), angles))(observations)
        network = cls(
            Normalizer.of(features), outputs, key=key, extra=extra, **settings
        )
        if targets is None or network.matrix is None:
            return network
        x = np.asarray(jax.vmap(network.inputs)(features), float)
        fitted, offset = _least_squares(x, np.asarray(targets, float), lower, upper)
        rows, columns = fitted.shape
        parts = lambda n: (n.matrix, n.perceptron.layers[-1].bias)  # noqa: E731
        matrix, bias = parts(network)
        start = matrix.at[:rows, :columns].set(fitted), bias.at[:rows].add(offset)
        return eqx.tree_at(parts, network, start)

    @property
    def size(self) -> int:
        """Return the size of an observation."""
        return self.inputs.size - len(self.angles)

    def __call__(
        self,
        observation: Float[AnyArray, " obs"],
        extra: Float[Array, " extra"] | None = None,
    ) -> Float[Array, " output"]:
        """Return numbers near 1.

        Raises:
            RobooptError: if `observation` is not of the size of the samples'.
        """
        if observation.shape != (self.size,):
            raise RobooptError(
                f"`observation` must have shape ({self.size},), got "
                f"{observation.shape}."
            )
        x = self.inputs(with_turns(jnp.asarray(observation), self.angles))
        if extra is not None:
            x = jnp.concatenate([x, extra])
        y = self.perceptron(x)
        return y if self.matrix is None else y + self.matrix @ x


def _least_squares(
    x: np.ndarray, y: np.ndarray, lower: AnyArray | None, upper: AnyArray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return W and b of the least squares of y − W x − b.

    Where y is at a limit what goes beyond is no error, as in `ActionMismatch`: y is
    replaced by it and W fitted anew, which never raises the sum of squares.
    """
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    inverse = np.linalg.inv(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]))
    at_low = False if lower is None else y <= np.asarray(lower) + ROUND
    at_high = False if upper is None else y >= np.asarray(upper) - ROUND
    fitted = inverse @ (x.T @ y)
    for _ in range(SWEEPS if np.any(at_low | at_high) else 0):
        before, said = fitted, x @ fitted
        wanted = np.where(at_high, np.maximum(said, y), y)
        wanted = np.where(at_low, np.minimum(said, y), wanted)
        fitted = inverse @ (x.T @ wanted)
        if np.allclose(fitted, before, rtol=ROUND, atol=ROUND):
            break
    return fitted[:-1].T, fitted[-1]
