"""The network of a learned policy, and the units of its actions.

    f(o) = W x + MLP(x),   x the normalized observation

Robots' controllers are linear for the most part: hence the path W. Where there are
demonstrations, W begins at their least squares and the perceptron near zero, so that
only the nonlinear rest is left to learn.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations, Normalizer
from roboopt.networks import MLP, NormalizedMLP, angle_features

LAST_GAIN = 0.01  # of the output layer beside a linear path
# From equinox's variance of 1/3 a neuron's input to LeCun's (1998, Efficient backprop)
# of 1, with which signals keep their size: clones are a third more exact.
HIDDEN_GAIN = 3**0.5
RIDGE = 1e-8  # of the least squares, for collinear features
MAX_SWEEPS = 200  # of the least squares with censored targets
TOLERANCE = 1e-6  # of a target of 1


class NetworkSettings(TypedDict, total=False):
    """Optional settings of every policy with a network."""

    width: int
    """Neurons a hidden layer, by default 64."""
    depth: int
    """Hidden layers, by default 2."""
    activation: Callable[[Array], Array]
    """Activation of the hidden layers, by default tanh; importable, to be saved."""
    angles: tuple[int, ...]
    """Axes of the observation that are angles, by default none."""
    skip: bool
    """Whether there is a linear path beside the perceptron, by default True."""
    quantiles: bool
    """Whether normalizers are of quantiles, as in `Normalizer.of`; by default False."""


def untrained_network(
    inputs: Normalizer,
    outputs: int,
    *,
    key: PRNGKeyArray,
    extra: int = 0,
    angles: tuple[int, ...] = (),
    skip: bool = True,
    **settings: Any,
) -> NormalizedMLP:
    """Build a network with small random weights, and a linear path of zeros.

    `inputs` normalizes the features of `NormalizedMLP`; the settings are those of
    `NetworkSettings`.
    """
    gains = {"hidden_gain": HIDDEN_GAIN, "last_gain": LAST_GAIN if skip else 1.0}
    perceptron = MLP(inputs.size, outputs, key=key, **gains, **settings)
    matrix = jnp.zeros((outputs, inputs.size)) if skip else None
    return NormalizedMLP(
        perceptron, inputs, matrix=matrix, angles=tuple(angles), extra_size=extra
    )


def policy_network(
    observations: Float[AnyArray, "sample obs"],
    outputs: int,
    *,
    key: PRNGKeyArray,
    targets: Float[AnyArray, "sample *target"] | None = None,
    lower: Float[AnyArray, "sample *target"] | None = None,
    upper: Float[AnyArray, "sample *target"] | None = None,
    extra: int = 0,
    quantiles: bool = False,
    **settings: Any,
) -> NormalizedMLP:
    """Build a network whose inputs are normalized by `observations`.

    The linear path begins at the least squares of `targets`, the desired values of the
    first outputs. Where these are at the limits `lower` and `upper` they are censored:
    outputs beyond count as equal. `extra` further inputs are not normalized.
    """
    features = angle_features(observations, tuple(settings.get("angles", ())))
    seen = Normalizer.of(features, quantiles=quantiles)
    inputs = Normalizer(
        np.append(seen.mean(), np.zeros(extra)), np.append(seen.scale(), np.ones(extra))
    )
    network = untrained_network(inputs, outputs, key=key, extra=extra, **settings)
    if targets is None or network.matrix is None:
        return network
    targets = np.asarray(targets, float).reshape(len(observations), -1)
    x = np.asarray(jax.vmap(seen)(features), float)
    fitted, offset = _least_squares(x, targets, lower, upper)
    rows, columns = fitted.shape
    parts = lambda n: (n.matrix, n.perceptron.layers[-1].bias)  # noqa: E731
    matrix, bias = map(np.array, parts(network))
    matrix[:rows, :columns] = fitted
    bias[:rows] += offset
    return eqx.tree_at(parts, network, jax.device_put((matrix, bias)))


def least_squares_path(
    x: np.ndarray, samples: Demonstrations, outputs: Normalizer
) -> tuple[np.ndarray, np.ndarray]:
    """Return W and b of the least squares of the normalized actions on `x`."""

    def units(values: Any) -> np.ndarray | None:
        if values is None:
            return None
        return np.asarray(jax.vmap(outputs)(values), float).reshape(len(x), -1)

    actions = units(samples.actions)
    assert actions is not None
    return _least_squares(x, actions, units(samples.low), units(samples.high))


def _least_squares(
    x: np.ndarray, y: np.ndarray, lower: AnyArray | None, upper: AnyArray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return W and b of the least squares of y − W x − b.

    Outputs beyond a limit at which y is censored are no error, as in `ActionMismatch`:
    y is replaced by them and W fitted again, which never raises the sum of squares.
    """
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    inverse = np.linalg.inv(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]))
    flat = lambda limit: np.asarray(limit).reshape(y.shape)  # noqa: E731
    at_low = False if lower is None else y <= flat(lower) + TOLERANCE
    at_high = False if upper is None else y >= flat(upper) - TOLERANCE
    fitted = inverse @ (x.T @ y)
    for _ in range(MAX_SWEEPS if np.any(at_low | at_high) else 0):
        before, predicted = fitted, x @ fitted
        wanted = np.where(at_high, np.maximum(predicted, y), y)
        wanted = np.where(at_low, np.minimum(predicted, y), wanted)
        fitted = inverse @ (x.T @ wanted)
        if np.allclose(fitted, before, rtol=TOLERANCE, atol=TOLERANCE):
            break
    return fitted[:-1].T, fitted[-1]


def with_units(
    samples: Any, *, quantiles: bool = False
) -> tuple[Demonstrations, Normalizer]:
    """Return demonstrations with real-valued actions, and the normalizer of these.

    The normalizer is equal at each place of a chunk; actions of weight 0 do not count.
    """
    samples = Demonstrations.of(samples)
    actions = np.asarray(samples.actions)
    if not np.issubdtype(actions.dtype, np.floating):
        raise RobooptError(
            f"`samples` must have real-valued actions, got {actions.dtype}: use a "
            "`CategoricalPolicy` for integers."
        )
    weights = samples.weights
    counted = actions if weights is None else actions[np.asarray(weights) > 0]
    one, shape = Normalizer.of(counted, quantiles=quantiles), actions.shape[1:]
    units = (np.broadcast_to(x, shape) for x in (one.mean(), one.scale()))
    return samples, Normalizer(*units)
