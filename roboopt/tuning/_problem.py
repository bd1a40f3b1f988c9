"""What is tuned: an environment, its twin, a first controller, and an objective.

The first gains are a plausible guess by hand, as an engineer would make one before
tuning.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._core import trainable_mask
from roboopt._errors import RobooptError, require, require_at_least
from roboopt._programs import called
from roboopt.data import load
from roboopt.objectives import EnergyTaskCost
from roboopt.policies import (
    Clipped,
    EnergyShapingSwingUp,
    LinearFeedback,
    SetpointShaping,
    StatefulPolicy,
    TimeVaryingPolicy,
    act,
    initial_carry,
    observe,
)
from roboopt.rollouts import Rollout, robot_notes, twin_rollout
from roboopt.tuning._controllers import CONTROLLERS, named_controller
from roboopt.tuning._environment import ROBOTS as ROBOTS
from roboopt.tuning._environment import TASKS as TASKS
from roboopt.tuning._environment import (
    Plant,
    fitted_robot,
    left_out,
    sample_starts,
    subject,
)
from roboopt.tuning._uncertain import uncertain

CONTROLLER_FILE = "controller.npz"
STEPS = 40
BALANCE_GAINS = (-2.0, -40.0, -4.0, -10.0)  # [N/m, N/rad, N·s/m, N·s/rad]
UPRIGHT_GAINS = (-9.0, -65.0, -10.0, -14.0)
COPIES = 5  # of a motion that its gradient keeps, as XLA's `memory_analysis` counts
MIN_JOULES_PER_COST = 1e-9  # J/s
ENERGY_SHARES = {True: 0.3, False: 0.1}
"""Energy at first over the task cost, by whether every joint is driven."""


@dataclass(frozen=True)
class TuningProblem:
    """All that a tuning run needs."""

    title: str
    plant: Plant
    env: Any
    rollout: Rollout
    """Through the twin without joint limits, which the descent does without."""
    objective: EnergyTaskCost
    controller: Any
    starts: np.ndarray
    steps: int
    notes: dict[str, str]
    """What was chosen, by what it is."""

    @classmethod
    def of(
        cls,
        env: Any = None,
        *,
        task: Any = None,
        reference: Any = None,
        robot: str | None = None,
        urdf: Any = None,
        model: Any = None,
        controller: Any = None,
        steps: int | None = None,
        duration: float | None = None,
        seed: int = 0,
        starts: int | None = None,
        work_weight: float | None = None,
        joule_weight: float | None = None,
        delay: Any = 0.0,
        noise: Any = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> "TuningProblem":
        """Return the problem that `tune` solves; its arguments are those of `tune`.

        Raises:
            RobooptError: if an argument cannot be worked with.
        """
        require_at_least(1, steps=steps, starts=starts)
        task, options = _with_reference(task, reference, options)
        named, fitted = subject(env, task, robot, urdf, model), fitted_robot(model)
        plant = Plant.of(named, duration, fitted, options)
        made = named.env if plant.spec is None else plant.make()
        rollout, drawn = uncertain(
            made, twin_rollout(made).require(), delay, noise, seed
        )
        if task is None or isinstance(task, str):
            task = made.unwrapped.task
        given = _policy(controller)
        first, name, count = _first(made, rollout, task, given, seed)
        count = count if starts is None else starts
        _require_memory(rollout, made, count)
        batch = sample_starts(made, count, seed)
        weights = work_weight, joule_weight
        objective = _objective(made, rollout, task, first, batch, *weights)
        notes = {}
        if fitted is not None:
            where = f" in {model}" if isinstance(model, str | Path) else ""
            missing = ", ".join(left_out(fitted))
            without = f", without its {missing}" if missing else ""
            notes["robot"] = f"as fitted{where}{without}"
        notes |= robot_notes(made)
        notes |= {"drawn for each start": drawn} if drawn else {}
        horizon, step = rollout.horizon, rollout.dynamics.time_step
        notes |= {
            "controller": name,
            "objective": (
                f"task cost [s] + {objective.work_weight:g}/J · mechanical work + "
                f"{objective.joule_weight:g}/J · Joule loss, mean over {count} random "
                "tuning starts"
            ),
            "episode": (
                f"{horizon} steps of {1e3 * step:.3g} ms, {horizon * step:.3g} s"
            ),
        }
        return cls(
            title=named.title,
            plant=plant,
            env=made,
            rollout=rollout,
            objective=objective,
            controller=first,
            starts=batch,
            steps=steps or STEPS,
            notes=notes,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Return what decides the result, in plain data."""
        env, objective = self.env.unwrapped, self.objective
        weights = ("task_weight", "work_weight", "joule_weight")
        return {
            "environment": {
                "id": None if self.plant.spec is None else self.plant.spec.id,
                "joint_names": list(env.joint_names),
                "actuated": [env.joint_names[i] for i in env.actuated],
                "effort_limits": np.asarray(env.effort_limits).tolist(),
                "time_step": env.time_step,
                "control_period": self.rollout.dynamics.time_step,
                "interface": getattr(env, "interface", "torque"),
                "drive": _fields(getattr(env, "drive", None)),
                "horizon": self.rollout.horizon,
                "task": {type(objective.task).__name__: _fields(objective.task)},
                "actuators": _fields(objective.actuators),
            },
            "objective": {
                "class": type(objective).__name__,
                **{name: float(getattr(objective, name)) for name in weights},
            },
            "controller": type(self.controller).__name__,
            "chosen": dict(self.notes),
        }


