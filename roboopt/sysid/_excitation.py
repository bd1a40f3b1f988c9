"""Excitation: the motion that is recorded to identify a robot.

Several random motions descend `ExcitationCost`, one after the other, and the best is
kept: in a batch, each step would wait for the longest line search.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError, require
from roboopt._progress import say, say_notes
from roboopt.data import Trajectory
from roboopt.dynamics import Multibody, ParametricTwin, Twin
from roboopt.objectives import ExcitationCost
from roboopt.optimize import Checkpoint, minimize
from roboopt.policies import FourierReference, TimeVaryingPolicy, TrackingController
from roboopt.rollouts import collect, episode_seed, robot_notes
from roboopt.sysid._robot import FREE, KnownRobot, robot_in

LIMIT_SHARE = 0.8  # of the limits, that the motion itself may take
MAX_SAMPLES_PER_PERIOD = 20  # of the fastest harmonic, at which a motion is judged
START_SHARE = 0.4  # of the ranges, that the random motions fill
DESIGN_STEPS = 60
SWEEP_FREQUENCIES_HZ = 0.3, 0.53, 0.91, 1.37
SWEEP_ACCELERATION = 0.9  # of each sine [m/s²]
SWEEP_DISTANCE_M = 0.5  # of all sines together
RESISTANCE = "damping", "friction"
SWEEP_STIFFNESS, SWEEP_DAMPING = 20.0, 9.0  # [N/m], [N·s/m]


@dataclass(frozen=True)
class Excitation:
    """A recording of an excited robot, and the robot as it is known and as it is."""

    recording: Trajectory
    known: KnownRobot
    """The robot before the environment randomized it, the start of `identify`."""
    truth: Multibody


def excite(
    env: Any,
    *,
    free: Sequence[str] | None = None,
    seed: int = 0,
    steps: int = DESIGN_STEPS,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Excitation:
    """Record one motion of a simulated robot that excites its parameters.

    A robot with all joints driven tracks a motion of `design_excitation`; a cart-pole
    is swept along its rail by sines.

    Args:
        env: a PyBullet environment, as `identify` takes it; its `duration` is that of
            the motion, and its `randomize` decides how far the real robot is off.
        free: names or patterns of the parameters to excite; if None, those that
            `identify` fits.
        seed: seed of the motion and of the environment.
        steps: steps of the design.
        progress: whether to show a progress bar.
        checkpoint: where the state of the design is kept.

    Raises:
        RobooptError: if the robot has passive joints and is no cart-pole, or an
            argument breaks its rule.
    """
    rule = 'be a PyBullet environment, such as roboopt_envs.RobotTask("robot.urdf")'
    inner = getattr(env, "unwrapped", None)
    require(hasattr(inner, "physics_client"), "env", rule, env)
    env, free = inner, FREE if free is None else free
    interface = getattr(env, "interface", "torque")
    rule = 'have the interface "torque": an excitation is designed in efforts'
    require(interface == "torque", "env", rule, interface)
    say_notes(robot_notes(env), progress)
    known = KnownRobot.of(env, free)
    robot, actuated = known.robot, tuple(env.actuated)
    joints = len(env.joint_names)
    if len(actuated) == joints:
        implicit = known.implicit_damping
        twin = Twin(robot, env.time_step, actuated=actuated, implicit_damping=implicit)
        reference = design_excitation(
            ParametricTwin(twin, free),
            duration=env.duration,
            effort_limits=env.effort_limits,
            time_step=env.time_step,
            steps=steps,
            seed=seed,
            progress=progress,
            checkpoint=checkpoint,
        )
        controller = TrackingController.from_limits(
            robot,
            reference,
            env.effort_limits,
            getattr(env, "control_period", env.time_step),
            implicit_damping=implicit,
        )
        q = np.asarray(reference(0.0)[0])
        goal = q[: env.observation_space.shape[0] - 2 * joints]  # where there is one
        start = np.concatenate([q, 0 * q, goal])
    elif actuated == (0,) and tuple(robot.revolute) == (False, True):
        random = np.random.default_rng(seed)
        phases = random.uniform(0, 2 * np.pi, len(SWEEP_FREQUENCIES_HZ))
        controller = RailSweep(float(jnp.sum(robot.masses)), jnp.asarray(phases))
        start = np.array([0.0, np.pi, 0.0, 0.0])  # hanging
    else:
        raise RobooptError(
            "`env` must drive every joint of its robot, or be a cart-pole; it drives "
            f"joints {actuated} of {', '.join(robot.joint_names)}."
        )
    say("recording in PyBullet", progress)
    truth = _truth(env, robot, start, seed)
    batch = collect(env, controller, starts=start[None], seed=seed).simulated
    run = jax.tree.map(lambda leaf: np.asarray(leaf)[0], batch)
    states = run.observations[:, : 2 * joints]
    recording = Trajectory(states, run.actions, run.time_step, efforts=run.efforts)
    return Excitation(recording, known, truth)


class RailSweep(TimeVaryingPolicy):
    """Drive a cart to and fro by sines, and hold it near the middle of its rail."""

    mass: float = eqx.field(static=True)
    """Mass of cart and pole [kg]."""
    phases: Float[Array, " sine"]

    def __call__(
        self, observation: Float[AnyArray, " obs"], time: float | Float[Array, ""]
    ) -> Float[Array, "1"]:
        """Return the force [N] on the cart at `time` [s]."""
        rates = 2 * np.pi * np.array(SWEEP_FREQUENCIES_HZ)
        reach = SWEEP_DISTANCE_M / len(rates)
        sizes = np.minimum(SWEEP_ACCELERATION / rates**2, reach)
        angles = rates * time + self.phases
        position = jnp.sum(sizes * (jnp.sin(angles) - jnp.sin(self.phases)))
        speed = jnp.sum(sizes * rates * jnp.cos(angles))
        acceleration = -jnp.sum(sizes * rates**2 * jnp.sin(angles))
        force = self.mass * acceleration
        force += SWEEP_STIFFNESS * (position - observation[0])
        force += SWEEP_DAMPING * (speed - observation[2])
        return force[None]


def _truth(env: Any, robot: Multibody, start: np.ndarray, seed: int) -> Multibody:
    """Return the robot as a reset with this seed randomizes it."""
    _, info = env.reset(seed=episode_seed(seed, 0), options={"start": start})
    found = robot_in(env)
    if len(found.body_names) > len(robot.body_names):
        found = found.merge_fixed()
    # PyBullet reports masses and inertias as they are; the joints' own damping and
    # friction, which its links do not have, are the environment's.
    damping, friction = (info.get(f"{name}_factors", 1.0) for name in RESISTANCE)
    return eqx.tree_at(
        lambda r: (r.damping, r.friction),
        found,
        (robot.damping * damping, robot.friction * friction),
    )


def design_excitation(
    model: ParametricTwin,
    *,
    duration: float,
    effort_limits: Float[AnyArray, "..."],
    time_step: float,
    velocity_limits: Float[AnyArray, "..."] | None = None,
    harmonics: int = 5,
    starts: int = 4,
    steps: int = 50,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> FourierReference:
    """Design a motion whose recording determines the parameters of `model`.

    The motion begins at rest and keeps 5 % away from the joint limits, by construction.
    A penalty keeps it to about 80 % of the efforts and velocities; the rest is left to
    the feedback and to unknown parameters. Collisions are not checked.

    Args:
        model: the robot as it is believed to be.
        duration: period of the motion [s].
        effort_limits: limits of every joint [N·m or N].
        time_step: time between the samples of the recording [s].
        velocity_limits: limits of every joint [rad/s or m/s], if there are any.
        harmonics: number of multiples of 1/duration in the motion.
        starts: number of random motions to descend from.
        steps: steps of each descent.
        seed: seed of the random motions.
        progress: whether to show a progress bar.
        checkpoint: where the states of the descents are kept.

    Raises:
        RobooptError: if `duration` is less than a step, `starts` is not at least 1, or
            another argument breaks the rule of `ExcitationCost` or `FourierReference`.
    """
    if not 0 < time_step <= duration < math.inf:
        raise RobooptError(
            "`duration` must be finite and at least one `time_step`, which is "
            f"positive, got {duration} and {time_step}."
        )
    require(starts >= 1, "starts", "be at least 1", starts)
    samples = round(duration / time_step)
    count = min(samples, MAX_SAMPLES_PER_PERIOD * harmonics)
    whole = ExcitationCost(model, effort_limits, velocity_limits=velocity_limits)
    objective = ExcitationCost(
        model,
        LIMIT_SHARE * np.asarray(effort_limits, float),
        velocity_limits=LIMIT_SHARE * whole.velocity_limits,
        # An instant that stands for several samples has the noise of their mean.
        noise=whole.noise / math.sqrt(samples / count),
    )
    times = jnp.linspace(0.0, duration, count, endpoint=False)
    robot = model.origin.value.robot
    results = []
    for number, key in enumerate(jax.random.split(jax.random.key(seed), starts)):
        first = FourierReference.random(
            robot, duration, harmonics, key, range_share=START_SHARE
        )
        found = minimize(
            objective,
            first,
            times,
            steps=steps,
            progress=progress,
            checkpoint=checkpoint and checkpoint.part(f"motion {number}", steps=steps),
        )
        results.append(found)
    return min(results, key=lambda result: result.loss).model
