"""Action mismatch: the difference of a policy's actions from demonstrated ones.

    L(π) = 1/Σ_b w_b · Σ_b w_b Σ_j ρ(e_bj / s_j),    e_bj = π(o_b)_j − a_bj

over demonstrations b of weight w and action axes j; ρ(e) = e²/2 for the default loss.
This is behavior cloning (Pomerleau, 1989, ALVINN, CMU). Dividing by the scale s_j
(ours) is what lets axes in [N] and [N·m] be added.

An action at an actuator's limit tells only that the demonstrator wanted no less. Where
the limits are known such an action is censored (Tobin, 1958):

    e = min(π(o) − a_max, 0) at the upper limit,   max(π(o) − a_min, 0) at the lower

For squares and a linear policy this is convex, and the gradient does not vanish on the
wrong side of a limit, as it does where clip(π) is compared.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, check_axes
from roboopt._errors import RobooptError, floats, require
from roboopt.data import Demonstrations
from roboopt.losses import L2, FlowMatching, Loss, NegativeLogLikelihood, as_loss
from roboopt.objectives._objective import ResidualObjective, Term
from roboopt.objectives._scale import check_scale
from roboopt.policies import OpenLoop, TimeVaryingPolicy, observation_size, observe

LIMIT_TOLERANCE = 5e-7  # relative: four roundings of single precision


def _numbers(scale: Any) -> Any:
    given = scale is None or isinstance(scale, jax.Array)
    return scale if given else floats("scale", scale)


def _loss(loss: Any) -> Any:
    return as_loss(loss, nll=NegativeLogLikelihood, flow=FlowMatching)


class ActionMismatch(ResidualObjective):
    """The mean loss of a policy's actions against demonstrated ones.

    `objective(policy, batch)` takes any callable pytree `policy(observation) -> action`
    and a batch that `Demonstrations.of` reads: `Demonstrations`, a `Trajectory`, a
    tuple `(observations, actions)` or a dict. Where the demonstrations hold chunks of
    actions the policy returns (chunk, act), and each step counts as one.
    """

    scale: Float[AnyArray, "..."] | None = eqx.field(converter=_numbers, default=None)
    """One number for all axes or one each, in the actions' unit: an error of this size
    costs ½ if squared. May be None, for 1, where there is a single axis."""
    loss: Loss | NegativeLogLikelihood | FlowMatching = eqx.field(
        converter=_loss, default=L2()
    )
    """A loss, "l1", "l2", "huber" or an elementwise function of the scaled error; or
    "nll" or "flow", which need no scale and a policy with `log_prob` or `flow_error`.
    """

    def __check_init__(self):
        if self.scale is None:
            return
        rule = f"be None with {type(self.loss).__name__}, which does not use it"
        require(isinstance(self.loss, Loss), "scale", rule, self.scale)
        check_scale("scale", self.scale, scalar=True, infinite=False)

    def errors(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the policy's less the demonstrated actions, in their unit and shape.

        An error is 0 where both are beyond a limit.

        Raises:
            RobooptError: if `batch` is empty or holds no demonstrations, its actions
                are integers, or `model` is no policy for them.
        """
        return _errors(model, Demonstrations.of(batch))

    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the residuals, in the shape of the actions, including the weights."""
        if isinstance(self.loss, NegativeLogLikelihood):
            raise RobooptError(
                "`loss` must be of errors for a sum of squares, got "
                "NegativeLogLikelihood: use `minimize`, which needs no residuals."
            )
        error, known = self._scaled(model, batch)
        residual = self.loss.residual(error) if isinstance(self.loss, Loss) else error
        share = known.shares(residual.shape[:-1]).astype(residual.dtype)
        return jnp.sqrt(share * residual.size)[..., None] * residual

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the mismatch, named for the loss.

        Raises:
            RobooptError: as `errors`; if there is no scale where one is needed, or it
                does not fit; if the loss needs what the policy or the batch lacks.
        """
        loss = self.loss
        if isinstance(loss, NegativeLogLikelihood):
            name, known = "negative_log_likelihood", Demonstrations.of(batch)
            _check_inputs(model, known)
            cost = loss.costs(model, known)
        else:
            error, known = self._scaled(model, batch)
            if isinstance(loss, Loss):
                name, cost = "action_mismatch", jnp.sum(loss(error), -1)
            else:
                name, cost = "flow_matching", 0.5 * jnp.sum(error**2, -1)
        share = known.shares(cost.shape).astype(cost.dtype)
        return {name: Term(jnp.sum(share * cost), 1.0, "1")}

    def _scaled(self, model: Any, batch: Any) -> tuple[Array, Demonstrations]:
        """Return the dimensionless errors, and the samples that they are of."""
        if isinstance(self.loss, FlowMatching):
            error = self.loss.errors(model, batch)
            return error, Demonstrations.of(batch.demonstrations)
        known = Demonstrations.of(batch)
        error = _errors(model, known)
        axes = error.shape[-1]
        if self.scale is None and axes > 1:
            raise RobooptError(
                f"`scale` must be given for actions of {axes} axes, as one number if "
                "they have one unit, or else one number an axis, got None."
            )
        scale = jnp.asarray(1.0 if self.scale is None else self.scale, error.dtype)
        check_axes("scale", scale.shape, axes)
        return error / jnp.broadcast_to(scale, error.shape), known


