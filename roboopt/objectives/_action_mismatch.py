"""Action mismatch: how far a policy's actions are from demonstrated ones.

    L(π) = 1/Σ_b w_b · Σ_b w_b Σ_j ρ(e_bj / s_j),    e_bj = π(o_b)_j − a_bj

over demonstrations b of weight w, 1 where none is given, and action axes j; ρ(e) = e²/2
if squared. Dividing by the scale s_j (ours) is what lets axes in [N] and [N·m] be
added. After Pomerleau (1989), ALVINN, CMU.

An actuator that clips tells of an action at its limit only that no less was wanted.
Where the limits are known such an action is censored (Tobin, 1958):

    e = min(π(o) − a_max, 0) at the upper limit,   max(π(o) − a_min, 0) at the lower

which is nothing where the policy's action is clipped to the same. Of squares and a
policy that is linear this is convex, and on the wrong side of a limit the gradient
never dies, as it does where clip(π) is compared.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.losses import L2, Loss
from roboopt.losses._flow_matching import FlowMatching
from roboopt.losses._likelihood import NegativeLogLikelihood
from roboopt.objectives._objective import Term
from roboopt.objectives._residuals import ResidualObjective
from roboopt.policies import OpenLoop, TimeVaryingPolicy

AT_LIMIT = 5e-7  # of the limits' size: four roundings of single precision


def _numbers(scale: Any) -> Any:
    """Return the scale as an array, None as it is."""
    given = scale is None or isinstance(scale, jax.Array)
    return scale if given else np.asarray(scale, float)


class ActionMismatch(ResidualObjective):
    """The mean cost of a policy's actions beside demonstrated ones.

    `objective(policy, batch)` takes any callable pytree `policy(observation) -> action`
    and `Demonstrations`, or a `Trajectory`, one or a batch. Where the demonstrations
    hold chunks of actions a policy returns (chunk, act), and each step counts as one.
    """

    scale: Float[AnyArray, "..."] | None = eqx.field(converter=_numbers, default=None)
    """In the actions' unit, one for all axes or one each: an error that costs ½ if
    squared. May be None, for 1, only where there is a single axis."""
    loss: Loss | NegativeLogLikelihood | FlowMatching = L2()
    """The last two need no scale; they ask the policy for more than an action."""

    def __check_init__(self):
        scale, kind = self.scale, type(self.loss).__name__
        if scale is None:
            return
        if not isinstance(self.loss, Loss):
            raise RobooptError(
                f"`scale` must be None with {kind}, which has no use for it, got "
                f"{scale}."
            )
        if not isinstance(scale, jax.core.Tracer):  # pyright: ignore
            values = np.asarray(scale)
            if values.ndim > 1 or not np.all((values > 0) & np.isfinite(values)):
                raise RobooptError(
                    "`scale` must be a positive, finite number, or one for each axis "
                    f"of an action, got {values}."
                )

    def errors(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the policy's less the demonstrated actions, in their unit, shaped so.

        0 where both are beyond a limit.

        Raises:
            RobooptError: if `batch` is empty or no demonstrations, its actions are
                choices, `model` is no policy, or its actions are not like them.
        """
        return self._errors(model, Demonstrations.of(batch))

    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the residuals, in the shape of the actions, the weights in them.

        Raises:
            RobooptError: as `terms`; if the loss is a likelihood, which is no sum of
                squares.
        """
        residual, share = self._residuals(model, batch)
        return jnp.sqrt(share * residual.size)[..., None] * residual

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the mismatch, named for what it is.

        Raises:
            RobooptError: as `errors`; if there is no scale where one is needed, or it
                does not fit; if the loss needs what the policy or the batch has not.
        """
        if isinstance(self.loss, NegativeLogLikelihood):
            known = Demonstrations.of(batch)
            cost = self.loss.costs(model, known)
            share = known.shares(cost.shape).astype(cost.dtype)
            return {"negative_log_likelihood": Term(jnp.sum(share * cost), 1.0, "1")}
        name = "action_mismatch" if isinstance(self.loss, Loss) else "flow_matching"
        residual, share = self._residuals(model, batch)
        cost = 0.5 * jnp.sum(share * jnp.sum(residual**2, -1))
        return {name: Term(cost, 1.0, "1")}

    def _residuals(self, model: Any, batch: Any) -> tuple[Array, Array]:
        """Return what costs half its square, and the samples' shares."""
        if isinstance(self.loss, NegativeLogLikelihood):
            raise RobooptError(
                "`loss` must be of errors for a sum of squares, got "
                "NegativeLogLikelihood: use "
                "`minimize`, which needs no residuals."
            )
        if isinstance(self.loss, FlowMatching):
            residual, known = self.loss.errors(model, batch)
        else:
            known = Demonstrations.of(batch)
            error = self._errors(model, known)
            residual = self.loss.residual(error / self._divisor(error))
        return residual, known.shares(residual.shape[:-1]).astype(residual.dtype)

    def _divisor(self, error: Array) -> Array:
        axes = error.shape[-1]
        if self.scale is None and axes > 1:
            raise RobooptError(
                f"`scale` must say what the {axes} axes of an action are worth to each "
                "other, as one number where they have one unit or one each, got None."
            )
        scale = jnp.asarray(1.0 if self.scale is None else self.scale, error.dtype)
        if scale.shape not in ((), (axes,)):
            raise RobooptError(
                f"`scale` must be one number or one for each of the {axes} axes of an "
                f"action, got shape {scale.shape}."
            )
        return jnp.broadcast_to(scale, error.shape)

    def _errors(self, model: Any, known: Demonstrations) -> Array:
        if not jnp.issubdtype(known.actions.dtype, jnp.floating):
            raise RobooptError(
                "`batch` must have actions that can be subtracted, got "
                f"{known.actions.dtype}: choices need `loss=NegativeLogLikelihood()`."
            )

        if not callable(model) or isinstance(model, OpenLoop | TimeVaryingPolicy):
            raise RobooptError(
                "`model` must be a policy, `policy(observation) -> action`, got "
                f"{type(model).__name__}."
            )

        def error(
            observation: AnyArray,
            demonstrated: AnyArray,
            low: AnyArray | None,
            high: AnyArray | None,
        ) -> Array:
            action = jnp.asarray(model(observation))
            # Unchecked, an action of shape (1,) would broadcast silently.
            if action.shape != demonstrated.shape:
                raise RobooptError(
                    "`model` must return actions like the demonstrated ones, of shape "
                    f"{demonstrated.shape}, got {action.shape}."
                )
            if not jnp.issubdtype(action.dtype, jnp.floating):
                raise RobooptError(
                    "`model` must return floating-point actions, which have a "
                    f"gradient, got {action.dtype}."
                )
            return _censored(action, demonstrated, low, high)

        return jax.vmap(error)(known.observations, known.actions, known.low, known.high)


def _censored(
    action: Array,
    demonstrated: AnyArray,
    low: AnyArray | None,
    high: AnyArray | None,
) -> Array:
    """Return action less demonstrated, one-sided where a limit cut the latter off."""
    lower = jnp.asarray(-jnp.inf if low is None else low, demonstrated.dtype)
    upper = jnp.asarray(jnp.inf if high is None else high, demonstrated.dtype)
    sizes = [jnp.where(jnp.isfinite(x), jnp.abs(x), 0.0) for x in (lower, upper)]
    near = AT_LIMIT * jnp.maximum(*jnp.broadcast_arrays(*sizes))
    at_low, at_high = demonstrated <= lower + near, demonstrated >= upper - near
    wanted = jnp.where(at_high, upper, jnp.where(at_low, lower, demonstrated))
    error = action - wanted.astype(action.dtype)
    free = (at_high & (error > 0)) | (at_low & (error < 0))
    return jnp.where(free, 0.0, error)
