"""A control law of one's own: any function of a dictionary of gains."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt._readable import readable
from roboopt.policies._linear import checked_finite


class ControlLaw(Jittable):
    """The policy `law(gains, observation) -> action`, whose parameters are the gains.

    A saved control law names its function, which `roboopt.load(path, allow=[law])` is
    given again.
    """

    law: Callable[..., Any] = eqx.field(static=True)
    gains: dict[str, Array]
    units: tuple[tuple[str, str], ...] = eqx.field(static=True)
    """Names of gains and their units."""

    def __init__(
        self,
        law: Any,
        gains: Mapping[str, Any],
        units: Mapping[str, str] | None = None,
    ):
        """Take a function, in operations of JAX, and the gains to begin with.

        Args:
            law: `law(gains, observation) -> action`.
            gains: numbers or arrays, by name.
            units: of the gains, by name; those left out are not printed.

        Raises:
            RobooptError: if `law` is not callable, there are no gains, one is not
                finite, or a unit is of none.
        """
        if not callable(law):
            raise RobooptError(f"`law` must be callable, got {law!r}.")
        extra = set(units or {}) - set(gains)
        if not gains or extra:
            said = f"units of {sorted(extra)}" if gains else "none"
            raise RobooptError(f"`gains` must hold gains by name, got {said}.")
        self.law, self.units = law, tuple((units or {}).items())
        self.gains = {k: checked_finite("gains", v) for k, v in gains.items()}

    @property
    def gain_units(self) -> dict[str, tuple[str, ...]]:
        """The unit of each number of each gain, by the gain's name."""
        return {
            f"gains['{name}']": (unit,) * max(1, self.gains[name].size)
            for name, unit in self.units
        }

    def _shown(self) -> dict[str, Any]:
        units = dict(self.units)
        shown = {
            name: f"{readable(gain)} {units.get(name, '')}".strip()
            for name, gain in self.gains.items()
        }
        return {"law": self.law, "gains": shown}

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the action."""
        return self.law(self.gains, jnp.asarray(observation))
