"""Exciting a simulated robot, recording it, and knowing what it really is."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import roboopt as ro
from roboopt._core import AnyArray
from roboopt.cli._identified_robot import loaded
from roboopt.cli._usage import UsageError
from roboopt.data import Trajectory
from roboopt.policies import TimeVaryingPolicy, TrackingController
from roboopt.sysid import design_excitation

DESCENT = 60  # steps of the design of an arm's motion
FREQUENCIES = 0.3, 0.53, 0.91, 1.37  # Hz, of the cart
FASTEST = 0.9  # m/s², of each of them
FARTHEST = 0.5  # m, all of them together
STIFFNESS, DAMPING = 20.0, 9.0  # N/m and N·s/m, that bring the cart back


@dataclass(frozen=True)
class Collected:
    """What was recorded, and the robot that it was recorded from."""

    run: Trajectory
    """With efforts and, as actions, those of the actuated joints."""
    truth: ro.dynamics.Multibody


class RailSweep(TimeVaryingPolicy):
    """Drives a cart to and fro by sines, and holds it near the middle of its rail."""

    mass: float = eqx.field(static=True)
    """Of cart and pole together [kg]."""
    phases: Float[Array, " sine"]

    def __call__(
        self, observation: Float[AnyArray, " obs"], time: float | Float[Array, ""]
    ) -> Float[Array, "1"]:
        """Return the force [N] on the cart at `time` [s]."""
        rates = 2 * np.pi * np.array(FREQUENCIES)
        sizes = np.minimum(FASTEST / rates**2, FARTHEST / len(rates))
        angles = rates * time + self.phases
        position = jnp.sum(sizes * (jnp.sin(angles) - jnp.sin(self.phases)))
        speed = jnp.sum(sizes * rates * jnp.cos(angles))
        acceleration = -jnp.sum(sizes * rates**2 * jnp.sin(angles))
        force = self.mass * acceleration
        force += STIFFNESS * (position - observation[0])
        force += DAMPING * (speed - observation[2])
        return force[None]


def excite(
    subject: Any, free: tuple[str, ...], *, seed: int, progress: bool
) -> Collected:
    """Record one motion of the simulated robot that tells of its parameters.

    Args:
        subject: with the environment.
        free: what is to be told.
        seed: of the motion, and of what the environment randomizes.
        progress: whether to show a progress bar.

    Raises:
        UsageError: if no motion can be made.
    """
    env = subject.env
    twin = ro.Twin(subject.robot, env.time_step, actuated=env.actuated)
    try:
        if len(env.actuated) < len(env.joint_names):
            controller, start = _sweep(subject.robot, seed)
        else:
            reference = design_excitation(
                ro.dynamics.ParametricTwin(twin, free),
                duration=env.duration,
                effort_limits=env.effort_limits,
                time_step=env.time_step,
                steps=DESCENT,
                seed=seed,
                progress=progress,
            )
            controller = TrackingController.from_limits(
                subject.robot, reference, env.effort_limits, env.time_step
            )
            q = np.asarray(reference(0.0)[0])
            start = np.concatenate([q, 0 * q, q])
        truth = _truth(env, subject.robot, start, ro.rollouts.episode_seed(seed, 0))
        batch = ro.rollouts.collect(env, controller, starts=start[None], seed=seed)
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    run = jax.tree.map(lambda leaf: np.asarray(leaf)[0], batch)
    joints = len(env.joint_names)
    observations = run.observations[:, : 2 * joints]
    run = Trajectory(observations, run.actions, run.time_step, efforts=run.efforts)
    return Collected(run, truth)


def _sweep(robot: ro.dynamics.Multibody, seed: int) -> tuple[RailSweep, np.ndarray]:
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(FREQUENCIES))
    hanging = np.array([0.0, np.pi, 0.0, 0.0])
    return RailSweep(float(jnp.sum(robot.masses)), jnp.asarray(phases)), hanging


def _truth(
    env: Any, robot: ro.dynamics.Multibody, start: np.ndarray, seed: int
) -> ro.dynamics.Multibody:
    """Return the robot as a reset with this seed randomizes it."""
    _, info = env.reset(seed=seed, options={"start": start})
    found = loaded(env)
    if len(found.body_names) > len(robot.body_names):
        found = found.merge_fixed()
    # PyBullet tells of masses and inertias what they are, of damping what they were.
    factors = info.get("damping_factors", np.ones(len(env.joint_names)))
    return eqx.tree_at(lambda r: r.damping, found, robot.damping * factors)