def _errors(model: Any, known: Demonstrations) -> Array:
    if not jnp.issubdtype(known.actions.dtype, jnp.floating):
        raise RobooptError(
            f"`batch` must have real-valued actions, got {known.actions.dtype}: "
            'integers need `loss="nll"`.'
        )
    if not callable(model) or isinstance(model, OpenLoop | TimeVaryingPolicy):
        raise RobooptError(
            "`model` must be a policy, `policy(observation) -> action`, got "
            f"{type(model).__name__}: an objective is called with the policy, and then "
            "the data."
        )

    _check_inputs(model, known)

    def error(observation: AnyArray, demonstrated: AnyArray, *limits: Any) -> Array:
        action = jnp.asarray(observe(model, model, observation, "model"))
        # Unchecked, an action of shape (1,) would broadcast silently.
        shape = demonstrated.shape
        rule = f"return actions like the demonstrated ones, of shape {shape}"
        require(action.shape == shape, "model", rule, action.shape)
        rule = "return floating-point actions, which have a gradient"
        require(jnp.issubdtype(action.dtype, jnp.floating), "model", rule, action.dtype)
        return _censored(action, demonstrated, *limits)

    arrays = known.observations, known.actions, known.low, known.high
    return jax.vmap(error)(*arrays)


def _check_inputs(model: Any, known: Demonstrations) -> None:
    """Refuse observations of fewer numbers than a policy says that it takes."""
    expected, size = observation_size(model), known.observations.shape[1]
    if expected is not None and expected > size:
        raise RobooptError(
            f"`model` expects {expected} inputs, the observations of `batch` have "
            f"{size}."
        )


def _censored(
    action: Array, demonstrated: AnyArray, low: AnyArray | None, high: AnyArray | None
) -> Array:
    """Return action less demonstrated action, one-sided where a limit censored it."""
    lower = jnp.asarray(-jnp.inf if low is None else low, demonstrated.dtype)
    upper = jnp.asarray(jnp.inf if high is None else high, demonstrated.dtype)
    sizes = [jnp.where(jnp.isfinite(x), jnp.abs(x), 0.0) for x in (lower, upper)]
    near = LIMIT_TOLERANCE * jnp.maximum(*jnp.broadcast_arrays(*sizes))
    at_low, at_high = demonstrated <= lower + near, demonstrated >= upper - near
    wanted = jnp.where(at_high, upper, jnp.where(at_low, lower, demonstrated))
    error = action - wanted.astype(action.dtype)
    beyond = (at_high & (error > 0)) | (at_low & (error < 0))
    return jnp.where(beyond, 0.0, error)
