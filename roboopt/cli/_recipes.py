"""What `roboopt tune` starts from: an environment, a controller and an objective each.

The gains here are a plausible first guess by hand, as an engineer would make one before
tuning; nothing else in the library knows them.
"""

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics import Twin
from roboopt.objectives import EnergyTaskCost
from roboopt.policies import EnergyShapingSwingUp, LinearFeedback, PDGravityCompensation
from roboopt.rollouts import Rollout

TASKS = ("balance", "swing-up")
STEPS = 40
BALANCE_GAINS = (-2.0, -40.0, -4.0, -10.0)  # [N/m, N/rad, N·s/m, N·s/rad]
UPRIGHT_GAINS = (-9.0, -65.0, -10.0, -14.0)


@dataclass(frozen=True)
class Recipe:
    """All that a tuning run needs."""

    env: Any
    twin: Twin
    objective: EnergyTaskCost
    controller: Any
    starts: np.ndarray
    steps: int
    summary: dict[str, str] = field(default_factory=dict)


def cart_pole(
    *,
    task: str = "balance",
    duration: float | None = None,
    seed: int = 0,
    starts: int | None = None,
    work_weight: float | None = None,
    joule_weight: float | None = None,
    model: Any = None,
) -> Recipe:
    """Return the recipe for a cart-pole, one as `model` has it where that is given.

    Raises:
        RobooptError: if `task` is not one of `TASKS`, `model` of another robot, or
            another argument is bad.
    """
    from roboopt_envs.cart_pole import CartPoleBalance, CartPoleSwingUp

    kinds = dict(zip(TASKS, (CartPoleBalance, CartPoleSwingUp), strict=True))
    if task not in kinds:
        raise RobooptError(f"`task` must be one of {TASKS}, got {task!r}.")
    env = _make(kinds[task], duration)
    if model is not None:
        env.apply(model)
    twin = Twin.from_env(env)
    if task == "balance":
        controller = LinearFeedback(jnp.array([BALANCE_GAINS]))
        control = "linear feedback of the state, F = −K s"
    else:
        controller = EnergyShapingSwingUp(
            twin.robot,
            jnp.array(UPRIGHT_GAINS),
            energy_gain=80.0,
            position_gain=3.0,
            velocity_gain=2.0,
        )
        control = "energy shaping below, linear feedback near the top"
    few = {"balance": 32, "swing-up": 16}[task]
    return _recipe(
        env,
        twin,
        controller,
        control,
        energy_share=0.1,
        seed=seed,
        starts=few if starts is None else starts,
        weights=(work_weight, joule_weight),
    )


def arm(
    *,
    robot: str = "two-link",
    duration: float | None = None,
    seed: int = 0,
    starts: int | None = None,
    work_weight: float | None = None,
    joule_weight: float | None = None,
    model: Any = None,
) -> Recipe:
    """Return the recipe for an arm: a robot's name, or the path of its URDF.

    Where `model` is given the arm is simulated, and planned for, as that has it.

    Raises:
        RobooptError: if the robot is unknown, its URDF cannot be used, or `model` is of
            another robot or one that PyBullet cannot simulate.
    """
    from roboopt_envs.arm import ArmReach

    env = _make(ArmReach, duration, robot=robot, model=model)
    twin = Twin.from_env(env)
    controller = PDGravityCompensation.from_limits(
        twin.robot, env.effort_limits, env.time_step
    )
    few = 16 if twin.joints < 4 else 8
    return _recipe(
        env,
        twin,
        controller,
        "proportional-derivative control with gravity compensation",
        energy_share=0.3,
        seed=seed,
        starts=few if starts is None else starts,
        weights=(work_weight, joule_weight),
    )


def _make(kind: Any, duration: float | None, **settings: Any) -> Any:
    if duration is not None:
        settings["duration"] = duration
    return kind(render_mode="rgb_array", **settings)


def _recipe(
    env: Any,
    twin: Twin,
    controller: Any,
    control: str,
    *,
    energy_share: float,
    seed: int,
    starts: int,
    weights: tuple[float | None, float | None],
) -> Recipe:
    if starts < 1:
        raise RobooptError(f"`starts` must be at least 1, got {starts}.")
    batch = env.sample_starts(starts, seed=seed)
    rollout = Rollout(twin, env.horizon)
    plain = EnergyTaskCost(rollout, env.task, env.actuators)
    work_weight, joule_weight = weights
    if work_weight is None or joule_weight is None:
        joule = energy_share / _joules_per_cost(plain, controller, batch)
        work_weight = joule if work_weight is None else work_weight
        joule_weight = joule if joule_weight is None else joule_weight
    objective = EnergyTaskCost(
        rollout,
        env.task,
        env.actuators,
        work_weight=work_weight,
        joule_weight=joule_weight,
    )
    summary = {
        "controller": control,
        "objective": (
            f"task cost [s] + {work_weight:g}/J · mechanical work + {joule_weight:g}/J "
            f"· Joule loss, mean over {starts} random starts"
        ),
        "episode": (
            f"{env.horizon} steps of {1e3 * env.time_step:.3g} ms, "
            f"{env.horizon * env.time_step:.3g} s"
        ),
    }
    return Recipe(env, twin, objective, controller, batch, STEPS, summary)


def _joules_per_cost(objective: EnergyTaskCost, controller: Any, starts: Any) -> float:
    """Return the energy over the task cost, as the starting controller has them.

    What a joule is worth depends on the robot, from a toy to an industrial arm: its
    weight by default gives the energy at the start a share of the task cost there.
    """
    terms = eqx.filter_jit(objective.terms)(controller, starts)
    energy = terms["mechanical_work"].value + terms["joule_loss"].value
    return max(float(energy / terms["task_cost"].value), 1e-9)
