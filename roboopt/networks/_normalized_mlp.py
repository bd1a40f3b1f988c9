"""A multilayer perceptron with normalized inputs and outputs, for robots' units.

    x = (φ(s, e) − μ) / σ,   y = μ_y + σ_y ∘ (W x + MLP(x))

The features φ are the inputs s, with each angle replaced by its sine and cosine, and
then further inputs e such as an action. The linear path W and the output units μ_y, σ_y
are optional.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable, compiled
from roboopt._errors import RobooptError
from roboopt.data import Normalizer
from roboopt.networks._mlp import MLP


def angle_features(
    x: Float[AnyArray, "*batch axis"], angles: tuple[int, ...]
) -> Float[Array, "*batch feature"]:
    """Replace the axes `angles` by their sines and cosines, which come last."""
    size = x.shape[-1]
    if len(set(angles)) < len(angles) or not set(angles) <= set(range(size)):
        raise RobooptError(
            f"`angles` must name axes 0 to {size - 1} of the input once each, got "
            f"{angles}."
        )
    x = jnp.asarray(x)
    if not angles:
        return x
    axes = np.array(angles, int)
    straight = np.setdiff1d(np.arange(size), axes)
    parts = x[..., straight], jnp.sin(x[..., axes]), jnp.cos(x[..., axes])
    return jnp.concatenate(parts, -1)


class NormalizedMLP(Jittable):
    """`network(inputs, extra)`: a perceptron between normalizers."""

    perceptron: MLP
    inputs: Normalizer
    """Normalizer of the features φ."""
    outputs: Normalizer | None = None
    """Units of the outputs; None for the perceptron's own."""
    matrix: Float[Array, "output feature"] | None = None
    """W"""
    angles: tuple[int, ...] = eqx.field(static=True, default=())
    """The input axes whose sine and cosine the network sees."""
    extra_size: int = eqx.field(static=True, default=0)
    """Size of the further inputs e."""

    @classmethod
    def of(
        cls,
        samples: Float[AnyArray, "sample input"],
        outputs: Normalizer,
        *,
        extra: Float[AnyArray, "_ extra"],
        key: PRNGKeyArray,
        angles: tuple[int, ...] = (),
        **settings: Any,
    ) -> "NormalizedMLP":
        """Build a network with random weights, normalized by samples.

        Args:
            samples: of the inputs.
            outputs: units of the outputs.
            extra: samples of the further inputs, one for each of `samples`.
            key: random key of the weights.
            angles: input axes that are angles.
            **settings: `width`, `depth`, `activation` and `last_gain` of an `MLP`; with
                a `last_gain` of 0 the outputs begin at their mean.
        """
        if len(samples) != len(extra):
            raise RobooptError(
                "`samples` and `extra` must have equal lengths, got "
                f"{len(samples)} and {len(extra)}."
            )
        angles = tuple(angles)
        seen = angle_features(samples, angles)
        inputs = Normalizer.of(jnp.concatenate([seen, jnp.asarray(extra)], 1))
        perceptron = MLP(inputs.size, outputs.size, key=key, **settings)
        size = extra.shape[-1]
        return cls(perceptron, inputs, outputs, angles=angles, extra_size=size)

    @property
    def size(self) -> int:
        """Return the size of the inputs, without `extra`."""
        return self.inputs.size - len(self.angles) - self.extra_size

    @property
    def output_size(self) -> int:
        """Return the number of outputs."""
        return self.perceptron.layers[-1].weight.shape[0]

    @compiled
    def __call__(
        self,
        x: Float[AnyArray, " input"],
        extra: Float[AnyArray, " extra"] | None = None,
    ) -> Float[Array, " output"]:
        """Return the outputs, in their units."""
        x = jnp.asarray(x)
        others = 0 if extra is None else extra.shape[0]
        if x.shape != (self.size,) or others != self.extra_size:
            more = f" and {self.extra_size} of `extra`" if self.extra_size else ""
            raise RobooptError(
                f"`x` must have the network's {self.size} inputs{more}, got "
                f"{x.shape}" + (f" and {others}." if more else ".")
            )
        features = angle_features(x, self.angles)
        if extra is not None:
            features = jnp.concatenate([features, jnp.asarray(extra)])
        normalized = self.inputs(features)
        y = self.perceptron(normalized)
        if self.matrix is not None:
            y = y + self.matrix @ normalized
        return y if self.outputs is None else self.outputs.inverse(y)
