"""Excitation cost: the information of a motion about a robot's parameters.

    L = −(1/p) log det(I + Σ_t J_tᵀ W J_t) + w_τ · mean(e_τ²) + w_v · mean(e_v²)

with J_t = ∂ID(q, q̇, q̈)/∂(z/s) the sensitivity of the efforts to the p parameters over
their spans s, W = 1/σ² of the efforts' noise, and e the part by which an effort or a
velocity exceeds its limit. The sum is the Fisher information of Gaussian noise. The
identity is that of a prior of standard deviation s, which makes this Bayesian
D-optimality, minus twice the entropy of the posterior but for a constant (Chaloner and
Verdinelli, 1995, Bayesian experimental design: a review): what the motion cannot tell
then stays at its prior and costs nothing, instead of making the determinant 0.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, per_joint
from roboopt._errors import require
from roboopt.dynamics import ParametricTwin
from roboopt.objectives._objective import Objective, Term, check_weights

DEFAULT_NOISE = 0.01  # standard deviation, in effort limits


class ExcitationCost(Objective):
    """Minus the information in a motion, plus its excess over limits.

    `objective(reference, times)` takes a motion `reference(time) -> (q, q̇, q̈)`, such as
    a `FourierReference`, and the instants (T,) [s] at which efforts are measured.
    """

    model: Frozen[ParametricTwin]
    effort_limits: Float[Array, " joint"]
    velocity_limits: Float[Array, " joint"]
    noise: Float[Array, " joint"]
    spans: Float[Array, " parameter"]
    """Standard deviations s of the prior, in coordinates: `model.spans()`."""
    effort_weight: float | Float[Array, ""]
    velocity_weight: float | Float[Array, ""]

    def __init__(
        self,
        model: ParametricTwin,
        effort_limits: Any,
        *,
        velocity_limits: Any = None,
        noise: Any = None,
        effort_weight: float | Float[Array, ""] = 1e3,
        velocity_weight: float | Float[Array, ""] = 1e3,
    ):
        """Weigh the information about `model` against the limits.

        Args:
            model: the robot whose parameters are identified, with their best known
                values; actuated at every joint.
            effort_limits: of every joint [N·m or N], finite.
            velocity_limits: of every joint [rad/s or m/s], infinite where there is
                none; None for no limits.
            noise: standard deviation σ of every joint's effort at one instant [N·m or
                N], by default 1 % of the effort limits.
            effort_weight: weight of the mean squared excess over the effort limits, in
                units of these; at 1e3 a designed motion may still exceed them by 5 %.
            velocity_weight: weight of the excess over the velocity limits, likewise.
        """
        joints = model.joints
        rule = f"have an actuator at each of its {joints} joints, to follow any motion"
        require(model.action_size == joints, "model", rule, model.action_size)
        if velocity_limits is None:
            velocity_limits = np.full(joints, np.inf)
        efforts = per_joint("effort_limits", effort_limits, joints)
        speeds = per_joint("velocity_limits", velocity_limits, joints, infinite=True)
        noise = DEFAULT_NOISE * efforts if noise is None else noise
        check_weights(effort_weight=effort_weight, velocity_weight=velocity_weight)
        self.model = Frozen(model)
        self.effort_limits, self.velocity_limits = map(jnp.asarray, (efforts, speeds))
        self.noise = jnp.asarray(per_joint("noise", noise, joints))
        self.spans = jnp.asarray(model.spans())
        self.effort_weight, self.velocity_weight = effort_weight, velocity_weight

    def terms(self, model: Any, batch: Float[AnyArray, " time"]) -> dict[str, Term]:
        """Return the information and the excesses of a motion at the times `batch`."""
        q, velocity, acceleration = jax.vmap(model)(jnp.asarray(batch))
        sensitivity = self._sensitivity(q, velocity, acceleration)
        count = sensitivity.shape[-1]
        rows = jnp.concatenate(
            [sensitivity.reshape(-1, count), jnp.eye(count, dtype=sensitivity.dtype)]
        )
        effort = jax.vmap(self.model().inverse_dynamics)(q, velocity, acceleration)
        effort = _excess(effort, self.effort_limits)
        speed = _excess(velocity, self.velocity_limits)
        return {
            "information": Term(-_log_det(rows) / count, 1.0, "1"),
            "effort_excess": Term(effort, self.effort_weight, "1"),
            "velocity_excess": Term(speed, self.velocity_weight, "1"),
        }

    def information(
        self, reference: Any, times: Float[AnyArray, " time"]
    ) -> Float[Array, "parameter parameter"]:
        """Return the Fisher information Σ_t J_tᵀ W J_t, without the prior."""
        sensitivity = self._sensitivity(*jax.vmap(reference)(jnp.asarray(times)))
        return jnp.einsum("tji,tjk->ik", sensitivity, sensitivity)

    def _sensitivity(self, q: Array, velocity: Array, acceleration: Array) -> Array:
        """Return J (time, joint, parameter): efforts in units of noise, by spans."""
        model = self.model()

        def effort(change: Array, *motion: Array) -> Array:
            moved = eqx.tree_at(
                lambda m: m.coordinates, model, model.coordinates + self.spans * change
            )
            return moved.inverse_dynamics(*motion) / self.noise

        slope = jax.vmap(jax.jacfwd(effort), in_axes=(None, 0, 0, 0))
        return slope(jnp.zeros_like(self.spans), q, velocity, acceleration)


@jax.custom_jvp
def _log_det(matrix: Array) -> Array:
    """Return log det AᵀA of a tall A of full rank: 2 Σ log R_kk, with A = QR.

    AᵀA itself would lose twice the digits.
    """
    return 2 * jnp.log(jnp.diagonal(_orthogonalized(matrix)[1])).sum()


@_log_det.defjvp
def _log_det_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Differentiate: δ log det AᵀA = 2 tr((AᵀA)⁻¹ Aᵀ δA), with A (AᵀA)⁻¹ = Q R⁻ᵀ."""
    basis, triangle = _orthogonalized(primals[0])
    slope = 2 * jax.scipy.linalg.solve_triangular(triangle, basis.T).T
    return 2 * jnp.log(jnp.diagonal(triangle)).sum(), (slope * tangents[0]).sum()


def _orthogonalized(matrix: Array) -> tuple[Array, Array]:
    """Return Q and R by the modified Gram-Schmidt method.

    On busy cores LAPACK's threads took 100 times as long for a 1414 x 14 matrix.
    """
    count = matrix.shape[1]

    def column(k: Array, done: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, triangle = done
        own = jax.lax.dynamic_index_in_dim(rest, k, 1, keepdims=False)
        length = jnp.sqrt(own @ own)
        unit = own / length
        row = jnp.where(jnp.arange(count) > k, unit @ rest, 0.0)
        rest = (rest - jnp.outer(unit, row)).at[:, k].set(unit)
        return rest, triangle.at[k].set(row.at[k].set(length))

    start = matrix, jnp.zeros((count, count), matrix.dtype)
    return jax.lax.fori_loop(0, count, column, start)


def _excess(values: Array, limits: Array) -> Array:
    """Return the mean square of the parts by which `values` exceed ±`limits`."""
    return jnp.mean(jnp.maximum(jnp.abs(values) / limits[None] - 1, 0.0) ** 2)