def _require_memory(rollout: Rollout, env: Any, starts: int) -> None:
    """Refuse motions whose gradient needs more memory than the machine has."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):  # Windows
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    sizes = env.observation_space.shape[0] + env.action_space.shape[0]
    each = COPIES * 8 * rollout.horizon * sizes
    if starts * each > memory:
        raise RobooptError(
            f"`starts` must be at most {memory // each}, got {starts}: the gradient of "
            f"motions of {rollout.horizon} steps takes about {each / 1e3:.3g} kB each, "
            f"{starts * each / 1e9:.3g} GB, and this machine has {memory / 1e9:.3g} GB."
        )


def _with_reference(
    task: Any, reference: Any, options: Mapping[str, Any] | None
) -> tuple[Any, Mapping[str, Any] | None]:
    """Return the task and the options that follow a reference, if there is one."""
    if reference is None:
        return task, options
    if task not in (None, "track"):
        raise RobooptError(f"`reference` is for the task track, got {task!r}.")
    if not isinstance(reference, Mapping):
        reference = str(reference)
    return "track", {**(options or {}), "reference": reference}


def run_name(env: Any, task: Any, robot: Any, urdf: Any, model: Any) -> str:
    """Return a name for the folder of a run, from the arguments of `tune`.

    Raises:
        RobooptError: if a name is unknown, or they exclude each other.
    """
    return subject(env, task, robot, urdf, model).name


def _fields(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else str(value)  # pyright: ignore


def _policy(given: Any) -> Any:
    """Return a controller: as it is given, or from a file; without its limits.

    The name of a controller stays what it is.
    """
    if isinstance(given, str) and given in CONTROLLERS:
        return given
    if isinstance(given, str | Path):
        path = Path(given)
        path = path / CONTROLLER_FILE if path.is_dir() else path
        if not path.is_file():
            raise RobooptError(
                f"`controller` must be a run or its {CONTROLLER_FILE}, or one of "
                f"{', '.join(CONTROLLERS)}, got {path}, which is not there."
            )
        given = load(path)
    return given.policy if isinstance(given, Clipped) else given


def _first(
    env: Any, rollout: Rollout, task: Any, given: Any, seed: int
) -> tuple[Any, str, int]:
    """Return the given or the default controller, its name, and a number of starts."""
    twin = rollout.dynamics
    full = twin.action_size == twin.joints
    starts = (16 if twin.joints < 4 else 8) if full else 32
    if isinstance(given, str):
        return *named_controller(given, env, twin, task), starts
    if given is not None:
        _check_controller(given, env, seed)
        return given, type(given).__name__, starts
    # Default gains are efforts: none suits a twin whose actions are rescaled.
    robot = None if hasattr(twin, "dynamics") else getattr(twin, "robot", None)
    inner = env.unwrapped
    interface = getattr(inner, "interface", "torque")
    setpoints = interface in ("position", "velocity")
    if robot is not None and setpoints and full and not hasattr(inner, "upright"):
        first = SetpointShaping(robot, interface=interface)
        return first, f"the reference as a {interface} setpoint, shaped", starts
    if interface != "torque":
        raise RobooptError(
            "`controller` must be given where `interface` is not torque: there is a "
            "default only for positions and velocities of arms with goals or "
            f"trajectories, got {interface}."
        )
    if robot is not None and hasattr(inner, "upright"):
        return *named_controller("lqr", env, twin, task), starts
    if robot is not None and full:
        return *named_controller("pd", env, twin, task), starts
    if robot is None or tuple(robot.revolute) != (False, True):
        raise RobooptError(
            "`controller` must be given: there are defaults for fully driven robots, "
            "balancing ones and cart-poles whose actions are efforts only."
        )
    if np.cos(sample_starts(env, 1, seed)[0, 1]) > 0:  # upright
        first = LinearFeedback(jnp.array([BALANCE_GAINS]))
        return first, "linear feedback of the state, F = −K s", starts
    gains = {"energy_gain": 80.0, "position_gain": 3.0, "velocity_gain": 2.0}
    first = EnergyShapingSwingUp(robot, jnp.array(UPRIGHT_GAINS), **gains)
    return first, "energy shaping below, linear feedback near the top", 16


def _check_controller(controller: Any, env: Any, seed: int) -> None:
    """Refuse a controller that has no gains, or does not fit the environment."""
    start, size = sample_starts(env, 1, seed)[0], env.action_space.shape
    rule = "be callable, observation -> action"
    require(callable(controller), "controller", rule, controller)
    if not any(jax.tree.leaves(trainable_mask(controller))):
        raise RobooptError(
            "`controller` must have gains to tune, as floating-point arrays in an "
            "equinox module or another pytree; a lambda or a closure hides them. Got "
            f"{controller!r}."
        )

    def once(seen: Any) -> Any:
        if isinstance(controller, StatefulPolicy | TimeVaryingPolicy):
            carry = initial_carry(controller, jax.random.key(0))
            return act(controller, carry, seen, jnp.zeros(()))[1]
        return observe(controller, controller, seen, "controller")

    try:
        action = jax.eval_shape(once, jnp.asarray(start))
    except RobooptError as error:
        if str(error).startswith("`controller`"):
            raise
        raise RobooptError(
            f"`controller` must take observations of {len(start)} numbers: {error}"
        ) from error
    rule = f"return an action of shape {size}"
    require(getattr(action, "shape", None) == size, "controller", rule, action)


def _objective(
    env: Any,
    rollout: Rollout,
    task: Any,
    first: Any,
    starts: np.ndarray,
    work_weight: float | None,
    joule_weight: float | None,
) -> EnergyTaskCost:
    """Return the objective; by default energy begins as a share of the task cost.

    The weight of a joule depends on the robot, from a toy to an industrial arm.
    """
    inner = env.unwrapped
    if not hasattr(inner, "actuators"):
        raise RobooptError(
            "`env` must have `actuators`, as roboopt_envs.tasks.Actuators has them: "
            "the objective counts their energy."
        )
    plain = EnergyTaskCost(rollout, task, inner.actuators)
    if work_weight is None or joule_weight is None:
        terms = called(plain.terms, first, starts)
        energy = terms["mechanical_work"].value + terms["joule_loss"].value
        ratio = max(float(energy / terms["task_cost"].value), MIN_JOULES_PER_COST)
        driven = rollout.dynamics.action_size == rollout.dynamics.joints
        joule = ENERGY_SHARES[driven] / ratio
        work_weight = joule if work_weight is None else work_weight
        joule_weight = joule if joule_weight is None else joule_weight
    return EnergyTaskCost(
        rollout,
        task,
        inner.actuators,
        work_weight=work_weight,
        joule_weight=joule_weight,
    )
