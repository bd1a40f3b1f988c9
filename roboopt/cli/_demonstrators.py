"""Who demonstrates: a controller of the library, a saved one, or a user's function."""

import importlib
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import roboopt as ro
from roboopt.cli._run_folder import ACTORS, actor_file
from roboopt.cli._usage import UsageError

# Gains for reaching that overshoot little, on arms from a toy to an industrial one.
SATURATION = 0.1
DAMPING_RATIO = 1.5
STATE_COSTS = (1.0, 10.0, 0.1, 0.1)  # of [x, θ, ẋ, θ̇], in SI units squared
FORCE_COST = 0.01  # 1/N²


def demonstrator(env: Any, given: str | None) -> tuple[Any, str]:
    """Return who acts, and what it is in words.

    Args:
        env: the environment.
        given: a file of `roboopt.save`, the folder of a run, or `module:name` of a
            function; where None, the library's own controller for its environments.

    Raises:
        UsageError: if there is none, or it cannot be loaded.
    """
    if given is None:
        return _own(env)
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` finds a user's own module
    if Path(given).exists():
        return saved("--demonstrator", given)
    module, colon, name = given.partition(":")
    if not colon:
        raise UsageError(
            "--demonstrator must be a saved controller, the folder of a run, or "
            f"module:function, got {given!r}"
        )
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"--demonstrator {given} cannot be imported: {error}"
        ) from error
    if not callable(found) and not isinstance(found, ro.policies.StatefulPolicy):
        raise UsageError(f"--demonstrator {given} must be callable, got {found!r}")
    return found, f"{given}"


def saved(flag: str, given: str) -> tuple[Any, str]:
    """Return what acts in a file of `roboopt.save` or the folder of a run, and words.

    Raises:
        UsageError: if there is none, or it cannot be loaded.
    """
    path = Path(given)
    if path.is_dir():
        found = actor_file(path)
        if found is None:
            raise UsageError(f"{flag} {given} holds no {' or '.join(ACTORS)}")
        path = found
    if not path.is_file():
        raise UsageError(f"{flag} {given} is not there")
    try:
        return ro.load(path), f"the controller in {path}"
    except (ValueError, OSError) as error:
        raise UsageError(f"{flag} {given}: {error}") from error


def _own(env: Any) -> tuple[Any, str]:
    """Return the library's controller for one of its environments."""
    world = env.unwrapped
    kind = type(world).__name__ if type(world).__module__[:12] == "roboopt_envs" else ""
    if kind == "ArmReach":
        controller = ro.policies.PDGravityCompensation.from_limits(
            ro.Twin.from_env(world).robot,
            world.effort_limits,
            world.time_step,
            saturation=SATURATION,
            damping_ratio=DAMPING_RATIO,
        )
        return controller, "proportional-derivative control, gravity compensated"
    if kind == "CartPoleBalance":
        return ro.policies.LinearFeedback(
            _regulator(world)
        ), "the linear-quadratic regulator"
    if kind == "CartPoleSwingUp":
        controller = ro.policies.EnergyShapingSwingUp(
            ro.Twin.from_env(world).robot,
            _regulator(world)[0],
            energy_gain=80.0,
            position_gain=3.0,
            velocity_gain=2.0,
        )
        return controller, "energy shaping, and the linear-quadratic regulator on top"
    raise UsageError(
        "--demonstrator must be given: a saved controller, the folder of a run, or "
        "module:function; the library has controllers for its own environments only"
    )


def _regulator(world: Any) -> jnp.ndarray:
    """Return K of the discrete-time LQR about the upright cart-pole, (1, 4)."""
    from scipy.linalg import solve_discrete_are

    a, b = ro.dynamics.linearize(ro.Twin.from_env(world), jnp.zeros(4), jnp.zeros(1))
    a, b = np.asarray(a), np.asarray(b)
    q, r = np.diag(STATE_COSTS), FORCE_COST * np.eye(1)
    p = solve_discrete_are(a, b, q, r)
    return jnp.asarray(np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a))
