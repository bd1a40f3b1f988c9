"""A control law of one's own: any function of a dictionary of gains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import LOGARITHM, AnyArray, Jittable
from roboopt._errors import RobooptError, require
from roboopt._readable import readable
from roboopt.policies._linear import checked_finite


class ControlLaw(Jittable):
    """The policy `law(gains, observation) -> action`, whose parameters are the gains.

    A saved control law names its function, which `roboopt.load(path, allow=[law])` is
    given again.
    """

    law: Callable[..., Any] = eqx.field(static=True)
    gains: dict[str, Array]
    """By name; `log_<name>` is the logarithm of a gain that stays positive."""
    units: tuple[tuple[str, str], ...] = eqx.field(static=True)
    """Names of gains and their units."""

    def __init__(
        self,
        law: Any,
        gains: Mapping[str, Any],
        units: Mapping[str, str] | None = None,
        positive: Sequence[str] = (),
    ):
        """Take a function, in operations of JAX, and the gains to begin with.

        Args:
            law: `law(gains, observation) -> action`.
            gains: numbers or arrays, by name.
            units: of the gains, by name; those left out are not printed.
            positive: the names of gains that stay positive, as stiffness and damping
                do: their logarithms are tuned. The law gets the gains.

        Raises:
            RobooptError: if `law` is not callable, there are no gains, one is not
                finite, a unit is of none, or `positive` names none or one that begins
                at or below 0.
        """
        require(callable(law), "law", "be callable", law)
        extra = set(units or {}) - set(gains)
        if not gains or extra:
            said = f"units of {sorted(extra)}" if gains else "none"
            raise RobooptError(f"`gains` must hold gains by name, got {said}.")
        self.law, self.units = law, tuple((units or {}).items())
        given = {k: checked_finite("gains", v) for k, v in gains.items()}
        for name in (
            positive := (positive,) if isinstance(positive, str) else positive
        ):
            found = given.get(name)
            if found is None or not np.all(found > 0):
                begin = f"{name!r}: {found if found is None else readable(found)}"
                raise RobooptError(
                    f"`positive` must name gains that begin above 0, got {begin}."
                )
            given[f"log_{name}"] = jnp.log(given.pop(name))
        self.gains = given

    @property
    def values(self) -> dict[str, Array]:
        """The gains, as the law gets them."""
        return {
            LOGARITHM.sub("", name): jnp.exp(x) if LOGARITHM.match(name) else x
            for name, x in self.gains.items()
        }

    @property
    def gain_units(self) -> dict[str, tuple[str, ...]]:
        """The unit of each number of each gain, by the gain's name."""
        return {
            f"gains.{name}": (unit,) * max(1, self.values[name].size)
            for name, unit in self.units
        }

    def _shown(self) -> dict[str, Any]:
        units = dict(self.units)
        shown = {
            name: f"{readable(gain)} {units.get(name, '')}".strip()
            for name, gain in self.values.items()
        }
        return {"law": self.law, "gains": shown}

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the action."""
        return self.law(self.values, jnp.asarray(observation))
