"""What a stochastic dynamics says of the next state."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Gaussian(NamedTuple):
    """A normal distribution with independent axes."""

    mean: Float[Array, "*shape"]
    """In the units of what it is of."""
    variance: Float[Array, "*shape"]
    """In those units squared."""
