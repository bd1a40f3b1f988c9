"""The environment of a tuning run, from a name, and made again from data."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt._reading import read_json
from roboopt.data import load
from roboopt.dynamics import Multibody
from roboopt.rollouts import EnvSpec
from roboopt.urdf import read_urdf

ROBOTS = ("two-link", "iiwa", "panda")
TASKS: Mapping[str, Mapping[str, str]] = {
    "cart-pole": {"balance": "CartPoleBalance", "swing-up": "CartPoleSwingUp"},
    "arm": {"reach": "ArmReach", "track": "ArmTrack"},
    "robot": {"balance": "RobotTask"},
}
"""Environments by robot and task; "robot" takes tasks of one's own as well."""
READING = (
    *("locked", "actuated", "effort_limits", "repair", "bullet_defaults"),
    "xacro_args",
)
"""Options of the arm that say how its URDF is read."""
MODEL_FILE, SETTINGS_FILE = "model.npz", "settings.json"
# Between a command and the effort, or in the sensors: no part of a robot's body.
OUTSIDE_THE_ROBOT = (
    *("effort_gain", "effort_offset", "lag", "delay", "position_offset"),
    *("resistance", "torque_constant", "gear_ratio", "rotor_inertia", "supply_voltage"),
    *("no_load_speed", "position_gain", "velocity_gain"),
)


@dataclass(frozen=True)
class Subject:
    """The names of what is tuned, checked and completed."""

    env: Any
    """ "cart-pole", "arm", "robot", or anything that Gymnasium makes."""
    task: str | None = None
    """None for an environment that is not known by name."""
    robot: str | None = None
    """A robot's name or the path of a URDF, for "arm" and "robot"."""
    own_task: Any = None
    """A task of one's own, or its name, for "robot"."""

    @property
    def name(self) -> str:
        """Return a name for a folder, such as "cart-pole-balance"."""
        if self.task is None:
            spec = EnvSpec.of(self.env)
            name = type(self.env).__name__ if spec is None else str(spec)
            return name.rpartition("/")[2]
        return f"{self.robot_name}-{self.task}"

    @property
    def title(self) -> str:
        """Return a title, such as "Tuning cart-pole to balance"."""
        if self.task is None:
            return f"Tuning {self.name}"
        return f"Tuning {self.robot_name} to {self.task}"

    @property
    def robot_name(self) -> str:
        """Return the name of the robot, such as "cart-pole"."""
        return self.env if self.robot is None else Path(self.robot).stem


def subject(env: Any, task: Any, robot: Any, urdf: Any, model: Any) -> Subject:
    """Check the names that `tune` is given, and complete them."""
    if robot is not None and urdf is not None:
        raise RobooptError("`robot` must be left out with `urdf`, got both.")
    if env is None and robot is None and urdf is None:
        env, robot, urdf = _recorded_robot(model)
    if env is None and urdf is not None and task not in (None, *TASKS["arm"]):
        env = "robot"
    if env is None:
        env = "cart-pole" if robot is None and urdf is None else "arm"
    takers = {"robot": ("arm",), "urdf": ("arm", "robot")}
    for name, value in (("robot", robot), ("urdf", urdf)):
        if value is not None and env not in takers[name]:
            raise RobooptError(f"`{name}` is for {takers[name][0]}, got {env}.")
    if env == "robot" and urdf is None:
        raise RobooptError("`urdf` must be given for robot: the file of the robot.")
    if robot is not None:
        _require_choice("robot", robot, ROBOTS)
    if urdf is not None and not Path(urdf).is_file():
        raise RobooptError(f"`urdf` must be a file, got {urdf}.")
    if not isinstance(env, str) or env not in TASKS:
        return Subject(env)
    if env == "robot" and not (task is None or task in TASKS[env]):
        return Subject(env, _task_name(task), str(urdf), task)
    if isinstance(task, str):
        _require_choice("task", task, tuple(TASKS[env]))
    else:
        task = next(iter(TASKS[env]))
    if env == "robot":
        robot = str(urdf)
    if env == "arm":
        robot = str(urdf) if urdf is not None else robot or ROBOTS[0]
    return Subject(env, task, robot)


def _task_name(task: Any) -> str:
    """Return a name for a task of one's own, given as an object or module:NAME."""
    if not isinstance(task, str):
        return type(task).__name__
    known = (*TASKS["arm"], *TASKS["robot"], "module:NAME", "file.py:NAME")
    if ":" not in task:
        _require_choice("task", task, known)
    return task.rpartition(":")[2]


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RobooptError(
            f"`{name}` must be one of {', '.join(choices)}, got {value!r}"
            f"{_hint(value, choices)}"
        )


