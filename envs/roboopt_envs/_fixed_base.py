"""The base of all environments: a fixed-base robot driven by efforts, and a task.

An observation is [q, q̇, goal], or [q, q̇, reference] where the task has a reference, and
an action the command of every actuated joint, by default its effort, both float64 and
in SI units. An action is held for `substeps` time steps of the simulation. Episodes
last `horizon` actions and never end before.
"""

import abc
import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils import seeding

from roboopt._errors import RobooptError, require, whole_steps
from roboopt._timed import timed
from roboopt.urdf import Shape
from roboopt.urdf.drive import AnyDrive, as_drive

from ._actuators import Actuators
from ._camera import MODES, Camera, View
from ._commands import Commands
from ._fitted_robot import fitted_model, fitted_robot
from ._framing import corners, pictures, planned
from ._observations import checked_start, observation_box
from ._sizing import check_inertia, check_time_step
from ._world import PybulletWorld

MAX_STEPS = 10**7  # of an episode, twelve hours


class FixedBaseEnv(gymnasium.Env[np.ndarray, np.ndarray], abc.ABC):
    """One robot in a world of its own, with a task.

    Subclasses define the distribution of starts. A subclass that replaces `step`,
    `reset` or another method has no twin, unless its `task` is still its reward and
    PyBullet's step its dynamics, and it says so by `has_twin = True`.

    Attributes:
        physics_client: the PyBullet client, with PyBullet's functions as methods.
        body: the robot's id in PyBullet.
        urdf: path of the URDF that the robot was loaded from.
        xacro_args: arguments of the .xacro file, by name.
        joint_names: the n joints that move independently, depth first.
        joint_indices: PyBullet's indices of these joints.
        mimic: joints that follow one of these, by name: `(joint, multiplier, offset)`
            of q_m = multiplier · q + offset.
        locked: joints of the file that stand still, fixed ones left out.
        actuated: positions in `joint_names` of the m joints that an action drives.
        effort_limits: of the actuated joints, (m,) [N·m or N].
        interface: what an action is, such as "torque".
        drive: the actuators between commands and efforts, or None.
        effort_axes: `actuated` where an action is no effort, else None; the task's cost
            is then of these joints' efforts.
        joint_limits: lower and upper, or infinite, (2, n) [rad or m].
        time_step: of the simulation [s].
        control_period: of a `step`, for which an action is held [s].
        substeps: time steps in a control period.
        duration: of an episode [s].
        horizon: actions of an episode.
        task: its cost is the negative reward.
        reference: what an observation holds after [q, q̇] at each time step, (horizon ·
            substeps + 1, m), where the task has a `reference`; else None.
        actuators: the motors of all joints.
        damping: of the joints before `randomize`, (n,) [N·m·s/rad or N·s/m].
        friction: Coulomb friction of the joints, (n,) [N·m or N].
        friction_velocity: below which this friction is smooth, (n,) [rad/s or m/s].
        friction_law: the other parts of this friction, None without any.
        armature: inertia of the joints' rotors, 0 without a fitted model, (n,).
        randomize: largest relative change of every number that a reset draws.
        has_twin: True: efforts, [q, q̇] and `task` are all that a step depends on.
        implicit_damping: True: damping and friction act on the velocity after a step.
        linear_damping, angular_damping: of every link in PyBullet [1/s], 0 without a
            fitted model.
    """

    metadata: dict[str, Any] = {"render_modes": [*MODES], "render_fps": 240}
    implicit_damping = True
    has_twin = True

    def __init__(
        self,
        world: PybulletWorld,
        *,
        task: Any,
        actuated: Sequence[int],
        effort_limits: np.ndarray,
        start_range: tuple[np.ndarray, np.ndarray],
        goal_range: tuple[np.ndarray, np.ndarray],
        duration: float,
        time_step: float,
        control_period: float | None,
        interface: str,
        drive: AnyDrive,
        actuators: Actuators | None,
        randomize: float,
        view: View,
    ):
        """Set up spaces, episodes and rendering for a loaded robot."""
        self._world = world
        self.physics_client, self.urdf = world.client, world.urdf
        self._read_world()
        check_time_step(time_step, self.joint_names)
        require(0 <= randomize < 1, "randomize", "be in [0, 1)", randomize)
        self.substeps = whole_steps(control_period, time_step)
        self.control_period = self.substeps * float(time_step)
        period, step = self.control_period, "control period"
        step = "time step" if self.substeps == 1 else step
        rule = f"be finite and at least one {step} of {period:g} s, at most {MAX_STEPS}"
        fits = 0.5 * period < duration <= MAX_STEPS * period
        require(fits, "duration", f"{rule} such", duration)
        world.set_time_step(time_step)
        self.time_step, self.duration = float(time_step), float(duration)
        self.horizon = round(duration / self.control_period)
        self.actuated = tuple(actuated)
        require(self.actuated, "actuated", "name a joint that a motor drives", [])
        self._driven = np.array(self.actuated, int)
        self.effort_limits = np.array(effort_limits, np.float64)
        self.interface, self.drive = interface, as_drive(drive)
        self._commands = Commands(
            world, interface, self.drive, self.actuated, self.effort_limits
        )
        self.effort_axes = None if self._commands.plain else self.actuated
        self.task, self._cost_rate = task, timed(task.cost_rate)
        self.reference: np.ndarray | None = None
        if hasattr(task, "reference"):
            times = np.arange(self.horizon * self.substeps + 1) * self.time_step
            self.reference = np.asarray(task.reference(times), np.float64)
        self.actuators = actuators or self._commands.motors()
        names, count = [*self.joint_names], len(self.actuators.resistance)
        require(count == len(names), "actuators", f"describe the joints {names}", count)
        self.randomize = randomize
        self.render_mode, self._view, self._viewed = view.mode, view, np.empty(0)
        self._camera = Camera(world.client, view) if view.mode == "rgb_array" else None
        self.metadata = {**self.metadata, "render_fps": round(1 / self.control_period)}

        shown = goal_range if self.reference is None else self.reference
        ends = start_range, self.horizon * self.control_period, shown
        self.observation_space = observation_box(*ends)
        self.action_space = self._commands.space
        self._recorded = np.empty((self.horizon + 1, *self.observation_space.shape))
        self._steps: int | None = None

    def _read_world(self) -> None:
        """Publish the attributes of the world's robot."""
        world = self._world
        self.body = world.body
        self.joint_names = world.model.joint_names
        self.joint_indices = world.joint_indices
        self.joint_limits = world.model.position_limits
        self.locked, self.xacro_args = world.model.held, world.model.xacro_args
        moving = world.model.moving
        self.mimic = {j.name: tuple(j.mimic) for j in moving if j.mimic is not None}
        self.damping, self.friction = world.damping.copy(), world.friction.copy()
        self.friction_velocity = world.friction_velocity.copy()
        self.friction_law, self.shape_fault = world.friction_law, world.shape_fault
        self.armature = world.armature.copy()
        self.linear_damping = world.linear_damping
        self.angular_damping = world.angular_damping

    def shapes(self) -> list[Shape]:
        """Return the shapes that the robot shows, each in its link's frame."""
        return self._world.shapes()

    @abc.abstractmethod
    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        """Return the observation an episode starts from, (obs,)."""

    def _framed(self, start: np.ndarray) -> np.ndarray:
        """Return configurations that a picture of an episode has room for, (k, n)."""
        return planned(self._world, start)

    def sample_starts(self, count: int, *, seed: int) -> np.ndarray:
        """Draw starts, (count, obs) [SI units].

        They equal the starts of `reset(seed=seed)` and the resets after it if
        `randomize` is 0; otherwise these resets also draw the robot's dynamics.

        Raises:
            RobooptError: if `count` is not at least 1.
            ClosedEnvironmentError: after `close`.
        """
        self._require_open("sample_starts")
        require(count >= 1, "count", "be at least 1", count)
        random, _ = seeding.np_random(seed)
        return np.stack([self._draw_start(random) for _ in range(count)])

    def sample_factors(self, seed: int) -> dict[str, Any]:
        """Return what `reset(seed=seed, options={"start": ...})` draws [1].

        The `mass_factors` are by name of the link here.
        """
        factors = self._draw_factors(seeding.np_random(seed)[0])
        names, mass = self._world.massive_names, factors["mass_factors"].tolist()
        return {**factors, "mass_factors": dict(zip(names, mass, strict=True))}

    def _draw_factors(self, random: np.random.Generator) -> dict[str, Any]:
        low, high = 1 - self.randomize, 1 + self.randomize
        counts = len(self._world.massive_links), *[len(self.joint_names)] * 2
        names = "mass_factors", "damping_factors", "friction_factors"
        drawn = (random.uniform(low, high, count) for count in counts)
        return dict(zip(names, drawn, strict=True))

    def apply(self, model: Any) -> None:
        """Give the simulated robot the numbers of a fitted model.

        A step then equals one of `Twin(model.robot)`, and `randomize` scales the new
        numbers. Lengths, joint limits and effort limits stay the environment's. The
        robot is loaded again: `body` changes, a `reset` must follow, and PyBullet keeps
        up to some MB of memory each time.

        Args:
            model: a `roboopt.dynamics.Multibody`, or an object with one as its `robot`,
                such as a `Twin` or a `ParametricTwin`.

        Raises:
            RobooptError: if `model` is none of these, or has other joints or links; or
                if the robot cannot be simulated, or the effort limits can hold it
                hardly anywhere. The robot stays as it was.
            ClosedEnvironmentError: after `close`.
        """
        self._require_open("apply")
        world = self._world
        robot = fitted_robot(model, self.joint_names, world.model.link_names[1:])
        with world.replaced(fitted_model(world.model, robot), robot):
            self._commands.prepare(world)
            check_inertia(world)
            self._draw_start(np.random.default_rng(0))
        self._read_world()
        self._steps = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: seed of all random numbers from here on.
            options: `{"start": observation}` starts exactly there, goal included.

        Returns:
            The observation, and a dict, empty unless the dynamics are randomized:
            `mass_factors` of the massive links, `damping_factors` and
            `friction_factors` of the joints.

        Raises:
            RobooptError: if `options` has another key, or the start is not a finite
                observation within `observation_space`.
            ClosedEnvironmentError: after `close`.
        """
        self._require_open("reset")
        super().reset(seed=seed)
        options = options or {}
        if set(options) - {"start"}:
            raise RobooptError(f"`options` may hold 'start', got {sorted(options)}.")
        info: dict[str, Any] = {}
        if "start" in options:
            start = checked_start(options["start"], self.observation_space)
        else:
            start = self._draw_start(self.np_random)
        if self.randomize:
            info = self._draw_factors(self.np_random)
            self._world.scale_dynamics(*info.values())
        n = len(self.joint_names)
        self._world.place(start[:n], start[n : 2 * n])
        self._commands.begin(self._world)
        if self.render_mode is not None and self._view.goal_position is not None:
            self._world.mark(self._view.goal_position(start[2 * n :]))
        if self._camera is not None and not np.array_equal(start, self._viewed):
            # The same start, with whatever robot, is seen from the same place.
            self._camera.frame(corners(self._world, self._framed(start)))
            self._viewed = start
        self._steps = 0
        if self.reference is not None:
            start[2 * n :] = self.reference[0]
        self._q, self._velocity = start[:n], start[n : 2 * n]
        self._goal, self._advanced = start[2 * n :].tolist(), 0
        self._recorded[0] = start
        self._work = self._loss = self._cost = 0.0
        self._frame_time = time.monotonic()
        return start, info

    def step(
        self, action: npt.ArrayLike
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive the actuated joints with `action` (m,) for one step.

        Returns:
            Observation, reward, False, whether the horizon is reached, and a dict:
            `effort` of every joint [N·m or N], `mechanical_power` and `joule_power` of
            every joint [W], each the mean over the step; `mechanical_work` and
            `joule_loss` [J] and `task_cost` [s] since the start; `is_success` of the
            whole episode, False before its last step. If an action is held for several
            time steps, also `substep_observations` and `substep_efforts` after and
            during each of them.

        Raises:
            RobooptError: if `action` is not within `action_space`.
            ResetNeeded: before the first reset, and after the horizon.
            ClosedEnvironmentError: after `close`.
        """
        if self._steps is None or self._steps == self.horizon:
            self._require_open("step")
            raise ResetNeeded(
                "`step` needs a `reset` before the first step and after the last, "
                f"step {self.horizon}."
            )
        command = self._commands.checked(np.asarray(action, np.float64))
        steps = [self._advance(command) for _ in range(self.substeps)]
        observation, cost, info = steps[-1]
        if self.substeps > 1:
            seen, costs, infos = zip(*steps, strict=True)
            cost = sum(costs)
            info = {name: np.mean([x[name] for x in infos], 0) for name in info}
            info["substep_observations"] = np.array(seen)
            info["substep_efforts"] = np.array([x["effort"] for x in infos])
        self._steps += 1
        self._recorded[self._steps] = observation
        self._cost += cost
        truncated = self._steps == self.horizon
        info |= {
            "mechanical_work": self._work,
            "joule_loss": self._loss,
            "task_cost": self._cost,
            "is_success": truncated
            and bool(self.task.success(self._recorded, self.control_period)),
        }
        if self.render_mode == "human":
            # Wait until as much time has passed outside as in the simulation.
            self._frame_time += self.control_period
            time.sleep(max(0.0, self._frame_time - time.monotonic()))
        return observation, -cost, False, truncated, info

    def _advance(
        self, command: np.ndarray
    ) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
        """Take one time step; return the observation, the cost [s], effort and power.

        The work and loss of the time step are added to those of the episode.
        """
        state = self._q, self._velocity
        q, velocity, effort = self._commands.advance(command, *state)
        self._advanced += 1
        if self.reference is not None:
            self._goal = self.reference[self._advanced].tolist()
        observation = np.array(q + velocity + self._goal)
        self._q, after = observation[: len(q)], observation[len(q) : 2 * len(q)]
        power = self.actuators.mechanical_power(effort, self._velocity, after)
        heat = self.actuators.joule_power(effort)
        self._velocity = after
        self._work += sum(power.tolist()) * self.time_step
        self._loss += sum(heat.tolist()) * self.time_step
        now = observation, effort[self._driven], self._advanced * self.time_step
        cost = float(self._cost_rate(*now)) * self.time_step
        info = {"effort": effort, "mechanical_power": power, "joule_power": heat}
        return observation, cost, info

    def render(self) -> np.ndarray | None:
        """Return a picture (height, width, 3) of bytes if the mode is "rgb_array".

        With "human", Bullet's own window needs no call.

        Raises:
            ResetNeeded: before the first reset.
            ClosedEnvironmentError: after `close`.
        """
        self._require_open("render")
        if self._steps is None:
            raise ResetNeeded("`render` needs a `reset` before.")
        if self.render_mode is None:
            gymnasium.logger.warn(
                "`render` shows nothing without a render mode: make the environment "
                f"with `render_mode`, one of {self.metadata['render_modes']}."
            )
        return None if self._camera is None else self._camera.picture()

    def pictures(self, configurations: np.ndarray) -> list[np.ndarray]:
        """Return pictures at configurations (k, n), from where all of them are seen.

        Raises:
            ResetNeeded: without the mode "rgb_array", or a reset before.
        """
        if self._steps is None or self._camera is None:
            raise ResetNeeded('`pictures` need "rgb_array", and a `reset` before.')
        room, self._viewed = self._framed(self._recorded[0]), np.empty(0)
        return pictures(self._world, self._camera, configurations, room)

    def close(self) -> None:
        """Disconnect from PyBullet. Closing twice is fine."""
        self._steps = None
        self._world.close()

    def _require_open(self, method: str) -> None:
        if self._world.closed:
            raise ClosedEnvironmentError(f"`{method}` was called after `close`.")
