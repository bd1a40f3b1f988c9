"""The negative log-likelihood of demonstrated actions under a policy.

    L(π) = −Σ_b w_b log π(a_b | o_b) / Σ_b w_b

in [nat]. Densities are over actions in their units, so that the loss may be negative
and changes by a constant with the unit. For integer actions this is the cross-entropy.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt._readable import Readable
from roboopt.data import Demonstrations


class NegativeLogLikelihood(Readable, eqx.Module):
    """A loss for `ActionMismatch`: −`policy.log_prob(observation, action)`.

    Weights of a chunk's steps need a `log_prob` that returns one number a step. If it
    returns one number for the chunk, a chunk has the least weight of its steps.
    """

    def costs(self, model: Any, batch: Demonstrations) -> Float[Array, "..."]:
        """Return −log π [nat], of shape (sample,), or (sample, chunk) for each step.

        Raises:
            RobooptError: if `model` has no `log_prob`, or it returns something else.
        """
        if not hasattr(model, "log_prob"):
            raise RobooptError(
                "`model` must have `log_prob(observation, action)` for a "
                f"`NegativeLogLikelihood`, got {type(model).__name__}: use a policy "
                "that has, or a loss of errors such as `L2`."
            )
        shapes = ((), batch.actions.shape[1:-1])

        def cost(observation: AnyArray, action: AnyArray) -> Array:
            found = model.log_prob(observation, action)
            # Unchecked, one number an axis would be averaged instead of added.
            if found.shape not in shapes:
                raise RobooptError(
                    "`model.log_prob` must return a number, or one for each step of a "
                    f"chunk, got shape {found.shape} for actions {action.shape}."
                )
            return -found

        return jax.vmap(cost)(batch.observations, batch.actions)