def _hint(value: str, choices: tuple[str, ...]) -> str:
    close = get_close_matches(value, choices, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@dataclass(frozen=True)
class Plant:
    """The simulated robot as data: an environment, and the fitted robot in it."""

    spec: EnvSpec | None
    """None where only its maker knows the environment."""
    fitted: Any = None
    """A model that replaces the environment's robot."""

    @classmethod
    def of(
        cls,
        named: Subject,
        duration: float | None,
        fitted: Any,
        options: Mapping[str, Any] | None = None,
    ) -> "Plant":
        """Return the plant of a subject; None is the environment's own."""
        valid = duration is None or 0 < duration < float("inf")
        require(valid, "duration", "be positive and finite", duration)
        given = dict(options or {})
        options = given if duration is None else {**given, "duration": duration}
        if named.task is None:
            if str(named.env).endswith((".urdf", ".xacro", ".xml")):
                raise RobooptError(
                    f"`env` must be a robot's name or an id, got {named.env!r}: give "
                    "the file of a robot as `urdf`."
                )
            spec = EnvSpec.of(named.env, **options)
            if given and spec is None:
                raise RobooptError(
                    f"`options` are for an environment with an id, got {given}."
                )
            if spec is not None:
                spec.require_keywords(given)
            return cls(spec, fitted)
        if named.env in ("arm", "robot"):
            options |= {"robot": named.robot}
            options |= {} if fitted is None else {"model": fitted}
            fitted = None
        if named.own_task is not None:
            options |= {"task": named.own_task}
        known = TASKS[named.env]
        environment = known.get(named.task, next(iter(known.values())))
        name = f"roboopt_envs:roboopt/{environment}-v0"
        spec = EnvSpec(name, options)
        spec.require_keywords(given)
        if named.robot is not None and named.robot not in ROBOTS:
            _check_urdf(named.robot, given)
        return cls(spec, fitted)

    def make(self, **kwargs: Any) -> Any:
        """Make the environment, or raise a `RobooptError` that says why it cannot."""
        from gymnasium.error import Error

        if self.spec is None:
            raise RobooptError("`env` cannot be made again: give a Gymnasium id.")
        try:
            env = self.spec.make(disable_env_checker=True, **kwargs)
            if self.fitted is not None:
                env.unwrapped.apply(self.fitted)
        except (Error, ImportError) as error:
            raise RobooptError(
                f"`env` must be one of {', '.join(TASKS)} or a Gymnasium environment, "
                f"got {self.spec.id!r}{_hint(self.spec.id, tuple(TASKS))}: {error}"
            ) from error
        except (ValueError, TypeError, OSError) as error:
            raise RobooptError(str(error)) from error
        return env

    def __call__(self) -> Any:
        """Make the environment, in whatever process."""
        return self.make()

    @property
    def maker(self) -> Any:
        """Return what makes the environment in a worker process."""
        # A spec is made there without importing JAX, which takes a second.
        return self.spec if self.fitted is None else self


def _check_urdf(path: str, options: Mapping[str, Any]) -> None:
    """Refuse a URDF by its argument; the environment calls it `robot`."""
    read = {name: options[name] for name in READING if name in options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The environment warns.
        read_urdf(path, argument="urdf", **read)


def sample_starts(env: Any, count: int, seed: int) -> np.ndarray:
    """Return observations that episodes of `env` begin with, (count, obs)."""
    if hasattr(env.unwrapped, "sample_starts"):
        return env.unwrapped.sample_starts(count, seed=seed)
    starts = [env.reset(seed=seed)[0]]
    starts += [env.reset()[0] for _ in range(count - 1)]
    return np.asarray(starts, float)


def fitted_robot(model: Any) -> Any:
    """Return a fitted robot: the model itself, or the one saved at a path."""
    if isinstance(model, str | Path):
        path = Path(model)
        file = path / MODEL_FILE if path.is_dir() else path
        if not file.is_file():
            raise RobooptError(
                f"`model` must be a run of `roboopt identify` or its {MODEL_FILE}, got "
                f"{file}, which is not there."
            )
        try:
            model = load(file)
        except Exception as error:  # a file of another kind can raise anything
            reason = " ".join(str(error).split())
            said = f"`model`: {file} is not a saved model: {reason}"
            raise RobooptError(said) from error
    if model is not None and not isinstance(getattr(model, "robot", model), Multibody):
        raise RobooptError(
            f"`model` must be a fitted robot, got a {type(model).__name__}."
        )
    return model


def _recorded_robot(model: Any) -> tuple[str | None, str | None, Path | None]:
    """Return the environment, robot and URDF that a run of `identify` was of."""
    if not isinstance(model, str | Path):
        return None, None, None
    folder = Path(model) if Path(model).is_dir() else Path(model).parent
    try:
        settings = read_json(folder / SETTINGS_FILE)
        known = dict(settings.get("robot") or settings["flags"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        known = {}
    if (urdf := known.get("urdf")) is None:
        env = known.get("environment") or known.get("env")
        named = (name for name in TASKS if env in TASKS[name].values())
        return next(named, env), known.get("robot"), None
    if not Path(urdf).is_file():
        raise RobooptError(
            f"`model` is of the robot in {urdf}, which is not there: give `urdf`."
        )
    return None, None, Path(urdf)


def left_out(model: Any) -> tuple[str, ...]:
    """Return which fitted quantities no simulated robot has, such as a delay."""
    names = [part for name in getattr(model, "names", ()) for part in name.split(" = ")]
    return tuple(q for q in OUTSIDE_THE_ROBOT if any(n.startswith(q) for n in names))
