"""The residuals of an objective as a function of one vector of parameters."""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from roboopt._errors import RobooptError
from roboopt._programs import filter_jit
from roboopt.objectives import Keyed, Sum
from roboopt.optimize._bounds import Bound, limits
from roboopt.optimize._partition import partition
from roboopt.optimize._sources import arrays


class Fit(eqx.Module):
    """The residuals r(x) of an objective, with all trainable leaves in the vector x."""

    objective: Any
    trained: Any
    fixed: Any
    static: Any
    data: Any

    @classmethod
    def of(
        cls,
        objective: Any,
        model: Any,
        data: Any,
        *,
        trainable: Callable[[Any], Any] | None = None,
    ) -> "Fit":
        """Return the residuals of `objective` as a function of the trainable leaves.

        Args:
            objective: an objective with `residuals(model, data)`.
            model: the start.
            data: arrays.
            trainable: selects the parts to train, as in `minimize`.

        Raises:
            RobooptError: if the objective has no residuals, `data` are not finite
                arrays, or no leaf is trainable.
        """
        _check_residuals(objective)
        if callable(data):
            raise RobooptError("`data` must hold arrays, got a function.")
        return cls(objective, *partition(model, trainable), arrays(data))

    @property
    def name(self) -> str:
        """The name of the objective's term: that of its class, "prediction_error"."""
        name = type(self.objective).__name__
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

    def parts(self) -> list[tuple[Any, "Fit"]]:
        """Return the weight and the fit of each part of a sum, or the fit itself.

        Every part compiles to programs of its own, which serve any other sum as well.

        Raises:
            RobooptError: if a part has no residuals, or misses its key in the data.
        """
        objective, data = self.objective, self.data
        if isinstance(objective, Sum):
            return [
                (outer * inner, fit)
                for outer, part in objective.parts
                for inner, fit in self._of_part(part, data).parts()
            ]
        if isinstance(objective, Keyed):
            return self._of_part(objective.objective, objective.part(data)).parts()
        return [(1.0, self)]

    def _of_part(self, objective: Any, data: Any) -> "Fit":
        _check_residuals(objective)
        return dataclasses.replace(self, objective=objective, data=data)

    def start(self) -> np.ndarray:
        """Return x of the initial model."""
        leaves = jax.tree.leaves(self.trained)
        return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])

    def model(self, x: Float[Array, " parameter"]) -> Any:
        """Return the model at x."""
        flat, unravel = ravel_pytree(self.trained)
        return eqx.combine(unravel(x.astype(flat.dtype)), self.fixed, self.static)

    def residuals(self, x: Float[Array, " parameter"]) -> Float[Array, " residual"]:
        """Return r(x)."""
        return jnp.ravel(self.objective.residuals(self.model(x), self.data))

    @filter_jit
    def jacobian(
        self, x: Float[Array, " parameter"]
    ) -> tuple[Float[Array, " residual"], Float[Array, "residual parameter"]]:
        """Return r(x) and ∂r/∂x."""

        def twice(x: Array) -> tuple[Array, Array]:
            residuals = self.residuals(x)
            return residuals, residuals

        slopes, residuals = jax.jacfwd(twice, has_aux=True)(x)
        return residuals, slopes

    def names(self) -> list[str]:
        """Return the name of each entry of x, from `names` of the model or its path."""
        found = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.trained):
            owner = functools.reduce(_child, path[:-1], self.static)
            given = getattr(owner, "names", None)
            if given is not None and len(given) == leaf.size:
                found += given
                continue
            for index in np.ndindex(leaf.shape):
                entry = str(list(index)) if index else ""
                found.append(jax.tree_util.keystr(path) + entry)
        return found

    def limits(
        self, bounds: Sequence[Bound], model: Any
    ) -> tuple[Float[np.ndarray, " parameter"], Float[np.ndarray, " parameter"]]:
        """Return the lowest and the highest value of each entry of x.

        Raises:
            RobooptError: if `model` is not within `bounds`, or a bound selects no
                trainable leaf, or one that has a bound.
        """
        lower, upper = [], []
        leaves = jax.tree.leaves(self.trained)
        for leaf, sides in zip(
            leaves, limits(bounds, model, self.trained), strict=True
        ):
            low, high = (-np.inf, np.inf) if sides is None else sides
            lower.append(np.ravel(np.broadcast_to(low, leaf.shape)))
            upper.append(np.ravel(np.broadcast_to(high, leaf.shape)))
        low, high = np.concatenate(lower), np.concatenate(upper)
        start = self.start()
        outside = (start < low) | (start > high)
        if outside.any():
            i = int(np.argmax(outside))
            raise RobooptError(
                f"`model` must start within its `bounds`: {self.names()[i]} is "
                f"{start[i]}, not within {low[i]} to {high[i]}."
            )
        return low, high


def _check_residuals(objective: Any) -> None:
    if not hasattr(objective, "residuals"):
        raise RobooptError(
            "`objective` must have `residuals(model, data)`, as `PredictionError` has; "
            f"{type(objective).__name__} has none: use `minimize`."
        )


def _child(node: Any, key: Any) -> Any:
    """Return the part of `node` that one step of a path leads to."""
    if hasattr(key, "name"):
        return getattr(node, key.name, None)
    try:
        return node[key.key if hasattr(key, "key") else key.idx]
    except (AttributeError, KeyError, IndexError, TypeError):
        return None
