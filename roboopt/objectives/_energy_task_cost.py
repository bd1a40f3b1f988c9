"""Energy plus the cost of the task.

    L(π) = w_c ∫ c(o, a) dt + w_m Σ_j ∫ |τ_j q̇_j| dt + w_J Σ_j ∫ R_j τ_j² / k_j² dt

The first integral is the task's cost [s]: c is dimensionless, each error in it divided
by a scale. The second is mechanical work [J], the third the heat of the motors'
windings [J], with resistance R and torque constant k. A step of length Δt does the work
τ · (q̇ + q̇')/2 · Δt: with either velocity alone the sum differs from the change of the
mechanical energy by percents, with their mean by the integrator's error.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import RobooptError, require
from roboopt._timed import timed
from roboopt.data import Trajectory
from roboopt.objectives._objective import Term, check_weights
from roboopt.objectives._rollout_objective import RolloutObjective


@runtime_checkable
class Task(Protocol):
    """The task of a motion, such as those in `roboopt_envs.tasks`."""

    def cost_rate(self, observation: Any, action: Any) -> Any:
        """Return the dimensionless cost per second, over leading axes.

        With a third parameter the task gets the time of the observation [s].
        """
        ...

    def success(self, observations: Any, time_step: float) -> Any:
        """Return whether each motion, observations (..., time, obs), is a success."""
        ...


@runtime_checkable
class Actuators(Protocol):
    """The power of the motors, such as `roboopt_envs.tasks.Actuators`."""

    def mechanical_power(self, effort: Any, velocity: Any, next_velocity: Any) -> Any:
        """Return the mechanical power [W] of each joint."""
        ...

    def joule_power(self, effort: Any) -> Any:
        """Return the heat of the windings [W] of each joint."""
        ...


class EnergyTaskCost(RolloutObjective):
    """The energy of rollouts from a batch of starts, plus the cost of their task.

    With `work_weight=0.1`, 1 J costs as much as a tenth of a second of unit error.
    """

    rollout: Any
    """`rollout(model, starts) -> Trajectory`, with efforts; such as a `Rollout`."""
    task: Task
    actuators: Actuators
    task_weight: float | Float[Array, ""] = 1.0
    """[1/s]"""
    work_weight: float | Float[Array, ""] = 0.0
    """[1/J]"""
    joule_weight: float | Float[Array, ""] = 0.0
    """[1/J]"""

    def __check_init__(self):
        task, motors = type(self.task), type(self.actuators)
        require(hasattr(self.task, "cost_rate"), "task", "have a `cost_rate`", task)
        timed(self.task.cost_rate)
        known = isinstance(self.actuators, Actuators)
        rule = "have `mechanical_power` and `joule_power`"
        require(known, "actuators", rule, motors)
        check_weights(
            task_weight=self.task_weight,
            work_weight=self.work_weight,
            joule_weight=self.joule_weight,
        )

    def trajectory_terms(self, trajectory: Trajectory, batch: Any) -> dict[str, Term]:
        return self.measure(trajectory)

    def measure(self, trajectory: Trajectory) -> dict[str, Term]:
        """Return the terms of a motion, simulated or recorded, with efforts.

        Args:
            trajectory: one, or a batch for the mean; observations [q, q̇, ...].
        """
        trajectory = trajectory.simulated
        energy = self.energy_by_joint(trajectory)
        after = jnp.asarray(trajectory.observations)[..., 1:, :]
        driven, axes = trajectory.actions, getattr(self.rollout, "effort_axes", None)
        if axes is not None:  # An action is no effort: the task counts the efforts.
            assert trajectory.efforts is not None  # as the energies need
            driven = trajectory.efforts[..., np.array(axes)]
        times = jnp.arange(1, after.shape[-2] + 1) * trajectory.time_step
        times = jnp.broadcast_to(times, after.shape[:-1])
        rate = timed(self.task.cost_rate)(after, jnp.asarray(driven), times)
        cost = jnp.mean(rate.sum(-1)) * trajectory.time_step
        work, loss = energy["mechanical_work"].sum(), energy["joule_loss"].sum()
        return {
            "task_cost": Term(cost, self.task_weight, "s"),
            "mechanical_work": Term(work, self.work_weight, "J"),
            "joule_loss": Term(loss, self.joule_weight, "J"),
        }

    def energy_by_joint(
        self, trajectory: Trajectory
    ) -> dict[str, Float[Array, " joint"]]:
        """Return the mechanical work and the Joule loss [J] of each joint."""
        if trajectory.efforts is None:
            raise RobooptError(
                "`trajectory` must hold the efforts on the joints, got none."
            )
        trajectory = trajectory.simulated
        efforts = jnp.asarray(trajectory.efforts)
        joints = efforts.shape[-1]
        velocity = jnp.asarray(trajectory.observations)[..., joints : 2 * joints]
        mechanical = self.actuators.mechanical_power(
            efforts, velocity[..., :-1, :], velocity[..., 1:, :]
        )
        power = {
            "mechanical_work": mechanical,
            "joule_loss": self.actuators.joule_power(efforts),
        }
        return {
            name: watts.mean(tuple(range(watts.ndim - 2))).sum(0) * trajectory.time_step
            for name, watts in power.items()
        }

    def success(self, trajectory: Trajectory) -> Float[Array, ""]:
        """Return the fraction of the motions that achieve the task."""
        observations = jnp.asarray(trajectory.observations)
        achieved = self.task.success(observations, trajectory.time_step)
        return jax.lax.stop_gradient(jnp.mean(achieved.astype(observations.dtype)))
